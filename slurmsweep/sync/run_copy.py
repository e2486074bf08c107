"""Copy an offline run so that W&B's server takes it: whole, of no sweep, and resumable.

The server refuses a run of a sweep that it does not know ("sweep ... not found", 404), and it knows none of ours. Of a
file that ends within a record, as a killed script leaves it, `wandb sync` uploads what is whole, but does not count the
file as synced. Before 0.31 an offline run does not say that it goes on with an older one, so its steps would replace
those. Therefore a copy is uploaded: every whole record, with these two fields of the run's own record changed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slurmsweep.metrics.protobuf import bytes_field, integer_field, raw_fields
from slurmsweep.metrics.run_file import RecordReader, log_bytes
from slurmsweep.state import files

if TYPE_CHECKING:
    from slurmsweep.state.files import Access

#: Field numbers of wandb_internal.proto: Record.run, RunRecord.sweep_id and resume.
_RUN, _SWEEP_ID, _RESUME = 17, 12, 24

#: Files that `wandb sync` leaves beside a run file: it was uploaded; and at which step of an older run it began.
SYNCED, SYNC_STATE = ".synced", ".syncstate"


def copy_run(original: str, folder: str, access: Access) -> str | None:
    """Copy a run file into ``folder``, with links to what lies beside it.

    Args:
        original: path of the run file.
        folder: of the copy; may hold an earlier copy, whose sync state is kept.
        access: who may read and write what is made.

    Returns:
        Path of the copy; None where the file has no run: its script was killed before anything was written.

    Raises:
        OSError: the original cannot be read.
        StateUnwritableError: part of the copy may exist.
    """
    if not any(_is_run(record) for record in RecordReader(original).new()):
        return None
    files.ensure_folders(folder, access)
    copy = os.path.join(folder, os.path.basename(original))
    files.write_pieces(copy, log_bytes(map(_for_server, RecordReader(original).new())), access)
    beside = os.path.dirname(original)
    for name in os.listdir(beside):
        if not name.startswith(os.path.basename(original)):
            files.link_to(os.path.join(beside, name), os.path.join(folder, name))
    _copy_once(original + SYNC_STATE, copy + SYNC_STATE, access)
    return copy


def is_synced(run_file: str) -> bool:
    """Return whether `wandb sync` counts a run file as uploaded."""
    return os.path.exists(run_file + SYNCED)


def mark_synced(copy: str, original: str, access: Access) -> None:
    """Mark the original of an uploaded copy as synced."""
    _copy_once(copy + SYNC_STATE, original + SYNC_STATE, access)
    files.replace(original + SYNCED, b"", access)


def forget(copy: str) -> None:
    """Remove a copy's mark, so that it is uploaded again."""
    files.remove_file(copy + SYNCED)


def _copy_once(source: str, target: str, access: Access) -> None:
    """Copy a small file, unless there is none, or the target exists."""
    if os.path.exists(source) and not os.path.exists(target):
        with open(source, "rb") as file:
            files.replace(target, file.read(), access)


def _is_run(record: bytes) -> bool:
    return any(number == _RUN for number, _, _ in _raw_fields(record))


def _for_server(record: bytes) -> bytes:
    """Return a record as the server takes it: a run without its sweep, and resumable; any other one unchanged."""
    if not _is_run(record):
        return record
    parts = []
    for number, content, raw in _raw_fields(record):
        if number == _RUN:
            kept = [field for inner, _, field in _raw_fields(content) if inner not in (_SWEEP_ID, _RESUME)]
            parts.append(bytes_field(_RUN, b"".join([*kept, integer_field(_RESUME, 1)])))
        else:
            parts.append(raw)
    return b"".join(parts)


def _raw_fields(message: bytes) -> list[tuple[int, bytes, bytes]]:
    """Return number, content and all bytes of each field; none for a record that is no message."""
    try:
        return list(raw_fields(message))
    except (IndexError, ValueError):
        return []
