"""Every command of each example's README runs, in the README's order, and ends as the README says."""

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
from typing import NamedTuple

import pytest
from documented import ROOT, commands
from test_pages_run import pattern, plain
from wandb_real.server import WandbServer

#: How many trials of each example have finished at the end of its page.
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
    "more": 8,
    "repeats": 18,
}

#: Examples whose frameworks are in an environment of their own: tests/frameworks runs them. And one of several pages.
ELSEWHERE = {"hydra", "lightning", "transformers", "torchrun", "sagemaker"}

#: What each program of examples/any_program is run by.
LANGUAGES = {"sweep": "awk", "cpp": "c++", "r": "Rscript", "julia": "julia"}

#: Commands that are not run here.
NOT_RUN = {
    "digits": {"slurmsweep run examples/digits/sweep.yaml": "on a cluster: tests/cluster/test_main_job.py"},
    "any_program": {
        f"slurmsweep run examples/any_program/{name}.yaml": f"there is no {program} here"
        for name, program in LANGUAGES.items()
        if shutil.which(program) is None
    }
    | ({} if shutil.which("c++") else {"make -C examples/any_program": "there is no c++ here"}),
}


class Ran(NamedTuple):
    """An example whose page was followed.

    Attributes:
        folder: where.
        status: of the sweep that its page makes first, at the end of the page.
        printed: what each command said.
        sweeps: which sweep was the last one after each command.
    """

    folder: Path
    status: dict
    printed: dict[str, str]
    sweeps: dict[str, str]

    def said(self, beginning: str) -> str:
        """Return what the one command said that begins so."""
        [text] = [text for command, text in self.printed.items() if command.startswith("slurmsweep " + beginning)]
        return text


@pytest.fixture(scope="module")
def run_example(slurmsweep_in, follow_in, tmp_path_factory):
    """Follow an example's page in a copy of it, once for all tests that look at it."""

    @functools.cache
    def run(name) -> Ran:
        folder = tmp_path_factory.mktemp(name)
        there = folder / "examples" / name
        shutil.copytree(ROOT / "examples" / name, there, ignore=shutil.ignore_patterns("wandb", ".slurmsweep", "train"))
        with WandbServer() as server:
            account = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40, "NETRC": str(folder / "netrc")}
            done = list(follow_in(there / "README.md", folder, environ=account, not_run=NOT_RUN.get(name)))
            assert server.unknown == []
        first = next(step.sweep for step in done if step.command.startswith("slurmsweep run "))
        status = json.loads(slurmsweep_in(folder, "status", first, "--json").stdout)
        printed = {step.command: step.printed for step in done}
        return Ran(folder, status, printed, {step.command: step.sweep for step in done})

    return run


def test_every_example_is_tested():
    found = {folder.name for folder in (ROOT / "examples").iterdir() if folder.is_dir()}

    assert found == EXAMPLES.keys() | ELSEWHERE
    assert all(commands(ROOT / "examples" / name / "README.md") for name in found)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_examples_page_runs_to_its_end_and_has_a_best_trial(run_example, slurmsweep, name):
    ran = run_example(name)

    assert ran.status["counts"]["finished"] == ran.status["expected_run_count"] == EXAMPLES[name]
    assert ran.status["best"]["metric"] is not None
    assert slurmsweep("check", ran.status["id"], cwd=ran.folder).returncode == 0


