"""The sections of a sweep file beside its parameters: metric, early_terminate, slurm, and W&B's own business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.findings import suggest
from slurmsweep.sweepfile.plain import is_finite, is_number

if TYPE_CHECKING:
    from slurmsweep.sweepfile.findings import Findings, Path

GOALS = ("minimize", "maximize")
_IMPUTES = ("latest", "best", "worst")
_METRIC_WORDS = {"goal": GOALS, "impute": _IMPUTES, "impute_while_running": (*_IMPUTES, "false")}

#: Keys that tell W&B's own services what to do. They are checked, and have no effect here.
FOREIGN = ("job", "image_uri", "apiVersion", "kind", "controller", "scheduler")


class Objective(NamedTuple):
    """A number that trials are judged by.

    Attributes:
        name: as the script logs it, and dots reach into nested values; a name of its own where it is computed.
        goal: minimize or maximize.
        expression: of what the script logs; None where it logs the number itself.
    """

    name: str
    goal: str = "minimize"
    expression: str | None = None


class Metric(NamedTuple):
    """What the search optimises.

    Attributes:
        name, goal, expression: as of an :class:`Objective`.
        target: a run that reaches it ends the search; None for none.
        impute: what a failed trial counts as: latest, best or worst.
        impute_while_running: what a running trial counts as: latest, best, worst, or the text "false" for not at all.
    """

    name: str
    goal: str = "minimize"
    expression: str | None = None
    target: float | None = None
    impute: str = "worst"
    impute_while_running: str = "false"

    @property
    def objective(self) -> Objective:
        """What trials are judged by, without what the search makes of it."""
        return Objective(self.name, self.goal, self.expression)


class EarlyTerminate(NamedTuple):
    """Hyperband stopping (``sweeps/hyperband_stopping.py`` 0.3.0).

    Attributes:
        min_iter: first band, in times the metric was logged; None where ``max_iter`` and ``s`` are given alone.
        max_iter: with ``s`` it wins over ``min_iter``.
        s: number of bands counted down from ``max_iter``.
        eta: ratio of bands; about one of ``eta`` trials survives each.
        strict: compare the value at the band, not the best one up to it. True, as in W&B's code (its documentation says
            false).
    """

    min_iter: int | None = None
    max_iter: int | None = None
    s: int | None = None
    eta: float = 3.0
    strict: bool = True


def computed_section(data: dict[str, Any]) -> Any:
    """``metric`` below the ``slurmsweep:`` key of a sweep file, whatever it is; None where there is none."""
    ours = data.get("slurmsweep")
    return ours.get("metric") if isinstance(ours, dict) else None


def names_metric(data: dict[str, Any]) -> bool:
    """Whether a sweep file says what trials are judged by: under W&B's key or under ours."""
    return "metric" in data or computed_section(data) is not None


def read_metric(value: Any, findings: Findings) -> Metric | None:
    """The ``metric`` section; what is wrong with it goes to ``findings``."""
    path: Path = ("metric",)
    if not isinstance(value, dict):
        hint = (
            f"write {{name: {value}, goal: minimize}}"
            if isinstance(value, str)
            else "write {name: loss, goal: minimize}"
        )
        findings.error(path, f"must be a mapping, not {value!r}"[:200], hint)
        return None
    _check_keys(value, path, ("name", "target", *_METRIC_WORDS), findings)
    _check_words(value, path, findings)
    name = value.get("name")
    if not isinstance(name, str) or not name:
        problem = "is missing" if "name" not in value else f"must be text, not {name!r}"[:200]
        findings.error((*path, "name"), problem, "name what the script logs")
    target = value.get("target")
    if "target" in value and not is_number(target):
        findings.error((*path, "target"), f"{target!r} is not a number"[:200])
    words = {key: value[key] for key in _METRIC_WORDS if key in value}
    return Metric(str(name), target=target, **words)


def _check_words(section: dict[str, Any], path: Path, findings: Findings) -> None:
    for key, words in _METRIC_WORDS.items():
        word = section.get(key, words[0])
        if word not in words:
            hint = 'write "false", in quotes' if word is False and "false" in words else suggest(word, words)
            findings.error((*path, key), f"{word!r} is not one of {', '.join(words)}"[:200], hint)


