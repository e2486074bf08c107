"""The point of a trial whose search learns: chosen when the trial is claimed, and kept with the claim."""

from __future__ import annotations

from typing import Any, NamedTuple


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
        """Return the point of a claim's record or an owner file; None where it has none."""
        if "p" not in data:
            return None
        return cls(data["p"], Basis(*data["b"]) if "b" in data else None)
