"""The best of a run, as the sweep file says it: while the trial runs, when its agent is killed, and when it goes on."""

from __future__ import annotations

import json
import os
import signal

from slurmsweep.state.store import SweepStore

#: Logs half of its losses, waits until the file `go` is there in a first attempt, and goes on from its checkpoint.
SCRIPT = """
import json, os, time
import slurmsweep
run = slurmsweep.init()
mark = os.path.join(os.environ["SLURMSWEEP_CHECKPOINT_DIR"], "epoch.json")
start = json.load(open(mark)) if os.path.exists(mark) else 0
for epoch, loss in list(enumerate([3, 1, 2, 5, 4]))[start:]:
    slurmsweep.log({"loss": loss}, step=epoch, commit=True)
    json.dump(epoch + 1, open(mark, "w"))
    if epoch == 2 and not os.path.exists("go"):
        print("logged", flush=True)
        time.sleep(600)
"""
EXTRA = "metric: {name: loss, goal: minimize}\nslurmsweep: {summary: %s}"


def test_the_best_counts_while_a_trial_runs_when_it_was_killed_and_when_it_went_on(
    slurmsweep, write_sweep, tmp_path, start_agent
):
    sweep = slurmsweep("create", str(write_sweep(SCRIPT, "  x: {value: 1}", EXTRA % "best"))).stdout.strip()
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))

    def trial() -> dict:
        return json.loads(slurmsweep("trials", sweep, "--json").stdout)[0]

    agent = start_agent(store, "logged")
    try:
        running = trial()
    finally:
        agent.send_signal(signal.SIGKILL)
        agent.wait()
    lost = trial()
    (tmp_path / "go").touch()
    done = slurmsweep("resubmit", sweep, "--backend", "local")

    assert done.returncode == 0, done.stderr
    assert [(one["state"], one["metric"]) for one in (running, lost)] == [("running", 1), ("crashed", 1)]
    ended = trial()
    assert (ended["state"], ended["attempt"], ended["metric"]) == ("finished", 2, 1)
    assert "loss (best) = 1 in trial 0" in slurmsweep("status", sweep).stdout
    assert "  metric       loss (best)  1\n" in slurmsweep("show", sweep, "0").stdout


def test_the_mean_of_the_last_is_over_both_attempts(slurmsweep, write_sweep, tmp_path, start_agent):
    extra = EXTRA % "mean of the last 3"
    sweep = slurmsweep("create", str(write_sweep(SCRIPT, "  x: {value: 1}", extra))).stdout.strip()
    agent = start_agent(SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}")), "logged")
    os.kill(agent.pid, signal.SIGKILL)
    agent.wait()
    (tmp_path / "go").touch()

    slurmsweep("resubmit", sweep, "--backend", "local")

    assert json.loads(slurmsweep("trials", sweep, "--json").stdout)[0]["metric"] == (2 + 5 + 4) / 3


def test_the_best_of_a_run_reaches_the_target(slurmsweep, write_sweep):
    script = "import slurmsweep; slurmsweep.init(); [slurmsweep.log({'loss': loss}) for loss in (3, 1, 2)]"
    extra = "metric: {name: loss, goal: minimize, target: 1}\nslurmsweep: {summary: best}"

    done = slurmsweep("run", str(write_sweep(script, extra=extra)), "--backend", "local")

    assert "reached the target (loss 1 <= 1)" in " ".join((done.stdout + done.stderr).split())
