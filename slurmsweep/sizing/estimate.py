"""Estimate what trials need from those that have ended: a centre by their parameters, a quantile, a margin.

Pure functions over numbers, for seconds and for MiB alike. The model is so simple that one line explains it:

- The *centre* is one number, or depends on one or two parameters: a value for each of their values (a model's size), a
  line (epochs: so much to start, so much for each), or a power (width: four times as much for twice as wide). A
  parameter is used only where it predicts trials left out of the fit at least twice as well as no parameter does.
- The *quantile* says how far trials lie above their centre, again measured on trials left out of the fit: the 0.95
  quantile, counted as in conformal prediction (of fewer than 19 trials it is the largest).
- The *margin* multiplies this, and shrinks as more trials end.
- A trial that was cut off (out of time, out of memory) is a lower bound: it counts as 1.5 times what it had, or as
  much as the centre of the others says for it, whichever is more.

The fit works with logarithms, so that errors are relative and centres of two parameters add up.

Limits: trials that resemble none of those that ended, and machines that differ, are not foreseen. Some trials will be
cut off; that is cheap next to asking for the longest time for all.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from slurmsweep.report.figures import counted
from slurmsweep.sweepfile.plain import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    #: The logarithm of what trials need, by the value of one parameter; defined for values that no trial had, too.
    Curve = Callable[[Any], float]

    #: Makes a curve from values and logarithms, one a trial; None where they do not allow it.
    Fit = Callable[[Sequence[Any], Sequence[float]], Curve | None]

#: Share of new trials that need no more than the estimate (before the margin).
QUANTILE = 0.95

#: What a trial that was cut off is taken to need, times what it had.
CUT_OFF_FACTOR = 1.5

#: Number of trials that must have ended before parameters are looked at; and of parameters that explain them, at most.
_ENOUGH, _MOST_TERMS = 4, 2

#: Share of the squared error, on trials left out of the fit, that parameters must remove; and the share of the rest
#: that a second parameter must remove.
_TELLING, _TELLING_MORE = 0.5, 0.3

#: Number of rounds in which each of two curves is fitted to what the other one leaves.
_ROUNDS = 3

#: Standard deviation of the logarithms that needs no explanation: ten per cent.
_NARROW = 0.1

#: Two curves that differ less than by this (in the logarithm) are equally good.
_NEGLIGIBLE = 0.02

#: A value for each value of a parameter must be better than a curve by this factor: curves hold for new values, too.
_PREFER_CURVES = 1.25

#: Numbers beyond this are taken for names, as their squares would overflow; logarithms of estimates stay within this.
_LARGEST, _RANGE = 1e12, 60.0

#: Number of trials of which more would teach nothing further.
_MOST_SAMPLES = 400

#: Up to so many trials, each is left out of the fit once; else an eighth of them at a time.
_EACH_ALONE, _FOLDS = 24, 8

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One trial that ended at a point (:func:`flat`): the seconds or MiB, above 0, that it needed.

    It needs more than that if it was cut off: ``is_bound``.
    """

    params: Mapping[str, Any]
    value: float
    is_bound: bool = False


@dataclass(frozen=True)
class Term:
    """One parameter that explains part of the need: its fitted curve, and what fits the curve to other trials."""

    name: str
    fit: Fit
    curve: Curve


@dataclass(frozen=True)
class Estimate:
    """What trials need, as far as those that ended show it.

    Attributes:
        base: logarithm of what all trials need alike; 0 where terms say it.
        terms: parameters that explain the need, the most telling first.
        spread: logarithm of how far above its centre a trial may lie.
        margin: factor, 1.1 or more.
        samples: number of trials the estimate rests on.
        bounds: how many of them were cut off.
    """

    base: float
    terms: tuple[Term, ...]
    spread: float
    margin: float
    samples: int
    bounds: int

    def of(self, params: Mapping[str, Any]) -> float:
        """Return what a trial at this (flat) point should be given: seconds or MiB, as the samples were."""
        log = _centre(self.base, self.terms, params) + self.spread
        return math.exp(min(max(log, -_RANGE), _RANGE)) * self.margin

    def explained(self, what: str) -> str:
        """Return the estimate in words: ``time by epochs: 0.95 quantile of 8 trials x 1.4``."""
        by = " and ".join(term.name for term in self.terms)
        cut = f" ({self.bounds} of them cut off)" if self.bounds else ""
        named = f"{what} by {by}" if by else what
        return f"{named}: {QUANTILE} quantile of {counted(self.samples, 'trial')}{cut} x {self.margin:.2g}"


