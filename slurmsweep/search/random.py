"""Random search: every parameter of every trial has its own uniform number, from seed, trial and name alone.

So a point can be computed in any order, on any machine, by any version of Python, and one more parameter does not
change the others. The quantile functions are W&B's (``sweeps/params.py`` 0.3.0), with the standard library only.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.search.axes import identity
from slurmsweep.search.beta import beta_quantile
from slurmsweep.search.flat import flatten, unflatten
from slurmsweep.search.numbers import ceil_div, exp, log, multiple
from slurmsweep.sweepfile.space import Categorical, Constant, IntUniform, Nested

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.extensions import Exclusion
    from slurmsweep.sweepfile.space import Continuous, Names, Parameter

#: Draws for one trial before exclusions are said to leave nothing.
_MOST_DRAWS = 1000

#: Above this many values a float cannot tell them apart, and exact integers are used.
_FLOAT_INTEGERS = 2**53


def point(config: SweepConfig, number: int, seed: str) -> dict[str, Any]:
    """The point of a trial: independent draws, with replacement, as W&B's; what is excluded is drawn again.

    Raises:
        UsageError: a thousand draws were all excluded.
    """
    for again in range(_MOST_DRAWS):
        drawn = _draw(config, number, f"{seed}/{again}" if again else seed)
        if not any(_meets(drawn, rule) for rule in config.extensions.exclude):
            return unflatten(drawn.items())
    raise UsageError(f"trial {number}: {_MOST_DRAWS} points in a row were excluded; exclude less")


def _draw(config: SweepConfig, number: int, seed: str) -> dict[Names, Any]:
    """Every parameter's value; those that are linked share one uniform number, so the same position is drawn."""
    leader = {path: group[0] for group in config.extensions.linked for path in group}
    return {
        path: quantile(parameter, uniform(seed, number, leader.get(path, path)))
        for path, parameter in flatten(config.parameters)
    }


def _meets(drawn: dict[Names, Any], rule: Exclusion) -> bool:
    return all(any(identity(drawn[path]) == identity(value) for value in values) for path, values in rule)


def uniform(seed: str, number: int, path: Names) -> float:
    """A number of (0, 1), never one of its ends: 52 bits of a hash, in the middle of their cell."""
    digest = hashlib.blake2b(json.dumps([seed, number, path]).encode(), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52


def quantile(parameter: Parameter, x: float) -> Any:
    """The value below which a share ``x`` of all draws lies; 0 <= x <= 1.

    Guarantee: a number of the kind W&B gives (int for int_uniform and for an integer ``q``, else float). Normal and
    beta distributions depend on the C library's ``log`` in the last digit; all others are the same everywhere.
    """
    if isinstance(parameter, Constant):
        return parameter.value
    if isinstance(parameter, Categorical):
        return parameter.values[_choice(parameter, x)]
    if isinstance(parameter, IntUniform):
        return parameter.low + _index(parameter.high - parameter.low + 1, x)
    if isinstance(parameter, Nested):
        raise TypeError("nested parameters have quantiles one by one")
    value = _QUANTILES[parameter.kind](parameter, x)
    return value if parameter.q is None else _quantised(value, parameter.q)


def _quantised(value: float, q: float) -> float:
    """The nearest multiple of ``q``, halves to the even one, as ``numpy.round``; it may lie outside the bounds."""
    if not math.isfinite(value):
        return value
    steps = round(value / q)
    return steps * q if isinstance(q, int) else multiple(steps, q)


def _choice(parameter: Categorical, x: float) -> int:
    if parameter.probabilities is None:
        return _index(len(parameter.values), x)
    # never one without probability: behind the last step rounding may leave a rest
    last = max(i for i, weight in enumerate(parameter.probabilities) if weight > 0)
    return min(last, bisect_right(list(accumulate(parameter.probabilities)), x))


def _index(count: int, x: float) -> int:
    """``scipy.stats.randint(0, count).ppf(x)`` for x > 0, its correction of rounding included; the first for x = 0."""
    if count > _FLOAT_INTEGERS:
        numerator, denominator = x.as_integer_ratio()
        index = ceil_div(numerator * count, denominator) - 1
    else:
        index = math.ceil(x * count) - 1
        if index > 0 and index / count >= x:
            index -= 1
    return min(count - 1, max(0, index))


def _between(low: float, high: float, x: float) -> float:
    return low + x * (high - low)


def _log_normal(p: Continuous, x: float) -> float:
    z = _standard(x)
    if math.isinf(z):
        return 0.0 if z < 0 else math.inf
    return exp(p.first + p.second * z)


def _standard(x: float) -> float:
    """Return the quantile of the normal distribution with mean 0 and standard deviation 1."""
    from statistics import NormalDist  # a heavy module, for one family of distributions

    if x <= 0:
        return -math.inf
    return math.inf if x >= 1 else NormalDist().inv_cdf(x)


_QUANTILES: dict[str, Callable[[Continuous, float], float]] = {
    "uniform": lambda p, x: _between(p.first, p.second, x),
    "log_uniform": lambda p, x: exp(_between(p.first, p.second, x)),
    "log_uniform_values": lambda p, x: exp(_between(log(p.first), log(p.second), x)),
    "inv_log_uniform": lambda p, x: exp(-_between(p.first, p.second, 1 - x)),
    "inv_log_uniform_values": lambda p, x: exp(-_between(-log(p.second), -log(p.first), 1 - x)),
    "normal": lambda p, x: p.first + p.second * _standard(x),
    "log_normal": _log_normal,
    "beta": lambda p, x: beta_quantile(x, p.first, p.second),
}
