"""The part of a point that the claim of a trial keeps: the values of the parameters that are searched and exist.

Constants stand in the configuration already, and what is computed from others follows from it. A value of a list that
is long, or no plain value, is kept as its position in the list: one record of the journal has room for a point, but not
for a document in it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slurmsweep.search.flat import flatten, found, unflatten
from slurmsweep.sweepfile.plain import identity, is_finite, packed, unpacked
from slurmsweep.sweepfile.presence import absent, agrees, existing, with_computed
from slurmsweep.sweepfile.space import Categorical, Constant, Continuous, has_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.space import Names, Parameter

#: Characters of JSON up to which a value is kept as it is.
_LONGEST = 64

#: Bytes of JSON that the parameters of a point may need: with all else the record keeps within 16 KiB.
_MOST = 12 * 1024

#: Characters of a number in JSON, with its separators.
_NUMBER = 28

_POSITION = "$position"

#: Distributions without bounds, or whose bounds are no values.
_UNBOUNDED = ("normal", "beta")
_LOGARITHMS = ("log_uniform", "inv_log_uniform", "log_normal")


def kept(config: SweepConfig, point: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a point that a claim keeps, as strict JSON: nested as the point is, without constants.

    Raises:
        KeyError: a parameter that should exist has no value in it.
    """
    values = found(point, [path for path, _ in flatten(config.parameters)])
    gone = absent(values, config.extensions.conditions)
    return unflatten(
        (path, _pack(parameter, values[path])) for path, parameter in _searched(config) if path not in gone
    )


def restored(config: SweepConfig, part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the point that :func:`kept` was given, with constants and what is computed, in W&B's order of names.

    Raises:
        KeyError: a parameter that should exist has no value in it.
    """
    space = flatten(config.parameters)
    values = found(part, [path for path, _ in space])
    for path, parameter in space:
        if isinstance(parameter, Constant):
            values[path] = parameter.value
        elif path in values:
            value = values[path]
            if isinstance(parameter, Categorical) and isinstance(value, dict) and value.keys() == {_POSITION}:
                values[path] = parameter.values[value[_POSITION]]
            else:
                values[path] = unpacked(value)
    gone = absent(values, config.extensions.conditions)
    there = {path: values[path] for path, _ in space if path not in gone}
    return unflatten(with_computed(there, config.extensions.computed).items())


def has_room(config: SweepConfig) -> bool:
    """Return whether every point of this configuration is small enough for a record of the journal."""
    return sum(len(json.dumps(path)) + _LONGEST + _NUMBER for path, _ in _searched(config)) <= _MOST


def is_in_space(config: SweepConfig, point: Mapping[str, Any]) -> bool:
    """Return whether a search of this configuration could choose the point; other parameters of it do not count.

    It could not where the point has a parameter that would not exist, or another value of a computed one.
    """
    space, ours = flatten(config.parameters), config.extensions
    values = found(point, [path for path, _ in space])
    gone = absent(values, ours.conditions)
    told = found(point, [one.path for one in ours.computed])
    return (
        all((path in values) != (path in gone) for path, _ in space)
        and all(_could_be(parameter, values[path]) for path, parameter in space if path not in gone)
        and agrees(told, existing(values, ours.conditions), ours.computed)
    )


def _could_be(parameter: Parameter, value: Any) -> bool:
    if not isinstance(parameter, Continuous):
        return has_value(parameter, value)
    if not is_finite(value):
        return False
    rounds = 0.0 if parameter.q is None else parameter.q / 2  # a draw is rounded after it was bounded, as W&B does
    if parameter.kind in _LOGARITHMS:  # whose bounds are exponents
        return bool(value > 0 or (rounds and value == 0))
    return parameter.kind in _UNBOUNDED or parameter.first - rounds <= value <= parameter.second + rounds


def _searched(config: SweepConfig) -> Iterator[tuple[Names, Parameter]]:
    return ((path, parameter) for path, parameter in flatten(config.parameters) if not isinstance(parameter, Constant))


def _pack(parameter: Parameter, value: Any) -> Any:
    is_long = isinstance(value, (dict, list)) or len(json.dumps(packed(value))) > _LONGEST
    if isinstance(parameter, Categorical) and is_long:
        wanted = identity(value)
        return {_POSITION: next(i for i, one in enumerate(parameter.values) if identity(one) == wanted)}
    return packed(value)
