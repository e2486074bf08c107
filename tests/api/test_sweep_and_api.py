"""``slurmsweep.sweep(config)`` makes a sweep as ``create`` does; ``slurmsweep.Api().sweep(path)`` looks at it."""

from __future__ import annotations

import pytest

import slurmsweep
from slurmsweep.api.failures import Failures
from slurmsweep.errors import NotFoundError, SweepFileError, UsageError
from slurmsweep.state.store import SweepStore


def train():
    run = slurmsweep.init()
    slurmsweep.log({"loss": 10 - run.config.x, "acc": {"top1": run.config.x}})


def test_a_sweep_is_made_from_a_dictionary_or_from_what_a_function_returns(tmp_path, capsys):
    config = {"method": "grid", "name": "mine", "parameters": {"lr": {"values": [1e-5, 1e22]}, "n": {"value": None}}}

    first = slurmsweep.sweep(config, entity="e", project="p")
    second = slurmsweep.sweep(lambda: config)

    manifest = SweepStore.open(first).manifest
    assert capsys.readouterr().out == f"Create sweep with ID: {first}\nCreate sweep with ID: {second}\n"
    assert (manifest.config.project, manifest.config.entity, manifest.config.name) == ("p", "e", "mine")
    assert manifest.config.document["parameters"] == config["parameters"]
    assert manifest.workdir == str(tmp_path)
    assert "project" not in config


def test_every_violation_is_raised_at_once_with_its_key_path_and_nothing_is_made(tmp_path):
    with pytest.raises(SweepFileError) as caught:
        slurmsweep.sweep({"method": "gird", "parameters": {"lr": {"min": 2, "max": 1}}})

    assert {violation.path for violation in caught.value.violations} == {"method", "parameters.lr"}
    assert "did you mean 'grid'" in str(caught.value)
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize("config", [["grid"], None, "sweep.yaml", lambda: None])
def test_what_is_no_mapping_is_refused(config, tmp_path):
    with pytest.raises(SweepFileError, match="a sweep file is a mapping"):
        slurmsweep.sweep(config)

    assert not (tmp_path / "wandb").exists()


def test_a_program_that_is_named_has_to_be_there(make_sweep):
    with pytest.raises(SweepFileError, match=r"there is no file 'nowhere\.py'"):
        make_sweep(program="nowhere.py")


@pytest.mark.parametrize(
    "command",
    [("agent",), ("run", "--backend", "local"), ("resubmit", "--backend", "local"), ("agent", "--count", "2")],
)
def test_the_command_line_says_that_a_sweep_of_a_function_has_no_program(make_sweep, outcomes, slurmsweep, command):
    sweep = make_sweep()

    done = slurmsweep(command[0], sweep, *command[1:])

    assert done.returncode == 2
    assert f"sweep {sweep} has no program" in done.stderr
    assert "--function" in done.stderr
    assert "Traceback" not in done.stderr
    assert outcomes(sweep) == {}


def test_prior_runs_are_not_run_again(make_sweep, outcomes):
    first = make_sweep((1, 2, 3))
    slurmsweep.agent(first, train)

    second = make_sweep((1, 2, 3, 4), prior_runs=[f"{first}-0", f"{first}-2"])
    slurmsweep.agent(second, train)

    runs = slurmsweep.Api().sweep(second).runs
    assert [run.trial.origin for run in runs] == [f"{first}/0", None, f"{first}/2", None]
    assert [run.metric for run in runs] == [9, 8, 7, 6]


@pytest.mark.parametrize(
    ("runs", "error"),
    [
        (["abcd1234-0"], NotFoundError),
        ("abcd1234-0", UsageError),
        (["x"], UsageError),
        (["abcd1234-0", "abcd1235-0"], UsageError),
    ],
)
def test_wrong_prior_runs_are_refused_before_a_sweep_is_made(make_sweep, runs, error, tmp_path):
    with pytest.raises(error):
        make_sweep(prior_runs=runs)

    assert not (tmp_path / "wandb").exists()


def test_prior_runs_of_a_random_search_are_its_first_trials(make_sweep, outcomes):
    first = make_sweep((1, 2))
    slurmsweep.agent(first, train)

    second = make_sweep((1, 2, 3), prior_runs=[f"{first}-1"], method="random", run_cap=1)

    [run] = slurmsweep.Api().sweep(second).runs
    assert (run.trial.origin, run.config) == (f"{first}/1", {"x": 2})


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, 3),
        ({"run_cap": 2}, 2),
        ({"run_cap": 9}, 3),
        ({"method": "random"}, None),
        ({"method": "random", "run_cap": 7}, 7),
    ],
)
def test_the_expected_run_count_is_the_grids_points_or_the_run_cap_or_none(make_sweep, more, expected):
    assert slurmsweep.Api().sweep(make_sweep(**more)).expected_run_count == expected


