"""Copy an offline run so that W&B's server takes it: whole, of no sweep, and resumable.

The server refuses a run of a sweep that it does not know ("sweep ... not found", 404), and it knows none of ours. Of a
file that ends within a record, as a killed script leaves it, `wandb sync` uploads what is whole, but does not count the
file as synced. Before 0.31 an offline run does not say that it goes on with an older one, so its steps would replace
those, and its minimum of a metric would replace a smaller one of the older run. Therefore a copy is uploaded: every
whole record, with these fields of the run's own record changed, and with the extremes of the run so far.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.metrics.protobuf import bytes_field, integer_field, raw_fields
from slurmsweep.metrics.reported import number
from slurmsweep.metrics.run_file import RecordReader, item, log_bytes, read
from slurmsweep.state import files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.state.files import Access

#: Field numbers of wandb_internal.proto: Record.run; RunRecord.entity, project, sweep_id and resume.
_RUN, _ENTITY, _PROJECT, _SWEEP_ID, _RESUME = 17, 2, 3, 12, 24

#: Record.summary; SummaryRecord.update; its value_json.
_SUMMARY, _UPDATE, _VALUE_JSON = 3, 1, 16

#: Record.metric; MetricRecord.summary; its ``none``: then wandb computes no summary from the rows of this file alone,
#: which would race with the one in the file.
_METRIC, _DEFINED, _NONE = 12, 7, 6

#: By name of a metric: ``min`` and ``max``, where its definition asks for them.
Extremes = dict[str, dict[str, float]]

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


def extremes_with(before: Extremes, run_file: str) -> Extremes:
    """Return the extremes of a run so far, with those of a further file of it. Raises OSError."""
    summary = read(run_file).summary.items()
    return before | {name: told for name, value in summary if (told := _extremes(before.get(name, {}), value))}


def _extremes(before: dict[str, float], value: Any) -> dict[str, float]:
    """Return the extremes in a summary of one metric, together with those before; none where it asks for none."""
    told = {word: value[word] for word in ("min", "max") if word in value} if isinstance(value, dict) else {}
    finite = {word: one for word, one in told.items() if number(one) is not None}
    return {word: (min if word == "min" else max)(one, before.get(word, one)) for word, one in finite.items()}


def copy_run(original: str, folder: str, access: Access, home: Home, before: Extremes) -> str | None:
    """Copy a run file into ``folder``, with links to what lies beside it.

    Args:
        original: path of the run file.
        folder: of the copy; may hold an earlier copy, whose sync state is kept.
        access: who may read and write what is made.
        home: where the run goes.
        before: extremes of older files of the run.

    Returns:
        Path of the copy; None where the file has no run: its script was killed before anything was written.

    Raises:
        OSError: the original cannot be read.
        StateUnwritableError: part of the copy may exist.
    """
    if not any(kind == _RUN for record in RecordReader(original).new() for kind, _, _ in _raw_fields(record)):
        return None
    files.ensure_folders(folder, access)
    copy = os.path.join(folder, os.path.basename(original))
    records = (_for_server(record, home, before) for record in RecordReader(original).new())
    files.write_pieces(copy, log_bytes(records), access)
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


def _for_server(record: bytes, home: Home, before: Extremes) -> bytes:
    """Return a record as the server takes it: a run without its sweep, resumable and at home; most others unchanged."""
    wanted, fields = (_RUN, _SUMMARY, _METRIC) if before else (_RUN,), _raw_fields(record)
    if not any(kind in wanted for kind, _, _ in fields):
        return record
    parts = []
    for kind, content, raw in fields:
        if kind == _RUN:
            named = {_ENTITY: home.entity, _PROJECT: home.project}
            kept = [f for inner, _, f in _raw_fields(content) if inner not in (_SWEEP_ID, _RESUME, *named)]
            kept += [bytes_field(inner, name.encode()) for inner, name in named.items() if name]
            parts.append(bytes_field(_RUN, b"".join([*kept, integer_field(_RESUME, 1)])))
        elif kind == _SUMMARY and before:
            updates = _raw_fields(content)
            parts.append(bytes_field(_SUMMARY, b"".join(_update(*update, before) for update in updates) or content))
        elif kind == _METRIC and before:
            kept = [f for inner, _, f in _raw_fields(content) if inner != _DEFINED]
            has_words = len(kept) < len(list(_raw_fields(content)))
            kept += [bytes_field(_DEFINED, integer_field(_NONE, 1))] if has_words else []
            parts.append(bytes_field(_METRIC, b"".join(kept)))
        else:
            parts.append(raw)
    return b"".join(parts)


def _update(kind: int, content: bytes, raw: bytes, before: Extremes) -> bytes:
    """Return a field of a summary; a value with extremes gets those of the whole run."""
    if kind != _UPDATE:
        return raw
    try:
        name, value = item(content)
    except (IndexError, ValueError):
        return raw
    told = _extremes(before.get(name, {}), value)
    if not told:
        return raw
    others = [field for inner, _, field in raw_fields(content) if inner != _VALUE_JSON]
    return bytes_field(_UPDATE, b"".join([*others, bytes_field(_VALUE_JSON, json.dumps(value | told).encode())]))


def _raw_fields(message: bytes) -> list[tuple[int, bytes, bytes]]:
    """Return number, content and all bytes of each field; none for a record that is no message."""
    try:
        return list(raw_fields(message))
    except (IndexError, ValueError):
        return []
