"""Proposals: what is promised of them, in spaces of every kind."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bayes_spaces import FORMS, config_of, space_of

from slurmsweep.search import random
from slurmsweep.search.bayes import Observation, Space, propose

CUBE = {"x": {"min": 0.0, "max": 1.0}, "y": {"min": -5.0, "max": 5.0}}


def bowl(point):
    return (point["x"] - 0.7) ** 2 + (point["y"] / 10 - 0.2) ** 2


def drawn(parameters, count, loss, **extensions):
    """Return observations of points that random search draws."""
    config = config_of(parameters, **extensions)
    points = [random.point(config, number, "drawn") for number in range(count)]
    return [Observation(number, point, loss(point)) for number, point in enumerate(points)]


def searched(space, loss, trials, goal="minimize", seed="s"):
    """Return the observations of a search with one trial at a time."""
    known = []
    for number in range(trials):
        point = propose(space, goal, known, number=number, seed=seed).items[0].point
        known.append(Observation(number, point, loss(point)))
    return known


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_a_search_finds_the_optimum_of_either_goal(goal):
    sign = 1 if goal == "minimize" else -1

    known = searched(space_of(CUBE), lambda point: sign * bowl(point), 25, goal)

    assert min(sign * one.value for one in known) < 1e-4


def test_a_search_with_texts_integers_and_log_scales_finds_the_optimum():
    parameters = {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
        "layers": {"min": 1, "max": 8},
        "optimizer": {"values": ["adam", "sgd", "rmsprop"]},
    }

    def loss(point):
        best = {"adam": -3, "sgd": -1, "rmsprop": -4}[point["optimizer"]]
        off = {"adam": 0.1, "sgd": 0.0, "rmsprop": 0.3}[point["optimizer"]]
        return (math.log10(point["lr"]) - best) ** 2 + 0.1 * (point["layers"] - 5) ** 2 + off

    known = searched(space_of(parameters), loss, 45)

    assert min(one.value for one in known) < 0.08


def off(point):
    """Return how far a point of MIXED is from its optimum."""
    return (math.log10(point["lr"]) + 2.2) ** 2 + 0.1 * (point["layers"] - 3) ** 2 + (point["optimizer"] != "sgd")


MIXED = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
    "layers": {"min": 1, "max": 8},
    "optimizer": {"values": ["adam", "sgd", "rmsprop"]},
}
PAIRS = {"a": {"values": [1, 2, 4]}, "b": {"values": [9, 5, 3]}, "x": {"min": 0.0, "max": 1.0}}
RULES = {"linked": [["a", "b"]], "exclude": [{"a": 1}]}

#: What 4 and 14 random trials, of which the last one runs, led to on 2026-11-29, before conditions: two alternatives.
BEFORE = [
    (CUBE, bowl, {}, 4, [{"x": 0.20019530531699914, "y": -3.4954678672351314},
                         {"x": 0.4514136567980138, "y": 1.7367421346788348}]),
    (CUBE, bowl, {}, 14, [{"x": 0.7658608388793944, "y": 1.492452582014499},
                          {"x": 0.8131026155979847, "y": 3.056188466648665}]),
    (MIXED, off, {}, 4, [{"layers": 4, "lr": 0.00597492393110864, "optimizer": "adam"},
                         {"layers": 2, "lr": 0.0006030463608721696, "optimizer": "sgd"}]),
    (MIXED, off, {}, 14, [{"layers": 4, "lr": 0.0042072744772765755, "optimizer": "sgd"},
                          {"layers": 4, "lr": 0.00909339059929251, "optimizer": "sgd"}]),
    (PAIRS, lambda p: (p["x"] - 0.37) ** 2 + abs(p["a"] - 2), RULES, 4,
     [{"a": 2, "b": 5, "x": 0.6736742134678835}, {"a": 4, "b": 3, "x": 0.25819199488323363}]),
    (PAIRS, lambda p: (p["x"] - 0.37) ** 2 + abs(p["a"] - 2), RULES, 14,
     [{"a": 2, "b": 5, "x": 0.39785108241966916}, {"a": 2, "b": 5, "x": 0.4087092658644593}]),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "loss", "extensions", "count", "points"), BEFORE)
def test_a_space_without_conditions_has_the_proposals_that_it_always_had(parameters, loss, extensions, count, points):
    """So a trial of a sweep of today is explained by a later version. The last digits are the linear algebra's."""
    known = drawn(parameters, 14, loss, **extensions)
    known = [*known[:13], known[13]._replace(value=None, running=True)][:count]

    space = space_of(parameters, **extensions)
    items = propose(space, "minimize", known, number=count, seed="s", alternatives=2).items

    for item, point in zip(items, points, strict=True):
        numbers = {name: value for name, value in point.items() if isinstance(value, float)}
        assert {**item.point, **numbers} == point
        assert {name: item.point[name] for name in numbers} == pytest.approx(numbers, rel=1e-6)


