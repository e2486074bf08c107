"""What trials will need, learnt from those that ended: a centre by the parameters, a quantile, a margin.

Pure functions over numbers, for seconds and for MiB alike. The model is kept so simple that one line explains it:

- The centre is one number, or depends on one or two parameters: a value for each of their values (a model's size), a
  line (epochs: so much to start, so much for each), or a power (width: four times as much for twice as wide). A
  parameter is taken only where it predicts trials it has not seen at least twice as well as doing without it.
- How far trials lie above their centre is measured on trials that were left out of the fit; the 0.95 quantile of
  that, counted as in conformal prediction (of fewer than 19 trials it is the largest), times a margin that shrinks
  as trials add up.
- A trial that was cut off (out of time, out of memory) is a lower bound: it counts as 1.5 times what it had, or as
  much as trials like it take, whichever is more.

What this cannot know: trials that none of those that ended resembles, and machines that differ. Some trials will be
cut off; they are cheap next to asking the longest time for all.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

#: Of new trials that shall need no more than the estimate (before the margin).
QUANTILE = 0.95

#: What a trial that was cut off is taken to need, times what it had.
BEYOND = 1.5

#: Trials that must have ended before a parameter may explain anything.
_ENOUGH = 4

#: Parameters that may explain it together.
_MOST_TERMS = 2

#: Share of the squared error that parameters must take away, on trials they have not seen; and a second one of what
#: the first leaves.
_TELLING = 0.5
_TELLING_MORE = 0.3

#: Rounds in which two curves are fitted to what the other leaves.
_ROUNDS = 3

#: A spread (standard deviation of the logarithm) that needs no explanation: ten per cent.
_NARROW = 0.1

#: Two curves that differ less than by this (in the logarithm) are equally good.
_NEGLIGIBLE = 0.02

#: A value for each value of a parameter must be better than a curve by this much: curves reach values nobody tried.
_PREFER_CURVES = 1.25

#: Numbers beyond this are names: their squares would overflow.
_LARGEST = 1e12

#: Logarithms that an estimate stays within.
_RANGE = 60.0

#: More trials than this teach nothing further; as many are taken evenly.
_MOST_SAMPLES = 400

#: Each trial is left out once where there are as few as this; else an eighth of them at a time.
_EACH_ALONE = 24
_FOLDS = 8


@dataclass(frozen=True)
class Sample:
    """One trial that ended.

    Attributes:
        params: its point, flat (:func:`flat`).
        value: what it took, above 0.
        is_bound: it was cut off: it needs more than ``value``.
    """

    params: Mapping[str, Any]
    value: float
    is_bound: bool = False


class Curve(Protocol):
    """A parameter's value to the logarithm of what trials with it take."""

    def __call__(self, value: Any) -> float:
        """Also of values that no trial had."""


@dataclass(frozen=True)
class Term:
    """One parameter that explains something.

    Attributes:
        name: of the parameter.
        fit: makes the curve from values and logarithms; None where it cannot.
        curve: fitted.
    """

    name: str
    fit: Callable[[Sequence[Any], Sequence[float]], Curve | None]
    curve: Curve


@dataclass(frozen=True)
class Estimate:
    """What is known of all trials from those that ended.

    Attributes:
        base: logarithm, of all trials alike; 0 where terms say it.
        terms: parameters that explain it, the most telling first.
        spread: logarithm of how far above its centre a trial may lie.
        margin: 1.1 or more.
        samples: trials it was learnt from.
        bounds: of these, cut off.
    """

    base: float
    terms: tuple[Term, ...]
    spread: float
    margin: float
    samples: int
    bounds: int

    def of(self, params: Mapping[str, Any]) -> float:
        """What a trial at this (flat) point should be given."""
        log = _centre(self.base, self.terms, params) + self.spread
        return math.exp(min(max(log, -_RANGE), _RANGE)) * self.margin

    def explained(self, what: str) -> str:
        """``time by epochs: 0.95 quantile of 8 trials x 1.4``."""
        by = " and ".join(term.name for term in self.terms)
        cut = f" ({self.bounds} of them cut off)" if self.bounds else ""
        return (
            f"{what}{f' by {by}' if by else ''}: {QUANTILE} quantile of {self.samples} trials{cut} x {self.margin:.2g}"
        )


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by dotted names."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        found.update(flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return found


def margin(samples: int) -> float:
    """1.1 for very many trials, 1.4 for ten, 2.1 for one."""
    return 1.1 + 1 / math.sqrt(samples)


