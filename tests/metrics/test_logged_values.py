"""What bands count: the values of the metric in the order in which a trial logged them, over its attempts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from slurmsweep.metrics.logged_values import LoggedValues
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.sections import Metric

LOSS = Metric("loss")


@pytest.fixture
def store(make_store):
    return make_store(3)


@pytest.fixture
def native(store):
    """Add rows to the history of an attempt, numbered on from ``first``."""

    def native(rows, attempt=1, first=0) -> None:
        path = Path(store.layout.history(AttemptId(0, attempt)))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.writelines(json.dumps({**row, "_step": step}) + "\n" for step, row in enumerate(rows, first))

    return native


def values(store, metric=LOSS, attempt=1, first=1) -> list[float]:
    return list(LoggedValues(metric, store.layout, AttemptId(0, attempt), first).read())


def losses(*numbers) -> list[dict]:
    return [{"loss": number} for number in numbers]


def test_nothing_logged_is_no_value(store):
    assert values(store) == []


def test_a_trial_whose_attempts_were_all_deleted_has_no_value(store, native):
    native(losses(3, 2))

    assert values(store, attempt=1, first=2) == []


def test_rows_without_a_finite_number_do_not_count(store, native):
    native([{"loss": 3}, {"acc": 1}, {"loss": None}, {"loss": math.nan}, {"loss": True}, {"loss": "1"}, {"loss": 2}])

    assert values(store) == [3, 2]


def test_what_is_added_is_read_on(store, native):
    native(losses(3, 2))
    follower = LoggedValues(LOSS, store.layout, AttemptId(0, 1))
    assert list(follower.read()) == [3, 2]

    native(losses(1), first=2)

    assert list(follower.read()) == [3, 2, 1]


def test_a_nested_name_is_reached(store, native):
    native([{"val": {"loss": 3}}, {"val.loss": 2}])

    assert values(store, Metric("val.loss")) == [3, 2]


def test_an_attempt_that_names_the_steps_that_follow_goes_on(store, native):
    native(losses(5, 4, 3))
    native(losses(2, 1), attempt=2, first=3)

    assert values(store, attempt=2) == [5, 4, 3, 2, 1]


def test_an_attempt_that_goes_back_some_steps_replaces_them(store, native):
    native(losses(5, 4, 3))
    native(losses(3.5, 2), attempt=2, first=2)

    assert values(store, attempt=2) == [5, 4, 3.5, 2]


def test_an_attempt_that_starts_over_begins_anew(store, native):
    native(losses(5, 4, 3))
    native(losses(7), attempt=2)

    assert values(store, attempt=2) == [7]


def test_attempts_before_the_first_that_counts_are_left_out(store, native):
    native(losses(5, 4, 3))
    native(losses(2), attempt=2, first=3)

    assert values(store, attempt=2, first=2) == [2]


def test_a_computed_metric_has_a_value_each_time_all_of_its_parts_were_logged(store, native):
    native([{"a": 1}, {"a": 2}, {"b": 10}, {"a": 3, "b": 20}, {"b": 30}, {"a": math.inf}, {"a": 5}])

    assert values(store, Metric("total", expression="a + b")) == [12, 23, 35]


def test_a_computed_metric_without_a_value_does_not_count(store, native):
    native([{"a": 1, "b": 0}, {"a": 1, "b": 2}])

    assert values(store, Metric("ratio", expression="a / b")) == [0.5]


RUNS = sorted((Path(__file__).parent.parent / "data" / "wandb_runs").glob("*.wandb"))


@pytest.mark.parametrize("file", RUNS, ids=lambda file: file.stem)
def test_a_run_file_of_any_wandb_that_is_cut_anywhere_gives_what_had_been_written(store, file):
    folder = Path(store.layout.runs(0)) / "offline-run-20260101_000000-x"
    folder.mkdir(parents=True)
    data, logged = file.read_bytes(), [1 / (step + 1) for step in range(8)]
    follower = LoggedValues(LOSS, store.layout, AttemptId(0, 1))
    lengths = set()
    for end in range(0, len(data) + 1, 97):
        (folder / "run-x.wandb").write_bytes(data[:end])
        seen = list(follower.read())
        assert seen == pytest.approx(logged[: len(seen)])
        lengths.add(len(seen))
    (folder / "run-x.wandb").write_bytes(data)

    assert list(follower.read()) == pytest.approx(logged)
    assert len(lengths) > 4
    assert values(store, Metric("val.deep.er")) == list(range(8))
    assert values(store, Metric("ends_nan")) == list(range(7))


def test_the_native_clients_values_come_before_those_of_wandb(store, native):
    folder = Path(store.layout.runs(0)) / "offline-run-20260101_000000-x"
    folder.mkdir(parents=True)
    (folder / "run-x.wandb").write_bytes(RUNS[0].read_bytes())
    native(losses(7))

    assert values(store) == [7]


def test_a_run_that_starts_over_replaces_the_one_before(store):
    for second, file in enumerate(RUNS[:2]):
        folder = Path(store.layout.runs(0)) / f"offline-run-20260101_00000{second}-x"
        folder.mkdir(parents=True)
        (folder / "run-x.wandb").write_bytes(file.read_bytes())

    assert len(values(store)) == 8