@pytest.mark.parametrize("name", ["quickstart", "digits", "wandb_offline"])
def test_the_output_of_an_example_is_its_pages(run_example, name):
    ran = run_example(name)

    page = (ROOT / "examples" / name / "README.md").read_text()
    [shown] = re.findall(r"^```\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    printed = "".join(plain(line) + "\n" for line in ran.said("run").splitlines())
    assert pattern("...\n" + shown).fullmatch(printed), printed


def test_a_trial_that_is_run_again_runs_the_code_as_it_was(run_example, slurmsweep):
    ran = run_example("snapshot")
    script = ran.folder / "examples" / "snapshot" / "train.py"
    script.write_text(script.read_text().replace("version 1", "version 2"))

    def also(*words: str) -> subprocess.CompletedProcess[str]:
        return slurmsweep(*words, cwd=ran.folder)

    assert also("rerun", ran.status["id"], "--trials", "0").returncode == 0
    assert also("run", ran.status["id"], "--backend", "local").returncode == 0
    assert also("logs", ran.status["id"], "0").stdout == "version 1\n"
    assert "differs from it by now: train.py" in also("check", ran.status["id"]).stderr
    assert ran.status["best"]["params"] == {"x": 3}


def test_plan_names_what_a_snapshot_copies(run_example):
    ran = run_example("snapshot")

    assert "3 files" in ran.said("plan")
    assert "links to the originals: offset.txt" in ran.said("plan")
    assert "every trial once" in ran.said("check")


def test_a_sweep_gets_more_trials_and_another_one_knows_what_it_ran(run_example, slurmsweep):
    ran = run_example("more")

    grid = next(
        sweep for command, sweep in ran.sweeps.items() if command.startswith("slurmsweep run examples/more/grid")
    )
    status = json.loads(slurmsweep("status", grid, "--json", cwd=ran.folder).stdout)
    [known] = re.findall(r"will not be run again: (\d+)", ran.said("run examples/more/grid.yaml"))
    assert status["id"] != ran.status["id"]
    assert status["counts"]["finished"] == 6
    assert 1 <= int(known) <= 4
    assert {"  new: x=5 (1 point)", "  new: x=6 (1 point)"} <= set(ran.said("plan").splitlines())
    assert f"sweep {ran.status['id']} has run {known} of 6 trials" in ran.said("plan")
    assert f"with one that another trial has told: {8 - int(known)}" in ran.said("plan")


def test_repeats_are_shown_as_points_and_as_runs(run_example):
    ran = run_example("repeats")

    def rows(command: str) -> list[str]:
        return re.findall(r"^\d+ .*", ran.printed[command], re.MULTILINE)

    assert len(rows("slurmsweep trials")) == 6
    assert len(rows("slurmsweep trials --repeats")) == 18


def test_the_search_that_learns_says_what_mattered_and_why_a_point_was_tried(run_example):
    ran = run_example("bayes_in_parts")

    assert re.search(r"^lr +[\d.]+", ran.said("importance"), re.MULTILINE)
    assert "trial 11" in ran.said("show")


def test_plan_shows_the_commands_of_the_arguments(run_example):
    assert re.search(r"train\.py --bias --layers 8 .*--output_dir", run_example("arguments").said("plan"))


def test_no_other_trial_beats_those_that_pareto_shows(run_example):
    ran = run_example("digits")
    best = ran.status["best"]

    rows = re.findall(r"^\d+ +([\d.]+) +(\d+) ", ran.said("best"), re.MULTILINE)
    assert rows[0][0] == f"{best['metric']:g}"
    assert len(rows) > 1
    assert rows == sorted(rows, key=lambda row: -float(row[0]))
    assert rows == sorted(rows, key=lambda row: -int(row[1]))
    shown = re.search(r"val_accuracy = ([\d.]+) in trial (\d+)", (ROOT / "examples/digits/README.md").read_text())
    assert (f"{best['metric']:g}", str(best["number"])) == shown.groups()


def test_plan_says_which_trials_of_conditional_are_left(run_example, slurmsweep):
    ran = run_example("conditional")

    planned = slurmsweep("plan", "examples/conditional/sweep.yaml", cwd=ran.folder).stdout
    [block] = re.findall(r"```\n(.*?)```", (ROOT / "examples/conditional/README.md").read_text(), re.DOTALL)
    assert [line for line in block.splitlines() if line != "..." and line not in planned] == []


def test_quickstart_learns_and_its_best_point_is_what_the_readme_shows(run_example):
    best = run_example("quickstart").status["best"]

    readme = (ROOT / "examples" / "quickstart" / "README.md").read_text()
    shown = re.search(r"val_accuracy = ([\d.]+) in trial (\d+)", readme)
    assert (f"{best['metric']:g}", best["number"]) == (shown[1], int(shown[2]))
    assert best["metric"] > 0.9


def test_the_real_wandb_leaves_offline_runs_under_each_trial_and_sync_uploads_them(run_example):
    ran = run_example("wandb_offline")

    sweep = ran.status["id"]
    found = ran.folder.glob(f"wandb/sweep-{sweep}/trials/0/*/wandb/offline-run-*")
    runs = sorted(path.name.rsplit("-", 2)[1:] for path in found if path.is_dir())
    assert runs == [[sweep, str(number)] for number in range(4)]
    assert "would upload the runs of 4 trials; 0 were uploaded before" in ran.printed["slurmsweep sync SWEEP --dry-run"]
    assert "\nuploaded the runs of 4 trials; 0 were uploaded before" in ran.printed["slurmsweep sync SWEEP"]


def test_the_function_finds_the_same_best_trial_in_one_process_and_as_processes(run_example):
    ran = run_example("function")

    best = ran.status["best"]
    in_one = ran.printed["python examples/function/train.py"].splitlines()
    assert f"best of 6: {best['params']} with a loss of {best['metric']:.3g}" in in_one
    assert f"{best['metric']:.3g}" in (ran.folder / "examples" / "function" / "README.md").read_text()


def test_each_trial_says_gpus_of_its_own(run_example):
    ran = run_example("gpus")

    said = [
        {
            log.read_text().splitlines()[0]
            for log in ran.folder.glob(f".slurmsweep/sweep-{sweep}/trials/0/*/1/output.log")
        }
        for command, sweep in ran.sweeps.items()
        if " run " in command
    ]
    assert said[0] <= {f"place {n}, GPUs {n}" for n in range(4)}
    assert said[1] == {"place 0, GPUs 0,1", "place 1, GPUs 2,3"}
    assert ran.said("logs").splitlines()[0] in said[1]


def test_the_fine_sweep_goes_on_around_the_best_of_the_coarse_one(run_example, slurmsweep):
    ran = run_example("two_stages")

    coarse = ran.status["best"]
    fine = ran.sweeps["slurmsweep run examples/two_stages/fine.yaml"]
    best = json.loads(slurmsweep("status", fine, "--json", cwd=ran.folder).stdout)["best"]
    assert f"base: wd=0.001 from trial 4 of sweep {ran.status['id']}" in ran.said("plan")
    assert best["params"] == {"lr": 0.12, "epochs": 10, "wd": coarse["params"]["wd"]}
    assert best["metric"] < coarse["metric"]


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"any_program"} | {"sagemaker"}))
def test_a_script_runs_without_a_sweep_too(repository, tmp_path, name):
    environ = os.environ | {"WANDB_MODE": "disabled"}
    script = repository / "examples" / name / "train.py"
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("file", "program"), LANGUAGES.items())
def test_any_program_has_the_same_best_trial_in_each_language(run_example, slurmsweep, file, program):
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} here")
    ran = run_example("any_program")

    sweep = ran.sweeps[f"slurmsweep run examples/any_program/{file}.yaml"]

    best = json.loads(slurmsweep("status", sweep, "--json", cwd=ran.folder).stdout)["best"]
    assert (best["number"], best["params"]["lr"], best["metric"]) == (1, 0.3, pytest.approx(0.4**10, rel=1e-5))


def test_arguments_reach_argparse_and_no_two_trials_share_a_folder(run_example):
    folder, status, *_ = run_example("arguments")

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


def test_the_best_of_each_run_is_compared_and_its_weights_are_kept(run_example):
    folder, status, *_ = run_example("best_of_run")

    readme = (ROOT / "examples" / "best_of_run" / "README.md").read_text()
    shown = re.search(r"val_loss \(best\) = ([\d.]+) in trial (\d+)", readme)
    best = status["best"]
    assert (f"{best['metric']:g}", best["number"]) == (shown[1], int(shown[2]))
    kept = folder / "wandb" / f"sweep-{status['id']}" / "trials" / "0" / str(best["number"]) / "checkpoints"
    assert json.loads((kept / "best.json").read_text())["epoch"] < 199


def test_the_sagemaker_example_runs_on_this_machine_too(slurmsweep, tmp_path):
    shutil.copytree(ROOT / "examples" / "sagemaker", tmp_path / "examples" / "sagemaker")

    done = slurmsweep("run", "examples/sagemaker/sweep.yaml", "--backend", "local", "--json")

    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert (status["counts"]["finished"], status["best"]["params"]["lr"]) == (3, 0.3)
    assert slurmsweep("check", status["id"]).returncode == 0


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
