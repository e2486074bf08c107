"""The base of a sweep (``slurmsweep: {base: ...}``) as it is shown: which constants are from which trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.report.figures import value_text
from slurmsweep.sweepfile.space import Constant, leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.sweepfile.config import SweepConfig


def base_document(config: SweepConfig) -> dict[str, Any] | None:
    """Return what was found when the sweep was made, with the values; None where it has no base."""
    base = config.extensions.base
    if base is None or base.found is None:
        return None
    values = {".".join(path): p.value for path, p in leaves(config.parameters) if isinstance(p, Constant)}
    taken = {name: values[name] for name in base.found["parameters"] if name in values}
    return {"metric": None, "value": None, **base.found, "parameters": taken}


def base_text(document: Mapping[str, Any]) -> str:
    """Return a base in words: ``lr=0.1 from trial 7 of sweep abcd1234, loss 0.12``."""
    values = ", ".join(f"{name}={value_text(value)}" for name, value in document["parameters"].items())
    metric = "" if document["metric"] is None else f", {document['metric']} {value_text(document['value'])}"
    return f"{values or 'nothing'} from trial {document['trial']} of sweep {document['sweep']}{metric}"
