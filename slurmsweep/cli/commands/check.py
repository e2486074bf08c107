"""The ``check`` command."""

from __future__ import annotations

import argparse

from slurmsweep.cli import options
from slurmsweep.cli.naming import sweep_of
from slurmsweep.cli.output import note, print_json, print_text
from slurmsweep.errors import StateUnreadableError, UsageError
from slurmsweep.report.figures import counted
from slurmsweep.state.check import check
from slurmsweep.state.store import SweepStore

HELP = "prove that no trial is lost or doubled; exit code 1 otherwise"
EXAMPLES = (
    ("check last", "compare the journal with the trials' folders"),
    ("check last --repair", "rebuild the journal if they disagree"),
)
EXIT_CODES = {1: "something is wrong", 3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``check``."""
    parser.add_argument("name", metavar="SWEEP", nargs="?", help=f"{options.SWEEP} (default: the newest here)")
    parser.add_argument(
        "--repair", action="store_true", help="rebuild the journal from the trials' folders, if anything is wrong"
    )
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Prove that journal and folders agree, or make them; return the exit code, 1 where they do not."""
    if args.repair and args.name is None:
        raise UsageError("--repair changes a sweep: name it")
    store = SweepStore.open(sweep_of(args.name))
    if args.repair and _needs_repair(store):
        from slurmsweep.state.repair import rebuild

        done = rebuild(store)
        note(
            f"journal rebuilt: {counted(done.records, 'record')} kept; from the trials' folders "
            f"{counted(done.claims, 'claim')} and "
            f"{counted(done.outcomes, 'outcome')}, and {counted(done.voided, 'attempt')} never started"
        )
        if done.kept:
            note(f"the old one is {done.kept}")
    report = check(store)
    if args.json:
        findings = [vars(finding) for finding in report.findings]
        print_json({"ok": not findings, "trials": report.trials, "attempts": report.attempts, "findings": findings})
    elif report.findings:
        print_text("\n".join(str(finding) for finding in report.findings))
    else:
        print_text(
            f"{counted(report.trials, 'trial')}, {counted(report.attempts, 'attempt')}: every trial once, none "
            "lost, none doubled"
        )
    return 1 if report.findings else 0


def _needs_repair(store: SweepStore) -> bool:
    """Return whether anything is wrong; a journal that cannot be read at all is."""
    try:
        return bool(check(store).findings)
    except StateUnreadableError:
        return True
