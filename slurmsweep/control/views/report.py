"""Gather what a report shows of a sweep: trials, what they logged, importances, failures, what was asked and used."""

from __future__ import annotations

import os
import shlex
import time
from array import array
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from slurmsweep.control.failures.groups import failure_groups, with_errors
from slurmsweep.control.failures.log_end import last_words
from slurmsweep.control.views.metrics_so_far import with_metric_so_far
from slurmsweep.errors import UsageError
from slurmsweep.learning.importance import importance
from slurmsweep.learning.rungs import ends_at_rungs
from slurmsweep.metrics.history import history
from slurmsweep.metrics.reported import number, reach
from slurmsweep.report.by_hand import shell_command
from slurmsweep.report.figures import counted
from slurmsweep.report.page.content import Curve, FailureTail, ReportContent, ReportTrial, guessed_goal
from slurmsweep.search.flat import flat
from slurmsweep.sizing.efficiency import efficiency_document
from slurmsweep.sizing.usage import Ledger
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.secrets import masked
from slurmsweep.sweepfile.sections import Objective

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slurmsweep.control.session import Session
    from slurmsweep.report.summary import SweepSummary, TrialRow
    from slurmsweep.sizing.walltime import Bounds
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.sweepfile.expression import Expression

#: Trials of a report; of larger sweeps half of these are the best, and half are taken evenly.
MOST_TRIALS = 10_000

#: Values of one metric in a report, those of one trial at least; metrics of which there are curves where the sweep file
#: names fewer, and metrics in all.
_MOST_POINTS, _LEAST_EACH, _CURVES, _MOST_METRICS = 1_500_000, 20, 2, 12

#: Groups of failures, lines and bytes of a log's end, bytes of all of them.
_GROUPS, _LINES, _TAIL, _TAILS = 40, 20, 16_000, 200_000

#: Best trials that stand in a table.
_BEST = 12


@dataclass(frozen=True)
class Histories:
    """Whose histories a report has: of the ``best`` so many trials; None for all, 0 for none."""

    best: int | None = None

    @classmethod
    def parse(cls, text: str) -> Histories:
        """Return what ``all``, ``none`` or ``best:200`` says. Raises UsageError."""
        words = {"all": None, "none": 0}
        if text in words:
            return cls(words[text])
        first, _, count = text.partition(":")
        if first != "best" or not (count.isascii() and count.isdecimal() and int(count)):
            raise UsageError(f"{text!r} is neither all, none nor best:N, such as best:200")
        return cls(int(count))


