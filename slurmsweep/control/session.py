"""One sweep in use by a command: its files, one reading of its journal, and the backend that runs its jobs."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from slurmsweep.backends import registry
from slurmsweep.backends.keys import job_key
from slurmsweep.control.defaults import backend_of
from slurmsweep.errors import StateUnreadableError, StateUnwritableError
from slurmsweep.state import files, view_cache
from slurmsweep.state.journal import decode
from slurmsweep.state.replay import Reading
from slurmsweep.state.store import SweepStore
from slurmsweep.state.submissions import SubmissionFiles
from slurmsweep.state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.backends.base import Backend
    from slurmsweep.state.journal import Record
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.tail import AttemptId


class Session:
    """The session of one command with one sweep.

    The journal is read once, and then only what was added: before the lock is taken, under it, and whenever the view
    has to be up to date. So a command costs one reading whatever it does, and nearly none of it under the lock.

    Args:
        store: the sweep's files.
        backend: ``auto`` for the backend that the sweep was started on, or the name of one.
        reading: of the journal; by default one that starts at its beginning, which changes of a sweep rest on.
    """

    #: Whether changes stay in memory, as in :class:`Rehearsal`.
    is_rehearsal = False

    def __init__(
        self, store: SweepStore, backend: str = "auto", reading: Reading | view_cache.Follower | None = None
    ) -> None:
        self.store = store
        self._wanted = backend
        self._reading = reading or store.reading()
        self._was_read = False

    @classmethod
    def open(cls, name: str) -> Session:
        """Open the sweep of that id or folder to look at it: the reading may begin with the kept view.

        Raises:
            NotFoundError: there is none.
            StateUnreadableError: it is damaged, of a newer version, or writable by all users.
        """
        store = SweepStore.open(name)
        return cls(store, reading=view_cache.Follower(store))

    @classmethod
    def open_to_run(cls, name: str) -> Session:
        """Open the sweep of that id or folder to change it. Raises as :meth:`open`, also for another user's sweep."""
        return cls(SweepStore.open_to_run(name))

    def reopened(self) -> Session:
        """Return a new session of the sweep, as it is on disk now. Raises as :meth:`open_to_run`."""
        return Session(SweepStore.open_to_run(self.store.layout.folder), self._wanted)

    @classmethod
    def planned(cls, store: SweepStore, backend: str = "auto") -> Session:
        """Return the session of a sweep that is not on disk: for what a command would do with it."""
        return cls(store, backend, _NoJournal(store.journal))

    @property
    def view(self) -> SweepView:
        """The state of the sweep as of the last :meth:`refresh`; the first look reads the journal."""
        return self._reading.view if self._was_read else self.refresh()

    def refresh(self) -> SweepView:
        """Read what was added to the journal. Raises StateUnreadableError."""
        self._was_read = True
        return self._reading.refresh()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Hold the journal's lock; :attr:`view` is up to date in the body, and holds what was written after it.

        The link in ``wandb/`` to the sweep's folder is made again, where a script removed it.

        Raises:
            LockTimeoutError, StateUnreadableError, StateUnwritableError: nothing was changed, unless the message says
                that the change was written: then only what follows it went wrong, the link or another reading.
        """
        if not isinstance(self._reading, Reading):  # changes rest on the journal and not on a kept view
            self._reading = self.store.reading()
        self.refresh()
        with self.store.transaction(self._reading) as transaction:
            yield transaction
        try:
            self.store.link()
            self.refresh()
        except (StateUnreadableError, StateUnwritableError) as error:
            raise type(error)(f"{error}; before that, what the command changes was written to the journal") from error

    def void(self, attempt_id: AttemptId) -> bool:
        """Make sure that no process runs an attempt without an owner; return False where it has an owner."""
        return self.store.void(attempt_id)

    @cached_property
    def backend(self) -> Backend:
        """The backend that runs this sweep's next jobs.

        Raises:
            SchedulerUnavailableError: the one that was asked for is not there on this machine.
        """
        remembered = self.remembered_backend() or backend_of(self.store.manifest.defaults)
        return registry.choose(self._wanted, remembered, rehearsal=self.is_rehearsal)

    @cached_property
    def scheduler(self) -> Backend:
        """The backend that knows the jobs which the journal names."""
        return registry.scheduler()

    @cached_property
    def here(self) -> str:
        """The scheduler's name of itself: ids of jobs of another cluster mean nothing without that cluster's name."""
        return self.scheduler.cluster()

    def job_keys(self) -> list[str]:
        """Return the jobs of submissions that a scheduler took, the oldest first, as backends name them."""
        taken = [submission for submission in self.view.submissions.values() if submission.job]
        return [job_key(one.job or "", one.cluster, self.here if one.cluster else "") for one in taken]

    @property
    def submissions(self) -> SubmissionFiles:
        """The documents of what was submitted."""
        return SubmissionFiles(self.store.layout.submissions, self.store.access)

    def remembered_backend(self) -> str:
        """Return the name of the backend that the newest submission used; empty before the first one.

        Submissions from before there were documents went to Slurm: only its arrays are in the journal.
        """
        known = self.submissions.all()
        if known:
            return known[-1].backend
        return registry.scheduler().name if self.view.submissions else ""

    def open_trials(self) -> int | None:
        """Return how many trials no agent has claimed, new ones and retries; None where the search has no end."""
        if self.store.manifest.trials is None:
            return None
        waiting = sum(1 for trial in self.view.trials.unsettled() if trial.open_to > trial.newest)
        return self.store.manifest.trials - (len(self.view.trials) - waiting)

    def rehearsal(self) -> Rehearsal:
        """Return a session whose changes stay in memory: what a command would do, without doing it."""
        return Rehearsal(self.store, self._wanted, self._reading if isinstance(self._reading, _NoJournal) else None)


class Rehearsal(Session):
    """A session for ``--dry-run``: records go to the view in memory and not to the journal, folders are not made."""

    is_rehearsal = True

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Collect records; the view has them after the body, and the journal never does."""
        view = self.view
        transaction = Transaction(_Memory(view), view, self.store.manifest)
        yield transaction
        transaction.commit()

    def void(self, attempt_id: AttemptId) -> bool:
        """Return what :meth:`Session.void` would return now, without making the folder."""
        return not files.is_file(self.store.layout.owner(attempt_id))


class _NoJournal(Reading):
    """The reading of a sweep that is not on disk: nothing has happened."""

    def refresh(self) -> SweepView:
        """Return the view: there is nothing to read."""
        return self.view


class _Memory:
    """A journal that is only in memory: what is appended changes the view."""

    def __init__(self, view: SweepView) -> None:
        self._view = view
        self.last: Record = {"h": view.latest}
        self.end = 0

    def record_at(self, offset: int) -> Record | None:
        """Return None: retries that wait in earlier records are not needed for a rehearsal."""

    def append(self, data: bytes, last: Record) -> None:
        """Take encoded records into the view."""
        for line in data.splitlines():
            record = decode(line)
            if record is not None:
                self._view.apply(record)
        self.last = last