def read_early_terminate(value: Any, findings: Findings) -> EarlyTerminate | None:
    """The ``early_terminate`` section; what is wrong with it goes to ``findings``."""
    path: Path = ("early_terminate",)
    if not isinstance(value, dict) or value.get("type") != "hyperband":
        findings.error(path, "must be a mapping with type: hyperband", "such as {type: hyperband, min_iter: 3}")
        return None
    before = len(findings.violations)
    _check_keys(value, path, ("type", "min_iter", "max_iter", "s", "eta", "strict"), findings)
    keys = [key for key in ("min_iter", "max_iter", "s") if key in value]
    numbers = {key: read_count(value[key], (*path, key), findings) for key in keys}
    eta = value.get("eta", 3.0)
    if not is_finite(eta) or not eta > 1:
        findings.error((*path, "eta"), f"{eta!r} is not a number greater than 1"[:200])
    strict = value.get("strict", True)
    if not isinstance(strict, bool):
        findings.error((*path, "strict"), f"{strict!r} is neither true nor false"[:200])
    if len(findings.violations) > before:
        return None
    section = EarlyTerminate(**numbers, eta=eta, strict=strict)
    _check_bands(section, path, findings)
    return section


def read_count(value: Any, path: Path, findings: Findings) -> int | None:
    """Return a whole number greater than 0, 2 and 2.0 alike (JSON schema's integer); None where the value is wrong."""
    if is_number(value) and value >= 1 and (isinstance(value, int) or value.is_integer()):
        return int(value)
    findings.error(path, f"{value!r} is not a whole number greater than 0"[:200])
    return None


def _check_bands(section: EarlyTerminate, path: Path, findings: Findings) -> None:
    if section.max_iter is None and section.min_iter is None:
        findings.error(path, "hyperband needs min_iter, or max_iter and s", "add min_iter: 3")
    elif section.max_iter is not None and section.s is None:
        findings.error(path, "max_iter needs s, the number of bands", "add s: 2, or use min_iter alone")
    elif section.max_iter is not None and section.max_iter < section.eta:
        problem = f"has no band: max_iter {section.max_iter} is less than eta {section.eta:g}"
        findings.error(path, problem, "raise max_iter, or lower eta")


def read_slurm(value: Any, findings: Findings) -> dict[str, Any]:
    """The ``slurm`` section: option name to one plain value. Which options there are is ``slurm/``'s knowledge."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        findings.error(("slurm",), "must be a mapping of sbatch options", "write {time: 30, mem: 4G}")
        return {}
    for key, item in value.items():
        if not isinstance(item, (str, int, float, bool)):
            findings.error(("slurm", key), "must be one plain value", "such as mem: 4G")
        elif not f"{key}{item}".isprintable():
            findings.error(
                ("slurm", repr(key)[1:-1]), "holds a control character, which could end the line of a batch script"
            )
    return value


def check_foreign(key: str, value: Any, data: dict[str, Any], findings: Findings) -> None:
    """A key that is W&B's own business: harmless here, unless it is wrong or changes what the search is."""
    if key == "scheduler":
        _check_scheduler(value, data, findings)
    elif key == "kind" and value != "sweep":
        findings.error((key,), f"{value!r} is not a sweep"[:200], "write kind: sweep, or remove it")
    elif key == "controller" and not (isinstance(value, dict) and value.get("type") in ("local", "cloud")):
        findings.error((key,), "must be a mapping with type: local or cloud", "it has no effect here: remove it")
    elif key in ("job", "image_uri", "apiVersion") and not isinstance(value, str):
        findings.error((key,), f"must be text, not {value!r}"[:200], "it has no effect here: remove it")
    else:
        findings.warn((key,), "has no effect here", "it tells W&B's own services what to do")


def _check_scheduler(value: Any, data: dict[str, Any], findings: Findings) -> None:
    path: Path = ("scheduler",)
    if value != {"engine": "wandb"}:
        findings.error(path, "leaves the search to a scheduler of W&B's, which is not supported here", "remove it")
    elif "early_terminate" in data:
        findings.error(path, "cannot be used together with early_terminate", "remove one of the two")
    elif isinstance(data.get("controller"), dict) and data["controller"].get("type") == "local":
        findings.error(path, "cannot be used together with controller: {type: local}", "remove one of the two")
    else:
        findings.warn(path, "has no effect here", "grid, random and bayes need no scheduler")


def _check_keys(section: dict[str, Any], path: Path, known: tuple[str, ...], findings: Findings) -> None:
    for key in section:
        if key not in known:
            findings.error((*path, key), f"{key!r} is not a key of {path[-1]}", suggest(key, known))
