"""Every example runs to the end as its README says, locally."""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
EXAMPLES = {
    "quickstart": 12,
    "digits": 24,
    "wandb_offline": 4,
    "function": 6,
    "bayes_in_parts": 12,
    "any_program": 3,
    "conditional": 14,
    "arguments": 8,
    "gpus": 8,
    "best_of_run": 6,
    "two_stages": 9,
    "snapshot": 4,
    "more": 4,
    "repeats": 18,
    "sagemaker": 3,
}

#: Examples whose frameworks are in an environment of their own: tests/frameworks runs them.
ELSEWHERE = {"hydra", "lightning", "transformers", "torchrun"}

#: What else an example is run with, as its README says.
OPTIONS = {"function": ["--function", "train:train"], "gpus": ["--gpus", "0-3"]}


@pytest.fixture(scope="module")
def run_example(slurmsweep_in, tmp_path_factory):
    """Copy an example and run it, once for all tests that look at it; its folder, and its status document."""

    @functools.cache
    def run(name) -> tuple[Path, dict]:
        folder = tmp_path_factory.mktemp(name)
        shutil.copytree(REPOSITORY / "examples" / name, folder / name, ignore=shutil.ignore_patterns("wandb"))
        options = ["--backend", "local", "--jobs", "2", "--json", *OPTIONS.get(name, [])]
        done = slurmsweep_in(folder, "run", f"{name}/sweep.yaml", *options)
        assert done.returncode == 0, done.stderr
        return folder, json.loads(done.stdout)

    return run


def test_every_example_is_tested(repository):
    assert {
        folder.name for folder in (repository / "examples").iterdir() if folder.is_dir()
    } == EXAMPLES.keys() | ELSEWHERE


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_to_the_end_and_has_a_best_trial(run_example, slurmsweep, name):
    folder, status = run_example(name)

    assert status["counts"]["finished"] == status["expected_run_count"] == EXAMPLES[name]
    assert status["best"]["metric"] is not None
    assert slurmsweep("check", status["id"], cwd=folder).returncode == 0


def test_a_trial_that_is_run_again_runs_the_code_as_it_was(run_example, slurmsweep):
    folder, status = run_example("snapshot")
    script = folder / "snapshot" / "train.py"
    script.write_text(script.read_text().replace("version 1", "version 2"))

    assert slurmsweep("rerun", status["id"], "--trials", "0", cwd=folder).returncode == 0
    assert slurmsweep("run", status["id"], "--backend", "local", cwd=folder).returncode == 0
    assert slurmsweep("logs", status["id"], "0", cwd=folder).stdout == "version 1\n"
    assert status["best"]["params"] == {"x": 3}


def test_a_sweep_gets_more_trials_and_another_one_knows_what_it_ran(run_example, slurmsweep):
    folder, status = run_example("more")

    assert slurmsweep("extend", status["id"], "--count", "4", cwd=folder).returncode == 0
    done = slurmsweep("run", status["id"], "--backend", "local", "--json", cwd=folder)
    assert json.loads(done.stdout)["counts"]["finished"] == 8

    grid = ("more/grid.yaml", "--prior", status["id"], "--backend", "local", "--json")
    planned = json.loads(slurmsweep("plan", *grid, cwd=folder).stdout)["prior"]
    assert {"parameters": {"x": 6}, "points": 1} in planned["values"]
    done = slurmsweep("run", *grid, cwd=folder)
    assert json.loads(done.stdout)["counts"]["finished"] == 6
    assert f"will not be run again: {planned['known']}" in done.stderr


def test_quickstart_learns_and_its_best_point_is_what_the_readme_shows(run_example, repository):
    _, status = run_example("quickstart")

    readme = (repository / "examples" / "quickstart" / "README.md").read_text()
    shown = re.search(r"val_accuracy = ([\d.]+) in trial (\d+)", readme)
    assert (f"{status['best']['metric']:g}", status["best"]["number"]) == (shown[1], int(shown[2]))
    assert status["best"]["metric"] > 0.9


def test_the_real_wandb_leaves_offline_runs_under_each_trial(run_example):
    folder, status = run_example("wandb_offline")

    found = folder.glob(f"wandb/sweep-{status['id']}/trials/0/*/wandb/offline-run-*")
    runs = sorted(path.name.rsplit("-", 2)[1:] for path in found)
    assert runs == [[status["id"], str(number)] for number in range(4)]


def test_the_function_finds_the_same_best_trial_in_one_process_and_as_processes(run_example, tmp_path):
    folder, status = run_example("function")
    script = folder / "function" / "train.py"
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)

    best = status["best"]
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"best of 6: {best['params']} with a loss of {best['metric']:.3g}"
    assert f"{best['metric']:.3g}" in (folder / "function" / "README.md").read_text()


