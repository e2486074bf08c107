"""What the command line hands to Slurm: jobs, and somebody to look after them; and what people are told of it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from slurmsweep.cli.reading import note
from slurmsweep.errors import UsageError
from slurmsweep.launch import start
from slurmsweep.launch.observe import look
from slurmsweep.launch.submit import Handover, submit
from slurmsweep.report.progress import progress
from slurmsweep.slurm.resources import merge

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from slurmsweep.cli.learning import Told
    from slurmsweep.launch.alarms import Alarms
    from slurmsweep.launch.submit import Submitted, Wishes
    from slurmsweep.launch.walltime import Learn
    from slurmsweep.state.fold import Fold
    from slurmsweep.state.mending import Settings
    from slurmsweep.state.store import SweepStore


def submit_and_say(store: SweepStore, wanted: int, wishes: Wishes, args: argparse.Namespace) -> int:
    """Submit, say what was taken and what waits, and where that was asked for wait; the number of jobs."""
    before = store.fold()
    watch = None
    if args.mend:
        from slurmsweep.launch import mend

        settings = settings_of(args, wishes, _goal(store, wanted))
        handed, watch = mend.submit_minded(store, settings, wanted, wishes)
    else:
        handed = submit(store, wanted, wishes)
    note_handover(store, handed, is_minded=args.mend)
    if args.wait:
        _wait(store, handed, wanted - handed.kept_back, watch, before)
    return wanted if watch else wanted - handed.kept_back


def submit_waves_and_say(store: SweepStore, wishes: Wishes, wish: Learn, args: argparse.Namespace) -> Told:
    """The same where time or memory is learnt on the way; whoever looks after the sweep submits the later waves."""
    from slurmsweep.cli.learning import submit_in_waves

    if not args.mend:
        return submit_in_waves(store, wishes, wish, args.count, wait=args.wait)
    from slurmsweep.launch import mend

    before = store.fold()
    settings = replace(settings_of(args, wishes, _goal(store, args.count or 0)), learn=asdict(wish))
    with mend.minded(store, settings) as watch:
        told = submit_in_waves(store, wishes, wish, args.count, wait=False, is_minded=True)
    _note_minded(store)
    if args.wait:
        _wait(store, Handover((), told.trials), 0, watch, before)
    return told


def note_handover(store: SweepStore, handover: Handover, *, is_minded: bool = False) -> None:
    """One line an array, what a limit kept back, and who looks after it."""
    for array in handover:
        note(f"submitted job {array.job}: {array_words(array)}")
    sweep = store.manifest.sweep_id
    if handover.kept_back:
        later = "the supervisor submits them" if is_minded else f"`slurmsweep submit {sweep}` submits them"
        waiting = f"{handover.kept_back} trials wait without a job: {handover.why}"
        note(f"{waiting}. Nothing is lost: {later} when there is room")
    if is_minded:
        _note_minded(store)


def array_words(array: Submitted) -> str:
    """``12 trials``, or ``3 jobs with up to 4 trials each``."""
    return f"{array.tasks} jobs with up to {array.agents} trials each" if array.agents > 1 else f"{array.tasks} trials"


def settings_of(args: argparse.Namespace, wishes: Wishes, goal: int | None) -> Settings:
    """How the sweep is to mend itself, from the command line. Raises UsageError."""
    from slurmsweep.state.mending import Settings

    options = {name: str(value) for name, value in (wishes.options or {}).items()}
    return Settings(
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
    return len(snapshot.fold.trials) + snapshot.queued + wanted


def _wait(store: SweepStore, handed: Handover, trials: int, watch: Alarms | None, before: Fold) -> None:
    try:
        with progress(trials + handed.kept_back, before) as show:
            if watch is None:
                start.wait_for_jobs(store, [array.job for array in handed], trials, show, before)
            else:
                _wait_for_supervisors(store, watch, show)
    except KeyboardInterrupt:
        note(f"not waiting any longer; the jobs go on: `slurmsweep status {store.manifest.sweep_id}`")
        raise


def _wait_for_supervisors(store: SweepStore, watch: Alarms, show: Callable[[Fold], None]) -> None:
    from slurmsweep.launch import mend

    if not mend.wait_until_over(store, watch, show):
        note(f"nobody looks after the sweep any more: `slurmsweep mend {store.manifest.sweep_id}`")
