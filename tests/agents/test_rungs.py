"""Trials in parts, as processes of this machine: what a script learns, what ends a part, and which trials go on."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from slurmsweep.agents.agent import Claims
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId

#: Each epoch is a line of the file `epochs`; curves of two trials never cross. It goes on from its checkpoint.
SCRIPT = """
import json, os, time
import slurmsweep
run = slurmsweep.init()
x = run.config["x"]
checkpoint = os.path.join(os.environ["SLURMSWEEP_CHECKPOINT_DIR"], "checkpoint.json")
start = json.load(open(checkpoint)) if os.path.exists(checkpoint) else 0
for epoch in range(start, int(os.environ["SLURMSWEEP_RUNG_STEPS"])):
    slurmsweep.log({"loss": x + 10 / (epoch + 1)}, step=epoch)
    with open("epochs", "a") as file:
        file.write(f"{x} {epoch} {os.environ['SLURMSWEEP_RUNG']} {os.environ['SLURMSWEEP_LAST_RUNG_STEPS']}\\n")
json.dump(int(os.environ["SLURMSWEEP_RUNG_STEPS"]), open(checkpoint, "w"))
"""

#: Knows nothing of rungs; saves its state when it is asked to stop, and is slow enough to be asked.
OBLIVIOUS = """
import json, os, signal, sys, time
import slurmsweep
run = slurmsweep.init()
x = run.config["x"]
checkpoint = os.path.join(os.environ["WANDB_DIR"], "checkpoint.json")
epoch = json.load(open(checkpoint)) if os.path.exists(checkpoint) else 0
def leave(number, frame):
    json.dump(epoch, open(checkpoint, "w"))
    sys.exit(143)
signal.signal(signal.SIGTERM, leave)
while epoch < 12:
    slurmsweep.log({"loss": x + 10 / (epoch + 1)}, step=epoch)
    with open("epochs", "a") as file:
        file.write(f"{x} {epoch}\\n")
    epoch += 1
    time.sleep(0.5)
