"""The sweep file's content, checked once and frozen. After this nobody asks again whether it is right.

Keys and rules follow W&B's schema (``sweeps/config/schema.json`` and ``schema.py`` 0.3.0). Every violation is an
error, all at once; what hosted W&B only warns of, and what has a clear meaning, is a warning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import SweepFileError, Violation
from slurmsweep.sweepfile.command import DEFAULT, check_command
from slurmsweep.sweepfile.findings import Findings, nearest, suggest
from slurmsweep.sweepfile.space import (
    KEYS,
    Categorical,
    Constant,
    Continuous,
    IntUniform,
    Nested,
    Parameter,
    plain,
    read_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slurmsweep.sweepfile.findings import Path

METHODS = ("grid", "random", "bayes")
GOALS = ("minimize", "maximize")

_TEXTS = ("program", "name", "description", "project", "entity")
_IGNORED = ("job", "image_uri", "apiVersion", "kind", "controller", "scheduler")
_KNOWN = (
    "method",
    "parameters",
    "metric",
    "command",
    "run_cap",
    "early_terminate",
    *_TEXTS,
    "slurm",
    "slurmsweep",
    *_IGNORED,
)


@dataclass(frozen=True)
class Metric:
    """What the search optimises.

    Attributes:
        name: as the script logs it; dots reach into nested values.
        goal: minimize or maximize.
        target: a run that reaches it ends the search; None for none.
        impute: what a failed trial counts as: latest, best or worst.
    """

    name: str
    goal: str = "minimize"
    target: float | None = None
    impute: str = "worst"


@dataclass(frozen=True)
class SweepConfig:
    """A checked sweep file.

    Attributes:
        method: grid, random or bayes.
        parameters: by name, in the order of the file.
        document: the whole content as JSON keeps it; :meth:`from_json` makes the same configuration of it.
        program: the script; None where the command does without.
        command: elements with macros; None for W&B's default.
        metric: None where none is named.
        run_cap: at most this many trials; None for no limit.
        name, description, project, entity: as given.
        slurm: sbatch options by name, below the command line's and above the template's.
    """

    method: str
    parameters: dict[str, Parameter]
    document: dict[str, Any] = field(repr=False)
    program: str | None = None
    command: tuple[Any, ...] | None = None
    metric: Metric | None = None
    run_cap: int | None = None
    name: str | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None
    slurm: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The frozen form for ``sweep.json``. Non-finite numbers are Python's NaN and Infinity there."""
        return self.document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> SweepConfig:
        """The same configuration again. Needs no YAML. Raises SweepFileError for a document that was tampered with."""
        return check(document, "sweep.json").config


@dataclass(frozen=True)
class Checked:
    """A configuration, and what is worth knowing about it."""

    config: SweepConfig
    warnings: list[Violation]


def check(data: Any, source: str, lines: Mapping[Path, int] | None = None) -> Checked:
    """Check the content of a sweep file.

    Args:
        data: as YAML or JSON gave it.
        source: the file's name, for messages.
        lines: 1-based line of each key path.

    Raises:
        SweepFileError: with every violation.
    """
    findings = Findings(lines)
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else "one value"
        raise SweepFileError(
            source, [Violation("", f"holds {kind}", "a sweep file is a mapping: method, parameters, ...")]
        )
    config = _read(data, findings)
    if findings.violations:
        raise SweepFileError(source, sorted(findings.violations, key=lambda v: v.line or 0))
    return Checked(config, findings.warnings)


def _read(data: dict[Any, Any], findings: Findings) -> SweepConfig:
    _check_keys(data, findings)
    texts = {key: _text(data, key, findings) for key in _TEXTS}
    parameters = read_parameters(data.get("parameters"), ("parameters",), findings)
    config = SweepConfig(
        method=_method(data, findings),
        parameters=parameters,
        document=plain(data),
        command=_command(data, parameters, findings),
        metric=_metric(data, findings),
        run_cap=_run_cap(data, findings),
        slurm=_slurm(data, findings),
        **texts,
    )
    _check_together(config, data, findings)
    return config


