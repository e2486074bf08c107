"""Which parameters mattered for a metric, which way, and with which values trials fail.

The metric goes by rank: one diverged trial must not be all that is explained. Failures of the point count as the worst
rank. Where numpy is missing, a simpler measure is used, which sees one parameter at a time; the answer names it. A
parameter that only some trials have is compared among those, and the answer says how many they are.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import UsageError
from slurmsweep.learning.failures import failures
from slurmsweep.learning.results import ABSENT, factors_of, label, results_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.learning.failures import FailureEvidence
    from slurmsweep.learning.results import Among, Factor, TrialResult
    from slurmsweep.learning.sensitivity import Indices
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.replay import SweepView
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.sections import Objective

SOBOL = "total Sobol index of a Gaussian process on ranks"
ONE_AT_A_TIME = "epsilon squared on ranks, one parameter at a time"

#: Trials for each parameter, and the share of differences explained, below which too little is known.
TRIALS_EACH, LEAST_EXPLAINED = 5, 0.2

#: An interaction is told where its range begins above this.
_INTERACTS = 0.05

#: The range goes from this quantile of the resamples to the same from above.
_TAIL = 0.1

#: Trials that count for the importance, at most: of more, so many are drawn.
_MOST_USED = 500

#: A rank correlation is a direction where it is so many standard deviations from none.
_CLEAR = 2.0

#: Of an ordered parameter with more values, groups with about the same number of trials are compared, one at a time.
_MOST_LEVELS = 5
_RESAMPLES = 20


class ParameterImportance(NamedTuple):
    """How much one parameter mattered.

    Attributes:
        parameter: its name.
        trials: how many have it.
        importance: the share of the differences between these trials that it takes part in, from 0 to 1.
        low, high: its range over resamples.
        better: ``higher`` or ``lower`` for a parameter of numbers whose values go with the metric; else None.
        best: the value with which trials are best, averaged over the other parameters.
    """

    parameter: str
    trials: int
    importance: float
    low: float
    high: float
    better: str | None
    best: str


class Interaction(NamedTuple):
    """What two parameters only do together: the share of the differences, and its range over resamples."""

    parameters: tuple[str, str]
    importance: float
    low: float
    high: float


class Importance(NamedTuple):
    """Which parameters mattered.

    Attributes:
        metric, goal: what was looked at; None where the sweep has no metric.
        method: the measure; empty where nothing was measured.
        resamples: how many the ranges are over.
        trials: how many were used, failures included.
        silent: how many ended and say nothing of their points.
        explained: the share of the differences that the model foretells; None where there is no model.
        unclear: why the importances say little; empty where they say enough.
        parameters: those that differed between trials, the most important first.
        same: those that did not differ.
        interactions: pairs, the clearest first.
        failures: with which values trials fail.
    """

    metric: str | None
    goal: str | None
    method: str
    resamples: int
    trials: int
    silent: int
    explained: float | None
    unclear: str
    parameters: tuple[ParameterImportance, ...]
    same: tuple[str, ...]
    interactions: tuple[Interaction, ...]
    failures: FailureEvidence

    def to_json(self) -> dict[str, Any]:
        """Return the document, with numbers of four digits."""
        document = self._asdict() | {
            "parameters": [one._asdict() for one in self.parameters],
            "interactions": [one._asdict() for one in self.interactions],
            "failures": self.failures._asdict() | {"findings": [one._asdict() for one in self.failures.findings]},
        }
        rounded: dict[str, Any] = _rounded(document)
        return rounded


class _Measured(NamedTuple):
    """What a measure says, before it has words: of each factor its importance, resampled ones, its best value."""

    method: str
    shares: list[float]
    resampled: list[list[float]]
    best: list[str]
    explained: float | None = None
    interactions: tuple[Interaction, ...] = ()


def importance(
    manifest: Manifest, view: SweepView, metric: str | None = None, among: Among | None = None
) -> Importance:
    """Return which parameters of a sweep mattered.

    Args:
        manifest: of the sweep, with any method.
        view: its state.
        metric: the sweep's metric, or one of its Pareto view; None for the sweep's own, or the only one.
        among: which trials count for the importance; None for all. Failures are always looked for among all.

    Raises:
        UsageError: the sweep has no such metric, or has several and none was chosen.
    """
    config = manifest.config
    objective = _objective(config, metric)
    factors = factors_of(config)
    results, silent = results_of(manifest, view, objective)
    failed = failures(factors, results)
    if objective is None:
        unclear = "the sweep file names no metric: only failures are looked at"
        return Importance(None, None, "", 0, len(results), silent, None, unclear, (), (), (), failed)
    used = among.best(results, objective.goal) if among else results
    if len(used) > _MOST_USED:
        chosen = random.Random(manifest.sweep_id).sample(used, _MOST_USED)  # noqa: S311 - a choice, and no secret
        used = sorted(chosen, key=lambda one: one.number)
    told = [one for one in factors if len({one.level(result.point) for result in used} - {ABSENT}) > 1]
    same = tuple(one.name for one in factors if one not in told)
    values = ranks(used, objective.goal)
    measured = _Measured("", [], [], [])
    if told and len(set(values)) > 1:
        measured = _measured(config, told, used, values, everywhere=among is None)
    rows = _rows(told, used, values, measured)
    return Importance(
        metric=objective.name,
        goal=objective.goal,
        method=measured.method,
        resamples=len(measured.resampled),
        trials=len(used),
        silent=silent,
        explained=measured.explained,
        unclear=_unclear(used, told, values, measured.explained),
        parameters=tuple(sorted(rows, key=lambda row: (-row.importance, row.parameter))),
        same=same,
        interactions=measured.interactions,
        failures=failed,
    )


def _objective(config: SweepConfig, name: str | None) -> Objective | None:
    """Return the metric of that name. Raises UsageError."""
    known = {one.name: one for one in config.extensions.pareto}
    if config.metric:
        known = {config.metric.name: config.metric.objective} | known
    if name is None:
        if config.metric or not known:
            return config.metric.objective if config.metric else None
        raise UsageError(f"the sweep file has several metrics: choose one, --metric {' or '.join(known)}")
    if name not in known:
        there = f"there {'are' if len(known) > 1 else 'is'} {', '.join(known)}" if known else "it names none"
        raise UsageError(f"metric {name!r} is none of the sweep file's: {there}")
    return known[name]


def _unclear(
    used: Sequence[TrialResult], told: Sequence[Factor], values: Sequence[float], explained: float | None
) -> str:
    """Return why the importances say little; empty where they say enough."""
    if not used:
        return "no trial has ended with a value yet"
    if not told:
        return "no parameter differs between these trials"
    if len(set(values)) < 2:
        return "all of these trials are equally good"
    needed = TRIALS_EACH * len(told)
    if len(used) < needed:
        return f"too few trials to tell: {len(used)} for {len(told)} parameters, and {needed} are the least"
    if explained is not None and explained < LEAST_EXPLAINED:
        return f"too few trials to tell, or mostly noise: {max(0, round(100 * explained))} % is explained"
    return ""


def ranks(results: Sequence[TrialResult], goal: str) -> list[float]:
    """Return for each result the share of results that are better, equal ones alike; failures are the worst."""
    sign = -1.0 if goal == "maximize" else 1.0
    return _mean_ranks([(one.value is None, sign * (one.value or 0.0)) for one in results])


def _mean_ranks(keys: Sequence[Any]) -> list[float]:
    """Return the mean ranks of keys, from 0 to 1."""
    places = defaultdict(list)
    for place, key in enumerate(sorted(keys)):
        places[key].append(place + 0.5)
    return [sum(places[key]) / len(places[key]) / len(keys) for key in keys]


def _measured(
    config: SweepConfig,
    factors: Sequence[Factor],
    results: Sequence[TrialResult],
    values: list[float],
    *,
    everywhere: bool,
) -> _Measured:
    """Return the importance of each factor, by the Gaussian process where there is numpy."""
    try:
        import numpy as np

        from slurmsweep.learning.sensitivity import sensitivity
        from slurmsweep.search.bayes.encoding import Space
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        return _one_at_a_time(factors, results, values)
    space = Space.of(config)
    by_paths = {one.paths: place for place, one in enumerate(space.dimensions)}
    places = [by_paths[one.paths] for one in factors]
    # trials of another sweep may have values that this one has not
    rows = [space.encode(result.point) for result in results]
    known = [at for at, row in enumerate(rows) if row is not None]
    x = np.array([rows[at] for at in known], dtype=np.float64)
    found = sensitivity(space, places, x, np.array(values)[known], everywhere=everywhere)
    best = []
    for factor, place, coordinate in zip(factors, places, found.best, strict=True):
        at = known[int(np.flatnonzero(x[:, place] == coordinate)[0])]
        best.append(factor.label(results[at].point))
    names = [one.name for one in factors]
    pairs = _interactions(names, found.indices, found.resampled)
    resampled = [one.total.tolist() for one in found.resampled]
    return _Measured(SOBOL, found.indices.total.tolist(), resampled, best, found.explained, pairs)


def _interactions(names: Sequence[str], indices: Indices, resampled: Sequence[Indices]) -> tuple[Interaction, ...]:
    """Return the pairs whose range begins above the least that is told, the largest first."""
    found = []
    for (a, b), share in indices.pairs.items():
        low, high = _range(share, [one.pairs[a, b] for one in resampled])
        if low >= _INTERACTS:
            found.append(Interaction((names[a], names[b]), share, low, high))
    return tuple(sorted(found, key=lambda one: -one.importance))


def _rows(
    factors: Sequence[Factor], results: Sequence[TrialResult], values: Sequence[float], measured: _Measured
) -> list[ParameterImportance]:
    """Return what is told of each factor, in their order."""
    rows = []
    for place, share in enumerate(measured.shares):
        low, high = _range(share, [one[place] for one in measured.resampled])
        factor, best = factors[place], measured.best[place]
        having = sum(factor.level(one.point) != ABSENT for one in results)
        better = _better(factor, results, values)
        rows.append(ParameterImportance(factor.name, having, share, low, high, better, best))
    return rows


def _better(factor: Factor, results: Sequence[TrialResult], values: Sequence[float]) -> str | None:
    """Return whether higher or lower values are better, where the rank correlation is clear."""
    levels = [factor.level(one.point) for one in results]
    pairs = [(level, value) for level, value in zip(levels, values, strict=True) if isinstance(level, float)]
    if not factor.ordered or len({level for level, _ in pairs}) < 2:
        return None
    a, b = (_mean_ranks(column) for column in zip(*pairs, strict=True))
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    product = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    size = sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b)
    if not size or product * product * (len(a) - 1) < _CLEAR * _CLEAR * size:
        return None
    return "lower" if product > 0 else "higher"


def _range(share: float, resampled: Sequence[float]) -> tuple[float, float]:
    """Return the 10 % and the 90 % quantile of resampled shares, as far apart as to include the share itself."""
    ordered = sorted(resampled) or [share]
    cut = int(_TAIL * len(ordered))
    return min(share, ordered[cut]), max(share, ordered[-1 - cut])


def _one_at_a_time(factors: Sequence[Factor], results: Sequence[TrialResult], values: Sequence[float]) -> _Measured:
    """Return the importance of each factor alone: what parameters only do together is not seen."""
    groups = [_groups(factor, results) for factor in factors]
    shares = [_epsilon_squared(one, values) for one in groups]
    rng = random.Random(len(values))  # noqa: S311 - resamples, and no secret
    resampled = []
    for _ in range(_RESAMPLES):
        again = [rng.randrange(len(values)) for _ in values]
        there = [values[place] for place in again]
        resampled.append([_epsilon_squared([one[place] for place in again], there) for one in groups])
    best = [_best_group(factor, one, results, values) for factor, one in zip(factors, groups, strict=True)]
    return _Measured(ONE_AT_A_TIME, shares, resampled, best)


def _groups(factor: Factor, results: Sequence[TrialResult]) -> list[Any]:
    """Return for each result the group that it is in: of its value, or of about as many neighbouring values."""
    levels = [factor.level(one.point) for one in results]
    numbers = [level for level in levels if isinstance(level, float)]
    if len(set(numbers)) <= _MOST_LEVELS:
        return levels
    shares = dict(zip(numbers, _mean_ranks(numbers), strict=True))
    most = max(2, min(_MOST_LEVELS, len(numbers) // 10))
    return [ABSENT if level == ABSENT else int(shares[level] * most) for level in levels]


def _epsilon_squared(groups: Sequence[Any], values: Sequence[float]) -> float:
    """Return the share of the variance that lies between groups, less what chance puts there (Kelley 1935)."""
    members = _members(groups, values)
    there = [value for one in members.values() for value in one]
    n, k = len(there), len(members)
    if n <= k:
        return 0.0
    mean = sum(there) / n
    whole = sum((value - mean) ** 2 for value in there)
    within = sum(sum((value - sum(one) / len(one)) ** 2 for value in one) for one in members.values())
    if not whole:
        return 0.0
    return max(0.0, 1 - (within / (n - k)) / (whole / (n - 1)))


def _best_group(factor: Factor, groups: Sequence[Any], results: Sequence[TrialResult], values: Sequence[float]) -> str:
    """Return the value of the best group, of neighbouring numbers their middle one."""
    members = _members(groups, values)
    best = min(members, key=lambda group: sum(members[group]) / len(members[group]))
    inside = [one for group, one in zip(groups, results, strict=True) if group == best]
    levels = sorted({level for one in inside if isinstance(level := factor.level(one.point), float)})
    return label(levels[len(levels) // 2]) if levels else factor.label(inside[0].point)


def _members(groups: Sequence[Any], values: Sequence[float]) -> dict[Any, list[float]]:
    """Return the values of each group; trials without the parameter are in none."""
    members = defaultdict(list)
    for group, value in zip(groups, values, strict=True):
        if group != ABSENT:
            members[group].append(value)
    return members


def _rounded(value: Any) -> Any:
    """Return a document with floats of four digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value
