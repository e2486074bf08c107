"""Wherever a person looks at trials that ended without a metric, the reason is there."""

from __future__ import annotations

import json
import os
import signal

import pytest

from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.session import Session
from slurmsweep.report.ending import ending_document, ending_text
from slurmsweep.report.summary import SweepSummary
from slurmsweep.state.store import SweepStore
from slurmsweep.state.view_cache import Follower

SCRIPT = """
import sys, slurmsweep
x = int(sys.argv[1].partition("=")[2])
slurmsweep.init()
rows = {1: {"a": 1, "b": 2}, 2: {"a": 1, "B": 2}, 3: {"a": 1, "b": float("nan")}, 4: {"a": 0, "b": 0}, 5: {"a": 1, "B": 2}, 6: {}}
if rows[x]:
    slurmsweep.log(rows[x])
sys.exit(x == 6)
"""
TOTAL = "slurmsweep: {metric: {name: total, expression: b/a}}"
ABSENT = "b was never logged (logged: B, a)"
DIVISION = "division by zero at character 1: 'b/a' of 0, 0"
WHY = [
    None,
    ABSENT,
    "the last value of b is nan",
    DIVISION,
    ABSENT,
    "nothing logged with wandb or slurmsweep, in a printed line or in metrics.json",
]
#: Of those that finished, and how it is told.
ROWS = [(ABSENT, 2, [1, 4]), (WHY[2], 1, [2]), (DIVISION, 1, [3])]
TOLD = [
    f"trials 1, 4 finished without a value: {ABSENT}",
    f"trial 2 finished without a value: {WHY[2]}",
    f"trial 3 finished without a value: {DIVISION}",
]


@pytest.fixture
def sweep(slurmsweep, write_sweep) -> str:
    """Return a sweep whose trials have ended; all but the first without a metric."""
    file = write_sweep(SCRIPT, "  x: {values: [1, 2, 3, 4, 5, 6]}", TOTAL)
    done = slurmsweep("run", str(file), "--backend", "local", "--jobs", "2", "--json")
    assert done.returncode == 1, done.stderr
    return json.loads(done.stdout)["id"]


def test_every_command_that_shows_metrics_says_why_there_is_none(sweep, slurmsweep, tmp_path):
    documents = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert [(t["no_metric"], t["metric"] is None) for t in documents] == [(why, bool(why)) for why in WHY]

    header, _, *lines = slurmsweep("trials", sweep, "--wide").stdout.splitlines()[:8]
    assert "  no metric" in header
    assert [why in line for why, line in zip(WHY[1:], lines[1:], strict=True)] == [True] * 5

    status = slurmsweep("status", sweep).stdout.replace("\n" + " " * 10, " ").splitlines()
    assert [line[10:] for line in status if line.startswith("  metric  ")] == TOLD
    unmeasured = json.loads(slurmsweep("status", sweep, "--json").stdout)["unmeasured"]
    assert [(row["why"], row["trials"], row["first"]) for row in unmeasured] == ROWS

    best = slurmsweep("best", sweep)
    assert best.stdout.splitlines()[2].split()[:4] == ["0", "2", "finished", "1"]
    assert best.stderr.splitlines() == [f"slurmsweep: {words}" for words in TOLD]

    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    summary = SweepSummary(store.layout, store.manifest, store.replay(), {})
    report = ending_document(summary, accounting="off", rounds=0)
    assert [(row["why"], row["trials"]) for row in json.loads(json.dumps(report))["unmeasured"]] == [
        r[:2] for r in ROWS
    ]
    assert "finished without a metric\n" + "\n".join(f"  {words}" for words in TOLD) in ending_text(report)


def test_reasons_survive_repair_and_the_cache(sweep, slurmsweep, tmp_path):
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    os.unlink(store.journal.path)
    assert slurmsweep("check", sweep, "--repair").returncode == 0

    for view in (store.replay(), Follower(store).refresh()):
        assert [trial.current.outcome.no_metric for trial in view.trials.values()] == WHY


def test_a_sweep_with_all_values_says_nothing_of_it(slurmsweep, write_sweep):
    file = write_sweep(SCRIPT, "  x: {value: 1}", TOTAL)
    done = slurmsweep("run", str(file), "--backend", "local", "--json")
    sweep = json.loads(done.stdout)["id"]

    assert "no metric" not in slurmsweep("trials", sweep).stdout
    assert "without a value" not in slurmsweep("status", sweep).stdout
    assert slurmsweep("best", sweep).stderr == ""


def test_of_a_pareto_view_it_is_said_which_number_is_missing(slurmsweep, write_sweep):
    script = "import slurmsweep\nslurmsweep.init()\nslurmsweep.log({'acc': 1})"
    file = write_sweep(script, "  x: {value: 1}", "slurmsweep: {pareto: {acc: maximize, latency: minimize}}")
    sweep = json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]

    assert slurmsweep("best", sweep, "--pareto").stderr.splitlines() == [
        "slurmsweep: no finished trial has all of 'acc' and 'latency' yet",
        "slurmsweep: trial 0 finished without a value: latency was never logged (logged: acc)",
    ]


def test_the_trial_of_a_killed_agent_says_which_part_was_not_logged_yet(slurmsweep, write_sweep, start_agent, tmp_path):
    script = "import slurmsweep, time\nslurmsweep.init()\nslurmsweep.log({'a': 1})\nprint('ready', flush=True)\ntime.sleep(300)"
    sweep = slurmsweep("create", str(write_sweep(script, "  x: {value: 1}", TOTAL))).stdout.strip()
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    agent = start_agent(store, "ready")

    def no_metric() -> tuple:
        [trial] = json.loads(slurmsweep("trials", sweep, "--json").stdout)
        return trial["state"], trial["no_metric"]

    assert no_metric() == ("running", None)
    agent.send_signal(signal.SIGKILL)
    agent.wait(timeout=120)
    assert no_metric() == ("crashed", "b was never logged (logged: a)")  # not recorded yet
    reconcile(Session(store), sleep=lambda _: None)

    assert no_metric() == ("crashed", "b was never logged (logged: a)")
    assert store.replay().trials[0].current.outcome.no_metric == "b was never logged (logged: a)"


def test_points_taken_over_from_another_sweep_say_why_by_the_new_metric(slurmsweep, write_sweep):
    script = "import slurmsweep\nslurmsweep.init()\nslurmsweep.log({'loss': 3})"
    done = slurmsweep(
        "run", str(write_sweep(script, "  x: {value: 1}", "metric: {name: loss}")), "--backend", "local", "--json"
    )
    prior = json.loads(done.stdout)["id"]
    made = slurmsweep("create", str(write_sweep(script, "  x: {value: 1}", TOTAL)), "--prior", prior).stdout.strip()

    [trial] = json.loads(slurmsweep("trials", made, "--json").stdout)
    assert (trial["metric"], trial["no_metric"]) == (None, "b and a were never logged (logged: loss)")
