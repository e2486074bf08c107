"""What is learnt from trials that ended: coverage over simulated sweeps, and what must hold for any numbers."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.search.flat import flat
from slurmsweep.sizing.canaries import canaries_wanted, choose_canaries
from slurmsweep.sizing.estimate import CUT_OFF_FACTOR, Sample, fit_estimate, margin

SIZES = {"s": 60, "m": 300, "l": 1800}


def noisy(seconds, rng, width=0.1):
    return seconds * rng.lognormvariate(0, width)


#: Parameters of a trial, and how long it takes.
SWEEPS = {
    "constant": (
        lambda rng: {"lr": rng.random(), "batch": rng.choice([16, 32])},
        lambda p, rng: noisy(600, rng, 0.05),
    ),
    "epochs": (
        lambda rng: {"epochs": rng.choice([1, 5, 10, 50]), "lr": rng.random()},
        lambda p, rng: noisy(30 + 60 * p["epochs"], rng),
    ),
    "any epochs": (
        lambda rng: {"epochs": rng.randint(1, 100), "lr": rng.random()},
        lambda p, rng: noisy(30 + 60 * p["epochs"], rng),
    ),
    "model": (
        lambda rng: {"model": {"size": rng.choice("sml")}, "lr": rng.random()},
        lambda p, rng: noisy(SIZES[p["model"]["size"]], rng),
    ),
    "model and epochs": (
        lambda rng: {"model": {"size": rng.choice("sml")}, "epochs": rng.choice([1, 3, 10]), "lr": rng.random()},
        lambda p, rng: noisy(SIZES[p["model"]["size"]] * p["epochs"] / 10, rng),
    ),
    "one over batch": (
        lambda rng: {"batch": rng.choice([16, 32, 64, 128]), "lr": rng.random()},
        lambda p, rng: noisy(20000 / p["batch"], rng),
    ),
    "heavy tail": (
        lambda rng: {"lr": rng.random(), "batch": rng.choice([16, 32])},
        lambda p, rng: noisy(300, rng, 1.0),
    ),
}


def simulate(name, canaries=None, sweeps=12, trials=200):
    """Over several sweeps: the share of the rest that would run out of time, and what is asked, over the longest for all."""
    draw, take = SWEEPS[name]
    cut = asked = longest = rest = 0
    for seed in range(sweeps):
        rng = random.Random(seed)
        points = [draw(rng) for _ in range(trials)]
        seconds = [take(point, rng) for point in points]
        first = choose_canaries(points, canaries or canaries_wanted(trials, points))
        estimate = fit_estimate([Sample(dict(flat(points[i])), seconds[i]) for i in first])
        others = [i for i in range(trials) if i not in first]
        given_each = [estimate.of(dict(flat(points[i]))) for i in others]
        cut += sum(given < seconds[i] for given, i in zip(given_each, others, strict=True))
        asked += sum(given_each)
        longest += max(seconds) * len(others)
        rest += len(others)
    return cut / rest, asked / longest


@pytest.mark.parametrize(
    ("name", "most_cut", "most_asked"),
    [
        ("constant", 0.0, 1.5),  # the price of the margin: it is not known ahead that 1.15 would do
        ("epochs", 0.01, 0.5),
        ("any epochs", 0.01, 0.9),
        ("model", 0.01, 0.7),
        ("model and epochs", 0.01, 0.4),
        ("one over batch", 0.01, 0.75),
        ("heavy tail", 0.08, 0.8),
    ],
)
def test_few_of_the_rest_run_out_of_time_and_less_is_asked_than_the_longest_for_all(name, most_cut, most_asked):
    cut, asked = simulate(name)

    assert cut <= most_cut
    assert asked <= most_asked


@pytest.mark.parametrize("name", SWEEPS)
def test_more_canaries_ask_for_less_or_cut_fewer(name):
    few_cut, few_asked = simulate(name, canaries=6)
    many_cut, many_asked = simulate(name, canaries=60)

    assert many_cut <= max(few_cut, 0.05)
    assert many_asked < few_asked or many_cut < few_cut


def samples_of(seconds, **params):
    return [Sample({name: values[i] for name, values in params.items()}, s) for i, s in enumerate(seconds)]


def test_one_line_says_what_explains_the_time():
    epochs = [1, 10, 100, 1, 10, 100, 1, 10]

    estimate = fit_estimate(samples_of([10 * e for e in epochs], epochs=epochs, lr=[0.1] * 8))

    assert estimate.explained("time") == "time by epochs: 0.95 quantile of 8 trials x 1.5"
    assert estimate.of({"epochs": 50, "lr": 0.1}) == pytest.approx(500 * margin(8))
    assert estimate.of({"epochs": 200, "lr": 0.1}) == pytest.approx(2000 * margin(8))


def test_values_without_an_order_have_a_number_each_and_an_unknown_one_the_largest():
    models = ["s", "m", "l"] * 4

    estimate = fit_estimate(samples_of([{"s": 10, "m": 20, "l": 90}[m] for m in models], model=models))

    assert [term.name for term in estimate.terms] == ["model"]
    assert estimate.of({"model": "s"}) == pytest.approx(10 * margin(12))
    assert estimate.of({"model": "xl"}) == pytest.approx(90 * margin(12))


def test_two_parameters_together():
    cells = [(m, e) for m in ("s", "l") for e in (1, 10, 100) for _ in range(2)]
    seconds = [{"s": 1, "l": 7}[m] * e for m, e in cells]

    estimate = fit_estimate(
        samples_of(seconds, model=[m for m, _ in cells], epochs=[e for _, e in cells], lr=list(range(12)))
    )

    assert {term.name for term in estimate.terms} == {"model", "epochs"}
    assert estimate.of({"model": "l", "epochs": 50}) == pytest.approx(350 * margin(12), rel=0.01)


def test_a_parameter_that_explains_nothing_is_not_named():
    rng = random.Random(3)
    seconds = [noisy(100, rng, 0.5) for _ in range(30)]

    estimate = fit_estimate(samples_of(seconds, lr=[rng.random() for _ in seconds], opt=["a", "b"] * 15))

    assert estimate.terms == ()
    assert estimate.explained("time") == "time: 0.95 quantile of 30 trials x 1.3"
    assert estimate.of({}) == pytest.approx(max(seconds) * margin(30))


def test_a_trial_that_ran_out_of_time_raises_the_estimate_and_is_named():
    finished = samples_of([100.0, 110.0, 90.0, 105.0], lr=[1, 2, 3, 4])

    estimate = fit_estimate([*finished, Sample({"lr": 5}, 600.0, is_bound=True)])

    assert estimate.of({"lr": 6}) >= CUT_OFF_FACTOR * 600
    assert estimate.explained("time") == "time: 0.95 quantile of 5 trials (1 of them cut off) x 1.6"


def test_a_bound_at_one_value_does_not_raise_the_others():
    epochs = [1, 10, 20, 1, 10, 20, 1, 10, 20]
    finished = samples_of([10.0 * e for e in epochs], epochs=epochs)

    estimate = fit_estimate([*finished, *[Sample({"epochs": 100}, 600.0, is_bound=True)] * 2])

    assert estimate.of({"epochs": 100}) >= 900
    assert estimate.of({"epochs": 1}) <= 40


positive = st.floats(0.01, 1e6)


@given(st.lists(positive, min_size=1, max_size=18))
def test_of_few_trials_alike_the_estimate_is_the_longest_times_the_margin(seconds):
    estimate = fit_estimate([Sample({}, value) for value in seconds])

    assert estimate.of({}) == pytest.approx(max(seconds) * margin(len(seconds)), rel=1e-6)


@given(st.lists(positive, min_size=1, max_size=18), positive)
def test_a_bound_is_never_taken_for_an_end(seconds, bound):
    as_bound = fit_estimate([*(Sample({}, s) for s in seconds), Sample({}, bound, is_bound=True)])
    as_end = fit_estimate([*(Sample({}, s) for s in seconds), Sample({}, bound)])

    assert as_bound.of({}) >= as_end.of({}) * 0.999
    assert as_bound.of({}) >= CUT_OFF_FACTOR * bound * 0.999


values = st.one_of(st.integers(-5, 100), st.floats(allow_nan=True), st.text(max_size=3), st.booleans(), st.none())


@given(st.lists(st.tuples(values, values, positive, st.booleans()), min_size=1, max_size=30), values)
def test_any_parameters_give_a_finite_estimate_above_zero(rows, other):
    estimate = fit_estimate([Sample({"a": a, "b": b}, value, bound) for a, b, value, bound in rows])

    for point in [{"a": a, "b": b} for a, b, _, _ in rows] + [{"a": other, "b": other}]:
        assert 0 < estimate.of(point) < math.inf


@given(st.integers(1, 10_000))
def test_the_margin_shrinks_as_trials_add_up(count):
    assert 1.1 < margin(count + 1) < margin(count) <= 2.1


def test_nothing_to_learn_from_is_said():
    with pytest.raises(ValueError, match="nothing to learn"):
        fit_estimate([])
