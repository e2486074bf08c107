"""Check the content of a sweep file once and freeze it: all later code relies on a checked configuration.

Keys and rules follow W&B's schema (``sweeps/config/schema.json`` and ``cfg.py`` 0.3.0). All violations are reported
together as one error. Content with a clear meaning that hosted W&B only warns about is a warning here, too.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import SweepFileError, Violation
from slurmsweep.sweepfile import sections
from slurmsweep.sweepfile.command import check_command, needs_program
from slurmsweep.sweepfile.extensions import Extensions, read_extensions
from slurmsweep.sweepfile.findings import Findings, Path, nearest, shown, suggest, written
from slurmsweep.sweepfile.plain import identity, packed, plain, unpacked
from slurmsweep.sweepfile.secrets import is_secret
from slurmsweep.sweepfile.space import (
    KEYS,
    Categorical,
    Constant,
    Continuous,
    IntUniform,
    leaves,
    looks_like_parameter,
    read_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.sweepfile.sections import EarlyTerminate, Metric
    from slurmsweep.sweepfile.space import Parameter

#: The methods of W&B.
METHODS = ("grid", "random", "bayes")

#: The most digits of the number of a trial, which a float must hold too, and the most values that a message lists.
MOST_DIGITS = 100
_MOST_SHOWN = 5

_TEXTS = ("program", "name", "description", "project", "entity")
_OURS = (*sections.JOB_SECTIONS, "slurmsweep")
_KNOWN = ("method", "parameters", "metric", "command", "run_cap", "early_terminate", *_TEXTS, *_OURS, *sections.FOREIGN)

#: Keys that other programs have, and what they are here.
_CAPS = ("count", "num_runs", "max_runs", "n_runs", "num_trials", "n_trials", "max_trials", "num_samples", "trials")
_WIDTHS = ("num_agents", "agents", "num_workers", "workers", "max_concurrent", "parallel", "n_jobs")
_MEANT = {
    **dict.fromkeys(_CAPS, "for a number of trials write run_cap: 10"),
    **dict.fromkeys(_WIDTHS, "trials at a time are --width in Slurm, and --jobs elsewhere"),
}


class SweepConfig(NamedTuple):
    """A checked sweep file.

    Attributes:
        method: grid, random or bayes.
        parameters: the parameters by name, in the order of the file.
        document: the whole content as plain JSON values.
        program: the script; None if the file names none (``build_argv`` needs one if the command uses it).
        command: elements with macros; None for W&B's default.
        metric: what the search optimises; None if the file names nothing.
        early_terminate: the stopping rule; None if trials run to their end.
        run_cap: the largest number of trials; None for no limit.
        name, description, project, entity: texts as given.
        slurm: sbatch options by name. Options of the command line override them; they override the template's.
        aws: the same for jobs in AWS.
        extensions: the content of the ``slurmsweep:`` key.
    """

    method: str
    parameters: dict[str, Parameter]
    document: dict[str, Any]
    program: str | None = None
    command: tuple[Any, ...] | None = None
    metric: Metric | None = None
    early_terminate: EarlyTerminate | None = None
    run_cap: int | None = None
    name: str | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None
    slurm: Mapping[str, Any] = {}
    aws: Mapping[str, Any] = {}
    extensions: Extensions = Extensions()

    def to_json(self) -> dict[str, Any]:
        """Return the content as strict JSON for ``sweep.json``: NaN and infinities become ``{"$float": "nan"}``."""
        return dict(packed(self.document))

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> SweepConfig:
        """Return the configuration that :meth:`to_json` wrote. Raises SweepFileError if it was changed and is wrong."""
        return check(unpacked(document), "sweep.json").config  # needs no YAML: compute nodes read it


class Checked(NamedTuple):
    """A checked configuration, and the warnings about it."""

    config: SweepConfig
    warnings: list[Violation]


class Examined(NamedTuple):
    """A sweep file with all that is wrong in it, to which a caller may add what it finds elsewhere.

    Attributes:
        source: the file as it was named.
        config: as far as it could be read; None if the file holds no plain values.
        findings: mistakes and warnings.
    """

    source: str
    config: SweepConfig | None
    findings: Findings

    def checked(self) -> Checked:
        """Return the configuration. Raises SweepFileError, which names the file and holds every violation."""
        if self.config is None or self.findings.violations:
            raise SweepFileError(self.source, sorted(self.findings.violations, key=lambda v: v.line or 0))
        return Checked(self.config, self.findings.warnings)


def check(data: Any, source: str, lines: Mapping[Path, int] | None = None) -> Checked:
    """Return the checked content of a sweep file. Raises SweepFileError with every violation; see :func:`examine`."""
    return examine(data, source, lines).checked()


def examine(data: Any, source: str, lines: Mapping[Path, int] | None = None) -> Examined:
    """Examine the content of a sweep file: the value that YAML or JSON gave, and the 1-based line of each key path.

    Raises SweepFileError if it is no mapping.
    """
    findings = Findings(lines)
    if not isinstance(data, dict):
        kind = {list: "a list", str: "text", type(None): "nothing"}.get(type(data), f"only {data!r}"[:60])
        hint = "a sweep file is a mapping: method, parameters, ..."
        raise SweepFileError(source, [Violation("", f"holds {kind}", hint)])
    document = plain(data, (), findings)
    return Examined(source, None if findings.violations else _read(document, findings), findings)


def _read(data: dict[str, Any], findings: Findings) -> SweepConfig:
    _check_keys(data, findings)
    texts = {key: _text(data, key, findings) for key in _TEXTS}
    parameters = _parameters(data, findings)
    metric = None if data.get("metric") is None else sections.read_metric(data["metric"], findings)
    # every agent reads a sweep file, few have one of these keys
    if sections.own_section(data, "metric") is not None:
        from slurmsweep.sweepfile.objectives import read_computed

        metric = read_computed(data, metric, findings)
    if (said := sections.own_section(data, "summary")) is not None:
        from slurmsweep.sweepfile.summary import read_history_summary

        summary = read_history_summary(said, has_metric=sections.names_metric(data), findings=findings)
        metric = metric and metric._replace(summary=summary)
    run_cap, extensions = data.get("run_cap"), read_extensions(data, parameters, metric, findings)
    config = SweepConfig(
        method=_method(data, findings),
        parameters=parameters,
        document=data,
        command=_command(data, parameters, extensions, findings),
        metric=metric,
        early_terminate=sections.read_early_terminate(data, findings),
        run_cap=None if run_cap is None else sections.read_count(run_cap, ("run_cap",), findings),
        slurm=sections.read_jobs("slurm", data.get("slurm"), findings),
        aws=sections.read_jobs("aws", data.get("aws"), findings),
        extensions=extensions,
        **texts,
    )
    if config.command and (extensions.conditions or extensions.computed):
        from slurmsweep.sweepfile.conditional import check_macros  # every agent reads a sweep file, few have such a key

        paths = [path for path, _ in leaves(parameters)] + [one.path for one in extensions.computed]
        check_macros(config.command, paths, extensions, findings)
    if config.method == "grid":
        _check_grid(config, findings)
    elif config.method == "bayes":
        _check_bayes(config, findings)
    return config


def _check_keys(data: dict[str, Any], findings: Findings) -> None:
    for key, value in data.items():
        if value is None and key in _KNOWN and key not in _OURS:
            hint = _indent(data) if key == "parameters" else ""
            findings.error((key,), "has no value", hint or "give it one, or remove it")
        elif key in sections.FOREIGN:
            sections.check_foreign(key, value, data, findings)
        elif key == "metrics" and ("metric" not in data or data.get("method") == "custom"):
            hint = "name one metric; docs/extensions.md shows weighted sums and the Pareto view of several"
            findings.error((key,), "several metrics need W&B's method custom, which is not supported here", hint)
        elif key not in _KNOWN:
            _check_unknown(key, value, data, findings)


def _check_unknown(key: str, value: Any, data: dict[str, Any], findings: Findings) -> None:
    """Report an unknown key: an error where the key that it resembles is missing, else a warning, as W&B's."""
    close = nearest(key, _KNOWN)
    if "\xa0" in key:
        problem = f"{shown(key)} has a character that only looks like a blank (U+00A0)"
        findings.error((key,), problem, "write blanks")
        return
    if close and close not in data:
        findings.error((key,), f"{shown(key)} is not a key of a sweep file", f"did you mean {close!r}?")
        return
    hint = _MEANT.get(key.lower().replace("-", "_"), "remove it")
    if key in KEYS:
        hint = "it looks like a part of a parameter: move it there"
    elif looks_like_parameter(value):
        hint = "it looks like a parameter: move it below parameters"
    elif close:
        hint = f"{close} is there, too: remove {key}"
    findings.warn((key,), f"{shown(key)} is not a key of a sweep file: ignored", hint)


