"""Rules of names and values, ``{optimizer: sgd, lr: [0.1, 1.0]}``: for points to leave out, and for conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.sweepfile.findings import shown, suggest
from slurmsweep.sweepfile.space import Categorical, Continuous, Names, Parameter, has_value

if TYPE_CHECKING:
    from slurmsweep.sweepfile.extensions import Exclusion
    from slurmsweep.sweepfile.findings import Findings, Path

#: Path and form of each parameter by its name, dots for nested ones; a computed one has no form.
Known = dict[str, tuple[Names, Parameter | None]]


def read_rule(rule: dict[str, Any], known: Known, path: Path, never: str, findings: Findings) -> Exclusion:
    """Return a rule of names and values; ``never`` says what follows where a parameter cannot have a value of it."""
    read: list[tuple[Names, tuple[Any, ...]]] = []
    for name, wanted in rule.items():
        here = (*path, name)
        if name not in known:
            findings.error(here, f"{shown(name)} is not a parameter", suggest(name, known))
            continue
        names, parameter = known[name]
        values = tuple(wanted) if isinstance(wanted, list) else (wanted,)
        read.append((names, values))
        if parameter is None:
            findings.error(here, f"{name} is computed from others", "name the parameters that it is computed from")
            continue
        for one in values:
            if isinstance(parameter, Continuous):
                findings.error(here, "has no list of values to choose some of", "name discrete parameters")
            elif not has_value(parameter, one):
                is_of_lists = isinstance(parameter, Categorical) and any(isinstance(v, list) for v in parameter.values)
                hint = "for a value that is a list, write it in a list" if is_of_lists else ""
                findings.error(here, f"{shown(one)} is not one of its values, {never}", hint)
    return tuple(read)
