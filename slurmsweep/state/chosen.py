"""The point of a trial whose search learns: chosen when the trial is claimed, and kept with the claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from slurmsweep.state.fields import Fields, WrongFieldError, anything, mapping, row, shown, whole
from slurmsweep.sweepfile.plain import is_finite, unpacked
from slurmsweep.sweepfile.space import Categorical, Constant, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.space import Names, Parameter


class Basis(NamedTuple):
    """What a proposal was made from: with it the same proposal can be made again.

    Attributes:
        sequence: of the newest record that was known: the results in all records up to it were seen.
        number: of the trial that the proposals were made for first.
        rank: which of them it is: 0 for the best; others were claimed meanwhile.
    """

    sequence: int
    number: int
    rank: int


class ChosenPoint(NamedTuple):
    """A point as a claim keeps it.

    Attributes:
        values: of the parameters that are searched (:func:`slurmsweep.search.kept.kept`).
        basis: of the proposal; None where a person gave the point, or another sweep did.
    """

    values: dict[str, Any]
    basis: Basis | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that it adds to a claim's record and to an owner file."""
        return {"p": self.values} | ({"b": list(self.basis)} if self.basis else {})

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ChosenPoint | None:
        """Return the point of a claim's record or an owner file; None where it has none. Raises WrongFieldError."""
        known = _FIELDS(data)
        return cls(known["p"], known.get("b")) if "p" in known else None

    def check(self, config: SweepConfig) -> None:
        """Raise WrongFieldError where a parameter that is searched and exists has no value, or none of its kind."""
        known: dict[Names, Any] = {}
        missing: list[Names] = []
        for path, parameter in leaves(config.parameters):
            if isinstance(parameter, Constant):
                known[path] = parameter.value
                continue
            value: Any = self.values
            for name in path:
                value = value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
            if value is _MISSING:
                missing.append(path)
            elif _could_be(parameter, value):
                known[path] = _unpacked(parameter, value)
            else:
                raise WrongFieldError(f"{shown(value)} is no value of this parameter", ".".join(("p", *path)))
        if not missing:
            return
        from slurmsweep.sweepfile.presence import absent  # few sweeps have parameters that exist only with others

        gone = absent(known, config.extensions.conditions)
        for path in missing:
            if path not in gone:
                raise WrongFieldError("has no value", ".".join(("p", *path)))


_MISSING = object()


def _unpacked(parameter: Parameter, value: Any) -> Any:
    """Return the value that a claim keeps in this form (:mod:`slurmsweep.search.kept`)."""
    if isinstance(parameter, Categorical) and isinstance(value, dict) and "$position" in value:
        return parameter.values[value["$position"]]
    return unpacked(value)


def _could_be(parameter: Parameter, value: Any) -> bool:
    """Return whether a claim could keep this of a value of the parameter (:mod:`slurmsweep.search.kept`)."""
    if not isinstance(parameter, Categorical):
        return is_finite(value) or type(value) is int  # an integer may be larger than any float
    if isinstance(value, dict):
        position = value.get("$position")
        if value.keys() == {"$position"}:
            return type(position) is int and 0 <= position < len(parameter.values)
        return value.keys() == {"$float"} and value["$float"] in ("nan", "inf", "-inf")
    return not isinstance(value, list)


class ChosenPoints(Mapping[int, ChosenPoint]):
    """Points by trial, in the order of their claims: each as the text of its record, a tenth of what objects take.

    A point that is looked up is a new object each time.
    """

    def __init__(self) -> None:
        self._texts: dict[int, bytes] = {}

    def take(self, number: int, chosen: ChosenPoint) -> None:
        """Take in the point of a trial that has none yet; the first one stands."""
        if number not in self._texts:
            self._texts[number] = json.dumps(chosen.to_json(), separators=(",", ":")).encode()

    def __getitem__(self, number: int) -> ChosenPoint:
        found = json.loads(self._texts[number])
        return ChosenPoint(found["p"], Basis(*found["b"]) if "b" in found else None)

    def __contains__(self, number: object) -> bool:
        return number in self._texts

    def __iter__(self) -> Iterator[int]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)

    def dump(self) -> bytes:
        """Return all of them as bytes."""
        return b"".join(b"%d %s\n" % item for item in self._texts.items())

    @classmethod
    def load(cls, data: bytes) -> ChosenPoints:
        """Return what :meth:`dump` gave. Anything else: ValueError, KeyError, TypeError."""
        points = cls()
        for line in data.splitlines():
            number, _, text = line.partition(b" ")
            if ChosenPoint.from_json(json.loads(text)) is None:
                raise ValueError("a point without parameters")
            points._texts[int(number)] = text
        return points


_FIELDS = Fields({}, {"p": mapping(anything), "b": row(Basis, whole(), whole(), whole())})


class NotChosenError(Exception):
    """No point can be given to a new trial at this moment: nothing was claimed; make proposals, and claim again."""


class Chooser(Protocol):
    """What gives points to trials, where the search learns."""

    def choose(self, attempt_id: AttemptId) -> ChosenPoint:
        """Return the point of a trial that is about to be claimed. The journal's lock is held: be quick.

        Raises:
            NotChosenError: there is none at hand.
        """
