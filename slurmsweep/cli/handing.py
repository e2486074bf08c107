"""Submit jobs, enable the supervisor, report both."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.backends.slurm.fit_limits import SubmitResult
from slurmsweep.cli.output import note, progress
from slurmsweep.control import start
from slurmsweep.control.snapshot import look
from slurmsweep.control.submit import send_all
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.backends.slurm.fit_limits import Submitted
    from slurmsweep.cli.learning import WaveResult
    from slurmsweep.control.submit import JobBatch
    from slurmsweep.sizing.walltime import Learn
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.supervisor_files import SupervisorSettings
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.state.view_cache import Follower
    from slurmsweep.supervisor.wakeup_jobs import WakeupJobs


@dataclass(frozen=True)
class StartOptions:
    """How a command starts agents.

    Attributes:
        backend: ``auto``, ``local`` or ``slurm``.
        jobs: what is asked of Slurm; ``auto`` stands for what is to be learnt.
        supervisor: settings of the supervisor, without ``jobs``; None for no supervisor.
        count: of agents; None for one for each open trial.
        side_by_side: local trials at a time; None for the default.
        canaries: trials to learn from; None for the default.
        function: import path of what trials call.
        wait: until the trials have ended; None for the default of the backend.
        as_json: print a document.
    """

    backend: str
    jobs: SubmitOptions
    supervisor: SupervisorSettings | None = None
    count: int | None = None
    side_by_side: int | None = None
    canaries: int | None = None
    function: str | None = None
    wait: bool | None = True
    as_json: bool = False


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
    learn: Learn | None = None


def submit_and_say(
    store: SweepStore, handing: Handing, wishes: SubmitOptions, start_options: StartOptions, follower: Follower
) -> SubmitResult:
    """Submit the errands, say what was taken and what waits, and where that was asked for wait.

    Args:
        store: of the sweep.
        handing: what to submit.
        wishes: what a sweep that mends itself asks for with what it submits later.
        start_options: of the command line.
        follower: of the sweep's journal; where this waits it is up to date at the end.
    """
    before = store.replay()
    watch = None
    if start_options.supervisor:
        from slurmsweep.supervisor import enable as minding

        new = sum(errand.trials - len(errand.again) for errand in handing.errands)
        learn = asdict(handing.learn) if handing.learn else {}
        settings = settings_of(start_options.supervisor, wishes, _goal(store, new), learn)
        handed, watch = minding.submit_minded(
            store, settings, handing.errands, takes_up=handing.takes_up, tell=note_array
        )
    else:
        handed = send_all(store, handing.errands, takes_up=handing.takes_up, tell=note_array)
    note_kept_back(store, handed, "" if start_options.supervisor else handing.command)
    if start_options.supervisor:
        _note_minded(store)
    if start_options.wait:
        _wait(store, follower, handed, watch, before)
    return handed


def submit_waves_and_say(  # noqa: PLR0913, PLR0917 - what a command line says
    store: SweepStore,
    wishes: SubmitOptions,
    wish: Learn,
    start_options: StartOptions,
    handing: Handing,
    follower: Follower,
) -> WaveResult:
    """Submit the first wave where time or memory is learnt; the later waves come from here, or from the supervisor."""
    from slurmsweep.cli.learning import submit_in_waves

    count = start_options.count
    if not start_options.supervisor:
        return submit_in_waves(
            store, wishes, wish, count, again=handing.again, takes_up=handing.takes_up, wait=bool(start_options.wait)
        )
    from slurmsweep.supervisor import enable as minding

    before = store.replay()
    settings = settings_of(start_options.supervisor, wishes, _goal(store, count or 0), asdict(wish))
    with minding.minded(store, settings) as watch:
        told = submit_in_waves(
            store, wishes, wish, count, again=handing.again, takes_up=handing.takes_up, wait=False, is_minded=True
        )
    minding.leave_to_supervisor(store, settings, handing.again)
    _note_minded(store)
    if start_options.wait:
        _wait(store, follower, SubmitResult((), told.trials), watch, before)
    return told


def handing_document(store: SweepStore, handed: SubmitResult, *, mends_itself: bool) -> dict[str, Any]:
    """Return the document of ``submit --json``, where the command does not wait for the end."""
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
    """Print what a limit left no room for, and which ``command`` submits it; empty for the supervisor."""
    if handover.kept_back:
        later = f"`slurmsweep {command} {store.manifest.sweep_id}` submits them" if command else ""
        waiting = f"{handover.kept_back} trials wait without a job: {handover.why}"
        note(f"{waiting}. Nothing is lost: {later or 'the supervisor submits them'} when there is room")


def array_words(array: Submitted) -> str:
    """``12 trials``, or ``3 jobs with up to 4 trials each``."""
    return f"{array.tasks} jobs with up to {array.agents} trials each" if array.agents > 1 else f"{array.tasks} trials"


def settings_of(
    supervisor: SupervisorSettings, wishes: SubmitOptions, goal: int | None, learn: dict[str, Any]
) -> SupervisorSettings:
    """Return the supervisor's settings with what its later jobs ask for."""
    options = {name: str(value) for name, value in (wishes.options or {}).items()}
    return replace(supervisor, template=wishes.template, options=options, width=wishes.width, goal=goal, learn=learn)


def check_mending(start_options: StartOptions, backend: start.Backend) -> None:
    """Refuse a supervisor without Slurm, before anything is made. Raises UsageError."""
    if start_options.supervisor and backend is start.Backend.LOCAL:
        raise UsageError("--mend is for Slurm: here `slurmsweep run SWEEP` goes on after whatever happened")


def _note_minded(store: SweepStore) -> None:
    sweep = store.manifest.sweep_id
    note(f"the sweep mends itself: `slurmsweep status {sweep}` shows how it goes, and the end is in report.txt")


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
        with progress(handed.trials + handed.kept_back, before) as show:
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
        note(f"no supervisor job is queued any more: `slurmsweep mend {store.manifest.sweep_id}`")
