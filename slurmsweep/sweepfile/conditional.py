"""``conditions`` and ``computed`` below ``slurmsweep:``: parameters that exist only with others, or follow from them.

::

    slurmsweep:
      conditions: {momentum: {optimizer: sgd}}  # momentum exists where optimizer is sgd
      computed: {hidden: "4 * width"}           # in the language of exact_expression
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from slurmsweep.sweepfile.command import parameters_in
from slurmsweep.sweepfile.exact_expression import parse_exact
from slurmsweep.sweepfile.expression import checked
from slurmsweep.sweepfile.findings import shown, suggest
from slurmsweep.sweepfile.plain import identity
from slurmsweep.sweepfile.presence import Computed, Condition, both, may_be_absent
from slurmsweep.sweepfile.rules import Known, read_rule
from slurmsweep.sweepfile.space import NAME, Names, Nested, Parameter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from slurmsweep.sweepfile.extensions import Exclusion, Extensions
    from slurmsweep.sweepfile.findings import Findings, Path

_CONDITIONS: Path = ("slurmsweep", "conditions")
_COMPUTED: Path = ("slurmsweep", "computed")


def places_of_computed(value: Any, parameters: dict[str, Parameter]) -> dict[str, Names]:
    """Return the path of each computed parameter; of a section that is no mapping, none.

    ``model.hidden`` is in the group ``model`` where the file has one; else it is a name with a dot in it.
    """
    return {name: _place(name, parameters) for name in value} if isinstance(value, dict) else {}


def _place(name: str, parameters: dict[str, Parameter]) -> Names:
    for group, parameter in parameters.items():
        if isinstance(parameter, Nested) and name.startswith(f"{group}."):
            return (group, *_place(name[len(group) + 1 :], parameter.parameters))
    return (name,)


def read_conditional(
    section: dict[str, Any], known: Known, linked: Iterable[tuple[Names, ...]], findings: Findings
) -> tuple[tuple[Condition, ...], tuple[Computed, ...]]:
    """Return ``conditions`` and ``computed``, each in an order in which what one needs stands before it.

    Args:
        section: the content of the ``slurmsweep:`` key.
        known: all parameters by name, computed ones too.
        linked: the groups of linked parameters.
        findings: takes the mistakes.
    """
    rules = _read_rules(section.get("conditions"), known, findings)
    searched = {path for path, parameter in known.values() if parameter is not None}
    needs = {path: [other for other, _ in rule] for path, rule in rules.items() if path in searched}
    conditions = tuple(Condition(path, rules[path]) for path in _ordered(needs, _CONDITIONS, findings))
    _check_linked(linked, rules, findings)
    computed = {
        one.path: one._replace(rule=rules.get(one.path, ()))
        for one in _read_computed(section.get("computed"), known, findings)
    }
    uses = {path: [other for _, other in one.uses if other in computed] for path, one in computed.items()}
    return conditions, tuple(computed[path] for path in _ordered(uses, _COMPUTED, findings))


def _ordered(needs: Mapping[Names, Collection[Names]], path: Path, findings: Findings) -> list[Names]:
    """Return the keys, each behind those that it needs; none, and a mistake, if they need each other in a circle."""
    try:
        return [one for one in TopologicalSorter(needs).static_order() if one in needs]
    except CycleError as error:
        circle = [".".join(one) for one in reversed(error.args[1])]
        findings.error((*path, circle[0]), f"depends on itself: {' -> '.join(circle)}"[:200], "break the circle")
        return []


def _read_rules(value: Any, known: Known, findings: Findings) -> dict[Names, Exclusion]:
    """Return the rule of each parameter that has a condition, on itself or on a group that it is in."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(rule, dict) and rule for rule in value.values()):
        findings.error(_CONDITIONS, "must give a mapping for each name", "such as {momentum: {optimizer: sgd}}")
        return {}
    rules: dict[Names, Exclusion] = {}
    within: dict[str, list[Names]] = {}
    for path, _ in known.values():
        for group in _names(path):
            within.setdefault(group, []).append(path)
    for name, rule in value.items():
        here = (*_CONDITIONS, name)
        under = within.get(name, [])
        if not under:
            findings.error(here, f"{shown(name)} is not a parameter", suggest(name, known))
        read = read_rule(rule, known, here, f"so {name} would never exist", findings)
        for path in under:
            rules[path] = both(rules.get(path, ()), read)
            for other, values in rules[path]:
                if not values:
                    problem = f"{'.'.join(path)} would never exist: its conditions leave no value of {'.'.join(other)}"
                    findings.error(here, problem, "write one condition that can hold")
    return rules


def _names(path: Names) -> list[str]:
    """Return the name of a parameter and those of the groups that it is in."""
    return [".".join(path[:end]) for end in range(len(path), 0, -1)]


def _check_linked(linked: Iterable[tuple[Names, ...]], rules: Mapping[Names, Exclusion], findings: Findings) -> None:
    """Report linked parameters that do not exist together: one of them would be an axis without the others."""
    for group in linked:
        seen = [{path: frozenset(map(identity, values)) for path, values in rules.get(one, ())} for one in group]
        if any(rule != seen[0] for rule in seen):
            names = ", ".join(map(".".join, group))
            findings.error(_CONDITIONS, f"{names} are linked, so they exist together", "give each the same condition")


def check_macros(command: Iterable[Any], known: Iterable[Names], ours: Extensions, findings: Findings) -> None:
    """Report macros of parameters that some points have not: the macro itself would stand in the command."""
    absent = may_be_absent(ours.conditions, ours.computed)
    always = {name for path in known if path not in absent for name in _names(path)}
    some = {name: path for path in absent for name in _names(path) if name not in always}
    for position, element in enumerate(command):
        for name in parameters_in(str(element)):
            if name in some:
                problem = f"${{{name}}} has no value where {name} does not exist"
                hint = "write ${args}, which leaves out what does not exist"
                findings.error(("command", position), problem, hint)


def _read_computed(value: Any, known: Known, findings: Findings) -> list[Computed]:
    if value is None:
        return []
    if not isinstance(value, dict):
        findings.error(_COMPUTED, f"must be a mapping, not {shown(value)}", 'such as {hidden: "4 * width"}')
        return []
    read = []
    searched = {name for path, form in known.values() if form is not None for name in _names(path)}
    for name, text in value.items():
        here = (*_COMPUTED, name)
        if name in searched:
            findings.error(here, f"{name} stands under parameters, too", "remove it in one of the two places")
        elif not NAME.fullmatch(name):
            findings.error(here, f"{shown(name)} is no name", "it has letters, digits, _ . - and no digit first")
        elif not isinstance(text, str):
            hint = (
                f"write {name}: {{value: {shown(text)}}} under parameters" if text is not None else "such as 4 * width"
            )
            findings.error(here, f"must be an expression, not {shown(text)}", hint)
        else:
            expression = checked(text, here, findings, parse_exact)
            names = expression.names if expression else ()
            for used in names:
                if used not in known:
                    findings.error(here, f"{shown(used)} is not a parameter", suggest(used, known))
            uses = tuple((used, known[used][0]) for used in names if used in known)
            read.append(Computed(known[name][0], text, uses))
    return read
