"""The ``check`` command."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from slurmsweep.cli import options
from slurmsweep.cli.naming import sweep_of
from slurmsweep.cli.output import note, print_json, print_sentences
from slurmsweep.errors import StateUnreadableError, UsageError
from slurmsweep.report.figures import counted
from slurmsweep.state.check import check
from slurmsweep.state.code_version import version_now
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Files that are named.
_NAMED = 5

HELP = "prove that no trial is lost or doubled; exit code 1 otherwise"
EXAMPLES = (
    ("check last", "compare the journal with the trials' folders"),
    ("check last --repair", "rebuild the journal if they disagree"),
)
EXIT_CODES = {1: "something is wrong", 3: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``check``."""
    parser.add_argument("name", metavar="SWEEP", nargs="?", help=f"{options.SWEEP} (default: the newest here)")
    text = "rebuild the journal from the trials' folders, if anything is wrong"
    parser.add_argument("--repair", action="store_true", help=text)
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
    code, versions = _code_now(store), report.versions
    if args.json:
        findings = [vars(finding) for finding in report.findings]
        ran = [{"version": version, "attempts": n} for version, n in sorted(versions.items())]
        whole = {"ok": not findings, "trials": report.trials, "attempts": report.attempts, "findings": findings}
        print_json(whole | {"code": {"ran": ran, **code}})
    elif report.findings:
        print_sentences("\n".join(str(finding) for finding in report.findings))
    else:
        print_sentences(
            f"{counted(report.trials, 'trial')}, {counted(report.attempts, 'attempt')}: every trial once, none "
            "lost, none doubled"
        )
    if not args.json:
        for line in _code_lines(store, code, versions):
            note(line)
    return 1 if report.findings else 0


def _code_now(store: SweepStore) -> dict[str, Any]:
    """Return the version of the code in its folder now; and with a copy, the files that differ there from the copy."""
    copy = store.manifest.snapshot
    with suppress(StateUnreadableError):  # of a damaged code.json, or list of the copy, there is a finding
        if copy is None:
            return {"now": version_now(store.layout), "changed": []}
        from slurmsweep.state.code_copy import differences, read_list

        listed = [one for one in read_list(store.layout, copy) if one.kind != "link"]
        return {"now": None, "changed": [name for name, _ in differences(copy.root, listed)]}
    return {"now": None, "changed": []}


def _code_lines(store: SweepStore, code: Mapping[str, Any], versions: Mapping[str, int]) -> Iterator[str]:
    """Yield what is to be known of the code: that trials ran more than one, or that the folder holds another now."""
    from slurmsweep.report.code import code_words, version_words

    copy, changed = store.manifest.snapshot, code["changed"]
    if copy and changed:
        named = ", ".join(changed[:_NAMED]) + (f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else "")
        now = f"differs from it by now: {named}" if os.path.isdir(copy.root) else "is gone, or cannot be looked at"
        yield f"code: trials run {code_words(copy, versions)}; {copy.root} {now}"
    if len(versions) > 1:
        yield f"code: trials ran with {len(versions)} versions of it: {code_words(None, versions)}"
    if versions and code["now"] and code["now"] not in versions:
        yield f"code: the next trial runs another version than all before: {version_words(code['now'])}"


def _needs_repair(store: SweepStore) -> bool:
    """Return whether anything is wrong; a journal that cannot be read at all is."""
    try:
        return bool(check(store).findings)
    except StateUnreadableError:
        return True