def test_each_trial_says_two_gpus_of_its_own(run_example):
    folder, status = run_example("gpus")

    logs = folder.glob(f".slurmsweep/sweep-{status['id']}/trials/0/*/1/output.log")
    assert {log.read_text().splitlines()[0] for log in logs} == {"place 0, GPUs 0,1", "place 1, GPUs 2,3"}


def test_the_fine_sweep_goes_on_around_the_best_of_the_coarse_one(run_example, slurmsweep_in):
    folder, coarse = run_example("two_stages")

    done = slurmsweep_in(folder, "run", "two_stages/fine.yaml", "--backend", "local", "--json")

    assert done.returncode == 0, done.stderr
    best = json.loads(done.stdout)["best"]
    assert best["params"] == {"lr": 0.12, "epochs": 10, "wd": coarse["best"]["params"]["wd"]}
    assert best["metric"] < coarse["best"]["metric"]


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"any_program"}))
def test_a_script_runs_without_a_sweep_too(repository, tmp_path, name):
    environ = os.environ | {"WANDB_MODE": "disabled"}
    script = repository / "examples" / name / "train.py"
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("file", "program"), [("sweep", "awk"), ("cpp", "c++"), ("r", "Rscript"), ("julia", "julia")])
def test_any_program_has_the_same_best_trial_in_each_language(repository, slurmsweep, tmp_path, file, program):
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} here")
    folder = shutil.copytree(repository / "examples" / "any_program", tmp_path / "any_program")
    if file == "cpp":
        subprocess.run([program, "-O2", "-o", folder / "train", folder / "train.cpp"], check=True)

    done = slurmsweep("run", f"any_program/{file}.yaml", "--backend", "local", "--json")

    assert done.returncode == 0, done.stderr
    best = json.loads(done.stdout)["best"]
    assert (best["number"], best["params"]["lr"], best["metric"]) == (1, 0.3, pytest.approx(0.4**10, rel=1e-5))


def test_arguments_reach_argparse_and_no_two_trials_share_a_folder(run_example):
    folder, status = run_example("arguments")

    results = sorted(folder.glob(f"wandb/sweep-{status['id']}/trials/0/*/checkpoints/result.json"))
    told = {json.loads(path.read_text())["tag"]: json.loads(path.read_text()) for path in results}
    assert told.keys() == {f"trial-{number}" for number in range(8)}
    assert told[f"trial-{status['best']['number']}"]["loss"] == status["best"]["metric"]
    assert {json.dumps([one["layers"], one["bias"]]) for one in told.values()} == {
        "[[8], true]",
        "[[8], false]",
        "[[8, 4], true]",
        "[[8, 4], false]",
    }
    assert status["best"]["number"] == 1


def test_the_best_of_each_run_is_compared_and_its_weights_are_kept(run_example, repository):
    folder, status = run_example("best_of_run")

    readme = (repository / "examples" / "best_of_run" / "README.md").read_text()
    shown = re.search(r"val_loss \(best\) = ([\d.]+) in trial (\d+)", readme)
    best = status["best"]
    assert (f"{best['metric']:g}", best["number"]) == (shown[1], int(shown[2]))
    kept = folder / "wandb" / f"sweep-{status['id']}" / "trials" / "0" / str(best["number"]) / "checkpoints"
    assert json.loads((kept / "best.json").read_text())["epoch"] < 199


def test_the_request_of_the_sagemaker_example_has_the_name_of_a_secret_and_no_key(repository, monkeypatch):
    launch = runpy.run_path(str(repository / "examples" / "sagemaker" / "launch.py"))
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    words = {"sweep": "ent/proj/abcd1234", "role": "arn", "image": "image", "instance_type": "ml.m5.large"}
    words |= {"s3": "s3://bucket/sweeps", "max_run": 600, "spot": True, "file_system": None, "secret": "wandb-key"}

    given = launch["arguments_of"](argparse.Namespace(**words))

    assert given["environment"] == {"WANDB_SECRET": "wandb-key"}
    assert given["hyperparameters"] == {"sweep": "ent/proj/abcd1234"}
    assert (given["max_run"], given["max_wait"]) == (600, 1200)
    assert all(Path(given["source_dir"], name).exists() for name in (given["entry_point"], "requirements.txt"))
    assert [Path(path).name for path in given["dependencies"]] == ["train.py"]
    assert "0123456789" not in repr(given)


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("0123abcd\n", {"WANDB_API_KEY": "0123abcd"}),
        ('{"WANDB_API_KEY": "0123abcd", "WANDB_BASE_URL": "https://wandb.example"}', None),
        ("12345678", {"WANDB_API_KEY": "12345678"}),
    ],
)
def test_a_secret_is_a_bare_key_or_an_object_of_variables(repository, text, variables):
    entry = runpy.run_path(str(repository / "examples" / "sagemaker" / "source" / "entry.py"))

    assert entry["of_text"](text) == (variables or json.loads(text))
