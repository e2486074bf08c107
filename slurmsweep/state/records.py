"""What a record of the journal says, a class for each kind, from and to the JSON on disk.

Beside its own fields a record on disk has ``op``, its kind, and ``h``, the head (:mod:`slurmsweep.state.tail`). A
version that writes a new kind or a new field has to suit older readers: they pass over kinds that they do not know, and
fields too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from slurmsweep.state.chosen import ChosenPoint
from slurmsweep.state.fields import (
    LATEST,
    MOST_ATTEMPTS,
    Fields,
    flag,
    mapping,
    maybe,
    number,
    one_of,
    row,
    rows,
    text,
    whole,
)
from slurmsweep.state.lifecycle import SweepState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.tail import ATTEMPT_ID, REACHED, AttemptId, RetryPage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.state.tail import TargetReached

#: A band of early termination, as a number of logged values, and the value of that number.
BandValue = tuple[int, float]


class BandsReached(NamedTuple):
    """What an attempt had at bands of early termination.

    Attributes:
        values: all of them, by band.
        unrecorded: those that the journal does not have yet.
    """

    values: tuple[BandValue, ...] = ()
    unrecorded: tuple[BandValue, ...] = ()


NO_BANDS = BandsReached()

#: Why a retry was allowed, where a person took the earlier attempts back.
DELETED = "deleted"

#: Bytes of JSON that the options of a submission may take: with all the rest, the record keeps within 16 KiB.
_MOST_OPTIONS = 12 * 1024


@dataclass(frozen=True)
class ClaimRecord:
    """The folder of an attempt has a maker.

    Attributes:
        attempt_id: which attempt.
        token: random word, in the owner file too.
        owner: the maker.
        at: wall-clock time; None where the record does not say.
        chosen: the trial's point; None where the search gives it by the trial's number.
    """

    op: ClassVar = "claim"
    attempt_id: AttemptId
    token: str
    owner: Owner
    at: float | None
    chosen: ChosenPoint | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the record."""
        claim = {**_attempt_to_json(self.attempt_id), "k": self.token, "o": self.owner.to_json(), "at": self.at}
        return claim | self.chosen.to_json() if self.chosen else claim

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ClaimRecord:
        """Return the record that these fields are of. Raises WrongFieldError."""
        known = _CLAIM(data)
        attempt_id = AttemptId(known["t"], known["a"])
        return cls(attempt_id, known["k"], known["o"], known.get("at"), ChosenPoint.from_json(data))


