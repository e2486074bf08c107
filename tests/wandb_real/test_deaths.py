"""However a script of whatever kind ends: cause, last metric and log are there.

The metric is awaited on disk by the same reading that `trials` does for trials that run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from written import WAIT_UNTIL_WRITTEN

from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.session import Session
from slurmsweep.metrics.reported import MetricReading, MetricsFollower
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId

KINDS = {
    "wandb": f"import wandb\nlog = wandb.init().log\n{WAIT_UNTIL_WRITTEN}",
    "native": "import slurmsweep\nlog = slurmsweep.init().log\nwait_until_written = print\n",
    "plain": "log = wait_until_written = print\n",
}

STEPS = """
import os, time
for step in range(3):
    log({"loss": 3 - step})
    print("step", step, flush=True)
"""

#: What the script does then, the signal its agent gets, and what is said of the trial: state, cause, exit code.
ENDS = {
    "the script is killed": ("wait_until_written(3)\nos.kill(os.getpid(), 9)", None, ("crashed", "signal 9", 137)),
    "the script fails": ("raise ValueError('by hand')", None, ("failed", "exit 1", 1)),
    "the agent is terminated": ("time.sleep(60)", signal.SIGTERM, ("killed", "terminated", 143)),
    "the time is up": ("time.sleep(60)", signal.SIGUSR1, ("crashed", "timeout", 143)),
    "the agent is killed": ("time.sleep(60)", signal.SIGKILL, ("crashed", "lost", None)),
}

EXPECTED = {"wandb": 1.0, "native": 1.0, "plain": None}


@pytest.fixture
def trial(slurmsweep):
    """Trial 0, as ``trials --json`` shows it."""

    def trial(sweep) -> dict:
        return json.loads(slurmsweep("trials", sweep, "--json").stdout)[0]

    return trial


@pytest.fixture
def agent(tmp_path):
    """Start an agent; it is gone after the test."""
    agents = []

    def agent(sweep) -> subprocess.Popen:
        command = [sys.executable, "-m", "slurmsweep", "agent", sweep]
        agents.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return agents[-1]

    yield agent
    for one in agents:
        one.kill()
        one.wait()


def wait_until(true, what) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_cause_metric_and_log_are_there_when(kind, end, write_sweep, slurmsweep, agent, trial, tmp_path):
    then, number, (state, cause, exit_code) = ENDS[end]
    file = write_sweep(KINDS[kind] + STEPS + then, "  x: {value: 1}", "metric: {name: loss, goal: minimize}")
    sweep = slurmsweep("create", str(file)).stdout.strip()
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    follower = MetricsFollower(store.layout, AttemptId(0, 1), {"loss": "minimize"})
    process = agent(sweep)
    if number is not None:
        path = Path(store.layout.log((0, 1)))
        wait_until(lambda: path.exists() and "step 2" in path.read_text(), "the script never got to its last step")
        if kind != "plain":
            wait_until(
                lambda: follower.read()["loss"] == MetricReading(1.0, 3, kind), "the metric never came to the file"
            )
        if end == "the agent is terminated":
            running = trial(sweep)
            assert (running["state"], running["metric"]) == ("running", EXPECTED[kind])
        process.send_signal(number)
    process.wait(timeout=120)

    seen = trial(sweep)
    assert (seen["state"], seen["cause"], seen["exit_code"]) == (state, cause, exit_code)
    assert seen["metric"] == EXPECTED[kind]
    log = Path(seen["log"]).read_text()
    assert "step 2" in log
    assert ("ValueError: by hand" in log) == (end == "the script fails")

    reconcile(Session(store), sleep=lambda _: None)
    outcome = store.replay().trials[0].current.outcome
    assert (outcome.state, outcome.cause, outcome.metric) == (state, cause, EXPECTED[kind])
    assert outcome.by == ("reconcile" if end == "the agent is killed" else "agent")


def test_a_requeued_wandb_script_goes_on_with_its_run_and_keeps_the_metric_of_the_attempt_before(
    write_sweep, slurmsweep, trial, tmp_path
):
    script = """
import os, wandb
run = wandb.init()
attempt = int(os.environ["SLURMSWEEP_ATTEMPT"])
if attempt == 1:
    run.log({"loss": 5})