def learn(samples: Sequence[Sample]) -> Estimate:
    """The estimate from at least one trial that ended. Raises ValueError for none."""
    if not samples:
        raise ValueError("nothing to learn from")
    chosen = _evenly(samples, _MOST_SAMPLES)
    whole = [sample for sample in chosen if not sample.is_bound]
    first = _learn([(s.params, s.value) for s in whole]) if whole else None
    estimate = first if first and len(whole) == len(chosen) else _learn([(s.params, _full(s, first)) for s in chosen])
    bounds = sum(sample.is_bound for sample in samples)
    return Estimate(
        estimate.base, estimate.terms, estimate.spread, margin(len(samples) - bounds or 1), len(samples), bounds
    )


def _full(sample: Sample, like: Estimate | None) -> float:
    """What the trial is taken to need: what it took, or beyond that where it was cut off."""
    if not sample.is_bound:
        return sample.value
    usual = math.exp(min(_centre(like.base, like.terms, sample.params), _RANGE)) if like else 0.0
    return max(BEYOND * sample.value, usual)


def _learn(rows: Sequence[tuple[Mapping[str, Any], float]]) -> Estimate:
    points = [params for params, _ in rows]
    logs = [math.log(max(value, 1e-3)) for _, value in rows]
    terms = _explain(points, logs)
    base = 0.0 if terms else _mean(logs)
    above = _left_out(terms, points, logs) if terms else [log - base for log in logs]
    return Estimate(base, terms, _quantile(above), 1.0, len(rows), 0)


def _centre(base: float, terms: Iterable[Term], params: Mapping[str, Any]) -> float:
    return base + sum(term.curve(params.get(term.name)) for term in terms)


def _explain(points: Sequence[Mapping[str, Any]], logs: Sequence[float]) -> tuple[Term, ...]:
    """As many parameters, the most telling first, as together predict twice as well as doing without; else none."""
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
    """The best parameter alone; then with the one that best explains what it left."""
    columns = {name: [point.get(name) for point in points] for name in points[0]}
    varied = {name: values for name, values in columns.items() if len(set(map(repr, values))) > 1}
    terms: tuple[Term, ...] = ()
    rest = list(logs)
    while varied and len(terms) < _MOST_TERMS and _deviation(rest) > _NARROW:
        best = min((_term(name, values, rest) for name, values in varied.items()), key=lambda found: found[0])
        if best[1] is None:
            return
        del varied[best[1].name]
        terms = _refit((*terms, best[1]), points, logs)
        yield terms
        rest = [log - _centre(0.0, terms, point) for log, point in zip(logs, points, strict=True)]


def _term(name: str, values: Sequence[Any], logs: Sequence[float]) -> tuple[float, Term | None]:
    """The best curve over one parameter, with its error on trials it has not seen."""
    errors = {fit: _error(fit, values, logs) + len(logs) * _NEGLIGIBLE**2 for fit in _FITS}
    errors[_fit_values] *= _PREFER_CURVES
    best = min(errors, key=lambda fit: errors[fit])
    curve = best(values, logs) if errors[best] < math.inf else None
    return errors[best], Term(name, best, curve) if curve else None


def _error(
    fit: Callable[[Sequence[Any], Sequence[float]], Curve | None], values: Sequence[Any], logs: Sequence[float]
) -> float:
    """Sum of squared errors on trials that were left out of the fit; infinite where it cannot be made."""
    total = 0.0
    for kept, left in _folds(len(logs)):
        curve = fit([values[i] for i in kept], [logs[i] for i in kept])
        if curve is None:
            return math.inf
        total += sum((logs[i] - curve(values[i])) ** 2 for i in left)
    return total


def _left_out(terms: Sequence[Term], points: Sequence[Mapping[str, Any]], logs: Sequence[float]) -> list[float]:
    """How far each trial lies above the centre that is fitted without it, by the same parameters."""
    above = []
    for kept, left in _folds(len(logs)):
        curves = _refit(terms, [points[i] for i in kept], [logs[i] for i in kept])
        above += [logs[i] - _centre(0.0, curves, points[i]) for i in left]
    return above


def _refit(terms: Sequence[Term], points: Sequence[Mapping[str, Any]], logs: Sequence[float]) -> tuple[Term, ...]:
    """The same parameters and kinds of curve, fitted to these trials: each in turn to what the others leave."""
    fitted = [Term(term.name, term.fit, _Level(0.0)) for term in terms]
    for _ in range(_ROUNDS if len(terms) > 1 else 1):
        for place, term in enumerate(terms):
            others = fitted[:place] + fitted[place + 1 :]
            rest = [log - _centre(0.0, others, point) for log, point in zip(logs, points, strict=True)]
            curve = term.fit([point.get(term.name) for point in points], rest) or term.curve
            fitted[place] = Term(term.name, term.fit, curve)
    return tuple(fitted)


