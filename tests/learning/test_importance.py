"""Importance against functions whose Sobol indices are known, and failures against failures that were made."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from itertools import combinations

import pytest

from slurmsweep import search
from slurmsweep.api.sweep import Sweep
from slurmsweep.errors import UsageError
from slurmsweep.learning.failures import fisher, rank_sum
from slurmsweep.learning.importance import ONE_AT_A_TIME, SOBOL, importance, ranks
from slurmsweep.learning.results import Among, TrialResult, factors_of, results_of
from slurmsweep.report.importance import importance_text
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import STOPPED_EARLY, Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile.config import check

pytest.importorskip("numpy")

SPACE = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
    "layers": {"min": 1, "max": 8},
    "dropout": {"min": 0.0, "max": 0.6},
    "optimizer": {"values": ["adam", "sgd", "rmsprop"]},
    "idle": {"values": [f"v{i}" for i in range(16)]},
    "flag": {"values": [True, False]},
    "epochs": {"value": 3},
}

NAN = Outcome(TrialState.FINISHED, no_metric="the last value of loss is nan")


def position(params) -> tuple[float, float, float]:
    return (math.log10(params["lr"]) + 5) / 5, (params["layers"] - 1) / 7, params["dropout"] / 0.6


def additive(params, noise) -> float:
    lr, layers, dropout = position(params)
    return 3 * (lr - 0.4) ** 2 + 0.5 * layers + 0.3 * dropout + {"adam": 0, "sgd": 0.3, "rmsprop": 0.2}[
        params["optimizer"]
    ] + noise  # fmt: skip


def together(params, noise) -> float:
    lr, _, _ = position(params)
    return abs(lr - {"adam": 0.3, "sgd": 0.8, "rmsprop": 0.5}[params["optimizer"]]) + noise


def cliff(params, noise) -> float:
    lr, layers, _ = position(params)
    if lr > 0.75:
        return math.nan
    if layers > 0.8 and lr > 0.5:
        return 30 + 40 * lr
    return (lr - 0.5) ** 2 + 0.2 * layers + noise


#: Total Sobol indices on the ranks of the metric without noise, NaN as the worst rank: 40,000 draws, by Jansen's
#: estimator, independent of the code here.
TRUTH = {
    additive: {"lr": 0.60, "layers": 0.26, "dropout": 0.07, "optimizer": 0.15},
    together: {"lr": 0.96, "optimizer": 0.77},
    cliff: {"lr": 0.80, "layers": 0.30},
}


@pytest.fixture
def sweep(tmp_path):
    """Make a sweep whose trials ended as a function of their points says."""

    def make(outcome, trials=60, goal="minimize", method="random", parameters=SPACE, **keys):
        document = {"method": method, "program": "t.py", "parameters": parameters, "metric": {"name": "loss"}}
        document["metric"]["goal"] = goal
        config = check(document | ({} if method == "grid" else {"run_cap": trials}) | keys, "x").config
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        manifest = Manifest("abcd1234", config, trials, str(folder), "x", 0.0, "0")
        store = SweepStore.create(str(folder), manifest)
        rng = random.Random(5)
        for number in range(trials):
            claim = store.claim(Owner("h", 1, 1, "b"))
            said = outcome(search.parameters(config, number, "abcd1234", None), 0.05 * rng.gauss(0, 1))
            if not isinstance(said, Outcome):
                said = NAN if math.isnan(said) else Outcome(TrialState.FINISHED, metric=said)
            store.finish(claim, said._replace(ended=1.0))
        return store

    return make


def importance_of(store, **keys):
    return importance(store.manifest, store.replay(), **keys)


def shares(found) -> dict[str, float]:
    return {one.parameter: one.importance for one in found.parameters}


@pytest.fixture(scope="module")
def known():
    """Return the importances of each function, of 80 trials; each is computed once."""
    return {}


@pytest.fixture
def of_function(sweep, known):
    def of(function):
        if function not in known:
            known[function] = importance_of(sweep(function, 80))
        return known[function]

    return of


@pytest.mark.parametrize("function", [additive, together, cliff])
def test_importances_are_near_the_known_sobol_indices(of_function, function):
    found = of_function(function)

    assert found.method == SOBOL
    assert not found.unclear
    assert found.explained > 0.6
    for name, share in shares(found).items():
        assert share == pytest.approx(TRUTH[function].get(name, 0.0), abs=0.15), name


@pytest.mark.parametrize("function", [additive, together, cliff])
def test_parameters_that_do_nothing_have_no_importance(of_function, function):
    found = of_function(function)

    by_name = {one.parameter: one for one in found.parameters}
    assert by_name.keys() == SPACE.keys() - {"epochs"}
    for name in ("idle", "flag"):
        assert by_name[name].importance < 0.06
        assert by_name[name].low < 0.02


def test_what_matters_only_together_is_told(of_function):
    [pair] = of_function(together).interactions

    assert set(pair.parameters) == {"lr", "optimizer"}
    assert 0.5 < pair.low <= pair.importance < 0.95


def test_an_additive_function_has_no_interactions(of_function):
    assert of_function(additive).interactions == ()


def test_the_direction_and_the_best_value_are_told(of_function):
    by_name = {one.parameter: one for one in of_function(additive).parameters}

    assert by_name["layers"].better == "lower"
    assert by_name["optimizer"].best == "adam"
    assert by_name["optimizer"].better is None
    assert 1e-4 < float(by_name["lr"].best) < 1e-2  # best in the middle, at 1e-3


def test_a_metric_to_be_maximised_turns_the_direction_and_nothing_else(sweep):
    down = importance_of(sweep(additive, 60))
    up = importance_of(sweep(lambda params, noise: -additive(params, noise), 60, goal="maximize"))

    assert up.parameters == down.parameters
    assert up.goal == "maximize"


def test_the_same_trials_give_the_same_answer_each_time(sweep):
    store = sweep(cliff, 40)

    assert importance_of(store) == importance_of(store)


def test_noise_alone_is_too_little_to_tell(sweep):
    found = importance_of(sweep(lambda params, noise: noise, 60))

    assert found.unclear.startswith("too few trials to tell, or mostly noise")
    assert found.explained < 0.2


def test_few_trials_are_too_few_to_tell(sweep):
    found = importance_of(sweep(additive, 29))

    assert found.unclear == "too few trials to tell: 29 for 6 parameters, and 30 are the least"
    assert len(found.parameters) == 6


def test_where_nothing_can_be_measured_it_says_why(sweep):
    equal = importance_of(sweep(lambda params, noise: 1.0, 8))
    failed = importance_of(sweep(lambda params, noise: Outcome(TrialState.CRASHED, "lost"), 8))

    assert (equal.unclear, equal.parameters, equal.method) == ("all of these trials are equally good", (), "")
    assert (failed.unclear, failed.trials, failed.silent) == ("no trial has ended with a value yet", 0, 8)


def test_a_grid_has_importances_too(sweep):
    grid = {name: {"values": values} for name, values in
            {"lr": [1e-4, 1e-3, 1e-2, 1e-1], "optimizer": ["adam", "sgd"], "layers": [1, 2, 4, 8]}.items()}  # fmt: skip

    found = importance_of(sweep(lambda p, n: abs(math.log10(p["lr"]) + 2) + 0.1 * n, 32, "minimize", "grid", grid))

    assert shares(found)["lr"] > 0.9
    assert max(shares(found)[name] for name in ("optimizer", "layers")) < 0.05
    assert found.parameters[0].best == "0.01"


def test_among_the_best_trials_others_may_matter(sweep):
    """Of this function the first digit is all of the differences; among the good half it is the same for all."""
    store = sweep(lambda p, n: 10.0 * p["flag"] + p["dropout"] + 0.1 * n, 120)

    every, best = importance_of(store), importance_of(store, among=Among.parse("best:50%"))

    assert shares(every)["flag"] > 2 * shares(every)["dropout"]
    assert "flag" in best.same
    assert shares(best)["dropout"] > 0.8
    assert best.trials == 60


@pytest.mark.parametrize("text", ["50%", "best:", "best:0%", "best:101%", "worst:3", "best:-1"])
def test_a_wrong_choice_of_trials_says_what_is_right(text):
    with pytest.raises(UsageError, match="write best:50% for the better half, or best:100"):
        Among.parse(text)


def test_nested_and_linked_parameters_have_the_names_of_the_sweep_file(sweep):
    parameters = {
        "opt": {"parameters": {"lr": {"min": 0.0, "max": 1.0}, "kind": {"values": ["a", "b"]}}},
        "width": {"values": [8, 16, 32]},
        "depth": {"values": [3, 2, 1]},
    }
    linked = {"linked": [["width", "depth"]]}

    found = importance_of(sweep(lambda p, n: p["opt"]["lr"] + n / 5, 40, parameters=parameters, slurmsweep=linked))

    assert found.parameters[0].parameter == "opt.lr"
    assert {one.parameter for one in found.parameters} == {"opt.lr", "opt.kind", "depth,width"}


MOMENTUM = {
    "kind": {"values": ["sgd", "adam", "rmsprop"]},
    "momentum": {"min": 0.0, "max": 1.0},
    "lr": {"min": 0.0, "max": 1.0},
    "idle": {"min": 0.0, "max": 1.0},
}
ONLY_SGD = {"conditions": {"momentum": {"kind": "sgd"}, "idle": {"kind": ["sgd", "adam"]}}}


def momentum(params, noise) -> float:
    """Return what is 0.8 by momentum where it exists, and where not by the rate alone."""
    return (2 * abs(params["momentum"] - 0.7) if "momentum" in params else 0.6) + 0.3 * params["lr"] + noise / 5


def test_a_conditional_parameter_is_compared_among_the_trials_that_have_it(sweep):
    """Among them momentum is nearly all of the differences; that adam has none is no interaction of the two."""
    store = sweep(momentum, 80, parameters=MOMENTUM, slurmsweep=ONLY_SGD)

    document = Sweep(store.layout.folder).importance()

    by_name = {one["parameter"]: one for one in document["parameters"]}
    found, having = by_name["momentum"], by_name["momentum"]["trials"]
    assert by_name["kind"]["trials"] == by_name["lr"]["trials"] == document["trials"] == 80
    assert 15 < having < 40 < by_name["idle"]["trials"] < 70
    assert found["importance"] > 0.8
    assert found["better"] == "higher"
    assert float(found["best"]) == pytest.approx(0.7, abs=0.15)
    assert by_name["idle"]["importance"] < 0.06
    assert by_name["lr"]["importance"] < 0.5
    assert [one for one in document["interactions"] if set(one["parameters"]) == {"kind", "momentum"}] == []
    [line] = [line for line in importance_text(document).splitlines() if line.startswith("momentum ")]
    assert f"in {having} of 80" in line


def test_a_computed_parameter_has_no_importance(sweep):
    store = sweep(additive, 40, slurmsweep={"computed": {"hidden": "4 * layers"}})

    assert "hidden" not in {one.name for one in factors_of(store.manifest.config)}


def test_without_numpy_a_conditional_parameter_is_compared_among_the_same_trials(sweep):
    document = json.loads(without_numpy(sweep(momentum, 90, parameters=MOMENTUM, slurmsweep=ONLY_SGD), "--json").stdout)

    found = {one["parameter"]: one for one in document["parameters"]}
    assert found["momentum"]["importance"] > 0.3
    assert found["momentum"]["best"] != "absent"
    assert found["momentum"]["trials"] < 40


def test_at_most_five_hundred_trials_are_used_and_always_the_same(sweep):
    store = sweep(lambda p, n: p["dropout"] + n, 520, parameters={"dropout": {"min": 0.0, "max": 1.0}})

    found = importance_of(store)

    assert found.trials == 500
    assert found == importance_of(store)


# which results count -------------------------------------------------------------------------------------------------


def test_only_failures_of_the_point_count_as_the_worst(sweep):
    ends = iter(
        [
            Outcome(TrialState.FINISHED, metric=1.0),
            Outcome(TrialState.KILLED, STOPPED_EARLY, 0, metric=2.0),
            Outcome(TrialState.FINISHED, "rung 3", metric=3.0),
            NAN,
            Outcome(TrialState.FINISHED, no_metric="loss was never logged"),
            Outcome(TrialState.FAILED, "exit 1", 1, metric=0.1),
            Outcome(TrialState.CRASHED, "oom", 137),
            Outcome(TrialState.CRASHED, "timeout"),
            Outcome(TrialState.CRASHED, "signal 11"),
            Outcome(TrialState.CRASHED, "node_fail"),
            Outcome(TrialState.KILLED, "cancelled"),
            Outcome(TrialState.PREEMPTED, "preempted"),
            Outcome(TrialState.CRASHED, "lost"),
        ]
    )

    found = importance_of(sweep(lambda p, n: next(ends), 13))

    assert (found.trials, found.silent) == (8, 5)
    assert found.failures.causes == {"no finite value": 1, "exit 1": 1, "oom": 1, "timeout": 1, "signal 11": 1}


def test_trials_that_ended_at_a_lower_rung_are_worse_than_those_that_went_further(sweep):
    """The loss falls with the steps, so at the last rung also a bad trial has a small one."""

    def outcome(params, noise):
        rung = 9 if params["dropout"] < 0.2 else 3
        return Outcome(TrialState.FINISHED, f"rung {rung}" if rung == 3 else "", metric=100.0 / rung + params["layers"])

    store = sweep(outcome, 40, slurmsweep={"rungs": {"steps": [3, 9]}})
    results, _ = results_of(store.manifest, store.replay(), store.manifest.config.metric.objective)
    last = [one.value for one in results if one.point["dropout"] < 0.2]

    assert max(last) <= min(one.value for one in results if one.point["dropout"] >= 0.2)
    assert all(one.value == 100 / 9 + one.point["layers"] for one in results if one.point["dropout"] < 0.2)


def test_ranks_put_failures_last_and_equal_values_together():
    results = [
        TrialResult(n, {}, value, "" if value is not None else "oom")
        for n, value in enumerate([3.0, None, 1.0, 3.0, None])
    ]

    assert ranks(results, "minimize") == pytest.approx([0.4, 0.8, 0.1, 0.4, 0.8])
    assert ranks(results, "maximize") == pytest.approx([0.2, 0.8, 0.5, 0.2, 0.8])


# failures ------------------------------------------------------------------------------------------------------------


def test_the_values_that_make_trials_fail_are_found(sweep):
    def outcome(params, noise):
        if params["layers"] >= 7:
            return Outcome(TrialState.CRASHED, "oom", 137)
        return Outcome(TrialState.FAILED, "exit 1", 1) if params["optimizer"] == "sgd" else additive(params, noise)

    found = importance_of(sweep(outcome, 80)).failures

    by_name = {one.parameter: one for one in found.findings}
    assert by_name.keys() == {"layers", "optimizer"}
    assert (by_name["layers"].values, by_name["layers"].test) == ("at least 7", "rank test")
    assert (by_name["optimizer"].values, by_name["optimizer"].test) == ("sgd", "Fisher's exact test")
    assert by_name["layers"].failed == by_name["layers"].trials
    assert (by_name["layers"].cause, by_name["layers"].elsewhere_failed) == ("oom", 0)
    assert (by_name["optimizer"].cause, by_name["optimizer"].elsewhere_failed) == ("exit 1", 0)
    assert by_name["optimizer"].failed >= 15
    assert found.failed == by_name["layers"].failed + by_name["optimizer"].failed
    assert found.tests == 2 * (3 + 3 + 16 + 2)  # of each cause: ordered parameters, levels of optimizer, idle and flag


def test_failures_by_chance_are_no_evidence(sweep):
    """Fifty sweeps whose trials fail by chance: one in twenty may show something, and most of them nothing."""
    alarms = 0
    for seed in range(50):
        rng = random.Random(seed)
        results = [
            TrialResult(n, {"a": rng.random(), "b": rng.choice("xyz")}, *rng.choice([(1.0, ""), (None, "exit 1")]))
            for n in range(30)
        ]
        alarms += bool(failures_of(results))
    assert alarms <= 6


def failures_of(results):
    from slurmsweep.learning.failures import failures
    from slurmsweep.learning.results import Factor

    return failures([Factor("a", (("a",),), True), Factor("b", (("b",),), False)], results).findings


def test_failures_where_a_parameter_is_absent_are_found():
    results = [
        TrialResult(n, {"b": "x", **({"a": 0.1 * n} if n % 2 else {})}, *((1.0, "") if n % 2 else (None, "exit 1")))
        for n in range(20)
    ]

    [found] = failures_of(results)

    assert (found.values, found.failed, found.trials, found.elsewhere_failed) == ("absent", 10, 10, 0)


def test_failures_of_a_conditional_parameter_are_looked_for_where_it_exists(sweep):
    """All trials with adam fail by another cause, which is no evidence about momentum."""

    def outcome(params, noise):
        if "momentum" not in params:
            return Outcome(TrialState.CRASHED, "oom", 137)
        return Outcome(TrialState.FAILED, "exit 1", 1) if params["momentum"] > 0.6 else 1.0 + noise

    parameters = {"momentum": {"min": 0.0, "max": 1.0}, "kind": {"values": ["sgd", "adam"]}}
    store = sweep(outcome, 60, parameters=parameters, slurmsweep={"conditions": {"momentum": {"kind": "sgd"}}})
    document = Sweep(store.layout.folder).importance()
    found = document["failures"]

    by_cause = {(one["cause"], one["parameter"]): one for one in found["findings"]}
    told, kind = by_cause["exit 1", "momentum"], by_cause["oom", "kind"]
    having = told["trials"] + told["elsewhere_trials"]
    assert by_cause.keys() == {("oom", "kind"), ("exit 1", "kind"), ("exit 1", "momentum")}
    assert (told["failed"], told["elsewhere_failed"]) == (told["trials"], 0)
    assert having == kind["elsewhere_trials"] < found["trials"] == 60
    assert f"in the {having} of 60 trials that have it" in " ".join(importance_text(document).split())


def test_fishers_test_counts_every_table():
    bad = [True] * 4 + [False] * 6
    for trials, inside in [(3, 2), (5, 4), (5, 0), (10, 4)]:
        tables = list(combinations(bad, trials))
        share = sum(sum(one) >= inside for one in tables) / len(tables)
        assert fisher(inside, trials, 4, 10) == pytest.approx(share)


def test_the_rank_test_counts_every_choice():
    levels = [1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 5.0, 8.0]
    chosen = [False, False, False, True, False, False, True, True]
    rank = {1.0: 1.5, 2.0: 3.0, 3.0: 5.0, 5.0: 7.0, 8.0: 8.0}
    sums = [sum(rank[one] for one in some) for some in combinations(levels, 3)]
    seen = sum(rank[level] for level, one in zip(levels, chosen, strict=True) if one)
    share = sum(abs(one - 13.5) >= abs(seen - 13.5) for one in sums) / len(sums)

    assert rank_sum(levels, chosen) == (pytest.approx(share), True)
    assert rank_sum([-level for level in levels], chosen) == (pytest.approx(share), False)


def test_the_rank_test_of_many_trials_is_near_the_exact_one(monkeypatch):
    from slurmsweep.learning import failures

    rng = random.Random(2)
    levels = [float(rng.randrange(12)) for _ in range(40)]
    chosen = [level + rng.gauss(0, 4) > 9 for level in levels]
    exact, _ = rank_sum(levels, chosen)
    monkeypatch.setattr(failures, "_MOST_STEPS", 0)
    normal, _ = rank_sum(levels, chosen)

    assert 0 < exact < 0.05
    assert math.log(normal) == pytest.approx(math.log(exact), abs=0.8)


# without numpy, and on the command line ------------------------------------------------------------------------------

WITHOUT_NUMPY = """
import sys
sys.modules["numpy"] = None
from slurmsweep.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def without_numpy(store, *options):
    argv = [sys.executable, "-c", WITHOUT_NUMPY, "importance", store.layout.folder, *options]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_without_numpy_a_simpler_measure_is_used_and_named(sweep):
    store = sweep(additive, 80)

    done = without_numpy(store, "--json")

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    found = {one["parameter"]: one for one in document["parameters"]}
    assert (document["method"], document["explained"]) == (ONE_AT_A_TIME, None)
    assert found["lr"]["importance"] > 0.4
    assert found["lr"]["low"] <= found["lr"]["importance"] <= found["lr"]["high"]
    assert max(found["idle"]["importance"], found["flag"]["importance"]) < 0.15
    assert found["optimizer"]["best"] == "adam"