def _check_keys(data: dict[Any, Any], findings: Findings) -> None:
    for key, value in data.items():
        if key in _IGNORED:
            _check_ignored(key, value, data, findings)
        elif key == "metrics":
            findings.error(
                (key,), "several metrics need W&B's method custom", "name one metric, a weighted sum for example"
            )
        elif key not in _KNOWN:
            _report_unknown(key, value, findings)


def _check_ignored(key: str, value: Any, data: dict[Any, Any], findings: Findings) -> None:
    """Keys that tell W&B's own services what to do: harmless here, unless they change what the search is."""
    if key == "kind" and value != "sweep":
        findings.error((key,), f"{value!r} is not a sweep", "write kind: sweep, or remove it")
    elif key == "scheduler" and (not isinstance(value, dict) or value.get("engine") != "wandb"):
        findings.error((key,), "leaves the search to a scheduler of W&B's", f"use method: one of {', '.join(METHODS)}")
    elif key == "scheduler" and "early_terminate" in data:
        findings.error((key,), "cannot be used together with early_terminate", "remove one of the two")
    else:
        findings.warn((key,), "has no effect here", "it tells W&B's own services what to do")


def _report_unknown(key: Any, value: Any, findings: Findings) -> None:
    close = nearest(key, _KNOWN)
    if close:
        findings.error((key,), f"{key!r} is not a key of a sweep file", f"did you mean {close!r}?")
    elif isinstance(value, dict) and value and set(value) <= set(KEYS):
        findings.warn(
            (key,),
            f"{key!r} is not a key of a sweep file: ignored",
            "it looks like a parameter: move it below parameters",
        )
    else:
        findings.warn((key,), f"{key!r} is not a key of a sweep file: ignored", "remove it")


def _method(data: dict[Any, Any], findings: Findings) -> str:
    if "method" not in data:
        findings.error(("method",), "is missing", f"write one of {', '.join(METHODS)}")
        return "grid"
    method = data["method"]
    if method == "custom":
        findings.error(
            ("method",), "custom leaves the search to a scheduler of W&B's", f"use one of {', '.join(METHODS)}"
        )
    elif method not in METHODS:
        findings.error(("method",), f"{method!r} is not a method", suggest(method, METHODS))
    return str(method)


def _text(data: dict[Any, Any], key: str, findings: Findings) -> str | None:
    value = data.get(key)
    if value is None or isinstance(value, str):
        return value or None
    findings.error(
        (key,),
        f"must be text, not {value!r}"[:200],
        f'write {key}: "{value}"' if not isinstance(value, (dict, list)) else "",
    )
    return None


def _run_cap(data: dict[Any, Any], findings: Findings) -> int | None:
    value = data.get("run_cap")
    if value is None:
        return None
    is_whole = not isinstance(value, bool) and isinstance(value, (int, float)) and value == int(value)
    if not is_whole or value < 1:
        findings.error(("run_cap",), f"{value!r} is not a whole number greater than 0")
        return None
    return int(value)


def _metric(data: dict[Any, Any], findings: Findings) -> Metric | None:
    value = data.get("metric")
    if value is None:
        return None
    path: Path = ("metric",)
    if not isinstance(value, dict):
        findings.error(path, f"must be a mapping, not {value!r}", f"write {{name: {value}, goal: minimize}}")
        return None
    allowed = {
        "impute": ("latest", "best", "worst"),
        "impute_while_running": ("latest", "best", "worst", "false"),
        "goal": GOALS,
    }
    _check_section(value, path, ("name", "target", *allowed), findings)
    for key, words in allowed.items():
        if key in value and value[key] not in words:
            findings.error((*path, key), f"{value[key]!r} is not one of {', '.join(words)}", suggest(value[key], words))
    if not isinstance(value.get("name"), str) or not value.get("name"):
        findings.error(
            (*path, "name"), "is missing" if "name" not in value else "must be text", "name what the script logs"
        )
    target = value.get("target")
    if target is not None and (isinstance(target, bool) or not isinstance(target, (int, float))):
        findings.error((*path, "target"), f"{target!r} is not a number")
    return Metric(str(value.get("name")), value.get("goal", "minimize"), target, value.get("impute", "worst"))


