"""Random search: each parameter of each trial has a uniform number that depends on seed, trial and name only.

So points can be computed in any order, on any machine, by any version of Python, and a new parameter does not change
the others. The quantile functions are W&B's (``sweeps/params.py`` 0.3.0), written with the standard library.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError
from slurmsweep.search.beta import beta_quantile
from slurmsweep.search.flat import flatten, unflatten
from slurmsweep.search.numbers import ceil_div, exp, log, multiple
from slurmsweep.sweepfile.space import Categorical, Constant, IntUniform, Nested

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.space import Continuous, Names, Parameter

#: The most draws for one trial; then the exclusions leave nothing to draw.
_MOST_DRAWS = 1000

#: The most values that floats can tell apart; exact integers are used for more.
_FLOAT_INTEGERS = 2**53


def point(config: SweepConfig, number: int, seed: str) -> dict[str, Any]:
    """Return the point of a trial: independent draws with replacement, as W&B's; an excluded point is drawn again.

    A parameter that does not exist is left out, and the draws of the others stay what they are. Raises UsageError if a
    thousand draws were all excluded.
    """
    # linked parameters share a uniform number, so their positions are equal
    leader = {path: group[0] for group in config.extensions.linked for path in group}
    space, rules = flatten(config.parameters), config.extensions
    is_plain = not (rules.exclude or rules.conditions or rules.computed)
    for again in range(_MOST_DRAWS):
        key = f"{seed}/{again}" if again else seed
        drawn = {path: quantile(one, uniform(key, number, leader.get(path, path))) for path, one in space}
        if is_plain:
            return unflatten(drawn.items())
        from slurmsweep.sweepfile import presence  # few sweeps have one of these keys

        drawn = presence.existing(drawn, rules.conditions)
        if not any(presence.holds(rule, drawn) for rule in rules.exclude):
            return unflatten(presence.with_computed(drawn, rules.computed).items())
    raise UsageError(f"trial {number}: {_MOST_DRAWS} points in a row were excluded; exclude less")


def uniform(seed: str, number: int, path: Names) -> float:
    """Return a number in the open interval (0, 1): 52 bits of a hash, in the middle of their cell."""
    digest = hashlib.blake2b(json.dumps([seed, number, path]).encode(), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52


def quantile(parameter: Parameter, x: float) -> Any:
    """Return the value below which a share ``x`` of all draws lies; 0 <= x <= 1.

    Guarantee: the same type as in W&B (int for int_uniform and for an integer ``q``, else float). Limit: the last digit
    of normal and beta distributions depends on the C library's ``log``; all others are the same everywhere.
    """
    if isinstance(parameter, Constant):
        return parameter.value
    if isinstance(parameter, Categorical):
        values, shares = parameter.values, parameter.probabilities
        if shares is None:
            return values[_index(len(values), x)]
        # rounding may leave a rest behind the last step: it must not select a value without probability
        last = max(place for place, share in enumerate(shares) if share > 0)
        return values[min(last, bisect_right(list(accumulate(shares)), x))]
    if isinstance(parameter, IntUniform):
        return parameter.low + _index(parameter.high - parameter.low + 1, x)
    if isinstance(parameter, Nested):
        raise TypeError("nested parameters have quantiles one by one")
    value, q = _QUANTILES[parameter.kind](parameter, x), parameter.q
    if q is None or not math.isfinite(value):
        return value
    steps = round(value / q)  # halves to even as numpy.round; the multiple may be out of bounds
    return steps * q if isinstance(q, int) else multiple(steps, q)


def _index(count: int, x: float) -> int:
    """Return ``scipy.stats.randint(0, count).ppf(x)`` with its correction of rounding for x > 0, and 0 for x = 0."""
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
    "log_normal": lambda p, x: exp(p.first + p.second * _standard(x)),
    "beta": lambda p, x: beta_quantile(x, p.first, p.second),
}
