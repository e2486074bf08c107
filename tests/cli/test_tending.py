"""The arguments of set and mend: what cannot be meant is refused before anything is made or asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SWEEP = "program: train.py\nmethod: grid\nparameters:\n  x: {values: [1, 2]}\n"


@pytest.fixture
def sweep(slurmsweep, tmp_path):
    (tmp_path / "train.py").write_text("pass")
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return slurmsweep("create", "sweep.yaml").stdout.strip()


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ((), "say what to change"),
        (("--sbatch", "ntasks=4"), "cannot be changed on jobs that are submitted"),
        (("--sbatch", "nonsense=4"), "not an option of sbatch"),
        (("--time", "soon"), "not a time"),
        (("--mem", "much"), "not a memory"),
        (("--width", "4", "--running"), "give --time too"),
        (("--sbatch", "comment=a\nb"), "control character"),
    ],
)
def test_a_change_that_cannot_be_meant_is_refused(slurmsweep, sweep, argv, word):
    done = slurmsweep("set", sweep, *argv)

    assert (done.returncode, done.stdout) == (2, "")
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_without_jobs_nothing_is_changed_and_that_is_said_first(slurmsweep, sweep):
    done = slurmsweep("set", sweep, "--time", "45", "--json")

    assert (done.returncode, json.loads(done.stdout)) == (1, [])
    said = slurmsweep("set", sweep, "--time", "45").stderr
    assert said == f"slurmsweep: nothing was changed: no job of sweep {sweep} waits\n"


@pytest.mark.parametrize("command", [("run", "sweep.yaml"), ("resubmit", None)])
def test_mending_is_for_slurm(slurmsweep, sweep, tmp_path, command):
    name, file = command
    before = sorted(tmp_path.rglob("*"))

    done = slurmsweep(name, file or sweep, "--backend", "local", "--mend")

    assert done.returncode == 2
    assert "--mend: the local backend cannot start a supervisor" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "word"),
    [("nonsense=1", "not an option of sbatch"), ("=x", "write NAME=VALUE"), ("array=1", "set by slurmsweep")],
)
def test_a_wrong_option_of_the_supervisor_is_refused_before_anything_is_submitted(
    slurmsweep, sweep, tmp_path, option, word
):
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("sbatch", "squeue", "scontrol"):
        (programs / program).write_text(f"#!/bin/sh\necho {program} >> {tmp_path}/asked\nexit 1\n")
        (programs / program).chmod(0o755)

    done = slurmsweep("submit", sweep, "--mend", "--mend-sbatch", option, PATH=f"{programs}:/usr/bin:/bin")

    assert done.returncode == 2, done.stderr
    assert word in done.stderr
    assert not (tmp_path / "asked").exists()
    assert not (Path(tmp_path) / "wandb" / f"sweep-{sweep}" / "mend").exists()


@pytest.mark.parametrize(
    "command", [("run", "sweep.yaml"), ("plan", "sweep.yaml"), ("submit", None), ("resubmit", None)]
)
def test_an_option_of_the_supervisors_job_without_a_supervisor_is_refused(slurmsweep, sweep, command):
    name, file = command

    done = slurmsweep(name, file or sweep, "--mend-sbatch", "partition=short")

    assert done.returncode == 2
    assert "--mend-sbatch stands with --mend" in done.stderr


def test_the_plan_of_a_sweep_that_mends_itself_names_the_jobs_of_its_supervisor(slurmsweep, sweep):
    done = slurmsweep("plan", "sweep.yaml", "--backend", "slurm", "--mend", PATH="/nowhere")

    assert (done.returncode, "--mend adds two small jobs of the supervisor" in done.stderr) == (0, True)
    assert "supervisor" not in slurmsweep("plan", "sweep.yaml", "--backend", "slurm", PATH="/nowhere").stderr


@pytest.mark.parametrize(
    ("backend", "said"),
    [("slurm", "this plan shows what those are given"), ("local", "no time and no memory is learnt")],
)
def test_a_plan_says_whether_what_is_auto_is_learnt_there(slurmsweep, sweep, backend, said):
    done = slurmsweep("plan", "sweep.yaml", "--backend", backend, "--time", "auto", PATH="/nowhere")

    assert (done.returncode, said in done.stderr) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("options", "instead"),
    [
        (["--mend"], "`slurmsweep resubmit SWEEP` runs again what did not finish"),
        (["--no-wait"], "without it the command stays until the trials have ended"),
        (["--after", "abcd1234"], "with && between them"),
    ],
)
def test_what_this_machine_cannot_do_is_refused_with_what_to_do_instead(slurmsweep, sweep, options, instead):
    done = slurmsweep("run", "sweep.yaml", "--backend", "local", *options)

    assert (done.returncode, instead in done.stderr) == (2, True), done.stderr


def test_a_sweep_that_does_not_mend_itself_says_nothing_of_it(slurmsweep, sweep):
    assert json.loads(slurmsweep("status", sweep, "--json").stdout)["mending"] is None
    assert "mending" not in slurmsweep("status", sweep).stdout


@pytest.mark.parametrize("command", ["set", "mend"])
def test_an_unknown_sweep(slurmsweep, command):
    done = slurmsweep(command, "zzzzzzzz")

    assert done.returncode == 3
    assert "no sweep zzzzzzzz" in done.stderr


def test_a_local_sweep_never_asks_for_a_supervisor(slurmsweep, write_sweep):
    assert slurmsweep("run", str(write_sweep("pass")), "--backend", "local").returncode == 0
    refused = slurmsweep("mend", "last")
    status = slurmsweep("status", "last")

    assert refused.returncode == 2
    assert "mend: the local backend cannot start a supervisor later" in refused.stderr
    assert "mend" not in status.stdout + status.stderr