run.finish(exit_code=0)
open("ids", "a").write(run.id + "\\n")
raise SystemExit(2 - attempt)
"""
    file = write_sweep(script, "  x: {value: 1}", "metric: {name: loss, goal: minimize}")
    sweep = slurmsweep("create", str(file)).stdout.strip()
    slurmsweep("agent", sweep)
    assert (trial(sweep)["state"], trial(sweep)["metric"]) == ("failed", 5.0)

    slurmsweep("resubmit", sweep, "--backend", "local")

    assert (trial(sweep)["state"], trial(sweep)["metric"], trial(sweep)["attempt"]) == ("finished", 5.0, 2)
    assert (tmp_path / "ids").read_text().split() == [f"{sweep}-0"] * 2


VALUES = {
    "small": 1e-05, "large": 1e22, "big": 2**53 + 1, "yes": True, "none": None, "text": "1e-5x", "word": "größe 日本 🎉",
    "nested": {"a": {"b": [1, 1e-7, None, "yes"]}, "ü": "on"},
}  # fmt: skip


@pytest.mark.parametrize("client", ["wandb", "slurmsweep"])
def test_values_survive_the_way_exactly(client, write_sweep, slurmsweep, tmp_path):
    script = f"""
import json, {client} as wandb
with wandb.init(config={{"small": 3, "own": 1}}) as run:
    values = {{name: run.config[name] for name in [*{list(VALUES)!r}, "own"]}}
json.dump(values, open("seen.json", "w"))
"""
    file = write_sweep(script, "  {}", "command: ['${interpreter}', '${program}']")
    document = yaml.safe_load(file.read_text())
    document["parameters"] = {name: {"value": value} for name, value in VALUES.items()}
    file.write_text(json.dumps(document))  # JSON is YAML, with its words and floats beyond doubt
    sweep = slurmsweep("create", str(file)).stdout.strip()
    done = slurmsweep("agent", sweep, PYTHONIOENCODING="utf-8", LC_ALL="C")
    assert done.returncode == 0, slurmsweep("logs", sweep, "0").stdout

    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen == {**VALUES, "own": 1}
    assert {name: type(value) for name, value in seen.items()} == {n: type(v) for n, v in {**VALUES, "own": 1}.items()}


def test_an_empty_wandb_variable_of_the_surroundings_does_not_stop_a_script(write_sweep, slurmsweep):
    file = write_sweep("import wandb\nwandb.init().log({'loss': 1})", "  x: {value: 1}")
    sweep = slurmsweep("create", str(file)).stdout.strip()

    assert slurmsweep("agent", sweep, WANDB_RESUME="", WANDB_MODE="").returncode == 0, slurmsweep(
        "logs", sweep, "0"
    ).stdout


def test_a_script_without_wandb_costs_no_file_for_it(write_sweep, slurmsweep, tmp_path):
    sweep = slurmsweep("create", str(write_sweep("print('x')", "  x: {value: 1}"))).stdout.strip()
    environ = {name: "" for name in os.environ if name.startswith("WANDB_")}
    assert slurmsweep("agent", sweep, **environ).returncode == 0

    folder = tmp_path / "wandb" / f"sweep-{sweep}"
    assert sorted(str(path.relative_to(folder)) for path in folder.glob("trials/0/0/**/*") if path.is_file()) == [
        "trials/0/0/1/outcome.json", "trials/0/0/1/output.log", "trials/0/0/1/owner",
    ]  # fmt: skip
    assert not (folder / "wandb-cache").exists()


@pytest.mark.parametrize("module", ["slurmsweep", "wandb"])
@pytest.mark.parametrize(("code", "said"), [(1, ("preempted", "preempted")), (0, ("finished", None))])
def test_a_script_that_says_it_is_preempted_did_not_fail(slurmsweep, write_sweep, trial, module, code, said):
    """The handler that W&B's documentation shows: ``mark_preempting``, then an exit code; here without a signal."""
    script = f"import sys\nimport {module} as wandb\nrun = wandb.init()\nrun.log({{'loss': 1}})\nrun.mark_preempting()\nsys.exit({code})"
    sweep = slurmsweep("create", str(write_sweep(script, "  x: {value: 1}"))).stdout.strip()
    slurmsweep("agent", sweep)

    shown = trial(sweep)
    assert (shown["state"], shown["cause"] or None) == said
