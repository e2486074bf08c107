"""The ``resubmit`` command."""

from __future__ import annotations

import argparse
from contextlib import closing

from slurmsweep.cli import options, values
from slurmsweep.cli.output import note, print_json
from slurmsweep.control.round.retry_policy import RetryPolicy
from slurmsweep.errors import UsageError
from slurmsweep.report.figures import counted

HELP = "run again exactly what is not finished: crashed, failed, killed, preempted"
EXAMPLES = (
    ("resubmit last --dry-run", "say which trials would run again, and why"),
    ("resubmit last -s failed --mem-factor 2", "those that failed; twice the memory where it lacked"),
)
EXIT_CODES = {1: "a trial did not finish, or one was not submitted", 3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``resubmit``."""
    options.add(parser, "sweep", "--backend", "--jobs", "--max-fails", "--notify")
    options.add(parser, "--wait", default=None, help="wait until they have ended (default: on the local backend)")
    options.add(parser, "--dry-run", help="say what would be run again, with what, and why; write nothing")
    options.add(parser, "--function", "--workdir")
    group = parser.add_argument_group("Which trials, and with what")
    options.add(group, "--state", help="only those in this state (repeatable)")
    text = "only those that ended so: timeout, oom, 'exit 3' (repeatable)"
    group.add_argument("--cause", action="append", default=[], metavar="CAUSE", help=text)
    options.add(group, "--trials", help="only these, such as 0,3,7-12")
    text = "not those that had N attempts already"
    group.add_argument("--max-attempts", type=values.natural, metavar="N", help=text)
    for name, resource in (("time", "time"), ("mem", "memory")):
        text = f"times the {resource}, for trials out of it (default 2)"
        group.add_argument(f"--{name}-factor", type=values.factor, default=2.0, metavar="X", help=text)
    options.add(group, "--force", help="also trials that fail alike, and those that had all a partition gives")
    options.add(parser, "--plain", "--json")
    options.add_mend(parser)
    options.add_slurm(parser)
    options.add_aws(parser)


def run(args: argparse.Namespace) -> int:
    """Run again what did not finish, each trial with what it lacked; return the exit code."""
    from slurmsweep.cli import launching
    from slurmsweep.cli.events import EventPrinter

    if not all(state.can_retry for state in args.state):
        raise UsageError(
            "--state: resubmit is for trials that ended and did not finish: crashed, failed, killed, preempted"
        )
    rules = {name: getattr(args, name) for name in ("max_attempts", "time_factor", "mem_factor")}
    chosen = {"states": frozenset(args.state), "causes": frozenset(args.cause), "trials": args.trials}
    policy = RetryPolicy(**chosen, **rules, force=args.force)
    asked = launching.asked_for(args, **rules)
    with closing(EventPrinter()) as events:
        sweep = launching.opened(args, args.sweep, events)
        events.follow(sweep.session.store, plain=args.plain)
        result = sweep.resubmit(policy, **asked)
    if not args.dry_run:
        # where nothing was started the first line has said all, and the results are those of before
        has_news = args.json or result.submitted.trials or result.later
        return launching.finish(sweep, result, events, waited=result.waited and bool(has_news), as_json=args.json)
    if args.json:
        print_json(result.plan.to_json())
    elif fresh := result.plan.trials - len(result.plan.retry.attempt_ids):
        note(f"{counted(fresh, 'trial')} would start that no job is for yet")
    return int(not result.headline.is_met)
