"""The attempts and the runs of a trial are one run of W&B's, wherever its script keeps them."""

from __future__ import annotations

import json
import re

import pytest
from wandb_real.server import WandbServer

CURVE = """
import json, os, signal, sys, time
import {client} as wandb
mark = os.path.join(os.environ["SLURMSWEEP_CHECKPOINT_DIR"], "epoch.json")
start = json.load(open(mark)) if os.path.exists(mark) else 0
run = wandb.init(resume="allow")
{define}
print("begins at", run.step, run.resumed, dict(run.summary), flush=True)
for epoch, loss in list(enumerate({curve}))[start:]:
    run.log({{"loss": loss, "acc": 1 - loss}})
    json.dump(epoch + 1, open(mark, "w"))
    if epoch == {cut}:
        time.sleep(2.5)  # wandb writes every second
        os.kill(os.getpid(), signal.SIGKILL)
"""

MIN = 'run.define_metric("loss", summary="min,max")'


pytestmark = pytest.mark.usefixtures("no_real_account")


@pytest.fixture
def document(slurmsweep):
    """Return the document of a command on a sweep."""
    return lambda command, sweep, *argv: json.loads(slurmsweep(command, sweep, *argv, "--json").stdout)


@pytest.fixture
def run_twice(slurmsweep, write_sweep):
    """Run a sweep of one trial, and what is left of it once more; return its id."""

    def run_twice(script, extra="") -> str:
        sweep = slurmsweep("create", str(write_sweep(script, "  x: {value: 1}", extra))).stdout.strip()
        slurmsweep("agent", sweep)
        slurmsweep("resubmit", sweep, "--backend", "local")
        return sweep

    return run_twice


@pytest.mark.parametrize("client", ["wandb", "slurmsweep"])
@pytest.mark.parametrize(
    ("define", "curve", "cut", "metric", "loss"),
    [
        (MIN, [0.9, 0.1, 0.5], 2, 0.1, {"min": 0.1, "max": 0.9}),  # nothing is left to do
        (MIN, [0.9, 0.1, 0.5, 0.6, 0.3], 2, 0.1, {"min": 0.1, "max": 0.9}),
        ("", [0.9, 0.1, 0.5, 0.6, 0.3], 2, 0.3, 0.3),
    ],
)
def test_a_trial_that_was_cut_off_goes_on_with_its_run(client, define, curve, cut, metric, loss, run_twice, document):
    script = CURVE.format(client=client, define=define, curve=curve, cut=cut)

    sweep = run_twice(
        script, "metric: {name: loss, goal: minimize}\nslurmsweep: {pareto: {loss: minimize, acc: maximize}}"
    )

    [trial] = document("trials", sweep)
    assert (trial["state"], trial["attempt"], trial["metric"]) == ("finished", 2, metric)
    assert trial["metrics"] == {"loss": metric, "acc": 1 - curve[-1]}
    shown = document("show", sweep, "0")["logged"]
    found = shown["loss"] if isinstance(loss, float) else {word: _word(shown, word) for word in loss}
    assert found == loss
    assert shown["acc"] == 1 - curve[-1]


def _word(shown, word):
    return shown[f"loss.{word}"] if f"loss.{word}" in shown else shown["loss"][word]


def test_a_resumed_native_run_knows_its_steps_and_its_summary(run_twice, slurmsweep):
    script = CURVE.format(client="slurmsweep", define=MIN, curve=[0.9, 0.5, 0.4], cut=1)

    sweep = run_twice(script)

    said = re.search("begins at .*", slurmsweep("logs", sweep, "0").stdout)[0]
    assert said == f"begins at 2 True {{'loss': {{'min': 0.5, 'max': 0.9}}, 'acc': {1 - 0.5}}}"


