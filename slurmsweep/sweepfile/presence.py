"""Which parameters of a draw exist, and the values of those that are computed from others.

A search draws every parameter; what :class:`Condition` says is then left out, and :class:`Computed` adds the rest. All
functions take and give values by path, and are pure: a point is the same on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.plain import identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slurmsweep.sweepfile.extensions import Exclusion
    from slurmsweep.sweepfile.space import Names

    Values = Mapping[Names, Any]


class Condition(NamedTuple):
    """A parameter that exists only with others.

    Attributes:
        path: of a parameter that holds values; a condition on a group is one on each parameter in it.
        rule: other parameters, each with values: all of them must exist and have one of their values.
    """

    path: Names
    rule: Exclusion


class Computed(NamedTuple):
    """A parameter whose value follows from others.

    Attributes:
        path: of the parameter.
        expression: in the language of :mod:`.exact_expression`.
        uses: each name in the expression, with the path of the parameter that it means.
        rule: where the parameter exists, as that of a condition; empty for everywhere.
    """

    path: Names
    expression: str
    uses: tuple[tuple[str, Names], ...]
    rule: Exclusion = ()


def holds(rule: Exclusion, values: Values) -> bool:
    """Return whether all parameters of a rule exist and have one of its values."""
    return all(path in values and identity(values[path]) in map(identity, wanted) for path, wanted in rule)


def both(one: Exclusion, other: Exclusion) -> Exclusion:
    """Return the rule that holds where both do."""
    found = dict(one)
    for path, values in other:
        keys = set(map(identity, values))
        found[path] = tuple(v for v in found[path] if identity(v) in keys) if path in found else values
    return tuple(found.items())


def absent(values: Values, conditions: Iterable[Condition]) -> set[Names]:
    """Return the paths of the parameters that do not exist where the others have these values.

    ``conditions`` stand in the order of :attr:`.Extensions.conditions`: behind those of the parameters that they name.
    """
    found, gone = dict(values), set()
    for path, rule in conditions:
        if not holds(rule, found):
            gone.add(path)
            found.pop(path, None)
    return gone


def existing(values: Values, conditions: Iterable[Condition]) -> dict[Names, Any]:
    """Return the values of the parameters that exist, in the order given; see :func:`absent`."""
    gone = absent(values, conditions)
    return {path: value for path, value in values.items() if path not in gone}


def may_be_absent(conditions: Iterable[Condition], computed: Iterable[Computed]) -> set[Names]:
    """Return the paths of the parameters that some points have not."""
    paths = {path for path, _ in conditions}
    for one in computed:
        if one.rule or any(path in paths for _, path in one.uses):
            paths.add(one.path)
    return paths


def with_computed(values: Values, computed: Iterable[Computed]) -> dict[Names, Any]:
    """Return values of parameters that exist, and behind them those of the computed ones.

    A computed parameter is absent where its rule does not hold, where one that it uses is absent, and where its
    expression has no value: :func:`faults` says why. ``computed`` stand in the order of :attr:`.Extensions.computed`.
    """
    found = dict(values)
    for one in computed:
        value, _ = _value(one, found)
        if value is not None:
            found[one.path] = value
    return found


def faults(values: Values, computed: Iterable[Computed]) -> Iterator[tuple[Names, str]]:
    """Yield the path of each computed parameter that should have a value and has none, and why it has none."""
    found = dict(values)
    for one in computed:
        value, why = _value(one, found)
        if value is not None:
            found[one.path] = value
        elif why:
            yield one.path, why


def agrees(told: Values, values: Values, computed: Iterable[Computed]) -> bool:
    """Return whether ``told`` has of the computed parameters exactly what follows from the values of the others."""
    follows = with_computed(values, computed)
    pairs = ((told.get(one.path), follows.get(one.path)) for one in computed)
    return all(identity(one) == identity(other) for one, other in pairs)


def _value(one: Computed, values: Values) -> tuple[float | None, str]:
    """Return the value of a computed parameter; None where it is absent, and why if it should be there."""
    if not holds(one.rule, values) or not all(path in values for _, path in one.uses):
        return None, ""
    from slurmsweep.sweepfile.exact_expression import parse_exact  # few sweeps have one, many have conditions
    from slurmsweep.sweepfile.expression import NoValueError

    try:
        return parse_exact(one.expression).value({name: values[path] for name, path in one.uses}), ""
    except NoValueError as error:
        return None, str(error)
