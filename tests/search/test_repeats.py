"""Runs of points: number to point and back, parameters of each run, what a point is worth, and who is out of the race."""

from __future__ import annotations

import json
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmsweep import search
from slurmsweep.search.race import out_of_race
from slurmsweep.search.repeats import without_run
from slurmsweep.sweepfile.config import check
from slurmsweep.sweepfile.repeats import COMBINATIONS, Numbering, Repeats

ABC = {"a": {"values": [1, 2, 3]}, "z": {"values": ["x", "y"]}, "o": {"parameters": {"c": {"values": [True, False]}}}}


def config_of(repeats, parameters=ABC, method="grid", extensions=None, **more):
    data = {"method": method, "program": "t.py", "parameters": parameters, "metric": {"name": "loss"}, **more}
    return check(data | {"slurmsweep": {"repeats": repeats, **(extensions or {})}}, "test").config


@given(st.integers(2, 50), st.integers(1, 10**9), st.booleans(), st.data())
def test_number_to_point_and_run_and_back_is_the_identity(runs, points, is_broad, data):
    numbers = Numbering(runs, points if is_broad else None)
    number = data.draw(st.integers(0, runs * points - 1))

    point, run = numbers.of(number)

    assert (0 <= point < points, 0 <= run < runs) == (True, True)
    assert numbers.number(point, run) == number
    assert numbers.trials(point)[run] == number
    assert len(numbers.trials(point)) == runs


@settings(deadline=None)
@given(
    st.sampled_from(["seed", "o.seed", "new.deep.seed"]),
    st.booleans(),
    st.sampled_from([{}, {"order": "shuffled"}, {"linked": [["z", "o.c"]]}, {"exclude": [{"a": 2}]}]),
)
def test_each_run_of_each_point_is_one_trial_and_is_found_again(path, race, extensions):
    values = [7, "seven", 7.5, None]
    config = config_of({"parameter": path, "values": values, "race": race}, extensions=extensions)
    total = search.run_count(config)

    every = [search.parameters(config, number, "s") for number in range(total)]

    plain = check(config.document | {"slurmsweep": extensions}, "test").config
    points = [search.parameters(plain, number, "s") for number in range(search.run_count(plain))]
    assert total == 4 * len(points)
    assert [search.number_of(config, params, "s") for params in every] == list(range(total))
    numbers = search.numbering(config)
    for number, params in enumerate(every):
        point, run = numbers.of(number)
        assert without_run(params, config.extensions.repeats) == points[point]
        assert values[run] in params.values() or values[run] in next(iter(_inner(params, path)))


def _inner(params, path):
    for name in path.split(".")[:-1]:
        params = params[name]
    yield list(params.values())


def test_runs_follow_each_other_and_flat_names_stay_sorted():
    config = config_of({"parameter": "seed", "count": 2}, {"z": {"values": [1, 2]}, "a": {"value": 0}})

    assert [search.parameters(config, number, "s") for number in range(4)] == [
        {"a": 0, "seed": 0, "z": 1}, {"a": 0, "seed": 1, "z": 1}, {"a": 0, "seed": 0, "z": 2}, {"a": 0, "seed": 1, "z": 2},
    ]  # fmt: skip
    assert list(search.parameters(config, 0, "s")) == ["a", "seed", "z"]


@pytest.mark.parametrize("path", ["seed", "o.seed", "new.seed"])
def test_the_value_of_a_run_stands_where_that_of_a_parameter_of_the_search_would(path):
    space = {
        "z": {"value": 1},
        "o": {"parameters": {"x": {"value": 1}, "deep": {"parameters": {"y": {"value": 1}}}}},
        "p": {"parameters": {"x": {"value": 1}}},
    }
    form = {"value": 0}
    *groups, name = path.split(".")
    inside = {**space.get("o", {})["parameters"], name: form} if groups == ["o"] else {name: form}
    whole = space | ({groups[0]: {"parameters": inside}} if groups else {name: form})
    config = config_of({"parameter": path, "count": 2}, space)

    params = search.parameters(config, 0, "s")

    plain = check({"method": "grid", "program": "t", "parameters": whole}, "test").config
    assert json.dumps(params) == json.dumps(search.parameters(plain, 0, "s"))


