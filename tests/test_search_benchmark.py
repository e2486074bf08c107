"""benchmarks/search.py: its simulation and its counting are right. How well engines search is not tested here."""

import importlib
import math
import re
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from slurmsweep.search import parameters
from slurmsweep.sweepfile.config import check

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    """Yield a function that imports a module of the benchmark by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module


class Given:
    """A searcher whose points are a given list; it writes down what it is asked and told."""

    def __init__(self, xs):
        self.xs, self.said = xs, []

    def start(self, _parameters, _extensions, goal, _seed):
        self.goal = goal

    def ask(self, number):
        self.said.append(("ask", number))
        return {"x": self.xs[number]}, 0.5

    def tell(self, number, value):
        self.said.append(("tell", number, value))


class Noisy:
    """A problem whose noise makes every odd trial look better by 100."""

    space = MappingProxyType({"x": {"min": 0.0, "max": 1.0}})

    def evaluate(self, parameters, _rng):
        return parameters["x"] - 100 * (parameters["x"] % 2)

    def true(self, parameters):
        return parameters["x"]


class Maximised:
    space = MappingProxyType({"x": {"min": 0.0, "max": 1.0}})
    goal = "maximize"

    def evaluate(self, parameters, _rng):
        if parameters["x"] < 0:
            raise ValueError("diverged")
        return parameters["x"] or math.nan


def test_as_many_trials_run_as_there_are_workers_and_each_end_is_followed_by_an_ask(benchmark):
    searcher = Given(range(10))
    curve = benchmark("search_simulation").simulate(searcher, Noisy(), "noisy", 0, in_flight=3, trials=10)

    running, most = set(), 0
    for what, number, *_ in searcher.said:
        running.symmetric_difference_update([number])
        most = max(most, len(running))
        assert (number in running) == (what == "ask")
    kinds = [what for what, *_ in searcher.said]
    assert most == 3
    assert kinds == ["ask"] * 3 + ["tell", "ask"] * 7 + ["tell"] * 3
    assert len(curve.best) == len(curve.cpu) == 10
    ends = [number for what, number, *_ in searcher.said if what == "tell"]
    assert ends != sorted(ends), "trials take random times, so some overtake others"


def test_one_worker_runs_trials_one_after_the_other(benchmark):
    searcher = Given(range(4))
    benchmark("search_simulation").simulate(searcher, Noisy(), "noisy", 0, in_flight=1, trials=4)

    assert [number for _, number, *_ in searcher.said] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_more_workers_than_trials_start_all_at_once(benchmark):
    searcher = Given(range(4))
    curve = benchmark("search_simulation").simulate(searcher, Noisy(), "noisy", 0, in_flight=9, trials=4)

    assert [what for what, *_ in searcher.said] == ["ask"] * 4 + ["tell"] * 4
    assert len(curve.best) == 4


def test_durations_are_the_same_for_every_engine_and_differ_between_seeds(benchmark):
    simulate = benchmark("search_simulation").simulate
    orders = []
    for seed, xs in ((0, range(20)), (0, range(100, 120)), (1, range(20))):
        searcher = Given(xs)
        simulate(searcher, Noisy(), "noisy", seed, in_flight=8, trials=20)
        orders.append([said[1] for said in searcher.said])

    assert orders[0] == orders[1] != orders[2]


def test_the_curve_is_the_true_value_of_the_trial_that_was_observed_as_the_best(benchmark):
    curve = benchmark("search_simulation").simulate(Given([8, 4, 7, 5, 2, 9]), Noisy(), "noisy", 0, 1, 6)

    # observed 8, 4, -93, -95, 2, -91: five has the best observation from the fourth trial on
    assert curve.best == [8, 4, 7, 5, 5, 5]


def test_a_maximised_metric_changes_its_sign_and_failed_trials_count_as_trials(benchmark):
    searcher = Given([0, -1, 3, 2, 7])
    curve = benchmark("search_simulation").simulate(searcher, Maximised(), "maximised", 0, 1, 5)

    assert searcher.goal == "maximize"
    assert curve.best == [math.inf, math.inf, -3, -3, -7]
    assert curve.failed == 2
    assert [said[2] for said in searcher.said if said[0] == "tell"] == [None, None, 3, 2, 7]


def test_pairs_are_counted_for_the_smaller_value(benchmark):
    pairs = benchmark("search_simulation").compare([(1, 2), (2, 1), (0.1 + 0.2, 0.3), (1, math.inf), (math.inf,) * 2])

    assert pairs == (2, 2, 1)


@pytest.mark.parametrize(
    ("wins", "losses", "p"), [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (0, 5, 2 / 32), (8, 1, 20 / 512), (1, 8, 20 / 512)]
)
def test_the_sign_test_is_the_binomial_test_of_a_fair_coin(benchmark, wins, losses, p):
    assert benchmark("search_simulation").sign_test(wins, losses) == pytest.approx(p)


def test_ranks_share_their_mean_where_values_are_equal(benchmark):
    assert benchmark("search_simulation").ranks([5, 1, 5, 0]) == [3.5, 2, 3.5, 1]


def test_quartiles_are_those_of_numpy_and_bear_infinite_values(benchmark):
    quartiles = benchmark("search_simulation").quartiles
    values = np.random.default_rng(0).normal(size=10)

    assert quartiles(values) == pytest.approx(np.quantile(values, [0.25, 0.5, 0.75]))
    assert quartiles([1, 2, math.inf, math.inf, math.inf]) == (2, math.inf, math.inf)


def test_known_optima_are_what_the_functions_reach(benchmark):
    problems = benchmark("search_problems")
    best = {
        problems.Branin: {"x0": math.pi, "x1": 2.275},
        problems.Hartmann6: dict(
            zip(problems.Hartmann6.space, [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573], strict=True)
        ),
        problems.Styblinski4: dict.fromkeys(problems.Styblinski4.space, -2.903534027771177),
        problems.Levy5: dict.fromkeys(problems.Levy5.space, 1.0),
        problems.Rosenbrock4: dict.fromkeys(problems.Rosenbrock4.space, 1.0),
    }
    for problem, point in best.items():
        assert problem().true(point) == pytest.approx(problem.optimum, abs=1e-4)


def test_every_problem_can_be_searched_by_the_process_of_an_engine(benchmark):
    peers, simulation = benchmark("search_peers"), benchmark("search_simulation")
    process = peers.Process(peers.Peer("random", "random", sys.executable))
    made = benchmark("search_problems").PROBLEMS
    try:
        curves = [simulation.simulate(process, made[name](), name, 0, 4, 8) for name in made]
    finally:
        process.end()

    assert len(made) >= 12
    for curve in curves:
        assert len(curve.best) == 8
        assert math.isfinite(curve.best[-1])


def test_a_problem_with_conditions_has_the_same_value_with_every_parameter_present(benchmark):
    """So the two searches that the benchmark compares are of one function."""
    made = benchmark("search_problems").PROBLEMS
    conditional = {name: one() for name, one in made.items() if getattr(one, "extensions", {}).get("conditions")}

    assert len(conditional) >= 3
    for name, problem in conditional.items():
        document = {"method": "random", "program": "x.py", "run_cap": 9, "parameters": problem.space}
        every, some = (
            [parameters(check(document | more, name).config, number, "s") for number in range(9)]
            for more in ({}, {"slurmsweep": problem.extensions})
        )
        both = [(full, part) for full, part in zip(every, some, strict=True) if full != part]
        assert both
        full, part = both[0]
        assert problem.evaluate(part, np.random.default_rng(1)) == problem.evaluate(full, np.random.default_rng(1)), (
            name
        )


def test_only_our_engine_is_told_of_conditions_and_one_of_ours_leaves_them_out(benchmark):
    engines = benchmark("search_engines")
    problem = benchmark("search_problems").ConditionalTraining
    said = {"seed": 0, "parameters": problem.space, "extensions": problem.extensions, "goal": "minimize", "axes": []}
    points = {}
    for title in ("ours", "always-present"):
        engine = engines.ENGINES[title]()
        engine.start(said)
        points[title] = [engine.ask(number) for number in range(6)]

    assert {one["optimizer"] for one in points["ours"]} > {"sgd"}
    assert all(("momentum" in one) == (one["optimizer"] == "sgd") for one in points["ours"])
    assert all("momentum" in one for one in points["always-present"])


def test_an_axis_gives_each_value_back_from_its_place(benchmark):
    peers, engines = benchmark("search_peers"), benchmark("search_engines")
    parameters = {
        "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
        "layers": {"min": 1, "max": 8},
        "width": {"distribution": "q_log_uniform_values", "min": 16, "max": 1024, "q": 16},
        "dropout": {"distribution": "q_uniform", "min": 0.0, "max": 0.6, "q": 0.05},
        "batch": {"values": [64, 16, 32]},
        "kind": {"values": ["a", "b"]},
        "n": {"distribution": "normal", "mu": 2.0, "sigma": 1.5},
        "inner": {"parameters": {"one": {"min": 0.0, "max": 2.0}}},
        "always": {"value": 3},
    }
    values = {
        "lr": 0.01,
        "layers": 3,
        "width": 160,
        "dropout": 0.25,
        "batch": 32,
        "kind": "b",
        "n": 1.2,
        "inner.one": 0.5,
    }
    axes = {axis.name: axis for axis in map(engines.Axis, peers.axes(parameters))}

    assert axes.keys() == {*values, "always"}
    for name, value in values.items():
        back = axes[name].value(axes[name].place(value))
        assert (back, type(back)) == (pytest.approx(value), type(value))
    assert [axes["batch"].value(x) for x in range(3)] == [16, 32, 64], "numbers among values are in their order"
    assert engines.nested([(["inner", "one"], 1), (["b"], 2)]) == {"inner": {"one": 1}, "b": 2}


EVALUATES = "    def evaluate(self, p, rng): ...\nPROBLEMS = {'a': A}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def (", "cannot be loaded: SyntaxError"),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError"),
        ("PROBLEMS = {}", "has no PROBLEMS"),
        ("PROBLEMS = {'a': object}", "problem a has no evaluate(parameters, rng)"),
        ("class A:\n    def __init__(self, n): ...\nPROBLEMS = {'a': A}", "problem a cannot be made: TypeError"),
        (
            f"class A:\n    space = {{'x': {{'min': 1.0, 'max': 0.0}}}}\n{EVALUATES}",
            "problem a has a space that is wrong",
        ),
    ],
)
def test_a_wrong_file_of_problems_is_said_in_one_line(benchmark, tmp_path, text, said):
    file = tmp_path / "mine.py"
    file.write_text(text)

    with pytest.raises(SystemExit, match=f"mine.py: {re.escape(said)}"):
        benchmark("search").problems(str(file))
