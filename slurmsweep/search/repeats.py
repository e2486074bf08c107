"""The parameters of the runs of a point, where each point runs several times: from the point, and back. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.search.flat import found, reach, unflatten
from slurmsweep.sweepfile.plain import identity
from slurmsweep.sweepfile.space import leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.repeats import Repeats


def with_run(config: SweepConfig, point: Mapping[str, Any], repeats: Repeats, run: int) -> dict[str, Any]:
    """Return a point with the value that one of its runs has, in W&B's order of names."""
    paths = [path for path, _ in leaves(config.parameters)] + [one.path for one in config.extensions.computed]
    return unflatten([*found(point, paths).items(), (repeats.path, repeats.values[run])])


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