def test_a_sweep_shows_its_name_state_config_and_runs(make_sweep):
    sweep_id = make_sweep(name="mine", project="p")
    sweep = slurmsweep.Api(overrides={"entity": "e"}).sweep(f"e/p/{sweep_id}")
    before = (sweep.state, sweep.runs, sweep.best_run())

    slurmsweep.agent(sweep_id, train, count=2)
    sweep.load(force=True)

    assert before == ("PENDING", [], None)
    assert (sweep.id, sweep.name, sweep.state, sweep.project) == (sweep_id, "mine", "RUNNING", "p")
    assert sweep.config["parameters"] == {"x": {"values": [1, 2, 3]}}
    assert [(run.id, run.state, run.config) for run in sweep.runs] == [
        (f"{sweep_id}-0", "finished", {"x": 1}),
        (f"{sweep_id}-1", "finished", {"x": 2}),
    ]
    assert sweep.runs[1].summary == {"loss": 8, "acc": {"top1": 2}}


def test_a_sweep_without_a_name_goes_by_its_id_and_ends_finished(make_sweep):
    sweep_id = make_sweep((1,))
    slurmsweep.agent(sweep_id, train)

    assert (slurmsweep.Api().sweep(sweep_id).name, slurmsweep.Api().sweep(sweep_id).state) == (sweep_id, "FINISHED")


def test_the_best_run_follows_the_goal_or_the_order_that_is_asked_for(make_sweep):
    sweep_id = make_sweep((2, 3, 1))
    slurmsweep.agent(sweep_id, train)
    sweep = slurmsweep.Api().sweep(sweep_id)

    best = {
        order: sweep.best_run(order).config["x"]
        for order in (None, "+summary_metrics.loss", "-summary_metrics.loss", "+acc.top1", "config.x", "-created_at")
    }
    assert sweep.order == "+summary_metrics.loss"
    assert best == {
        None: 3,
        "+summary_metrics.loss": 3,
        "-summary_metrics.loss": 1,
        "+acc.top1": 1,
        "config.x": 3,
        "-created_at": 1,
    }
    assert sweep.best_run("+nothing") is None


def test_without_a_metric_the_best_run_is_the_last_as_in_wandb(capsys):
    sweep_id = slurmsweep.sweep({"method": "grid", "parameters": {"x": {"values": [1, 2]}}})
    slurmsweep.agent(sweep_id, train)

    assert slurmsweep.Api().sweep(sweep_id).best_run().config == {"x": 2}
    assert "no order and no metric" in capsys.readouterr().err


def test_of_runs_that_began_in_the_same_millisecond_the_later_one_is_the_last(make_sweep, monkeypatch):
    sweep_id = make_sweep()
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: 1_750_000_000.0)
        slurmsweep.agent(sweep_id, train)
    sweep = slurmsweep.Api().sweep(sweep_id)

    assert [sweep.best_run(order).config["x"] for order in ("-created_at", "+created_at")] == [3, 1]


def test_a_run_is_found_by_its_id(make_sweep):
    sweep_id = make_sweep()
    slurmsweep.agent(sweep_id, train, count=1)

    assert slurmsweep.Api().run(f"e/p/{sweep_id}-0").config == {"x": 1}
    for path in (f"{sweep_id}-1", "abcd1234-0", "nonsense"):
        with pytest.raises(NotFoundError):
            slurmsweep.Api().run(path)


class TestFailures:
    def make(self, most_in_a_row=None, **environ):
        self.now = 0.0
        return Failures(environ, most_in_a_row, clock=lambda: self.now)

    def test_three_failures_within_a_minute_are_too_many_also_after_successes(self):
        failures = self.make()
        told = [failures.count(failed=failed) for failed in (False, True, True, False, True)]

        assert told[:4] == [None] * 4
        assert told[4].startswith("3 trials failed in the first 60 seconds")

    def test_after_a_minute_failures_count_only_where_nothing_else_happened(self):
        failures = self.make()
        self.now = 61

        told = [failures.count(failed=True) for _ in range(6)]

        assert told[:5] == [None] * 5
        assert told[5].startswith("the first 6 trials all failed")

    def test_a_success_in_between_lets_the_agent_go_on(self):
        failures = self.make()
        self.now = 61

        assert [failures.count(failed=number != 2) for number in range(20)] == [None] * 20

    def test_the_number_that_may_fail_at_first_can_be_set(self):
        failures = self.make(WANDB_AGENT_MAX_INITIAL_FAILURES="1")
        self.now = 61

        assert [bool(failures.count(failed=True)) for _ in range(2)] == [False, True]

    def test_so_many_failures_in_a_row_as_the_caller_says(self):
        failures = self.make(2)
        self.now = 61

        assert [bool(failures.count(failed=failed)) for failed in (True, False, True, True)] == [False] * 3 + [True]
