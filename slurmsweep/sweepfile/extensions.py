"""The ``slurmsweep:`` key of a sweep file: features that users of W&B ask for and that its language does not have.

A file without the key is a W&B file. W&B warns of the unknown key and ignores it; docs/extensions.md shows what W&B
then does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.findings import shown, suggest
from slurmsweep.sweepfile.space import Categorical, Names, Parameter, leaves

if TYPE_CHECKING:
    from slurmsweep.sweepfile.base import Base
    from slurmsweep.sweepfile.findings import Findings, Path
    from slurmsweep.sweepfile.presence import Computed, Condition
    from slurmsweep.sweepfile.repeats import Repeats
    from slurmsweep.sweepfile.rules import Known
    from slurmsweep.sweepfile.rungs import Rungs
    from slurmsweep.sweepfile.sections import Metric, Objective
    from slurmsweep.sweepfile.snapshot import SnapshotRules

#: One rule: some parameters, each with values. A point that has one of the values of each parameter is left out.
Exclusion = tuple[tuple[Names, tuple[Any, ...]], ...]

ORDERS = ("wandb", "shuffled")
_KEYS = (
    "order",
    "linked",
    "exclude",
    "conditions",
    "computed",
    "metric",
    "summary",
    "pareto",
    "rungs",
    "hydra",
    "base",
    "snapshot",
    "repeats",
)


class Extensions(NamedTuple):
    """The content of the ``slurmsweep:`` key.

    Attributes:
        order: ``wandb`` (sorted names, the last varies fastest) or ``shuffled`` (each point once, in an order that
            depends on the id of the sweep).
        linked: groups of parameters that change together instead of as a product.
        exclude: rules for points that are left out.
        pareto: the two or three numbers of the Pareto view; empty for none.
        rungs: the parts in which trials run, after each of which only the best go on; None for whole trials.
        hydra: whether the macros for Hydra write its grammar; None where the file does not say, as for W&B: a new sweep
            says it (:mod:`slurmsweep.control.creation.hydra_program`).
        conditions: the parameters that exist only with others, each behind those that its rule names.
        computed: the parameters that are computed from others, each behind those that it uses.
        base: the trial of another sweep whose values parameters have that the file lacks; None for none.
        snapshot: what the copy of the code is made of from which trials run; None where they run from the folder.
        repeats: the runs of each point; None where a point runs once.
    """

    order: str = "wandb"
    linked: tuple[tuple[Names, ...], ...] = ()
    exclude: tuple[Exclusion, ...] = ()
    pareto: tuple[Objective, ...] = ()
    rungs: Rungs | None = None
    hydra: bool | None = None
    conditions: tuple[Condition, ...] = ()
    computed: tuple[Computed, ...] = ()
    base: Base | None = None
    snapshot: SnapshotRules | None = None
    repeats: Repeats | None = None

    @property
    def runs_each(self) -> int:
        """How many trials each point is: its runs; 1 where points run once."""
        return len(self.repeats.values) if self.repeats else 1


def read_extensions(
    data: dict[str, Any], parameters: dict[str, Parameter], metric: Metric | None, findings: Findings
) -> Extensions:
    """Return the ``slurmsweep`` section without its ``metric`` and ``summary``, which are part of the sweep's metric.

    Mistakes are added to ``findings``.
    """
    path: Path = ("slurmsweep",)
    value = data.get("slurmsweep")
    if value is None:
        return Extensions()
    if not isinstance(value, dict):
        findings.error(path, "must be a mapping", f"it knows {', '.join(_KEYS)}")
        return Extensions()
    findings.keys(path, value, _KEYS, "is not an extension of slurmsweep")
    known: Known = {".".join(names): (names, parameter) for names, parameter in leaves(parameters)}
    is_conditional = value.get("conditions") is not None or value.get("computed") is not None
    # every agent reads a sweep file, few have one of these keys
    if is_conditional:
        from slurmsweep.sweepfile.conditional import places_of_computed

        known = {name: (at, None) for name, at in places_of_computed(value.get("computed"), parameters).items()} | known
    order = _read_order(value.get("order", "wandb"), str(data.get("method")), findings)
    linked = _read_linked(value.get("linked"), known, findings)
    exclude = _read_exclude(value.get("exclude"), known, findings)
    read = Extensions(order, linked, exclude, hydra=_read_hydra(value.get("hydra"), findings))
    if is_conditional:
        from slurmsweep.sweepfile.conditional import read_conditional

        conditions, computed = read_conditional(value, known, linked, findings)
        read = read._replace(conditions=conditions, computed=computed)
    if value.get("snapshot") is not None:
        from slurmsweep.sweepfile.snapshot import read_snapshot

        read = read._replace(snapshot=read_snapshot(value["snapshot"], findings))
    if value.get("pareto") is not None:
        from slurmsweep.sweepfile.objectives import read_pareto

        read = read._replace(pareto=read_pareto(value["pareto"], metric, findings))
    if value.get("rungs") is not None:
        from slurmsweep.sweepfile.rungs import read_rungs

        read = read._replace(rungs=read_rungs(value["rungs"], data, metric, findings))
    if value.get("base") is not None:
        from slurmsweep.sweepfile.base import read_base

        read = read._replace(base=read_base(value["base"], findings))
    if value.get("repeats") is not None:
        from slurmsweep.sweepfile.repeats import read_repeats

        read = read._replace(repeats=read_repeats(value["repeats"], data, parameters, metric, findings))
    return read


def _read_order(order: Any, method: str, findings: Findings) -> str:
    path: Path = ("slurmsweep", "order")
    if order not in ORDERS:
        findings.error(path, f"{shown(order)} is not an order", suggest(order, ORDERS))
    elif order != "wandb" and method != "grid":
        findings.error(path, f"a {method} search has no order to shuffle", "remove it, or use method: grid")
    return str(order)


def _read_linked(value: Any, known: Known, findings: Findings) -> tuple[tuple[Names, ...], ...]:
    path: Path = ("slurmsweep", "linked")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(group, list) and len(group) > 1 for group in value):
        findings.error(path, "must be a list of groups of two or more names", "such as [[lr, batch_size]]")
        return ()
    names = [name for group in value for name in group]
    for name in sorted({str(name) for name in names if names.count(name) > 1}):
        findings.error(path, f"{name} is linked twice", "a parameter can be in one group only")
    groups = [_read_group(group, (*path, position), known, findings) for position, group in enumerate(value)]
    return tuple(group for group in groups if group)


def _read_group(group: list[Any], path: Path, known: Known, findings: Findings) -> tuple[Names, ...]:
    counts = {}
    for name in group:
        if not isinstance(name, str) or name not in known:
            findings.error(path, f"{shown(name)} is not a parameter", suggest(name, known))
            return ()
        parameter = known[name][1]
        if not isinstance(parameter, Categorical) or parameter.probabilities:
            hint = "linked parameters have `values`, without probabilities"
            findings.error(path, f"{name} has no list of values", hint)
            return ()
        counts[name] = len(parameter.values)
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in counts.items())
        findings.error(path, f"linked parameters need as many values each: {told}", "the first goes with the first")
        return ()
    return tuple(known[name][0] for name in group)


def _read_hydra(value: Any, findings: Findings) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    hint = "false writes values as W&B does, true in Hydra's grammar"
    findings.error(("slurmsweep", "hydra"), f"must be true or false, not {value!r}"[:200], hint)
    return None


def _read_exclude(value: Any, known: Known, findings: Findings) -> tuple[Exclusion, ...]:
    path: Path = ("slurmsweep", "exclude")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(rule, dict) and rule for rule in value):
        findings.error(path, "must be a list of mappings", "such as [{optimizer: sgd, lr: [0.1, 1.0]}]")
        return ()
    from slurmsweep.sweepfile.rules import read_rule

    never = "so the rule would never apply"
    return tuple(read_rule(rule, known, (*path, position), never, findings) for position, rule in enumerate(value))
