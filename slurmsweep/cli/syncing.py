"""The command that takes runs to W&B: sync."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.cli.reading import note, print_json, trial_states
from slurmsweep.report.progress import steps
from slurmsweep.state import view_cache as foldcache
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore
from slurmsweep.sync.upload import Result, find, upload

if TYPE_CHECKING:
    import argparse

    from slurmsweep.sync.upload import Found

#: Failures that are shown one by one.
_SHOWN = 10


def sync(args: argparse.Namespace) -> int:
    """Upload offline runs; exit code 1 where one could not be."""
    store = SweepStore.open_to_run(args.sweep)
    states = trial_states(args.state) or {TrialState.FINISHED}
    found = find(store, foldcache.read(store), states, args.trials, again=args.include_synced)
    result = Result()
    if found.uploads and not args.dry_run:
        with steps(len(found.uploads), "trials") as show:
            result = upload(store, found.uploads, _options(args), args.jobs, show)
    if args.json:
        print_json(_document(found, result))
    elif args.dry_run:
        _show_plan(found)
    else:
        _show(found, result)
    return 1 if result.failed else 0


def _options(args: argparse.Namespace) -> list[str]:
    """For `wandb sync`."""
    given = {"--project": args.project, "--entity": args.entity}
    return [part for name, value in given.items() if value for part in (name, value)]


def _document(found: Found, result: Result) -> dict[str, Any]:
    return {
        "to_upload": [{"trial": one.trial, "runs": list(one.run_files)} for one in found.uploads],
        "uploaded": sorted(result.done),
        "empty": sorted(result.empty),
        "failed": [{"trial": trial, "reason": reason} for trial, reason in sorted(result.failed.items())],
        "not_tried": result.untried,
        "uploaded_before": found.synced,
        "without_run": found.without,
    }


def _show_plan(found: Found) -> None:
    for one in found.uploads:
        print(f"trial {one.trial}: " + ", ".join(one.run_files))
    print(f"would upload the runs of {len(found.uploads)} trials; {_rest(found)}")


def _show(found: Found, result: Result) -> None:
    print(f"uploaded the runs of {len(result.done)} trials; {_rest(found)}")
    if result.empty:
        note(f"{len(result.empty)} trials were killed before wandb had written anything: nothing to upload of them")
    for trial, reason in sorted(result.failed.items())[:_SHOWN]:
        note(f"trial {trial}: {reason}")
    if result.failed:
        untried = f", {len(result.untried)} were not tried after that" if result.untried else ""
        note(f"{len(result.failed)} trials could not be uploaded{untried}; the same command goes on with them")


def _rest(found: Found) -> str:
    return f"{found.synced} were uploaded before, {found.without} have no offline wandb run"
