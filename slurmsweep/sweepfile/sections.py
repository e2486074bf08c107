"""The sections of a sweep file beside its parameters: metric, early_terminate, slurm, and keys for W&B's services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.findings import did_you_mean, nearest, shown, suggest, written
from slurmsweep.sweepfile.plain import is_finite, is_number
from slurmsweep.sweepfile.space import looks_like_parameter

if TYPE_CHECKING:
    from slurmsweep.sweepfile.findings import Findings, Path
    from slurmsweep.sweepfile.summary import HistorySummary

GOALS = ("minimize", "maximize")
_IMPUTES = ("latest", "best", "worst")
_METRIC_WORDS = {"goal": GOALS, "impute": _IMPUTES, "impute_while_running": (*_IMPUTES, "false")}

#: Keys for W&B's own services. They are checked and have no effect here.
FOREIGN = ("job", "image_uri", "apiVersion", "kind", "controller", "scheduler")


class Objective(NamedTuple):
    """A number by which trials are compared.

    Attributes:
        name: the name under which the script logs it, with dots into nested values; any name if it is computed.
        goal: minimize or maximize.
        expression: how it is computed from logged metrics; None if the script logs the number itself.
        summary: which value of a trial's history counts; None for the last one, or what the script's own summary says.
    """

    name: str
    goal: str = "minimize"
    expression: str | None = None
    summary: HistorySummary | None = None


class Metric(NamedTuple):
    """The objective of the search.

    Attributes:
        name, goal, expression, summary: see :class:`Objective`.
        target: a trial that ends with this value, or a better one, ends the sweep; None for none.
        impute: the value used for a failed trial: latest, best or worst.
        impute_while_running: the value used for a running trial: latest, best, worst, or the text "false" for none.
    """

    name: str
    goal: str = "minimize"
    expression: str | None = None
    target: float | None = None
    impute: str = "worst"
    impute_while_running: str = "false"
    summary: HistorySummary | None = None

    @property
    def objective(self) -> Objective:
        """Return the part that compares trials, without the settings of the search."""
        return Objective(self.name, self.goal, self.expression, self.summary)

    def is_reached(self, value: float | None) -> bool:
        """Return whether a value is the target or better; False without a target, and for None and NaN."""
        if self.target is None or value is None:
            return False
        return value >= self.target if self.goal == "maximize" else value <= self.target


#: The largest whole number that is read; with other factors it is still a float.
MOST_TRIALS = 10**100

#: The most logged values that a band may ask for; floats hold such a number and its multiples exactly.
_MOST_VALUES = 10**12


class EarlyTerminate(NamedTuple):
    """Hyperband stopping (``sweeps/hyperband_stopping.py`` 0.3.0).

    Attributes:
        min_iter: the first band, as a number of logged values; None if only ``max_iter`` and ``s`` are given.
        max_iter: the last band; together with ``s`` it overrides ``min_iter``.
        s: the number of bands counted down from ``max_iter``.
        eta: the ratio of bands; about one of ``eta`` trials survives each band.
        strict: compare the value at the band, not the best value so far. True by default as in W&B's code (its
            documentation says false).
    """

    min_iter: int | None = None
    max_iter: int | None = None
    s: int | None = None
    eta: float = 3
    strict: bool = True


def own_section(data: dict[str, Any], key: str) -> Any:
    """Return a section below ``slurmsweep:`` of a sweep file without checking it; None if there is none."""
    ours = data.get("slurmsweep")
    return ours.get(key) if isinstance(ours, dict) else None


def names_metric(data: dict[str, Any]) -> bool:
    """Return whether a sweep file names a metric, under W&B's key or under ``slurmsweep:``."""
    return "metric" in data or own_section(data, "metric") is not None


