"""A new sweep file around chosen trials of another sweep: ``create --from SWEEP``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep import search
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.sweepfile.space import Categorical, Constant, IntUniform, Nested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.state.store import SweepStore
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.space import Parameter

#: Distributions whose bounds can be drawn around chosen values.
_BOUNDED = ("uniform", "log_uniform_values", "inv_log_uniform_values")


def narrowed(store: SweepStore, trials: Sequence[int]) -> dict[str, Any]:
    """Return the content of a sweep file around points of ``trials``: their values, or bounds that hold them all.

    Lists keep the values that occur; bounds close in on them; what has neither (normal distributions) becomes a list of
    the values drawn.

    Raises:
        UsageError: the sweep file links or excludes parameters, or has some that exist only with others: they cannot
            be narrowed one by one.
    """
    config = store.manifest.config
    if config.extensions.linked or config.extensions.exclude or config.extensions.conditions:
        problem = "this sweep links or excludes parameters, or has conditions"
        raise UsageError(f"--from: {problem}: write the new sweep file by hand")
    view, sweep_id = store.reading().refresh(), store.manifest.sweep_id
    points = [search.parameters(config, number, sweep_id, view.kept(number)) for number in trials]
    if not all(points):
        number = next(number for number, point in zip(trials, points, strict=True) if not point)
        raise NotFoundError(f"trial {number} of sweep {sweep_id} has no point yet: it was not claimed")
    parameters = _narrow_all(config.parameters, points, config.document["parameters"])
    extensions = {key: value for key, value in (config.document.get("slurmsweep") or {}).items() if key != "base"}
    # what a base gave is among the parameters now
    rest = {key: value for key, value in config.document.items() if key != "slurmsweep"}
    return rest | ({"slurmsweep": extensions} if extensions else {}) | {"parameters": parameters}


def best_trials(config: SweepConfig, ranked: Sequence[int], top: int) -> list[int]:
    """Return the numbers of the best trials.

    Raises:
        UsageError: there is no metric.
        NotFoundError: none finished.
    """
    if config.metric is None:
        raise UsageError("--top: the sweep file names no metric, so no trial is best; name trials by --trials")
    if not ranked:
        raise NotFoundError(f"--top: no finished trial has logged {config.metric.name!r} yet")
    return list(ranked[:top])


def _narrow_all(
    parameters: dict[str, Parameter], points: Sequence[dict[str, Any]], forms: dict[str, Any]
) -> dict[str, Any]:
    return {name: _narrow(p, [point[name] for point in points], forms[name]) for name, p in parameters.items()}


def _narrow(parameter: Parameter, values: Sequence[Any], form: dict[str, Any]) -> dict[str, Any]:
    if isinstance(parameter, Nested):
        return {"parameters": _narrow_all(parameter.parameters, values, form["parameters"])}
    distinct = [value for position, value in enumerate(values) if value not in values[:position]]
    if isinstance(parameter, Constant) or len(distinct) == 1:
        return {"value": distinct[0]}
    if isinstance(parameter, Categorical):
        return {"values": [value for value in parameter.values if value in distinct]}
    if isinstance(parameter, IntUniform) or parameter.kind in _BOUNDED:
        return form | {"min": min(distinct), "max": max(distinct)}
    return {"values": sorted(distinct)}
