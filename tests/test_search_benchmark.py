"""benchmarks/search.py: its simulation and its counting are right, and each command of the pages on it prints its table.

How well engines search is not tested here.
"""

import importlib
import math
import re
import shlex
import subprocess
import sys
from types import MappingProxyType

import numpy as np
import pytest
from documented import ROOT, commands

from slurmsweep.search import parameters
from slurmsweep.sweepfile.config import check

FOLDER = ROOT / "benchmarks"


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


PAGES = (ROOT / "benchmarks" / "README.md", ROOT / "docs" / "search.md")

#: A file for `--problems`, as the docstring of `search_problems.py` describes it.
MINE = """
class Bowl:
    space = {"x": {"min": -1.0, "max": 1.0}}

    def evaluate(self, parameters, rng):
        return parameters["x"] ** 2 + 0.01 * float(rng.standard_normal())

PROBLEMS = {"bowl": Bowl}
"""

#: What makes a search small. Peers that would be installed are left out: a random search is in their place.
SMALL = "--seeds 1 --trials 3 --jobs 1"
WITHOUT_PEERS = "--peers random"
POOLED = r"\| in flight \| peer \| pairs \| @1 \| @2 \| @3 \| CPU ms ours / peer \|"
ROW = r"\d/\d/\d p=[\d.]+ \| \d/\d/\d p=[\d.]+ \| \d/\d/\d p=[\d.]+ \| [\d.]+ / [\d.]+ \|"

#: By the end of a page's command: the words of its smallest form, and patterns of the lines that it prints.
SMALLEST = {
    "search.py": (
        f"{SMALL} {WITHOUT_PEERS} --only branin",
        [
            "1 problems, seeds 0 to 0, 3 trials",
            POOLED,
            *(rf"\| {width} \| random \| 1 \| {ROW}" for width in (1, 8, 32)),
            r"\| in flight \| engine \| problems \| @1 \| @2 \| @3 \|",
            *(f"#### branin, {width} in flight" for width in (1, 8, 32)),
        ],
    ),
    "--peers wandb optuna-tpe random": (
        f"{SMALL} {WITHOUT_PEERS} --only levy5 --in-flight 2",
        [POOLED, rf"\| 2 \| random \| 1 \| {ROW}", "#### levy5, 2 in flight"],
    ),
    "--seeds-of optuna-gp=10 hebo=3": (
        f"{SMALL} {WITHOUT_PEERS} --only branin",
        [POOLED, rf"\| 8 \| random \| 1 \| {ROW}", "#### branin, 8 in flight"],
    ),
    "--problems mine.py --first-seed 100": (
        f"{SMALL} {WITHOUT_PEERS}",
        ["1 problems, seeds 100 to 100, 3 trials", POOLED, rf"\| 8 \| random \| 1 \| {ROW}", "#### bowl, 8 in flight"],
    ),
    "--beside ../other-checkout --in-flight 8": (
        f"{SMALL} --only branin",
        [POOLED, r"\| 8 \| ours at \.\./other-checkout \| 1 \| 0/1/0 p=1 \| 0/1/0 p=1 \| 0/1/0 p=1 \|"],
    ),
    "--latency": (
        f"{WITHOUT_PEERS} --sizes 4 12",
        [
            r"\| engine \| 4 \| 12 \|",
            r"\| ours \| [\d.e-]+ s, \d+ MB \| [\d.e-]+ s, \d+ MB \|",
            r"\| random \| [\d.e-]+ s, \d+ MB \|",
        ],
    ),
    "--width-curve": (
        f"{SMALL} --only branin",
        [
            r"\| in flight \| rank: .* \| worth so many one by one \(median\) \| time of the sweep in mean trials \|",
            *(rf"\| {width} \| .* \| \d+ \| [\d.]+ \|" for width in (1, 2, 4, 8, 16, 32, 64)),
            r"\| any, random search \|",
        ],
    ),
    "--only training-conditional branches-conditional depth-conditional": (
        SMALL,
        [
            "3 problems, seeds 100 to 100, 3 trials",
            POOLED,
            rf"\| 8 \| always-present \| 3 \| {ROW}",
            *(f"#### {kind}-conditional, 8 in flight" for kind in ("training", "branches", "depth")),
        ],
    ),
}


def shown() -> list[str]:
    """Return the commands of the pages on this benchmark."""
    return [command.text for page in PAGES for command in commands(page)]


def test_every_command_of_the_pages_has_its_smallest_form():
    assert [next(end for end in SMALLEST if text.endswith(end)) for text in shown()] == list(SMALLEST)


@pytest.mark.parametrize("end", SMALLEST)
def test_a_command_of_the_pages_prints_what_they_show(end, tmp_path):
    [command] = [text for text in shown() if text.endswith(end)]
    smallest, patterns = SMALLEST[end]
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.py").write_text(MINE)
    (tmp_path / "other-checkout").symlink_to(ROOT)
    _, script, *words = shlex.split(command)

    done = subprocess.run(
        [sys.executable, ROOT / script, *words, *smallest.split(), "--peers-dir", tmp_path / "peers"],
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "LEFT OUT" not in done.stdout
    rest = iter(done.stdout.splitlines())
    for pattern in patterns:
        assert any(re.match(pattern, line) for line in rest), f"no line like {pattern}\n{done.stdout}"
    assert not (tmp_path / "peers" / "wandb").exists()


def test_without_options_the_benchmark_is_what_the_pages_say(benchmark):
    said, problems = benchmark("search").options([]), benchmark("search_problems").PROBLEMS

    assert (said.seeds, said.trials, list(said.in_flight)) == (10, 60, [1, 8, 32])
    assert list(said.sizes) == [10, 100, 1000, 10_000]
    assert len([name for name in problems if not name.endswith("-conditional")]) == 20


def test_commands_within_sentences_name_problems_and_options_that_there_are(benchmark):
    texts = {page: page.read_text() for page in [*PAGES, *sorted((ROOT / "docs" / "decisions").glob("*.md"))]}
    found = [words for text in texts.values() for words in re.findall(r"`python benchmarks/search\.py( [^`]+)`", text)]

    assert found
    for words in found:
        benchmark("search").options(shlex.split(words))