def gather(  # noqa: PLR0913 - all that a report is made of
    session: Session,
    summary: SweepSummary,
    name: str,
    *,
    metric: str | None = None,
    histories: Histories,
    bounds: Bounds | None = None,
    told: Callable[[int, int], None] | None = None,
) -> ReportContent:
    """Return what a report shows. Costs one reading of what each of its trials logged, if ``histories`` wants it.

    Args:
        session: of the sweep.
        summary: of the same.
        name: of the sweep in commands.
        metric: that is shown first; None for the sweep's own.
        histories: whose are read.
        bounds: limits of the partition, for the advice on what to ask for; None where they are not known.
        told: is called with the number of histories that were read, and how many there are to read.

    Raises:
        UsageError: no trial logged such a metric.
        OSError: what a trial logged is there and cannot be read.
    """
    import yaml  # the other commands that look at a sweep need none

    config, view = summary.manifest.config, summary.view
    numbers, left_out = _chosen(summary)
    rows = with_errors(with_metric_so_far(session.store, summary, map(summary.trial, numbers)))
    objectives = {one.name: one for one in config.extensions.pareto}
    if config.metric:
        objectives = {config.metric.name: config.metric.objective} | objectives
    wanted = {row.number for row in rows if row.attempt and not row.origin}
    if histories.best is not None:
        ranked = {row.number for row in summary.ranked(histories.best)}
        wanted &= ranked if config.metric else set(sorted(wanted)[: histories.best])
        left_out.append(
            f"Only the histories of {counted(len(wanted), 'trial')} were read; metrics the sweep file does not "
            "name are of these."
        )
    reader = _LoggedReader(objectives, max(_LEAST_EACH, _MOST_POINTS // max(1, len(wanted))))
    for done, trial in enumerate(sorted(wanted), 1):
        current = view.trials[trial].current
        if current:
            newest = AttemptId(trial, current.number)
            reader.read(trial, history(summary.layout, newest, view.first_attempt(trial)))
        if told:
            told(done, len(wanted))
    if reader.thinned:
        left_out.append(f"{reader.thinned} curves have one of several steps: {reader.most} values each at most.")
    named = list(objectives.values())
    shown = _shown(named, reader.others(), metric, left_out)
    ledger = Ledger(view, summary.ended, {}, session.scheduler.asked, documents=session.submissions, here=session.here)
    trials = [_trial(summary, row, reader.last.get(row.number, {})) for row in rows]
    failures, skipped = _failures(summary)
    if skipped:
        left_out.append(f"{counted(skipped, 'more trial')} failed in other ways: `slurmsweep trials {name}` has all.")
    rungs = ends_at_rungs(config.extensions.rungs, view) if config.extensions.rungs else []
    written = yaml.safe_dump(masked_config(config.document), sort_keys=False, allow_unicode=True, width=100)
    known = {trial.row.number: trial for trial in trials}
    best = _best(summary, shown, trials, known)
    return ReportContent(
        summary=summary,
        name=name,
        made=time.time(),  # as the records have it
        objectives=shown,
        named=len(named),
        trials=trials,
        best=best,
        curves={one: curves for one, curves in reader.curves.items() if curves},
        importances=[
            {"sweep": name, "among": None, **importance(summary.manifest, view, one.name).to_json()}
            for one in sorted(named, key=lambda one: one.name != metric)
        ],
        failures=failures,
        efficiency=efficiency_document(summary.manifest, view, ledger, bounds),
        rungs=rungs,
        config=written,
        repeat=_repeat(summary.manifest, name, best[:1], known),
        left_out=left_out,
    )


def _shown(named: list[Objective], logged: list[str], metric: str | None, left_out: list[str]) -> list[Objective]:
    """Return the metrics of a report, the wanted one first; add to ``left_out`` those for which there is no room."""
    known = {one.name for one in named}
    every = [*named, *(Objective(one, guessed_goal(one)) for one in logged if one not in known)]
    if metric is not None:
        if metric not in (one.name for one in every):
            there = ", ".join(one.name for one in every[:8]) or "none"
            raise UsageError(f"no trial in this report has a metric {metric!r}: there is {there}")
        every.sort(key=lambda one: one.name != metric)
    gone = [one.name for one in every[_MOST_METRICS:]]
    if gone:
        more = f" and {len(gone) - 8} more" if len(gone) > 8 else ""
        left_out.append(f"Metrics that are not here: {', '.join(gone[:8])}{more}.")
    return every[:_MOST_METRICS]


def _chosen(summary: SweepSummary) -> tuple[list[int], list[str]]:
    """Return the trials that a report has, of those that were ever started, and what it says of the others."""
    known = summary.view.trials
    total = len(known)
    if total <= MOST_TRIALS:
        return sorted(known), []
    best = [row.number for row in summary.ranked(MOST_TRIALS // 2)]
    evenly = islice(sorted(known), 0, None, -(-total // (MOST_TRIALS - len(best))))
    numbers = sorted({*best, *evenly})
    which = f"the {len(best)} best and others taken evenly" if best else "taken evenly"
    of_all = "Counts, failures and what was asked and used are of all; `slurmsweep export` has every trial."
    return numbers, [f"{len(numbers)} of {total} trials are in this report, {which}. {of_all}"]


class _LoggedReader:
    """What trials logged, in one reading of each: curves of some metrics, and the last value of every number.

    Attributes:
        curves: by metric, then by trial.
        last: by trial, then by name; the last logged ones.
        most: values of a curve.
        thinned: trials that logged more.
    """

    def __init__(self, objectives: Mapping[str, Objective], most: int) -> None:
        self.curves: dict[str, dict[int, Curve]] = {name: {} for name in objectives}
        self.last: dict[int, dict[str, float]] = {}
        self.most = most
        self.thinned = 0
        self._seen: Counter[str] = Counter()
        self._computed: dict[str, Expression] = {}
        if any(one.expression for one in objectives.values()):
            from slurmsweep.sweepfile.expression import parse

            self._computed = {name: parse(one.expression) for name, one in objectives.items() if one.expression}

    def others(self) -> list[str]:
        """Return the names that were logged, those of most trials first.

        What ended alike in all of several trials, such as a number of epochs, tells none from another and is left out.
        """
        names = [name for name, _ in sorted(self._seen.items(), key=lambda one: (-one[1], one[0]))]
        ends = {name: {values[name] for values in self.last.values() if name in values} for name in names}
        return [name for name in names if len(ends[name]) > 1 or len(self.last) < 2]

    def read(self, trial: int, rows: Iterator[tuple[int, dict[str, Any]]]) -> None:
        """Take in the rows of a trial; where a script began again from a checkpoint, later values of a step count."""
        last: dict[str, Any] = {}
        logged: list[tuple[float, dict[str, Any]]] = []
        for place, (_, row) in enumerate(rows):  # a million rows pass here: nothing is done that can wait for the end
            last.update(row)
            step = row.get("_step")
            at = float(step) if isinstance(step, (int, float)) else float(place)
            while logged and logged[-1][0] > at:
                logged.pop()
            logged.append((at, row))
        said = ((name, number(value)) for name, value in flat(last) if name[:1] != "_")
        self.last[trial] = ends = {name: value for name, value in said if value is not None}
        self._seen.update(ends.keys())
        for name in [one for one in ends if one not in self.curves][: max(0, _CURVES - len(self.curves))]:
            self.curves[name] = {}
        for name, curves in self.curves.items():
            steps, values = self._points(name, logged)
            if not steps:
                continue
            each = -(-len(steps) // self.most)
            self.thinned += each > 1
            if each > 1:
                steps, values = [*steps[:-1:each], steps[-1]], [*values[:-1:each], values[-1]]
            curves[trial] = Curve(array("d", steps), array("d", values))

    def _points(self, name: str, logged: Sequence[tuple[float, dict[str, Any]]]) -> tuple[list[float], list[float]]:
        """Return the steps at which a metric was logged, and its values; a step that was logged twice once."""
        expression = self._computed.get(name)
        if expression is None:
            found = ((at, row[name] if name in row else reach(row, name)) for at, row in logged)
            kept = {
                at: float(v) for at, v in found if isinstance(v, float) or (type(v) is int and number(v) is not None)
            }
            return list(kept), list(kept.values())
        from slurmsweep.sweepfile.expression import NoValueError

        newest: dict[str, float] = {}
        computed: dict[float, float] = {}
        for at, row in logged:
            here = {one: value for one in expression.names if (value := number(reach(row, one))) is not None}
            newest.update(here)
            if here and len(newest) == len(expression.names):
                with suppress(NoValueError):
                    computed[at] = expression.value(newest)
        return list(computed), list(computed.values())


def _trial(summary: SweepSummary, row: TrialRow, last: Mapping[str, float]) -> ReportTrial:
    known = summary.view.trials.get(row.number)
    current = known.current if known else None
    outcome = current and (current.outcome or summary.ended.get(AttemptId(row.number, current.number)))
    ended = outcome.ended if outcome else None
    if ended is None and outcome:
        ended = row.over_at
    values = {**last, **(row.metrics or {})}
    metric = summary.manifest.config.metric
    if metric:
        values.pop(metric.name, None)
        values |= {} if row.metric is None else {metric.name: row.metric}
    return ReportTrial(row, values, ended)


def _best(
    summary: SweepSummary, shown: Sequence[Objective], trials: Sequence[ReportTrial], known: Mapping[int, ReportTrial]
) -> list[ReportTrial]:
    if not shown:
        return []
    first, metric = shown[0], summary.manifest.config.metric
    if metric and first.name == metric.name and summary.manifest.config.extensions.repeats:
        points = [row for row in summary.ranked(_BEST) if row.metric is not None]
        return [ReportTrial(row, {first.name: row.metric or 0.0}, None) for row in points]
    if metric and first.name == metric.name:
        return [known[row.number] for row in summary.ranked(_BEST) if row.number in known]
    sign = -1.0 if first.goal == "maximize" else 1.0
    ended = [one for one in trials if first.name in one.values and one.row.is_ranked]
    return sorted(ended, key=lambda one: (sign * one.values[first.name], one.row.number))[:_BEST]


def _failures(summary: SweepSummary) -> tuple[list[FailureTail], int]:
    """Return the failures with the ends of their logs, without secrets; and the number of trials that are not here."""
    groups, found, room = failure_groups(summary), [], _TAILS
    for group in groups[:_GROUPS]:
        tail = masked("\n".join(last_words(group.log).rstrip("\n").split("\n")[-_LINES:])[-_TAIL:]) if group.log else ""
        tail = tail if len(tail) <= room else ""
        room -= len(tail)
        found.append(FailureTail(group, tail))
    return found, sum(len(group.trials) for group in groups[_GROUPS:])


def masked_config(value: Any) -> Any:
    """Return a sweep file's content with ``***`` in the place of secrets that are written in its texts."""
    if isinstance(value, dict):
        return {key: masked_config(one) for key, one in value.items()}
    if isinstance(value, list):
        return [masked_config(one) for one in value]
    return masked(value) if isinstance(value, str) else value


def _repeat(
    manifest: Manifest, name: str, best: Sequence[ReportTrial], known: Mapping[int, ReportTrial]
) -> list[tuple[str, str]]:
    """Return the commands that do the whole sweep again, and its best trial alone, of a point its first run."""
    sweep = shlex.quote(name)
    found = [("the whole sweep", f"cd {shlex.quote(manifest.workdir)}\nslurmsweep run {shlex.quote(manifest.source)}")]
    for one in best if manifest.can_run else ():
        params = known[one.row.number].row.params if one.row.number in known else one.row.params
        try:
            command = shell_command(manifest, one.row.number, params, os.environ)
        except UsageError as error:
            command = f"# {error}"
        found.append((f"the best trial, {one.row.number}, by hand", masked(command)))
    found.append(
        ("this report, and all of it as a table", f"slurmsweep report {sweep}\nslurmsweep export {sweep} -o trials.csv")
    )
    return found
