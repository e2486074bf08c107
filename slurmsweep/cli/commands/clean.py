"""The ``clean`` command."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from slurmsweep.cli import options, values
from slurmsweep.cli.naming import sweep_of
from slurmsweep.cli.output import confirm, note, print_json, print_text
from slurmsweep.control.session import Session
from slurmsweep.control.upkeep import clean
from slurmsweep.errors import SlurmsweepError, UsageError
from slurmsweep.report.figures import counted, size_text
from slurmsweep.report.tables import plain_table
from slurmsweep.state import paths

if TYPE_CHECKING:
    from slurmsweep.control.upkeep.clean import Cleaning

HELP = "remove checkpoints, saved files and uploaded wandb runs of trials that are done; results and logs stay"
EXAMPLES = (
    ("clean last --dry-run", "what would go, and how much room it takes"),
    ("clean --older 30d --keep-best 3 --yes", "of all sweeps here that are a month old"),
)
EXIT_CODES = {1: "the answer was no", 3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``clean``."""
    text = "of this sweep only (default: of all sweeps here that --older chooses)"
    parser.add_argument("name", metavar="SWEEP", nargs="?", help=text)
    text = "of sweeps that were not changed for so long, such as 30d, 12h or 4w"
    parser.add_argument("--older", type=values.age, metavar="AGE", help=text)
    text = "the N best trials of each sweep keep all their files (default 1)"
    parser.add_argument("--keep-best", type=values.number, nargs="?", const=1, default=1, metavar="N", help=text)
    text = "also wandb runs that were never uploaded"
    parser.add_argument("--unsynced", action="store_true", help=text)
    options.add(parser, "--yes", "--force", "--dry-run", "--json")


def run(args: argparse.Namespace) -> int:
    """Show what can go, ask, and remove it; return the exit code, 1 where the answer was no."""
    if args.name is None and args.older is None:
        raise UsageError("name a sweep, or say of which sweeps by --older AGE, such as 30d")
    chosen = _chosen(args.name, args.older, args.keep_best, unsynced=args.unsynced, force=args.force)
    documents = [{**cleaning._asdict(), "cleaned": False} for _, cleaning in chosen]
    if not args.json:
        _show([cleaning for _, cleaning in chosen])
    if any(cleaning.trials for _, cleaning in chosen) and not args.dry_run:
        if not confirm("remove these files?", yes=args.yes):
            return 1
        for (session, cleaning), document in zip(chosen, documents, strict=True):
            count = clean.clean(session, cleaning)
            document["cleaned"] = True
            note(f"sweep {cleaning.sweep}: files of {counted(count, 'trial')} are removed, results and logs are there")
    if args.json:
        print_json(documents)
    return 0


def _chosen(name: str | None, older: float | None, keep_best: int, **how: bool) -> list[tuple[Session, Cleaning]]:
    """Return the sweeps that are meant, each with what can go; one of several that is alive is left out."""
    found = []
    for sweep in [sweep_of(name)] if name else paths.sweep_ids(paths.project_folder()):
        try:
            session = Session.open_to_run(sweep)
            if older is None or clean.last_change(session) < time.time() - older:
                found.append((session, clean.plan_cleaning(session, keep_best, **how)))
        except SlurmsweepError as error:  # noqa: PERF203 - a sweep is much more than the exception
            if name:
                raise
            note(f"sweep {sweep} is left alone: {error}")
    return found


def _show(cleanings: list[Cleaning]) -> None:
    rows = [
        {
            "sweep": one.sweep,
            "size": size_text(one.size),
            "files": one.entries,
            "of trials": len(one.trials),
            "the best keep theirs": ", ".join(map(str, one.best)),
        }
        for one in cleanings
        if one.trials
    ]
    print_text(plain_table(rows)) if rows else note("nothing to remove")
    for one in cleanings:
        for words in one.unknown:
            note(f"sweep {one.sweep}: it is not known {words}")
        if one.unsynced:
            kept = "1 trial keeps" if len(one.unsynced) == 1 else f"{len(one.unsynced)} trials keep"
            more = f"`slurmsweep sync {one.sweep}` uploads them, --unsynced removes them all the same"
            note(f"sweep {one.sweep}: {kept} wandb runs that were never uploaded: {more}")
