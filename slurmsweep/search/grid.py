"""Grid search: the number of a trial to its point by arithmetic, in W&B's order (``sweeps/grid_search.py`` 0.3.0).

Names sorted by code point at each level of nesting, the last one varies fastest. The product is never made: ten million
points cost nothing, and neither does a range of a billion integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from slurmsweep.search.flat import Path, flatten, unflatten
from slurmsweep.search.numbers import multiple
from slurmsweep.sweepfile.space import Categorical, Constant, Continuous, IntUniform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.sweepfile.space import Parameter


@dataclass(frozen=True)
class _Axis:
    """The values of one parameter: how many, and which is which. No list: it may have 10^18 of them."""

    path: Path
    count: int
    value: Callable[[int], Any]


def size(parameters: dict[str, Parameter]) -> int:
    """Number of points; 1 where all parameters are constants."""
    return math.prod(axis.count for axis in _axes(_Same(parameters)))


def point(parameters: dict[str, Parameter], number: int) -> dict[str, Any]:
    """The point of that number. Raises ValueError unless 0 <= number < :func:`size`."""
    rest, chosen = number, []
    for axis in reversed(_axes(_Same(parameters))):
        rest, index = divmod(rest, axis.count)
        chosen.append((axis.path, axis.value(index)))
    if rest:
        raise ValueError(f"this grid has {size(parameters)} points, and none with the number {number}")
    return unflatten(reversed(chosen))


class _Same:
    """A key for the cache that means this very object: its content may be a million values, and is never changed."""

    def __init__(self, parameters: dict[str, Parameter]) -> None:
        self.parameters = parameters

    def __hash__(self) -> int:
        return id(self.parameters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.parameters is self.parameters


@lru_cache(maxsize=8)
def _axes(key: _Same) -> tuple[_Axis, ...]:
    return tuple(_axis(path, parameter) for path, parameter in flatten(key.parameters))


def _axis(path: Path, parameter: Parameter) -> _Axis:
    if isinstance(parameter, Constant):
        return _Axis(path, 1, lambda _: parameter.value)
    if isinstance(parameter, Categorical):
        values = _distinct(parameter.values)
        return _Axis(path, len(values), lambda index: values[index])
    if isinstance(parameter, IntUniform):
        return _Axis(path, parameter.high - parameter.low + 1, lambda index: parameter.low + index)
    if isinstance(parameter, Continuous) and parameter.q is not None:
        return _steps(path, parameter.first, parameter.second, parameter.q)
    raise TypeError(f"{'.'.join(path)}: {parameter} has no list of values")  # config.check refused it


def _steps(path: Path, low: float, high: float, q: float) -> _Axis:
    """``numpy.arange(low, high, q)``: as many values, integers where all three are, without the noise of its additions.

    ``high`` is left out, except where numpy's own rounding lets it in: 1 to 1.3 by 0.1 has four values there, and here.
    """
    if isinstance(low, int) and isinstance(high, int) and isinstance(q, int):
        return _Axis(path, -(-(high - low) // q), lambda index: low + index * q)
    return _Axis(path, math.ceil((high - low) / q), lambda index: multiple(index, q, low))


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