def test_the_same_arguments_have_the_same_answer_in_any_order():
    space = space_of(CUBE)
    known = [*drawn(CUBE, 15, bowl), Observation(15, {"x": 0.5, "y": 1.0}, None, running=True)]

    first = propose(space, "minimize", known, number=16, seed="s", alternatives=3)
    again = propose(space_of(CUBE), "minimize", known[::-1], number=16, seed="s", alternatives=3)

    assert first.items == again.items
    assert propose(space, "minimize", known, number=16, seed="t").items[0].point != first.items[0].point


def test_another_process_has_the_same_answer():
    script = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parent.parent)]}\n"
        "from test_bayes_propose import *\n"
        "print(propose(space_of(CUBE), 'minimize', drawn(CUBE, 15, bowl), number=15, seed='s').items)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)

    here = propose(space_of(CUBE), "minimize", drawn(CUBE, 15, bowl), number=15, seed="s").items
    assert done.stdout.strip() == str(here)


def test_agents_that_start_together_do_not_choose_nearly_the_same_point():
    space = space_of(CUBE)

    rows = [space.encode(propose(space, "minimize", [], number=n, seed="s").items[0].point) for n in range(32)]

    assert min(math.dist(a, b) for i, a in enumerate(rows) for b in rows[:i]) > 0.05


def test_a_running_trial_keeps_others_away():
    space = space_of(CUBE)
    known = drawn(CUBE, 20, bowl)
    alone = propose(space, "minimize", known, number=20, seed="s").items[0]

    beside = propose(
        space, "minimize", [*known, Observation(20, alone.point, None, running=True)], number=21, seed="s"
    ).items[0]

    assert math.dist(space.encode(alone.point), space.encode(beside.point)) > 0.003
    assert beside.why.running == 1


def test_a_running_trial_with_a_value_counts_with_it():
    space = space_of(CUBE)
    known = drawn(CUBE, 20, bowl)
    imputed = [one._replace(running=True) for one in known]

    why = propose(space, "minimize", imputed, number=20, seed="s").items[0].why

    assert (why.phase, why.observations, why.running) == ("model", 20, 0)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_proposed_with_the_types_of_random_search(form):
    parameters = {"p": FORMS[form][0], "x": {"min": 0.0, "max": 1.0}}
    space = space_of(parameters)
    known = drawn(parameters, 12, lambda point: point["x"])

    for proposal in propose(space, "minimize", known, number=12, seed="s", alternatives=3).items:
        value = proposal.point["p"]
        assert isinstance(value, FORMS[form][1])
        assert type(value).__module__ == "builtins"
        assert space.encode(proposal.point) is not None
        json.dumps(proposal.why.to_json(), allow_nan=False)


def test_no_point_of_a_finite_space_twice_until_all_are_used_then_again():
    space = space_of({"a": {"values": ["p", "q", "r"]}, "b": {"min": 1, "max": 4}}, exclude=[{"a": "p", "b": [1, 2]}])

    known = searched(space, lambda point: point["b"] + (point["a"] == "q"), 15)

    points = [(one.point["a"], one.point["b"]) for one in known]
    assert len(set(points[:10])) == 10 == space.size()
    assert not {("p", 1), ("p", 2)} & set(points)
    assert propose(space, "minimize", known, number=15, seed="s").items[0].why.phase == "repeat"


