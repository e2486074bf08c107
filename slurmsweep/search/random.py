"""Random search: every parameter of every trial has its own uniform number, from seed, trial and name alone.

So a point can be computed in any order, on any machine, by any version of Python, and one more parameter does not
change the others. The quantile functions are W&B's (``sweeps/params.py`` 0.3.0), with the standard library only.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from itertools import accumulate
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from slurmsweep.search.beta import beta_quantile
from slurmsweep.search.flat import Path, flatten, unflatten
from slurmsweep.search.numbers import multiple
from slurmsweep.sweepfile.space import Categorical, Constant, IntUniform, Nested

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.sweepfile.space import Continuous, Parameter

_STANDARD = NormalDist()


def point(parameters: dict[str, Parameter], number: int, seed: str) -> dict[str, Any]:
    """The point of a trial: independent draws, with replacement, as W&B's."""
    return unflatten((path, quantile(p, uniform(seed, number, path))) for path, p in flatten(parameters))


def uniform(seed: str, number: int, path: Path) -> float:
    """A number of (0, 1), never one of its ends: 53 bits of a hash, in the middle of their cell."""
    digest = hashlib.blake2b(repr((seed, number, path)).encode(), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 11) + 0.5) / 2**53


def quantile(parameter: Parameter, x: float) -> Any:
    """The value below which a share ``x`` of all draws lies; 0 < x < 1."""
    if isinstance(parameter, Constant):
        return parameter.value
    if isinstance(parameter, Categorical):
        return parameter.values[_index(parameter, x)]
    if isinstance(parameter, IntUniform):
        count = parameter.high - parameter.low + 1
        return parameter.low + min(count - 1, max(0, math.ceil(x * count) - 1))
    if isinstance(parameter, Nested):
        raise TypeError("nested parameters have quantiles one by one")
    value = _QUANTILES[parameter.kind](parameter, x)
    return value if parameter.q is None else quantised(value, parameter.q)


def quantised(value: float, q: float) -> float | int:
    """The nearest multiple of ``q``, halves to the even one, as ``numpy.round``; it may lie outside the bounds."""
    return multiple(round(value / q), q)


def _index(parameter: Categorical, x: float) -> int:
    if parameter.probabilities is None:
        return min(len(parameter.values) - 1, max(0, math.ceil(x * len(parameter.values)) - 1))
    cumulated = list(accumulate(parameter.probabilities))
    # never one without probability: behind the last step rounding may leave a rest
    last = max(i for i, weight in enumerate(parameter.probabilities) if weight > 0)
    return min(last, bisect_right(cumulated, x))


def _uniform(p: Continuous, x: float) -> float:
    return p.first + x * (p.second - p.first)


def _log_uniform(p: Continuous, x: float) -> float:
    return math.exp(_uniform(p, x))


def _log_uniform_values(p: Continuous, x: float) -> float:
    low, high = math.log(p.first), math.log(p.second)
    return math.exp(low + x * (high - low))


def _inv_log_uniform(p: Continuous, x: float) -> float:
    return math.exp(-(p.first + (1 - x) * (p.second - p.first)))


def _inv_log_uniform_values(p: Continuous, x: float) -> float:
    low, high = -math.log(p.second), -math.log(p.first)
    return math.exp(-(low + (1 - x) * (high - low)))


def _normal(p: Continuous, x: float) -> float:
    return p.first + p.second * _STANDARD.inv_cdf(x)


def _log_normal(p: Continuous, x: float) -> float:
    return math.exp(_normal(p, x))


def _beta(p: Continuous, x: float) -> float:
    return beta_quantile(x, p.first, p.second)


_QUANTILES: dict[str, Callable[[Continuous, float], float]] = {
    "uniform": _uniform,
    "log_uniform": _log_uniform,
    "log_uniform_values": _log_uniform_values,
    "inv_log_uniform": _inv_log_uniform,
    "inv_log_uniform_values": _inv_log_uniform_values,
    "normal": _normal,
    "log_normal": _log_normal,
    "beta": _beta,
}
