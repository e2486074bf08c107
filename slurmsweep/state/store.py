"""The transactions over a sweep's state: create, claim, finish, give up.

Two things on disk, each with one job: **the folder of an attempt decides which process runs it**, the
journal says what has happened.
``docs/decisions/0001-folder-decides.md`` has the measurements behind that.
"""

from __future__ import annotations

import math
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import JournalReplacedError, StateUnwritableError
from slurmsweep.state import files, paths
from slurmsweep.state.chosen import ChosenPoint
from slurmsweep.state.fields import Fields, document, text
from slurmsweep.state.journal import Journal
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.lock import LOCK_TIMEOUT
from slurmsweep.state.manifest import read as read_manifest
from slurmsweep.state.outcome import Outcome, requeued
from slurmsweep.state.owner import Claim, NothingLeft, Owner
from slurmsweep.state.paths import Layout
from slurmsweep.state.records import BANDS, NO_BANDS
from slurmsweep.state.tail import AttemptId, in_words
from slurmsweep.state.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slurmsweep.state.chosen import Chooser
    from slurmsweep.state.code_copy import Copied
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.records import BandsReached, BandValue
    from slurmsweep.state.replay import Expected, Reading, SweepView
    from slurmsweep.state.tail import Head, TargetReached
    from slurmsweep.state.trial import Trial

#: Bytes of journal read for "nothing left" that are worth a record, so that the next agent begins after them.
_WORTH_A_RECORD = 64 * 1024

#: Seconds to wait for the lock with what a trial had at a band: its agent hears no signal meanwhile, and tries again.
_PATIENCE_WITH_BANDS = 2.0

#: Folders of others met on the way to "nothing left" that are worth one.
_WORTH_A_STEP = 64


class Adopted(NamedTuple):
    """A trial that was run in another sweep.

    Attributes:
        outcome: how it ended.
        chosen: its point, where the search does not give it by number.
        bands: what it had at bands of early termination.
    """

    outcome: Outcome
    chosen: ChosenPoint | None = None
    bands: tuple[BandValue, ...] = ()


