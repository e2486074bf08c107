"""The doctor: every line is good, warn or bad, says why, and what to do where something is to be done."""

from __future__ import annotations

import json
import os
import subprocess
from types import SimpleNamespace

import pytest

from slurmsweep.backends.slurm import commands
from slurmsweep.backends.slurm.cluster import setting
from slurmsweep.backends.slurm.site import Site, parse_submit_limits
from slurmsweep.cli.commands import doctor
from slurmsweep.doctor import checks
from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.state.filesystem import Fitness

#: What two processes on two nodes saw of a filesystem where all is well.
SEEN = {"host": "n1", "python": "3.11.2", "wandb": "0.31.0", "made": 60, "intruders": 0, "lock_error": None}
FIRST = {**SEEN, "name_delay": 0.004, "byte_delay": 0.9, "clock": 0.002}
SECOND = {**SEEN, "host": "n2", "made": 40, "name_delay": None, "byte_delay": None, "clock": None}

SITE = Site((), "22.05.8", "", 1001, 10000, "on", None)

#: Lines of ``scontrol show config`` (22.05).
CONFIG = """\
MaxArraySize            = 1001
MaxJobCount             = 10000
AccountingStorageHost   = (null)
SLURM_VERSION           = 22.05.8
"""


def fitness_of(findings) -> dict:
    return {finding.subject: finding.fitness for finding in findings}


def test_a_healthy_filesystem_between_two_nodes():
    findings = checks.judge_trial([FIRST, SECOND])

    assert set(fitness_of(findings).values()) == {Fitness.GOOD}
    assert [finding.subject for finding in findings if "n1 and n2" in finding.why] == ["mkdir", "lock", "delay"]


@pytest.mark.parametrize(
    ("change", "subject", "fitness", "word"),
    [
        ({"made": 61}, "mkdir", Fitness.BAD, "not each has one maker"),
        ({"intruders": 3}, "lock", Fitness.BAD, "two at once 3 times"),
        ({"lock_error": "Function not implemented"}, "lock", Fitness.BAD, "cannot be locked"),
        ({"name_delay": 7.0}, "delay", Fitness.WARN, "7.0 s"),
        ({"clock": -60.0}, "clock", Fitness.WARN, "60.000 s apart"),
        ({"wandb": None}, "wandb on n1", Fitness.WARN, "no wandb"),
    ],
)
def test_each_thing_that_can_be_wrong_is_told(change, subject, fitness, word):
    [finding] = [f for f in checks.judge_trial([{**FIRST, **change}, SECOND]) if f.subject == subject]

    assert (finding.fitness, word in finding.why, bool(finding.advice)) == (fitness, True, True)


def test_processes_that_do_not_see_each_other_are_bad():
    [finding] = checks.judge_trial([{"host": "n1", "error": "the other process did not come"}])

    assert finding.fitness is Fitness.BAD


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"slurm": "good", "accounting": "good", "limits": "good"}),
        ({"missing": ("sbatch",)}, {"slurm": "warn"}),
        ({"missing": ("sacct",)}, {"slurm": "bad", "accounting": "good", "limits": "good"}),
        ({"silent": "scontrol: no answer"}, {"slurm": "bad"}),
        (
            {"accounting": "Slurm accounting storage is disabled"},
            {"slurm": "good", "accounting": "warn", "limits": "good"},
        ),
        ({"submit_limit": 50}, {"slurm": "good", "accounting": "good", "limits": "warn"}),
    ],
)
def test_what_is_thought_of_a_cluster(change, expected):
    site = Site(**{**SITE.__dict__, **change})

    assert {name: str(fitness) for name, fitness in fitness_of(checks.judge_site(site)).items()} == expected


def test_settings_and_limits_are_read_from_what_slurm_prints():
    assert setting(CONFIG, "SLURM_VERSION") == "22.05.8"
    assert setting(CONFIG, "AccountingStorageHost") == ""
    assert setting(CONFIG, "Nothing") == ""
    assert parse_submit_limits("\n200\n50\n") == 50
    assert parse_submit_limits("\n\n") is None


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("_LOCAL_PATIENCE", 0.01, "what tries it has not ended after 0.01 s"),
        ("_collect", lambda place, count: [], "what tried it could not leave its result there"),
    ],
)
def test_a_folder_from_which_no_result_comes_is_bad_and_nothing_is_left_there(tmp_path, monkeypatch, name, value, why):
    monkeypatch.setattr(checks, name, value)

    [tried] = doctor._try_out(str(tmp_path), 1, {}, 0)

    assert (str(tried.fitness), tried.subject, tried.why) == ("bad", "tried", f"{tmp_path}: {why}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            "slurm_load_jobs error: Unable to contact slurm controller",
            "squeue: slurm_load_jobs error: Unable to contact",
        ),
        ("slurm_load_jobs error: Invalid job id specified", "job 7 on 2 nodes ended without a result"),
    ],
)
def test_only_a_job_that_slurm_does_not_know_any_more_has_ended(tmp_path, monkeypatch, said, why):
    def call(*argv, text=""):
        answer = (1, "", said) if "squeue" in argv else (0, "7\n", "")
        return subprocess.CompletedProcess(argv, *answer)

    monkeypatch.setattr(commands, "call", call)

    with pytest.raises(SchedulerUnavailableError, match=why):
        checks.try_out_on_nodes(str(tmp_path), 2, {}, 60)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_of_this_machine_really_try_the_folder(slurmsweep, tmp_path):
    done = slurmsweep("doctor", str(tmp_path), "--json")

    rows = json.loads(done.stdout)
    said = {row["subject"]: row["fitness"] for row in rows}
    assert (said["mkdir"], said["lock"], said["delay"]) == ("good", "good", "good")
    assert all(row["advice"] for row in rows if row["fitness"] != "good")
    assert list(tmp_path.iterdir()) == []
    assert done.returncode == (1 if "bad" in said.values() else 0)


def test_a_folder_that_is_not_there(slurmsweep, tmp_path):
    done = slurmsweep("doctor", str(tmp_path / "nothing"))

    assert (done.returncode, "is not a folder" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("mebibytes", "files", "free", "expected"),
    [
        (1, 1000, 100, {"space": Fitness.BAD, "files": Fitness.BAD}),
        (1 << 10, 10**6, 50_000, {"space": Fitness.WARN, "files": Fitness.WARN}),
        (1 << 20, 10**6, 10**6, {"space": Fitness.GOOD, "files": Fitness.GOOD}),
        (1 << 20, 0, 0, {"space": Fitness.GOOD, "files": Fitness.GOOD}),
    ],
)
def test_little_space_and_few_files_are_told(tmp_path, monkeypatch, mebibytes, files, free, expected):
    status = SimpleNamespace(f_bavail=mebibytes, f_frsize=1 << 20, f_files=files, f_favail=free)
    monkeypatch.setattr(os, "statvfs", lambda folder: status)

    found = fitness_of(checks.look_at_folder(str(tmp_path), cluster=False))

    assert {subject: found[subject] for subject in expected} == expected
