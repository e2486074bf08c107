"""Grid search: the number of a trial to its point by arithmetic, in W&B's order (``sweeps/grid_search.py`` 0.3.0).

Names sorted by code point, the last one varies fastest. The product is never made: ten million points cost nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep.search.flat import Path, flatten, unflatten
from slurmsweep.search.numbers import multiple
from slurmsweep.sweepfile.space import Categorical, Constant, Continuous, IntUniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.sweepfile.space import Parameter


@dataclass(frozen=True)
class _Steps:
    """``low``, ``low + q``, ... below ``high``: W&B uses ``numpy.arange``, which leaves the end out."""

    low: float
    q: float
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> float | int:
        return multiple(index, self.q, self.low)


def size(parameters: dict[str, Parameter]) -> int:
    """Number of points; 1 where all parameters are constants."""
    return math.prod(len(values) for _, values in _axes(parameters))


def point(parameters: dict[str, Parameter], number: int) -> dict[str, Any]:
    """The point of that number, 0 <= number < :func:`size`."""
    chosen = []
    for path, values in reversed(_axes(parameters)):
        number, index = divmod(number, len(values))
        chosen.append((path, values[index]))
    return unflatten(reversed(chosen))


def _axes(parameters: dict[str, Parameter]) -> list[tuple[Path, Sequence[Any] | _Steps]]:
    return [(path, _values(path, parameter)) for path, parameter in flatten(parameters)]


def _values(path: Path, parameter: Parameter) -> Sequence[Any] | _Steps:
    if isinstance(parameter, Constant):
        return (parameter.value,)
    if isinstance(parameter, Categorical):
        return _distinct_of(parameter)
    if isinstance(parameter, IntUniform):
        return range(parameter.low, parameter.high + 1)
    if isinstance(parameter, Continuous) and parameter.q is not None:
        return _steps(parameter.first, parameter.second, parameter.q)
    raise TypeError(f"{'.'.join(path)}: {parameter} has no list of values")  # config.check refused it


def _steps(low: float, high: float, q: float) -> _Steps:
    # one part in 10^9 of a step absorbs the noise of the division, as in 0.3 / 0.1 = 2.9999999999999996
    return _Steps(low, q, max(1, math.ceil((high - low) / q - 1e-9)))


_cache: dict[int, tuple[Categorical, tuple[Any, ...]]] = {}


def _distinct_of(parameter: Categorical) -> tuple[Any, ...]:
    """The distinct values, computed once per parameter: they may be a million."""
    known = _cache.get(id(parameter))
    if known is None or known[0] is not parameter:
        known = _cache[id(parameter)] = (parameter, _distinct(parameter.values))
    return known[1]


def _distinct(values: Sequence[Any]) -> tuple[Any, ...]:
    """Each value once: at the place of its first occurrence, in the form of its last. W&B makes [1.0] of [1, 1.0]."""
    return tuple({_identity(value): value for value in values}.values())


def _identity(value: Any) -> Any:
    """What W&B's hash of a value tells apart: 1 and True and "1", but not 1 and 1.0, nor orders of keys."""
    if isinstance(value, float) and value.is_integer():
        return ("int", int(value))
    return _exact(value)


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return ("dict", tuple(sorted((key, _exact(item)) for key, item in value.items())))
    if isinstance(value, list):
        return ("list", tuple(_exact(item) for item in value))
    if isinstance(value, float):
        return ("float", repr(value))
    return (type(value).__name__, value)
