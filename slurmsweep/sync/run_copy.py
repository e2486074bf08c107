"""Copy an offline run so that W&B's server takes it: whole, of no sweep, and resumable.

The server refuses a run of a sweep that it does not know ("sweep ... not found", 404), and it knows none of ours. Of a
file that ends within a record, as a killed script leaves it, `wandb sync` uploads what is whole, but does not count the
file as synced. Before 0.31 an offline run does not say that it goes on with an older one, so its steps would replace
those. Therefore a copy is uploaded: every whole record, with these fields of the run's own record changed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.metrics.protobuf import bytes_field, integer_field, raw_fields
from slurmsweep.metrics.run_file import RecordReader, log_bytes
from slurmsweep.state import files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.state.files import Access

#: Field numbers of wandb_internal.proto: Record.run; RunRecord.entity, project, sweep_id and resume.
_RUN, _ENTITY, _PROJECT, _SWEEP_ID, _RESUME = 17, 2, 3, 12, 24

#: wandb's name for the project of a run for which none was named.
UNCATEGORIZED = "uncategorized"

#: Files that `wandb sync` leaves beside a run file: it was uploaded; and at which step of an older run it began.
SYNCED, SYNC_STATE = ".synced", ".syncstate"


class Home(NamedTuple):
    """Where a run goes at W&B.

    Attributes:
        project: its project.
        entity: its user or team; empty for the one that uploads.
    """

    project: str = UNCATEGORIZED
    entity: str = ""

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}" if self.entity else self.project


def home_of(run_file: str, asked_for: Mapping[str, str]) -> Home:
    """Return where a run goes: as it was logged, and where that says nothing, as its script asked for.

    wandb ignores ``init(project=)`` in a sweep, because a sweep of W&B's has a project; one of ours may have none.

    Raises OSError: the file cannot be read.
    """
    logged: dict[int, str] = {}
    for record in RecordReader(run_file).new():
        run = next((content for number, content, _ in _raw_fields(record) if number == _RUN), None)
        if run is not None:
            logged = {number: text.decode() for number, text, _ in _raw_fields(run) if number in (_ENTITY, _PROJECT)}
            break
    project, entity = logged.get(_PROJECT, UNCATEGORIZED), logged.get(_ENTITY, "")
    if project == UNCATEGORIZED:
        project = asked_for.get("project", project)
    return Home(project, entity or asked_for.get("entity", ""))


def copy_run(original: str, folder: str, access: Access, home: Home | None = None) -> str | None:
    """Copy a run file into ``folder``, with links to what lies beside it.

    Args:
        original: path of the run file.
        folder: of the copy; may hold an earlier copy, whose sync state is kept.
        access: who may read and write what is made.
        home: where the run goes; None for where it was logged.

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
    files.write_pieces(copy, log_bytes(_for_server(record, home) for record in RecordReader(original).new()), access)
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


def _for_server(record: bytes, home: Home | None) -> bytes:
    """Return a record as the server takes it: a run without its sweep, resumable and at home; others unchanged."""
    if not _is_run(record):
        return record
    parts = []
    for number, content, raw in _raw_fields(record):
        if number == _RUN:
            named = {_ENTITY: home.entity, _PROJECT: home.project} if home else {}
            kept = [f for inner, _, f in _raw_fields(content) if inner not in (_SWEEP_ID, _RESUME, *named)]
            kept += [bytes_field(inner, name.encode()) for inner, name in named.items() if name]
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