def _check_section(section: dict[Any, Any], path: Path, known: tuple[str, ...], findings: Findings) -> None:
    for key in section:
        if key not in known:
            findings.error((*path, key), f"{key!r} is not a key of {path[-1]}", suggest(key, known))


def _command(data: dict[Any, Any], parameters: dict[str, Parameter], findings: Findings) -> tuple[Any, ...] | None:
    command = data.get("command")
    if command is not None:
        check_command(command, _paths(parameters), ("command",), findings)
    uses_program = command is None or (isinstance(command, list) and "${program}" in command)
    if uses_program and not data.get("program"):
        findings.error(("program",), "is missing", f"name the script; the command is {list(command or DEFAULT)}")
    return tuple(command) if isinstance(command, list) else None


def _paths(parameters: dict[str, Parameter], prefix: str = "") -> Iterator[str]:
    for name, parameter in parameters.items():
        yield prefix + name
        if isinstance(parameter, Nested):
            yield from _paths(parameter.parameters, f"{prefix}{name}.")


def _slurm(data: dict[Any, Any], findings: Findings) -> dict[str, Any]:
    section = data.get("slurm")
    if section is None:
        return {}
    if not isinstance(section, dict):
        findings.error(("slurm",), "must be a mapping of sbatch options", "write {time: 30, mem: 4G}")
        return {}
    for key, value in section.items():
        if not isinstance(key, str) or not isinstance(value, (str, int, float, bool)):
            findings.error(("slurm", key), "must be one plain value", "such as mem: 4G")
        elif any(not c.isprintable() for c in f"{key}{value}"):
            findings.error(("slurm", key), "holds a control character, which could end the line of a batch script")
    return {str(key): value for key, value in section.items()}


def _check_together(config: SweepConfig, data: dict[Any, Any], findings: Findings) -> None:
    """What depends on more than one key."""
    if config.method == "grid":
        _check_grid(config.parameters, ("parameters",), findings)
    if config.method == "bayes":
        findings.error(("method",), "bayes is not there yet in this version of slurmsweep", "use random, or grid")
    if "early_terminate" in data:
        _check_early_terminate(data["early_terminate"], config, findings)
    if data.get("slurmsweep"):
        findings.error(("slurmsweep",), "this version of slurmsweep knows no extensions", "remove it")


def _check_grid(parameters: dict[str, Parameter], path: Path, findings: Findings) -> None:
    """A grid needs parameters that can be listed; W&B's engine finds out at the first run (``grid_search.py``)."""
    for name, parameter in parameters.items():
        here = (*path, name)
        if isinstance(parameter, Nested):
            _check_grid(parameter.parameters, (*here, "parameters"), findings)
        elif isinstance(parameter, Categorical) and parameter.probabilities:
            findings.error(
                here, "a grid takes every value, so probabilities mean nothing", "remove them, or use method: random"
            )
        elif not isinstance(parameter, (Constant, Categorical, IntUniform)) and not _is_stepped(parameter):
            findings.error(
                here,
                "a grid cannot list the values of this distribution",
                "use values, or q_uniform, or method: random",
            )


def _is_stepped(parameter: Parameter) -> bool:
    return isinstance(parameter, Continuous) and parameter.kind == "uniform" and parameter.q is not None


def _check_early_terminate(section: Any, config: SweepConfig, findings: Findings) -> None:
    path: Path = ("early_terminate",)
    if not isinstance(section, dict) or section.get("type") != "hyperband":
        findings.error(path, "must be a mapping with type: hyperband", "such as {type: hyperband, min_iter: 3}")
        return
    _check_section(section, path, ("type", "min_iter", "max_iter", "s", "eta", "strict"), findings)
    if "min_iter" not in section and not ("max_iter" in section and "s" in section):
        findings.error(path, "hyperband needs min_iter, or max_iter and s", "add min_iter: 3")
    if config.metric is None:
        findings.error(path, "needs a metric to compare trials by", "add metric: {name: ..., goal: ...}")
    findings.warn(path, "is not acted upon yet in this version of slurmsweep: every trial runs to its end")
