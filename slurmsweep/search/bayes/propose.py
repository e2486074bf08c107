"""Propose the next point of a `bayes` sweep: a pure function of the space, the observations, a number and a seed."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from slurmsweep.search.bayes.acquisition import FANTASIES, Improvement, imagined, untaken
from slurmsweep.search.bayes.design import generator, spread
from slurmsweep.search.bayes.model import BOWL, LENGTH, GaussianProcess
from slurmsweep.search.bayes.targets import targets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from slurmsweep.search.bayes.arrays import Array, Mask
    from slurmsweep.search.bayes.encoding import Space
    from slurmsweep.search.bayes.targets import Targets


#: The model begins when so many trials are known, running ones too, and so many have a value.
FIRST_KNOWN = 6
FIRST_ENDED = 3

#: The observations after which the expectation that the middle of ranges is better (``model.BOWL``) counts half.
FADE = 20

#: The most observations that the model uses: the better half of it are the best ones, the others drawn at random.
MOST_OBSERVED = 400

#: The most running trials whose results are imagined: the latest.
MOST_RUNNING = 128

#: Where the alternatives of a first point are in the sequence, and how many are tried.
_AHEAD = 101
_MOST_AHEAD = 50

#: The part of the effort for the first point that each alternative gets.
LESS_EFFORT = 0.45

#: Points that run at the same time differ in one coordinate at least by so much, as a share of its range.
APART = 0.01

#: Points closer than this, in length scales, would tell nearly the same.
NEAR = 0.15


class KnownTrial(NamedTuple):
    """One known trial.

    Attributes:
        number: the trial's number.
        point: its parameters, nested, as :func:`slurmsweep.search.parameters` returns them.
        value: the metric as reported, or what W&B's ``impute`` says in its place; None if it ended without a usable
            one, which counts as the worst of all. Of a running trial: None, or the value
            that it shall count with meanwhile (W&B's ``impute_while_running``).
        running: whether it is pending or running.
        variance: of the value, as far as that is known.
    """

    number: int
    point: Mapping[str, Any]
    value: float | None
    running: bool = False
    variance: float = 0.0


class Why(NamedTuple):
    """Why a point was proposed; numbers that are not known are None.

    Attributes:
        phase: ``initial`` (spread over the space), ``model`` (highest expected improvement), or ``repeat`` (the same,
            but every point of the space has been used).
        observations: trials with a value that the model used, of all that there are.
        running: trials that were running and counted.
        best: the best metric so far.
        predicted: the mean that the model predicts for the metric.
        uncertainty: the standard deviation of the prediction, without noise.
        improvement: the expected improvement on the best so far, in units of the metric.
        noise: the standard deviation of the noise that the model sees in the metric.
        lengths: the length scale of each searched parameter in units of its range: small ones matter.
    """

    phase: str
    observations: int = 0
    running: int = 0
    best: float | None = None
    predicted: float | None = None
    uncertainty: float | None = None
    improvement: float | None = None
    noise: float | None = None
    lengths: Mapping[str, float] = {}

    def to_json(self) -> dict[str, Any]:
        """Return what is known as plain JSON values, numbers with six digits."""
        found: dict[str, Any] = {}
        for name, value in self._asdict().items():
            if isinstance(value, float):
                found[name] = _digits(value)
            elif name == "lengths":
                found[name] = {path: _digits(length) for path, length in self.lengths.items()}
            elif value is not None:
                found[name] = value
        return found


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


class Proposal(NamedTuple):
    """One proposed point, and why."""

    point: dict[str, Any]
    why: Why


class Proposals:
    """Ranked alternatives, the best first; each assumes that those before it are running too.

    Args:
        space: the parameter space.
        rows: the alternatives, at least one, as rows.
        whys: why each was chosen.
        lengths: the length scales of the space's dimensions, shape (d,).
    """

    def __init__(self, space: Space, rows: Sequence[Array], whys: Sequence[Why], lengths: Array) -> None:
        self.items = tuple(Proposal(space.decode(row), why) for row, why in zip(rows, whys, strict=True))
        self._space = space
        self._rows = rows
        self._lengths = lengths

    def first_free(self, claimed: Sequence[Mapping[str, Any]]) -> int | None:
        """Return the index of the first alternative that is neither equal nor near to a claimed point; None if none is.

        ``claimed`` are the points that other agents claimed since the observations were read. It is cheap: it runs
        while a lock is held.
        """
        rows = [row for point in claimed if (row := self._space.encode(point)) is not None]
        if not rows:
            return 0
        between = [
            self._distances(np.array(self._rows[:index]), self._rows[index]) for index in range(1, len(self._rows))
        ]
        # where the search closes in on a point, its alternatives are as close to each other as they should be
        near = min([NEAR, *(float(distances.min()) / 2 for distances in between)])
        free = (self._distances(np.array(rows), row).min() > near for row in self._rows)
        return next((index for index, is_free in enumerate(free) if is_free), None)

    def _distances(self, rows: Array, row: Array) -> Array:
        """Return the distances of rows to one, in length scales, shape (rows,)."""
        apart = np.where(self._space.unordered, rows != row, rows - row) / self._lengths
        distances: Array = np.sqrt((apart * apart).sum(axis=1))
        return distances


class _Known(NamedTuple):
    """What the observations say, as rows.

    Attributes:
        space: the parameter space.
        ended: rows of trials with a value, shape (n, d).
        variances: of the metric of each, as far as that is known, shape (n,).
        targets: their values; None without a finite one.
        running: rows of running trials without a value, shape (r, d).
        taken: bytes of all rows that were used.
        points: the rows of a small finite space that are still free, or all of them if none is; else None.
        phase: ``model``, or ``repeat`` if no point is free.
    """

    space: Space
    ended: Array
    variances: Array
    targets: Targets | None
    running: Array
    taken: set[bytes]
    points: Array | None
    phase: str

    @classmethod
    def of(cls, space: Space, goal: str, observations: Iterable[KnownTrial]) -> _Known:
        """Return what the observations say, whatever their order. Keeps none of them, but numbers of each."""
        numbers, told, coordinates = array("q"), array("d"), array("d")
        for one in observations:
            row = space.encode(one.point)
            value = math.nan if one.value is None else float(one.value)
            if row is not None:
                waits = one.running and one.value is None
                # NaN has no order
                told.extend((waits, value if math.isfinite(value) else math.inf, one.variance))
                numbers.append(one.number)
                coordinates.extend(row)
        rows = np.array(coordinates).reshape(len(numbers), len(space.dimensions))
        told_of = np.array(told).reshape(len(numbers), 3)
        # the trials of other sweeps may have the same numbers
        order = np.lexsort((*told_of.T[::-1], *rows.T[::-1], np.array(numbers)))
        rows, told_of = rows[order], told_of[order]
        has_ended = told_of[:, 0] == 0
        ended, running, variances = rows[has_ended], rows[~has_ended], told_of[has_ended, 2]
        targets = targets_of(told_of[has_ended, 1].tolist(), goal)
        taken = {row.tobytes() for row in ended} | {row.tobytes() for row in running}
        points, phase = space.listed(), "model"
        if points is not None:
            free = untaken(points, taken)
            points, phase = (free, "model") if len(free) else (points, "repeat")
        return cls(space, ended, variances, targets, running, taken, points, phase)

    def why(self, phase: str) -> Why:
        """Return what does not depend on a model."""
        best = None if self.targets is None else self.targets.in_metric(self.targets.fitted[0])
        return Why(phase, len(self.ended), len(self.running), best)


def propose(  # noqa: PLR0913 (what a point depends on, each by its name)
    space: Space,
    goal: str,
    observations: Iterable[KnownTrial],
    *,
    number: int,
    seed: str,
    alternatives: int = 1,
) -> Proposals:
    """Return the point of the next trial, and alternatives in case that others claim the same meanwhile.

    The answer depends on the arguments alone (and on the version of numpy), and not on the order of observations.
    A point of a finite space is proposed again only after all of its points.

    Args:
        space: the parameter space.
        goal: ``minimize`` or ``maximize``.
        observations: all trials that are known. Points that the space has no more are not used.
        number: the number of the trial.
        seed: any text, usually the sweep's id.
        alternatives: how many points, at least 1.
    """
    known = _Known.of(space, goal, observations)
    trials = len(known.ended) + len(known.running)
    few = known.targets is None or len(known.ended) < FIRST_ENDED or trials < FIRST_KNOWN
    if few and known.phase == "model":
        return _initial(known, number, seed, alternatives)
    return _modelled(known, generator(seed, number, "model"), alternatives)


def _initial(known: _Known, number: int, seed: str, alternatives: int) -> Proposals:
    """Return points that are spread over the space; the alternatives are far ahead in the same sequence."""
    space, d = known.space, len(known.space.dimensions)
    taken = set(known.taken)
    rng = generator(seed, number, "initial")
    rows: list[Array] = []
    whys: list[Why] = []
    for ahead in range(_MOST_AHEAD):
        row = space.canonical(space.drawn(spread(d, seed, number + ahead * _AHEAD)[None]))
        if len(rows) < alternatives and row.tobytes() not in taken and space.allowed(row)[0]:
            taken.add(row.tobytes())
            rows.append(row[0])
            whys.append(known.why("initial"))
    while len(rows) < alternatives:  # few points are free, or allowed
        pool = space.sample(rng, 100) if known.points is None else rng.permutation(known.points)
        free = untaken(pool, taken)
        rows.append(free[0] if len(free) else pool[0])
        whys.append(known.why("initial" if len(free) else "repeat"))
        taken.add(rows[-1].tobytes())
    return Proposals(space, rows, whys, np.full(d, LENGTH * math.sqrt(max(1, d))))


def _modelled(known: _Known, rng: np.random.Generator, alternatives: int) -> Proposals:
    """Return the points of highest expected improvement."""
    y = np.zeros(len(known.ended)) if known.targets is None else known.targets.y
    unit = 0.0 if known.targets is None else known.targets.unit
    chosen = _subset(y, rng)
    unordered = known.space.unordered
    model = GaussianProcess.fit(
        known.ended[chosen],
        unordered,
        y[chosen],
        _mixed(len(chosen)),
        bowl=BOWL * FADE / (FADE + len(chosen)),
        trends=True,
        versions=FANTASIES,
        variances=known.variances[chosen] * unit * unit,
    )
    posterior = imagined(model.posterior, known.running[-MOST_RUNNING:], rng)
    phase, taken = known.phase, known.taken if known.phase == "model" else set()
    rows: list[Array] = []
    whys: list[Why] = []
    while True:
        improvement = Improvement(posterior)
        if known.points is None:
            found, gains = improvement.maximised(known.space, taken, rng, LESS_EFFORT if rows else 1.0)
        else:
            found, gains = improvement.ranked(untaken(known.points, taken))
        if not len(found):
            phase, taken = "repeat", set()
            continue
        others = np.vstack([known.running[-MOST_RUNNING:], *rows]) if len(known.running) or rows else known.running
        best = _first_apart(found, others, unordered)
        rows.append(found[best])
        here = found[best : best + 1]
        whys.append(_explained(known.why(phase), known, model, posterior.predict(here), float(gains[best])))
        if len(rows) == alternatives:
            return Proposals(known.space, rows, whys, model.kernel.lengths)
        taken = taken | {found[best].tobytes()}
        posterior = imagined(posterior, here, rng)


def _first_apart(found: Array, others: Array, unordered: Mask) -> int:
    """Return the place of the first row that differs enough from all ``others``, which run; 0 if none does.

    What runs at the same time tells more if it is not nearly the same, however sure the model is of one place.
    """
    if not len(others):
        return 0
    apart = np.abs(found[:, None, :] - others[None, :, :])
    apart = np.where(unordered, apart > 0, apart)
    enough = apart.max(axis=2).min(axis=1) >= APART
    return int(np.argmax(enough))  # the first one; 0 where there is none


def _subset(y: Array, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return which observations the model uses, the best first: the best ones, and as many of the others at random."""
    order = np.argsort(y, kind="stable")
    half = MOST_OBSERVED // 2
    if len(order) <= MOST_OBSERVED:
        return order
    return np.concatenate([order[:half], rng.permutation(order[half:])[: MOST_OBSERVED - half]])


def _mixed(count: int) -> npt.NDArray[np.intp]:
    """Return the places 0 .. count - 1, the best ones alternating with those spread over the rest.

    So any number of them from the beginning on tells as much of the best points as of the whole space.
    """
    best = np.arange(count)
    rest = np.concatenate([best[offset::7] for offset in range(7)])
    return np.asarray(list(dict.fromkeys(np.stack([best, rest], axis=1).reshape(-1).tolist())), dtype=np.intp)


def _explained(why: Why, known: _Known, model: GaussianProcess, predicted: tuple[Array, Array], gain: float) -> Why:
    """Return ``why`` with what the model says, in units of the metric."""
    names = [",".join(".".join(path) for path in one.paths) for one in known.space.dimensions]
    why = why._replace(lengths=dict(zip(names, model.kernel.lengths.tolist(), strict=True)))
    targets = known.targets
    if targets is None:
        return why
    middle = model.centre + model.scale * float(predicted[0].mean())
    spread_out = model.scale * float(predicted[1][0])
    unit = abs(targets.in_metric(targets.fitted[0] - 1) - targets.in_metric(targets.fitted[0]))
    return why._replace(
        predicted=targets.in_metric(middle),
        uncertainty=abs(targets.in_metric(middle - spread_out) - targets.in_metric(middle)),
        improvement=math.exp(gain) * model.scale * unit,
        noise=math.sqrt(model.kernel.noise) * model.scale * unit,
    )
