"""What a plan says a sweep would cost."""

from __future__ import annotations

import json
import os

import pytest

from slurmsweep.backends.base import JobRequest, JobSource, StartEstimate
from slurmsweep.backends.slurm import commands, executor, limits
from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.backends.slurm.resources import minutes
from slurmsweep.control.planning.forecast import forecast

#: The plan of a cluster is made on any machine.
SLURM = ("--backend", "slurm")


def request(tasks, **options) -> JobRequest:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return JobRequest("x", tasks, tasks, None, None, named, "array", "slurmsweep", JobSource("x", "/s", "/s/jobs", "/"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", 30),
        ("30:30", 30.5),
        ("1:30:00", 90),
        ("2-0", 2880),
        ("1-12:30", 2190),
        ("0-0:1:30", 1.5),
        ("UNLIMITED", None),
    ],
)
def test_slurms_forms_of_time_are_minutes(text, value):
    assert minutes(text) == value


@pytest.mark.parametrize(
    ("options", "hours"),
    [
        ({"time": "30"}, 12.0),
        ({"time": "1:00:00", "cpus_per_task": "4"}, 96.0),
        ({"time": "60", "ntasks": "2", "cpus_per_task": "3"}, 144.0),
        ({"time": "60", "nodes": "2", "ntasks_per_node": "4"}, 192.0),
        ({"time": "INFINITE"}, None),
    ],
)
def test_core_hours_are_trials_times_cpus_times_time(options, hours):
    asked = SlurmBackend().asked({name.replace("_", "-"): value for name, value in options.items()})

    assert forecast(request(24, **options), asked, StartEstimate((24,))).core_hours == hours


def test_where_no_place_says_a_time_the_default_counts(slurmsweep, write_sweep):
    file = write_sweep("pass", "  x: {min: 1, max: 24}")

    assert json.loads(slurmsweep("plan", str(file), "--json", *SLURM).stdout)["forecast"]["core_hours"] == 24.0


def test_arrays_are_those_that_slurm_allows(monkeypatch):
    monkeypatch.setattr(commands, "available", lambda: False)
    assert SlurmBackend().estimate(request(5000)).arrays == (5000,)

    monkeypatch.setattr(commands, "available", lambda: True)
    monkeypatch.setattr(executor, "earliest_start", lambda request: (None, None))
    monkeypatch.setattr(limits, "max_array_size", lambda cluster="": 2001)
    assert SlurmBackend().estimate(request(5000)).arrays == (2001, 2001, 998)


def test_jobs_that_wait_for_others_have_no_earliest_start(monkeypatch):
    monkeypatch.setattr(commands, "available", lambda: True)
    monkeypatch.setattr(executor, "earliest_start", lambda request: ("2026-11-30T03:36:01", None))
    monkeypatch.setattr(limits, "max_array_size", lambda cluster="": 2001)

    starts = [
        SlurmBackend().estimate(request(2, **options)).earliest_start for options in ({}, {"dependency": "afterany:1"})
    ]

    assert starts == ["2026-11-30T03:36:01", None]


def test_the_estimate_of_files_is_what_a_sweep_makes(slurmsweep, write_sweep, tmp_path):
    script = "import slurmsweep\nslurmsweep.init()\nslurmsweep.log({'x': 1})"
    file = write_sweep(script, "  x: {min: 1, max: 5}")
    expected = json.loads(slurmsweep("plan", str(file), "--json").stdout)["forecast"]
    assert slurmsweep("run", str(file), "--backend", "local").returncode == 0

    [sweep] = (tmp_path / "wandb").iterdir()
    assert expected["inodes"] == len([sweep, *sweep.rglob("*")])
    assert 0.5 < (sweep / "journal.log").stat().st_size / expected["journal_bytes"] < 1.5


def test_ten_million_points_plan_at_once(slurmsweep, write_sweep):
    file = write_sweep("pass", "  a: {min: 1, max: 10000}\n  b: {min: 1, max: 1000}")

    document = json.loads(slurmsweep("plan", str(file), "--json", "--limit", "3").stdout)

    assert document["expected_run_count"] == 10_000_000
    assert [trial["params"] for trial in document["trials"]] == [{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 3}]


