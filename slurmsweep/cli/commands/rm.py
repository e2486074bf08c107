"""The ``rm`` command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from slurmsweep.cli import options
from slurmsweep.cli.output import confirm, note, print_json
from slurmsweep.control.session import Session
from slurmsweep.control.upkeep import remove
from slurmsweep.errors import NotFoundError
from slurmsweep.report.figures import counted, size_text

if TYPE_CHECKING:
    from slurmsweep.control.upkeep.remove import Removal

HELP = "remove a sweep from disk, with all its trials, logs and checkpoints"
EXAMPLES = (
    ("rm last --dry-run", "what would go, and how much room it takes"),
    ("rm last --yes", "without a question, for a script"),
)
EXIT_CODES = {1: "the answer was no", 3: "", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``rm``."""
    options.add(parser, "sweep", "--yes", "--force", "--dry-run", "--json")


def run(args: argparse.Namespace) -> int:
    """Show what a sweep has on disk, ask, and remove it; return the exit code, 1 where the answer was no."""
    session: Session | None
    try:
        session = opened = Session.open_to_run(args.sweep)
        removal = remove.plan_removal(opened, force=args.force)
    except NotFoundError:
        left = remove.broken_off(args.sweep)
        if left is None:
            raise
        session, removal = None, left
    document = {**removal._asdict(), "removed": False}
    if not args.json:
        _show(removal, session)
    if not args.dry_run:
        if not confirm(f"remove sweep {removal.sweep}?", yes=args.yes):
            return 1
        remove.remove(removal, session)
        document["removed"] = True
        note(f"sweep {removal.sweep} is removed")
    if args.json:
        print_json(document)
    return 0


def _show(removal: Removal, session: Session | None) -> None:
    """Print what is removed, what of it may still run, and which wandb runs were never uploaded."""
    size = f"{size_text(removal.size)} in {counted(removal.entries, 'file or folder', 'files and folders')}"
    note(f"{removal.folder}: {size}")
    for link in removal.links:
        note(f"{link}: a link to it")
    for words in removal.unknown:
        note(f"it is not known {words}")
    if session is None:
        note(f"this is what an earlier `rm` of sweep {removal.sweep} left")
        return
    from slurmsweep.sync.upload import find

    count = len(session.view.trials)
    note(f"{counted(count, 'trial was', 'trials were')} started; done: {session.view.done()}")
    left = find(session.store, session.view, (), None).uploads
    if left:
        whose = "1 of them has" if len(left) == 1 else f"{len(left)} of them have"
        note(f"{whose} wandb runs that were never uploaded: `slurmsweep sync {removal.sweep}` does it")