def _indent(data: dict[str, Any]) -> str:
    """Return a hint for parameters that stand at the top level; empty if there are none."""
    names = [key.strip() for key, value in data.items() if key not in _KNOWN and looks_like_parameter(value)]
    return f"indent {', '.join(names)} below it" if names else ""


def _method(data: dict[str, Any], findings: Findings) -> str:
    method = data.get("method")
    if "method" not in data:
        findings.error(("method",), "is missing", f"write one of {', '.join(METHODS)}")
    elif method == "custom":
        problem = "custom leaves the search to a scheduler of W&B's, which is not supported here"
        findings.error(("method",), problem, f"use one of {', '.join(METHODS)}")
    elif method is not None and method not in METHODS:
        findings.error(("method",), f"{shown(method)} is not a method", suggest(method, METHODS))
    return str(method)


def _parameters(data: dict[str, Any], findings: Findings) -> dict[str, Parameter]:
    path: Path = ("parameters",)
    if "parameters" not in data:
        hint = "write what to search, such as {lr: {values: [0.1, 0.01]}}"
        findings.error(path, "is missing", f"write `parameters:` and {there}" if (there := _indent(data)) else hint)
    parameters = {} if data.get("parameters") is None else read_parameters(data["parameters"], path, findings)
    for name in filter(is_secret, parameters):
        hint = f"leave it out and export it, or name it in the command as ${{envvar:{name}}}"
        findings.warn((*path, name), "looks like a secret: it will stand in sweep.json and in tables", hint)
    return parameters


