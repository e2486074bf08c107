"""What the command line hands to Slurm: jobs, and somebody to look after them; and what people are told of it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.backends.slurm.fit_limits import SubmitResult
from slurmsweep.backends.slurm.resources import merge
from slurmsweep.cli.reading import note
from slurmsweep.control import start
from slurmsweep.control.snapshot import look
from slurmsweep.control.submit import send_all
from slurmsweep.errors import UsageError
from slurmsweep.report.progress import progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.backends.slurm.fit_limits import Submitted
    from slurmsweep.cli.learning import WaveResult
    from slurmsweep.control.submit import JobBatch
    from slurmsweep.sizing.walltime import AutoSizing
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.supervisor_files import SupervisorSettings
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.state.view_cache import Follower
    from slurmsweep.supervisor.wakeup_jobs import WakeupJobs


class Handing(NamedTuple):
    """What a command hands to Slurm.

    Attributes:
        errands: in the order in which they take what room there is.
        again: next attempts of trials that are to be run again with whatever is open.
        takes_up: a paused or ended sweep runs again with it.
        command: that submits what finds no room.
        learn: what a sweep that mends itself learns for later jobs.
    """

    errands: tuple[JobBatch, ...] = ()
    again: tuple[AttemptId, ...] = ()
    takes_up: bool = False
    command: str = "submit"
    learn: AutoSizing | None = None


def submit_and_say(
    store: SweepStore, handing: Handing, wishes: SubmitOptions, args: argparse.Namespace, follower: Follower
) -> SubmitResult:
    """Submit the errands, say what was taken and what waits, and where that was asked for wait.

    Args:
        store: of the sweep.
        handing: what to submit.
        wishes: what a sweep that mends itself asks for with what it submits later.
        args: of the command line.
        follower: of the sweep's journal; where this waits it is up to date at the end.
    """
    before = store.replay()
    watch = None
    if args.mend:
        from slurmsweep.supervisor import enable as minding

        new = sum(errand.trials - len(errand.again) for errand in handing.errands)
        learn = asdict(handing.learn) if handing.learn else {}
        settings = replace(settings_of(args, wishes, _goal(store, new)), learn=learn)
        handed, watch = minding.submit_minded(
            store, settings, handing.errands, takes_up=handing.takes_up, tell=note_array
        )
    else:
        handed = send_all(store, handing.errands, takes_up=handing.takes_up, tell=note_array)
    note_kept_back(store, handed, "" if args.mend else handing.command)
    if args.mend:
        _note_minded(store)
    if args.wait:
        _wait(store, follower, handed, watch, before)
    return handed


def submit_waves_and_say(  # noqa: PLR0913, PLR0917 - what a command line says
    store: SweepStore,
    wishes: SubmitOptions,
    wish: AutoSizing,
    args: argparse.Namespace,
    handing: Handing,
    follower: Follower,
) -> WaveResult:
    """The same where time or memory is learnt on the way; whoever looks after the sweep submits the later waves."""
    from slurmsweep.cli.learning import submit_in_waves

    if not args.mend:
        return submit_in_waves(store, wishes, wish, args.count, handing, wait=args.wait)
    from slurmsweep.supervisor import enable as minding

    before = store.replay()
    settings = replace(settings_of(args, wishes, _goal(store, args.count or 0)), learn=asdict(wish))
    with minding.minded(store, settings) as watch:
        told = submit_in_waves(store, wishes, wish, args.count, handing, wait=False, is_minded=True)
    minding.leave_to_supervisor(store, settings, handing.again)
    _note_minded(store)
    if args.wait:
        _wait(store, follower, SubmitResult((), told.trials), watch, before)
    return told


def handing_document(store: SweepStore, handed: SubmitResult, *, mends_itself: bool) -> dict[str, Any]:
    """The document of ``submit --json`` and its like, where nobody waits for the end."""
    return {
        "sweep": store.manifest.sweep_id,
        "folder": store.layout.folder,
        "trials": handed.trials,
        "arrays": [{"job": array.job, "jobs": array.tasks, "trials": array.trials} for array in handed.arrays],
        "kept_back": handed.kept_back,
        "why": handed.why,
        "mends_itself": mends_itself,
    }


def note_array(array: Submitted) -> None:
    """One line an array."""
    note(f"submitted job {array.job}: {array_words(array)}")


def note_kept_back(store: SweepStore, handover: SubmitResult, command: str) -> None:
    """What a limit left no room for, and which ``command`` submits it; empty for the supervisor."""
    if handover.kept_back:
        later = f"`slurmsweep {command} {store.manifest.sweep_id}` submits them" if command else ""
        waiting = f"{handover.kept_back} trials wait without a job: {handover.why}"
        note(f"{waiting}. Nothing is lost: {later or 'the supervisor submits them'} when there is room")


def array_words(array: Submitted) -> str:
    """``12 trials``, or ``3 jobs with up to 4 trials each``."""
    return f"{array.tasks} jobs with up to {array.agents} trials each" if array.agents > 1 else f"{array.tasks} trials"


def settings_of(args: argparse.Namespace, wishes: SubmitOptions, goal: int | None) -> SupervisorSettings:
    """How the sweep is to mend itself, from the command line. Raises UsageError."""
    from slurmsweep.state.supervisor_files import SupervisorSettings

    options = {name: str(value) for name, value in (wishes.options or {}).items()}
    return SupervisorSettings(
        template=wishes.template,
        options=options,
        width=wishes.width,
        goal=goal,
        supervisor=_supervisor(args),
        **({"every": args.mend_every} if args.mend_every else {}),
        rules=rules_of(args),
    )


def rules_of(args: argparse.Namespace) -> dict[str, Any]:
    """What is run again, and with what, as far as the command line says."""
    named = {name: getattr(args, name, None) for name in ("max_attempts", "time_factor", "mem_factor")}
    return {name: value for name, value in named.items() if value is not None}


def check_mending(args: argparse.Namespace, backend: start.Backend) -> None:
    """Refuse what cannot be asked of a supervisor, before anything is made. Raises UsageError."""
    if args.mend and backend is start.Backend.LOCAL:
        raise UsageError("--mend is for Slurm: here `slurmsweep run SWEEP` goes on after whatever happened")
    _supervisor(args)


def pair(text: str, option: str) -> tuple[str, str]:
    """Name and value of ``NAME=VALUE``. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not name.strip("-"):
        raise UsageError(f"{option} {text!r}: write NAME=VALUE, such as {option} nice=100")
    return name.lstrip("-"), value if equals else ""


