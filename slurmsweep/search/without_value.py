"""Find points at which a computed parameter has no value, before a sweep is made: as far as that is cheap to know.

Looked at is each expression over parameters that have lists of values, with at most ten thousand combinations, as long
as all of that takes some seconds. Of any other expression the trial itself says so (:func:`slurmsweep.search.faults`).
"""

from __future__ import annotations

from itertools import islice, product
from math import prod
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import Violation
from slurmsweep.search.axes import Axis, axes_of
from slurmsweep.search.grid import Grid, grid_of
from slurmsweep.sweepfile.findings import shown
from slurmsweep.sweepfile.presence import existing, faults, with_computed
from slurmsweep.sweepfile.space import Categorical, Continuous, Nested

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.presence import Computed
    from slurmsweep.sweepfile.space import Names, Parameter

#: Combinations that are computed for one parameter, and those without a value that are looked for on the grid.
_MOST, _MOST_LOOKED_FOR = 10_000, 100

#: Characters of expressions that are computed for all of them together.
_MOST_CHARACTERS = 3_000_000


def why_without_value(config: SweepConfig) -> Iterator[Violation]:
    """Yield for each computed parameter the first values, of a point that the sweep has, at which it has none."""
    ours = config.extensions
    axes = axes_of(_listable(config.parameters), ours) if ours.computed else ()
    computed = {one.path: [used for _, used in one.uses] for one in ours.computed}
    rules = dict(ours.conditions) | {one.path: one.rule for one in ours.computed}
    depends_on = {path: [*computed.get(path, ()), *(other for other, _ in rule)] for path, rule in rules.items()}
    left = _MOST_CHARACTERS
    for place, one in enumerate(ours.computed):
        needed = _needed(one.path, depends_on)
        about = [axis for axis in axes if any(path in needed for path in axis.paths)]
        combinations = prod(axis.size for axis in about)
        listed = {path for axis in about for path in axis.paths}
        if combinations > _MOST or not all(path in listed or path in computed for path in needed):
            continue
        parts = [part for part in ours.computed[: place + 1] if part.path in needed]
        left -= combinations * sum(len(part.expression) for part in parts)
        if left < 0:
            return
        wrong = (fault for fault in _wrong(config, about, parts) if _is_on(config, axes, about, fault[0]))
        for _, values, why in islice(wrong, 1):
            there = ", ".join(f"{'.'.join(path)} is {shown(values[path])}" for path in values if path in needed)
            key = ".".join(("slurmsweep", "computed", *one.path))
            hint = "give it a condition, or exclude such points"
            yield Violation(key, f"has no value where {there}: {why}"[:400], hint)


def _needed(path: Names, depends_on: Mapping[Names, Sequence[Names]]) -> set[Names]:
    """Return a parameter and all others on which it depends, also through others."""
    found: set[Names] = set()
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += depends_on.get(one, ())
    return found


def _listable(parameters: dict[str, Parameter]) -> dict[str, Parameter]:
    """Return the parameters that have lists of values, without values that are never drawn."""
    kept: dict[str, Parameter] = {}
    for name, form in parameters.items():
        if isinstance(form, Nested):
            kept[name] = Nested(_listable(form.parameters))
        elif isinstance(form, Categorical) and form.probabilities:
            pairs = zip(form.values, form.probabilities, strict=True)
            kept[name] = Categorical(tuple(value for value, share in pairs if share > 0))
        elif not isinstance(form, Continuous) or (form.kind == "uniform" and form.q is not None):
            kept[name] = form
    return kept


def _wrong(
    config: SweepConfig, about: list[Axis], parts: list[Computed]
) -> Iterator[tuple[tuple[int, ...], dict[Names, Any], str]]:
    """Yield positions on the axes at which the last of ``parts`` has no value, with the values that exist, and why."""
    looked_for = 0
    for positions in product(*(range(axis.size) for axis in about)):
        values: dict[Names, Any] = {}
        for axis, position in zip(about, positions, strict=True):
            values.update(zip(axis.paths, axis.values(position), strict=True))
        values = existing(values, [one for one in config.extensions.conditions if one.path in values])
        why = next((why for _, why in faults(with_computed(values, parts[:-1]), parts[-1:])), "")
        if why:
            looked_for += 1
            yield positions, values, why
        if looked_for == _MOST_LOOKED_FOR:
            return


def _is_on(config: SweepConfig, axes: tuple[Axis, ...], about: list[Axis], positions: tuple[int, ...]) -> bool:
    """Return whether the sweep has a point with these positions: none that is excluded, or beyond ``run_cap``."""
    ours, at = config.extensions, {axis.paths: place for axis, place in zip(about, positions, strict=True)}
    some = Grid(
        [axis.only(at[axis.paths]) if axis.paths in at else axis for axis in axes], ours.exclude, ours.conditions
    )
    if not some.size():
        return False
    if config.method != "grid" or config.run_cap is None:
        return True
    number = grid_of(config).number(some.point(0)) if ours.order == "wandb" else None
    return number is not None and number < config.run_cap
