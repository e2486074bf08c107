"""Several metrics from the sweep file to the table: computed as one, or weighed against each other."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from slurmsweep.control.failures.log_end import read_failure
from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.session import Session
from slurmsweep.state.store import SweepStore
from slurmsweep.state.view_cache import Follower

LOG = """
import sys, slurmsweep
x = int(sys.argv[1].partition("=")[2])
slurmsweep.init()
"""
SUM = "slurmsweep: {metric: {name: total, goal: maximize, expression: 0.5*a + 10*`val/b`}}"
VIEW = "slurmsweep: {pareto: {acc: maximize, latency: minimize}}"

#: x to accuracy and latency: 1 and 2 are equal, 4 is beaten by 3, 5 lacks one, 6 ended in NaN, 7 failed.
WEIGHED = (
    LOG
    + """
points = {1: (0.9, 5), 2: (0.9, 5), 3: (0.95, 7), 4: (0.92, 8), 5: (0.99, None), 6: (0.99, float("nan")), 7: (1, 1), 8: (0.5, 1)}
acc, latency = points[x]
slurmsweep.log({"acc": 0.1})
slurmsweep.log({"acc": acc} if latency is None else {"acc": acc, "latency": latency})
sys.exit(x == 7)
"""
)


def run(slurmsweep, file, code=0) -> str:
    done = slurmsweep("run", str(file), "--backend", "local", "--jobs", "2", "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)["id"]


def documents(slurmsweep, *argv):
    done = slurmsweep(*argv, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def has_run(run_in, tmp_path_factory):
    """Folder with a sweep with a Pareto view whose trials have run; and its id."""
    folder = tmp_path_factory.mktemp("weighed")
    return folder, run_in(folder, WEIGHED, VIEW, [1, 2, 3, 4, 5, 6, 7, 8], "--jobs", "2", code=1)


@pytest.fixture
def weighed(has_run, tmp_path):
    """Return a copy of that sweep for one test; its id."""
    folder, sweep = has_run
    shutil.copytree(folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    return sweep


def test_a_computed_metric_is_recorded_ranked_and_shown(slurmsweep, write_sweep):
    script = LOG + "slurmsweep.log({'a': x, 'val/b': -x})\nslurmsweep.log({'a': 10 * x, 'val/b': x % 3})"
    sweep = run(slurmsweep, write_sweep(script, extra=SUM))

    assert [t["metric"] for t in documents(slurmsweep, "trials", sweep)] == [15.0, 30.0, 15.0]
    assert documents(slurmsweep, "best", sweep)["number"] == 1
    assert documents(slurmsweep, "status", sweep)["best"]["metric"] == 30.0
    shown = slurmsweep("best", sweep).stdout
    assert shown.split("\n")[0].split()[:4] == ["trial", "total", "state", "x"]
    assert "total = 30 in trial 1" in slurmsweep("status", sweep).stdout


def test_a_trial_without_a_value_says_why_in_its_log_and_is_never_the_best(slurmsweep, write_sweep):
    script = LOG + "slurmsweep.log({'a': x, 'val/b': 1} if x > 1 else {'a': x})\nprint('done', end='')"
    sweep = run(slurmsweep, write_sweep(script, extra=SUM.replace("maximize", "minimize")))

    assert [t["metric"] for t in documents(slurmsweep, "trials", sweep)] == [None, 11.0, 11.5]
    assert documents(slurmsweep, "best", sweep)["number"] == 1
    log = slurmsweep("logs", sweep, "0").stdout
    assert log == "doneslurmsweep: note: total has no value: no finite number was logged as val/b\n"
    assert read_failure(log).signature == "done"  # the command's own last words
    assert "note" not in slurmsweep("logs", sweep, "1").stdout


@pytest.mark.parametrize("whom", ["command", "agent"])
def test_a_killed_trial_has_the_value_of_what_it_logged_last(slurmsweep, write_sweep, start_agent, tmp_path, whom):
    script = LOG + (
        "import os, signal, time\nslurmsweep.log({'a': 4, 'val/b': 1, 'acc': 0.5})\nslurmsweep.log({'a': 6})\n"
        "print('ready', flush=True)\n"
        + ("os.kill(os.getpid(), signal.SIGKILL)" if whom == "command" else "time.sleep(300)")
    )
    both = SUM.replace("}}", "}, pareto: {total: maximize, acc: maximize}}")
    sweep = slurmsweep("create", str(write_sweep(script, "  x: {value: 1}", both))).stdout.strip()
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    agent = start_agent(store, "ready")
    if whom == "agent":
        [running] = documents(slurmsweep, "trials", sweep)
        assert (running["state"], running["metric"]) == ("running", 13.0)
        assert running["metrics"] == {"total": 13.0, "acc": 0.5}
        os.kill(agent.pid, signal.SIGKILL)
    agent.wait(timeout=120)
    [seen] = documents(slurmsweep, "trials", sweep)
    reconcile(Session(store), sleep=lambda _: None)

    assert (seen["state"], seen["metric"], seen["metrics"]) == ("crashed", 13.0, {"total": 13.0, "acc": 0.5})
    outcome = store.replay().trials[0].current.outcome
    assert (outcome.metric, outcome.metrics) == (13.0, {"total": 13.0, "acc": 0.5})


def test_the_front_is_what_no_other_finished_trial_beats(slurmsweep, weighed):
    found = documents(slurmsweep, "best", weighed, "--pareto")

    assert [t["params"]["x"] for t in found] == [3, 1, 2, 8]
    assert [t["metrics"] for t in found] == [
        {"acc": 0.95, "latency": 7.0}, {"acc": 0.9, "latency": 5.0}, {"acc": 0.9, "latency": 5.0}, {"acc": 0.5, "latency": 1.0},
    ]  # fmt: skip
    assert [t["params"]["x"] for t in documents(slurmsweep, "best", weighed, "--pareto", "--top", "1")] == [3]


def test_the_front_as_a_table_says_what_is_left_out(slurmsweep, weighed):
    done = slurmsweep("best", weighed, "--pareto", "--top", "3")

    assert (done.returncode, done.stdout.split("\n")[0].split()[:5]) == (
        0,
        ["trial", "acc", "latency", "state", "x"],
    )
    cells = [line.split() for line in done.stdout.splitlines()[2:5]]
    assert [[row[4], row[1], row[2]] for row in cells] == [["3", "0.95", "7"], ["1", "0.9", "5"], ["2", "0.9", "5"]]
    assert "2 finished trials lack one of 'acc' and 'latency': left out" in done.stderr
    assert "the first 3 of 4 trials, by 'acc'" in done.stderr


def test_trials_shows_the_metrics_as_columns(slurmsweep, weighed):
    rows = documents(slurmsweep, "trials", weighed)

    assert [t["metrics"] for t in rows][3:7] == [
        {"acc": 0.92, "latency": 8.0},
        {"acc": 0.99},
        {"acc": 0.99},
        {"acc": 1.0, "latency": 1.0},
    ]
    assert {t["metric"] for t in rows} == {None}
    assert " acc" in slurmsweep("trials", weighed).stdout.split("\n")[0]


def test_a_pareto_view_survives_repair_and_the_cache(slurmsweep, weighed, tmp_path):
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{weighed}"))
    before = {number: trial.current.outcome for number, trial in Follower(store).refresh().trials.items()}
    os.unlink(store.journal.path)
    assert slurmsweep("check", weighed, "--repair").returncode == 0

    assert {number: trial.current.outcome for number, trial in store.replay().trials.items()} == before
    assert before[0].metrics == {"acc": 0.9, "latency": 5.0}


def test_without_a_pareto_view_there_is_no_front_and_what_to_add_is_said(slurmsweep, write_sweep):
    sweep = run(slurmsweep, write_sweep("pass", "  x: {value: 1}", "metric: {name: loss}"))

    done = slurmsweep("best", sweep, "--pareto")

    assert (done.returncode, done.stdout) == (2, "")
    assert "add, for example, `slurmsweep: {pareto: {accuracy: maximize, latency: minimize}}`" in done.stderr
    assert [t["metrics"] for t in documents(slurmsweep, "trials", sweep)] == [None]


def test_before_the_first_value_the_front_is_empty(slurmsweep, write_sweep):
    sweep = slurmsweep("create", str(write_sweep("pass", extra=VIEW))).stdout.strip()

    done = slurmsweep("best", sweep, "--pareto")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no finished trial has all of 'acc' and 'latency' yet" in done.stderr
    assert documents(slurmsweep, "best", sweep, "--pareto") == []


def test_what_is_taken_over_from_another_sweep_is_judged_by_the_new_ones_metrics(slurmsweep, write_sweep):
    script = LOG + "slurmsweep.log({'a': x, 'b': 10 - x, 'loss': 100})"
    first = run(slurmsweep, write_sweep(script, extra="metric: {name: loss}"))
    new = "slurmsweep: {metric: {name: total, expression: a + b/5}, pareto: {a: minimize, b: minimize}}"
    done = slurmsweep("create", str(write_sweep(script, extra=new)), "--prior", first)

    rows = documents(slurmsweep, "trials", done.stdout.strip())
    assert [(t["metric"], t["metrics"]) for t in rows] == [(x + (10 - x) / 5, {"a": x, "b": 10 - x}) for x in (1, 2, 3)]
    assert documents(slurmsweep, "trials", first)[0]["metric"] == 100.0


def test_a_canary_of_a_sweep_with_several_metrics_runs(slurmsweep, write_sweep):
    script = LOG + "slurmsweep.log({'a': 1, 'val/b': 2})"
    file = write_sweep(script, extra=SUM.replace("}}", "}, pareto: {total: maximize, a: minimize}}"))

    used = documents(slurmsweep, "plan", str(file), "--canary", "--backend", "local")["canary"]

    assert used["state"] == "finished"
    assert documents(slurmsweep, "best", used["sweep"])["metrics"] == {"total": 20.5, "a": 1.0}
