"""The parameters of the runs of a point, where each point runs several times: from the point, and back. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.search.flat import reach
from slurmsweep.sweepfile.plain import identity
from slurmsweep.sweepfile.space import Nested

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.sweepfile.repeats import Repeats
    from slurmsweep.sweepfile.space import Parameter


def with_run(
    point: Mapping[str, Any], repeats: Repeats, run: int, parameters: Mapping[str, Parameter]
) -> dict[str, Any]:
    """Return a point with the value that one of its runs has; flat names sorted, then nested ones, as W&B's."""
    return _with_value(point, repeats.path, repeats.values[run], parameters)


def run_of(point: Mapping[str, Any], repeats: Repeats) -> int | None:
    """Return which run a point with such a value is; None where none has it."""
    wanted = identity(reach(point, repeats.path))
    return next((run for run, value in enumerate(repeats.values) if identity(value) == wanted), None)


def without_run(point: Mapping[str, Any], repeats: Repeats) -> dict[str, Any]:
    """Return what :func:`with_run` was given: the point that all of its runs have."""
    return _without(point, repeats.path)


def _without(point: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    if len(path) == 1:
        return {name: value for name, value in point.items() if name != path[0]}
    left = {name: _without(v, path[1:]) if name == path[0] and isinstance(v, dict) else v for name, v in point.items()}
    return {name: value for name, value in left.items() if name != path[0] or value}


def _with_value(
    point: Mapping[str, Any], path: tuple[str, ...], value: Any, parameters: Mapping[str, Parameter]
) -> dict[str, Any]:
    nested = {name for name, one in parameters.items() if isinstance(one, Nested)}
    if len(path) == 1:
        plain = {name: one for name, one in point.items() if name not in nested} | {path[0]: value}
        return {name: plain[name] for name in sorted(plain)} | {n: one for n, one in point.items() if n in nested}
    inner = parameters.get(path[0])
    below = inner.parameters if isinstance(inner, Nested) else {}
    return {**point, path[0]: _with_value(point.get(path[0], {}), path[1:], value, below)}
