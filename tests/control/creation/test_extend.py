"""``extend``: more trials for a sweep that has an end."""

from __future__ import annotations

import json

import pytest

import slurmsweep
from slurmsweep.control.creation.program import moved
from slurmsweep.control.session import Session
from slurmsweep.errors import LockTimeoutError
from slurmsweep.state.store import SweepStore

SCRIPT = "import slurmsweep\nrun = slurmsweep.init()\nrun.log({'loss': run.config['x']})\n"
METRIC = "metric: {name: loss, goal: minimize}\n"


def points(slurmsweep, sweep: str) -> list[float]:
    return [trial["params"]["x"] for trial in json.loads(slurmsweep("trials", sweep, "--json").stdout)]


def test_a_random_search_goes_on_as_if_its_run_cap_had_been_larger(slurmsweep, write_sweep, tmp_path):
    file = str(write_sweep(SCRIPT, "  x: {min: 0.0, max: 1.0}", METRIC + "run_cap: 2", method="random"))
    sweep = json.loads(slurmsweep("run", file, "--backend", "local", "--json").stdout)["id"]
    before = points(slurmsweep, sweep)

    done = slurmsweep("extend", sweep, "--count", "2")
    assert (done.returncode, done.stdout) == (
        0,
        f"sweep {sweep} has 4 trials now: `slurmsweep run {sweep}` starts what is new\n",
    )
    status = json.loads(slurmsweep("status", sweep, "--json").stdout)
    assert (status["state"], status["expected_run_count"], status["counts"]["pending"]) == ("idle", 4, 2)

    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
    assert points(slurmsweep, sweep)[:2] == before
    assert len(set(points(slurmsweep, sweep))) == 4
    assert slurmsweep("check", sweep).returncode == 0
    config = json.loads((tmp_path / f".slurmsweep/sweep-{sweep}/sweep.json").read_text())["config"]
    assert config["run_cap"] == 2


def test_what_cannot_be_extended_is_refused_with_what_can_be_done(slurmsweep, write_sweep, tmp_path):
    grid = slurmsweep("create", str(write_sweep(SCRIPT, "  x: {values: [1, 2, 3]}", "run_cap: 2"))).stdout.strip()
    endless = slurmsweep(
        "create", str(write_sweep(SCRIPT, "  x: {min: 0.0, max: 1.0}", method="random"))
    ).stdout.strip()
    manifest = tmp_path / f".slurmsweep/sweep-{grid}/sweep.json"
    before = manifest.read_bytes()

    done = slurmsweep("extend", grid, "-n", "2")
    assert done.returncode == 2
    assert "has 3 points, of which 1 are left" in done.stderr
    assert f"create FILE --prior {grid}" in done.stderr
    assert manifest.read_bytes() == before
    assert json.loads(slurmsweep("extend", grid, "-n", "1", "--json").stdout) == {
        "sweep": grid,
        "added": 1,
        "trials": 3,
    }

    done = slurmsweep("extend", endless, "-n", "50")
    assert (done.returncode, f"`slurmsweep run {endless} --count 50` runs 50 more" in done.stderr) == (2, True)


def test_records_beyond_the_number_that_a_process_read_spoil_no_kept_view(
    slurmsweep, write_sweep, monkeypatch, tmp_path
):
    """A command that opened the sweep before may keep a view in which the new trials are wrong."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("slurmsweep.state.view_cache._WORTH_KEEPING", 1)
    file = str(write_sweep(SCRIPT, "  x: {min: 0.0, max: 1.0}", METRIC + "run_cap: 1", method="random"))
    sweep = slurmsweep("create", file).stdout.strip()
    older = Session.open(SweepStore.open(sweep).layout.folder)

    assert slurmsweep("extend", sweep, "-n", "1").returncode == 0
    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
    assert older.refresh().wrong  # and keeps that

    assert not Session.open(older.store.layout.folder).refresh().wrong


def test_two_calls_from_python_both_count(write_sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"method": "random", "run_cap": 1, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    name = slurmsweep.sweep(content)
    first, second = slurmsweep.Sweep(name), slurmsweep.Sweep(name)

    assert (first.extend(2), second.extend(3)) == (3, 6)
    assert second.session.open_trials() == 6


def test_more_points_of_several_runs_and_none_for_a_race(slurmsweep, write_sweep):
    repeats = "run_cap: 1\nslurmsweep: {repeats: {parameter: seed, count: 3%s}}"
    file = str(write_sweep(SCRIPT, "  x: {min: 0.0, max: 1.0}", METRIC + repeats % "", method="random"))
    sweep = slurmsweep("create", file).stdout.strip()
    before = points(slurmsweep, sweep)
    assert json.loads(slurmsweep("extend", sweep, "-n", "2", "--json").stdout)["added"] == 6
    rows = json.loads(slurmsweep("trials", sweep, "--repeats", "--json").stdout)
    assert [row["params"]["x"] for row in rows[:3]] == before * 3
    assert [row["params"]["seed"] for row in rows] == [0, 1, 2] * 3

    grid = slurmsweep("create", str(write_sweep(SCRIPT, extra=METRIC + repeats % ""))).stdout.strip()
    assert "has 3 points, of which 2 are left" in slurmsweep("extend", grid, "-n", "3").stderr
    assert slurmsweep("extend", grid, "-n", "2").returncode == 0

    race = slurmsweep("create", str(write_sweep(SCRIPT, extra=METRIC + repeats % ", race: true"))).stdout.strip()
    done = slurmsweep("extend", race, "-n", "1")
    assert (done.returncode, "has a race" in done.stderr) == (2, True)


def test_the_folder_of_the_trials_is_changed_under_the_lock(write_sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"method": "random", "run_cap": 1, "parameters": {"x": {"min": 0.0, "max": 1.0}}}
    store = slurmsweep.Sweep(slurmsweep.sweep(content)).session.store
    with store.transaction(), pytest.raises(LockTimeoutError):
        moved(SweepStore(store.layout, store.manifest, lock_timeout=0.1), str(tmp_path))
