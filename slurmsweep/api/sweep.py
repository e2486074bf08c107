"""A sweep from Python: the commands as calls. The command line calls these, too, and prints what they tell.

::

    sweep = slurmsweep.Sweep("abcd1234")
    sweep.submit(count=20, time="30", mem="4G")
    sweep.wait()
    sweep.resubmit()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.api.arguments import check_number
from slurmsweep.api.naming import known, whereabouts
from slurmsweep.api.summary import summary_as_known, summary_now
from slurmsweep.backends import registry
from slurmsweep.backends.base import Ability, JobSource, SubmitOptions
from slurmsweep.control.creation.share import WAYS, share
from slurmsweep.control.creation.share import in_words as readers
from slurmsweep.control.jobs import orders
from slurmsweep.control.jobs.wait import ended_trials, wait_for_jobs
from slurmsweep.control.launch.checks import behind_others, check_call, check_jobs
from slurmsweep.control.launch.start import Launch
from slurmsweep.control.round.auto_resources import what_to_learn
from slurmsweep.control.round.decide import Policy
from slurmsweep.control.round.events import Noticed, warn_of_notices
from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.round.retry_policy import RetryPolicy
from slurmsweep.control.session import Session
from slurmsweep.control.snapshot import look_at_jobs
from slurmsweep.control.upkeep.remove import plan_removal, remove
from slurmsweep.control.upkeep.rerun import Choice, rerun
from slurmsweep.errors import UsageError
from slurmsweep.state.lifecycle import CUT_OFF, TrialState
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pandas as pd

    from slurmsweep.backends.base import Backend
    from slurmsweep.control.creation.create import Draft
    from slurmsweep.control.jobs.orders import Ordered
    from slurmsweep.control.launch.result import LaunchResult
    from slurmsweep.control.round.batch import JobBatch
    from slurmsweep.control.round.events import Tell
    from slurmsweep.control.round.reconcile import ReconcileResult
    from slurmsweep.sizing.walltime import AutoSizing
    from slurmsweep.state.files import Access
    from slurmsweep.state.supervisor_files import SupervisorSettings

#: Arguments of :class:`Sweep` that a call of one of its methods may be given by mistake.
_OF_THE_CLASS = ("backend", "function", "tell", "keep", "workdir")


class Sweep:
    """One sweep, to start, follow and order its trials.

    Args:
        name: id of a sweep below ``WANDB_DIR`` (or the current folder), its beginning, the sweep's name, ``last`` for
            the newest sweep, the path of its folder, or a session, by which ``backend``, ``function`` and ``keep`` are
            decided already.
        backend: where trials run: ``auto`` for the backend that the sweep was started on, else Slurm where there is
            one, else processes of this machine; or ``slurm``, ``local``.
        function: import path of what trials call, for a sweep without a program.
        tell: takes an event for each thing done (:mod:`slurmsweep.control.round.events`). By default notices are
            warnings of the logger ``slurmsweep``, and the other events are dropped.
        keep: a named function, or folder, is that of all the sweep's trials from now on; else only of what this object
            looks at, unless :meth:`at_start` keeps it.
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
        self._changes: list[Callable[[], object]] = []
        self._keep: Callable[[], object] | None = None
        if isinstance(name, Session):
            self.session = name
            return
        if not isinstance(name, str):
            raise UsageError(f"Sweep({name!r}): name the sweep by its id or its folder, as text")
        store = known(SweepStore.open_to_run(whereabouts(name)))
        if workdir or function:
            folder = store.layout.folder  # opened again, for it may be another group's by then
            self._keep = lambda: _with_named(SweepStore.open_to_run(folder), workdir, function, keep=True)
        self.session = Session(_with_named(store, workdir, function, keep=keep), backend)

    def __repr__(self) -> str:
        """``<Sweep k3v9x2ab in /home/me/project/.slurmsweep/sweep-k3v9x2ab>``; no file is read, no scheduler asked."""
        store = self.session.store
        return f"<Sweep {store.manifest.sweep_id} in {store.layout.folder}>"

    def at_start(self, *, shared: str = "off") -> None:
        """Let the next call that starts trials change the sweep, too, when nothing of it is refused any more.

        A function and a folder that were named without ``keep`` are kept then.

        Args:
            shared: ``read`` or ``write``, as :meth:`share` takes it; ``off`` for as it is.
        """
        share_it = [] if shared == "off" else [lambda: self.share(shared)]
        self._changes = [*share_it, *filter(None, [self._keep])]  # of a sweep of another user the first is refused

    @classmethod
    def create(
        cls,
        draft: Draft,
        *,
        backend: str = "auto",
        shared: str = "off",
        prior: SweepStore | None = None,
        tell: Tell = warn_of_notices,
    ) -> Sweep:
        """Make a sweep of a checked sweep file (:func:`slurmsweep.control.creation.create.read_draft`).

        Args:
            draft: the sweep file.
            backend: as for the class.
            shared: ``off``, ``read`` or ``write``, as :meth:`share` takes it.
            prior: a sweep whose finished points are not run again.
            tell: as for the class.

        Raises:
            SweepFileError: its trials could not be run.
            UsageError: its points have no room for what ``prior`` has.
            StateUnwritableError: there is no new sweep.
        """
        from slurmsweep.control.creation.create import create

        store = known(create(draft, access=_access(shared)))
        tell(Noticed(f"sweep {store.manifest.sweep_id} in {store.layout.folder}; {readers(store)}"))
        if prior:
            from slurmsweep.control.creation.prior import adopt, known_points

            points = known_points(store, prior)
            for line in filter(None, (str(points), adopt(store, points))):
                tell(Noticed(line))
        return cls(Session(store, backend), tell=tell)

    @classmethod
    def planned(
        cls, draft: Draft, *, backend: str = "auto", prior: SweepStore | None = None, tell: Tell = warn_of_notices
    ) -> Sweep:
        """Return what a draft would be as a sweep, without writing anything: to check options, and to rehearse.

        What finished in ``prior`` has finished in it. A random search draws its points by its id, which it has not yet.

        Raises:
            SweepFileError, UsageError: :meth:`create` would refuse it.
        """
        from slurmsweep.control.creation.create import manifest_of, refuse_what_cannot_run
        from slurmsweep.state.paths import NO_ID, Layout, root_folder, sweep_folder

        refuse_what_cannot_run(draft, needs_program=draft.function is None)
        store = SweepStore(Layout(sweep_folder(root_folder(), NO_ID)), manifest_of(draft, NO_ID))
        session = Session.planned(store, backend)
        if prior:
            from slurmsweep.control.creation.prior import known_points, rehearse

            session = session.rehearsal()
            rehearse(session, known_points(store, prior))
        return cls(session, tell=tell)

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
        after: Sequence[str] = (),
        dry_run: bool = False,
        **options: str | int,
    ) -> LaunchResult:
        """Start all trials that are open, and those again that were cut off; lift a pause or an end.

        Where a trial reached the target nothing is started: :meth:`resume` lifts that.

        Args:
            wish: what the jobs ask for.
            count: trials to start at most; needed where the search has no end. Where points run several times: points.
            wait: return when they have ended.
            sizing: learn time and memory from a few trials that go first.
            supervisor: run again and submit later what is left (``--mend``).
            max_fails: trials that may fail alike before no further one starts; 0 for any number. None for five on this
                machine, for one if the command cannot start, and for any number where jobs outlive this process.
            notify: a command that is run when what was started has ended, the sweep stops itself, or a first trial
                fails; words quoted as in a shell (docs/notifications.md).
            after: sweeps, and numbers of Slurm's jobs: the jobs start when all jobs of these have ended, however they
                end. What runs or waits now counts, and for later submissions nothing of this is kept.
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
        policy = Policy(wish, self._trials(count), retry=retry, sizing=sizing, reopen=True)
        launch = Launch(
            self.session, self.tell, "run", wait, supervisor, max_fails, notify, dry_run, after, whereabouts
        )
        return self._start(launch, policy)

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
        after: Sequence[str] = (),
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
        policy = Policy(wish, self._trials(count), sizing=sizing)
        launch = Launch(
            self.session, self.tell, "submit", wait, supervisor, max_fails, notify, dry_run, after, whereabouts
        )
        return self._start(launch, policy)

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
        self.session.store.manifest.require_trials(retry.trials or ())
        wish, sizing = _asked_for(wish, sizing, options)
        is_endless = self.session.store.manifest.trials is None
        all_open = not (retry.is_selective or is_endless or sizing)
        policy = Policy(wish, all_open=all_open, retry=retry, sizing=sizing, reopen=True)
        waits = Ability.OUTLIVE not in self.session.backend.abilities if wait is None else wait
        launch = Launch(self.session, self.tell, "resubmit", waits, supervisor, max_fails, notify, dry_run)
        return self._start(launch, policy)

    def _start(self, launch: Launch, policy: Policy) -> LaunchResult:
        """Start what was asked for, with the changes to the sweep that this object's arguments ask for."""
        check_number("count", policy.count)
        check_number("max_fails", launch.max_fails or None)
        return launch.start(policy, self._changes)

    def _trials(self, points: int | None) -> int | None:
        """Return how many trials so many points are."""
        runs = self.session.store.manifest.config.extensions.runs_each
        return points * runs if type(points) is int else points

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

        Raises as :func:`slurmsweep.control.round.reconcile.reconcile`.
        """
        return reconcile(self.session.rehearsal() if dry_run else self.session)

    def pause(self) -> Ordered:
        """Start no new trials for now. Raises as :func:`slurmsweep.control.jobs.orders.pause`."""
        return orders.pause(self.session)

    def resume(self) -> Ordered:
        """Start new trials again. Raises as :func:`slurmsweep.control.jobs.orders.resume`."""
        return orders.resume(self.session)

    def stop(self) -> Ordered:
        """Start no new trials; running ones finish. Raises as :func:`slurmsweep.control.jobs.orders.stop`."""
        return orders.stop(self.session)

    def cancel(self) -> Ordered:
        """End the sweep and its running trials. Raises as :func:`slurmsweep.control.jobs.orders.cancel`."""
        return orders.cancel(self.session)

    def extend(self, count: int) -> int:
        """Give a sweep that has an end so many more trials; return how many it has then. Any method starts them.

        Where each point runs several times, ``count`` is of points. Raises as
        :func:`slurmsweep.control.creation.extend.extend`.
        """
        from slurmsweep.control.creation.extend import extend

        check_number("count", count)
        total = extend(self.session.store, count)
        self.session = self.session.reopened()
        return total

    def rerun(self, trials: Collection[int] = (), states: Collection[str] = ()) -> list[int]:
        """Let these trials, and all in these states, be run again, also finished ones; :meth:`run` starts them.

        Returns their numbers; those that wait already are not among them. Raises as
        :func:`slurmsweep.control.upkeep.rerun.chosen_attempts`.
        """
        try:
            choice = Choice(sorted(trials), frozenset(map(TrialState, states)))
        except ValueError as error:
            raise UsageError(f"states={states!r}: {error}") from None
        return [attempt_id.trial for attempt_id in rerun(self.session, choice)]

    def remove(self, *, force: bool = False) -> None:
        """Remove the sweep from disk, with all that is in it, without asking.

        With ``force`` also where it cannot be told whether a job or process of it lives; never where one is known to.

        Raises as :func:`~slurmsweep.control.upkeep.remove.plan_removal`, and as the removal itself.
        """
        remove(plan_removal(self.session, force=force), self.session)

    def share(self, who: str = "read") -> str:
        """Let the group of the sweep's folder ``read`` or ``write`` the sweep, or with ``off`` its owner alone.

        Returns who can read it now, in words. Raises as :func:`slurmsweep.control.creation.share.share`.
        """
        others = share(self.session.store, _access(who))
        words = f"sweep {self.id}: {readers(self.session.store)}"
        words += f"; {others} files of other users keep their modes" if others else ""
        self.tell(Noticed(words))
        return words

    def status(self) -> dict[str, Any]:
        """Return the document of ``status --json``. Raises SchedulerUnavailableError."""
        from slurmsweep.control.failures.groups import failure_groups
        from slurmsweep.report.summary import status_document

        summary, _ = summary_now(self.session)
        return status_document(summary, failure_groups(summary))

    def dataframe(self, *, history: bool = False) -> pd.DataFrame:
        """Return the trials as a table, one row each, or with ``history`` one row for each row that a trial logged.

        The columns are those of ``slurmsweep export``; ``started``, ``ended`` and ``time`` are seconds since the epoch.

        Raises:
            ImportError: pandas is not installed: ``pip install 'slurmsweep[dataframe]'``.
            OSError: what a trial logged is there and cannot be read.
            SchedulerUnavailableError: the scheduler could not be asked.
        """
        import pandas as pd

        from slurmsweep.control.views.export import history_rows, trial_rows
        from slurmsweep.report.export import columns

        summary, _ = summary_now(self.session)
        trials = summary.trials()
        rows = list(history_rows(summary, trials) if history else trial_rows(self.session, summary, trials))
        return pd.DataFrame(rows, columns=columns(rows))

    def report(
        self,
        path: str | None = None,
        *,
        format: str | None = None,  # noqa: A002 - as the command's option
        plot: str = "history",
        metric: str | None = None,
        history: str = "all",
        force: bool = False,
        told: Callable[[int, int], None] | None = None,
    ) -> bytes:
        """Write all that is known of the sweep into one file to look at, and return it; see ``docs/report.md``.

        Of more than 10,000 trials the best 5,000 are in it, and others taken evenly; the report says what it left out.

        Args:
            path: of the file, which is made anew, or replaced where it is a report; None to write none.
            format: ``html`` (one page that needs no network), ``md``, ``svg`` or ``png``; None for what the name of the
                file says, else ``html``.
            plot: what ``svg`` and ``png`` show: ``history``, ``parallel``, ``importance``, ``slices`` or ``timeline``.
            metric: the metric that is shown first; None for the sweep's own.
            history: whose histories are read: ``all``, ``none``, or ``best:200``.
            force: write over a file that is no report, too.
            told: is called with the number of histories that were read, and how many there are to read.

        Raises:
            UsageError: the format, plot, metric or history is unknown, the file is there and is no report, or
                matplotlib is missing.
            StateUnreadableError: what a trial logged is there and cannot be read.
            StateUnwritableError: the file cannot be written; one that was there is unchanged.
        """
        from slurmsweep.control.round.observe import bounds_here
        from slurmsweep.control.views.report import Histories, gather
        from slurmsweep.report.page.formats import FORMATS, PICTURES, PLOTS, format_of, made, refuse_other_files
        from slurmsweep.state import files

        kind = format or format_of(path, FORMATS, "html")
        for word, words in ((kind, FORMATS), (plot, PLOTS)):
            if word not in words:
                raise UsageError(f"{word!r} is none of {', '.join(words)}")
        if path is not None and not force:
            refuse_other_files(path)
        if kind in PICTURES:
            from slurmsweep.report.page.plots import refuse_without_matplotlib

            refuse_without_matplotlib(kind)  # before all histories are read
        whose, bounds = Histories.parse(history), bounds_here(self.session)
        summary, _ = summary_as_known(self.session, lambda line: self.tell(Noticed(line)))
        with files.reading(self.session.store.layout.folder):
            content = gather(self.session, summary, self.id, metric=metric, histories=whose, bounds=bounds, told=told)
        document = made(content, kind, plot)
        if path is not None:
            files.write_where_named(path, document)
        return document

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

    def check_start(
        self,
        wish: SubmitOptions,
        *,
        wait: bool = True,
        supervise: bool = False,
        max_fails: int | None = None,
        after: Sequence[str] = (),
    ) -> SubmitOptions:
        """Refuse what :meth:`run` would refuse with these arguments, before a sweep is made. Writes nothing.

        ``supervise`` stands for any ``supervisor``. Returns what its jobs would ask for. Raises as
        the functions of :mod:`slurmsweep.control.launch.checks`.
        """
        check_call(self.session.backend, wait=wait, supervise=supervise, max_fails=max_fails)
        wish, _ = check_jobs(self.session, wish, self.tell)
        return behind_others(self.session, wish, after, whereabouts, lambda line: self.tell(Noticed(line)))


def _with_named(store: SweepStore, workdir: str | None, function: str | None, *, keep: bool) -> SweepStore:
    """Return the sweep with the folder and the function that were named. Raises as :class:`Sweep`."""
    if workdir:
        from slurmsweep.control.creation.program import moved

        store = moved(store, workdir, keep=keep)
    if function:
        from slurmsweep.control.creation.function import ready_to_run

        store = ready_to_run(store, function, keep=keep)
    return store


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
    if unheard := scheduler.strangers(named):
        raise UsageError(_no_option(unheard[0], scheduler))
    wish = SubmitOptions(template, {**(wish.options or {}), **named}, wish.width if width is None else int(width))
    return (wish, sizing) if sizing else what_to_learn(wish)


def _no_option(name: str, scheduler: Backend) -> str:
    """Return what is wrong with an argument of a call that is no option of jobs that this version knows."""
    argument = name.replace("-", "_")
    if argument in _OF_THE_CLASS:
        return f"{argument!r} is not an argument of this call: write Sweep(id, {argument}=...)"
    try:  # an argument of this call, misspelt, far more often than a new option
        scheduler.normalized({name: ""})
    except UsageError as error:
        return str(error).partition(": ")[2]  # without the place, which would be the command line
    hint = "one that is newer than this version goes into wish=slurmsweep.backends.base.SubmitOptions(options={...})"
    return f"{name!a} is not an option of sbatch; {hint}"
