"""``refused.json``: the attempts that a person was told are not run. Asked for once more, they run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from slurmsweep.state import files
from slurmsweep.state.fields import document
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurmsweep.state.files import Access
    from slurmsweep.state.paths import Layout


def read(layout: Layout) -> frozenset[AttemptId]:
    """Return the attempts that the newest command refused; none where the file is damaged: they are refused again.

    Raises StateUnreadableError where it may not be read.
    """
    try:
        listed = json.loads(files.read_plain_file(layout.refused) or b"[]")
        return frozenset(AttemptId(int(trial), int(attempt)) for trial, attempt in listed)
    except (ValueError, TypeError):
        return frozenset()


def write(layout: Layout, attempt_ids: Iterable[AttemptId], access: Access) -> None:
    """Record the attempts that a command refused and has told of. Raises StateUnwritableError."""
    files.replace(layout.refused, document(list(attempt_ids)), access)
