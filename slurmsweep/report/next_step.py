"""Say what a person can do next about a sweep: one command, with the options it was submitted with."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.errors import StateUnreadableError
from slurmsweep.report.figures import counted
from slurmsweep.report.terminal import printable
from slurmsweep.state import files, refusals
from slurmsweep.state.lifecycle import CUT_OFF, Standing, TrialState
from slurmsweep.state.submissions import SubmissionFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.report.summary import SweepSummary
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.replay import Submission

#: Without this no trial starts of a project that was moved.
_MOVED = " --workdir FOLDER"

#: The template of jobs where none is named.
_TEMPLATE = "array"

#: Causes of ends for which ``resubmit`` asks for more than ``run`` does.
_LACKED = frozenset({"timeout", "oom"})

#: The option for how many run at a time, by backend, and the smallest number that does not hold without it.
_OPTIONS = {"local": ("--jobs", 2), "slurm": ("--width", 1)}


def next_step(summary: SweepSummary, name: str) -> str | None:
    """Return a command and what it does, two where trials are open and others failed; None where nothing is to be done.

    Args:
        summary: of the sweep.
        name: of the sweep as the user wrote it.
    """
    step = _step(summary, name)
    if step and "FOLDER" in step and _was_moved(summary):
        step += f"; FOLDER is where {printable(summary.manifest.workdir)} is now"
    return step


def starter(manifest: Manifest, name: str) -> str:
    """Return what starts the open trials of a sweep: ``run``, or where it has no program, the call in Python.

    Args:
        manifest: of the sweep.
        name: of the sweep as the user wrote it.
    """
    return f"`slurmsweep run {shlex.quote(name)}`" if manifest.can_run else agent_call(name)


def _step(summary: SweepSummary, name: str) -> str | None:
    standing, sweep = summary.state(), shlex.quote(name)
    if standing in (Standing.PAUSED, Standing.STOPPED, Standing.CANCELED):
        pending, is_endless = summary.counts()[TrialState.PENDING], summary.manifest.trials is None
        is_left = summary.unfinished_count() or pending or is_endless
        return f"`slurmsweep resume {sweep}` lets new trials start again" if is_left else None
    if standing is Standing.RUNNING:
        return None
    if not summary.manifest.can_run:
        return _step_in_python(summary, name)
    jobs = _at_a_time(summary) + (_MOVED if _was_moved(summary) else "")
    resubmit = f"`slurmsweep resubmit {sweep}{_as_before(summary, is_again=True)}{jobs}`"
    if standing is Standing.FINISHED:
        return _step_at_the_end(summary, sweep, resubmit)
    if standing is Standing.IDLE and summary.may_go_on():
        return f"{resubmit} starts trials that may go on to their next rung"
    return _step_to_go_on(summary, sweep, f"`slurmsweep run {sweep}{_as_before(summary)}{jobs}`", resubmit)


def _step_at_the_end(summary: SweepSummary, sweep: str, resubmit: str) -> str | None:
    """Return what can be done where no trial is open."""
    words = [_again(summary, sweep, resubmit)] if summary.unfinished_count() else []
    # the name of a metric that no trial ever logged may be misspelt
    if (
        summary.best() is None
        and summary.manifest.config.method != "random"
        and any("never logged" in row.why for row in summary.unmeasured(of_metric=True))
    ):
        words.append(f"`slurmsweep create FILE --prior {sweep}` keeps what ran, once FILE names another metric")
    return ", ".join(words) or None


def _step_to_go_on(summary: SweepSummary, sweep: str, run: str, resubmit: str) -> str:
    """Return what starts the open trials, and those again that did not finish: ``run`` those that were cut off."""
    counts, unfinished = summary.counts(), summary.unfinished_count()
    if (
        unfinished
        and unfinished == counts[TrialState.FAILED]
        and not (counts[TrialState.FINISHED] or summary.stopped_early())
    ):
        return _look_first(summary, sweep, run, resubmit)
    cut_off = sum(counts[state] for state in CUT_OFF) - summary.stopped_early()
    start = f"{run} starts {_open_words(summary)}"
    if not cut_off:
        return f"{start}, {_again(summary, sweep, resubmit)}" if unfinished else start
    start += f", and the {'one' if cut_off == 1 else cut_off} again that {'was' if cut_off == 1 else 'were'} cut off"
    failed = unfinished - cut_off
    if _refused(summary):
        return f"{start}; {_again(summary, sweep, resubmit)}"
    if failed:
        return f"{start}; {resubmit} runs these and the {'one' if failed == 1 else failed} that failed"
    lacking = any(cause in _LACKED for _, _, cause in summary.ways_to_fail())
    return f"{start}; {resubmit} gives more to those that lacked time or memory" if lacking else start


def _look_first(summary: SweepSummary, sweep: str, run: str, resubmit: str) -> str:
    """Return where to look why every trial failed that ended so far: open trials would only end like these."""
    refused, failed = _refused(summary), summary.unfinished_count()
    first = refused[0] if refused else next(summary.ways_to_fail())[0]
    which = "the trial failed" if failed == 1 else f"all {failed} trials failed"
    look = f"`slurmsweep logs {sweep} {first}` shows why {which} that ended; once that is mended, {resubmit} runs "
    them = "it" if failed == 1 else "them"
    if summary.manifest.trials is None:  # there resubmit starts no new ones
        return f"{look}{them} again; {run} starts {_open_words(summary)}"
    forced = f", and --force {them} as {'it is' if failed == 1 else 'they are'}" if refused else ""
    return f"{look}{them} again and starts {_open_words(summary)}{forced}"


def _again(summary: SweepSummary, sweep: str, resubmit: str) -> str:
    """Return what runs the trials again that did not finish; first a look where the newest command refused some."""
    refused, failed = _refused(summary), summary.unfinished_count()
    if refused:
        alike, is_one = counted(len(refused), "trial fails", "trials fail"), len(refused) == 1
        return (
            f"`slurmsweep logs {sweep} {refused[0]}` shows why {alike} alike; once that is mended, "
            f"{resubmit} runs {'it' if is_one else 'them'}, and --force as {'it is' if is_one else 'they are'}"
        )
    return f"{resubmit} runs {'the trial' if failed == 1 else f'the {failed} trials'} again that did not finish"


def _step_in_python(summary: SweepSummary, name: str) -> str | None:
    """Return what starts trials of a sweep without a program: the commands have nothing to run, an agent in Python has.

    It runs no trial that ended, until that is taken back.
    """
    failed, call = summary.unfinished_count(), agent_call(name)
    steps = []
    if summary.state() is not Standing.FINISHED:
        which = "trials that may go on to their next rung" if summary.may_go_on() else _open_words(summary)
        steps.append(f"{call} starts {which}")
    if failed:
        which, them = ("the trial", "it") if failed == 1 else (f"the {failed} trials", "them")
        sweep = shlex.quote(name)
        first = f"`slurmsweep reconcile {sweep}`, then " if summary.has_unrecorded_ends() else ""
        again = f"the same call runs {them}" if steps else f"{call} runs {them}"
        steps.append(
            f"{first}`slurmsweep delete {sweep} {_choice_of_unfinished(summary)}` takes {which} back that did not "
            f"finish, and then {again}"
        )
    if steps and _was_moved(summary):
        steps.insert(0, f"`slurmsweep.Sweep({_in_python(name)}, workdir=FOLDER)` in Python names its folder")
    return ", ".join(steps) or None


def agent_call(name: str, count: int | None = None) -> str:
    """Return the call that runs trials, or so many, by a function of the user's own program (docs/functions.md)."""
    more = "" if count is None else f", count={count}"
    return f"`slurmsweep.agent({_in_python(name)}, function=...{more})` in Python"