def _note_minded(store: SweepStore) -> None:
    sweep = store.manifest.sweep_id
    note(f"the sweep mends itself: `slurmsweep status {sweep}` shows how it goes, and the end is in report.txt")


def _supervisor(args: argparse.Namespace) -> dict[str, str]:
    """Options of the supervisor's job, which sbatch has. Raises UsageError."""
    options = dict(pair(text, "--mend-sbatch") for text in args.mend_sbatch)
    merge({}, {}, options)
    return options


def _goal(store: SweepStore, wanted: int) -> int | None:
    """Trials in all after this submission, where the search itself has no end."""
    if store.manifest.trials is not None:
        return None
    snapshot = look(store)
    return len(snapshot.view.trials) + snapshot.queued + wanted


def _wait(
    store: SweepStore, follower: Follower, handed: SubmitResult, watch: WakeupJobs | None, before: SweepView
) -> None:
    try:
        with progress(handed.trials + handed.kept_back, before.counts()) as show_counts:

            def show(view: SweepView) -> None:
                show_counts(view.counts())

            if watch is None:
                start.wait_for_jobs(follower, [array.job for array in handed.arrays], handed.trials, show, before)
            else:
                _wait_for_supervisors(store, follower, watch, show)
    except KeyboardInterrupt:
        note(f"not waiting any longer; the jobs go on: `slurmsweep status {store.manifest.sweep_id}`")
        raise


def _wait_for_supervisors(
    store: SweepStore, follower: Follower, watch: WakeupJobs, show: Callable[[SweepView], None]
) -> None:
    from slurmsweep.supervisor import enable as minding

    if not minding.wait_until_over(store, follower, watch, show):
        note(f"nobody looks after the sweep any more: `slurmsweep mend {store.manifest.sweep_id}`")
