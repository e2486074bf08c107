"""A sweep from Python: the commands as calls. The command line calls these, too, and prints what they tell.

::

    sweep = slurmsweep.Sweep("abcd1234")
    sweep.submit(count=20, time="30", mem="4G")
    sweep.wait()
    sweep.resubmit()
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from slurmsweep.agents import notices
from slurmsweep.api.arguments import check_number
from slurmsweep.api.naming import known, whereabouts
from slurmsweep.backends import registry
from slurmsweep.backends.base import Ability, JobSource, SubmitOptions, SubmitResult
from slurmsweep.control import orders
from slurmsweep.control.apply import apply
from slurmsweep.control.auto_resources import what_to_learn
from slurmsweep.control.decide import Plan, Policy, decide
from slurmsweep.control.defaults import filled
from slurmsweep.control.delete import Choice, delete
from slurmsweep.control.events import Noticed, Planned, TrialsKeptBack, warn_of_notices
from slurmsweep.control.first_word import refuse_what_cannot_start
from slurmsweep.control.headline import Headline, headline
from slurmsweep.control.max_fails import FailedAlike
from slurmsweep.control.notifier import Notifier
from slurmsweep.control.observe import observe
from slurmsweep.control.reconcile import reconcile
from slurmsweep.control.remove import planned as planned_removal
from slurmsweep.control.remove import remove
from slurmsweep.control.retry_policy import RetryPolicy
from slurmsweep.control.session import Session
from slurmsweep.control.share import WAYS, share
from slurmsweep.control.share import in_words as readers
from slurmsweep.control.snapshot import look_at_jobs
from slurmsweep.control.wait import ended_trials, progress_reader, wait_for_jobs
from slurmsweep.control.waiting import look_after_submission
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.sizing.walltime import Step
from slurmsweep.state import refusals
from slurmsweep.state.lifecycle import Standing, TrialState
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import in_words

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from slurmsweep.control.batch import JobBatch
    from slurmsweep.control.create import Draft
    from slurmsweep.control.decide import Situation
    from slurmsweep.control.events import Tell
    from slurmsweep.control.orders import Ordered
    from slurmsweep.control.reconcile import ReconcileResult
    from slurmsweep.report.summary import SweepSummary
    from slurmsweep.sizing.walltime import AutoSizing
    from slurmsweep.state.files import Access
    from slurmsweep.state.supervisor_files import SupervisorSettings
    from slurmsweep.supervisor.wakeup_jobs import WakeupJobs

#: What ``run`` runs again without being asked: trials that were cut off. One that failed waits for ``resubmit``.
CUT_OFF = frozenset({TrialState.CRASHED, TrialState.KILLED, TrialState.PREEMPTED})


@dataclass(frozen=True)
class LaunchResult:
    """What a call that starts trials did.

    Attributes:
        plan: the last decision; of a rehearsal the only one.
        submitted: what the scheduler took, and what a limit kept back.
        expected: number of finished trials where all that was started finishes, or is stopped early.
        is_stuck: trials ended and none finished, so that the rest was not submitted.
        has_supervisor: a supervisor runs again and submits what is left.
        waited: the trials that were started have ended.
        later: number of trials that a later wave submits, with what those of this one showed.
        headline: what was not done of what was asked.
        stopped_by: why no further trials were started; empty where that is not so.
    """

    plan: Plan
    submitted: SubmitResult = field(default_factory=SubmitResult)
    expected: int = 0
    is_stuck: bool = False
    has_supervisor: bool = False
    waited: bool = False
    later: int = 0
    headline: Headline = field(default_factory=Headline)
    stopped_by: str = ""


class Sweep:
    """One sweep, to start, follow and order its trials.

    Args:
        name: id of a sweep below ``WANDB_DIR`` (or the current folder), its beginning, the sweep's name, ``last`` for
            the newest sweep, the path of its folder, or a session, by which ``backend``, ``function`` and ``keep`` are
            decided already.
        backend: where trials run: ``auto`` for the backend that the sweep was started on, else Slurm where there is
            one, else processes of this machine; or ``slurm``, ``local``.
        function: import path of what trials call, for a sweep without a program.
        tell: takes an event for each thing that is done (:mod:`slurmsweep.control.events`). By default notices are
            warnings of the logger ``slurmsweep``, and the other events are dropped.
        keep: a named function, or folder, is that of all the sweep's trials from now on.
        workdir: the folder in which trials run from now on, because the project was moved; a relative one is below the
            current folder.

    Raises:
        NotFoundError: there is no such sweep.
        StateUnreadableError: it is damaged, of a newer version, or another user's.
        UsageError: the function cannot be used, or there is no such folder.
    """

    def __init__(
        self,
        name: str | Session,
        *,
        backend: str = "auto",
        function: str | None = None,
        tell: Tell = warn_of_notices,
        keep: bool = True,
        workdir: str | None = None,
    ) -> None:
        self.tell = tell
        if isinstance(name, Session):
            self.session = name
            return
        if not isinstance(name, str):
            raise UsageError(f"Sweep({name!r}): name the sweep by its id or its folder, as text")
        store = known(SweepStore.open_to_run(whereabouts(name)))
        if workdir:
            from slurmsweep.control.program import moved

            store = moved(store, workdir, keep=keep)
        if function:
            from slurmsweep.control.function import ready_to_run

            store = ready_to_run(store, function, keep=keep)
        self.session = Session(store, backend)

    @classmethod
    def create(cls, draft: Draft, *, backend: str = "auto", shared: str = "off", tell: Tell = warn_of_notices) -> Sweep:
        """Make a sweep of a checked sweep file (:func:`slurmsweep.control.create.read_draft`).

        ``shared`` is ``off``, ``read`` or ``write``, as :meth:`share` takes it.

        Raises:
            SweepFileError: its trials could not be run.
            StateUnwritableError: there is no new sweep.
        """
        from slurmsweep.control.create import create

        store = known(create(draft, access=_access(shared)))
        tell(Noticed(f"sweep {store.manifest.sweep_id} in {store.layout.folder}; {readers(store)}"))
        return cls(Session(store, backend), tell=tell)

    @classmethod
    def planned(cls, draft: Draft, *, backend: str = "auto", tell: Tell = warn_of_notices) -> Sweep:
        """Return what a draft would be as a sweep, without writing anything: to check options, and to rehearse.

        Raises:
            SweepFileError: :meth:`create` would refuse it.
        """
        from slurmsweep.control.create import manifest_of, refuse_what_cannot_run
        from slurmsweep.state.paths import NO_ID, Layout, root_folder, sweep_folder

        refuse_what_cannot_run(draft, needs_program=draft.function is None)
        store = SweepStore(Layout(sweep_folder(root_folder(), NO_ID)), manifest_of(draft, NO_ID))
        return cls(Session.planned(store, backend), tell=tell)

    @property
    def id(self) -> str:
        """The sweep's id."""
        return self.session.store.manifest.sweep_id

    def run(
        self,
        wish: SubmitOptions | None = None,
        *,
        count: int | None = None,
        wait: bool = True,
        sizing: AutoSizing | None = None,
        supervisor: SupervisorSettings | None = None,
        max_fails: int | None = None,
        notify: str | None = None,
        dry_run: bool = False,
        **options: str | int,
    ) -> LaunchResult:
        """Start all trials that are open, and those again that were cut off; lift a pause or an end.

        Where a trial reached the target nothing is started: :meth:`resume` lifts that.

        Args:
            wish: what the jobs ask for.
            count: trials to start at most; needed where the search has no end.
            wait: return when they have ended.
            sizing: learn time and memory from a few trials that go first.
            supervisor: run again and submit later what is left (``--mend``).
            max_fails: trials that may fail alike before no further one starts; 0 for any number. None for five on this
                machine, for one if the command cannot start, and for any number where jobs outlive this process.
            notify: a command that is run when what was started has ended, the sweep stops itself, or a first trial
                fails; words quoted as in a shell (docs/notifications.md).
            dry_run: only decide.
            options: of the jobs, over those of ``wish``: ``time="30"``, ``mem="4G"``, ``cpus_per_task=4``; and
                ``width=8``, ``template="packed"``. ``time="auto"`` and ``mem="auto"`` learn, as ``sizing`` does.

        Raises:
            UsageError: an option is wrong, the backend cannot do what was asked for, or the sweep has neither a program
                nor a function.
            SchedulerError: the scheduler refused, or could not be asked; what was submitted before stays.
            StateError: the sweep's files could not be locked, read or written.
        """
        retry = RetryPolicy(states=CUT_OFF, plain=True)
        wish, sizing = _asked_for(wish, sizing, options)
        policy = Policy(wish, count, retry=retry, sizing=sizing, reopen=True)
        return self._launch(policy, "run", wait, supervisor, max_fails, notify, dry_run=dry_run)

    def submit(
        self,
        wish: SubmitOptions | None = None,
        *,
        count: int | None = None,
        wait: bool = False,
        sizing: AutoSizing | None = None,
        supervisor: SupervisorSettings | None = None,
        max_fails: int | None = None,
        notify: str | None = None,
        dry_run: bool = False,
        **options: str | int,
    ) -> LaunchResult:
        """Submit jobs for trials that are open; nothing runs again. Args and errors as :meth:`run`.

        Raises:
            UsageError: also where the sweep was paused or has ended.
        """
        view = self.session.refresh()
        if view.word is not None:
            words = in_words(view.word, view.reached, self.session.store.manifest.config.metric)
            raise UsageError(f"sweep {self.id} is {words}: `slurmsweep resume {self.id}` takes it up again")
        wish, sizing = _asked_for(wish, sizing, options)
        policy = Policy(wish, count, sizing=sizing)
        return self._launch(policy, "submit", wait, supervisor, max_fails, notify, dry_run=dry_run)

    def resubmit(
        self,
        retry: RetryPolicy | None = None,
        wish: SubmitOptions | None = None,
        *,
        wait: bool | None = None,
        sizing: AutoSizing | None = None,
        supervisor: SupervisorSettings | None = None,
        max_fails: int | None = None,
        notify: str | None = None,
        dry_run: bool = False,
        **options: str | int,
    ) -> LaunchResult:
        """Run again what ended and did not finish, each with what it lacked; and what is open, unless some were chosen.

        Args:
            retry: which of them, and with what.
            wish: what the jobs ask for otherwise.
            wait: return when they have ended; None to wait only where jobs do not outlive this process.
            sizing: learn time and memory from trials that finished; nothing else is started then.
            supervisor: as for :meth:`run`.
            max_fails: as for :meth:`run`.
            notify: as for :meth:`run`.
            dry_run: only decide.
            options: as for :meth:`run`.

        Trials that fail alike are refused, and run all the same where this is called once more.

        Raises: as :meth:`run`; and NotFoundError for the number of a trial that there is not.
        """
        retry = RetryPolicy() if retry is None else retry
        if not isinstance(retry, RetryPolicy):
            raise UsageError(f"retry={retry!r}: a RetryPolicy says which trials run again")
        trials = self.session.store.manifest.trials
        beyond = next((n for n in retry.trials or () if trials is not None and n >= trials), None)
        if beyond is not None and trials is not None:
            raise NotFoundError(f"sweep {self.id} has trials 0 to {trials - 1}: there is no trial {beyond}")
        wish, sizing = _asked_for(wish, sizing, options)
        is_endless = self.session.store.manifest.trials is None
        all_open = not (retry.is_selective or is_endless or sizing)
        policy = Policy(wish, all_open=all_open, retry=retry, sizing=sizing, reopen=True)
        waits = Ability.OUTLIVE not in self.session.backend.abilities if wait is None else wait
        return self._launch(policy, "resubmit", waits, supervisor, max_fails, notify, dry_run=dry_run)

    def preview(self, batch: JobBatch) -> str:
        """Return the batch script of a planned batch, as it would be submitted; its name has a token made for each."""
        backend, source = self.session.backend, JobSource.of(self.session.store)
        return backend.preview(backend.request(source, batch.trials, batch.wish, batch.attempt_ids))

    def wait(self) -> None:
        """Wait until none of the sweep's jobs is left. Raises SchedulerUnavailableError."""
        before = ended_trials(self.session.refresh())
        live = look_at_jobs(self.session)
        if live.alive:
            wait_for_jobs(self.session, live.arrays(), len(live.alive), before, self.tell)

    def reconcile(self, *, dry_run: bool = False) -> ReconcileResult:
        """Record the ends that no agent lived to record, and why the scheduler ended what it ended.

        Raises as :func:`slurmsweep.control.reconcile.reconcile`.
        """
        return reconcile(self.session.rehearsal() if dry_run else self.session)

    def pause(self) -> Ordered:
        """Start no new trials for now. Raises as :func:`slurmsweep.control.orders.pause`."""
        return orders.pause(self.session)

    def resume(self) -> Ordered:
        """Start new trials again. Raises as :func:`slurmsweep.control.orders.resume`."""
        return orders.resume(self.session)

    def stop(self) -> Ordered:
        """Start no new trials; running ones finish. Raises as :func:`slurmsweep.control.orders.stop`."""
        return orders.stop(self.session)

    def cancel(self) -> Ordered:
        """End the sweep and its running trials. Raises as :func:`slurmsweep.control.orders.cancel`."""
        return orders.cancel(self.session)

    def rerun(self, trials: Collection[int] = (), states: Collection[str] = ()) -> list[int]:
        """Let these trials, and all in these states, be run again, also finished ones; :meth:`run` starts them.

        Returns their numbers; those that wait already are not among them. Raises as
        :func:`slurmsweep.control.delete.chosen_attempts`.
        """
        try:
            choice = Choice(sorted(trials), frozenset(map(TrialState, states)))
        except ValueError as error:
            raise UsageError(f"states={states!r}: {error}") from None
        return [attempt_id.trial for attempt_id in delete(self.session, choice)]

    def remove(self) -> None:
        """Remove the sweep from disk, with all that is in it, without asking.

        Raises as :func:`slurmsweep.control.remove.planned` and :func:`slurmsweep.control.remove.remove`.
        """
        removal = planned_removal(self.session)
        remove(removal, self.session)

    def share(self, who: str = "read") -> str:
        """Let the group of the sweep's folder ``read`` or ``write`` the sweep, or with ``off`` its owner alone.

        Returns who can read it now, in words. Raises as :func:`slurmsweep.control.share.share`.
        """
        others = share(self.session.store, _access(who))
        words = f"sweep {self.id}: {readers(self.session.store)}"
        words += f"; {others} files of other users keep their modes" if others else ""
        self.tell(Noticed(words))
        return words

    def status(self) -> dict[str, Any]:
        """Return the document of ``status --json``. Raises SchedulerUnavailableError."""
        from slurmsweep.control.failure_groups import failure_groups
        from slurmsweep.report.summary import status_document

        summary = self._summary()
        return status_document(summary, failure_groups(summary))

    def _summary(self) -> SweepSummary:
        from slurmsweep.control.snapshot import look
        from slurmsweep.control.waiting import waiting_reasons
        from slurmsweep.report.summary import SweepSummary

        store = self.session.store
        self.session.refresh()
        snapshot = look(self.session)
        waiting = waiting_reasons(snapshot)
        return SweepSummary(store.layout, store.manifest, snapshot.view, snapshot.ended, snapshot.jobs, waiting)

    def dataframe(self, *, history: bool = False) -> pd.DataFrame:
        """Return the trials as a table, one row each, or with ``history`` one row for each row that a trial logged.

        The columns are those of ``slurmsweep export``; ``started``, ``ended`` and ``time`` are seconds since the epoch.

        Raises:
            ImportError: pandas is not installed: ``pip install 'slurmsweep[dataframe]'``.
            OSError: what a trial logged is there and cannot be read.
            SchedulerUnavailableError: the scheduler could not be asked.
        """
        import pandas as pd

        from slurmsweep.control.export import history_rows, trial_rows
        from slurmsweep.report.export import columns

        summary = self._summary()
        trials = summary.trials()
        rows = list(history_rows(summary, trials) if history else trial_rows(self.session, summary, trials))
        return pd.DataFrame(rows, columns=columns(rows))

    def importance(self, metric: str | None = None, *, among: str | None = None) -> dict[str, Any]:
        """Return the document of ``importance --json``: which parameters mattered, and with which values trials fail.

        Args:
            metric: one of the sweep file's metrics; None for the sweep's own.
            among: ``best:50%`` or ``best:100``: only the best trials count; None for all that ended.

        Raises:
            UsageError: the sweep has no such metric, or ``among`` is neither.
            StateUnreadableError: the journal cannot be read.
        """
        from slurmsweep.learning.importance import importance
        from slurmsweep.learning.results import Among

        chosen = Among.parse(among) if among else None
        found = importance(self.session.store.manifest, self.session.refresh(), metric, chosen)
        return {"sweep": self.id, "among": among, **found.to_json()}

    def check(self, wish: SubmitOptions, max_fails: int | None = None, *, wait: bool, supervise: bool) -> None:
        """Refuse what the backend cannot do, and trials that cannot start; tell what is ignored. Writes nothing.

        Raises:
            UsageError: an option is wrong, or needs an ability that the backend does not have; or no trial could start;
                or a variable is wrong that agents inherit from here.
        """
        backend, source = self.session.backend, JobSource.of(self.session.store)
        wish = filled(wish, source.defaults, backend)
        if not wait:
            backend.require(Ability.OUTLIVE, "--no-wait")
        if supervise:
            backend.require(Ability.WAKE, "--mend")
        self.session.scheduler.normalized(wish.options or {})  # a misspelt name is wrong everywhere
        if max_fails and (supervise or not wait):
            raise UsageError("--max-fails is for trials that this command waits for: add --wait, and leave --mend out")
        runs_here = Ability.ELSEWHERE not in backend.abilities
        for doubt in refuse_what_cannot_start(self.session.store.manifest, os.environ, runs_here=runs_here):
            self.tell(Noticed(f"{doubt}; the nodes may differ"))
        for notice in backend.check(wish, source):
            self.tell(Noticed(notice))

    def _launch(  # noqa: PLR0917 - what all calls that start trials take
        self,
        policy: Policy,
        command: str,
        wait: bool,  # noqa: FBT001 - named by every caller's own argument
        supervisor: SupervisorSettings | None,
        max_fails: int | None,
        notify: str | None,
        *,
        dry_run: bool,
    ) -> LaunchResult:
        """Start trials, and tell what comes of them by the user's command, if there is one."""
        if notify is None:
            return self._start(policy, command, wait, supervisor, max_fails, dry_run=dry_run)
        notices.words_of(notify)
        tell = self.tell
        notifier = self.tell = Notifier(self.session, tell, notify, waits=wait, is_supervised=supervisor is not None)
        try:
            result = self._start(policy, command, wait, supervisor, max_fails, dry_run=dry_run)
        except KeyboardInterrupt:
            if Ability.OUTLIVE in self.session.backend.abilities:
                notifier.leave_to_agents()
            raise
        finally:
            self.tell = tell
        notifier.over(result.stopped_by or (Step.STUCK.value if result.is_stuck else ""))
        return result

    def _start(
        self,
        policy: Policy,
        command: str,
        wait: bool,  # noqa: FBT001 - named by every caller's own argument
        supervisor: SupervisorSettings | None,
        max_fails: int | None,
        *,
        dry_run: bool,
    ) -> LaunchResult:
        """Observe, decide, apply; and where time or memory is learnt on the way, wait and do it again."""
        policy = self._ready(policy, wait, supervisor, max_fails)
        session = self.session.rehearsal() if dry_run else self.session
        total, finished, expected = SubmitResult(), None, 0
        first: Headline | None = None
        while True:
            situation = observe(session, policy, self.tell)
            plan = decide(situation, policy)
            if total.arrays and situation.rungs and not plan.batches:
                break  # every trial has gone as far as it may
            said = Headline() if first else headline(situation, policy, plan, command, is_rehearsal=dry_run)
            first = first or said
            self.tell(Planned(plan, dry_run, said.text))
            if plan.reopen and situation.view.word:
                self.tell(
                    Noticed(f"the sweep was {Standing.of_order(situation.view.word)}: `{command}` lifts that order")
                )
            if dry_run:
                return LaunchResult(plan, headline=first)
            if plan.retry.refused:
                refusals.write(session.store.layout, plan.retry.refused, session.store.access)
            known, before = len(session.view.trials), ended_trials(session.view)
            sequence = session.view.head.sequence
            again = [a for batch in plan.batches for a in batch.again]
            finished = session.view.done() if finished is None else finished
            finished -= len({a.trial for a in again}.intersection(session.view.trials.stopped_early()))
            done, watch = self._apply(policy, plan, situation, supervisor, command)
            if done.arrays and (watch or not wait):  # a command that waits for jobs asks about them in time
                look_after_submission(session, [array.job for array in done.arrays], self.tell)
            trials = session.view.trials
            before -= sum(trials[a.trial].open_to >= a.attempt for a in again)  # these are to end once more
            total = SubmitResult((*total.arrays, *done.arrays), done.kept_back, done.why)
            braked_by = self._wait(plan, done, watch, before, max_fails) if wait else ""
            step = plan.wave.step.name if plan.wave else ""
            has_next_wave = step in ("CANARIES", "WAIT")
            has_next_rung = situation.rungs is not None and done.trials > 0
            # a trial that goes on to its next rung has finished before
            started = len(session.view.trials) - known if has_next_rung and wait else done.trials
            expected += started + (len(plan.retry.attempt_ids) if has_next_rung else 0)
            is_last = not has_next_rung and (not has_next_wave or done.trials == policy.count)
            changed_nothing = session.view.head.sequence == sequence
            if not wait or watch or is_last or braked_by or (has_next_rung and changed_nothing):
                break
            policy = _next_wave(policy, plan, started)
        kept_back = total.kept_back if watch else 0
        expected += (finished or 0) + kept_back
        later = plan.wave.left if plan.wave and has_next_wave else 0
        said, is_stuck = first or Headline(), step == "STUCK"
        return LaunchResult(plan, total, expected, is_stuck, watch is not None, wait, later, said, braked_by)

    def _ready(
        self,
        policy: Policy,
        wait: bool,  # noqa: FBT001 - named by every caller's own argument
        supervisor: SupervisorSettings | None,
        max_fails: int | None,
    ) -> Policy:
        """Return the policy with the defaults of the sweep; refuse what is wrong before anything is looked at."""
        check_number("count", policy.count)
        check_number("max_fails", max_fails or None)
        if not self.session.store.manifest.can_run:
            from slurmsweep.control.function import ready_to_run  # says what is missing

            ready_to_run(self.session.store, None)
        self.check(policy.wish, max_fails, wait=wait, supervise=supervisor is not None)
        backend = self.session.backend
        policy = replace(policy, wish=filled(policy.wish, self.session.store.manifest.defaults, backend))
        if policy.sizing and Ability.LIMIT not in backend.abilities:
            self.tell(Noticed(f"the {backend.name} backend does not limit trials: no time and no memory is learnt"))
        return policy

    def _apply(
        self, policy: Policy, plan: Plan, situation: Situation, supervisor: SupervisorSettings | None, command: str
    ) -> tuple[SubmitResult, WakeupJobs | None]:
        """Do what was planned, with a supervisor where one was asked for."""
        if supervisor is None or situation.view.reached:  # nothing is left to supervise
            done, watch = apply(self.session, plan, self.tell), None
        else:
            from slurmsweep.supervisor.enable import submit_supervised

            learn = asdict(policy.sizing) if policy.sizing else {}
            settings = replace(supervisor, goal=_goal(policy, plan, situation), learn=learn)
            done, watch = submit_supervised(self.session, settings, plan, self.tell)
        if done.kept_back:
            self.tell(TrialsKeptBack(done.kept_back, done.why, "" if watch else command))
        if watch:
            look = f"`slurmsweep status {self.id}` shows how it goes, and the end is in report.txt"
            self.tell(Noticed(f"the sweep mends itself: {look}"))
        return done, watch

    def _wait(
        self, plan: Plan, done: SubmitResult, watch: WakeupJobs | None, before: int, max_fails: int | None
    ) -> str:
        """Wait for what was submitted; where others' jobs are to be learnt from, for these.

        Returns why no further trials are to start: too many failed alike. Empty where they may.
        """
        outlives = Ability.OUTLIVE in self.session.backend.abilities
        brake = FailedAlike(self.session, 0 if outlives and max_fails is None else max_fails)
        session, jobs, trials = self.session, [array.job for array in done.arrays], done.trials
        if not jobs and plan.wave:
            jobs, trials = sorted(session.job_keys()), plan.wave.live
        try:
            if watch:
                from slurmsweep.supervisor.enable import wait_until_over

                refresh = progress_reader(session, done.trials + done.kept_back, before, self.tell)
                if not wait_until_over(session, watch, refresh):
                    self.tell(Noticed(f"no supervisor job is queued any more: `slurmsweep mend {self.id}` starts one"))
            elif jobs:
                wait_for_jobs(session, jobs, trials, before, self.tell, brake=brake)
        except KeyboardInterrupt:
            if outlives:
                self.tell(Noticed(f"not waiting any longer; the jobs go on: `slurmsweep status {self.id}`"))
            else:
                self.tell(Noticed(f"stopped; `slurmsweep run {self.id}` goes on where it was"))
            raise
        return brake.reason


