"""What trials had at the bands of early termination: eight bytes a trial and band, so that a million trials fit."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slurmsweep.state.records import BandValue
    from slurmsweep.state.tail import AttemptId

#: A trial this far ahead of the others would leave a column of nothing.
_LARGEST_GAP = 4096


class BandValues:
    """Values of the metric by band, trial and attempt.

    A trial has one value a band: that of its first attempt whose record tells one, of those that were not deleted. So
    it does not matter in which order records are read, nor that an attempt which goes on from a checkpoint may tell of
    the same band again.
    """

    def __init__(self) -> None:
        self._first: dict[int, array[float]] = {}  # of first attempts: by band a column by trial, NaN for none
        self._later: dict[int, dict[int, dict[int, float]]] = {}  # of others: by band, trial and attempt

    def take(self, attempt_id: AttemptId, values: Iterable[BandValue]) -> None:
        """Take in what an attempt had at bands."""
        number, attempt = attempt_id
        for band, value in values:
            column = self._first.setdefault(band, array("d"))
            if attempt == 1 and number <= len(column) + _LARGEST_GAP:
                missing = number + 1 - len(column)
                if missing > 0:
                    column.extend([math.nan] * (missing + len(column) // 16))  # some to spare: growing is a copy
                column[number] = value
            else:
                self._later.setdefault(band, {}).setdefault(number, {})[attempt] = value

    def of(self, attempt_id: AttemptId) -> dict[int, float]:
        """Return what records tell of one attempt, by band."""
        number, attempt = attempt_id
        bands = self._first.keys() | self._later.keys()
        return {band: found[attempt] for band in sorted(bands) if attempt in (found := self._attempts(band, number))}

    def besides(self, number: int, band: int, deleted: Mapping[int, int]) -> list[float]:
        """Return the value of each other trial at a band.

        Args:
            number: of the trial that is left out.
            band: which.
            deleted: by trial the attempts, up to this one, that a person took back.
        """
        return [value for trial, value in self._standing(band, deleted) if trial != number]

    def at(self, band: int, deleted: Mapping[int, int]) -> dict[int, float]:
        """Return the value of each trial at a band, by number of the trial. ``deleted`` as for :meth:`besides`."""
        return dict(self._standing(band, deleted))

    def _standing(self, band: int, deleted: Mapping[int, int]) -> Iterator[tuple[int, float]]:
        """Yield the trials that have a value at a band, each with its value."""
        odd = {*self._later.get(band, ()), *deleted}
        for trial, value in enumerate(self._first.get(band, ())):
            if value == value and trial not in odd:  # noqa: PLR0124 - not for NaN
                yield trial, value
        for trial in odd:
            attempts = self._attempts(band, trial)
            standing = [attempt for attempt in attempts if attempt > deleted.get(trial, 0)]
            if standing:
                yield trial, attempts[min(standing)]

    def _attempts(self, band: int, number: int) -> dict[int, float]:
        column = self._first.get(band, ())
        value = column[number] if number < len(column) else math.nan
        return ({} if math.isnan(value) else {1: value}) | self._later.get(band, {}).get(number, {})

    # on disk --------------------------------------------------------------------------------------------------------

    def dump(self) -> tuple[dict[str, Any], bytes]:
        """Return a description for JSON, and the bytes of the columns."""
        described = {"rows": [[band, len(column)] for band, column in self._first.items()], "later": self._later}
        return described, b"".join(column.tobytes() for column in self._first.values())

    @classmethod
    def load(cls, described: dict[str, Any], data: bytes | memoryview) -> BandValues:
        """Return what :meth:`dump` gave, here or on a machine of the same byte order. Else ValueError or KeyError."""
        values, start = cls(), 0
        for band, rows in described["rows"]:
            column = values._first[band] = array("d")
            end = start + rows * column.itemsize
            column.frombytes(data[start:end])
            start = end
        if start != len(data):
            raise ValueError(f"{len(data)} bytes of band values instead of {start}")
        for band, trials in described["later"].items():
            values._later[int(band)] = {
                int(number): {int(attempt): value for attempt, value in attempts.items()}
                for number, attempts in trials.items()
            }
        return values
