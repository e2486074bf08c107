"""How an attempt ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.state.fields import LATEST, Fields, WrongFieldError, mapping, maybe, number, one_of, text, whole
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping


#: Begins the cause of a finished trial that ran to its rung: ``rung 9``. It may go on, if it is among the best.
RUNG = "rung"
#: The cause of a trial that its agent stopped because others were better at the same point.
STOPPED_EARLY = "early_terminate"
#: The cause of a trial that never ran: the run of a point that could no longer change which point is best.
NOT_NEEDED = "not_needed"
#: Begins a line of the agent in a trial's log that is no error: the last lines of its command are above it.
NOTE = "slurmsweep: note: "


#: Words of :attr:`Outcome.by` where an agent saw the end, and a scheduler said why it came: Slurm, or a service.
BY_SCHEDULER = ("slurm", "service")


class Outcome(NamedTuple):
    """The end of an attempt.

    Attributes:
        state: one that has ended.
        cause: ``exit 3``, ``signal 9``, ``timeout``, ``oom``, ``node_fail``, ``preempted``, ``cancelled``, ``lost``,
            ``early_terminate``, ``not_needed``; empty for finished.
        exit_code: what the agent exits with: the command's own, 128 + n for signal n, 0 of a trial that was stopped
            early; None where no process saw it.
        metric: final value of the sweep's metric; None where it was not logged.
        seconds: that the command ran; None where no process saw it end.
        cpu_seconds: user and system time of all its processes that were waited for.
        max_rss_mb: memory of its largest process in MiB; of an agent with several trials, of the largest so far.
        ended: wall-clock time, seconds since the epoch. For people: clocks of two nodes are never compared.
        metrics: final values of the metrics of the sweep's Pareto view, by name, those that were logged; None for none.
        origin: ``<sweep>/<trial>`` where the trial was run, if that was another sweep.
        by: the witness. ``agent``: it saw the end itself. ``slurm`` and ``service``: the agent saw the end, and Slurm
            or a service told why it was made to stop. ``reconcile``: no agent lived to see it, so the scheduler or the
            operating system was asked.
        no_metric: why the metric, or others of the Pareto view, have no value, in a line; None where all have.
        lowest, highest: smallest and largest value of the metric that was logged, where the search learns from them.
    """

    state: TrialState
    cause: str = ""
    exit_code: int | None = None
    metric: float | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    max_rss_mb: float | None = None
    ended: float | None = None
    metrics: Mapping[str, float] | None = None
    origin: str | None = None
    by: str = "agent"
    no_metric: str | None = None
    lowest: float | None = None
    highest: float | None = None

    @property
    def was_seen(self) -> bool:
        """Whether an agent saw the end, and so wrote it in the attempt's folder too."""
        return self.by == "agent" or self.by in BY_SCHEDULER

    @property
    def ended_at_rung(self) -> bool:
        """Whether the trial ran to its rung and no further, so that it may go on."""
        return self.state is TrialState.FINISHED and self.cause.startswith(f"{RUNG} ")

    @property
    def is_done(self) -> bool:
        """Whether the trial is not run again unless a person names it: finished, stopped early, or never needed."""
        return self.state is TrialState.FINISHED or self.cause in (STOPPED_EARLY, NOT_NEEDED)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that have a value; ``state`` as its word."""
        data = {key: value for key, value in self._asdict().items() if value is not None and value != ""}
        return data | {"state": self.state.value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Outcome:
        """Return the outcome of a record or of an outcome file. Raises WrongFieldError where it is not one."""
        known = _FIELDS(data)
        if not known["state"].has_ended():
            raise WrongFieldError(f"{known['state'].value} is not how an attempt ends", "state")
        return cls(**known)


def requeued(said: Outcome | None) -> Outcome | None:
    """Return the end of an attempt whose job was requeued; None where the word of its agent stands."""
    if said is None:
        return Outcome(TrialState.PREEMPTED, "requeued", by="reconcile")
    if said.by == "agent" and said.cause == "terminated":  # all that an agent knows of a SIGTERM
        return said._replace(state=TrialState.PREEMPTED, cause="requeued", by="slurm")
    return None


#: More seconds, CPU seconds or MiB than any job has.
_LARGEST_AMOUNT = 1e15

_FIELDS = Fields(
    {"state": one_of(TrialState)},
    {
        **dict.fromkeys(("cause", "by"), text),
        "exit_code": maybe(whole(-(2**31), 2**31 - 1)),
        **dict.fromkeys(("metric", "lowest", "highest"), maybe(number())),
        **dict.fromkeys(("seconds", "cpu_seconds", "max_rss_mb"), maybe(number(0, _LARGEST_AMOUNT))),
        "ended": maybe(number(0, LATEST)),
        "metrics": maybe(mapping(maybe(number()))),
        **dict.fromkeys(("origin", "no_metric"), maybe(text)),
    },
)