def test_without_numpy_it_says_how_to_get_the_better_measure(sweep):
    words = without_numpy(sweep(additive, 40)).stdout

    assert "pip install 'slurmsweep[bayes]'" in " ".join(words.split())
    assert ONE_AT_A_TIME in " ".join(words.split())


@pytest.mark.parametrize("numpy", [True, False])
def test_the_table_fits_eighty_columns(sweep, slurmsweep, numpy):
    long = "a_name_that_is_longer_than_any_column_of_a_table_should_ever_be"
    values = [f"{letter * 50}" for letter in "abc"]
    parameters = {long: {"values": values}, f"{long}.two": {"min": 0.0, "max": 1.0}, "b": {"values": [1, 2]}}

    def outcome(params, noise):
        if params[long] == values[0]:
            return Outcome(TrialState.FAILED, "exit 1", 1)
        return abs(params[f"{long}.two"] - 0.5 * (params[long] == values[1])) + noise

    store = sweep(outcome, 60, parameters=parameters)
    done = slurmsweep("importance", store.layout.folder) if numpy else without_numpy(store)

    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    assert "a_name_that_is_longer" in done.stdout


def test_a_parameter_that_may_not_matter_has_no_best_value_in_the_table(sweep, slurmsweep):
    lines = slurmsweep("importance", sweep(additive, 60).layout.folder).stdout.splitlines()

    [idle] = [line for line in lines if line.startswith("idle")]
    [optimizer] = [line for line in lines if line.startswith("optimizer")]
    assert ("#" in idle, "v" in idle) == (False, False)
    assert ("#" in optimizer, "adam" in optimizer) == (True, True)


