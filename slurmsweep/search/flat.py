"""Flatten nested parameters and nest them again, names sorted at each level as in W&B (``sweeps``, ``_unnest``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.sweepfile.space import Names, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slurmsweep.sweepfile.space import Parameter

#: W&B's delimiter of nested names (``sweeps.params``); it decides their order: ``a-x`` sorts before ``a`` with it.
_DELIMITER = ".wbnest[599c28ca25da]."


def flatten(parameters: dict[str, Parameter]) -> list[tuple[Names, Parameter]]:
    """Return every parameter that holds values, with names sorted by code point at each level of nesting."""
    return sorted(leaves(parameters), key=lambda leaf: leaf[0])


def unflatten(values: Iterable[tuple[Names, Any]]) -> dict[str, Any]:
    """Return one nested dictionary: flat names first, then nested names, sorted by W&B's form of their paths."""
    pairs = sorted(values, key=lambda pair: (len(pair[0]) > 1, _DELIMITER.join(pair[0])))
    result: dict[str, Any] = {}
    for path, value in pairs:
        inner = result
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
    return result


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield names and values, those of mappings by dotted names; an empty mapping counts as a value."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def found(point: Mapping[str, Any], paths: Iterable[Names]) -> dict[Names, Any]:
    """Return by path the values that a point has; a parameter that it lacks is not among them."""
    values = {}
    for path in paths:
        inner: Any = point
        for name in path[:-1]:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if isinstance(inner, dict) and path[-1] in inner:
            values[path] = inner[path[-1]]
    return values


def reach(point: Mapping[str, Any], path: Names) -> Any:
    """Return the value of a nested parameter at a point; None where the point has no such parameter."""
    return found(point, [path]).get(path)