class SweepStore:
    """The state of one sweep.

    Args:
        layout: where its files are.
        manifest: its frozen configuration.
        lock_timeout: seconds to wait for the journal's lock.
        status: of its folder, where that was just asked for: each question is a request to the file server.

    Attributes:
        voided: attempts that this process began to claim and that were voided, while it was stopped, before it had its
            name there: it does not run them. For its caller to say.
        counts: trials by state, as they were when this process recorded an outcome.
        device: of the filesystem on which the folder was when it was opened.
        owner: number of the user that the folder belonged to then.
        access: the modes of what is written, as of the last transaction.
    """

    def __init__(
        self,
        layout: Layout,
        manifest: Manifest,
        lock_timeout: float = LOCK_TIMEOUT,
        status: os.stat_result | None = None,
    ) -> None:
        self.layout = layout
        self.manifest = manifest
        self.journal = Journal(layout.journal)
        otherwise = files.SHARED if manifest.shared else files.PRIVATE
        self.access = files.access_of(status, otherwise) if status else files.access_by_mode(layout.folder, otherwise)
        self.lock_timeout = lock_timeout
        self.voided: list[AttemptId] = []
        self.counts: Mapping[TrialState, int] = {}
        self.device = status.st_dev if status else None
        self.owner = status.st_uid if status else os.geteuid()

    @classmethod
    def create(
        cls, root: str, manifest: Manifest, access: files.Access = files.PRIVATE, code: Copied | None = None
    ) -> SweepStore:
        """Make the folder of a new sweep below ``root``, for the users that ``access`` means.

        ``sweep.json`` is written last: without it the folder is not a sweep, so a half-made one is never met.

        Raises:
            StateUnwritableError: there is no such sweep, and nothing of it is left where it could be removed.
        """
        from slurmsweep.state.place import make_sweep  # agents make no sweep

        layout = Layout(paths.sweep_folder(root, manifest.sweep_id))
        store = cls(layout, manifest._replace(shared=access is files.SHARED))
        store.access = access
        make_sweep(root, store.layout, store.manifest, access, code)
        return store

    @classmethod
    def open(cls, name: str) -> SweepStore:
        """Open the sweep of that id or folder, to look at.

        Raises:
            NotFoundError: there is none.
            StateUnreadableError: it is damaged, of a newer version, or writable by every user.
        """
        layout = paths.find(name)
        status = files.refuse_open_folder(layout.folder)
        manifest = read_manifest(layout)
        layout = layout._replace(format=manifest.format)
        if files.status_of(layout.function):
            from slurmsweep.state.function import Function  # agents of scripts never need it

            manifest = manifest.calling(Function.read(layout))
        return cls(layout, manifest, status=status)

    @classmethod
    def open_to_run(cls, name: str) -> SweepStore:
        """Open the sweep of that id or folder, to change it or to run its command. Raises as :meth:`open`.

        Raises:
            StateUnreadableError: also where the sweep is another user's and not shared.
        """
        store = cls.open(name)
        files.refuse_strangers_sweep(store.layout.folder, store.owner, shared=store.access is files.SHARED)
        return store

    def link(self) -> None:
        """Make the link in ``wandb/`` to the sweep's folder again, where a script has removed ``wandb/``."""
        root, folder = paths.root_folder(), self.layout.folder
        if paths.without_links(paths.places(root, os.path.basename(folder))[-1]) != folder:
            from slurmsweep.state import place

            place.link(root, folder, self.access)

    @contextmanager
    def transaction(self, reading: Reading | None = None) -> Iterator[Transaction]:
        """Hold the lock; what was queued is on disk at the end, or nothing is if the body raises.

        Args:
            reading: of the journal; brought up to date under the lock, so that ``reading.view`` is the state that the
                records are added to. Refresh it before too: then little is left to read while others wait.
        """
        self.access = files.access_by_mode(self.layout.folder, self.access)
        with self.journal.locked(self.lock_timeout) as journal:
            view = reading.refresh() if reading else None
            transaction = Transaction(journal, view, self.manifest)
            yield transaction
            transaction.commit()

    def reading(self, offset: int = 0) -> Reading:
        """Return a reading of the journal from ``offset`` on; nothing is read before its first refresh."""
        from slurmsweep.state.replay import Reading  # an agent that finds a trial reads no more than the head

        return Reading(self.journal, offset=offset, expected=self.expected())

    def expected(self) -> Expected:
        """Return what the records of this sweep may speak of."""
        from slurmsweep.state.replay import Expected

        config, trials = self.manifest.config, self.manifest.trials
        return Expected(math.inf if trials is None else trials, config if config.method != "grid" else None)

    def replay(self) -> SweepView:
        """Return the state after all records, also after those of trials that the sweep does not have.

        Each field of each record is looked at. O(number of records). Takes no lock. Raises StateUnreadableError.
        """
        from slurmsweep.state.replay import Reading, SweepView

        return Reading(self.journal, SweepView(thorough=True)).refresh()

    def claim(self, owner: Owner, chooser: Chooser | None = None) -> Claim | NothingLeft:
        """Take the next trial: one given back first, else the next new one.

        The cost does not depend on the number of trials: one lock, one read of 4 KiB, one folder, one record, one
        fsync; one claim in sixty reads another 4 KiB where many were given back. Only where the head knows no work left
        the journal is read, because "nothing left" is said of the truth and not of a hint; and from where the last
        agent that did so stopped.

        Args:
            owner: of the claim: this process.
            chooser: gives the point, where the search does not give it by number.

        Raises:
            NotChosenError: the chooser has no point: nothing was claimed.
            LockTimeoutError, StateUnreadableError: nothing was claimed.
            StateUnwritableError: nothing was claimed, unless the record was written and only its fsync failed: then the
                trial shows as running until it is found without a living owner.
        """
        result, exhausted = self._claim(owner, chooser, waiting=[])
        if isinstance(result, Claim) or result.is_ordered:
            return result
        reading = self.reading(exhausted)
        waiting = reading.refresh().waiting()
        if waiting:
            return self._claim(owner, chooser, waiting)[0]
        if reading.offset - exhausted > _WORTH_A_RECORD:
            with self.transaction() as transaction:  # of many agents that find out together, one says so
                if transaction.head.exhausted + _WORTH_A_RECORD < reading.offset:
                    transaction.exhausted(reading.offset)
        return result

    def claim_attempt(self, owner: Owner, attempt_id: AttemptId, chooser: Chooser | None = None) -> Claim | NothingLeft:
        """Take that attempt and no other: an array element that was made for a trial, with its time and memory.

        An attempt beyond the first was allowed before it was assigned (a retry record).

        Raises: as :meth:`claim`.
        """
        with self.transaction() as transaction:
            if transaction.head.word is not None:
                return self._ordered(transaction.head.word, transaction.head.reached)
            claim = Claim(attempt_id, new_token(), owner, chooser.choose(attempt_id) if chooser else None)
            made = self._make_free_attempt(transaction, claim)
            if made:
                return self._record_claim(transaction, made)
        return NothingLeft(
            f"attempt {attempt_id.attempt} of trial {attempt_id.trial}, which this job was for, has been claimed"
        )

    def let_go_on(self, reading: Reading, further: Callable[[SweepView], AttemptId | None]) -> bool:
        """Let a trial that has run a part be claimed again, before any new trial; return whether there was one.

        It is given back as any trial that runs again, so a process that is killed here or at the claim loses nothing.

        Args:
            reading: of the journal; brought up to date under the lock.
            further: returns the attempt that may be claimed; None where no trial may go on. Called under the lock: be
                quick.

        Raises:
            LockTimeoutError, StateUnreadableError, StateUnwritableError: nothing was changed.
        """
        with self.transaction(reading) as transaction:
            attempt_id = further(reading.view) if transaction.head.word is None else None
            if attempt_id is not None:
                transaction.retry([attempt_id], why="rung")
        return attempt_id is not None

    def continue_after_requeue(self, owner: Owner) -> Claim | None:
        """Claim the next attempt of the trial that an earlier incarnation of this job holds; None for none.

        Slurm runs one incarnation of a job at a time (so do services of AWS), and the earlier one is over whatever the
        journal says; and what it recorded when it was asked to make way (``terminated``) does not end the trial: the
        job was put back to go on.
        So it does while the sweep is paused or stopped, which leaves trials that run alone.
        """
        from slurmsweep.state.replay import trials_of_job  # few agents are of a requeued job

        held = (of_job for of_job in trials_of_job(self.journal, owner) if of_job[1].is_held_by_earlier(owner))
        claims = (self._continue(reading, trial, owner) for reading, trial in held) if owner.job else ()
        return next(filter(None, claims), None)

    def _continue(self, reading: Reading, trial: Trial, owner: Owner) -> Claim | None:
        """Claim the next attempt of one trial; None where it is over, is another agent's, or the sweep is canceled."""
        ended = self._unrecorded_end(trial)
        if ended and ended.is_done:
            with self.transaction(reading) as transaction:
                self._end_current(transaction, trial, ended)
            return None
        wanted = Claim(trial.next_attempt, new_token(), owner, reading.view.chosen.get(trial.number))
        with self.transaction(reading) as transaction:
            if transaction.head.word is SweepState.CANCELED:
                return None
            claim = self._make_free_attempt(transaction, wanted)
            if claim is None:
                return None
            if trial.state is not TrialState.PENDING:
                if ended:
                    self._end_current(transaction, trial, ended)
                transaction.retry([claim.attempt_id], why="requeued", assigned=True)
            recorded = self._record_claim(transaction, claim)
        return recorded if isinstance(recorded, Claim) else None

    def give_up(self, claim: Claim) -> None:
        """Give back an attempt whose command was never started: its trial may be claimed again, as the next attempt."""
        with self.transaction() as transaction:
            transaction.void(claim.attempt_id)

    def record_bands(self, attempt_id: AttemptId, values: Sequence[BandValue]) -> None:
        """Record what a running attempt had at bands of early termination.

        Raises:
            StateError: call it again; doing so twice is harmless.
        """
        with self.journal.locked(min(_PATIENCE_WITH_BANDS, self.lock_timeout)) as journal:
            transaction = Transaction(journal)
            transaction.band(attempt_id, values)
            transaction.commit()

    def finish(self, claim: Claim, outcome: Outcome, bands: BandsReached = NO_BANDS) -> TargetReached | None:
        """Record how the attempt ended: in its folder, then in the journal (which the folders can rebuild).

        Args:
            claim: of the attempt.
            outcome: how it ended.
            bands: what it had at bands of early termination.

        Returns:
            What the attempt reached, if that is the sweep's target and the sweep ended by it.

        Raises:
            StateUnwritableError, LockTimeoutError: call it again; doing so twice is harmless.
        """
        self.access = files.access_by_mode(self.layout.folder, self.access)  # `share` may have changed it meanwhile
        self.write_outcome(claim, outcome, bands.values)
        reading = self.reading() if self.manifest.judges_points else None
        if reading:
            reading.refresh()
        with self.transaction(reading) as transaction:
            transaction.band(claim.attempt_id, bands.unrecorded)
            transaction.end(claim.attempt_id, claim.token, outcome)
            reached, self.counts = transaction.head.reached, transaction.head.counts
        return reached if reached and reached.trial == claim.attempt_id.trial else None

    def is_made(self, attempt_id: AttemptId) -> bool:
        """Return whether the folder of the attempt is there."""
        return files.is_folder(self.layout.attempt(attempt_id))

    def adopt(self, trials: Mapping[int, Adopted], owner: Owner) -> TargetReached | None:
        """Record trials that were run in another sweep as finished here: folders first, then one transaction.

        Returns:
            What ended the sweep, if a trial reached its target.

        Args:
            trials: by number of the trial in this sweep.
            owner: of the claims: this process.

        Raises:
            FileExistsError: a trial was claimed before.
            StateUnwritableError: the folders of some trials may have been made: `check` names them.
        """
        claims = [Claim(AttemptId(number, 1), new_token(), owner, trials[number].chosen) for number in sorted(trials)]
        with self.transaction() as transaction:
            for claim in claims:
                if not self.make_attempt(claim):
                    raise FileExistsError(self.layout.attempt(claim.attempt_id))
                adopted = trials[claim.attempt_id.trial]
                self.write_outcome(claim, adopted.outcome, adopted.bands)
                transaction.band(claim.attempt_id, adopted.bands)
                transaction.adopt(claim.attempt_id, claim.token, owner, adopted.outcome, claim.chosen)
            return transaction.head.reached

    def void(self, attempt_id: AttemptId) -> bool:
        """Make sure that no agent runs an attempt of which no owner is known; return False where there is one.

        Agent and voider make the same name, the agent a file and the voider a folder: exactly one succeeds, whatever is
        cached where, and no content has to be read to know which. A maker that wakes up later finds the name taken.
        Where a script made a file of the attempt's name, no agent can make the folder.
        """
        try:
            files.make_folder(self.layout.owner(attempt_id), self.access)
        except FileExistsError:
            return files.is_folder(self.layout.owner(attempt_id))
        except StateUnwritableError as error:
            if not isinstance(error.__cause__, NotADirectoryError):
                raise
        return True

    def read_owner(self, attempt_id: AttemptId) -> tuple[str, Owner] | None:
        """Return token and owner that the maker wrote; None where it did not get so far.

        Raises:
            StateUnreadableError: what it wrote is damaged, or cannot be read.
        """
        found = self._owner_file(attempt_id)
        return (found["token"], found["owner"]) if found else None

    def read_chosen(self, attempt_id: AttemptId) -> ChosenPoint | None:
        """Return the point that the maker wrote beside its name; None for none. Raises as :meth:`read_owner`."""
        found = self._owner_file(attempt_id)
        return found["point"] if found else None

    def read_outcome(self, attempt_id: AttemptId) -> Outcome | None:
        """Return what the agent wrote in the folder of the attempt; None where it wrote nothing.

        Raises:
            StateUnreadableError: what it wrote is damaged, or cannot be read: how the attempt ended is not known.
        """
        return files.read_document(self.layout.outcome(attempt_id), _unless_empty(Outcome.from_json))

    def read_bands(self, attempt_id: AttemptId) -> list[BandValue]:
        """Return what the folder of the attempt tells that it had at bands: beside its outcome, so none before that.

        Raises as :meth:`read_outcome`.
        """
        found = files.read_document(self.layout.outcome(attempt_id), _unless_empty(_BANDS)) or {}
        return list(found.get("bands", ()))

    def _owner_file(self, attempt_id: AttemptId) -> dict[str, Any] | None:
        """Return ``token``, ``owner`` and ``point`` of an owner file; None where there is none, or an empty one."""
        path = self.layout.owner(attempt_id)

        def take(said: Any) -> dict[str, Any]:
            point = ChosenPoint.from_json(said)
            if point and self.manifest.config.method != "grid":
                point.check(self.manifest.config)
            return _OWNER(said) | {"point": point}

        return None if files.is_folder(path) else files.read_document(path, _unless_empty(take))

    def write_outcome(self, claim: Claim, outcome: Outcome, bands: Sequence[BandValue] = ()) -> None:
        """Write in the folder of an attempt how it ended. Raises StateUnwritableError."""
        content = {"token": claim.token, **outcome.to_json(), **({"bands": bands} if bands else {})}
        path = self.layout.outcome(claim.attempt_id)
        files.despite_stale_view(lambda: files.replace(path, document(content), self.access))

    def _claim(
        self, owner: Owner, chooser: Chooser | None, waiting: list[AttemptId]
    ) -> tuple[Claim | NothingLeft, int]:
        """Return a claim, or why there is none; and up to where in the journal it is known that nothing waits."""
        with self.transaction() as transaction:
            head = transaction.head.with_queue(waiting)
            if head.word is not None:
                return self._ordered(head.word, head.reached), 0
            for attempt_id, rest in self._candidates(head, transaction):
                transaction.head = rest
                claim = Claim(attempt_id, new_token(), owner, chooser.choose(attempt_id) if chooser else None)
                made = self._make_free_attempt(transaction, claim)
                if made:
                    return self._record_claim(transaction, made), 0
            if transaction.head.next_trial - head.next_trial > _WORTH_A_STEP:
                transaction.exhausted(head.exhausted)  # the next agent need not meet all these folders again
        return NothingLeft("every trial has been claimed"), head.exhausted

    def _ordered(self, word: SweepState, reached: TargetReached | None) -> NothingLeft:
        """Return that there is nothing to claim in a sweep that was paused, or has ended."""
        return NothingLeft(f"the sweep is {in_words(word, reached, self.manifest.config.metric)}", is_ordered=True)

    def _candidates(self, head: Head, transaction: Transaction) -> Iterator[tuple[AttemptId, Head]]:
        """Yield what may be claimed, best first, each with the head that is left without it."""
        while head.queue or head.more:
            if head.more and not head.queue:
                attempt_ids, more = transaction.waiting_in(head.more)
                head = head._replace(queue=tuple(attempt_ids), more=more)
            for attempt_id in head.queue:
                head = head.without(attempt_id)
                yield attempt_id, head
        end = self.manifest.trials
        while end is None or head.next_trial < end:
            attempt_id = AttemptId(head.next_trial, 1)
            head = head.without(attempt_id)
            yield attempt_id, head

    def _make_free_attempt(self, transaction: Transaction, claim: Claim) -> Claim | None:
        """Make the attempt, or the next one whose number is free; None where it is another agent's.

        A script may have made a folder of that number beside the attempts, for its checkpoints of that epoch. No owner
        is in it. It is voided like one whose maker died before it was the owner, so no agent that sleeps runs it.
        """
        while not self.make_attempt(claim):
            attempt_id = claim.attempt_id
            if attempt_id.attempt == 1 or not self.void(attempt_id):
                return None
            transaction.void(attempt_id, was=TrialState.PENDING)
            claim = claim._replace(attempt_id=AttemptId(attempt_id.trial, attempt_id.attempt + 1))
        return claim

    def remake_attempt(self, claim: Claim) -> None:
        """Make the folder and the owner file of a claimed attempt again, which its own command removed.

        Raises:
            StateUnwritableError: it could not be made, or another process owns it now.
        """
        path = self.layout.owner(claim.attempt_id)
        files.ensure_folders(os.path.dirname(path), self.access)
        known = self.read_owner(claim.attempt_id)
        if (known and known[0] != claim.token) or files.is_folder(path):
            raise StateUnwritableError(f"cannot write {path}: another process has it now")
        files.write_whole_unless_folder(path, claim.document(), self.access)

    def make_attempt(self, claim: Claim) -> bool:
        """Return whether this process made the folder and then the owner file in it: it alone runs the attempt."""
        attempt_id, path = claim.attempt_id, self.layout.owner(claim.attempt_id)
        has_trial = attempt_id.attempt > 1  # unless a script removed it

        def make_folder() -> None:
            nonlocal has_trial
            if not has_trial:
                files.ensure_folders(self.layout.trial(attempt_id.trial), self.access)
            has_trial = False
            files.make_folder(self.layout.attempt(attempt_id), self.access)

        try:
            files.despite_stale_view(make_folder)
        except FileExistsError:
            return False
        try:
            files.despite_stale_view(lambda: files.write_whole_unless_folder(path, claim.document(), self.access))
        except FileExistsError:  # voided while this process was stopped in between
            self.voided.append(attempt_id)
            return False
        except StateUnwritableError:
            self._unmake_attempt(attempt_id)
            raise
        return True

    def _unmake_attempt(self, attempt_id: AttemptId) -> None:
        """Take back what only this process has seen, so that a full disk costs no trial."""
        with suppress(StateUnwritableError):
            files.remove_file(self.layout.owner(attempt_id))
        files.remove_empty_folder(self.layout.attempt(attempt_id))

    def _record_claim(self, transaction: Transaction, claim: Claim) -> Claim | NothingLeft:
        """Record a claim; return it, or why it does not stand in a journal that was repaired meanwhile."""
        transaction.claim(claim.attempt_id, claim.token, claim.owner, claim.chosen)
        try:
            transaction.commit()
        except JournalReplacedError:
            return self._claim_in_new_journal(claim)
        except StateUnwritableError:
            if not transaction.is_written:
                self._unmake_attempt(claim.attempt_id)
            raise
        return claim

    def _claim_in_new_journal(self, claim: Claim) -> Claim | NothingLeft:
        """Record a claim that was decided upon by a journal which is no more, and obey the one that is there.

        The attempt has this process's name, so no other one runs it; but the sweep may have ended by now, or its trial
        may have gone on to a later attempt.
        """
        attempt_id, reading = claim.attempt_id, self.reading()
        reading.refresh()
        with self.transaction(reading) as transaction:
            trial, word = reading.view.trials.get(attempt_id.trial), transaction.head.word
            known = trial.attempts.get(attempt_id.attempt) if trial else None
            if known is None or known.token is None:
                transaction.claim(attempt_id, claim.token, claim.owner, claim.chosen)
            if word is None and not (trial and trial.newest > attempt_id.attempt):
                return claim
            transaction.void(attempt_id)
        self.voided.append(attempt_id)
        return (
            self._ordered(word, transaction.head.reached) if word else NothingLeft("its trial has gone on without it")
        )

    def _end_current(self, transaction: Transaction, trial: Trial, outcome: Outcome) -> None:
        """Record the end of the newest attempt of a trial, and what its folder says that it had at bands."""
        current = trial.current
        if current is not None:
            attempt_id = AttemptId(trial.number, current.number)
            transaction.band(attempt_id, self.read_bands(attempt_id))
            transaction.end(attempt_id, current.token, outcome)

    def _unrecorded_end(self, trial: Trial) -> Outcome | None:
        """Return what the journal lacks of the end of an attempt of an earlier incarnation.

        That is the outcome in its folder, if the agent was killed before the journal had it (what finished is not run
        again), or why it was told to stop.
        """
        earlier = trial.current
        if earlier is None:
            return None
        said = earlier.outcome or self.read_outcome(AttemptId(trial.number, earlier.number))
        outcome = requeued(said) or said
        return None if outcome is earlier.outcome else outcome


def new_token() -> str:
    """Make 64 random bits. The module `secrets` would cost every agent the import of `random` and `hmac`."""
    return os.urandom(8).hex()


def _unless_empty(kind: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the same kind, None for an empty document: its writer was killed early, or a power cut emptied it."""
    return lambda value: kind(value) if value != {} else None


_OWNER = Fields({"token": text, "owner": Owner.from_json})
_BANDS = Fields({}, {"bands": BANDS})
