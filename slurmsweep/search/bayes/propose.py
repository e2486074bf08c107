"""Propose the next point of a `bayes` sweep: a pure function of the space, the observations, a number and a seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from slurmsweep.search.bayes import acquisition
from slurmsweep.search.bayes.design import generator, spread
from slurmsweep.search.bayes.encoding import MOST_LISTED
from slurmsweep.search.bayes.model import GaussianProcess, Posterior
from slurmsweep.search.bayes.targets import targets_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from slurmsweep.search.bayes.encoding import Space
    from slurmsweep.search.bayes.targets import Targets

    Array = npt.NDArray[np.float64]

#: The model begins when so many trials are known, running ones too, and so many have a value.
FIRST_KNOWN = 6
FIRST_ENDED = 3

#: The most observations that the model uses: the better half of it are the best ones, the others drawn at random.
MOST_OBSERVED = 400

#: The most running trials whose results are imagined: the latest.
MOST_RUNNING = 128

#: Points closer than this, in length scales, would tell nearly the same.
NEAR = 0.15


class Observation(NamedTuple):
    """One known trial.

    Attributes:
        number: the trial's number.
        point: its parameters, nested, as :func:`slurmsweep.search.parameters` returns them.
        value: the metric as reported; None if it ended without a usable one. Of a running trial: None, or the value
            that it shall count with meanwhile (W&B's ``impute_while_running``).
        running: whether it is pending or running.
    """

    number: int
    point: Mapping[str, Any]
    value: float | None
    running: bool = False


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
        found = {}
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
        items: the alternatives, at least one.
        space: their space.
        lengths: the length scales of its dimensions.
    """

    def __init__(self, items: Sequence[Proposal], space: Space, lengths: Sequence[float]) -> None:
        self.items = tuple(items)
        self._space = space
        self._lengths = tuple(lengths)

    def first_free(self, claimed: Sequence[Mapping[str, Any]]) -> int | None:
        """Return the index of the first alternative that is neither equal nor near to a claimed point; None if none is.

        ``claimed`` are the points that other agents claimed since the observations were read. It is cheap: it runs
        while a lock is held.
        """
        if not claimed:
            return 0
        keys = {self._space.key(point) for point in claimed}
        rows = [row for point in claimed if (row := self._space.encode(point)) is not None]
        for index, item in enumerate(self.items):
            if self._space.key(item.point) in keys:
                continue
            own = self._space.encode(item.point)
            if own is None or not any(self._is_near(own, row) for row in rows):
                return index
        return None

    def _is_near(self, a: Sequence[float], b: Sequence[float]) -> bool:
        square = 0.0
        for one, other, length, dimension in zip(a, b, self._lengths, self._space.dimensions, strict=True):
            square += ((one - other) / length) ** 2 if dimension.ordered else float(one != other) / length**2
            if square > NEAR * NEAR:
                return False
        return True


class _Known(NamedTuple):
    """What the observations say, as rows.

    Attributes:
        ended: rows of trials with a value, shape (n, d).
        targets: their values; None without a finite one.
        running: rows of running trials without a value, shape (r, d).
        taken: bytes of all rows that were used.
    """

    ended: Array
    targets: Targets | None
    running: Array
    taken: set[bytes]


def propose(
    space: Space,
    goal: str,
    observations: Sequence[Observation],
    *,
    number: int,
    seed: str,
    impute: str = "worst",
    alternatives: int = 1,
) -> Proposals:
    """Return the point of the next trial, and alternatives in case that others claim the same meanwhile.

    The answer depends on the arguments alone (and on the version of numpy), and not on the order of observations.

    Args:
        space: the parameter space.
        goal: ``minimize`` or ``maximize``.
        observations: all trials that are known. Points that the space has no more are not used.
        number: the number of the trial.
        seed: any text, usually the sweep's id.
        impute: what failed trials count as, W&B's word; all are ``worst`` here, because for ``best`` and ``latest`` the
            caller gives their values.
        alternatives: how many points, at least 1.
    """
    del impute
    known = _known(space, goal, sorted(observations, key=_order))
    points = space.listed() if (space.size() or MOST_LISTED + 1) <= MOST_LISTED else None
    if points is not None:
        free = points[[row.tobytes() not in known.taken for row in points]]
        points, phase = (free, "model") if len(free) else (points, "repeat")
    else:
        phase = "model"
    count = len(known.ended) + len(known.running)
    if phase == "model" and (known.targets is None or len(known.ended) < FIRST_ENDED or count < FIRST_KNOWN):
        return _initial(space, known, points, number, seed, alternatives)
    return _modelled(space, known, points, phase, generator(seed, number, "model"), alternatives)


def _order(observation: Observation) -> tuple[int, str]:
    return observation.number, repr(observation)


def _known(space: Space, goal: str, observations: Sequence[Observation]) -> _Known:
    ended, values, running = [], [], []
    for observation in observations:
        row = space.encode(observation.point)
        if row is None:
            continue
        if observation.running and observation.value is None:
            running.append(row)
        else:
            ended.append(row)
            values.append(observation.value)
    d = len(space.dimensions)
    rows = np.array(ended, dtype=np.float64).reshape(-1, d)
    others = np.array(running, dtype=np.float64).reshape(-1, d)
    taken = {row.tobytes() for row in rows} | {row.tobytes() for row in others}
    return _Known(rows, targets_of(values, goal), others, taken)


def _initial(space: Space, known: _Known, points: Array | None, number: int, seed: str, alternatives: int) -> Proposals:
    """Return points that are spread over the space; the alternatives are those far ahead in the same sequence."""
    d = len(space.dimensions)
    taken = set(known.taken)
    items: list[Proposal] = []
    best = known.targets.in_metric(float(known.targets.fitted[0])) if known.targets else None
    why = Why("initial", len(known.ended), len(known.running), best)
    ahead = 0
    while len(items) < alternatives:
        row = space.drawn(spread(d, seed, number + ahead)[None])
        ahead += 101
        if (row.tobytes() in taken or not space.allowed(row)[0]) and ahead < 101 * 100:
            continue
        if row.tobytes() in taken or not space.allowed(row)[0]:  # few are free
            rng = generator(seed, number + ahead, "initial")
            row = space.sample(rng, 100)[:1] if points is None else points[rng.integers(len(points))][None]
        taken.add(row.tobytes())
        items.append(Proposal(space.decode(row[0]), why))
    return Proposals(items, space, [0.35 * math.sqrt(max(1, d))] * d)


def _modelled(
    space: Space, known: _Known, points: Array | None, phase: str, rng: np.random.Generator, alternatives: int
) -> Proposals:
    """Return the points of highest expected improvement."""
    if known.targets is None:
        y = np.zeros(len(known.ended))
    else:
        y = known.targets.y
    chosen = _subset(y, MOST_OBSERVED, rng)
    x, y = known.ended[chosen], y[chosen]
    model = GaussianProcess.fit(x, space.unordered, y, _mixed(len(y)))
    values = np.repeat((y - model.centre)[:, None] / model.scale, acquisition.FANTASIES, axis=1)
    posterior = Posterior(model.kernel, x, values)
    posterior = acquisition.imagined(posterior, known.running[-MOST_RUNNING:], rng)
    taken = known.taken if phase == "model" else set()
    items: list[Proposal] = []
    while len(items) < alternatives:
        smooth = posterior.predict(posterior.x)[0]
        best = smooth.min(axis=0)
        if points is not None:
            rows, gains = acquisition._ranked(posterior, best, acquisition._untaken(points, taken))
            if not len(rows):
                taken, phase = set(), "repeat"
                continue
        else:
            starts = posterior.x[np.argsort(smooth.mean(axis=1), kind="stable")[: acquisition.KEPT]]
            rows, gains = acquisition.maximise(posterior, best, space, taken, starts, rng)
        row = rows[0]
        why = _explained(space, known, model, posterior, row, float(gains[0]), phase)
        items.append(Proposal(space.decode(row), why))
        taken = taken | {row.tobytes()}
        if len(items) < alternatives:
            posterior = acquisition.imagined(posterior, row[None], rng)
    return Proposals(items, space, model.kernel.lengths.tolist())


def _subset(y: Array, most: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return which observations the model uses, the best first: at most ``most``, half of them the best."""
    order = np.argsort(y, kind="stable")
    if len(order) <= most:
        return order
    rest = rng.permutation(order[most // 2 :])[: most - most // 2]
    return np.concatenate([order[: most // 2], rest])


def _mixed(n: int) -> npt.NDArray[np.intp]:
    """Return ``n`` ranks so that any first part of them holds as many of the best as of the others."""
    if n <= 150:
        return np.arange(n)
    best = np.arange(75)
    rest = np.arange(75, n)[:: max(1, (n - 75) // 75)][:75]
    return np.stack([best, rest], axis=1).reshape(-1)


def _explained(
    space: Space, known: _Known, model: GaussianProcess, posterior: Posterior, row: Array, gain: float, phase: str
) -> Why:
    mean, deviation = posterior.predict(row[None])
    middle = model.centre + model.scale * float(mean.mean())
    names = [",".join(".".join(path) for path in one.paths) for one in space.dimensions]
    lengths = dict(zip(names, model.kernel.lengths.tolist(), strict=True))
    why = Why(phase, len(known.ended), len(known.running), lengths=lengths)
    targets = known.targets
    if targets is None:
        return why
    spread = model.scale * float(deviation[0])
    unit = abs(targets.in_metric(targets.fitted[0] - 1) - targets.in_metric(targets.fitted[0]))
    return why._replace(
        best=targets.in_metric(targets.fitted[0]),
        predicted=targets.in_metric(middle),
        uncertainty=abs(targets.in_metric(middle - spread) - targets.in_metric(middle)),
        improvement=math.exp(min(gain, 700)) * model.scale * unit,
        noise=math.sqrt(model.kernel.noise) * model.scale * unit,
    )