def _access(who: str) -> Access:
    if who not in WAYS:
        raise UsageError(f"{who!r} is not a way to share a sweep: write read, write or off")
    return WAYS[who]


def _asked_for(
    wish: SubmitOptions | None, sizing: AutoSizing | None, options: dict[str, str | int]
) -> tuple[SubmitOptions, AutoSizing | None]:
    """Return what jobs ask for, with what was given by name, which wins; and what is learnt. Raises UsageError."""
    wish = SubmitOptions() if wish is None else wish
    if not isinstance(wish, SubmitOptions):
        raise UsageError(f'wish={wish!r}: a SubmitOptions, or options by name such as time="30"')
    width, template = options.pop("width", None), str(options.pop("template", wish.template))
    check_number("width", width)
    named = {key.replace("_", "-"): value if isinstance(value, bool) else str(value) for key, value in options.items()}
    scheduler = registry.scheduler()
    if unheard := scheduler.strangers(named):  # an argument of this call, misspelt, far more often than a new option
        scheduler.normalized(dict.fromkeys(unheard, ""))
        hint = "one that is newer than this version goes into wish=SubmitOptions(options={...})"
        raise UsageError(f"{unheard[0]!a} is not an option of sbatch; {hint}")
    wish = SubmitOptions(template, {**(wish.options or {}), **named}, wish.width if width is None else int(width))
    return (wish, sizing) if sizing else what_to_learn(wish)


def _goal(policy: Policy, plan: Plan, situation: Situation) -> int | None:
    """Return the number of trials in all after this submission, where the search itself has no end."""
    if situation.trials is not None:
        return None
    new = plan.trials - sum(len(batch.again) for batch in plan.batches) if plan.wave is None else policy.count or 0
    return len(situation.view.trials) + situation.snapshot.queued + new


def _next_wave(policy: Policy, plan: Plan, started: int) -> Policy:
    """Return the policy of the next wave: for what is left, for no trial that ended since, and for no ended sweep."""
    retry = replace(policy.retry, only=frozenset(plan.retry.attempt_ids)) if policy.retry else None
    count = None if policy.count is None else max(0, policy.count - started)
    return replace(policy, count=count, retry=retry, reopen=False)
