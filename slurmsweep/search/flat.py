"""Nested parameters as a flat list and back, in W&B's order: names sorted at each level (``sweeps``, ``_unnest``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.sweepfile.space import Nested

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slurmsweep.sweepfile.space import Parameter

Path = tuple[str, ...]


def flatten(parameters: dict[str, Parameter], prefix: Path = ()) -> Iterator[tuple[Path, Parameter]]:
    """Every parameter that has values, names sorted by code point at each level of nesting."""
    for name in sorted(parameters):
        parameter = parameters[name]
        if isinstance(parameter, Nested):
            yield from flatten(parameter.parameters, (*prefix, name))
        else:
            yield (*prefix, name), parameter


def unflatten(values: Iterable[tuple[Path, Any]]) -> dict[str, Any]:
    """One dictionary again: flat names first, then the nested ones, each in the order given."""
    pairs = list(values)
    result: dict[str, Any] = {path[0]: value for path, value in pairs if len(path) == 1}
    for name in dict.fromkeys(path[0] for path, _ in pairs if len(path) > 1):
        result[name] = unflatten((path[1:], value) for path, value in pairs if len(path) > 1 and path[0] == name)
    return result
