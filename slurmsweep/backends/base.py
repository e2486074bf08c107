"""The interface of every place that runs jobs, and the values that pass through it.

A *backend* starts jobs, says what has become of them, and ends them: Slurm (:mod:`.slurm`), processes of this machine
(:mod:`.local`), services of AWS (:mod:`.aws`), Slurm for sweeps that W&B's server holds (:mod:`.wandb_hosted`). A
backend says what it can do (:attr:`Backend.abilities`) and what it cannot do of a wish (:meth:`Backend.check`). Code
outside of this package never asks which backend it has; it asks for an ability, or calls a method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from slurmsweep.backends.keys import JobRef
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from slurmsweep.state.filesystem import Opinion
    from slurmsweep.state.lifecycle import TrialState
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.tail import AttemptId

    Options = Mapping[str, str | bool]

    #: Submits so many trials (or jobs) from a position on; returns None where nothing was left to submit.
    SubmitPart = Callable[[int, int], "Submitted | None"]


#: The job template where none is named.
DEFAULT_TEMPLATE = "array"

#: Options that jobs have in AWS and not in Slurm; ``queue`` and ``cluster`` are names of sbatch's options, too.
OPTIONS_OF_SERVICES = frozenset(
    {"definition", "efs", "image", "instance-type", "region", "retries", "role", "security-groups", "spot", "subnets"}
    | {"env", "plain-env", "public-ip", "secret"}
)

#: The cause of a job that ended before its agent could start.
CANNOT_START = "cannot start"

#: The cause of a job that its scheduler ended for time although the job had time left: more time would not help.
CUT_SHORT = "cut short"


class Ability(Enum):
    """One thing that a backend can do beyond running jobs; the value completes the sentence "this backend can ..."."""

    OUTLIVE = "run jobs that go on when the command that submitted them has ended"
    LIMIT = "give each job its own time and memory"
    ASSIGN = "make a job for one certain attempt"
    HOLD = "hold jobs that wait, and release them"
    CHANGE = "change jobs that wait"
    ELSEWHERE = "run jobs on other machines"
    AVOID = "keep jobs away from certain nodes"
    AFTER = "let jobs wait for the end of others"
    WAKE = "start a supervisor later, by the clock or when a job has ended"


class Wait(NamedTuple):
    """Why a job does not start, in words for people.

    Attributes:
        why: without the scheduler's own word.
        help: what would help; ``{sweep}`` stands for the sweep's name in a command. Empty where only time helps.
        is_stuck: no time helps: as they are the job, or what it needs, never start.
        is_first_word: said at once after a submission; seconds later the scheduler may say something else.
    """

    why: str
    help: str = ""
    is_stuck: bool = False
    is_first_word: bool = False


class JobStatus(NamedTuple):
    """What a scheduler says of one job.

    Attributes:
        word: the scheduler's own, without what it adds (``CANCELLED`` of ``CANCELLED by 1000``).
        alive: the job runs, waits, or is being ended.
        state: of its trial once the job is over, with the ``cause`` beside it; None while the job is alive.
        exit_code: of the batch script; None while the job is alive.
        node: where the job runs or ran; empty before.
        source: the program or service that was asked, such as ``squeue``, ``sacct`` or ``AWS Batch``.
        waits: the job has not started, or was put back to start again; ``reason``: why, in the scheduler's words.
        name: of the submission that made the job; empty where that is not known, or there is none.
        minutes: time limit of a live job, ``partition``: where it may run; None and empty where that is not known.
        wait: what ``reason`` means; None where the job does not wait, or the scheduler says no reason.
        starts: when a job that waits is expected to start, ISO 8601 in local time; empty where that is not known.
    """

    word: str
    alive: bool
    state: TrialState | None
    cause: str
    exit_code: int | None
    node: str
    source: str
    waits: bool = False
    reason: str = ""
    name: str = ""
    minutes: float | None = None
    partition: str = ""
    wait: Wait | None = None
    starts: str = ""


class Answer(NamedTuple):
    """What a scheduler says of some jobs.

    Attributes:
        tasks: one status a job; a job that the scheduler does not know any more is absent.
        accounting: what became of the question to accounting: ``used``, ``not needed``, ``off``, or its error message.
        cluster: by its own name the cluster from which the jobs are named; a session writes it down, no backend.
        silent: other clusters that could not be asked from here: nothing follows about their jobs.
        cut: arrays of whose elements accounting does not name all: nothing follows about the others.
    """

    tasks: Mapping[JobRef, JobStatus]
    accounting: str
    cluster: str = ""
    silent: tuple[str, ...] = ()
    cut: frozenset[str] = frozenset()

    @property
    def failed(self) -> bool:
        """Return whether accounting was asked and failed: nothing follows from its silence then."""
        return self.accounting not in ("used", "not needed", "off")

    def lags(self, ref: JobRef) -> bool:
        """Return whether accounting knows an element's array and not all its elements: its silence says nothing then.

        For some seconds one element stands there as a job of its own, under the array's id. Or it cut a long list.
        """
        knows_array = JobRef(ref.job) in self.tasks or ref.job in self.cut
        return ref.task is not None and ref not in self.tasks and knows_array


class Asked(NamedTuple):
    """What a job asks for: minutes (None for no limit, too), MiB and CPUs in all; None where the options do not say."""

    time: float | None = None
    mem: float | None = None
    cpus: int | None = None


class Account(NamedTuple):
    """One job as the scheduler's accounting has it.

    Attributes:
        minutes: time limit; None for none.
        mem: MiB it asked for, in all; None where that is all of a node.
        cpus: number of CPUs it was given; None where only the type of its machine is known.
        elapsed: seconds it ran.
        max_rss: MiB of its largest step, sampled (short peaks may be missed); None where nothing was sampled.
        cpu_seconds: user and system time.
    """

    minutes: float | None
    mem: float | None
    cpus: int | None
    elapsed: float
    max_rss: float | None
    cpu_seconds: float | None


@dataclass(frozen=True)
class Capacity:
    """What a backend gives a job at most.

    Attributes:
        minutes: longest time limit; None for no limit.
        mib: memory of the largest node; None where it is not known.
        nodes: how many nodes there are; 0 where it is not known.
        warning: seconds before the time limit at which a trial is told to end.
    """

    minutes: float | None = None
    mib: float | None = None
    nodes: int = 0
    warning: float = 0.0


@dataclass(frozen=True)
class JobRestarts:
    """How a sweep's jobs ended that did not complete, each start of a job counted.

    Attributes:
        ends: number of starts by the scheduler's last word on them; starts of requeued jobs are counted too.
        accounting: ``used``, ``off``, or the error message of accounting.
    """

    ends: dict[str, int] = field(default_factory=dict)
    accounting: str = "off"


@dataclass(frozen=True)
class SubmitOptions:
    """What a person asks of the jobs.

    Attributes:
        template: name or path of the job template; empty where the user does not say.
        options: of the jobs, by the names that the backend's section of a sweep file has for them; they win over that
            section, which wins over the defaults of project and user, which win over the template.
        width: jobs at a time; None for as many as Slurm lets, or one local process.
    """

    template: str = ""
    options: Options | None = None
    width: int | None = None


@dataclass(frozen=True)
class JobSource:
    """The sweep that jobs are made for, as far as a backend has to know it.

    Attributes:
        name: begins each job's name.
        argument: of the batch script: the sweep's folder, or W&B's full name of the sweep.
        jobs_dir: folder of batch scripts and job output.
        workdir: current folder of each job.
        options: sbatch options of the sweep file.
        defaults: what user and project ask of all sweeps, those that win last: :mod:`slurmsweep.control.defaults`.
        aws: options of the sweep file for AWS.
    """

    name: str
    argument: str
    jobs_dir: str
    workdir: str
    options: Options = field(default_factory=dict)
    defaults: tuple[Mapping[str, Any], ...] = ()
    aws: Options = field(default_factory=dict)

    @property
    def setup(self) -> Sequence[str]:
        """Lines of shell before the agent."""
        return next((document["setup"] for document in reversed(self.defaults) if "setup" in document), ())

    @classmethod
    def of(cls, store: SweepStore) -> JobSource:
        """Return the source for a sweep of ours."""
        manifest, layout = store.manifest, store.layout
        name = f"slurmsweep-{manifest.sweep_id}"
        # of a sweep that is only planned the copy is not there yet, and its trials are looked at where it is made of
        workdir = manifest.snapshot.workdir(layout) if manifest.snapshot else manifest.workdir
        config = manifest.config
        return cls(name, layout.folder, layout.jobs, workdir, config.slurm, manifest.defaults, config.aws)


@dataclass(frozen=True)
class JobRequest:
    """One request to a scheduler: an array of equal jobs.

    Attributes:
        name: of the jobs, ``[A-Za-z0-9._-]{1,64}``, unique to this request: a request that was not answered is looked
            for by it.
        tasks: number of jobs, 1 or more.
        trials: how many trials they run in all.
        agents: how many agents each job runs side by side; None where the template does not know of that.
        width: jobs at a time; None for no limit of ours.
        options: all options, merged from the template, the sweep file and the command line; flags are True.
        template: name of the template, or its absolute path.
        body: of the template: shell text that ends by running the agent.
        source: the sweep.
        attempt_ids: what each agent runs, in order; empty where an agent takes the next trial there is.
    """

    name: str
    tasks: int
    trials: int
    agents: int | None
    width: int | None
    options: Options
    template: str
    body: str
    source: JobSource
    attempt_ids: tuple[AttemptId, ...] = ()


@dataclass(frozen=True)
class Submitted:
    """One array that the scheduler took: so many jobs (``tasks``) of so many ``agents`` side by side.

    ``trials`` is what they run in all; the last of several packed jobs may not be full.
    """

    job: str
    tasks: int
    trials: int
    agents: int = 1


@dataclass(frozen=True)
class SubmitResult:
    """What the scheduler took, and how many trials a limit (``why``, in words) left no room for.

    Trials that are kept back stay without a job: the next submission finds them. For those that were ``left_to_others``
    another command has asked for jobs since this one looked.
    """

    arrays: tuple[Submitted, ...] = ()
    kept_back: int = 0
    why: str = ""
    left_to_others: int = 0

    @property
    def trials(self) -> int:
        """Number of trials that the jobs run at most."""
        return sum(array.trials for array in self.arrays)


@dataclass(frozen=True)
class StartEstimate:
    """What the scheduler says to a request before it is made.

    Attributes:
        arrays: number of jobs in each array that the request would need; empty where jobs are no arrays.
        earliest_start: of one such job now, ISO 8601; None where it is not known.
        refusal: what the scheduler has against the request; None where it has nothing against it.
    """

    arrays: tuple[int, ...]
    earliest_start: str | None = None
    refusal: str | None = None


@dataclass(frozen=True)
class When:
    """When a job may start: so many seconds from now, and after one of ``ended`` (if any) has ended, however it did."""

    ended: tuple[str, ...] = ()
    seconds: int = 0


@dataclass(frozen=True)
class WakeupJob:
    """A live job that was found by its name; one that waits has not started."""

    job: str
    name: str
    waits: bool


class Backend(ABC):
    """One place that runs jobs.

    A wrong option or template, and a method that needs an ability which the backend does not have, raise UsageError.
    A question or an order that the scheduler does not answer raises SchedulerUnavailableError: silence never means
    "there is no such job".
    """

    #: The word of ``--backend``, and of submission documents.
    name: ClassVar[str]
    abilities: ClassVar[frozenset[Ability]]

    #: Jobs are batch scripts, made of a template with lines of shell before the agent, or processes of this machine.
    has_scripts: ClassVar[bool] = True

    #: The option that decides how much memory a job has. Where it is another one a person chooses its value.
    memory_option: ClassVar[str] = "mem"

    def require(self, ability: Ability, option: str) -> None:
        """Raise UsageError, naming the option that asked for it, unless the backend has the ability."""
        if ability not in self.abilities:
            raise UsageError(f"{option}: the {self.name} backend cannot {ability.value}")

    # Before anything is submitted: the scheduler is not asked, except for estimate

    @abstractmethod
    def check(self, wish: SubmitOptions, source: JobSource | None = None) -> tuple[str, ...]:
        """Refuse wrong options before anything is written; return a notice a line about wishes that are ignored."""

    def inherited(self, options: Options) -> tuple[str, ...]:
        """Return a line for each wish in this process's environment (whether it counts) and for unheard-of options."""
        del options
        return ()

    @abstractmethod
    def options(self, wish: SubmitOptions, source: JobSource) -> Options:
        """Return the options that template, sweep file and command line give together, defaults included."""

    def long_name(self, option: str) -> str:
        """Return the long name of an option of jobs (``partition`` for ``p``)."""
        return option

    def normalized(self, options: Options) -> Options:
        """Return options by their long names. Raises UsageError for one that is none, or is set by slurmsweep."""
        return options

    def over(self, earlier: Options, later: Options) -> Options:
        """Return the options of two places: the later one wins, also over what excludes its own."""
        return {**earlier, **later}

    def strangers(self, options: Options) -> list[str]:
        """Return the options that may be newer than this version, or mistakes."""
        del options
        return []

    @abstractmethod
    def request(
        self, source: JobSource, trials: int, wish: SubmitOptions, attempt_ids: tuple[AttemptId, ...] = ()
    ) -> JobRequest:
        """Return the request for jobs that run that many trials, under a name that was never used."""

    @abstractmethod
    def preview(self, request: JobRequest) -> str:
        """Return the request as text, exactly as :meth:`send` would hand it over."""

    @abstractmethod
    def estimate(self, request: JobRequest) -> StartEstimate:
        """Ask the scheduler what it would do with a request; submits nothing."""

    def examine(self, options: Options) -> list[tuple[str, Opinion]]:
        """Return what a look at a service says of its fitness for jobs with these options, by what was looked at.

        Nothing is changed. Slurm is looked at by :mod:`slurmsweep.doctor`. Never raises: what cannot be asked is a
        finding.
        """
        del options
        return []

    # Submitting

    @abstractmethod
    def submit(self, request: JobRequest, part: SubmitPart, *, was_refused: bool = False) -> SubmitResult:
        """Split a request by the scheduler's limits and call ``part(first trial, trials)`` for each array that fits.

        ``part`` writes down what it is about to do and calls :meth:`send`. ``was_refused``: an earlier submission met a
        limit, so limits are read first.

        Raises:
            JobLimitError: there is no room for a single job.
            SchedulerError: the scheduler refused or did not answer; arrays that were submitted before stay.
        """

    @abstractmethod
    def send(self, request: JobRequest) -> str:
        """Hand over one request; return the key of the array or job.

        Raises:
            SubmissionRefusedError: the scheduler said no; the message says which option to change.
            SubmissionUnknownError: it did not answer in time: the jobs may exist. :meth:`find` looks for them.
            SchedulerUnavailableError: there is no scheduler here, or no controller.
            StateUnwritableError: a file of the request could not be written; nothing was submitted.
        """

    def taken(self, request: JobRequest) -> int:
        """Return how many jobs of a request that was just sent, or found, the scheduler took; by default all."""
        return request.tasks

    @abstractmethod
    def find(self, name: str, cluster: str) -> str:
        """Return the key of the jobs with that name on this cluster or that one; empty where it knows none (yet)."""

    # Looking

    def output_place(self, jobs_dir: str) -> str:
        """Return where jobs write what no trial's log has, in words; by default the sweep's folder for it."""
        return jobs_dir

    def cluster(self, options: Options | None = None) -> str:
        """Return the scheduler's name of itself, or of where jobs with these options go; empty for none. Never raises.

        Job ids belong to it.
        """
        del options
        return ""

    @abstractmethod
    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Ask about all live jobs of arrays or plain jobs by id, and about the end of wanted jobs."""

    def capacity(self, options: Options) -> Capacity:
        """Return what a job with these options gets at most; by default no limit is known."""
        del options
        return Capacity()

    def asked(self, options: Options) -> Asked:
        """Return what a job with these options asks for; by default nothing. Does not ask the scheduler."""
        del options
        return Asked()

    def accounts(self, jobs: Collection[str]) -> tuple[Mapping[JobRef, Account], str]:
        """Return what accounting knows of jobs, and what became of the question (as :attr:`Answer.accounting`).

        Never raises: accounting that is off, as it is by default, or does not answer is an answer.
        """
        return {}, "off" if jobs else "not needed"

    def restarts(self, jobs: Collection[str]) -> JobRestarts:
        """Return how starts of these jobs ended that did not complete; none are known by default. Never raises."""
        del jobs
        return JobRestarts()

    def last_words(self, ref: JobRef, lines: int = 5) -> tuple[str, ...]:
        """Return the last lines that a job wrote itself, where the backend has them; else none. Never raises.

        Output of a trial is in its own log: this is for a job that ended before it took one, or of a sweep of W&B's.
        """
        del ref, lines
        return ()

    @abstractmethod
    def wait(
        self,
        jobs: Sequence[str],
        target: int,
        refresh: Callable[[], SweepView],
        may_start: Callable[[], bool],
        seen: Callable[[Answer], None],
    ) -> None:
        """Wait until so many trials of the sweep have ended in all, or until none of the jobs is left.

        Args:
            jobs: ids that :meth:`send` returned.
            target: number of ended trials, of any state, to wait for.
            refresh: reads the journal on, shows progress, returns the view.
            may_start: says after ``refresh`` whether further trials may start; for a backend that starts them itself.
            seen: takes what the scheduler says of the jobs, whenever it was asked.

        Raises:
            SchedulerUnavailableError: the scheduler did not answer; jobs that outlive this command go on.
            KeyboardInterrupt: a person ended the waiting. Jobs that do not outlive this command were told to end, and
                have ended.
            StateError: jobs could not work at all (local processes only).
        """

    # Ordering: errors have the scheduler's words

    @abstractmethod
    def cancel(self, targets: Sequence[str], *, only_waiting: bool = False) -> None:
        """Cancel jobs: ``123`` (all of an array) or ``123_4``, with ``@cluster`` of another one.

        A job that is over is no error, nor is an empty list.
        """

    def endable(self, jobs: Collection[str]) -> tuple[str, ...]:
        """Return those of the jobs that :meth:`cancel` can end; of the others the sweep's order has to be enough."""
        return tuple(jobs)

    def holdable(self, jobs: Collection[str]) -> tuple[str, ...]:
        """Return those of the jobs that :meth:`hold` can keep from starting; the others start, and find an order."""
        return tuple(jobs) if Ability.HOLD in self.abilities else ()

    def hold(self, jobs: Sequence[str]) -> None:
        """Keep jobs that have not started from starting."""
        del jobs
        self.require(Ability.HOLD, "pause")

    def release(self, jobs: Sequence[str]) -> None:
        """Let jobs start that were held."""
        del jobs
        self.require(Ability.HOLD, "resume")

    def failed_launches(self, answer: Answer) -> list[JobRef]:
        """Return the jobs that wait for ever because a node failed to start them; :meth:`release` lets them go."""
        del answer
        return []

    def assignments(self, options: Options, width: int | None) -> list[str]:
        """Return changes of waiting jobs in the scheduler's words.

        Raises:
            UsageError: an option is fixed once a job is submitted, or a value is none.
        """
        del options, width
        self.require(Ability.CHANGE, "set")
        return []

    def change(self, job: str, tasks: Iterable[int], words: list[str]) -> list[str]:
        """Apply :meth:`assignments` to elements of an array; return what the scheduler has against it, in words."""
        del job, tasks, words
        self.require(Ability.CHANGE, "set")
        return []

    # Waking a supervisor; all need Ability.WAKE

    def submit_later(self, name: str, body: str, options: Options, when: When) -> str:
        """Submit a plain job that runs ``body`` at a time; return its id. Raises as :meth:`send`."""
        del name, body, options, when
        self.require(Ability.WAKE, "--mend")
        return ""

    def find_later(self, names: Collection[str], cluster: str) -> list[WakeupJob]:
        """Return live jobs with one of these names on this cluster or that one, the oldest first."""
        del names, cluster
        return []

    def move_later(self, job: str, when: When) -> bool:
        """Change when a waiting job starts; return False where it does not wait any more, or may not be changed."""
        del job, when
        return False
