"""The parameter space: every form of a parameter, read from the sweep file once and frozen.

Forms, defaults and inference follow W&B's schema (``sweeps/config/schema.json`` 0.3.0, ``definitions.parameter``).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.findings import nearest, shown, suggest, written
from slurmsweep.sweepfile.plain import identity, is_finite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.sweepfile.findings import Findings, Path

#: W&B's pattern for names of parameters, nested ones too. W&B warns of others, and passes them on.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class Constant(NamedTuple):
    """One value of any type, the same in every trial."""

    value: Any


class Categorical(NamedTuple):
    """One of ``values``, drawn by ``probabilities`` (which sum to 1), or each equally likely if that is None."""

    values: tuple[Any, ...]
    probabilities: tuple[float, ...] | None = None


class IntUniform(NamedTuple):
    """An integer from ``low`` to ``high``, both included."""

    low: int
    high: int


class Continuous(NamedTuple):
    """A number from a distribution.

    Attributes:
        kind: W&B's word without ``q_``: uniform, log_uniform, log_uniform_values, inv_log_uniform,
            inv_log_uniform_values, normal, log_normal, beta.
        first: min, mu or a.
        second: max, sigma or b.
        q: the quantum, of which every value is a multiple; None for any value.
    """

    kind: str
    first: float
    second: float
    q: float | None = None


class Nested(NamedTuple):
    """A mapping of parameters; its value is a dictionary."""

    parameters: dict[str, Parameter]


Parameter = Constant | Categorical | IntUniform | Continuous | Nested

#: Names of a parameter from the outermost mapping inwards.
Names = tuple[str, ...]

#: The most characters of a form that a hint shows.
_LONGEST_HINT = 80

#: The two numbers of each continuous distribution with their defaults; None for a number that must be given.
_BOUNDS: dict[str, float | None] = {"min": None, "max": None}
_NUMBERS: dict[str, dict[str, float | None]] = {
    "uniform": _BOUNDS,
    "log_uniform": _BOUNDS,
    "log_uniform_values": _BOUNDS,
    "inv_log_uniform": _BOUNDS,
    "inv_log_uniform_values": _BOUNDS,
    "normal": {"mu": 0.0, "sigma": 1.0},
    "log_normal": {"mu": 0.0, "sigma": 1.0},
    "beta": {"a": 1.0, "b": 1.0},
}
_QUANTISED = ("uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta")
_DEPRECATED = ("log_uniform", "inv_log_uniform", "q_log_uniform")

_DISCRETE_KEYS = {
    "constant": ("value",),
    "categorical": ("values",),
    "categorical_w_probabilities": ("values", "probabilities"),
    "int_uniform": ("min", "max"),
}

#: Every value of ``distribution:``.
DISTRIBUTIONS = (*_DISCRETE_KEYS, *_NUMBERS, *(f"q_{kind}" for kind in _QUANTISED))

#: Normal numbers drawn from 53 random bits stay within this many standard deviations.
_FARTHEST = 9.0

#: Every key that some form of a parameter has.
KEYS = ("value", "values", "min", "max", "distribution", "probabilities", "mu", "sigma", "q", "a", "b", "parameters")

#: Keys that make a mapping a parameter; the others are too short to tell.
_DEFINING = ("value", "values", "min", "max", "distribution", "probabilities", "parameters")


def leaves(parameters: dict[str, Parameter], prefix: Names = ()) -> Iterator[tuple[Names, Parameter]]:
    """Yield every parameter that holds values, including nested ones, in the order of the file."""
    for name, parameter in parameters.items():
        if isinstance(parameter, Nested):
            yield from leaves(parameter.parameters, (*prefix, name))
        else:
            yield (*prefix, name), parameter


def has_one_value(parameter: Parameter) -> bool:
    """Return whether a parameter is the same at every point that has it."""
    if isinstance(parameter, Categorical):
        return len(set(map(identity, parameter.values))) == 1
    return isinstance(parameter, Constant)


def has_value(parameter: Parameter, value: Any) -> bool:
    """Return whether a value is one of those of a constant, a list or a range of integers."""
    if isinstance(parameter, IntUniform):
        return type(value) is int and parameter.low <= value <= parameter.high
    if isinstance(parameter, Constant):
        return bool(identity(value) == identity(parameter.value))
    wanted = identity(value)
    return isinstance(parameter, Categorical) and any(identity(one) == wanted for one in parameter.values)


def read_parameters(data: Any, path: Path, findings: Findings) -> dict[str, Parameter]:
    """Return a mapping of parameters; mistakes are added to ``findings``, also those of nested parameters."""
    if not isinstance(data, dict) or not data:
        hint = "write `lr: {values: [0.1, 0.01]}` below it"
        findings.error(path, "must be a mapping of at least one parameter", hint)
        return {}
    read = {}
    for name, form in data.items():
        here = (*path, name)
        if name in _DEFINING and not isinstance(form, dict):
            problem = f"{name} is a part of a parameter, and stands here as a parameter of its own"
            findings.error(here, problem, "indent it below the name of its parameter")
            continue
        if not NAME.fullmatch(name):
            hint = "it is passed on as it is; W&B's names have letters, digits, _ . - and no digit first"
            if name.startswith("-"):
                hint = f"write {name.lstrip('-') or 'a name'}: the macros of the command write the hyphens"
            findings.warn(here, f"{shown(name)} is an unusual name for a parameter", hint)
        parameter = read_parameter(form, here, findings)
        if parameter is not None:
            read[str(name)] = parameter
    return read


def read_parameter(form: Any, path: Path, findings: Findings) -> Parameter | None:
    """Return one parameter; None if it is wrong, and ``findings`` then has the mistakes."""
    if not isinstance(form, dict):
        text = written({"values" if isinstance(form, list) else "value": form})
        hint = f"write {text}" if len(text) <= _LONGEST_HINT else "write {values: [...]}, or {value: ...}"
        if form is None:
            hint += ", or indent its value, values, or min and max below it"
        findings.error(path, f"a parameter is a mapping, not {shown(form)}", hint)
        return None
    if "parameters" in form:
        others = sorted(str(key) for key in form if key != "parameters")
        if not others:
            return Nested(read_parameters(form["parameters"], (*path, "parameters"), findings))
        hint = "move the other keys out"
        if all(looks_like_parameter(form[key]) for key in others):
            hint = f"indent {', '.join(others)} below `parameters`, or move it out of {path[-1]}"
        findings.error(path, f"`parameters` stands alone, not beside {', '.join(others)}", hint)
        return None
    distribution = _distribution(form, path, findings)
    if distribution is None or not _has_right_keys(form, distribution, path, findings):
        return None
    read = _read_discrete if distribution in _DISCRETE_KEYS else _read_continuous
    return read(form, distribution, path, findings)


def looks_like_parameter(form: Any) -> bool:
    """Return whether a value that stands elsewhere has the keys of a parameter."""
    return isinstance(form, dict) and form.keys() <= set(KEYS) and any(key in _DEFINING for key in form)


def _distribution(form: dict[str, Any], path: Path, findings: Findings) -> str | None:
    """Return the distribution that is given, or that W&B infers; None and a mistake if there is neither."""
    word = form.get("distribution")
    if word is not None:
        if word in DISTRIBUTIONS:
            return str(word)
        findings.error((*path, "distribution"), f"{shown(word)} is not a distribution", suggest(word, DISTRIBUTIONS))
        findings.keys(path, form, KEYS, "is not a key of a parameter")
        return None
    inferred = _inferred(form)
    if inferred is None:
        _explain_formless(form, path, findings)
    return inferred


def _inferred(form: dict[str, Any]) -> str | None:
    """Return the distribution of a form that names none; None if its keys do not tell."""
    if "value" in form:
        return "constant"
    if "values" in form:
        return "categorical_w_probabilities" if "probabilities" in form else "categorical"
    if "min" in form and "max" in form:
        return "int_uniform" if type(form["min"]) is type(form["max"]) is int else "uniform"
    return None


def _explain_formless(form: dict[str, Any], path: Path, findings: Findings) -> None:
    other = {"min": "max", "max": "min"}
    key, close = next(((key, close) for key in form if (close := nearest(key, KEYS))), ("", None))
    if not form:
        findings.error(path, "is empty", "it needs value, values, or min and max")
    elif key in other:
        findings.error(path, f"has {key} but no {other[key]}", f"add {other[key]}")
    elif key in KEYS:
        hint = f"add distribution: one of {', '.join(DISTRIBUTIONS)}"
        findings.error(path, f"has {key}, which needs a distribution", hint)
    elif close:
        findings.error((*path, key), f"{key!r} is not a key of a parameter", f"did you mean {close!r}?")
    elif all(isinstance(value, dict) for value in form.values()):
        findings.error(path, "holds parameters of its own", "nest them below a `parameters:` key")
    else:
        problem = f"says nothing about values: {', '.join(map(str, form))}"
        findings.error(path, problem, "it needs value, values, or min and max")


def _has_right_keys(form: dict[str, Any], distribution: str, path: Path, findings: Findings) -> bool:
    numbers = _NUMBERS.get(distribution.removeprefix("q_"), {})
    required = _DISCRETE_KEYS.get(distribution) or tuple(key for key, default in numbers.items() if default is None)
    quantum = ("q",) if distribution.startswith("q_") else ()
    optional = (*(key for key, default in numbers.items() if default is not None), *quantum)
    takes = (*required, *optional)
    foreign = [key for key in form if key not in (*takes, "distribution")]
    missing = [key for key in required if key not in form]
    meant = _inferred(form)
    takes_nothing_of_it = missing or not any(key in form for key in takes)
    if foreign and meant and meant != distribution and takes_nothing_of_it:
        problem = f"{distribution} takes {' and '.join(takes)}, not {' and '.join(map(str, foreign))}"
        hint = f"remove distribution, or write distribution: {meant}"
        findings.error((*path, "distribution"), problem, hint)
        return False
    kind = f"{'an' if distribution.startswith('i') else 'a'} {distribution} parameter"
    for key in foreign:
        close = None if key in KEYS else nearest(key, (*takes, "distribution"))
        hint = f"did you mean {close!r}?" if close else f"{distribution} takes {', '.join(takes)}"
        if close in form:
            hint = f"remove it: {close} is there, too"
        if looks_like_parameter(form[key]):
            hint = f"it looks like a parameter: move it out of {path[-1]}, to the same indentation"
        findings.error((*path, key), f"{shown(key)} does not go with {kind}", hint)
    for key in missing:
        findings.error(path, f"{kind} needs {key}", f"add {key}")
    return not foreign and not missing


def _read_discrete(form: dict[str, Any], distribution: str, path: Path, findings: Findings) -> Parameter | None:
    if distribution == "constant":
        return Constant(form["value"])
    if distribution == "int_uniform":
        for key in ("min", "max"):
            if type(form[key]) is not int:
                findings.error((*path, key), f"{shown(form[key])} is not an integer", "int_uniform has integer bounds")
                return None
        return IntUniform(form["min"], form["max"]) if _is_ordered(form["min"], form["max"], path, findings) else None
    values = form["values"]
    if not isinstance(values, list) or not values:
        findings.error((*path, "values"), "must be a list of at least one value", "write [a, b, c], or use value")
        return None
    if distribution == "categorical":
        return Categorical(tuple(values))
    return _read_weighted(values, form["probabilities"], path, findings)


def _read_weighted(values: list[Any], weights: Any, path: Path, findings: Findings) -> Categorical | None:
    here = (*path, "probabilities")
    if not isinstance(weights, list) or not all(is_finite(w) and w >= 0 for w in weights):
        findings.error(here, "must be a list of numbers, none below 0")
        return None
    if len(weights) != len(values):
        findings.error(here, f"{len(weights)} probabilities for {len(values)} values", "give one for each value")
        return None
    probabilities = tuple(map(float, weights))
    # the tolerance of numpy.isclose, which W&B uses: 1e-8 and a part of 1e-5
    if abs(sum(probabilities) - 1.0) > 1.001e-5:
        findings.error(here, f"sum to {sum(probabilities):g}", "they must sum to 1")
        return None
    return Categorical(tuple(values), probabilities)


def _read_continuous(form: dict[str, Any], distribution: str, path: Path, findings: Findings) -> Continuous | None:
    kind = distribution.removeprefix("q_")
    numbers: dict[str, Any] = {name: form.get(name, default) for name, default in _NUMBERS[kind].items()}
    if kind != distribution:
        numbers["q"] = form.get("q", 1.0)
    before = len(findings.violations)
    for key, value in numbers.items():
        _check_number(key, value, kind, (*path, key), findings)
    if len(findings.violations) > before:
        return None
    first, second = (numbers[name] for name in _NUMBERS[kind])
    if "min" in numbers and not _is_ordered(first, second, path, findings):
        return None
    if not math.isfinite(_bound(kind, first, second)):
        problem = "its values can get too large for a floating-point number"
        findings.error(path, problem, "bring its numbers closer to 0")
        return None
    if distribution in _DEPRECATED:
        hint = f"to give the limits themselves, write distribution: {distribution}_values"
        findings.warn(path, f"{distribution} takes min and max as exponents of e, as W&B's does", hint)
    q = numbers.get("q")
    are_limits = kind in ("uniform", "log_uniform_values", "inv_log_uniform_values")
    if q is not None and are_limits and second - first < q and round(first / q) == round(second / q):
        problem = f"has one value only, {round(first / q) * q:g}, since draws are rounded to multiples of q, {q:g}"
        findings.warn(path, problem, "give a smaller q")
    return Continuous(kind, first, second, q)


def _check_number(key: str, value: Any, kind: str, path: Path, findings: Findings) -> None:
    if not is_finite(value):
        hint = "write it without quotes" if isinstance(value, str) else ""
        findings.error(path, f"{shown(value)} is not a number", hint)
    elif (key in ("q", "a", "b") or (key == "min" and kind.endswith("_values"))) and value <= 0:
        findings.error(path, f"{value:g} is not greater than 0")
    elif key == "sigma" and value < 0:
        findings.error(path, f"{value:g} is less than 0")


def _bound(kind: str, first: float, second: float) -> float:
    """Return a bound on the absolute value of all draws; infinity if a draw could overflow and so fail a trial."""
    try:
        if kind == "beta":
            return 1.0
        if kind in ("uniform", "normal"):
            return abs(first) + (abs(second) if kind == "uniform" else _FARTHEST * second) + 0.0
        if kind.endswith("_values"):
            return float(second)
        highest = {"log_uniform": second, "inv_log_uniform": -first, "log_normal": first + _FARTHEST * second}[kind]
        return math.exp(highest)
    except OverflowError:
        return math.inf


def _is_ordered(low: float, high: float, path: Path, findings: Findings) -> bool:
    if low < high:
        return True
    hint = f"for one value write {{value: {low}}}" if low == high else "swap them?"
    findings.error(path, f"min {low} is not less than max {high}", hint)
    return False
