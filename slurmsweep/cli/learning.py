"""Submission in waves, for ``--time auto`` and ``--mem auto``: a few trials first, the rest with what they showed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep.cli.reading import note
from slurmsweep.control import start
from slurmsweep.control.snapshot import look
from slurmsweep.control.waves import carry_out, gather
from slurmsweep.report.progress import progress
from slurmsweep.sizing.walltime import Step, next_wave
from slurmsweep.state.view_cache import Follower

if TYPE_CHECKING:
    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.backends.slurm.fit_limits import Submitted
    from slurmsweep.cli.handing import Handing
    from slurmsweep.sizing.walltime import AutoSizing, Group, Wave
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore


@dataclass
class WaveResult:
    """What was submitted in waves.

    Attributes:
        trials: how many.
        is_stuck: trials ended and none finished, so that the rest was not submitted.
        document: of ``submit --json``.
    """

    trials: int
    is_stuck: bool
    document: dict[str, Any]


def submit_in_waves(  # noqa: PLR0913 - what a command line says
    store: SweepStore,
    wishes: SubmitOptions,
    wish: AutoSizing,
    count: int | None,
    handing: Handing,
    *,
    wait: bool,
    is_minded: bool = False,
) -> WaveResult:
    """Submit the next wave; with ``wait`` all of them, each after the one before it has ended.

    Raises:
        UsageError: an option is wrong, or ``--count`` is missing.
        SchedulerError: Slurm refused, or did not answer; what was submitted stays.
    """
    told = WaveResult(0, is_stuck=False, document={"arrays": [], "reasons": []})
    while count is None or told.trials < count:
        left = None if count is None else count - told.trials
        snapshot = look(store)
        wave = next_wave(gather(store, snapshot, wishes, wish, left, handing.again), wish)
        jobs = _carry_out(store, wave, wishes, handing, told)
        if wave.step in (Step.NOTHING, Step.STUCK) or not wait:
            _say_what_is_next(store, wave, count, is_minded=is_minded)
            break
        _wait(store, wave, jobs, snapshot.view)
        if wave.step is Step.REST:
            break
    return told


def _carry_out(store: SweepStore, wave: Wave, wishes: SubmitOptions, handing: Handing, told: WaveResult) -> list[str]:
    """Submit the groups, and say so; the jobs to wait for."""
    for reason in wave.reasons:
        note(reason)
    jobs = []
    for group, array in carry_out(store, wave, wishes, handing.again, takes_up=handing.takes_up):
        note(f"submitted job {array.job}: {array.trials} trials{_given(group)}")
        told.document["arrays"].append(_row(group, array))
        jobs.append(array.job)
        told.trials += array.trials
    told.is_stuck = wave.step is Step.STUCK
    told.document |= {"trials": told.trials, "step": wave.step.name.lower(), "left": wave.left}
    told.document["reasons"] += wave.reasons
    return jobs


def _wait(store: SweepStore, wave: Wave, jobs: list[str], before: SweepView) -> None:
    """Wait for what was submitted; or, where others' jobs are to be learnt from, for these."""
    trials = sum(len(group.attempt_ids) for group in wave.groups) or wave.live
    waited_for = jobs or [s.job for s in before.submissions.values() if s.job]
    try:
        with progress(trials, before.counts()) as show:
            seen = Follower(store)
            start.wait_for_jobs(seen, waited_for, trials, lambda view: show(view.counts()), before)
    except KeyboardInterrupt:
        note("not waiting any longer; the jobs go on. Give the same command again to go on from here")
        raise


def _say_what_is_next(store: SweepStore, wave: Wave, count: int | None, *, is_minded: bool) -> None:
    sweep = store.manifest.sweep_id
    if wave.step is Step.STUCK:
        note(f"`slurmsweep trials {sweep}` shows why; after mending, `slurmsweep resubmit {sweep}` runs them again")
    elif wave.left and wave.step in (Step.CANARIES, Step.WAIT):
        again = "the same command again" if count is None else f"the same command with --count {wave.left}"
        again = "the supervisor" if is_minded else again
        note(f"{wave.left} trials are left: when these have ended, {again} submits them with what was learnt")


def _given(group: Group) -> str:
    """``, 12 min and 640 MiB each``."""
    parts = [f"{group.minutes} min" if group.minutes else "", f"{group.mib} MiB" if group.mib else ""]
    named = " and ".join(part for part in parts if part)
    return f", {named} each" if named else ""


def _row(group: Group, array: Submitted) -> dict[str, Any]:
    return {"job": array.job, "jobs": array.tasks, "trials": array.trials, "minutes": group.minutes, "mib": group.mib}
