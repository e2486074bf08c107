"""The Gaussian process and the expected improvement against what mathematics says."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from slurmsweep.search.bayes import model
from slurmsweep.search.bayes.acquisition import FANTASIES, imagined, log_improvement
from slurmsweep.search.bayes.design import spread
from slurmsweep.search.bayes.model import GaussianProcess, Kernel, Posterior
from slurmsweep.search.bayes.targets import targets_of


def rows(count, dimensions, seed=0):
    return np.random.default_rng(seed).random((count, dimensions))


def test_gradient_and_information_of_the_likelihood_agree_with_differences():
    x = rows(15, 3)
    x[:, 2] = np.round(x[:, 2] * 2)
    y = np.sin(5 * x[:, 0]) + x[:, 2]
    likelihood = model._Likelihood(x, np.array([False, False, True]), y, trends=False, variances=np.zeros(len(y)))
    theta = likelihood.mean + np.array([0.3, -0.2, 0.1, 0.2, 1.0])

    differences = [
        (likelihood.at(theta + step).value - likelihood.at(theta - step).value) / 2e-5 for step in 1e-5 * np.eye(5)
    ]

    assert likelihood.at(theta).gradient == pytest.approx(differences, rel=1e-4, abs=1e-4)
    assert np.linalg.eigvalsh(likelihood.at(theta).information).min() > 0


def test_an_important_coordinate_gets_a_shorter_length_scale():
    x = rows(40, 3)

    fitted = GaussianProcess.fit(x, np.zeros(3, dtype=bool), np.sin(8 * x[:, 1]))

    assert fitted.kernel.lengths[1] < 0.5 * min(fitted.kernel.lengths[0], fitted.kernel.lengths[2])
    mean, deviation = fitted.predict(rows(50, 3, seed=1))
    assert np.abs(mean - np.sin(8 * rows(50, 3, seed=1)[:, 1])).max() < 0.3
    assert deviation.max() < 0.3


def test_noise_is_learnt():
    x = rows(80, 1)
    noise = np.random.default_rng(1).normal(size=80) * 0.5

    fitted = GaussianProcess.fit(x, np.zeros(1, dtype=bool), 4 * x[:, 0] + noise)

    assert 0.35 < math.sqrt(fitted.kernel.noise) * fitted.scale < 0.65


def test_unordered_coordinates_are_equal_or_not():
    kernel = Kernel(np.array([True]), np.ones(1), 1.0, 0.0)

    covariance = kernel.between(np.array([[0.0], [1.0], [5.0]]), np.array([[0.0]]))[:, 0]

    assert covariance[0] > covariance[1] == covariance[2]


def test_extending_by_one_observation_is_the_same_as_starting_with_it():
    kernel = Kernel(np.zeros(2, dtype=bool), np.array([0.3, 0.6]), 1.2, 0.01)
    x, y = rows(9, 2), rows(9, 1, seed=2)
    before = Posterior.of(kernel, 0.4, x[:8], y[:8])
    mean, deviation = before.predict(x[8:])
    score = (y[8] - mean[0]) / math.sqrt(deviation[0] ** 2 + kernel.noise)

    extended, whole = before.extended(x[8], score), Posterior.of(kernel, 0.4, x, y)

    for ours, right in zip(extended.predict(rows(5, 2, seed=3)), whole.predict(rows(5, 2, seed=3)), strict=True):
        assert ours == pytest.approx(right, abs=1e-5)


def test_imagined_results_keep_the_mean_and_take_the_uncertainty():
    kernel = Kernel(np.zeros(2, dtype=bool), np.array([0.3, 0.6]), 1.2, 1e-4)
    before = Posterior.of(kernel, 0.0, rows(5, 2), np.repeat(rows(5, 1, seed=2), FANTASIES, axis=1))
    there = rows(1, 2, seed=9)

    after = imagined(before, there, np.random.default_rng(0))

    assert after.predict(there)[0].mean() == pytest.approx(before.predict(there)[0].mean())
    assert after.predict(there)[1][0] < 0.1 * before.predict(there)[1][0]


@pytest.mark.parametrize("z", [-30.0, -8.0, -10.01, -9.99, -3.0, -0.5, 0.0, 1.0, 4.0, 12.0])
def test_the_logarithm_of_the_expected_improvement(z):
    normal = NormalDist()
    if z > -4:
        right = math.log(normal.pdf(z) + z * normal.cdf(z))
    else:  # h is the integral of the distribution function
        t = np.linspace(0, 40, 400_001)
        right = -z * z / 2 - math.log(math.sqrt(2 * math.pi)) + math.log((np.exp(z * t - t * t / 2) * t).sum() * 1e-4)

    ours = log_improvement(np.array([[-2.0 * z]]), np.array([2.0]), np.zeros(1))[0]

    assert ours == pytest.approx(right + math.log(2), abs=1e-3)


def test_no_and_equal_observations_have_a_model():
    unordered = np.zeros(2, dtype=bool)

    for y in (np.empty(0), np.ones(1), np.ones(20), np.full(5, 1e300)):
        mean, deviation = GaussianProcess.fit(rows(len(y), 2), unordered, y).predict(rows(3, 2, seed=4))
        assert np.isfinite(mean).all()
        assert (deviation > 0).all()


def test_equal_rows_with_different_values_have_a_model():
    x = np.repeat(rows(3, 2), 10, axis=0)

    mean, _ = GaussianProcess.fit(x, np.zeros(2, dtype=bool), rows(30, 1, seed=5)[:, 0]).predict(x)

    assert np.isfinite(mean).all()


def test_the_better_half_is_linear_and_the_worse_half_goes_by_rank():
    targets = targets_of([1.0, 2.0, 3.0, 4.0, 5.0, 1e6, 1e12, math.nan, math.inf], "minimize")

    assert np.diff(targets.y[:4]) == pytest.approx(np.full(3, targets.y[1] - targets.y[0]))
    assert targets.y.max() < 3
    assert targets.y[7] == targets.y[8] == targets.y[6]
    assert targets.in_metric(targets.y[1]) == pytest.approx(2.0)
    assert targets.in_metric(targets.y[0] - (targets.y[1] - targets.y[0])) == pytest.approx(0.0)


def test_a_maximised_metric_is_turned_and_explained_in_its_own_units():
    targets = targets_of([1.0, 2.0, 3.0, 4.0], "maximize")

    assert targets.y.argmin() == 3
    assert targets.in_metric(targets.y[3]) == pytest.approx(4.0)


@pytest.mark.parametrize(
    "values", [[1e300, -1e300, 5.0], [1e308, -1e308], [1e-300, 0.0], [7.0] * 4, [1.0], [1.0, 1.0, 1.0, 0.5]]
)
def test_extreme_values_are_finite_for_the_model(values):
    targets = targets_of(values, "minimize")

    assert np.isfinite(targets.y).all()
    assert (np.argsort(targets.y, kind="stable") == np.argsort(values, kind="stable")).all()


def test_nothing_finite_is_nothing_to_learn_from():
    assert targets_of([math.nan, math.inf], "minimize") is None
    assert targets_of([], "maximize") is None


def test_first_points_depend_on_seed_and_number_and_lie_apart():
    points = np.array([spread(3, "s", number) for number in range(32)])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(32)

    assert (points == np.array([spread(3, "s", number) for number in range(32)])).all()
    assert not (points[1:] == np.array([spread(3, "t", number) for number in range(1, 32)])).any()
    assert distances.min() > 0.1


def test_a_few_values_that_fall_towards_an_end_outweigh_the_expectation_that_the_middle_is_better():
    x = np.array([spread(3, "s", number) for number in range(8)])
    y = x @ np.array([1.0, -1.0, 1.0])
    corner = np.array([[0.0, 1.0, 0.0]])

    plain = GaussianProcess.fit(x, np.zeros(3, dtype=bool), y, bowl=0.4)
    trends = GaussianProcess.fit(x, np.zeros(3, dtype=bool), y, bowl=0.4, trends=True)

    assert trends.predict(corner)[0] == pytest.approx(-1, abs=0.05)
    assert plain.predict(corner)[0] > -0.5


def test_samples_with_trends_vary_more_towards_the_ends():
    ends, middle = np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]])
    plain = Kernel(np.zeros(2, dtype=bool), np.array([0.3, 0.6]), 1.2, 0.01)
    trends = plain._replace(trends=True)

    assert plain.variance(ends) == plain.variance(middle)
    assert trends.variance(ends) > trends.variance(middle)
    assert trends.variance(ends) == pytest.approx(trends.between(ends, ends)[:, 0])


def test_a_fit_that_starts_near_the_answer_finds_it_and_its_precision_is_the_inverse():
    rng = np.random.default_rng(3)
    x, unordered = rng.random((60, 3)), np.zeros(3, dtype=bool)
    y = np.sin(5 * x[:, 0]) + x[:, 1] ** 2 + 0.05 * rng.standard_normal(60)

    fitted = GaussianProcess.fit(x, unordered, y)
    again = GaussianProcess.fit(x, unordered, y, near=fitted.kernel)

    assert again.log_likelihood >= fitted.log_likelihood - 0.05
    covariance = again.kernel.between(x, x) + (again.kernel.noise + 1e-8) * np.eye(60)
    assert again.posterior.precision() @ covariance == pytest.approx(np.eye(60), abs=1e-6)
