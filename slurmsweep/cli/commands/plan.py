"""The ``plan`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import launching, options, values
from slurmsweep.cli.naming import sweep_of
from slurmsweep.cli.output import note, print_json, print_text
from slurmsweep.cli.sweeps import note_doubts, read_draft
from slurmsweep.control.round.events import ignore
from slurmsweep.report.plan import plan_text
from slurmsweep.search import run_count
from slurmsweep.state.store import SweepStore

HELP = "show what would happen: points, commands, cost, batch script; writes nothing"
EXAMPLES = (
    ("plan sweep.yaml", "the first points, their commands, the batch script"),
    ("plan sweep.yaml --canary", "run the first trial for real, to see what it needs"),
    ("plan sweep.yaml --prior last", "what of it the newest sweep has run, and what is new"),
)
EXIT_CODES = {1: "the canary failed", 3: "", 4: "", 5: ""}

#: Trials in a plan at most.
MOST_SHOWN = 1_000_000

#: Trials in a plan for people, and in a JSON document, where no limit is given.
_PLAN_LIMIT = 10
_JSON_LIMIT = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``plan``."""
    parser.add_argument("file", metavar="FILE", help="sweep file")
    text = "show at most N trials (default 10; with --json 1000)"
    parser.add_argument("--limit", type=values.up_to(MOST_SHOWN), metavar="N", help=text)
    parser.add_argument("--canary", action="store_true", help="run the first trial for real, and show what it used")
    options.add(parser, "--backend", "--jobs", "--count", "--function", "--prior", "--snapshot", "--strict", "--json")
    options.add(parser, "--max-fails", "--notify")
    options.add(parser, "--wait", help="as of `run`: whether that would wait")
    options.add_names(parser)
    options.add_mend(parser)
    options.add_slurm(parser)
    options.add_aws(parser)
    options.add(parser, "--canaries", "--after")
    parser.set_defaults(dry_run=True)


def run(args: argparse.Namespace) -> int:
    """Show what would happen, and with ``--canary`` try it; return the exit code, 1 where the canary failed."""
    from slurmsweep.api.naming import whereabouts
    from slurmsweep.api.sweep import Sweep
    from slurmsweep.control.launch.checks import behind_others, nothing_learnt
    from slurmsweep.control.planning.canary import run_canary  # loads submitit
    from slurmsweep.control.planning.plan import plan_sweep
    from slurmsweep.control.round.decide import Policy

    prior = SweepStore.open(sweep_of(args.prior)) if args.prior else None
    draft = read_draft(args)
    asked, after = launching.asked_for(args), launching.awaited(args)
    wanted = asked["wish"]
    session, known = Sweep.planned(draft, backend=args.backend).session.rehearsal(), None
    if prior:
        from slurmsweep.control.creation.prior import comparison, known_points, rehearse

        known = known_points(session.store, prior)
        rehearse(session, known)
    # what `run` would refuse here is no plan
    wish = Sweep(session, tell=ignore).check_start(
        wanted, wait=args.wait, supervise=args.mend, max_fails=args.max_fails
    )
    wish = behind_others(session, wish, after, whereabouts, note)
    if asked["sizing"]:
        shown = "what is auto is learnt from a few trials that go first: this plan shows what those are given"
        note(nothing_learnt(session.backend) or shown)
    if args.mend:
        note("--mend adds two small jobs of the supervisor: one waits for the end of these, one for the clock")
    note_doubts(draft)
    if args.count is None and run_count(draft.config) is None:
        note(
            "the search has no end: `run` wants --count, or run_cap in the sweep file; jobs, files and cost are those "
            "of one trial"
        )
    limit = args.limit or (_JSON_LIMIT if args.json and run_count(draft.config) is not None else _PLAN_LIMIT)
    count = args.count and args.count * draft.config.extensions.runs_each
    document = plan_sweep(session, draft, Policy(wish, count=count), limit, note)
    if known is not None:
        document["prior"] = comparison(draft.config, session.store.manifest.trials, known)
    if args.canary:
        document["canary"] = run_canary(draft, args.backend, wanted).to_json()
    if args.json:
        print_json(document)
    else:
        print_text(plan_text(document, count))
    return int(args.canary and document["canary"]["state"] != "finished")
