"""Rules of names and values, ``{optimizer: sgd, lr: [0.1, 1.0]}``: for points to leave out, and for conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.sweepfile.findings import shown, suggest
from slurmsweep.sweepfile.plain import identity
from slurmsweep.sweepfile.space import Categorical, Constant, IntUniform, Names, Parameter

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
        if parameter is None:
            findings.error(here, f"{name} is computed from others", "name the parameters that it is computed from")
        else:
            for one in values:
                _check_wanted(one, parameter, here, never, findings)
        read.append((names, values))
    return tuple(read)


def _check_wanted(value: Any, parameter: Parameter, path: Path, never: str, findings: Findings) -> None:
    """Report a value that its parameter cannot have."""
    if isinstance(parameter, IntUniform):
        is_there = type(value) is int and parameter.low <= value <= parameter.high
    elif isinstance(parameter, Categorical):
        is_there = any(value == known and identity(value) == identity(known) for known in parameter.values)
    elif isinstance(parameter, Constant):
        is_there = value == parameter.value
    else:
        findings.error(path, "has no list of values to choose some of", "name discrete parameters")
        return
    if not is_there:
        has_lists = isinstance(parameter, Categorical) and any(isinstance(known, list) for known in parameter.values)
        hint = "for a value that is a list, write it in a list" if has_lists else ""
        findings.error(path, f"{shown(value)} is not one of its values, {never}", hint)