def test_running_points_are_not_proposed_again_either():
    space = space_of({"a": {"min": 1, "max": 6}})
    known = []
    for number in range(6):
        point = propose(space, "minimize", known, number=number, seed="s").items[0].point
        known.append(Observation(number, point, None, running=True))

    assert sorted(one.point["a"] for one in known) == [1, 2, 3, 4, 5, 6]


def test_alternatives_of_a_finite_space_differ_while_points_are_free():
    space = space_of({"a": {"min": 1, "max": 6}})
    known = [Observation(n, {"a": a}, float(a)) for n, a in enumerate((1, 2, 3))]

    items = propose(space, "minimize", known, number=3, seed="s", alternatives=5).items

    assert sorted(item.point["a"] for item in items[:3]) == [4, 5, 6]
    assert [item.why.phase for item in items[3:]] == ["repeat", "repeat"]


def test_a_large_discrete_space_has_no_duplicates():
    parameters = {name: {"values": [f"v{i}" for i in range(7)]} for name in "abcdef"}

    known = searched(space_of(parameters), lambda point: sum(value != "v3" for value in point.values()), 30)

    assert len({tuple(one.point.values()) for one in known}) == 30


def test_excluded_points_are_never_proposed():
    parameters = {"o": {"values": ["a", "b", "c"]}, "n": {"min": 1, "max": 5}, "x": {"min": 0.0, "max": 1.0}}
    space = space_of(parameters, exclude=[{"o": ["a", "b"]}, {"o": "c", "n": [1, 2, 3]}])

    known = searched(space, lambda point: point["x"] + point["n"], 14)

    assert {(one.point["o"], one.point["n"]) for one in known} == {("c", 4), ("c", 5)}


def test_trials_without_a_value_count_as_the_worst():
    space = space_of(CUBE)
    known = [one._replace(value=None if one.point["x"] > 0.6 else one.point["x"] - 3) for one in drawn(CUBE, 30, bowl)]

    proposed = propose(space, "maximize", known, number=30, seed="s").items[0]

    assert proposed.point["x"] < 0.75
    assert proposed.why.best == max(one.value for one in known if one.value is not None)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_the_first_points_go_on_while_no_trial_has_a_value(value):
    space = space_of(CUBE)
    known = [one._replace(value=value) for one in drawn(CUBE, 40, bowl)]

    proposals = propose(space, "minimize", known, number=40, seed="s", alternatives=4)

    assert {item.why.phase for item in proposals.items} == {"initial"}
    assert len({str(item.point) for item in proposals.items}) == 4


@pytest.mark.parametrize(
    "values",
    [
        [5.0] * 12,
        [1e300, -1e300] * 6,
        [1e-300 * n for n in range(12)],
        [math.inf, 1.0, -math.inf, None, math.nan, 2.0] * 2,
        [1e10, *[0.1] * 11],
    ],
)
def test_ties_constants_and_huge_ranges_are_no_obstacle(values):
    known = [one._replace(value=value) for one, value in zip(drawn(CUBE, 12, bowl), values, strict=True)]

    item = propose(space_of(CUBE), "minimize", known, number=12, seed="s").items[0]

    assert item.why.phase == "model"
    json.dumps(item.why.to_json(), allow_nan=False)


def test_old_observations_that_do_not_fit_the_space_are_no_obstacle():
    known = drawn(CUBE, 10, bowl)
    old = [
        Observation(0, {"x": 77.0, "y": -50}, 0.1),
        Observation(1, {"x": "text", "y": 0.0}, 0.1),
        Observation(2, {}, 0.1),
        Observation(3, {"x": {"nested": 1}, "y": 0.0}, 0.1),
    ]

    assert propose(space_of(CUBE), "minimize", old + known, number=10, seed="s").items[0].why.observations == 11