"""

VALUES = [4, 7, 1, 8, 0, 6, 3, 5, 2]
RUNGS = "metric: {name: loss, goal: minimize}\nslurmsweep: {rungs: {steps: [1, 3, 9], keep: 1/3}}"
OFTEN = {"SLURMSWEEP_EARLY_TERMINATE_SECONDS": "0.1"}


@pytest.fixture
def run(slurmsweep, write_sweep):
    """Run a sweep of nine trials to its end; returns its id."""

    def run(script, extra=RUNGS, *options, parameters=f"  x: {{values: {VALUES}}}", code=0, method="grid", **environ):
        file = write_sweep(script, parameters, extra, method)
        done = slurmsweep("run", str(file), "--backend", "local", *options, "--json", **environ)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)["id"]

    return run


@pytest.fixture
def rows(slurmsweep):
    """The trials of a sweep, as ``trials --json`` shows them."""
    return lambda sweep: json.loads(slurmsweep("trials", sweep, "--json").stdout)


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_the_best_go_on_from_their_checkpoints_and_the_rest_end_at_their_rung(run, rows, slurmsweep, tmp_path, jobs):
    sweep = run(SCRIPT, RUNGS, "--jobs", jobs)

    ended = {row["params"]["x"]: row for row in rows(sweep)}
    lines = [line.split() for line in (tmp_path / "epochs").read_text().splitlines()]
    epochs = Counter((x, epoch) for x, epoch, _, _ in lines)
    assert {row["state"] for row in ended.values()} == {"finished"}
    assert (ended[0]["cause"], ended[0]["attempt"]) == ("", 3)
    assert next(x for x, row in ended.items() if not row["cause"]) == 0
    assert set(epochs.values()) == {1}
    assert len(epochs) <= 0.45 * 9 * len(VALUES)
    assert {(int(epoch) < 1, int(epoch) < 3, rung) for _, epoch, rung, _ in lines} == {
        (True, True, "1"),
        (False, True, "2"),
        (False, False, "3"),
    }
    assert {last for *_, last in lines} == {"9"}
    assert slurmsweep("check", sweep).returncode == 0


def test_a_script_that_knows_nothing_of_rungs_is_stopped_behind_its_own_and_goes_on_if_it_is_good(run, rows, tmp_path):
    rungs = RUNGS.replace("[1, 3, 9]", "[2, 4]").replace("1/3", "1/2")
    sweep = run(OBLIVIOUS, rungs, "--jobs", "4", parameters="  x: {values: [3, 0, 2, 1]}", **OFTEN)

    ended = {row["params"]["x"]: row for row in rows(sweep)}
    epochs = Counter(line.split()[0] for line in (tmp_path / "epochs").read_text().splitlines())
    assert {row["state"] for row in ended.values()} == {"finished"}
    assert ended[3]["cause"] == "rung 2"
    assert (ended[0]["cause"], ended[0]["attempt"]) == ("", 2)
    assert epochs["0"] == 12
    assert epochs["3"] < 12
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    log = Path(store.layout.log(AttemptId(0, 1))).read_text()
    assert "SLURMSWEEP_RUNG_STEPS tells a script so" in log


def test_a_trial_that_fails_reaches_nothing_and_runs_to_the_same_rung_again(run, rows, slurmsweep, tmp_path):
    fails = SCRIPT.replace("json.dump(int", "if x == 0 and not os.path.exists('mended'): sys.exit(3)\njson.dump(int")
    sweep = run("import sys\n" + fails, RUNGS, code=1)
    before = {row["params"]["x"]: row for row in rows(sweep)}
    (tmp_path / "mended").touch()

    done = slurmsweep("resubmit", sweep, "--backend", "local", "--wait")

    after = {row["params"]["x"]: row for row in rows(sweep)}
    assert done.returncode == 0, done.stderr
    assert (before[0]["state"], before[0]["cause"]) == ("failed", "exit 3")
    assert (after[0]["state"], after[0]["cause"]) == ("finished", "")
    assert slurmsweep("check", sweep).returncode == 0


def test_a_killed_agent_costs_one_part_and_no_result(slurmsweep, write_sweep, rows, tmp_path, start_agent):
    waits = SCRIPT.replace(
        "json.dump(int", "print('logged', flush=True)\ntime.sleep(60 * (not os.path.exists('go')))\njson.dump(int"
    )
    sweep = slurmsweep("create", str(write_sweep(waits, f"  x: {{values: {VALUES}}}", RUNGS))).stdout.strip()
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    agent = start_agent(store, "logged")
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    (tmp_path / "go").touch()

    done = slurmsweep("run", sweep, "--backend", "local", "--jobs", "2")

    ended = rows(sweep)
    assert done.returncode == 0, done.stderr
    assert next(row["params"]["x"] for row in ended if not row["cause"]) == 0
    assert {row["state"] for row in ended} == {"finished"}


def test_a_search_without_an_end_starts_as_many_trials_as_it_was_told_to_and_lets_the_best_go_on(run, rows):
    sweep = run(SCRIPT, RUNGS, "--count", "9", parameters="  x: {min: 0.0, max: 1.0}", method="random")

    causes = Counter(row["cause"] for row in rows(sweep))
    assert sum(causes.values()) == 9
    assert causes["rung 1"] <= 6
    assert causes[""] >= 1


def test_a_rebuilt_journal_lets_the_same_trials_go_on(slurmsweep, write_sweep, rows, tmp_path):
    sweep = slurmsweep("create", str(write_sweep(SCRIPT, f"  x: {{values: {VALUES}}}", RUNGS))).stdout.strip()
    slurmsweep("agent", "--count", "5", sweep, SLURM_JOB_ID="77")  # a job takes no trial of a higher rung
    assert {row["cause"] for row in rows(sweep) if row["attempt"]} == {"rung 1"}
    (tmp_path / "wandb" / f"sweep-{sweep}" / "journal.log").unlink()

    assert slurmsweep("check", sweep, "--repair").returncode == 0
    done = slurmsweep("run", sweep, "--backend", "local")

    assert done.returncode == 0, done.stderr
    epochs = Counter(line.rsplit(" ", 2)[0] for line in (tmp_path / "epochs").read_text().splitlines())
    assert set(epochs.values()) == {1}
    assert {row["params"]["x"]: row["cause"] for row in rows(sweep)}[0] == ""


def test_a_sweep_whose_trials_may_go_on_has_not_finished_and_says_what_starts_them(slurmsweep, write_sweep):
    sweep = slurmsweep("create", str(write_sweep(SCRIPT, f"  x: {{values: {VALUES}}}", RUNGS))).stdout.strip()
    slurmsweep("agent", "--count", "9", sweep, SLURM_JOB_ID="77")

    shown = slurmsweep("status", sweep).stdout
    document = json.loads(slurmsweep("status", sweep, "--json").stdout)

    assert (document["state"], document["may_go_on"]) == ("idle", 3)
    assert f"3 may go on: `slurmsweep resubmit {sweep}` starts them" in shown


def test_a_function_runs_in_parts_too(tmp_path, monkeypatch):
    import slurmsweep

    monkeypatch.chdir(tmp_path)
    config = {
        "method": "grid",
        "metric": {"name": "loss"},
        "parameters": {"x": {"values": VALUES}},
        "slurmsweep": {"rungs": {"steps": [1, 3, 9], "keep": "1/3"}},
    }
    sweep = slurmsweep.sweep(config)
    seen = []

    def train():
        with slurmsweep.init() as run:
            for epoch in range(int(os.environ["SLURMSWEEP_RUNG_STEPS"])):
                run.log({"loss": run.config["x"] + 10 / (epoch + 1)}, step=epoch)
            seen.append((run.config["x"], os.environ["SLURMSWEEP_RUNG"]))

    slurmsweep.agent(sweep, train)

    assert (0, "3") in seen
    assert len(seen) < 9 * 3
    assert max(Counter(seen).values()) == 1


def test_the_kept_view_knows_where_trials_stand(run, tmp_path):
    from slurmsweep.learning.rungs import promotions
    from slurmsweep.state import view_cache

    sweep = run(SCRIPT)
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    follower = view_cache.Follower(store)
    follower.refresh()
    view_cache._save(store, follower.reading)

    kept = view_cache.read(store)

    assert [kept.bands.at(step, {}) for step in (1, 3, 9)] == [store.replay().bands.at(step, {}) for step in (1, 3, 9)]
    assert promotions(store.manifest.config, kept) == []
    assert len(kept.bands.at(1, {})) == 9


def test_a_plan_shows_the_parts_their_limits_and_what_they_cost_in_all(slurmsweep, write_sweep):
    file = str(write_sweep(SCRIPT, f"  x: {{values: {VALUES}}}", RUNGS))

    shown = slurmsweep("plan", file, "--backend", "slurm", "--time", "90").stdout
    document = json.loads(slurmsweep("plan", file, "--backend", "slurm", "--time", "90", "--json").stdout)

    assert "rung 2: about 3 trials run to 3 steps, 30 min each" in shown
    assert "#SBATCH --time=10" in shown
    assert document["rungs"] == [
        {"steps": 1, "trials": 9, "minutes": 10},
        {"steps": 3, "trials": 3, "minutes": 30},
        {"steps": 9, "trials": 1, "minutes": 90},
    ]
    assert document["forecast"]["core_hours"] == pytest.approx((9 * 10 + 3 * 30 + 90) / 60)


class Killed(BaseException):
    """The end of an agent at that place."""


def test_an_agent_that_dies_before_it_says_what_it_claimed_keeps_no_trial_from_going_on(
    slurmsweep, write_sweep, rows, tmp_path, monkeypatch
):
    sweep = slurmsweep("create", str(write_sweep(SCRIPT, f"  x: {{values: {VALUES}}}", RUNGS))).stdout.strip()
    slurmsweep("agent", "--count", "9", sweep, SLURM_JOB_ID="77")
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))

    def die(*_) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(SweepStore, "_record_claim", die)
        Claims(store, {}).next()

    slurmsweep("reconcile", sweep)
    done = slurmsweep("run", sweep, "--backend", "local")

    assert done.returncode == 0, done.stderr
    assert {row["params"]["x"]: row["cause"] for row in rows(sweep)}[0] == ""
    assert slurmsweep("check", sweep).returncode == 0


def test_local_agents_inside_a_job_of_the_users_own_let_trials_go_on(run, rows):
    sweep = run(SCRIPT, RUNGS, SLURM_JOB_ID="4242", SLURM_CLUSTER_NAME="c", SLURMD_NODENAME="n1")

    assert {row["params"]["x"]: row["cause"] for row in rows(sweep)}[0] == ""


def test_a_part_with_nothing_left_to_do_has_the_value_logged_before(run, rows, slurmsweep, tmp_path):
    # the first attempt of the best trial saves its checkpoint and is cut off before its exit
    cut = (
        SCRIPT
        + "\nif x == 0 and os.environ['SLURMSWEEP_ATTEMPT'] == '1':\n    slurmsweep.finish(); os.kill(os.getpid(), 9)\n"
    )
    sweep = run(cut, RUNGS, code=1)

    done = slurmsweep("resubmit", sweep, "--backend", "local", "--force")

    best = next(row for row in rows(sweep) if row["params"]["x"] == 0)
    assert done.returncode == 0, done.stderr
    assert (best["state"], best["cause"]) == ("finished", "")
    assert best["metric"] is not None


def test_where_the_sweep_file_sums_up_trials_are_compared_by_that(run, rows):
    """By its first value trial 1 is the best, by the last one at its rung the worst."""
    script = SCRIPT.replace("x + 10 / (epoch + 1)", "100 - x if epoch else x")
    extra = "metric: {name: loss, goal: minimize}\nslurmsweep: {summary: best, rungs: {steps: [2, 3], keep: 1/3}}"

    ended = rows(run(script, extra, parameters="  x: {values: [2, 0, 1]}"))

    assert [(row["params"]["x"], row["metric"]) for row in ended if not row["cause"]] == [(0, 0)]
    assert {row["params"]["x"]: row["metric"] for row in ended} == {2: 2, 0: 0, 1: 1}
