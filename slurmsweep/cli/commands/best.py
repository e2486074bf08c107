"""The ``best`` command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from slurmsweep.cli import options, values
from slurmsweep.cli.output import note, print_json, print_table
from slurmsweep.cli.sweeps import none_is_best, summarize
from slurmsweep.control.session import Session
from slurmsweep.errors import UsageError
from slurmsweep.report import tables
from slurmsweep.report.figures import counted
from slurmsweep.report.terminal import width
from slurmsweep.report.trials_table import trials_table
from slurmsweep.state.lifecycle import TrialState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.report.summary import SweepSummary, TrialRow
    from slurmsweep.sweepfile.config import SweepConfig

HELP = "show the best finished trials by the sweep's metric"
EXAMPLES = (
    ("best", "of the newest sweep here"),
    ("best last -n 5", "the five best"),
    ("best last --metric loss -n 3", "by a metric that trials logged, whether or not the sweep names it"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``best``."""
    options.add(parser, "newest")
    text = "how many (default 1; with --pareto all)"
    parser.add_argument(*options.flags("--top"), type=values.natural, metavar="N", help=text)
    which = parser.add_mutually_exclusive_group()
    options.add(which, "--metric", help="by this metric, which trials logged, and not the sweep's own")
    text = "those that no other trial beats in all metrics of the sweep file's slurmsweep: {pareto: ...}"
    which.add_argument("--pareto", action="store_true", help=text)
    text = "with --metric: which values are good (default: as the sweep file says, else minimize)"
    parser.add_argument("--goal", choices=("minimize", "maximize"), help=text)
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Show the best finished trials; return the exit code."""
    if args.goal and not args.metric:
        raise UsageError("--goal says which values of --metric NAME are good: add --metric")
    summary, _ = summarize(Session.open(args.sweep))
    if args.pareto:
        _show_front(summary, args.top, as_json=args.json)
        return 0
    config, top = summary.manifest.config, args.top or 1
    if args.metric:
        config, ranked = _ranked_by(summary, args.metric, args.goal, top)
    elif config.metric is None:
        raise UsageError("the sweep file names no metric, so no trial is best: add `metric: {name: ..., goal: ...}`")
    else:
        ranked = summary.ranked(top)
    if args.metric and ranked:
        _note_goal(summary.manifest.config, args.metric, args.goal)
    if args.json:
        documents = [row.to_json() for row in ranked]
        print_json(documents if top > 1 else (documents[0] if documents else None))
        return 0
    if ranked:
        print_table(trials_table(ranked, config, width()))
    elif config.metric:
        note(none_is_best(config, config.metric))
    for words in () if args.metric else tables.unmeasured_words(summary.unmeasured(of_metric=True)):
        note(words)
    return 0


def _ranked_by(
    summary: SweepSummary, metric: str, goal: str | None, top: int
) -> tuple[SweepConfig, Sequence[TrialRow]]:
    """Return the best by another metric than the sweep's own, and the configuration that judges by that.

    Reads what each finished trial logged.
    """
    from slurmsweep.control.views.other_metric import judged_by, with_metric_named  # loads what reads metrics

    config = judged_by(summary.manifest.config, metric, goal)
    done = summary.trials(states={TrialState.FINISHED, TrialState.KILLED})
    rows = with_metric_named(summary, (row for row in done if row.is_ranked), metric)
    sign = -1 if config.metric and config.metric.goal == "maximize" else 1
    measured = sorted((sign * row.metric, row.number, row) for row in rows if row.metric is not None)
    return config, [row for *_, row in measured[:top]]


def _note_goal(config: SweepConfig, metric: str, goal: str | None) -> None:
    """Say which values count as good where neither the sweep file nor the command says it."""
    from slurmsweep.control.views.other_metric import goal_in_file

    if goal is None and goal_in_file(config, metric) is None:
        note(
            f"the smallest {metric!r} is the best here, as the sweep file does not name this metric; with "
            "--goal maximize the largest is"
        )


def _show_front(summary: SweepSummary, top: int | None, *, as_json: bool) -> None:
    """Show the finished trials that no other trial beats in all metrics of the Pareto view."""
    config = summary.manifest.config
    if not config.extensions.pareto:
        raise UsageError(
            "the sweep file does not say which metrics to weigh against each other: add, for example, "
            "`slurmsweep: {pareto: {accuracy: maximize, latency: minimize}}`, and create the sweep with it "
            f"(`slurmsweep create FILE --prior {summary.manifest.sweep_id}` keeps what it has finished)"
        )
    front = summary.front()
    shown = front.trials[:top]
    if as_json:
        print_json([row.to_json() for row in shown])
    elif shown:
        print_table(trials_table(shown, config, width()))
    names = " and ".join(repr(objective.name) for objective in config.extensions.pareto)
    if not front.trials:
        note(f"no finished trial has all of {names} yet")
    elif front.left_out:
        note(f"{counted(front.left_out, 'finished trial lacks', 'finished trials lack')} one of {names}: left out")
    if front.left_out:
        for words in tables.unmeasured_words(summary.unmeasured()):
            note(words)
    if len(shown) < len(front.trials):
        note(f"the first {len(shown)} of {len(front.trials)} trials, by {config.extensions.pareto[0].name!r}")