def _text(data: dict[str, Any], key: str, findings: Findings) -> str | None:
    value = data.get(key)
    if value is None or isinstance(value, str):
        return value or None
    hint = f"write {key}: {written(written(value))}" if isinstance(value, (bool, int, float)) else ""
    findings.error((key,), f"must be text, not {shown(value)}", hint)
    return None


def _command(
    data: dict[str, Any], parameters: dict[str, Parameter], extensions: Extensions, findings: Findings
) -> tuple[Any, ...] | None:
    command = data.get("command")
    if command is not None:
        paths = [path for path, _ in leaves(parameters)]
        paths += [one.path for one in extensions.computed]
        paths += [extensions.repeats.path] if extensions.repeats else []
        names = {".".join(path[:end]) for path in paths for end in range(1, len(path) + 1)}
        check_command(command, names, ("command",), findings)
    elements = tuple(command) if isinstance(command, list) and command else None
    if needs_program(elements) and not data.get("program"):
        findings.warn(("program",), "is missing: the command cannot be run", "name the training script")
    return elements


def _check_bayes(config: SweepConfig, findings: Findings) -> None:
    """Refuse a bayes search that W&B's engine (``sweeps/bayes_search.py``) would refuse at the first run."""
    if not sections.names_metric(config.document):
        problem = "is missing: bayes needs to know what to optimise"
        findings.error(("metric",), problem, "add {name: ..., goal: minimize}")
    if config.parameters and all(isinstance(leaf, Constant) for _, leaf in leaves(config.parameters)):
        problem = "are all constant: bayes needs at least one parameter to search"
        findings.error(("parameters",), problem, "give one of them values, or min and max")


def _check_grid(config: SweepConfig, findings: Findings) -> None:
    """Refuse parameters that cannot be listed, as W&B's engine (``grid_search.py``) would at the first run.

    Refuse a grid of more points than trials can be numbered, too.
    """
    linked = {path for group in config.extensions.linked for path in group}
    # where one of these does not exist it multiplies nothing: the grid itself counts exactly
    conditional = {path for path, _ in config.extensions.conditions}
    digits = 0.0
    for path, parameter in leaves(config.parameters):
        here, values = tuple(name for one in path for name in ("parameters", one)), 1.0
        if isinstance(parameter, IntUniform):
            values = parameter.high - parameter.low + 1
        elif isinstance(parameter, Continuous):
            if parameter.kind != "uniform" or parameter.q is None:
                hint = "use values, or q_uniform, or method: random"
                findings.error(here, "a grid cannot list the values of this distribution", hint)
            values = max(1.0, (parameter.second - parameter.first) / (parameter.q or math.inf))
        elif isinstance(parameter, Categorical) and path not in linked:
            values = _check_values(parameter, here, findings)
        digits += 0.0 if path in conditional else math.log10(values)
    if digits > MOST_DIGITS:
        problem = f"are a grid of about 10^{digits:.0f} points"
        findings.error(("parameters",), problem, "use method: random, or fewer values")


def _check_values(parameter: Categorical, path: Path, findings: Findings) -> int:
    """Return how many values a grid takes of a list, and say which it leaves out: W&B takes equal ones for the same."""
    if parameter.probabilities:
        hint = "remove them, or use method: random"
        findings.error(path, "a grid takes every value, so probabilities mean nothing", hint)
    values = parameter.values
    with suppress(TypeError):  # lists and mappings have no hash
        if len(set(values)) == len(values):  # a list may have a million entries, and seldom has equal ones
            return len(values)
    seen, again = set(), []
    for value in values:
        key = identity(value)
        if key in seen:
            again.append(value)
        seen.add(key)
    if again:
        told = ", ".join(map(shown, again[:_MOST_SHOWN])) + (", ..." if len(again) > _MOST_SHOWN else "")
        hint = "the first one of equal values stays, as it is written"
        findings.warn((*path, "values"), f"{told}: there already, so left out", hint)
    return len(seen)
