"""SBATCH_ variables of the user's shell: what was asked is what is submitted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from slurmsweep.backends.base import JobSource, SubmitOptions, When
from slurmsweep.backends.slurm import commands, inherited, wakeup
from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def script(tmp_path, monkeypatch, variables, wish: SubmitOptions | None = None, **of_sweep) -> dict[str, str]:
    """The options in the batch script of a sweep with these variables in the environment."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "jobs").mkdir(exist_ok=True)
    source = JobSource("slurmsweep-abcd1234", "/s", str(tmp_path / "jobs"), str(tmp_path), of_sweep)
    backend = SlurmBackend()
    text = backend.preview(backend.request(source, 2, wish or SubmitOptions()))
    return dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("variable", "value", "asked", "option", "expected"),
    [
        ("SBATCH_TIMELIMIT", "7", {"time": "5"}, "time", "5"),
        ("SBATCH_PARTITION", "urgent", {"partition": "main"}, "partition", "main"),
        ("SBATCH_MEM_PER_NODE", "300", {"mem": "100M"}, "mem", "100M"),
        ("SBATCH_ACCOUNT", "theirs", {"account": "mine"}, "account", "mine"),
        ("SBATCH_QOS", "low", {"qos": "high"}, "qos", "high"),
        ("SBATCH_GRES", "gpu:2", {"gres": "gpu:1"}, "gres", "gpu:1"),
        ("SBATCH_CLUSTERS", "other", {"clusters": "mine"}, "clusters", "mine"),
    ],
)
@pytest.mark.parametrize("place", ["command line", "sweep file"])
def test_what_is_asked_for_wins(tmp_path, monkeypatch, variable, value, asked, option, expected, place):
    wish, of_sweep = (SubmitOptions(options=asked), {}) if place == "command line" else (SubmitOptions(), asked)

    assert script(tmp_path, monkeypatch, {variable: value}, wish, **of_sweep)[option] == expected
    assert variable in inherited.removed(os.environ)


@pytest.mark.parametrize(
    ("variable", "value", "option", "expected"),
    [
        ("SBATCH_PARTITION", "urgent", "partition", "urgent"),
        ("SBATCH_MEM_PER_CPU", "300", "mem-per-cpu", "300"),
        ("SBATCH_REQ_SWITCH", "1", "switches", "1"),
        ("SBATCH_WCKEY", "thesis", "wckey", "thesis"),
        ("SBATCH_EXCLUSIVE", "1", "exclusive", ""),
        ("SBATCH_EXCLUSIVE", "user", "exclusive", "user"),
        ("SBATCH_SPREAD_JOB", "yes", "spread-job", ""),
        ("SBATCH_SPREAD_SEGMENTS", "1", "spread-segments", ""),
        ("SBATCH_SEGMENT_SIZE", "4", "segment", "4"),
        ("SBATCH_CPU_FREQ_REQ", "low", "cpu-freq", "low"),
        ("SBATCH_BURST_BUFFER", "capacity=1G", "bb", "capacity=1G"),
        ("SBATCH_TRES_PER_TASK", "license/x:1", "tres-per-task", "license/x:1"),
        ("SLURM_CLUSTERS", "other", "clusters", "other"),
    ],
)
def test_what_is_not_asked_for_still_counts_and_stands_in_the_script(
    tmp_path, monkeypatch, variable, value, option, expected
):
    assert script(tmp_path, monkeypatch, {variable: value})[option] == expected
    assert variable in inherited.removed(os.environ)


def test_a_wish_that_excludes_what_was_asked_for_does_not_count(tmp_path, monkeypatch):
    options = script(tmp_path, monkeypatch, {"SBATCH_MEM_PER_CPU": "300"}, SubmitOptions(options={"mem": "100M"}))

    assert "mem-per-cpu" not in options
    assert options["mem"] == "100M"


def test_what_slurmsweep_sets_itself_never_comes_from_the_environment(tmp_path, monkeypatch):
    ours = {
        "SBATCH_ARRAY_INX": "0-4",
        "SBATCH_JOB_NAME": "foo",
        "SBATCH_OUTPUT": "/x",
        "SBATCH_ERROR": "/x",
        "SBATCH_INPUT": "/x",
        "SBATCH_WAIT": "1",
    }
    options = script(tmp_path, monkeypatch, ours)

    assert options["array"] == "0-1"
    assert options["job-name"].startswith("slurmsweep-abcd1234-")
    assert not {"error", "input", "wait"} & options.keys()
    assert sorted(inherited.removed(ours)) == sorted(ours)


def test_variables_that_are_no_option_of_ours_are_left_to_sbatch():
    left = {"SBATCH_EXPORT": "NONE", "SBATCH_DEBUG": "1", "SBATCH_NEW_OF_2030": "x", "SBATCH_QOS": "", "SBATCH_": "1"}

    assert inherited.removed(left) == []
    assert inherited.wishes(left) == {}


def test_inside_a_job_the_surrounding_jobs_cluster_is_no_wish():
    assert inherited.wishes({"SLURM_CLUSTERS": "other", "SLURM_JOB_ID": "7"}) == {}


def test_a_wrong_value_names_where_it_came_from(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="the SBATCH_ variables of your environment: time 'soon' is not a time"):
        script(tmp_path, monkeypatch, {"SBATCH_TIMELIMIT": "soon"})


def test_plan_names_the_variables_that_count_and_shows_their_options(slurmsweep, write_sweep):
    variables = {"SBATCH_PARTITION": "urgent", "SBATCH_TIMELIMIT": "7", "SBATCH_JOB_NAME": "foo"}

    done = slurmsweep("plan", str(write_sweep("pass")), "--backend", "slurm", "--time", "5", **variables)

    assert "SBATCH_PARTITION of your environment counts: --partition urgent" in done.stderr
    assert "SBATCH_TIMELIMIT of your environment does not count: --time 5 is set" in done.stderr
    assert "SBATCH_JOB_NAME" not in done.stderr
    assert "#SBATCH --partition=urgent\n" in done.stdout
    assert "#SBATCH --time=5\n" in done.stdout


@pytest.fixture
def sbatch(tmp_path, monkeypatch) -> Path:
    """An sbatch that writes down its environment and its input."""
    program = tmp_path / "sbatch"
    program.write_text(f"#!/bin/sh\nenv > {tmp_path}/env\ncat > {tmp_path}/script\necho 7\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_a_supervisor_gets_the_wishes_of_the_shell_for_what_it_submits(sbatch, monkeypatch):
    monkeypatch.setenv("SBATCH_ACCOUNT", "my 'own'")
    monkeypatch.setenv("SBATCH_TIMELIMIT", "7")

    assert wakeup.submit("slurmsweep-abcd1234-mend", "exec env", {"time": "10"}, When()) == "7"

    assert "SBATCH_" not in (sbatch / "env").read_text()
    done = subprocess.run(["sh", sbatch / "script"], capture_output=True, text=True, check=True)
    assert {"SBATCH_ACCOUNT=my 'own'", "SBATCH_TIMELIMIT=7"} <= set(done.stdout.splitlines())


def test_variables_of_users_change_no_other_program_either(tmp_path, monkeypatch):
    names = ("SQUEUE_FORMAT", "SACCT_FORMAT", "SCANCEL_STATE", "SINFO_FORMAT", "SLURM_CLUSTERS")
    for name in names:
        monkeypatch.setenv(name, "x")

    seen = commands.call(sys.executable, "-c", "import os; print(*os.environ)").stdout.split()

    assert not set(names) & set(seen)