def _folds(count: int) -> Iterator[tuple[list[int], list[int]]]:
    """Which trials are kept and which left out, each left out once. Shuffled: a grid's order is periodic."""
    order = list(range(count))
    random.Random(count).shuffle(order)  # noqa: S311 - the same every time, on purpose
    folds = count if count <= _EACH_ALONE else _FOLDS
    for view in range(folds):
        left = order[view::folds]
        yield sorted(set(order) - set(left)), left


@dataclass(frozen=True)
class _Level:
    """The same whatever the value."""

    log: float

    def __call__(self, value: Any) -> float:  # noqa: ARG002 - a curve's signature
        return self.log


@dataclass(frozen=True)
class _Values:
    """One number for each value; between two of them, and beyond, the larger neighbour's; else the largest."""

    logs: Mapping[str, float]
    numbers: tuple[tuple[float, float], ...]

    def __call__(self, value: Any) -> float:
        known = self.logs.get(repr(value))
        if known is not None:
            return known
        if self.numbers and _is_number(value):
            place = bisect_left(self.numbers, (value, -math.inf))
            return max(log for _, log in self.numbers[max(0, place - 1) : place + 1])
        return max(self.logs.values())


@dataclass(frozen=True)
class _Line:
    """``start + slope * value``; the most that was seen for what is no number."""

    start: float
    slope: float
    most: float

    def __call__(self, value: Any) -> float:
        return math.log(max(self.start + self.slope * value, 1e-3)) if _is_number(value) else self.most


@dataclass(frozen=True)
class _Power:
    """``factor * value ** power``, for values not below the least; the most that was seen for what is no number."""

    log_factor: float
    power: float
    least: float
    most: float

    def __call__(self, value: Any) -> float:
        if not _is_number(value):
            return self.most
        return self.log_factor + self.power * math.log(max(value, self.least))


def _fit_level(values: Sequence[Any], logs: Sequence[float]) -> Curve:  # noqa: ARG001 - a fit's signature
    return _Level(_mean(logs))


def _fit_values(values: Sequence[Any], logs: Sequence[float]) -> Curve | None:
    """Two trials or more for each value on average. A value that one trial had does not go below the mean of all."""
    groups = defaultdict(list)
    for value, log in zip(values, logs, strict=True):
        groups[repr(value)].append(log)
    if len(groups) * 2 > len(logs) + 1:
        return None
    overall = _mean(logs)
    centres = {key: _mean(own) if len(own) > 1 else max(own[0], overall) for key, own in groups.items()}
    numeric = all(map(_is_number, values))
    return _Values(centres, tuple(sorted({(v, centres[repr(v)]) for v in values})) if numeric else ())


def _fit_line(values: Sequence[Any], logs: Sequence[float]) -> Curve | None:
    """Least squares of the relative error; from 0 on where it would begin below: nothing takes less than no time."""
    if not all(map(_is_number, values)):
        return None
    taken = [math.exp(log) for log in logs]
    weights = [t**-2 for t in taken]
    fitted = _least_squares(values, taken, weights)
    if fitted and fitted[0] < 0 and min(values) > 0:
        ratios = [value / t for value, t in zip(values, taken, strict=True)]
        fitted = 0.0, math.fsum(ratios) / math.fsum(ratio**2 for ratio in ratios)
    return _Line(*fitted, most=max(logs)) if fitted and min(fitted) >= 0 else None


def _fit_power(values: Sequence[Any], logs: Sequence[float]) -> Curve | None:
    if not all(_is_number(value) and value > 0 for value in values):
        return None
    fitted = _least_squares([math.log(v) for v in values], logs, [1.0] * len(logs))
    return _Power(*fitted, least=min(values), most=max(logs)) if fitted else None


_FITS = (_fit_line, _fit_power, _fit_values)


def _least_squares(xs: Sequence[float], ys: Sequence[float], weights: Sequence[float]) -> tuple[float, float] | None:
    """Intercept and slope; None where all ``xs`` are the same."""
    total = sum(weights)
    x0 = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    y0 = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    width = sum(w * (x - x0) ** 2 for w, x in zip(weights, xs, strict=True))
    if len(set(xs)) < 2 or width <= 0:
        return None
    slope = sum(w * (x - x0) * (y - y0) for w, x, y in zip(weights, xs, ys, strict=True)) / width
    return y0 - slope * x0, slope


def _quantile(values: Sequence[float]) -> float:
    """The value that a further one stays below with probability QUANTILE; the largest where there are too few."""
    rank = math.ceil(QUANTILE * (len(values) + 1))
    return sorted(values)[min(rank, len(values)) - 1]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(_mean([(value - mean) ** 2 for value in values]))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _evenly(samples: Sequence[Sample], most: int) -> Sequence[Sample]:
    """At most so many, evenly from all."""
    if len(samples) <= most:
        return samples
    return [samples[place * len(samples) // most] for place in range(most)]
