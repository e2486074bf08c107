"""The ``best`` command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json, print_table
from slurmsweep.cli.sweeps import summarize
from slurmsweep.control.session import Session
from slurmsweep.errors import UsageError
from slurmsweep.report import tables
from slurmsweep.report.figures import counted
from slurmsweep.report.terminal import width
from slurmsweep.report.trials_table import trials_table

if TYPE_CHECKING:
    from slurmsweep.report.summary import SweepSummary

HELP = "show the best finished trials by the sweep's metric"
EXAMPLES = (
    ("best", "of the newest sweep here"),
    ("best last -n 5", "the five best"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``best``."""
    options.add(parser, "newest")
    parser.add_argument(
        *options.flags("--top"), type=options.natural, metavar="N", help="how many (default 1; with --pareto all)"
    )
    parser.add_argument(
        "--pareto",
        action="store_true",
        help="those that no other trial beats in all metrics of the sweep file's slurmsweep: {pareto: ...}",
    )
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Show the best finished trials; return the exit code."""
    summary, _ = summarize(Session.open(args.sweep))
    if args.pareto:
        _show_front(summary, args.top, as_json=args.json)
    else:
        _show_best(summary, args.top or 1, as_json=args.json)
    return 0


def _show_best(summary: SweepSummary, top: int, *, as_json: bool) -> None:
    config = summary.manifest.config
    if config.metric is None:
        raise UsageError("the sweep file names no metric, so no trial is best: add `metric: {name: ..., goal: ...}`")
    ranked = summary.ranked(top)
    if as_json:
        documents = [row.to_json() for row in ranked]
        print_json(documents if top > 1 else (documents[0] if documents else None))
        return
    if ranked:
        print_table(trials_table(ranked, config, width()))
    else:
        note(f"no finished trial has a value of {config.metric.name!r} yet")
    for words in tables.unmeasured_words(summary.unmeasured(of_metric=True)):
        note(words)


def _show_front(summary: SweepSummary, top: int | None, *, as_json: bool) -> None:
    """Show the finished trials that no other trial beats in all metrics of the Pareto view."""
    config = summary.manifest.config
    if not config.extensions.pareto:
        raise UsageError(
            "the sweep file does not say which metrics to weigh against each other: add, for example, "
            "`slurmsweep: {pareto: {accuracy: maximize, latency: minimize}}`, and create the sweep with it "
            f"(`slurmsweep create FILE --prior {summary.manifest.sweep_id}` keeps what a grid has finished)"
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
