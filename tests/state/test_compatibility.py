"""Journals of every version that was ever released are read as they were meant."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from slurmsweep.state.lifecycle import SweepState
from slurmsweep.state.owner import Owner
from slurmsweep.state.paths import Layout
from slurmsweep.state.store import SweepStore
from slurmsweep.state.view_cache import Follower

DATA = Path(__file__).parent.parent / "data"
VERSIONS = sorted(path.name for path in DATA.glob("sweep-v*"))


def told(version: str):
    """Return the question that was asked when the journal was made."""
    spec = importlib.util.spec_from_file_location("make", DATA / version / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.told


@pytest.fixture(params=VERSIONS)
def old(request, tmp_path):
    """Return a copy of an old sweep, and what it says."""
    folder = tmp_path / "wandb" / "sweep-v1v1v1v1"
    folder.mkdir(parents=True)
    for name in ("sweep.json", "journal.log"):
        shutil.copy(DATA / request.param / name, folder)
    expected = json.loads((DATA / request.param / "expected.json").read_text())
    for number in expected["trials"]:
        Path(Layout(str(folder)).trial(int(number))).mkdir(parents=True)
    return SweepStore.open_to_run(str(folder)), expected, told(request.param)


def test_there_is_a_journal_of_every_version():
    from slurmsweep.state.journal import VERSION

    assert [f"sweep-v{n}" for n in range(1, VERSION + 1)] == VERSIONS


def test_an_old_journal_is_read_as_it_was_meant(old):
    store, expected, said = old

    assert json.loads(json.dumps(said(store))) == expected
    assert Follower(store).refresh().counts() == store.replay().counts()


def test_an_old_sweep_goes_on(old):
    store, expected, said = old
    with store.transaction() as transaction:
        transaction.order(SweepState.RUNNING)

    claim = store.claim(Owner("here", 1, 1, "b"))

    assert [claim.attempt_id.trial, claim.attempt_id.attempt] in expected["waiting"]
    after = said(store)
    assert after["damaged"] == 0
    assert after["sealed"] == expected["sealed"] + 1  # the torn end
    assert len(after["waiting"]) == len(expected["waiting"]) - 1