def test_a_trial_that_was_deleted_begins_anew(run_twice, slurmsweep, document):
    script = """
import os, slurmsweep as wandb
run = wandb.init()
print("begins at", run.step, run.resumed, flush=True)
if os.environ["SLURMSWEEP_ATTEMPT"] == "1":
    run.log({"loss": 1})
"""
    sweep = run_twice(script, "metric: {name: loss}")
    assert document("trials", sweep)[0]["metric"] == 1.0
    slurmsweep("delete", sweep, "--trials", "0")
    slurmsweep("agent", sweep)

    [trial] = document("trials", sweep)
    assert (trial["state"], trial["attempt"], trial["metric"]) == ("finished", 2, None)
    assert "begins at 0 False" in slurmsweep("logs", sweep, "0").stdout


#: What a script does before its run, how it begins it, and where the run is then.
PLACES = {
    "a long log": ("print('x' * 99 + '\\n', end='')\nfor i in range(30_000): print('y' * 99)", 'dir="logs"', "logs"),
    "a bar without an end before it": ("import sys\nsys.stderr.write('\\r12 %' * 9000)", 'dir="logs"', "logs"),
    "a silent wandb": ("os.environ['WANDB_SILENT'] = 'true'", 'dir="logs"', "logs"),
    "a silent wandb here": ("os.environ['WANDB_SILENT'] = 'true'", 'dir="."', "."),
    "a silent wandb in a folder of results": (
        "os.environ['WANDB_SILENT'] = 'true'; os.makedirs('outputs/a/b'); os.chdir('outputs/a/b')", 'dir="."',
        "outputs/a/b",
    ),
    "an id of its own": ("del os.environ['WANDB_SWEEP_ID']", 'dir="logs", id="mine"', "logs"),
}  # fmt: skip


