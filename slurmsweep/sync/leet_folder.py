"""Lay out all trials of a sweep as a folder of wandb runs, for W&B's own viewer in the terminal (``wandb leet``).

Trials with runs of the real wandb are links to these, so that the viewer follows them as they grow. Of others, which
logged with the native client or without one, a run file is written: parameters, histories and end as they are now.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import StateUnwritableError
from slurmsweep.metrics.history import history
from slurmsweep.metrics.protobuf import bytes_field, integer_field
from slurmsweep.metrics.reported import read_summary
from slurmsweep.metrics.run_file import log_bytes
from slurmsweep.metrics.trial_runs import OFFLINE, TrialRuns
from slurmsweep.state import files
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slurmsweep.report.summary import SweepSummary, TrialRow
    from slurmsweep.state.files import Access

#: Field numbers of wandb_internal.proto (0.31): of Record; of RunRecord; of a named value, which all of them hold.
_HISTORY, _SUMMARY, _RUN, _EXIT = 2, 3, 17, 18
_RUN_ID, _PROJECT, _CONFIG, _GROUP, _NAME = 1, 3, 4, 6, 8
_ITEM, _NESTED_KEY, _VALUE = 1, 2, 16


def lay_out(summary: SweepSummary, trials: Iterable[TrialRow], folder: str, access: Access) -> tuple[int, int]:
    """Make the folder; return how many trials are linked in it, and how many were written.

    What an earlier call made is brought up to date. Trials that logged nothing are left out.

    Raises:
        StateUnreadableError: what a trial logged is there and cannot be read.
        StateUnwritableError: the folder cannot be written; part of it may be there.
    """
    files.ensure_folders(folder, access)
    linked = written = 0
    for trial in trials:
        if not trial.attempt or trial.origin:
            continue
        newest, first = AttemptId(trial.number, trial.attempt), summary.view.first_attempt(trial.number)
        with files.reading(summary.layout.trial(trial.number)):
            found = TrialRuns(summary.layout, newest, first, is_over=True).found()
            rows = [] if found else [row for _, row in history(summary.layout, newest, first)]
            final = read_summary(summary.layout, newest, first) if rows else {}
        for run in (os.path.dirname(run.path) for run in found):
            link = os.path.join(folder, os.path.basename(run))
            files.link_to(run, link)
            if not os.path.islink(link):
                raise StateUnwritableError(f"{link} is there and is no link of ours: choose another folder by --links")
        linked += bool(found)
        if rows:
            written += 1
            begun = time.strftime("%Y%m%d_%H%M%S", time.localtime(trial.started or 0))
            run_id = summary.layout.run_id(trial.number)
            run = os.path.join(folder, f"{OFFLINE}{begun}-{run_id}")
            files.ensure_folder(run, access)
            records = _records(summary, trial, rows, final)
            files.write_pieces(os.path.join(run, f"run-{run_id}.wandb"), log_bytes(records), access)
    return linked, written


def _records(
    summary: SweepSummary, trial: TrialRow, rows: Iterable[dict[str, Any]], final: Mapping[str, Any]
) -> Iterator[bytes]:
    """Yield the records of a run as wandb would have written them."""
    config = b"".join(_items(trial.params))
    texts = {
        _RUN_ID: summary.layout.run_id(trial.number),
        _PROJECT: summary.manifest.config.project or "",
        _GROUP: f"sweep-{summary.layout.sweep_id}",
        _NAME: f"trial {trial.number}",
    }
    named = b"".join(bytes_field(number, text.encode("utf-8", "replace")) for number, text in texts.items() if text)
    yield bytes_field(_RUN, named + bytes_field(_CONFIG, config))
    for count, row in enumerate(rows):
        yield bytes_field(_HISTORY, b"".join(_items({"_step": count} | row)))
    yield bytes_field(_SUMMARY, b"".join(_items(final)))
    if trial.state.has_ended():
        yield bytes_field(_EXIT, integer_field(1, trial.exit_code or int(trial.state.can_retry)))


def _items(values: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield fields of names and values; wandb writes NaN and infinity as Python's JSON does."""
    for name, value in values.items():
        content = bytes_field(_NESTED_KEY, name.encode("utf-8", "replace")) + bytes_field(
            _VALUE, json.dumps(value).encode()
        )
        yield bytes_field(_ITEM, content)
