"""Sweeps as commands open them: read a sweep file, look at a sweep; what is odd goes to stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.api.summary import summary_as_known
from slurmsweep.cli import options
from slurmsweep.cli.output import note
from slurmsweep.control.snapshot import stray_output
from slurmsweep.errors import NotFoundError, SweepFileError, UsageError
from slurmsweep.report.figures import counted
from slurmsweep.report.terminal import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from slurmsweep.control.creation.create import Draft
    from slurmsweep.control.session import Session
    from slurmsweep.control.snapshot import Snapshot
    from slurmsweep.report.summary import SweepSummary
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.sections import Metric

#: Ways to end without a trial that are shown.
_GROUPS = 3


def summarize(session: Session) -> tuple[SweepSummary, Snapshot]:
    """Return a sweep as it is now; where the scheduler cannot be asked, as its journal says, with a note."""
    return summary_as_known(session, note)


def best_trial(summary: SweepSummary) -> int:
    """Return the number of the best trial. Raises UsageError, NotFoundError."""
    metric, best = summary.manifest.config.metric, summary.best()
    if metric is None:
        raise UsageError("the sweep file names no metric, so no trial is best: give the number of a trial")
    if best is None:
        raise NotFoundError(none_is_best(summary.manifest.config, metric))
    return best.number


def none_is_best(config: SweepConfig, metric: Metric) -> str:
    """Return that no trial has a value, or no point where each runs several times: one with an open run has none."""
    return f"no finished {'point' if config.extensions.repeats else 'trial'} has a value of {metric.name!r} yet"


def note_stray_jobs(session: Session, snapshot: Snapshot) -> None:
    """Print why jobs ended without a trial, and where they left their output; or its last lines."""
    for group in snapshot.ended_in_vain[:_GROUPS]:
        note(group.words)
        for line in session.scheduler.last_words(group.first) if group.has_run else ():
            note(f"  {printable(line)}")
    stray = stray_output(session)
    if stray:
        note(
            f"{counted(len(stray), 'job ended, or runs', 'jobs ended, or run')}, without a trial; the last "
            f"one's output is in {stray[-1]}"
        )


def note_unknown(unknown: Mapping[AttemptId, str]) -> None:
    """Print the attempts whose end could not be told, each with the reason."""
    for attempt_id, reason in unknown.items():
        note(f"trial {attempt_id.trial}, attempt {attempt_id.attempt}: left alone, it may be running ({reason})")


def read_draft(args: argparse.Namespace) -> Draft:
    """Read the sweep file of a command line with these options; print its warnings.

    Raises:
        SweepFileError: it breaks rules, its trials cannot start, or with ``--strict`` it has warnings.
        UsageError: there is no such function.
    """
    from slurmsweep.control.creation import create  # loads yaml, which commands on a sweep do not need

    draft = create.read_draft(args.file, args.function, options.names_of(args), snapshot=args.snapshot)
    if args.strict and (draft.warnings or draft.doubts):
        raise SweepFileError(args.file, [*draft.warnings, *draft.doubts])
    for warning in draft.warnings:
        note(f"{args.file}: {warning}")
    for line in draft.snapshot.notes if draft.snapshot else ():
        note(line)
    return draft


def note_doubts(draft: Draft) -> None:
    """Print what may keep the trials of a sweep from starting, where nothing is started now."""
    for doubt in draft.doubts:
        note(f"{draft.source}: {doubt}; the nodes may differ")