def test_the_command_shows_what_mattered_and_what_failed(sweep, slurmsweep):
    def outcome(params, noise):
        return Outcome(TrialState.CRASHED, "oom", 137) if params["layers"] >= 7 else together(params, noise)

    store = sweep(outcome, 80)

    done = slurmsweep("importance", store.layout.folder)

    words = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert "sweep abcd1234: what mattered for loss (minimize), 80 trials" in words
    assert "lr and optimizer only together: 0." in words
    assert "% of the differences between trials is explained; the rest is noise" in words
    assert "range over 20 resamples" in words
    assert "confidence" not in words
    assert "layers at least 7" in words


def test_the_document_of_the_command_is_that_of_python(sweep, slurmsweep):
    store = sweep(additive, 40)

    shown = json.loads(slurmsweep("importance", store.layout.folder, "--among", "best:50%", "--json").stdout)

    assert shown == json.loads(json.dumps(Sweep(store.layout.folder).importance(among="best:50%")))
    assert (shown["sweep"], shown["among"], shown["trials"], shown["resamples"]) == ("abcd1234", "best:50%", 20, 20)


def test_a_metric_of_the_pareto_view_is_chosen_by_its_name(sweep, slurmsweep):
    def outcome(params, noise):
        metrics = {"acc": params["dropout"] + noise, "latency": params["layers"] + noise}
        return Outcome(TrialState.FINISHED, metrics=metrics)

    pareto = {"pareto": {"acc": "maximize", "latency": "minimize"}}
    store = sweep(outcome, 60, slurmsweep=pareto, metric={"name": "acc", "goal": "maximize"})
    latency = importance_of(store, metric="latency")

    assert latency.parameters[0].parameter == "layers"
    assert (latency.goal, latency.parameters[0].better) == ("minimize", "lower")
    wrong = slurmsweep("importance", store.layout.folder, "--metric", "speed")
    assert (wrong.returncode, "there are acc, latency" in wrong.stderr) == (2, True)


