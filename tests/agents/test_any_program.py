"""A program that knows nothing of slurmsweep: its values are seen while it runs, decide its end, and survive a kill."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from slurmsweep.state.store import SweepStore

BASH = "command: [bash, train.sh, '${x}']\nmetric: {name: loss, goal: minimize}"

PRINTS = """
for step in 0 1 2; do printf 'slurmsweep: {"loss": %s.%s, "step": %s}\\n' "$1" $((9 - step)) "$step"; done
echo told
"""
SAVES = """
for step in 0 1 2; do
    printf '{"loss": %s.%s, "step": %s}\\n' "$1" $((9 - step)) "$step" >> "$SLURMSWEEP_METRICS_FILE"
done
echo told
"""
WAITS = "[ $1 = 0 ] || while :; do sleep 0.05; done\n"


@pytest.fixture
def create(slurmsweep, tmp_path):
    def create(script, extra="", method="grid") -> SweepStore:
        (tmp_path / "train.sh").write_text(script)
        values = "{min: 0.0, max: 1.0}" if method == "bayes" else "{values: [0, 1]}"
        (tmp_path / "sweep.yaml").write_text(f"method: {method}\n{BASH}\n{extra}\nparameters: {{x: {values}}}\n")
        done = slurmsweep("create", "sweep.yaml")
        assert done.returncode == 0, done.stderr
        return SweepStore.open(str(tmp_path / "wandb" / f"sweep-{done.stdout.strip()}"))

    return create


@pytest.mark.parametrize("script", [PRINTS, SAVES], ids=["printed", "saved"])
def test_a11_best_trials_and_histories_have_its_values(create, slurmsweep, script):
    store = create(script)
    sweep = store.manifest.sweep_id
    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0

    best = json.loads(slurmsweep("best", sweep, "--json").stdout)
    rows = json.loads(slurmsweep("export", sweep, "--history", "--format", "json").stdout)

    assert (best["number"], best["metric"]) == (0, 0.7)
    assert [(row["number"], row["step"], row["loss"]) for row in rows] == [
        (number, step, float(f"{number}.{9 - step}")) for number in (0, 1) for step in (0, 1, 2)
    ]


@pytest.mark.parametrize("script", [PRINTS, SAVES], ids=["printed", "saved"])
def test_a_running_trial_shows_its_value_and_a_killed_one_keeps_it(create, slurmsweep, start_agent, script):
    store = create(script + "while :; do sleep 0.05; done")
    agent = start_agent(store, "told")
    running = json.loads(slurmsweep("trials", store.manifest.sweep_id, "--json").stdout)[0]
    os.kill(agent.pid, signal.SIGKILL)
    agent.wait()

    slurmsweep("reconcile", store.manifest.sweep_id)
    ended = json.loads(slurmsweep("trials", store.manifest.sweep_id, "--json").stdout)[0]

    assert (running["state"], running["metric"]) == ("running", 0.7)
    assert (ended["state"], ended["metric"]) == ("crashed", 0.7)


@pytest.mark.parametrize("script", [PRINTS, SAVES], ids=["printed", "saved"])
def test_it_is_stopped_early_by_its_values(create, slurmsweep, script):
    store = create(script + WAITS, "early_terminate: {type: hyperband, min_iter: 3}")

    done = slurmsweep("run", store.manifest.sweep_id, "--backend", "local", SLURMSWEEP_EARLY_TERMINATE_SECONDS="0.1")
    trials = json.loads(slurmsweep("trials", store.manifest.sweep_id, "--json").stdout)

    assert done.returncode == 0, done.stderr
    assert [(one["state"], one["cause"], one["metric"]) for one in trials] == [
        ("finished", "", 0.7),
        ("killed", "early_terminate", 1.7),
    ]


def test_bayes_learns_from_its_values(create, slurmsweep):
    store = create('echo "slurmsweep: {\\"loss\\": $1}"\n', "run_cap: 3", method="bayes")
    done = slurmsweep("run", store.manifest.sweep_id, "--backend", "local")
    points = [
        json.loads(Path(path).read_text())
        for path in sorted(Path(store.layout.folder).glob("trials/0/*/1/outcome.json"))
    ]

    assert done.returncode == 0, done.stderr
    assert all(0 <= point["lowest"] == point["metric"] <= 1 for point in points)
    assert len(points) == 3


def test_a_printed_metric_is_not_taken_for_the_words_of_a_failure(create, slurmsweep):
    store = create("echo 'cannot open the mesh' >&2\n" + PRINTS.replace("echo told", "exit 4"))
    slurmsweep("run", store.manifest.sweep_id, "--backend", "local")

    assert "cannot open the mesh" in slurmsweep("status", store.manifest.sweep_id).stdout
