"""Scripts of the real wandb that choose the folder of their run, relative to where they are."""

from __future__ import annotations

import json
import signal

import pytest
from wandb_real.server import WandbServer

from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.session import Session
from slurmsweep.state.store import SweepStore

#: What the script does before ``init``, what it gives as ``dir=``, and where its run is then.
FOLDERS = {
    "a relative folder": ("", "'results'", "results/wandb"),
    "a folder relative to where the script went": ("os.chdir('work/deep')", "'../results'", "work/results/wandb"),
    "a relative folder in the environment": ("os.environ['WANDB_DIR'] = 'results'", "None", "results/wandb"),
}

SCRIPT = """
import os, time
os.makedirs("work/deep", exist_ok=True)
os.makedirs("results", exist_ok=True)
os.makedirs("work/results", exist_ok=True)
{before}
import wandb
run = wandb.init(dir={folder})
for step in range(3):
    run.log({{"loss": 3 - step}})
time.sleep(1.5)  # wandb writes once a second
print("written", flush=True)
{then}
"""


def trial(slurmsweep, sweep) -> dict:
    return json.loads(slurmsweep("trials", sweep, "--json").stdout)[0]


def create(slurmsweep, write_sweep, tmp_path, folders, then) -> tuple[str, SweepStore]:
    before, folder, _ = FOLDERS[folders]
    script = SCRIPT.format(before=before, folder=folder, then=then)
    sweep = slurmsweep("create", str(write_sweep(script, "  x: {value: 1}", "metric: {name: loss}"))).stdout.strip()
    return sweep, SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))


@pytest.mark.parametrize("folders", FOLDERS)
def test_its_metric_is_read_while_it_runs_and_after_its_agent_was_killed_and_it_can_be_uploaded(
    folders, slurmsweep, write_sweep, start_agent, tmp_path
):
    sweep, store = create(slurmsweep, write_sweep, tmp_path, folders, "time.sleep(300)")
    agent = start_agent(store, "\nwritten")

    running = trial(slurmsweep, sweep)
    assert (running["state"], running["metric"]) == ("running", 1.0)
    agent.send_signal(signal.SIGKILL)
    agent.wait(timeout=120)
    reconcile(Session(store), sleep=lambda _: None)

    ended = trial(slurmsweep, sweep)
    assert (ended["state"], ended["cause"], ended["metric"]) == ("crashed", "lost", 1.0)
    found = json.loads(slurmsweep("sync", sweep, "--state", "crashed", "--dry-run", "--json").stdout)
    [file] = (tmp_path / FOLDERS[folders][2]).glob(f"offline-run-*/run-{sweep}-0.wandb")
    assert found["to_upload"] == [{"trial": 0, "runs": [str(file)], "project": "uncategorized", "entity": ""}]


def test_its_metric_is_recorded_when_it_is_killed_itself(slurmsweep, write_sweep, tmp_path):
    then = "os.kill(os.getpid(), 9)"
    sweep, store = create(slurmsweep, write_sweep, tmp_path, "a folder relative to where the script went", then)

    assert slurmsweep("agent", sweep).returncode == 137

    outcome = store.replay().trials[0].current.outcome
    assert (outcome.cause, outcome.metric) == ("signal 9", 1.0)


def test_its_run_is_uploaded_once_from_where_it_is(slurmsweep, write_sweep, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    sweep, _ = create(slurmsweep, write_sweep, tmp_path, "a folder relative to where the script went", "")
    assert slurmsweep("agent", sweep).returncode == 0

    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        first, second = (json.loads(slurmsweep("sync", sweep, "--json").stdout) for _ in range(2))

        assert [row["loss"] for row in server.rows(f"{sweep}-0")] == [3, 2, 1]
    assert (first["uploaded"], second["uploaded"]) == ([0], [])
    [file] = (tmp_path / "work" / "results" / "wandb").glob("offline-run-*/*.wandb.synced")
    assert file.name == f"run-{sweep}-0.wandb.synced"
