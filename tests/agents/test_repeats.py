"""Sweeps whose points run several times: each run is a trial, points are judged, a lost run is missed, a race is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from slurmsweep.agents.agent import Claims
from slurmsweep.agents.identity import this_process
from slurmsweep.learning.observations import observations
from slurmsweep.state.check import check
from slurmsweep.state.chosen import ChosenPoint
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import NothingLeft
from slurmsweep.state.point_runs import leave_out, settle_point
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.config import check as check_config

SCHEMAS = Path(__file__).parent.parent.parent / "docs" / "schemas"

#: The mean over seeds 0, 1, 2 is x; one run fails the first time.
SCRIPT = """
import os, sys, slurmsweep
run = slurmsweep.init()
x, seed = run.config["x"], run.config["seed"]
if (x, seed) == (2, 1) and os.environ["SLURMSWEEP_ATTEMPT"] == "1":
    sys.exit(3)
slurmsweep.log({"loss": x + (seed - 1) / 10})
"""
METRIC = "metric: {name: loss, goal: minimize}"
REPEATS = "slurmsweep: {repeats: {parameter: seed, values: [0, 1, 2]}}"
SPACE = "  x: {values: [3, 2, 1]}"


@pytest.fixture
def asked(slurmsweep):
    """What a command says by ``--json``, checked by its schema."""

    def asked(command: str, *words: str):
        document = json.loads(slurmsweep(command, *words, "--json").stdout)
        Draft202012Validator(json.loads((SCHEMAS / f"{command}.json").read_text())).validate(document)
        return document

    return asked


def test_a_point_is_done_and_judged_when_each_of_its_runs_is(slurmsweep, write_sweep, asked):
    file = write_sweep(SCRIPT, SPACE, f"{METRIC}\n{REPEATS}")
    plan = slurmsweep("plan", str(file)).stdout
    assert "grid search, 3 points of 3 runs: 9 trials" in plan
    assert "each point runs with seed 0, 1, 2, and is worth the mean\n" in plan
    assert asked("plan", str(file))["repeats"] == {"parameter": "seed", "values": [0, 1, 2], "metric": "mean"}

    first = slurmsweep("run", str(file), "--backend", "local", "--json")
    sweep = json.loads(first.stdout)["id"]
    before, told = asked("trials", sweep), asked("status", sweep)
    again = slurmsweep("resubmit", sweep, "--wait")

    after = asked("trials", sweep)
    assert (first.returncode, again.returncode) == (1, 0)
    assert [(row["point"], row["state"], row["metric"], row["runs"]["done"]) for row in before] == [
        (0, "finished", 3.0, 3), (1, "failed", None, 2), (2, "finished", 1.0, 3),
    ]  # fmt: skip
    assert told["points"] == {"expected": 3, "runs_each": 3, "counts": {"finished": 2, "failed": 1}}
    assert [(row["metric"], row["params"], row["runs"]["trials"]) for row in after] == [
        (3.0, {"x": 3}, [0, 1, 2]), (2.0, {"x": 2}, [3, 4, 5]), (1.0, {"x": 1}, [6, 7, 8]),
    ]  # fmt: skip
    assert all(row["spread"] == pytest.approx(0.1) for row in after)
    runs = asked("trials", sweep, "--repeats")
    assert [(row["point"], row["params"]["seed"]) for row in runs] == [(n // 3, n % 3) for n in range(9)]
    assert [row["attempt"] for row in runs] == [1, 1, 1, 1, 2, 1, 1, 1, 1]
    assert asked("best", sweep)["point"] == 2
    assert asked("show", sweep, "4")["of_point"]["trials"] == [3, 4, 5]
    assert "best    loss = 1 ± 0.1 in point 2 (trials 6, 7, 8): x=1" in slurmsweep("status", sweep).stdout
    shown = slurmsweep("show", sweep, "4").stdout
    assert "point        1, of trials 3, 4, 5; finished: 2 ± 0.1" in shown
    assert "checkpoints" not in shown.split("by hand")[0]  # removed at the trial's end: nothing was in it
    new = slurmsweep("create", str(file)).stdout.strip()
    compared = asked("compare", sweep, new)["sweeps"][0]
    assert compared["best"] == {"value": 1.0, "trial": 6, "point": 2}
    assert [value for _, value in compared["best_so_far"]] == [3.0, 1.0, 1.0]
    screen = slurmsweep("watch", sweep, "--once").stdout
    assert "grid, 3 points of 3 runs: 9 trials" in screen
    assert "best loss 1 ± 0.1  point 2  x=1" in screen
    assert screen.split("best so far  ")[1].split()[::2][:2] == ["3", "1"]
    assert slurmsweep("check", sweep).returncode == 0

    other = slurmsweep("create", str(file)).stdout.strip()
    compared = asked("compare", sweep, other)["sweeps"][0]
    assert compared["best"] == {"value": pytest.approx(1.0), "trial": 6, "point": 2}
    # points and not runs, of which one came to 0.9
    assert compared["best_so_far"][-1] == [3, pytest.approx(1.0)]
    slurmsweep("rerun", sweep, "--trials", "0,3,6")
    assert "no finished point has a value of 'loss' yet" in slurmsweep("best", sweep).stderr


def test_tables_and_exports_have_points_and_runs(slurmsweep, write_sweep):
    file = write_sweep(SCRIPT.replace("(2, 1)", "None"), SPACE, f"{METRIC}\n{REPEATS}")
    sweep = json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]

    table = slurmsweep("trials", sweep, "--sort", "loss").stdout.splitlines()
    points = slurmsweep("export", sweep, "--points").stdout.splitlines()
    trials = slurmsweep("export", sweep).stdout.splitlines()
    refused = slurmsweep("export", sweep, "--points", "--history")

    assert table[0].split()[:5] == ["point", "loss", "±", "runs", "state"]
    assert [line.split()[:2] for line in table[2:5]] == [["2", "1"], ["1", "2"], ["0", "3"]]
    assert points[1].startswith("0,finished,,3.0,0.1")
    assert trials[0].startswith("number,point,state")
    assert (len(points), len(trials), refused.returncode) == (4, 10, 2)
    named = slurmsweep("trials", sweep, "--columns", "point,runs,±,spread", "--where", "point=1").stdout.splitlines()
    assert named[2].split() == ["1", "3", "of", "3", "0.1", "0.1"]


def test_a_race_says_what_is_not_needed_and_a_person_gets_it_all_the_same(slurmsweep, write_sweep, asked, tmp_path):
    race = "slurmsweep: {repeats: {parameter: seed, count: 4, metric: worst, race: true}}"
    file = write_sweep(SCRIPT.replace("(2, 1)", "None"), "  x: {values: [1, 2, 3]}", f"{METRIC}\n{race}")

    done = slurmsweep("run", str(file), "--backend", "local", "--jobs", "1", "--json")

    sweep = json.loads(done.stdout)["id"]
    assert done.returncode == 0, done.stderr
    assert asked("status", sweep)["state"] == "finished"
    assert asked("status", sweep)["not_needed"] == 6
    assert asked("status", sweep)["points"]["counts"] == {"finished": 1, "not needed": 2}
    assert [row["runs"] for row in asked("trials", sweep)] == [
        {"trials": [0, 1, 2, 3], "done": 4, "not_needed": 0},
        {"trials": [4, 5, 6, 7], "done": 1, "not_needed": 3},
        {"trials": [8, 9, 10, 11], "done": 1, "not_needed": 3},
    ]
    assert slurmsweep("check", sweep).returncode == 0
    assert asked("importance", sweep)["trials"] == 3  # with the runs that they had
    screen = slurmsweep("watch", sweep, "--once").stdout
    assert "6 finished  6 not needed" in screen
    assert "▒" not in screen
    assert "nothing to" in slurmsweep("resubmit", sweep, "--wait").stderr

    forced = slurmsweep("resubmit", sweep, "--trials", "5-7", "--backend", "local", "--wait")

    assert forced.returncode == 0, forced.stderr
    assert [row["runs"]["done"] for row in asked("trials", sweep)] == [4, 4, 1]
    assert asked("trials", sweep)[1]["state"] == "finished"
    assert slurmsweep("check", sweep).returncode == 0


def test_the_target_is_of_points_and_not_of_lucky_runs(slurmsweep, write_sweep, asked):
    metric = "metric: {name: loss, goal: minimize, target: 1.95}"
    file = write_sweep(SCRIPT.replace("(2, 1)", "None"), "  x: {values: [2, 1, 5]}", f"{metric}\n{REPEATS}")

    slurmsweep("run", str(file), "--backend", "local", "--jobs", "1", "--json")

    status = asked("status", "last")  # a run of x=2 has 1.9, but x=2 is worth 2
    assert status["target_reached"] == {"trial": 5, "value": 1.0}
    assert status["counts"]["finished"] == 6


@pytest.fixture
def bayes(tmp_path):
    """A bayes search of three runs a point."""
    pytest.importorskip("numpy")
    repeats = {"repeats": {"parameter": "seed", "count": 3}}
    data = {"method": "bayes", "program": "train.py", "metric": {"name": "loss"}, "run_cap": 8, "slurmsweep": repeats}
    config = check_config(data | {"parameters": {"x": {"min": 0.0, "max": 1.0}}}, "test").config
    return SweepStore.create(str(tmp_path), Manifest("abcd1234", config, 24, str(tmp_path), "t.yaml", 0.0, "0"))


def ended(value) -> Outcome:
    return Outcome(TrialState.FINISHED, exit_code=0, metric=value, lowest=value, highest=value, ended=1.0)


def test_the_runs_of_a_point_have_the_point_of_the_first_claim_whichever_that_is(bayes):
    agents = [Claims(bayes, {}) for _ in range(3)]
    agents[0]._assigned = AttemptId(2, 1)  # an array element that is for the last run of the first point

    claims = [agent.next() for agent in (*agents, *agents[1:], *agents[1:])]

    points = {claim.attempt_id.trial: claim.chosen.values["x"] for claim in claims}
    assert points.keys() == {0, 1, 2, 3, 4, 5, 6}
    assert points[0] == points[1] == points[2]
    assert points[3] == points[4] == points[5]
    assert len({points[0], points[3], points[6]}) == 3
    assert check(bayes).findings == ()


def test_what_another_process_settled_stands_though_its_claim_is_not_recorded_yet(bayes):
    other = ChosenPoint({"x": 0.25})
    settle_point(bayes, 0, other)

    claim = Claims(bayes, {}).next()

    assert claim.chosen == other
    assert settle_point(bayes, 0, ChosenPoint({"x": 0.5})) == other


def test_check_finds_runs_of_one_point_with_different_parameters(bayes):
    for number, x in ((0, 0.25), (1, 0.5)):
        bayes.claim_attempt(this_process({}), AttemptId(number, 1), Always(ChosenPoint({"x": x})))

    assert [finding.subject for finding in check(bayes).findings] == ["trial 1"]


class Always:
    def __init__(self, chosen):
        self._chosen = chosen

    def choose(self, _):
        return self._chosen


def test_a_point_is_one_observation_with_the_variance_of_its_mean(bayes):
    agent, values = Claims(bayes, {}), iter([1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 9.0])
    for value in values:
        bayes.finish(agent.next(), ended(value))

    found = list(observations(bayes.manifest.config, bayes.replay()))

    assert [(one.number, one.value, one.running) for one in found] == [
        (0, 2.0, False),
        (1, 6.0, False),
        (2, None, True),
    ]
    assert [one.variance for one in found[:2]] == pytest.approx([1 / 3, 1 / 3])


def test_only_one_process_runs_a_trial_or_leaves_it_out(bayes):
    chosen = ChosenPoint({"x": 0.25})
    claim = bayes.claim_attempt(this_process({}), AttemptId(1, 1), Always(chosen))

    left_out = leave_out(bayes, {1: chosen, 2: chosen}, this_process({}))

    assert left_out == [2]
    assert isinstance(bayes.claim_attempt(this_process({}), AttemptId(2, 1), Always(chosen)), NothingLeft)
    bayes.finish(claim, ended(1.0))
    view = bayes.replay()
    assert (view.trials[1].state, view.trials[2].cause) == (TrialState.FINISHED, "not_needed")
    assert check(bayes).findings == ()