def read_metric(value: Any, findings: Findings) -> Metric | None:
    """Return the ``metric`` section; mistakes are added to ``findings``."""
    path: Path = ("metric",)
    if not isinstance(value, dict):
        meant = {"name": value if isinstance(value, str) else "loss", "goal": "minimize"}
        hint = f"write {written(meant)}"
        findings.error(path, f"must be a mapping, not {shown(value)}", hint)
        return None
    _check_keys(value, path, ("name", "target", *_METRIC_WORDS), findings)
    for key, words in _METRIC_WORDS.items():
        word = value.get(key, words[0])
        if word not in words:
            hint = 'write "false", in quotes' if word is False and "false" in words else did_you_mean(word, words)
            findings.error((*path, key), f"{shown(word)} is not one of {', '.join(words)}", hint)
    name = value.get("name")
    if not isinstance(name, str) or not name:
        problem = "is missing" if "name" not in value else f"must be text, not {shown(name)}"
        findings.error((*path, "name"), problem, "name what the script logs")
    target = value.get("target")
    if "target" in value and not (is_number(target) and (isinstance(target, float) or is_finite(target))):
        findings.error((*path, "target"), f"{shown(target)} is not a number")
    return Metric(str(name), target=target, **{key: value[key] for key in _METRIC_WORDS if key in value})


def read_early_terminate(data: dict[str, Any], findings: Findings) -> EarlyTerminate | None:
    """Return the ``early_terminate`` section, or None if it is missing or wrong; mistakes are added to ``findings``."""
    path: Path = ("early_terminate",)
    section = data.get("early_terminate")
    if section is None:
        return None
    if not names_metric(data):
        findings.error(path, "needs a metric to compare trials by", "add metric: {name: ..., goal: ...}")
    if not isinstance(section, dict):
        findings.error(path, f"must be a mapping, not {shown(section)}", "such as {type: hyperband, min_iter: 3}")
        return None
    before = len(findings.violations)
    _check_keys(section, path, ("type", "min_iter", "max_iter", "s", "eta", "strict"), findings)
    _check_type(section, path, ("hyperband",), findings)
    keys = [key for key in ("min_iter", "max_iter", "s") if key in section]
    numbers = {key: read_count(section[key], (*path, key), findings) for key in keys}
    eta, strict = section.get("eta", 3), section.get("strict", True)
    if not is_finite(eta) or not eta > 1:
        findings.error((*path, "eta"), f"{shown(eta)} is not a number greater than 1")
    if not isinstance(strict, bool):
        findings.error((*path, "strict"), f"{shown(strict)} is neither true nor false")
    if len(findings.violations) > before:
        return None
    bands = EarlyTerminate(**numbers, eta=eta, strict=strict)
    _check_bands(bands, path, findings)
    return bands


def read_count(value: Any, path: Path, findings: Findings) -> int | None:
    """Return a whole number greater than 0, for 2 and 2.0 alike as in JSON schema; None and a mistake for others."""
    if is_number(value) and 1 <= value <= MOST_TRIALS and (isinstance(value, int) or value.is_integer()):
        return int(value)
    too_large = is_number(value) and value > MOST_TRIALS
    problem = "is too large a number" if too_large else f"{shown(value)} is not a whole number greater than 0"
    findings.error(path, problem)
    return None


def _check_bands(bands: EarlyTerminate, path: Path, findings: Findings) -> None:
    if bands.max_iter is None and bands.min_iter is None:
        findings.error(path, "hyperband needs min_iter, or max_iter and s", "add min_iter: 3")
    elif max(bands.max_iter or 0, bands.min_iter or 0) > _MOST_VALUES:
        findings.error(
            path, "has a band that no trial reaches", "name the number of logged values, such as min_iter: 3"
        )
    elif bands.max_iter is not None and bands.s is None:
        findings.error(path, "max_iter needs s, the number of bands", "add s: 2, or use min_iter alone")
    elif bands.max_iter is not None and bands.max_iter < bands.eta:
        problem = f"has no band: max_iter {bands.max_iter} is less than eta {bands.eta:g}"
        findings.error(path, problem, "raise max_iter, or lower eta")


#: Sections with options of jobs, and what they are options of.
JOB_SECTIONS = {"slurm": "sbatch options", "aws": "options of jobs in AWS"}