@dataclass(frozen=True)
class BandRecord:
    """An attempt has logged the metric as often as bands of early termination say; one record for several bands.

    Attributes:
        attempt_id: which attempt.
        values: by band, ascending, as logged.
    """

    op: ClassVar = "band"
    attempt_id: AttemptId
    values: tuple[BandValue, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the record."""
        return {**_attempt_to_json(self.attempt_id), "b": [list(pair) for pair in self.values]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> BandRecord:
        """Return the record that these fields are of. Raises WrongFieldError."""
        known = _BAND(data)
        return cls(AttemptId(known["t"], known["a"]), known["b"])


@dataclass(frozen=True)
class EndRecord:
    """An attempt has ended.

    Attributes:
        attempt_id: which attempt.
        token: of its claim; None where that is not known.
        outcome: how it ended.
    """

    op: ClassVar = "end"
    attempt_id: AttemptId
    token: str | None
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the record."""
        return {**_attempt_to_json(self.attempt_id), "k": self.token, "out": self.outcome.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EndRecord:
        """Return the record that these fields are of. Raises WrongFieldError."""
        known = _END(data)
        return cls(AttemptId(known["t"], known["a"]), known["k"], known["out"])


@dataclass(frozen=True)
class VoidRecord:
    """An attempt was never started and never will be: its trial may be claimed again, as the next attempt.

    One record says both, because of two records the second may be torn off.
    """

    op: ClassVar = "void"
    attempt_id: AttemptId

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the record."""
        return _attempt_to_json(self.attempt_id)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> VoidRecord:
        """Return the record that these fields are of. Raises WrongFieldError."""
        known = _VOID(data)
        return cls(AttemptId(known["t"], known["a"]))


@dataclass(frozen=True)
class RetryRecord:
    """Further attempts of trials may be claimed.

    Attributes:
        attempt_ids: which attempts.
        why: for people; :data:`DELETED` where a person took the earlier attempts back.
        array: name of the submission that they are for, which Slurm may refuse; empty where there is none.
        more: where further retries wait that had no room in the head; None for nowhere.
    """

    op: ClassVar = "retry"
    attempt_ids: tuple[AttemptId, ...]
    why: str
    array: str = ""
    more: RetryPage | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the record."""
        data: dict[str, Any] = {"t": [list(attempt_id) for attempt_id in self.attempt_ids], "why": self.why}
        data |= {"for": self.array} if self.array else {}
        return data | ({"more": list(self.more)} if self.more else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RetryRecord:
        """Return the record that these fields are of. Raises WrongFieldError."""
        known = _RETRY(data)
        return cls(known["t"], known.get("why", ""), known.get("for", ""), known.get("more"))


@dataclass(frozen=True)
class SubmitRecord:
    """An array is about to be handed to a scheduler, was taken, or was refused.

    The first record of a submission says what is asked for, where all of that fits in a record; the document of the
    submission (:mod:`slurmsweep.state.submissions`) says it in any case.

    Attributes:
        name: of the submission, unique to it.
        tasks: number of array elements.
        job: id of the array; empty where it was refused; None while there is no answer.
        asked: all options it is submitted with, by long name; None where the record does not say.
        template: of its batch script; None where the record does not say.
        wishes: those of the options that stood on the command line; None where the record does not say.
        agents: that each element runs side by side; None where the record does not say, which means 1.
        resumes: what the sweep was until it ran again for this array; None where it ran.
        cluster: Slurm's name of itself; empty where the record does not say.
        compared: ``asked`` is what Slurm says of the jobs, where that is not what was asked for.
        trials: that it is for; None where the record does not say, which means as many as its elements run.
    """

    op: ClassVar = "submit"
    name: str
    tasks: int
    job: str | None
    asked: Mapping[str, str | bool] | None = None
    template: str | None = None
    wishes: Mapping[str, str | bool] | None = None
    agents: int | None = None
    resumes: SweepState | None = None
    cluster: str = ""
    compared: bool = False
    trials: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the record; none of the options where they are too long for a record."""
        data: dict[str, Any] = {"name": self.name, "tasks": self.tasks, "job": self.job}
        if self.asked is not None:
            options = {"asked": dict(self.asked), "template": self.template, "wishes": dict(self.wishes or {})}
            data |= options if len(json.dumps(options)) <= _MOST_OPTIONS else {}
        data |= {"agents": self.agents} if self.agents not in (None, 1) else {}
        data |= {"resumes": self.resumes.value} if self.resumes else {}
        data |= {"compared": True} if self.compared else {}
        # said where the last of several packed jobs is not full
        data |= {"trials": self.trials} if self.trials not in (None, self.tasks * (self.agents or 1)) else {}
        return data | ({"cluster": self.cluster} if self.cluster else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SubmitRecord:
        """Return the record that these fields are of. Raises WrongFieldError."""
        return cls(**_SUBMIT(data))


@dataclass(frozen=True)
class OrderRecord:
    """A person paused, resumed (running), stopped (finished) or canceled the sweep; or a trial reached its target.

    Attributes:
        state: of the sweep from now on.
        reached: the trial that reached the target, which finished the sweep; None where a person ordered it.
    """

    op: ClassVar = "sweep"
    state: SweepState
    reached: TargetReached | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the record."""
        return {"state": self.state.value} | ({"reached": list(self.reached)} if self.reached else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> OrderRecord:
        """Return the record that these fields are of. Raises WrongFieldError."""
        return cls(**_ORDER(data))


@dataclass(frozen=True)
class HeadRecord:
    """A record that says nothing but its head.

    Attributes:
        op: ``exhausted``: an agent read everything and found nothing that waits. ``counted``: all trials were counted.
    """

    op: str

    def to_json(self) -> dict[str, Any]:
        """Return no fields."""
        return {}


AnyRecord = ClaimRecord | BandRecord | EndRecord | VoidRecord | RetryRecord | SubmitRecord | OrderRecord | HeadRecord


def _attempt_to_json(attempt_id: AttemptId) -> dict[str, Any]:
    return {"t": attempt_id.trial, "a": attempt_id.attempt}


#: Of one submission; of its agents in one job.
MOST_JOBS = 10_000_000
OPTIONS = mapping(lambda value: value if isinstance(value, bool) else text(value))

BANDS = rows(row(lambda *pair: pair, whole(), number()))

_ATTEMPT = {"t": whole(), "a": whole(1, MOST_ATTEMPTS)}
_CLAIM = Fields({**_ATTEMPT, "k": text, "o": Owner.from_json}, {"at": maybe(number(0, LATEST))})
_BAND = Fields({**_ATTEMPT, "b": BANDS})
_END = Fields({**_ATTEMPT, "k": maybe(text), "out": Outcome.from_json})
_VOID = Fields(_ATTEMPT)
_RETRY = Fields({"t": rows(ATTEMPT_ID)}, {"why": text, "for": text, "more": row(RetryPage, whole(), whole())})
_SUBMIT = Fields(
    {"name": text, "tasks": whole(0, MOST_JOBS), "job": maybe(text)},
    {
        **dict.fromkeys(("asked", "wishes"), maybe(OPTIONS)),
        "template": maybe(text),
        "agents": maybe(whole(1, MOST_JOBS)),
        "resumes": maybe(one_of(SweepState)),
        "cluster": text,
        "compared": flag,
        "trials": maybe(whole(0, MOST_JOBS)),
    },
)
_ORDER = Fields({"state": one_of(SweepState)}, {"reached": maybe(REACHED)})