@pytest.mark.parametrize(
    "parameters",
    [
        {"a": {"values": ["only"]}, "b": {"value": 3}},
        {"a": {"values": ["only"]}, "x": {"min": 0.0, "max": 1.0}},
        {"x": {"distribution": "normal", "mu": 0, "sigma": 0}, "y": {"min": 1, "max": 2}},
    ],
)
def test_spaces_with_one_point_or_one_dimension(parameters):
    space = space_of(parameters)

    known = searched(space, lambda _: 1.0, 12)

    assert all(one.point.keys() == parameters.keys() for one in known)


def test_a_hundred_dimensions():
    parameters = {f"x{i}": {"min": 0.0, "max": 1.0} for i in range(100)}
    known = drawn(parameters, 60, lambda point: point["x7"])

    item = propose(space_of(parameters), "minimize", known, number=60, seed="s").items[0]

    assert item.why.phase == "model"
    assert len(item.why.lengths) == 100


def test_ten_thousand_observations():
    known = drawn(CUBE, 10_000, bowl)

    item = propose(space_of(CUBE), "minimize", known, number=10_000, seed="s").items[0]

    assert item.why.observations == 10_000
    assert bowl(item.point) < 0.05


def test_first_free_passes_over_points_that_others_claimed_and_what_is_near_them():
    space = space_of(CUBE)
    proposals = propose(space, "minimize", drawn(CUBE, 12, bowl), number=12, seed="s", alternatives=4)
    points = [item.point for item in proposals.items]
    near = {"x": points[0]["x"] * (1 - 1e-6), "y": points[0]["y"] * (1 - 1e-6)}

    assert proposals.first_free([]) == 0
    assert proposals.first_free([{"x": 0.0, "y": -5.0}]) == 0
    assert proposals.first_free([points[0]]) == 1
    assert proposals.first_free([near, points[1]]) == 2
    assert proposals.first_free(points) is None


def test_first_free_in_a_finite_space_compares_values():
    space = space_of({"o": {"values": ["a", "b", "c"]}, "n": {"min": 1, "max": 2}})
    proposals = propose(space, "minimize", [], number=0, seed="s", alternatives=3)

    assert proposals.first_free([{"o": "other", "n": 1}]) == 0
    assert proposals.first_free([proposals.items[0].point]) == 1


def test_alternatives_are_free_although_the_search_has_closed_in_on_a_point():
    space = space_of(CUBE)
    proposals = propose(space, "minimize", searched(space, bowl, 30), number=30, seed="s", alternatives=3)

    assert proposals.first_free([proposals.items[0].point]) == 1


def test_a_reason_is_given_in_units_of_the_metric():
    known = drawn(CUBE, 30, lambda point: 100 - bowl(point))

    why = propose(space_of(CUBE), "maximize", known, number=30, seed="s").items[0].why

    assert why.best == max(one.value for one in known)
    assert why.predicted == pytest.approx(100, abs=0.2)
    assert 0 < why.improvement < 0.2
    assert 0 < why.uncertainty < 0.2
    assert set(why.lengths) == {"x", "y"}
    assert why.to_json()["phase"] == "model"


def test_nothing_of_numpy_is_loaded_by_the_other_searches():
    script = "import sys, slurmsweep.search, slurmsweep.search.random; print('numpy' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_a_space_needs_no_observation_to_explain_itself():
    why = propose(Space.of(config_of(CUBE)), "minimize", [], number=0, seed="s").items[0].why

    assert why.to_json() == {"phase": "initial", "observations": 0, "running": 0, "lengths": {}}


def test_a_small_space_with_a_range_of_very_many_values_is_searched_too():
    from slurmsweep.search.bayes import Observation as Known
    from slurmsweep.search.bayes import Space, propose
    from slurmsweep.sweepfile.config import check

    parameters = {"seed": {"min": 1, "max": 5000}, "net": {"values": ["a", "b"]}}
    config = check({"method": "bayes", "program": "x", "metric": {"name": "l"}, "parameters": parameters}, "t").config
    space = Space.of(config)
    seen = [Known(n, {"seed": 37 * n + 1, "net": "ab"[n % 2]}, float(n)) for n in range(12)]

    point = propose(space, "minimize", seen, number=12, seed="s").items[0].point

    assert 1 <= point["seed"] <= 5000
    assert point["net"] in ("a", "b")
