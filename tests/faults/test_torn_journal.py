"""The last record cut at every byte, alone, followed by NULs or by junk: another process goes on, nothing is doubled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from faults.promise import FINISHED, GONE, TALLY, prove, run_to_the_end

AFTER = {"cut": b"", "NULs": b"\0" * 64, "junk": b"\xff{]garbage"}


def last_line(path: Path) -> int:
    """Offset of the last record."""
    content = path.read_bytes()
    return content.rstrip(b"\n").rfind(b"\n") + 1


@pytest.mark.parametrize("junk", AFTER)
@pytest.mark.parametrize("last", ["claim", "end", "retry"])
def test_a_torn_record_costs_no_trial(make_store, tmp_path, junk, last):
    template = make_store(3, tmp_path / "template")
    claim = template.claim(GONE)
    acknowledged = []
    if last != "claim":
        template.finish(claim, FINISHED)
        acknowledged = [claim.attempt_id.trial]  # its folder says so, whatever becomes of the record
    if last == "retry":
        template.give_up(template.claim(GONE))
    content = Path(template.journal.path).read_bytes()

    for cut in range(last_line(Path(template.journal.path)), len(content)):
        store = make_store(3, tmp_path / str(cut))
        copy_folders(template, store)
        Path(store.journal.path).write_bytes(content[:cut] + AFTER[junk])
        TALLY.faults += 1

        run_to_the_end(store)

        prove(store, acknowledged, f"{last} cut at byte {cut}, then {junk}")


def copy_folders(template, store) -> None:
    """Return the attempts' folders as they were when the journal was torn."""
    shutil.rmtree(store.layout.trials)
    shutil.copytree(template.layout.trials, store.layout.trials)


def test_a_record_that_lost_only_its_newline_never_counts(make_store):
    """A bare newline after it would revive it, after its trial was given to another agent."""
    store = make_store(2)
    store.claim(GONE)
    path = Path(store.journal.path)
    path.write_bytes(path.read_bytes()[:-1])
    TALLY.faults += 1

    run_to_the_end(store)

    view = store.replay()
    assert (view.sealed, view.damaged) == (1, [])
    prove(store, [], "newline lost")


def test_nothing_but_the_header_left(make_store):
    """As after a file server that lost everything unsynced, and more."""
    store = make_store(3)
    store.finish(store.claim(GONE), FINISHED)
    path = Path(store.journal.path)
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    TALLY.faults += 1

    run_to_the_end(store)

    prove(store, [0], "all records lost")
