"""Nested parameters as a flat list and back, in W&B's order: names sorted at each level (``sweeps``, ``_unnest``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.sweepfile.space import Names, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurmsweep.sweepfile.space import Parameter

#: Between the names of a nested path in W&B (``sweeps.params``): ``a-x`` sorts before ``a`` followed by this.
_DELIMITER = ".wbnest[599c28ca25da]."


def flatten(parameters: dict[str, Parameter]) -> list[tuple[Names, Parameter]]:
    """Return every parameter that has values, names sorted by code point at each level of nesting."""
    return sorted(leaves(parameters), key=lambda leaf: leaf[0])


def unflatten(values: Iterable[tuple[Names, Any]]) -> dict[str, Any]:
    """One dictionary again: flat names first, then the nested ones, sorted as W&B writes their paths."""
    pairs = sorted(values, key=lambda pair: (len(pair[0]) > 1, _DELIMITER.join(pair[0])))
    result: dict[str, Any] = {}
    for path, value in pairs:
        inner = result
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
    return result