@pytest.mark.parametrize("is_beside_another", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_a_run_is_found(place, is_beside_another, slurmsweep, write_sweep, document, tmp_path):
    before, how, folder = PLACES[place]
    another = "with wandb.init(job_type='config') as run: run.config['x']\n" if is_beside_another else ""
    script = f"""
import os
os.makedirs("logs", exist_ok=True)
{before}
import wandb
{another}with wandb.init({how}) as run:
    run.log({{"loss": 0.25}})
"""
    file = write_sweep(script, "  x: {value: 1}", "metric: {name: loss}")
    sweep = slurmsweep("create", str(file)).stdout.strip()
    assert slurmsweep("agent", sweep).returncode == 0, slurmsweep("logs", sweep, "0").stdout

    assert document("trials", sweep)[0]["metric"] == 0.25
    [found] = document("sync", sweep, "--dry-run")["to_upload"]
    [last] = (tmp_path / folder / "wandb").glob("offline-run-*/*.wandb")
    assert found["runs"][-1] == str(last)
    assert len(found["runs"]) == 1 + is_beside_another


def test_runs_of_one_second_are_uploaded_in_the_order_in_which_they_began(
    slurmsweep, write_sweep, document, monkeypatch
):
    script = """
import wandb
for fold in range(12):
    with wandb.init() as run:
        run.log({"loss": fold})
"""
    sweep = slurmsweep("create", str(write_sweep(script, "  x: {value: 1}", "metric: {name: loss}"))).stdout.strip()
    slurmsweep("agent", sweep)

    log = slurmsweep("logs", sweep, "0").stdout
    begun = list(dict.fromkeys(re.findall(r"Run data is saved locally in \S*/(offline-run-\S+)", log)))
    [found] = document("sync", sweep, "--dry-run")["to_upload"]
    assert [path.split("/")[-2] for path in found["runs"]] == begun
    assert len(begun) == 12
    assert document("trials", sweep)[0]["metric"] == 11.0
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert slurmsweep("sync", sweep).returncode == 0
        assert [row["loss"] for row in server.rows(f"{sweep}-0")] == list(range(12))


PROJECT = "import wandb\nwith wandb.init({}) as run:\n    run.log({{'loss': 1}})\n"


@pytest.mark.parametrize(
    ("init", "extra", "options", "where"),
    [
        ("project='mine'", "", (), "mine"),
        ("project='mine', entity='team'", "", (), "team/mine"),
        ("project='mine'", "project: ours", (), "ours"),
        ("project='mine'", "project: ours", ("--project", "other", "--entity", "group"), "group/other"),
        ("", "", ("--project", "other"), "other"),
        ("", "", (), "uncategorized"),
    ],
)
def test_where_a_run_goes_is_said(init, extra, options, where, slurmsweep, write_sweep):
    made = slurmsweep("create", str(write_sweep(PROJECT.format(init), "  x: {value: 1}", extra)), *options)
    sweep = made.stdout.strip()
    slurmsweep("agent", sweep)

    planned = slurmsweep("sync", sweep, "--dry-run")

    assert f"trial 0 to {where}: " in planned.stdout
    is_nowhere = where == "uncategorized"
    assert ("project: is named nowhere" in made.stderr) == is_nowhere
    assert ("1 trial names no project" in planned.stderr) == is_nowhere


def test_a_run_is_uploaded_to_the_project_that_its_script_named(slurmsweep, write_sweep, monkeypatch):
    file = write_sweep(PROJECT.format("project='mine', entity='team'"), "  x: {value: 1}")
    sweep = slurmsweep("create", str(file)).stdout.strip()
    slurmsweep("agent", sweep)
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        assert slurmsweep("sync", sweep).returncode == 0

        assert {(one["project"], one["entity"]) for one in server.upserts[f"{sweep}-0"]} == {("mine", "team")}


@pytest.mark.parametrize("is_uploaded_between", [False, True])
def test_the_extremes_of_all_attempts_are_uploaded(is_uploaded_between, slurmsweep, write_sweep, monkeypatch):
    script = """
import os, wandb
first = os.environ["SLURMSWEEP_ATTEMPT"] == "1"
with wandb.init() as run:
    run.define_metric("loss", summary="min,max")
    for loss in [0.9, 0.1, 0.4] if first else [0.5, 0.3]:
        run.log({"loss": loss, "acc": loss})
os._exit(77 if first else 0)  # 1 is of a Python that failed
"""
    sweep = slurmsweep("create", str(write_sweep(script, "  x: {value: 1}"))).stdout.strip()
    first = slurmsweep("agent", sweep)
    assert first.returncode == 77, slurmsweep("logs", sweep, "0").stdout
    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        if is_uploaded_between:
            assert slurmsweep("sync", sweep, "--state", "failed").returncode == 0
        again = slurmsweep("resubmit", sweep, "--backend", "local")
        assert again.returncode == 0, slurmsweep("logs", sweep, "0").stdout
        done = slurmsweep("sync", sweep)
        assert done.returncode == 0, done.stderr

        summary = json.loads(server.files[f"{sweep}-0/wandb-summary.json"])
        assert (summary["loss"], summary["acc"]) == ({"min": 0.1, "max": 0.9}, 0.3)
        assert [row["loss"] for row in server.rows(f"{sweep}-0")] == [0.9, 0.1, 0.4, 0.5, 0.3]


@pytest.mark.parametrize("client", ["wandb", "slurmsweep"])
def test_the_sweep_files_summary_counts_over_all_attempts_and_before_the_scripts_own(
    client, run_twice, document, slurmsweep
):
    define = 'run.define_metric("loss", summary="max")'
    script = CURVE.format(client=client, define=define, curve=[0.9, 0.1, 0.5, 0.6, 0.3], cut=2)

    sweep = run_twice(script, "metric: {name: loss, goal: minimize}\nslurmsweep: {summary: best}")

    [trial] = document("trials", sweep)
    assert (trial["state"], trial["attempt"], trial["metric"]) == ("finished", 2, 0.1)
    said = "loss: the sweep file's summary counts (best: 0.1), and not the script's own (0.9)"
    assert said in slurmsweep("logs", sweep, "0").stdout
