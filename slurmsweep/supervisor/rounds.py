"""A sweep that mends itself: rounds of reconcile, run again what deserves it, submit what waits; no daemon.

A round is what ``slurmsweep mend`` does, run by a tiny supervisor job that waits in Slurm (:mod:`.alarms`), or by a
person. Whatever kills it, another one follows; two at once cost jobs that find nothing to do, and no trial.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slurmsweep.agents.identity import lives_here, this_process
from slurmsweep.backends.slurm import queue
from slurmsweep.backends.slurm.fit_limits import SubmitResult
from slurmsweep.backends.slurm.held import failed_launches
from slurmsweep.backends.slurm.job_restarts import count_incarnations
from slurmsweep.backends.slurm.queue import JobRef
from slurmsweep.control.array_tasks import live_elements
from slurmsweep.control.reconcile import reconcile
from slurmsweep.control.resubmit import errands_of, plan_resubmission
from slurmsweep.control.snapshot import look
from slurmsweep.control.start import unclaimed
from slurmsweep.control.submit import JobBatch, recover_submissions, send_all
from slurmsweep.control.waves import carry_out, gather
from slurmsweep.errors import (
    JobLimitError,
    SchedulerUnavailableError,
    SlurmsweepError,
    SubmissionRefusedError,
    SubmissionUnknownError,
)
from slurmsweep.report.ending import ending_document, ending_text
from slurmsweep.report.summary import SweepSummary
from slurmsweep.sizing.walltime import AutoSizing, Step, next_wave
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.supervisor_files import LastRound, SupervisorFiles, SupervisorSettings
from slurmsweep.supervisor import wakeup_jobs as alarms
from slurmsweep.supervisor.enable import SOON, alarms_of, rules_of, wishes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.backends.slurm.fit_limits import Submitted
    from slurmsweep.control.snapshot import Snapshot
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.supervisor.wakeup_jobs import WakeupJobs

#: Arrays one after the other whose jobs end before they get to a trial (a module that does not load, say).
_FRUITLESS = 2

#: Seconds between tries while the controller does not answer: it restarts in less.
_AGAIN = (5, 15, 30, 60, 120)


@dataclass
class Round:
    """One round, as it goes.

    Attributes:
        number: 1..
        said: lines for people.
        notes: for the report, of this round and those before.
        kept_back: jobs for which Slurm had no room.
        is_over: nothing is left to do.
        arrays: that Slurm took.
    """

    number: int
    said: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kept_back: int = 0
    is_over: bool = False
    arrays: list[str] = field(default_factory=list)

    def submitted(self, array: Submitted) -> None:
        """Slurm took it."""
        self.arrays.append(array.job)
        self.said.append(f"submitted job {array.job}: {array.trials} trials")

    def remark(self, line: str) -> None:
        """Something that the report will say, too."""
        self.said.append(line)
        if line not in self.notes:
            self.notes.append(line)


def mend(
    store: SweepStore,
    settings: SupervisorSettings,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> LastRound | None:
    """One round; None where somebody else is at it.

    Raises:
        SchedulerError: Slurm could not be asked for minutes, or refused; the clock brings the next round.
        StateError: the sweep's state could not be read or written; likewise.
    """
    files = SupervisorFiles(store.layout, store.access)
    me = this_process(os.environ)
    number = files.take_round(me, _lives)
    if not isinstance(number, int):
        say(f"{number.job_name or number.pid} on {number.node or number.host} is at it: nothing to do here")
        return None
    watch = alarms_of(store, settings, me.job)
    last = files.last()
    this = Round(number, notes=list(last.notes) if last else [])
    try:
        _patiently(lambda: _hold_round(store, settings, watch, this), this, sleep)
    except SlurmsweepError as error:
        _after_trouble(files, watch, this, error)
        raise
    finally:
        for line in this.said:
            say(line)
    last = LastRound(number, this.is_over, tuple(this.said), notes=tuple(this.notes))
    files.end_round(last)
    return last


def _lives(holder: Owner) -> bool:
    """Whether who holds a round is still at it. Raises SchedulerUnavailableError."""
    here = lives_here(holder)
    if here is not None or holder.job is None:
        return bool(here)
    report = queue.ask([holder.job]).tasks.get(JobRef(holder.job))
    return bool(report and report.alive and not report.waits)


def _patiently(action: Callable[[], None], this: Round, sleep: Callable[[float], None]) -> None:
    """Do it again while the controller does not answer: every step of a round may be done twice."""
    for delay in _AGAIN:
        problem = _unanswered(action)
        if problem is None:
            return
        this.said.append(f"{problem}; trying again in {delay} s")
        sleep(delay)
    action()


def _unanswered(action: Callable[[], None]) -> SlurmsweepError | None:
    """What the controller did not answer; None where it did."""
    try:
        action()
    except (SchedulerUnavailableError, SubmissionUnknownError) as error:
        return error
    return None


def _after_trouble(files: SupervisorFiles, watch: WakeupJobs, this: Round, error: SlurmsweepError) -> None:
    """Leave word of it, and no round right behind this one."""
    try:
        watch.leave_to_the_clock()
    except SlurmsweepError as second:
        this.said.append(str(second))
    files.end_round(LastRound(this.number, said=tuple(this.said), trouble=str(error), notes=tuple(this.notes)))


def _hold_round(store: SweepStore, settings: SupervisorSettings, watch: WakeupJobs, this: Round) -> None:
    _be_watched_over(store, watch, this)
    recover_submissions(store)
    settled = reconcile(store)
    snapshot = settled.snapshot or look(store)
    if settled.ended or settled.voided:
        this.said.append(f"ends recorded: {len(settled.ended)}; attempts that never started: {len(settled.voided)}")
    if store.replay().word is None:
        _release_failed_launches(snapshot, this)
        again = _run_again(store, settings, snapshot, this)
        _submit_open(store, settings, snapshot, again, this)
    _arrange_the_next(store, settings, watch, snapshot, this)


def _be_watched_over(store: SweepStore, watch: WakeupJobs, this: Round) -> None:
    try:
        watch.watch_over_me()
    except JobLimitError as error:
        this.said.append(f"no room for the next supervisor yet: {error}")
    except SubmissionRefusedError as error:
        raise alarms.explain_refusal(error, store.manifest.sweep_id) from error


def _run_again(
    store: SweepStore, settings: SupervisorSettings, snapshot: Snapshot, this: Round
) -> tuple[AttemptId, ...]:
    """Run again what ended and lacked time or memory, within bounds; the attempts that go with whatever is open."""
    plan = plan_resubmission(store, rules_of(settings), wishes_of(settings), snapshot=snapshot)
    for remark in (*plan.remarks, *plan.left_words()):
        this.remark(remark)
    if plan.attempt_ids:
        this.said.append(
            f"to be run again: trials {', '.join(str(attempt_id.trial) for attempt_id in plan.attempt_ids)}"
        )
    own, others = errands_of(plan, wishes_of(settings))
    _send(store, own, this)
    return others


def _send(store: SweepStore, errands: Sequence[JobBatch], this: Round) -> None:
    """What finds no room stays what it is, and the next round finds it."""
    try:
        handed = send_all(store, errands, tell=this.submitted)
    except JobLimitError as error:
        handed = SubmitResult((), sum(errand.trials for errand in errands), str(error))
    if handed.kept_back:
        this.kept_back += handed.kept_back
        this.said.append(f"{handed.kept_back} trials wait without a job: {handed.why}")


def _submit_open(
    store: SweepStore, settings: SupervisorSettings, snapshot: Snapshot, again: tuple[AttemptId, ...], this: Round
) -> None:
    """One job for each trial that nobody has claimed and no job waits for, and for each that is run again.

    Slurm is asked again where something was submitted since: its jobs count as well.
    """
    snapshot = look(store) if this.arrays else snapshot.renewed(store.replay())
    wanted = max(0, _open_trials(store, settings, snapshot)) + len(again)
    if wanted <= 0 or snapshot.view.word is not None:  # ordered since the round began
        return
    if _came_to_nothing(snapshot):
        this.remark(
            f"no more jobs for {wanted} trials: the last {_FRUITLESS} arrays ended without claiming one; their output "
            f"in {store.layout.jobs} says why"
        )
        return
    if not settings.learn:
        _send(store, [JobBatch(wishes_of(settings), wanted, again=again)], this)
        return
    try:
        _submit_wave(store, settings, snapshot, wanted, again, this)
    except JobLimitError as error:
        this.kept_back += wanted
        this.said.append(f"{wanted} trials wait without a job: {error}")


def _submit_wave(  # noqa: PLR0913, PLR0917 - a round, and what is known of it
    store: SweepStore,
    settings: SupervisorSettings,
    snapshot: Snapshot,
    wanted: int,
    again: tuple[AttemptId, ...],
    this: Round,
) -> None:
    """The next wave, with the time and memory that were learnt so far."""
    wish = AutoSizing(**settings.learn)
    count = wanted if store.manifest.trials is None else None
    wave = next_wave(gather(store, snapshot, wishes_of(settings), wish, count, again), wish)
    this.said += wave.reasons
    for _, array in carry_out(store, wave, wishes_of(settings), again):
        this.submitted(array)
    if wave.step is Step.STUCK:
        this.remark(f"{wanted} trials were not submitted: {'; '.join(wave.reasons)}")


def _came_to_nothing(snapshot: Snapshot) -> bool:
    """Whether the newest arrays all ended before any of their jobs got to a trial: others would end like them."""
    if snapshot.jobs:
        return False
    newest = [s.job for s in snapshot.view.submissions.values() if s.job][-_FRUITLESS:]
    return len(newest) == _FRUITLESS and not any(True for _ in snapshot.view.trials.of_jobs(set(newest)))


def _open_trials(store: SweepStore, settings: SupervisorSettings, snapshot: Snapshot) -> int:
    open_trials = unclaimed(store, snapshot.view)
    if open_trials is None:
        claimed = len(snapshot.view.trials)
        open_trials = max(0, (settings.goal or 0) - claimed) + len(snapshot.view.waiting())
    return open_trials - snapshot.queued


def _release_failed_launches(snapshot: Snapshot, this: Round) -> None:
    """Let start again what Slurm holds because a node could not start it: otherwise it waits for ever."""
    failed = failed_launches(snapshot.alive)
    if failed:
        queue.release([str(ref) for ref in failed])
        this.said.append(f"released after a failed launch: jobs {', '.join(map(str, failed))}")


def _arrange_the_next(
    store: SweepStore, settings: SupervisorSettings, watch: WakeupJobs, snapshot: Snapshot, this: Round
) -> None:
    """Who ends next wakes the next round. Before the mending ends Slurm is asked once more whether nothing is left."""
    view = store.replay()
    known = {*this.arrays, *(ref.job for ref in snapshot.alive)}
    arrays = tuple(sorted(known, key=int)) or live_elements(view).arrays
    if arrays or this.kept_back:
        minutes = min(SOON, settings.every) if this.kept_back else settings.every
        watch.wake_after(arrays, minutes)
        ended = f"when one of the arrays {', '.join(arrays)} has ended, or " if arrays else ""
        this.said.append(f"the next round: {ended}in {minutes} minutes")
    elif view.word is SweepState.PAUSED:
        watch.wake_after(())
        this.said.append("the sweep is paused: looked at again by the clock")
    elif view.counts().get(TrialState.RUNNING):
        watch.wake_after(())
        this.said.append("trials run of which nobody can tell here: looked at again by the clock")
    else:
        _write_report(store, this)
        this.is_over = True
        watch.stop()


def _write_report(store: SweepStore, this: Round) -> None:
    view = store.replay()
    known = count_incarnations({s.job for s in view.submissions.values() if s.job})
    document = ending_document(
        SweepSummary(store.layout, store.manifest, view, {}),
        accounting=known.accounting,
        rounds=this.number,
        notes=this.notes,
        slurm_says=known.ends,
    )
    SupervisorFiles(store.layout, store.access).write_report(ending_text(document), document)
    this.said.append(f"nothing is left to do; the report is {store.layout.report_text}")
