"""A copy of an offline run that W&B's server takes: whole, of no sweep, and resumable.

The server refuses a run of a sweep that it does not know ("sweep ... not found", 404), and sweeps of ours it never
knows; and of a file that ends within a record, as a killed script leaves it, `wandb sync` uploads what is whole but
does not count it as synced. Before 0.31 an offline run does not say that it goes on with an older one, and its steps
would be written over those. So a copy is uploaded: every whole record, the one of the run changed in these two things.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slurmsweep.metrics.protobuf import bytes_field, integer_field, raw_fields
from slurmsweep.metrics.run_file import RecordReader, log_bytes
from slurmsweep.state import files as durable

if TYPE_CHECKING:
    from slurmsweep.state.files import Access

#: Field numbers of wandb_internal.proto: Record.run, RunRecord.sweep_id and resume.
_RUN, _SWEEP_ID, _RESUME = 17, 12, 24

#: What `wandb sync` leaves beside a run file: that it was uploaded, and at which step of an older run it began.
SYNCED, SYNC_STATE = ".synced", ".syncstate"


def copy_run(original: str, folder: str, access: Access) -> str | None:
    """Copy a run file into ``folder``, with links to what lies beside it.

    Args:
        original: path of the run file.
        folder: of the copy; may hold an earlier copy, whose sync state is kept.
        access: of what is made.

    Returns:
        Path of the copy; None where the file tells of no run: its script was killed before anything was written.

    Raises:
        OSError: the original cannot be read.
        StateUnwritableError: the copy may be there in part.
    """
    if not any(_is_run(record) for record in RecordReader(original).new()):
        return None
    durable.ensure_folders(folder, access)
    copy = os.path.join(folder, os.path.basename(original))
    durable.write_pieces(copy, log_bytes(map(_for_server, RecordReader(original).new())), access)
    beside = os.path.dirname(original)
    for name in os.listdir(beside):
        if not name.startswith(os.path.basename(original)):
            durable.link_to(os.path.join(beside, name), os.path.join(folder, name))
    _bring(original + SYNC_STATE, copy + SYNC_STATE, access)
    return copy


def is_synced(run_file: str) -> bool:
    """Whether `wandb sync` counts a run file as uploaded."""
    return os.path.exists(run_file + SYNCED)


def bring_home(copy: str, original: str, access: Access) -> None:
    """Mark the original of an uploaded copy as synced."""
    _bring(copy + SYNC_STATE, original + SYNC_STATE, access)
    durable.replace(original + SYNCED, b"", access)


def forget(copy: str) -> None:
    """Take away a copy's mark, so that it is uploaded again."""
    durable.remove_file(copy + SYNCED)


def _bring(source: str, target: str, access: Access) -> None:
    """Copy a small file, unless there is none, or one is there."""
    if os.path.exists(source) and not os.path.exists(target):
        with open(source, "rb") as file:
            durable.replace(target, file.read(), access)


def _is_run(record: bytes) -> bool:
    return any(number == _RUN for number, _, _ in _raw_fields(record))


def _for_server(record: bytes) -> bytes:
    """The same record, but of a run: without its sweep, and going on with what the server has of it."""
    if not _is_run(record):
        return record
    return b"".join(
        bytes_field(_RUN, _for_server_run(content)) if number == _RUN else raw
        for number, content, raw in _raw_fields(record)
    )


def _for_server_run(run: bytes) -> bytes:
    kept = [raw for number, _, raw in _raw_fields(run) if number not in (_SWEEP_ID, _RESUME)]
    return b"".join([*kept, integer_field(_RESUME, 1)])


def _raw_fields(message: bytes) -> list[tuple[int, bytes, bytes]]:
    """The fields; none of a record that is no message."""
    try:
        return list(raw_fields(message))
    except (IndexError, ValueError):
        return []
