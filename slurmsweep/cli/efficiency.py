"""The command that shows what was asked beside what was used."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from slurmsweep import search
from slurmsweep.backends.slurm import queue
from slurmsweep.backends.slurm.resources import asked
from slurmsweep.cli.reading import note, open_view, print_json
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.report.efficiency import attempts_table, efficiency_text, one_line
from slurmsweep.sizing.efficiency import measure
from slurmsweep.sizing.usage import Ledger
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from slurmsweep.control.snapshot import Snapshot
    from slurmsweep.sizing.efficiency import Efficiency, Resource
    from slurmsweep.sizing.usage import Usage
    from slurmsweep.sizing.walltime import Bounds

#: Attempts shown for people where nobody said.
_TABLE_LIMIT = 100


def efficiency(args: argparse.Namespace) -> int:
    """Asked beside used, and advice."""
    from slurmsweep.backends.slurm import accounting

    store = SweepStore.open(args.sweep)
    _, snapshot = open_view(args.sweep)
    jobs = {s.job for s in snapshot.view.submissions.values() if s.job}
    accounts, word = accounting.accounts(jobs)
    ledger = Ledger(snapshot.view, snapshot.ended, accounts, asked)
    document = _document(store, ledger, _bounds(store)) | {"accounting": word}
    limit = args.limit or (None if args.json else _TABLE_LIMIT)
    rows = list(map(_attempt, islice(_attempts(ledger), limit))) if args.trials else []
    if args.json:
        print_json(document | ({"attempts_of_trials": rows} if args.trials else {}))
        return 0
    if rows:
        print(attempts_table(rows))
        print()
    print(efficiency_text(document))
    if args.trials and len(rows) < document["attempts"]:
        note(f"the first {len(rows)} of {document['attempts']} attempts; --limit shows more")
    return 0


def note_efficiency(store: SweepStore, snapshot: Snapshot) -> None:
    """One line about a run on Slurm that has ended, from what agents recorded: accounting would lag."""
    usages = Ledger(snapshot.view, snapshot.ended, {}, asked).all()
    line = one_line(_efficiency(measure(usages)))
    if line:
        note(f"{line}: `slurmsweep efficiency {store.manifest.sweep_id}`")


def _document(store: SweepStore, ledger: Ledger, bounds: Bounds) -> dict[str, Any]:
    config, sweep_id = store.manifest.config, store.manifest.sweep_id
    found = measure(ledger.all(), lambda number: search.parameters(config, number, sweep_id), bounds)
    return {"id": sweep_id, **_efficiency(found)}


def _bounds(store: SweepStore) -> Bounds:
    """Within the default partition's limits, or the sweep file's; none where there is no Slurm to ask."""
    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.control.waves import bounds_of
    from slurmsweep.sizing.walltime import Bounds

    if queue.available():
        with suppress(SchedulerUnavailableError):
            return bounds_of(store, SubmitOptions())
    return Bounds(None, None, None, None, warning=60)


def _attempts(ledger: Ledger) -> Iterator[Usage]:
    return (usage for usage in chain.from_iterable(ledger.all()) if usage.origin is None)


def _attempt(usage: Usage) -> dict[str, Any]:
    return usage._asdict() | {"state": usage.state.value}


def _efficiency(found: Efficiency) -> dict[str, Any]:
    resources = {name: _resource(getattr(found, name)) for name in ("time", "cpu", "memory")}
    return found._asdict() | resources | {"advice": [advice._asdict() for advice in found.advice]}


def _resource(resource: Resource) -> dict[str, Any]:
    return resource._asdict() | {"share": resource.share}
