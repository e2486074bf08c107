"""The ``sync`` command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from slurmsweep.cli import options, values
from slurmsweep.cli.output import note, print_json, print_sentences, steps
from slurmsweep.report.figures import counted
from slurmsweep.state import view_cache
from slurmsweep.state.store import SweepStore
from slurmsweep.sync.run_copy import UNCATEGORIZED, Home
from slurmsweep.sync.upload import Result, find, upload

if TYPE_CHECKING:
    from slurmsweep.sync.upload import Found

HELP = "upload the offline wandb runs of finished trials, from a node with internet"
EXAMPLES = (
    ("sync last --dry-run", "say which runs would be uploaded, and where"),
    ("sync last -j 8 --project mnist", "eight trials at a time"),
)
EXIT_CODES = {1: "a run could not be uploaded", 3: "", 5: ""}

#: Failures that are shown one by one.
_MOST_FAILURES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``sync``."""
    options.add(parser, "sweep")
    options.add(parser, "--state", help="trials in this state instead of those finished or stopped early (repeatable)")
    options.add(parser, "--trials", help="only these, such as 0,3,7-12")
    for name, otherwise in (("project", "the script's"), ("entity", "yours")):
        text = f"of the runs at W&B (default: the one they were logged with, or {otherwise})"
        parser.add_argument(f"--{name}", metavar="X", help=text)
    options.add(parser, "--jobs", type=values.up_to(1000), default=4, help="trials at a time (default 4)")
    parser.add_argument("--include-synced", action="store_true", help="also what was uploaded before")
    options.add(parser, "--dry-run", help="say what would be uploaded; upload nothing")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Upload offline runs; return the exit code, 1 where one could not be uploaded."""
    store = SweepStore.open_to_run(args.sweep)
    found = find(store, view_cache.read(store), set(args.state), args.trials, again=args.include_synced)
    result = Result()
    if found.uploads and not args.dry_run:
        names = {"--project": args.project, "--entity": args.entity}
        flags = [part for name, value in names.items() if value for part in (name, value)]
        with steps(len(found.uploads), "trials") as show:
            result = upload(store, found.uploads, flags, args.jobs, show)
    homeless = [one.trial for one in found.uploads for home in one.homes.values() if home.project == UNCATEGORIZED]
    if homeless and not args.project:
        note(
            f"{counted(len(set(homeless)), 'trial names', 'trials name')} no project: such runs go to "
            f"{UNCATEGORIZED!r} without --project X"
        )
    rest = f"{found.synced} were uploaded before, {found.without} have no offline wandb run"
    if args.json:
        print_json(_document(args, found, result))
    elif args.dry_run:
        for one in found.uploads:
            homes = dict.fromkeys(str(_home(args, home)) for home in one.homes.values())
            print_sentences(f"trial {one.trial} to {' and '.join(homes)}: " + ", ".join(one.run_files))
        print_sentences(f"would upload the runs of {counted(len(found.uploads), 'trial')}; {rest}")
    else:
        print_sentences(f"uploaded the runs of {counted(len(result.done), 'trial')}; {rest}")
        if result.empty:
            trials = counted(len(result.empty), "trial was", "trials were")
            note(f"{trials} killed before wandb had written anything: nothing to upload")
        for trial, reason in sorted(result.failed.items())[:_MOST_FAILURES]:
            note(f"trial {trial}: {reason}")
        if result.failed:
            untried = f", {len(result.untried)} were not tried after that" if result.untried else ""
            note(f"{counted(len(result.failed), 'trial')} could not be uploaded{untried}; the same command tries again")
    return 1 if result.failed else 0


def _home(args: argparse.Namespace, home: Home) -> Home:
    """Return where a run goes with these options."""
    return Home(args.project or home.project, args.entity or home.entity)


def _document(args: argparse.Namespace, found: Found, result: Result) -> dict[str, Any]:
    return {
        "to_upload": [
            {"trial": one.trial, "runs": list(one.run_files)} | _home(args, one.homes[one.run_files[-1]])._asdict()
            for one in found.uploads
        ],
        "uploaded": sorted(result.done),
        "empty": sorted(result.empty),
        "failed": [{"trial": trial, "reason": reason} for trial, reason in sorted(result.failed.items())],
        "not_tried": result.untried,
        "uploaded_before": found.synced,
        "without_run": found.without,
    }