def read_jobs(section: str, value: Any, findings: Findings) -> dict[str, Any]:
    """Return a section of :data:`JOB_SECTIONS`: one plain value for each option. A backend checks their names.

    What is wrong is reported, and left out.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        findings.error((section,), f"must be a mapping of {JOB_SECTIONS[section]}", "write {time: 30, mem: 4G}")
        return {}
    options: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            findings.error((section, key), f"{shown(key)} is not the name of an option", "names are text")
        elif isinstance(item, list):
            findings.error((section, key), "must be one plain value", "such as mem: 4G; several stand in one text: a,b")
        elif not isinstance(item, (str, int, float, bool)):
            findings.error((section, key), "must be one plain value", "such as mem: 4G")
        elif not f"{key}{item}".isprintable():
            where = "which could end the line of a batch script" if section == "slurm" else "which no option has"
            findings.error((section, repr(key)[1:-1]), f"holds a control character, {where}")
        else:
            options[key] = item
    return options


def check_foreign(key: str, value: Any, data: dict[str, Any], findings: Findings) -> None:
    """Check a key for W&B's own services: an error if it is wrong or would change the search, else a warning."""
    if key == "scheduler":
        _check_scheduler(value, data, findings)
    elif key == "kind" and value != "sweep":
        findings.error((key,), f"{shown(value)} is not a sweep", "write kind: sweep, or remove it")
    elif key == "controller" and not isinstance(value, dict):
        findings.error((key,), f"must be a mapping, not {shown(value)}", "it has no effect here: remove it")
    elif key == "controller" and value.get("type") not in ("local", "cloud"):
        _check_type(value, (key,), ("local", "cloud"), findings)
    elif key in ("job", "image_uri", "apiVersion") and not isinstance(value, str):
        findings.error((key,), f"must be text, not {shown(value)}", "it has no effect here: remove it")
    else:
        findings.warn((key,), "has no effect here", "it tells W&B's own services what to do")


def _check_scheduler(value: Any, data: dict[str, Any], findings: Findings) -> None:
    """Check the section of two programs: ``engine`` is a search of its own, all else is for W&B Launch."""
    path: Path = ("scheduler",)
    engine = value.get("engine") if isinstance(value, dict) else None
    if engine is None:
        hint = "num_workers, trials at a time, is --width in Slurm and --jobs elsewhere"
        findings.warn(path, "has no effect here: it is for W&B Launch", hint)
    elif engine != "wandb":
        findings.error(path, "leaves the search to a scheduler of W&B's, which is not supported here", "remove it")
    elif "early_terminate" in data:
        findings.error(path, "cannot be used together with early_terminate", "remove one of the two")
    elif isinstance(data.get("controller"), dict) and data["controller"].get("type") == "local":
        findings.error(path, "cannot be used together with controller: {type: local}", "remove one of the two")
    else:
        findings.warn(path, "has no effect here", "grid, random and bayes need no scheduler")


def _check_type(section: dict[str, Any], path: Path, types: tuple[str, ...], findings: Findings) -> None:
    """Report a section that has no type, or a type other than ``types``."""
    if "type" not in section:
        findings.error(path, "has no type", f"add type: {' or '.join(types)}")
    elif section["type"] not in types:
        findings.error(
            (*path, "type"), f"{shown(section['type'])} is not a type of {path[-1]}", suggest(section["type"], types)
        )


def _check_keys(section: dict[str, Any], path: Path, known: tuple[str, ...], findings: Findings) -> None:
    """Report unknown keys: an error for a slip that would change the meaning, else a warning as W&B's."""
    for key, value in section.items():
        if key in known:
            continue
        close = nearest(key, known)
        problem = f"{shown(key)} is not a key of {path[-1]}"
        if looks_like_parameter(value):
            findings.error((*path, key), problem, "it looks like a parameter: move it below parameters")
        elif close and close not in section:
            findings.error((*path, key), problem, suggest(key, known))
        else:
            hint = f"{close} is there, too: remove {key}" if close else f"known are {', '.join(known)}"
            findings.warn((*path, key), f"{problem}: ignored", hint)