def test_a_random_search_draws_one_point_for_all_of_its_runs_and_run_cap_counts_points():
    space = {"lr": {"min": 0.0, "max": 1.0}}
    config = config_of({"parameter": "seed", "count": 3}, space, "random", run_cap=4)

    drawn = [search.parameters(config, number, "s") for number in range(search.run_count(config))]

    alone = check({"method": "random", "program": "t", "parameters": space}, "test").config
    assert [params["lr"] for params in drawn[::3]] == [search.parameters(alone, n, "s")["lr"] for n in range(4)]
    assert [params["lr"] for params in drawn[::3]] == [params["lr"] for params in drawn[2::3]]


def test_in_a_race_all_points_run_once_before_one_runs_again():
    config = config_of({"parameter": "seed", "count": 3, "race": True}, {"x": {"values": [1, 2, 3, 4]}})

    assert [search.parameters(config, n, "s")["seed"] for n in range(12)] == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize(
    ("combine", "goal", "worth"),
    [("mean", "minimize", 3.0), ("median", "minimize", 2.0), ("min", "minimize", 1.0), ("max", "minimize", 6.0),
     ("worst", "minimize", 6.0), ("worst", "maximize", 1.0)],
)  # fmt: skip
def test_what_a_point_is_worth(combine, goal, worth):
    assert Repeats(("seed",), (0, 1, 2), combine).worth([6.0, 1.0, 2.0], goal) == worth


@given(
    st.sampled_from([one for one in COMBINATIONS if one != "mean"]),
    st.sampled_from(["minimize", "maximize"]),
    st.lists(st.lists(st.integers(-5, 5).map(float), min_size=4, max_size=4), min_size=2, max_size=6),
    st.data(),
)
def test_a_race_by_anything_but_the_mean_never_changes_the_best_value(combine, goal, runs, data):
    repeats = Repeats(("seed",), (0, 1, 2, 3), combine, 0.05)
    seen = {point: one[: data.draw(st.integers(0, 4))] for point, one in enumerate(runs)}

    out = out_of_race(repeats, goal, seen, len(runs))

    better = max if goal == "maximize" else min
    worths = {point: repeats.worth(one, goal) for point, one in enumerate(runs)}
    assert all(len(seen[point]) < 4 for point in out)
    assert better(worth for point, worth in worths.items() if point not in out) == better(worths.values())


def test_a_point_is_out_of_a_race_by_the_worst_run_once_one_run_is_worse():
    repeats = Repeats(("seed",), (0, 1, 2), "worst", 0.05)

    assert out_of_race(repeats, "minimize", {0: [1, 2, 3], 1: [3.5], 2: [2.9, 0.1], 3: []}, 4) == {1}
    assert out_of_race(repeats, "maximize", {0: [1, 2, 3], 1: [0.5, 9], 2: [1.1]}, 4) == {1}


def test_a_race_by_the_mean_needs_to_know_how_far_runs_spread():
    repeats = Repeats(("seed",), (0, 1, 2, 3, 4), "mean", 0.05)

    assert out_of_race(repeats, "minimize", {0: [0.0], 1: [100.0]}, 2) == set()
    seen = {0: [0.0, 0.1], 1: [100.0, 100.1], 2: [0.05, 0.2], 3: [0.0, 0.15]}
    assert out_of_race(repeats, "minimize", seen, 4) == {1}
    assert out_of_race(repeats, "maximize", seen, 4) == {0, 2, 3}


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_a_race_by_the_mean_loses_the_best_point_less_often_than_it_says(spread):
    dice, repeats, lost, left_out = random.Random(4), Repeats(("seed",), tuple(range(5)), "mean", 0.05), 0, 0
    for _ in range(60):
        runs = [[dice.gauss(mean, 1) for _ in range(5)] for mean in (dice.gauss(0, spread) for _ in range(8))]
        seen: dict[int, list[float]] = {point: [] for point in range(8)}
        out: set[int] = set()
        for turn in range(5):
            for point in range(8):
                out |= out_of_race(repeats, "minimize", seen, 8)
                if point not in out:
                    seen[point].append(runs[point][turn])
        best = min(range(8), key=lambda point: statistics.fmean(runs[point]))
        lost += best in out
        left_out += len(out)
    assert lost <= 60 * 0.05
    assert left_out > 0