def test_a_plan_for_people_has_every_part(slurmsweep, write_sweep):
    text = slurmsweep("plan", str(write_sweep("pass")), "--time", "30", *SLURM).stdout

    assert "grid search, 3 trials" in text
    assert "/usr/bin/env python train.py --x=1" in text
    assert "3 jobs in 1 array, at most 1.5 core-hours" in text
    assert "#SBATCH --array=0-2" in text


def test_a_search_without_end_asks_for_a_count_only_where_it_has_none(slurmsweep, write_sweep):
    file = str(write_sweep("pass", "  x: {min: 0.0, max: 1.0}", method="random"))

    without, counted = slurmsweep("plan", file, *SLURM), slurmsweep("plan", file, "--count", "3", *SLURM)

    assert "random search, no end: give --count\n" in without.stdout
    assert "jobs, files and cost are those of one trial" in " ".join(without.stderr.split())
    assert "random search, no end: 3 trials of it\n" in counted.stdout
    assert "  ...\n" in without.stdout
    assert "  ...\n" not in counted.stdout
    assert "no end" not in counted.stderr


def test_a_plan_for_this_machine_has_no_array_no_script_and_asks_slurm_nothing(
    slurmsweep, write_sweep, tmp_path, monkeypatch
):
    asked = tmp_path / "asked"
    (tmp_path / "bin").mkdir()
    for program in ("sbatch", "scontrol", "squeue", "sacct", "sinfo"):
        (tmp_path / "bin" / program).write_text(f"#!/bin/sh\necho {program} >> {asked}\n")
        (tmp_path / "bin" / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    words = ("plan", str(write_sweep("pass")), "--backend", "local", "--jobs", "2", "--time", "30")

    done, document = slurmsweep(*words), json.loads(slurmsweep(*words, "--json").stdout)

    assert (document["backend"], document["width"], document["sbatch"]) == ("local", 2, None)
    assert (document["forecast"]["arrays"], document["forecast"]["core_hours"]) == ([], None)
    assert "\n3 trials on this machine, 2 at a time (--jobs), without a time limit\n" in done.stdout
    assert "SBATCH" not in done.stdout
    assert "the local backend does not limit trials: --time is ignored" in done.stderr
    assert not asked.exists()


def test_without_sbatch_a_plan_is_for_this_machine_and_shows_the_script_of_a_cluster_where_it_is_asked_for(
    slurmsweep, write_sweep, monkeypatch
):
    monkeypatch.setattr(commands, "available", lambda: False)
    file = str(write_sweep("pass"))

    here, there = (json.loads(slurmsweep("plan", file, "--json", *words).stdout) for words in ((), SLURM))

    assert (here["backend"], here["width"], here["sbatch"]) == ("local", 1, None)
    assert (there["backend"], there["width"], there["forecast"]["arrays"]) == ("slurm", None, [3])
    assert "#SBATCH --array=0-2\n" in there["sbatch"]


def test_a_canary_says_what_one_trial_used_and_its_point_can_be_kept(slurmsweep, write_sweep, tmp_path):
    script = "block = bytearray(80 * 2**20)\nfor i in range(2 * 10**6): pass\nprint('x' * 99)"
    file = str(write_sweep(script, "  x: {values: [1, 2, 3]}"))

    document = json.loads(slurmsweep("plan", file, "--canary", "--backend", "local", "--json").stdout)

    used = document["canary"]
    assert (used["state"], used["log_bytes"], used["files"]) == ("finished", 100, 5)
    assert 80 < used["max_rss_mb"] < 400
    assert 0 < used["cpu_seconds"] <= used["seconds"] * 2
    assert document["expected_run_count"] == 3
    kept = slurmsweep("create", file, "--prior", used["sweep"])
    assert "will not be run again: 1" in kept.stderr


@pytest.mark.parametrize(("method", "is_said"), [("grid", True), ("random", False)])
def test_only_the_canary_of_a_grid_says_how_a_grid_keeps_its_point(slurmsweep, write_sweep, method, is_said):
    file = str(write_sweep("pass", "  x: {values: [1, 2]}", method=method))

    text = slurmsweep("plan", file, "--canary", "--backend", "local", "--count", "2").stdout

    assert "canary: finished" in text
    assert ("a grid keeps its point" in text) == is_said


def test_a_canary_that_fails_says_so_and_exits_with_1(slurmsweep, write_sweep):
    done = slurmsweep("plan", str(write_sweep("raise SystemExit(3)")), "--canary", "--backend", "local")

    assert done.returncode == 1
    assert "canary: failed (exit 3), log in" in done.stdout