def evenly(items: Sequence[T], most: int) -> Sequence[T]:
    """Return at most so many of the items, evenly chosen, in their order."""
    return items if len(items) <= most else [items[place * len(items) // most] for place in range(most)]


def margin(samples: int) -> float:
    """Return the factor for an estimate from so many trials: 1.1 for very many, 1.4 for ten, 2.1 for one."""
    return 1.1 + 1 / math.sqrt(samples)


def fit_estimate(samples: Sequence[Sample]) -> Estimate:
    """Return the estimate from one or more trials that ended. Raises ValueError for none.

    Trials that were cut off come second: what trials like them need follows from those that were not.
    """
    if not samples:
        raise ValueError("nothing to learn from")
    bounds = sum(sample.is_bound for sample in samples)
    chosen = evenly(samples, _MOST_SAMPLES)
    ended = [sample for sample in chosen if not sample.is_bound]
    found = _fit([(sample.params, sample.value) for sample in ended]) if ended else None
    if found is None or len(ended) < len(chosen):
        found = _fit([(sample.params, _needed(sample, found)) for sample in chosen])
    return replace(found, margin=margin(len(samples) - bounds or 1), samples=len(samples), bounds=bounds)


def _needed(sample: Sample, like: Estimate | None) -> float:
    """Return what a trial is taken to need: what it took, or more than that where it was cut off."""
    if not sample.is_bound:
        return sample.value
    usual = math.exp(min(_centre(like.base, like.terms, sample.params), _RANGE)) if like else 0.0
    return max(CUT_OFF_FACTOR * sample.value, usual)


def _fit(rows: Sequence[tuple[Mapping[str, Any], float]]) -> Estimate:
    """Return the estimate from points and what trials at them need, without its margin."""
    points = [params for params, _ in rows]
    logs = [math.log(max(value, 1e-3)) for _, value in rows]
    terms = _explain(points, logs)
    base = 0.0 if terms else _mean(logs)
    above = sorted(_left_out(terms, points, logs) if terms else [log - base for log in logs])
    rank = math.ceil(QUANTILE * (len(above) + 1))  # a further trial stays below with that probability
    return Estimate(base, terms, above[min(rank, len(above)) - 1], 1.0, len(rows), 0)


def _centre(base: float, terms: Iterable[Term], params: Mapping[str, Any]) -> float:
    return base + sum(term.curve(params.get(term.name)) for term in terms)


def _explain(points: Sequence[Mapping[str, Any]], logs: Sequence[float]) -> tuple[Term, ...]:
    """Return the parameters that together predict twice as well as none does, the most telling first; else none."""
    if len(points) < _ENOUGH or _deviation(logs) <= _NARROW:
        return ()
    without = _error(_fit_level, [None] * len(logs), logs)
    found: tuple[Term, ...] = ()
    error = math.inf
    for terms in _candidates(points, logs):
        theirs = sum(above**2 for above in _left_out(terms, points, logs))
        if theirs <= (1 - _TELLING) * without and theirs <= (1 - _TELLING_MORE) * error:
            found, error = terms, theirs
    return found


def _candidates(points: Sequence[Mapping[str, Any]], logs: Sequence[float]) -> Iterator[tuple[Term, ...]]:
    """Yield the best parameter alone; then with the one that best explains what it leaves."""
    columns = {name: [point.get(name) for point in points] for name in points[0]}
    varied = {name: values for name, values in columns.items() if len(set(map(repr, values))) > 1}
    terms: tuple[Term, ...] = ()
    rest = list(logs)
    while varied and len(terms) < _MOST_TERMS and _deviation(rest) > _NARROW:
        _, best = min((_term(name, values, rest) for name, values in varied.items()), key=lambda found: found[0])
        if best is None:
            return
        del varied[best.name]
        terms = _refit((*terms, best), points, logs)
        yield terms
        rest = [log - _centre(0.0, terms, point) for log, point in zip(logs, points, strict=True)]


def _term(name: str, values: Sequence[Any], logs: Sequence[float]) -> tuple[float, Term | None]:
    """Return the best curve over one parameter, with its error on trials left out of the fit."""
    errors = {fit: _error(fit, values, logs) + len(logs) * _NEGLIGIBLE**2 for fit in _FITS}
    errors[_fit_values] *= _PREFER_CURVES
    best = min(errors, key=lambda fit: errors[fit])
    curve = best(values, logs) if errors[best] < math.inf else None
    return errors[best], Term(name, best, curve) if curve else None


def _error(fit: Fit, values: Sequence[Any], logs: Sequence[float]) -> float:
    """Return the sum of squared errors on trials left out of the fit; infinite where there is no fit."""
    total = 0.0
    for kept, left in _folds(len(logs)):
        curve = fit([values[i] for i in kept], [logs[i] for i in kept])
        if curve is None:
            return math.inf
        total += sum((logs[i] - curve(values[i])) ** 2 for i in left)
    return total


def _left_out(terms: Sequence[Term], points: Sequence[Mapping[str, Any]], logs: Sequence[float]) -> list[float]:
    """Return how far each trial lies above the centre that is fitted without it, by the same parameters."""
    above = []
    for kept, left in _folds(len(logs)):
        refitted = _refit(terms, [points[i] for i in kept], [logs[i] for i in kept])
        above += [logs[i] - _centre(0.0, refitted, points[i]) for i in left]
    return above


def _refit(terms: Sequence[Term], points: Sequence[Mapping[str, Any]], logs: Sequence[float]) -> tuple[Term, ...]:
    """Return the same parameters and kinds of curve, each in turn fitted to what the others leave of these trials."""
    fitted = [replace(term, curve=lambda _: 0.0) for term in terms]
    for _ in range(_ROUNDS if len(terms) > 1 else 1):
        for place, term in enumerate(terms):
            others = fitted[:place] + fitted[place + 1 :]
            rest = [log - _centre(0.0, others, point) for log, point in zip(logs, points, strict=True)]
            curve = term.fit([point.get(term.name) for point in points], rest) or term.curve
            fitted[place] = replace(term, curve=curve)
    return tuple(fitted)


def _folds(count: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield which trials are kept and which left out, each left out once. Shuffled: a grid's order is periodic."""
    order = list(range(count))
    random.Random(count).shuffle(order)  # noqa: S311 - the same every time, on purpose
    folds = count if count <= _EACH_ALONE else _FOLDS
    for first in range(folds):
        left = order[first::folds]
        yield sorted(set(order) - set(left)), left


def _fit_level(values: Sequence[Any], logs: Sequence[float]) -> Curve:  # noqa: ARG001 - a fit's signature
    """Fit one number for all values."""
    level = _mean(logs)
    return lambda _: level


def _fit_values(values: Sequence[Any], logs: Sequence[float]) -> Curve | None:
    """Fit one number for each value; None with fewer than two trials a value on average.

    A value that only one trial had does not go below the mean of all. An unknown number gets the larger one of its
    neighbours, any other unknown value the largest of all.
    """
    groups = defaultdict(list)
    for value, log in zip(values, logs, strict=True):
        groups[repr(value)].append(log)
    if len(groups) * 2 > len(logs) + 1:
        return None
    overall = _mean(logs)
    centres = {key: _mean(own) if len(own) > 1 else max(own[0], overall) for key, own in groups.items()}
    numbers = sorted({(value, centres[repr(value)]) for value in values}) if all(map(_is_number, values)) else []

    def curve(value: Any) -> float:
        known = centres.get(repr(value))
        if known is not None:
            return known
        if numbers and _is_number(value):
            place = bisect_left(numbers, (value, -math.inf))
            return max(log for _, log in numbers[max(0, place - 1) : place + 1])
        return max(centres.values())

    return curve


def _fit_line(values: Sequence[Any], logs: Sequence[float]) -> Curve | None:
    """Fit ``start + slope * value`` by least squares of the relative error; None for values that are no numbers.

    Neither may be below 0, as nothing takes less than no time: a line that would begin below 0 begins at 0.
    """
    if not all(map(_is_number, values)):
        return None
    taken = [math.exp(log) for log in logs]
    fitted = _least_squares(values, taken, [t**-2 for t in taken])
    if fitted and fitted[0] < 0 and min(values) > 0:
        ratios = [value / t for value, t in zip(values, taken, strict=True)]
        fitted = 0.0, math.fsum(ratios) / math.fsum(ratio**2 for ratio in ratios)
    if not fitted or min(fitted) < 0:
        return None
    (start, slope), most = fitted, max(logs)
    return lambda value: math.log(max(start + slope * value, 1e-3)) if _is_number(value) else most


def _fit_power(values: Sequence[Any], logs: Sequence[float]) -> Curve | None:
    """Fit ``factor * value ** power``; None for values that are not numbers above 0.

    The curve is flat below the smallest value, so that it holds for 0 and less, too.
    """
    if not all(_is_number(value) and value > 0 for value in values):
        return None
    fitted = _least_squares([math.log(value) for value in values], logs, [1.0] * len(logs))
    if not fitted:
        return None
    (log_factor, power), least, most = fitted, min(values), max(logs)
    return lambda value: log_factor + power * math.log(max(value, least)) if _is_number(value) else most


_FITS = (_fit_line, _fit_power, _fit_values)


def _least_squares(xs: Sequence[float], ys: Sequence[float], weights: Sequence[float]) -> tuple[float, float] | None:
    """Return intercept and slope; None where all ``xs`` are the same."""
    total = sum(weights)
    x0 = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    y0 = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    width = sum(w * (x - x0) ** 2 for w, x in zip(weights, xs, strict=True))
    if len(set(xs)) < 2 or width <= 0:
        return None
    slope = sum(w * (x - x0) * (y - y0) for w, x, y in zip(weights, xs, ys, strict=True)) / width
    return y0 - slope * x0, slope


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(_mean([(value - mean) ** 2 for value in values]))


def _is_number(value: Any) -> bool:
    """Return whether a value is a number to calculate with; NaN and very large ones are not."""
    return is_number(value) and abs(value) <= _LARGEST
