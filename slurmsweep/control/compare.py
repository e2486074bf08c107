"""Gather what a comparison shows of one sweep: counts, what its trials came to and when, its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.control.report import masked_config
from slurmsweep.report.page.comparison import ComparedSweep
from slurmsweep.search.flat import flat

if TYPE_CHECKING:
    from slurmsweep.report.summary import SweepSummary


def compared(summary: SweepSummary) -> ComparedSweep:
    """Return what a comparison shows of a sweep. Costs one look at each trial, and no file of theirs."""
    config = summary.manifest.config
    ended: dict[int, tuple[float, float]] = {}
    begun, seconds = float("inf"), 0.0
    for number in summary.view.trials:
        row = summary.trial(number)
        seconds += row.seconds or 0.0
        if row.started is not None and not row.origin:
            begun = min(begun, row.started)
            if row.metric is not None and row.over_at is not None:
                ended[number] = row.over_at, row.metric
    if config.extensions.repeats:
        from slurmsweep.learning.points import point_values  # few sweeps have repeats

        ended = {
            one.number: (max(ended[run][0] for run in one.values), one.worth)
            for one in point_values(config, summary.view).values()
            if one.worth is not None and one.values.keys() <= ended.keys()
        }
    best, document = summary.best(), masked_config(config.document)
    rest = flat({key: value for key, value in document.items() if key != "parameters"})
    forms = {f"parameters.{name}": form for name, form in document.get("parameters", {}).items()}  # one value each
    return ComparedSweep(
        sweep=summary.manifest.sweep_id,
        title=config.name or summary.manifest.sweep_id,
        metric=config.metric.name if config.metric else None,
        goal=config.metric.goal if config.metric else "minimize",
        counts={word: n for word, n in summary.words().items() if n},
        ended=sorted((when - begun, value) for when, value in ended.values()),
        best=None if best is None or best.metric is None else (best.metric, best.number),
        params={} if best is None else best.params,
        seconds=seconds,
        config=dict(rest) | forms,
    )
