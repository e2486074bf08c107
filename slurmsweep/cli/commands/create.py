"""The ``create`` command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from slurmsweep.cli import options, values
from slurmsweep.cli.naming import sweep_of
from slurmsweep.cli.output import note, print_text
from slurmsweep.cli.sweeps import note_doubts, read_draft, summarize
from slurmsweep.control.creation import share
from slurmsweep.control.creation.narrow import best_trials, narrowed
from slurmsweep.control.creation.prior import adopt, known_points
from slurmsweep.control.session import Session
from slurmsweep.errors import UsageError
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    from collections.abc import Collection

#: Trials of a search without an end from which a sweep file is made.
_MOST_NAMED = 1_000_000

HELP = "create a sweep and print its id; nothing is run"
EXAMPLES = (
    ("create sweep.yaml", "print the id alone"),
    ("create --from last --top 5", "print a sweep file around the best trials"),
)
EXIT_CODES = {3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``create``."""
    parser.add_argument("file", metavar="FILE", nargs="?", help="sweep file")
    options.add(parser, "--prior")
    text = "print a new sweep file around chosen trials of that sweep"
    parser.add_argument("--from", dest="origin", metavar="SWEEP", help=text)
    text = "refused, as W&B does once a run started: says how to go on instead"
    parser.add_argument("--update", metavar="SWEEP", help=text)
    options.add(parser, "--trials", help="with --prior or --from: only these, such as 0,3,7-12")
    options.add_shared(parser)
    parser.add_argument("--top", type=values.natural, metavar="N", help="with --from: the N best trials")
    options.add(parser, "--function", "--snapshot", "--strict")
    options.add_names(parser)


def run(args: argparse.Namespace) -> int:
    """Create a sweep, its id alone on stdout; with ``--from`` print a sweep file instead. Return the exit code."""
    if args.update:
        sweep = sweep_of(args.update)
        raise UsageError(
            f"the configuration of sweep {sweep} never changes once it is made; make a new sweep that keeps what "
            f"finished: `slurmsweep create {args.file or 'FILE'} --prior {sweep}`",
        )
    if args.origin:
        if args.file or args.prior or (args.top is None) == (args.trials is None):
            raise UsageError("--from SWEEP stands without a sweep file, and with one of --trials LIST and --top N")
        from slurmsweep.sweepfile import yaml12

        print_text(yaml12.dump(_around_chosen(sweep_of(args.origin), args.trials, args.top)), end="")
        return 0
    if not args.file:
        raise UsageError("create: name a sweep file, or a sweep by --from")
    if args.top or (args.trials and not args.prior):
        raise UsageError(
            "--trials and --top choose trials of another sweep: name it by --from, or --trials' by --prior"
        )
    from slurmsweep.api.sweep import Sweep
    from slurmsweep.control.creation.create import create  # loads yaml

    prior = SweepStore.open(sweep_of(args.prior)) if args.prior else None
    draft = read_draft(args)
    note_doubts(draft)
    if prior:
        known_points(Sweep.planned(draft).session.store, prior, args.trials)  # where this is refused there is no sweep
    store = create(draft, access=share.WAYS[args.shared])
    note(f"sweep {store.manifest.sweep_id} in {store.layout.folder}; {share.in_words(store)}")
    if prior:
        known = known_points(store, prior, args.trials)
        ended = adopt(store, known)
        note(str(known))
        if ended:
            note(ended)
    print_text(store.manifest.sweep_id)
    return 0


def _around_chosen(origin: str, trials: Collection[int] | None, top: int | None) -> dict[str, Any]:
    """Return the content of a new sweep file around chosen, or the ``top`` best, trials of a sweep."""
    session = Session.open(origin)
    store = session.store
    if top is not None:
        summary, _ = summarize(session)
        trials = best_trials(store.manifest.config, [row.number for row in summary.ranked(top)], top)
    store.manifest.require_trials(trials or ())
    if trials and len(trials) > _MOST_NAMED:
        raise UsageError(f"--trials: {len(trials)} trials are too many for a sweep file: name {_MOST_NAMED} at most")
    return narrowed(store, list(trials or ()))
