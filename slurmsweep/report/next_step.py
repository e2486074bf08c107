"""Say what a person can do next about a sweep: one command, with the options it was submitted with."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from slurmsweep.state.lifecycle import Standing, TrialState

if TYPE_CHECKING:
    from slurmsweep.report.summary import SweepSummary

#: The template of jobs where none is named.
_TEMPLATE = "array"


def next_step(summary: SweepSummary, name: str) -> str | None:
    """Return a command and what it does; None where nothing is to be done but to wait, or where the end is canceled.

    Args:
        summary: of the sweep.
        name: of the sweep as the user wrote it.
    """
    counts, standing = summary.counts(), summary.state()
    failed = sum(n for state, n in counts.items() if state.can_retry) - summary.stopped_early()
    total = summary.manifest.trials
    sweep = shlex.quote(name)
    if standing in (Standing.PAUSED, Standing.STOPPED, Standing.CANCELED):
        return f"`slurmsweep resume {sweep}` lifts that order"
    if standing is Standing.RUNNING:
        return None
    if standing is Standing.FINISHED:
        which = "the trial" if failed == 1 else f"the {failed} trials"
        return f"`slurmsweep resubmit {sweep}` runs {which} again that did not finish" if failed else None
    which = "more trials" if total is None else f"the {counts[TrialState.PENDING]} open trials"
    if standing is Standing.IDLE and summary.may_go_on():
        return f"`slurmsweep resubmit {sweep}` starts trials that may go on to their next rung"
    return f"`slurmsweep run {sweep}{_as_before(summary)}` starts {which}"


def _as_before(summary: SweepSummary) -> str:
    """Return the options of the newest submission as words of a command line; nothing where there was none."""
    asked = [submission for submission in summary.view.submissions.values() if submission.job]
    if not asked:
        return ""
    newest = asked[-1]
    words = [] if newest.template in (None, _TEMPLATE) else ["--template", str(newest.template)]
    for option, value in newest.wishes.items():
        words += ["--sbatch", option if value is True else f"{option}={value}"]
    return "".join(f" {shlex.quote(word)}" for word in words)
