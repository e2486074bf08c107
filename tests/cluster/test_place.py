"""Two runs on one machine have different folders and ports; a run that was told where its clusters are is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.place import own_place


@pytest.fixture(autouse=True)
def _told_nothing(monkeypatch):
    monkeypatch.delenv("SLURMSWEEP_LAB", raising=False)
    monkeypatch.delenv("SLURMSWEEP_LAB_PORTS", raising=False)


def test_the_second_of_two_runs_has_other_ports_and_another_folder(tmp_path):
    with own_place("lab", tmp_path) as first, own_place("weekend", tmp_path) as second:
        last = second.beside("private", 400)
    with own_place("weekend", tmp_path) as after:
        pass

    assert first == (tmp_path / "lab", 26800)
    assert second == (tmp_path / "weekend-1", 26300)
    assert last.knobs == {
        "SLURMSWEEP_LAB": str(tmp_path / "weekend-1-private"),
        "SLURMSWEEP_LAB_PORTS": "26700",
    }
    assert after == (tmp_path / "weekend", 26800)


def test_what_was_asked_for_is_taken(monkeypatch):
    monkeypatch.setenv("SLURMSWEEP_LAB", "/somewhere/lab")
    monkeypatch.setenv("SLURMSWEEP_LAB_PORTS", "29000")

    with own_place("lab") as first, own_place("lab") as second:
        assert first == second == (Path("/somewhere/lab"), 29000)
