"""A copy of an offline run that W&B's server takes: whole, and of no sweep.

The server refuses a run of a sweep that it does not know ("sweep ... not found", 404), and sweeps of ours it never
knows; and of a file that ends within a record, as a killed script leaves it, `wandb sync` uploads what is whole but
does not count it as synced. So a copy is uploaded: every whole record, the one of the run without its sweep's id.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slurmsweep.agent.protobuf import bytes_field, raw_fields
from slurmsweep.agent.wandb_file import RecordReader, log_bytes
from slurmsweep.state import durable

if TYPE_CHECKING:
    from slurmsweep.state.durable import Access

#: Field numbers of wandb_internal.proto: Record.run, RunRecord.sweep_id.
_RUN, _SWEEP_ID = 17, 12

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
    durable.write_pieces(copy, log_bytes(map(_without_sweep, RecordReader(original).new())), access)
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


def _without_sweep(record: bytes) -> bytes:
    if not _is_run(record):
        return record
    return b"".join(
        bytes_field(_RUN, b"".join(inner for part, _, inner in _raw_fields(content) if part != _SWEEP_ID))
        if number == _RUN
        else raw
        for number, content, raw in _raw_fields(record)
    )


def _raw_fields(message: bytes) -> list[tuple[int, bytes, bytes]]:
    """The fields; none of a record that is no message."""
    try:
        return list(raw_fields(message))
    except (IndexError, ValueError):
        return []