def _in_python(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _choice_of_unfinished(summary: SweepSummary) -> str:
    """Return the options by which ``delete`` takes back the trials that did not finish, and no other."""
    ways = list(summary.ways_to_fail())
    states = {state for _, state, _ in ways}
    killed = [str(number) for number, state, _ in ways if state is TrialState.KILLED]
    words = [f"--state {state}" for state in TrialState if state in states]
    if killed and len(killed) < summary.counts()[TrialState.KILLED]:  # the others were stopped early
        words.remove(f"--state {TrialState.KILLED}")
        words.append(f"--trials {','.join(killed)}")
    return " ".join(words)


def _open_words(summary: SweepSummary) -> str:
    """Return ``the 3 open trials``; ``more trials`` where the search has no end."""
    pending = summary.counts()[TrialState.PENDING]
    if summary.manifest.trials is None:
        return "more trials"
    return "the open trial" if pending == 1 else f"the {pending} open trials"


def _was_moved(summary: SweepSummary) -> bool:
    """Return whether the folder is gone in which the sweep's trials run; False where that cannot be told."""
    with suppress(StateUnreadableError):
        return not files.is_folder(summary.manifest.workdir)
    return False


def _refused(summary: SweepSummary) -> list[int]:
    """Return the trials that the newest command did not run again for how they failed, and that wait for that still."""
    trials = summary.view.trials
    with suppress(StateUnreadableError):
        refused = sorted(refusals.read(summary.layout))
        return [a.trial for a in refused if a.trial in trials and trials[a.trial].next_attempt == a]
    return []


def _at_a_time(summary: SweepSummary) -> str:
    """Return the option for how many trials or jobs ran at a time, where that was said; else nothing."""
    with suppress(StateUnreadableError):
        documents = SubmissionFiles(summary.layout.submissions).all()
        newest = documents[-1] if documents else None
        option, least = _OPTIONS.get(newest.backend if newest else "", ("", 0))
        if newest and option and (newest.width or 0) >= least:
            return f" {option} {newest.width}"
    return ""


def _as_before(summary: SweepSummary, *, is_again: bool = False) -> str:
    """Return the options of the newest submission as words of a command line; nothing where there was none.

    Args:
        summary: of the sweep.
        is_again: for ``resubmit``, which knows what each trial asked for: time and memory are left out, and of jobs of
            Slurm all. Jobs in AWS need the rest (queue, image): the sweep may have it from that command line alone.
    """
    asked = [submission for submission in summary.view.submissions.values() if submission.job]
    if not asked:
        return ""
    newest = asked[-1]
    service = newest.cluster.partition(":")[0] if ":" in newest.cluster else ""  # its own template has its name
    if is_again and not service:
        return ""
    words = [] if newest.template in (None, _TEMPLATE, "", service) else ["--template", str(newest.template)]
    for option, value in _for_whole_trials(summary, asked).items():
        if option == "dependency" or (is_again and option in ("time", "mem")):  # a dependency was of those jobs
            continue
        words += ["--aws" if service else "--sbatch", option if value is True else f"{option}={value}"]
    return "".join(f" {shlex.quote(word)}" for word in words)


def _for_whole_trials(summary: SweepSummary, asked: Sequence[Submission]) -> dict[str, str | bool]:
    """Return the options that the newest submission had on the command line, with the time of a whole trial.

    Where trials run in parts, each job asks for its share of that time, by which a command line would ask for too
    little: the share of a first part, which submissions of new trials ask for, gives the whole.
    """
    options, rungs = dict(asked[-1].wishes), summary.manifest.config.extensions.rungs
    if rungs and "time" in options:
        share = next((str(one.wishes.get("time", "")) for one in reversed(asked) if not one.again), "")
        if rungs.minutes or not share:  # the sweep file says the limits, or only parts behind the first one are known
            del options["time"]
        elif share.isdecimal():  # else no limit, which is none of the whole either
            options["time"] = str(-(-int(share) * rungs.steps[-1] // rungs.steps[0]))
    return options
