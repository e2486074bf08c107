"""Read whether a script said that it is about to be cut off (``mark_preempting``): asked if it did not finish."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slurmsweep.metrics.reported import run_files
from slurmsweep.metrics.run_file import is_marked_preempting

if TYPE_CHECKING:
    from slurmsweep.state.paths import Layout
    from slurmsweep.state.tail import AttemptId

#: How the native client's row begins.
_ROW = b'{"_preempting"'


def said_preempting(layout: Layout, attempt_id: AttemptId) -> bool:
    """Return whether the attempt's script called ``mark_preempting``, of the native client or of the real wandb.

    Reads everything that was logged.

    Raises:
        OSError: a file that is there cannot be read.
    """
    history = layout.history(attempt_id)
    if os.path.isfile(history):
        with open(history, "rb") as file:
            if any(line.startswith(_ROW) for line in file):
                return True
    return any(is_marked_preempting(path) for path in run_files(layout, attempt_id))