def test_of_several_metrics_one_must_be_chosen(tmp_path, slurmsweep):
    document = {"method": "random", "run_cap": 3, "program": "t.py", "parameters": {"x": {"min": 0.0, "max": 1.0}},
                "slurmsweep": {"pareto": {"acc": "maximize", "latency": "minimize"}}}  # fmt: skip
    config = check(document, "x").config
    store = SweepStore.create(str(tmp_path), Manifest("abcd1234", config, 3, str(tmp_path), "x", 0.0, "0"))

    done = slurmsweep("importance", store.layout.folder)

    assert (done.returncode, "choose one, --metric acc or latency" in done.stderr) == (2, True)


def test_without_a_metric_failures_are_looked_at_all_the_same(make_store, slurmsweep):
    store = make_store(24)
    for number in range(24):
        bad = number >= 16
        end = Outcome(TrialState.FAILED, "exit 1", 1) if bad else Outcome(TrialState.FINISHED)
        store.finish(store.claim(Owner("h", 1, 1, "b")), end._replace(ended=1.0))

    words = slurmsweep("importance", store.layout.folder).stdout

    assert "names no metric" in words
    assert "x at least 16: 8 of 8 exit 1, 0 of 16 elsewhere" in " ".join(words.split())


def test_a_metric_that_ended_in_nan_is_a_failure_of_its_point(slurmsweep, write_sweep):
    script = """
import slurmsweep
run = slurmsweep.init()
slurmsweep.log({"loss": float("nan") if run.config.x > 2 else run.config.x})
"""
    file = write_sweep(script, "  x: {values: [1, 2, 3, 4]}", "metric: {name: loss}")
    sweep = json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]

    document = json.loads(slurmsweep("importance", sweep, "--json").stdout)

    assert document["failures"]["causes"] == {"no finite value": 2}


def test_text_from_trials_cannot_act_upon_a_terminal():
    document = {
        "sweep": "abcd1234", "metric": "a\x1b[2J", "goal": "minimize", "trials": 1, "among": None,
        "unclear": "\x07", "parameters": [], "same": ["b\x1b"],
        "failures": {"failed": 1, "causes": {"\x1b": 1}, "findings": [], "tests": 0},
    }  # fmt: skip

    assert importance_text(document).replace("\n", "").isprintable()
