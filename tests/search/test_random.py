"""Random points: reproducible one by one, and distributed as scipy and W&B say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from slurmsweep import search
from slurmsweep.search.beta import beta_quantile
from slurmsweep.search.random import quantile, uniform
from slurmsweep.sweepfile.config import check
from slurmsweep.sweepfile.findings import Findings
from slurmsweep.sweepfile.space import read_parameter

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "wandb_vectors.json").read_text())["vectors"]
SEVEN = (0.001, 0.05, 0.3, 0.5, 0.8, 0.99, 0.9999)


def parameter(form):
    return read_parameter(form, ("x",), Findings())


def config_of(parameters):
    return check({"method": "random", "program": "t.py", "parameters": parameters}, "test").config


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == "ppf"])
def test_quantiles_are_wandbs_inside_the_open_interval(vector):
    inside = [(x, value) for x, value in zip(vector["x"], vector["expect"]["values"], strict=True) if 0 < x < 1]

    got = [quantile(parameter(vector["parameter"]), x) for x, _ in inside]

    assert got == [value for _, value in inside]
    assert {type(value).__name__ for value in got} == set(vector["expect"]["types"])


DISTRIBUTIONS = [
    ({"min": -1.0, "max": 3.0}, stats.uniform(-1, 4)),
    ({"distribution": "log_uniform_values", "min": 1e-5, "max": 10}, stats.loguniform(1e-5, 10)),
    (
        {"distribution": "log_uniform", "min": -5, "max": 2},
        stats.loguniform(2.718281828459045**-5, 2.718281828459045**2),
    ),
    ({"distribution": "normal", "mu": 2, "sigma": 3}, stats.norm(2, 3)),
    ({"distribution": "log_normal", "mu": 0.5, "sigma": 0.7}, stats.lognorm(s=0.7, scale=2.718281828459045**0.5)),
    ({"distribution": "beta", "a": 2, "b": 5}, stats.beta(2, 5)),
    ({"distribution": "beta", "a": 0.5, "b": 0.5}, stats.beta(0.5, 0.5)),
]
NAMES = [form.get("distribution", "uniform") for form, _ in DISTRIBUTIONS]


@pytest.mark.parametrize(("form", "reference"), DISTRIBUTIONS, ids=NAMES)
def test_quantiles_agree_with_scipy(form, reference):
    assert [quantile(parameter(form), x) for x in SEVEN] == pytest.approx([reference.ppf(x) for x in SEVEN], rel=1e-9)


@pytest.mark.parametrize(("form", "reference"), DISTRIBUTIONS, ids=NAMES)
def test_ten_thousand_draws_fit(form, reference):
    config = config_of({"x": form})
    draws = [search.parameters(config, number, "fixed")["x"] for number in range(10_000)]

    assert stats.kstest(draws, reference.cdf).pvalue > 0.001


def test_an_inverse_log_uniform_is_the_mirror_image():
    form = {"distribution": "inv_log_uniform_values", "min": 1e-3, "max": 1}

    assert quantile(parameter(form), 0.5) == pytest.approx(1e-3**0.5)


def test_categories_and_integers_are_equally_likely():
    config = config_of({"c": {"values": ["a", "b", "c"]}, "n": {"min": 1, "max": 6}})
    draws = [search.parameters(config, number, "fixed") for number in range(9_000)]

    for name, values in (("c", ["a", "b", "c"]), ("n", [1, 2, 3, 4, 5, 6])):
        counts = [sum(draw[name] == value for draw in draws) for value in values]
        assert sum(counts) == 9_000
        assert stats.chisquare(counts).pvalue > 0.001


def test_probabilities_are_kept_and_the_impossible_never_comes():
    config = config_of({"c": {"values": ["a", "b", "c"], "probabilities": [0.7, 0.3, 0.0]}})
    draws = [search.parameters(config, number, "fixed")["c"] for number in range(5_000)]

    assert set(draws) == {"a", "b"}
    assert stats.binomtest(draws.count("a"), 5_000, 0.7).pvalue > 0.001


def test_multiples_carry_no_noise():
    form = {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.3}

    assert {quantile(parameter(form), x / 100) for x in range(1, 100)} == {0.0, 0.3, 0.6, 0.9}


def test_a_point_does_not_depend_on_order_or_on_other_parameters():
    one = config_of({"a": {"min": 0.0, "max": 1.0}})
    two = config_of({"b": {"min": 0.0, "max": 1.0}, "a": {"min": 0.0, "max": 1.0}})

    backwards = [search.parameters(one, number, "s")["a"] for number in (3, 2, 1, 0)]
    assert backwards[::-1] == [search.parameters(two, number, "s")["a"] for number in range(4)]
    assert len(set(backwards)) == 4
    assert search.parameters(one, 0, "s") != search.parameters(one, 0, "t")


def test_another_process_draws_the_same():
    script = "from slurmsweep.search.random import uniform; print(uniform('abcd1234', 7, ('opt', 'lr')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert float(done.stdout) == uniform("abcd1234", 7, ("opt", "lr")) == 0.4833335699434348


def test_nested_parameters_come_nested():
    config = config_of({"z": {"value": 1}, "o": {"parameters": {"b": {"min": 0.0, "max": 1.0}, "a": {"value": 2}}}})

    point = search.parameters(config, 0, "s")
    assert list(point) == ["z", "o"]
    assert list(point["o"]) == ["a", "b"]


@given(st.floats(0.05, 50), st.floats(0.05, 50), st.floats(1e-6, 1 - 1e-6))
def test_beta_quantiles_are_scipys(a, b, x):
    assert beta_quantile(x, a, b) == pytest.approx(stats.beta(a, b).ppf(x), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("form", "reference"), DISTRIBUTIONS, ids=NAMES)
def test_quantised_distributions_are_scipys_rounded_to_multiples(form, reference):
    kind = form.get("distribution", "uniform")
    quantised = parameter(form | {"distribution": f"q_{kind}", "q": 0.25})

    expected = [round(float(reference.ppf(x)) / 0.25) * 0.25 for x in SEVEN]
    assert [quantile(quantised, x) for x in SEVEN] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("form", "reference"),
    [
        ({"min": 3, "max": 9}, stats.randint(3, 10)),
        (
            {"values": [10, 20, 30], "probabilities": [0.2, 0.5, 0.3]},
            stats.rv_discrete(values=([10, 20, 30], [0.2, 0.5, 0.3])),
        ),
        ({"values": [0, 1, 2, 3]}, stats.randint(0, 4)),
    ],
    ids=["int_uniform", "probabilities", "categorical"],
)
def test_discrete_quantiles_agree_with_scipy(form, reference):
    assert [quantile(parameter(form), x) for x in SEVEN] == [reference.ppf(x) for x in SEVEN]


@pytest.mark.parametrize("word", ["log_uniform", "log_uniform_values"])
def test_inverse_distributions_mirror_in_the_exponent(word):
    low, high = (-4, 1) if word == "log_uniform" else (0.01, 2.5)
    straight, mirrored = ({"distribution": name, "min": low, "max": high} for name in (word, f"inv_{word}"))

    # W&B: inv_log_uniform draws X with log(1/X) uniform; between exponents the draw is 1/exp, between values mirrored in [min, max]
    for x in SEVEN:
        got, plain = quantile(parameter(mirrored), x), quantile(parameter(straight), 1 - x)
        assert got == pytest.approx(1 / plain if word == "log_uniform" else quantile(parameter(straight), x))


NAMES_OF_PARAMETERS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,5}", fullmatch=True)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
)
ORDERED = st.tuples(st.floats(-100, 100), st.floats(0.001, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))
FORMS = st.recursive(
    st.one_of(
        st.builds(lambda value: {"value": value}, SCALARS),
        st.builds(lambda values: {"values": values}, st.lists(SCALARS, min_size=1, max_size=4)),
        st.builds(lambda low, count: {"min": low, "max": low + count}, st.integers(-9, 9), st.integers(1, 10**12)),
        st.builds(lambda pair: {"min": float(pair[0]), "max": float(pair[1])}, ORDERED),
        st.builds(
            lambda mu, sigma, q: {"distribution": "q_normal", "mu": mu, "sigma": sigma, "q": q},
            st.floats(-9, 9),
            st.floats(0, 9),
            st.floats(0.01, 5),
        ),
        st.builds(lambda a, b: {"distribution": "beta", "a": a, "b": b}, st.floats(0.1, 9), st.floats(0.1, 9)),
    ),
    lambda inner: st.builds(
        lambda parameters: {"parameters": parameters},
        st.dictionaries(NAMES_OF_PARAMETERS, inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


@given(st.dictionaries(NAMES_OF_PARAMETERS, FORMS, min_size=1, max_size=5), st.integers(0, 10**6))
def test_a_valid_configuration_never_fails_to_plan(parameters, number):
    from slurmsweep.sweepfile.command import build_argv

    config = config_of(parameters)
    point = search.parameters(config, number, "seed")
    argv = build_argv(config.command, config.program, point, environ={}, own={"args_json_file": "/f"})

    assert set(point) == set(parameters)
    assert all(isinstance(element, str) for element in argv)
    assert len(argv) == 3 + len(parameters)
    assert (
        search.parameters(type(config).from_json(json.loads(json.dumps(config.to_json()))), number, "seed").keys()
        == point.keys()
    )
