"""Whether a script said that it is about to be cut off (``mark_preempting``): asked of those that did not finish."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slurmsweep.agent.metrics import run_files
from slurmsweep.agent.wandb_file import is_marked_preempting

if TYPE_CHECKING:
    from slurmsweep.state.head import Slot
    from slurmsweep.state.layout import Layout

#: How the native client's row begins.
_ROW = b'{"_preempting"'


def said_preempting(layout: Layout, slot: Slot) -> bool:
    """Whether the attempt's script said so, by the native client or by the real wandb.

    Raises:
        OSError: a file that is there cannot be read.
    """
    history = layout.history(slot.trial, slot.attempt)
    if os.path.isfile(history):
        with open(history, "rb") as file:
            if any(line.startswith(_ROW) for line in file):
                return True
    return any(is_marked_preempting(path) for path in run_files(layout, slot))
