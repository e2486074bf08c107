"""Gather what a comparison shows of one sweep: counts, what its trials came to and when, its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.control.views.report import masked_config
from slurmsweep.report.page.comparison import ComparedSweep
from slurmsweep.search.flat import flat

if TYPE_CHECKING:
    from slurmsweep.report.summary import SweepSummary


def compared(summary: SweepSummary) -> ComparedSweep:
    """Return what a comparison shows of a sweep. Costs one look at each trial, and no file of theirs.

    Where points run several times they are compared, and none of their runs.
    """
    config = summary.manifest.config
    ended: list[tuple[float, float]] = []
    begun, seconds = float("inf"), 0.0
    for number in summary.view.trials:
        row = summary.trial(number)
        seconds += row.seconds or 0.0
        if row.started is not None and not row.origin:
            begun = min(begun, row.started)
            if row.is_ranked and row.metric is not None and row.over_at is not None and row.point is None:
                ended.append((row.over_at, row.metric))
    points = summary.ranked() if config.extensions.repeats else ()
    ended += [(row.over_at, row.metric) for row in points if row.metric is not None and row.over_at is not None]
    best, document = summary.best(), masked_config(config.document)
    rest = flat({key: value for key, value in document.items() if key != "parameters"})
    forms = {f"parameters.{name}": form for name, form in document.get("parameters", {}).items()}  # one value each
    return ComparedSweep(
        sweep=summary.manifest.sweep_id,
        title=config.name or summary.manifest.sweep_id,
        metric=config.metric.name if config.metric else None,
        goal=config.metric.goal if config.metric else "minimize",
        counts={word: n for word, n in summary.words().items() if n},
        ended=sorted((when - begun, value) for when, value in ended),
        best=None if best is None or best.metric is None else (best.metric, best.number),
        point=best.point if best else None,
        params={} if best is None else best.params,
        seconds=seconds,
        config=dict(rest) | forms,
    )
