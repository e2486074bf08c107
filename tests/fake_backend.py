"""A scheduler in memory, for tests of what submits to one and looks at it: its jobs are data, and trouble is a setting.

::

    backend = FakeBackend(room=10)
    ...                                     # what is tested sends arrays
    [job] = backend.arrays
    backend.start(job)                      # all of its jobs run
    backend.end(job, "TIMEOUT", tasks=[3])  # one has ended, in Slurm's words
    backend.forget(job)                     # the scheduler knows none of them any more
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slurmsweep.backends.base import (
    DEFAULT_TEMPLATE,
    Ability,
    Account,
    Answer,
    Asked,
    Backend,
    Capacity,
    JobRequest,
    JobRestarts,
    JobStatus,
    StartEstimate,
    SubmitResult,
    Submitted,
    WakeupJob,
    When,
)
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm import changes, jobstates, queue, resources, waiting
from slurmsweep.errors import (
    JobLimitError,
    SchedulerUnavailableError,
    SubmissionRefusedError,
    SubmissionUnknownError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

_WAITS = JobStatus("PENDING", True, None, "", None, "", "squeue", waits=True)._replace(
    reason="Priority", wait=waiting.explain("Priority")
)
_RUNS = JobStatus("RUNNING", True, None, "", None, "n1", "squeue")


@dataclass
class FakeBackend(Backend):
    """Takes whole arrays while there is room.

    Attributes:
        abilities: what it can do; all by default.
        room: number of jobs that it still takes; an array that is larger is refused.
        largest: number of jobs in an array at most.
        agents: how many trials each job runs side by side; None where it runs one.
        refusal: with which words every submission is refused; empty for none.
        unanswered: how many of the next submissions are taken without an answer.
        lost: how many of the next submissions are neither taken nor answered.
        silent: how many of the next questions and orders are not answered.
        capacity_is: what a job gets at most.
        site: name of the cluster.
        accounting: what became of questions to accounting.
        accounted: what accounting knows, by job.
        ends: starts that did not complete, by word.
        meanwhile: what happens while a command waits, one thing after the other.
        tasks: the status of each job that the scheduler knows.
        requests: what was sent, by id of the array, in this order.
        later: name and time of each job that wakes a supervisor, by id.
        changed: jobs that were changed: array, its elements, words.
        said: names of methods that were called and reach a scheduler, in this order.
    """

    name = "fake"
    abilities: frozenset[Ability] = frozenset(Ability)
    room: int = 1_000_000
    largest: int = 1000
    agents: int | None = None
    refusal: str = ""
    unanswered: int = 0
    lost: int = 0
    silent: int = 0
    capacity_is: Capacity = field(default_factory=lambda: Capacity(1440.0, 16000.0, 2, 60.0))
    site: str = ""
    accounting: str = "off"
    accounted: dict[JobRef, Account] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    meanwhile: list[Callable[[], object]] = field(default_factory=list)
    tasks: dict[JobRef, JobStatus] = field(default_factory=dict)
    requests: dict[str, JobRequest] = field(default_factory=dict)
    later: dict[str, tuple[str, When]] = field(default_factory=dict)
    changed: list[tuple[str, list[int], list[str]]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    _ids: int = 100

    # The story

    @property
    def arrays(self) -> list[str]:
        """Ids of all arrays that were taken, the oldest first."""
        return list(self.requests)

    def start(self, job: str, tasks: Iterable[int] | None = None) -> None:
        """Let jobs of an array run; all of them by default."""
        self._become(job, tasks, _RUNS)

    def end(self, job: str, word: str = "COMPLETED", tasks: Iterable[int] | None = None, code: int = 0) -> None:
        """Let jobs of an array end with a word of Slurm's and an exit code."""
        state, cause = jobstates.outcome(word, code, None)
        self._become(job, tasks, JobStatus(word, False, state, cause, code, "n1", "squeue"))

    def forget(self, job: str) -> None:
        """Let the scheduler know nothing of an array or a plain job any more."""
        self.tasks = {ref: status for ref, status in self.tasks.items() if ref.job != job}
        self.later.pop(job, None)

    def waiting(self) -> dict[str, When]:
        """Return when supervisors are woken, by the last part of their jobs' names."""
        return {name.rpartition("-")[2]: when for name, when in self.later.values()}

    def _become(self, job: str, tasks: Iterable[int] | None, status: JobStatus) -> None:
        chosen = None if tasks is None else set(tasks)
        self.tasks |= {ref: status for ref in self.tasks if ref.job == job and (chosen is None or ref.task in chosen)}

    def _asked(self, method: str) -> None:
        self.said.append(method)
        if self.silent:
            self.silent -= 1
            raise SchedulerUnavailableError(f"{method}: the controller does not answer")

    # Before anything is submitted

    def check(self, wish, source=None):
        merged(source.options if source else {}, wish)
        return ()

    def options(self, wish, source):
        return {"time": resources.DEFAULT_TIME, **merged(source.options, wish)}

    def long_name(self, option):
        return resources.normal_name(option)

    def normalized(self, options):
        return resources.merge((resources.COMMAND_LINE, options))

    def request(self, source, trials, wish, attempt_ids=()):
        if attempt_ids:
            self.require(Ability.ASSIGN, "a certain attempt")
        self._ids += 1
        return JobRequest(
            name=f"{source.name}-{self._ids:08x}",
            tasks=-(-trials // (self.agents or 1)),
            trials=trials,
            agents=self.agents,
            width=wish.width,
            options=self.options(wish, source),
            template=wish.template or DEFAULT_TEMPLATE,
            body="exec slurmsweep agent",
            source=source,
            attempt_ids=attempt_ids,
        )

    def preview(self, request):
        return f"{request.tasks} jobs {request.name}: {request.body} {request.source.argument}\n"

    def estimate(self, request):
        self._asked("estimate")
        full, rest = divmod(request.tasks, self.largest)
        return StartEstimate((*[self.largest] * full, *([rest] if rest else [])), refusal=self.refusal or None)

    # Submitting

    def submit(self, request, part: Callable[[int, int], Submitted | None], *, was_refused=False):
        del was_refused
        agents, first, arrays = request.agents or 1, 0, []
        if not self.room:
            raise JobLimitError("the fake takes no more jobs")
        while first < request.trials and self.room:
            trials = min(min(self.largest, self.room) * agents, request.trials - first)
            array = part(first, trials)
            arrays += [array] if array else []
            first += trials
        left = request.trials - first
        return SubmitResult(tuple(arrays), left, "the fake takes no more jobs" if left else "")

    def send(self, request):
        self._asked("send")
        if self.refusal:
            raise SubmissionRefusedError(self.refusal)
        if request.tasks > self.room:
            raise JobLimitError(f"the fake takes {self.room} more jobs")
        if self.lost:
            self.lost -= 1
            raise SubmissionUnknownError("the fake did not answer")
        job = self._new_job()
        self.requests[job] = request
        self.room -= request.tasks
        self.tasks |= {JobRef(job, task): _WAITS for task in range(request.tasks)}
        if self.unanswered:
            self.unanswered -= 1
            raise SubmissionUnknownError("the fake did not answer")
        return job

    def find(self, name, cluster=""):
        del cluster
        self._asked("find")
        return next((job for job, request in self.requests.items() if request.name == name), "")

    def _new_job(self) -> str:
        self._ids += 1
        return str(self._ids)

    # Looking

    def cluster(self, options=None):
        return str((options or {}).get("clusters") or self.site)

    def poll(self, jobs, wanted=()):
        self._asked("poll")
        ids = {*jobs, *(ref.job for ref in wanted)}
        found = {ref: status for ref, status in self.tasks.items() if ref.job in ids}
        accounting = "not needed" if set(wanted) <= found.keys() else self.accounting
        return Answer(found, accounting, self.site)

    def capacity(self, options):
        del options
        self._asked("capacity")
        return self.capacity_is

    def asked(self, options):
        return resources.asked(options) if options else Asked()

    def accounts(self, jobs: Collection[str]):
        if not jobs:
            return {}, "not needed"
        return {ref: account for ref, account in self.accounted.items() if ref.job in jobs}, self.accounting

    def restarts(self, jobs):
        del jobs
        return JobRestarts(dict(self.ends), self.accounting)

    def wait(self, jobs, target, refresh, may_start=None, seen=lambda _: None):  # noqa: ARG002 - started already
        while self.meanwhile and _ended(refresh()) < target:
            answer = self.poll(jobs)
            seen(answer)
            if not any(s.alive for s in answer.tasks.values()):
                break
            self.meanwhile.pop(0)()
        refresh()

    # Ordering

    def cancel(self, targets, *, only_waiting=False):
        if not targets:
            return
        self._asked("cancel")
        named = {str(ref) for target in targets for ref in queue._refs(target)}
        for ref, status in list(self.tasks.items()):
            if {ref.job, str(ref)} & named and status.alive and (status.waits or not only_waiting):
                self.end(ref.job, "CANCELLED", [ref.task])
        for job in targets:
            self.later.pop(job, None)

    def hold(self, jobs):
        self.require(Ability.HOLD, "pause")
        self._asked("hold")
        self._reason(jobs, "JobHeldUser")

    def release(self, jobs):
        self.require(Ability.HOLD, "resume")
        self._asked("release")
        self._reason(jobs, "Priority")

    def failed_launches(self, answer):
        return queue.failed_launches(answer.tasks)

    def assignments(self, options, width):
        self.require(Ability.CHANGE, "set")
        return changes.assignments(options, width)

    def change(self, job, tasks, words):
        self.require(Ability.CHANGE, "set")
        self._asked("change")
        self.changed.append((job, sorted(tasks), list(words)))
        return []

    def _reason(self, jobs, reason) -> None:
        for ref, status in self.tasks.items():
            if {ref.job, str(ref)} & set(jobs) and status.waits:
                self.tasks[ref] = status._replace(reason=reason, wait=waiting.explain(reason))

    # Waking a supervisor

    def submit_later(self, name, body, options, when):
        del body, options
        self.require(Ability.WAKE, "--mend")
        self._asked("submit_later")
        if self.refusal:
            raise SubmissionRefusedError(self.refusal)
        job = self._new_job()
        self.later[job] = (name, when)
        return job

    def find_later(self, names, cluster=""):
        del cluster
        self._asked("find_later")
        return [WakeupJob(job, name, waits=True) for job, (name, _) in self.later.items() if name in names]

    def move_later(self, job, when):
        self._asked("move_later")
        if job not in self.later:
            return False
        self.later[job] = (self.later[job][0], when)
        return True


def merged(of_sweep, wish):
    return resources.merge((resources.SWEEP_FILE, of_sweep), (resources.COMMAND_LINE, wish.options or {}))


def _ended(view) -> int:
    return sum(n for state, n in view.counts().items() if state.has_ended())
