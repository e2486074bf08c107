"""A Gaussian process on rows of ordered and unordered coordinates, with numpy alone.

Kernel: Matern 5/2 with one length scale for each coordinate; unordered coordinates have the distance 0 or 1. Length
scales, amplitude and noise maximise the likelihood together with weak priors: the logarithms of the length scales are
normal and correlated, so that few observations find one common scale and more tell the coordinates apart. The
maximum is found by Fisher scoring (the Hessian's expectation is known exactly), which needs some ten evaluations.

A process with many cores: numpy's BLAS may start a thread for each, which costs more than it gains on such small
matrices. Set ``OPENBLAS_NUM_THREADS=1`` (``MKL_NUM_THREADS=1``) in the environment before numpy is first imported.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

#: The prior of the length scales: the median for one coordinate (it grows with the root of their number), and the
#: standard deviations of the logarithm that all share, and that each has.
LENGTH = 0.35
COMMON_SPREAD = 0.8
OWN_SPREAD = 0.8

#: The prior of amplitude and noise as variances of standardised values: medians, standard deviations of the logarithm.
AMPLITUDE, AMPLITUDE_SPREAD = 1.0, 0.7
NOISE, NOISE_SPREAD = 1e-3, 2.5

#: The variance of the unknown constant mean.
MEAN_VARIANCE = 1.0

#: Where the search for hyperparameters starts: factors of the prior's length scales and noise.
_STARTS = ((1.0, 1.0), (0.4, 0.1), (1.5, 100.0))

_MOST_STEPS = 12
_LONGEST_STEP = 1.5
_ENOUGH = 3e-3
_JITTER = 1e-8

#: The work of one evaluation, in multiplications: with many coordinates fewer observations choose the length scales.
_WORK = 4e7
_MOST_FITTED = 150


class Kernel(NamedTuple):
    """The covariance of a Gaussian process.

    Attributes:
        unordered: which coordinates are unordered, shape (d,).
        lengths: the length scale of each coordinate, shape (d,).
        amplitude: the variance of the function.
        noise: the variance of the noise.
    """

    unordered: Mask
    lengths: Array
    amplitude: float
    noise: float

    def between(self, a: Array, b: Array) -> Array:
        """Return the covariances of function values at rows, shapes (n, d) and (m, d), as shape (n, m)."""
        left, right = a / self.lengths, b / self.lengths
        u, v = left[:, ~self.unordered], right[:, ~self.unordered]
        square = (u * u).sum(axis=1)[:, None] + (v * v).sum(axis=1)[None, :] - 2 * (u @ v.T)
        for place in np.flatnonzero(self.unordered):
            square += (a[:, place, None] != b[None, :, place]) / self.lengths[place] ** 2
        scaled = np.sqrt(5 * np.maximum(square, 0))
        return self.amplitude * (1 + scaled + scaled * scaled / 3) * np.exp(-scaled) + MEAN_VARIANCE

    def prior(self) -> float:
        """Return the variance of a function value before any observation."""
        return self.amplitude + MEAN_VARIANCE


class Posterior:
    """A Gaussian process after observations, for one or several versions of their values at once.

    Args:
        kernel: the covariance.
        x: rows, shape (n, d).
        y: values, shape (n, versions).
    """

    def __init__(self, kernel: Kernel, x: Array, y: Array) -> None:
        self.kernel = kernel
        self.x = x
        covariance = kernel.between(x, x)
        covariance[np.diag_indices_from(covariance)] += kernel.noise
        self._inverse = np.linalg.inv(_root(covariance))  # of the Cholesky factor
        self._whitened = self._inverse @ y

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return means, shape (m, versions), and standard deviations, shape (m,), of function values at (m, d) rows."""
        solved = self._inverse @ self.kernel.between(self.x, x)
        variance = self.kernel.prior() - np.einsum("nm,nm->m", solved, solved)
        return solved.T @ self._whitened, np.sqrt(np.maximum(variance, 1e-12))

    def extended(self, row: Array, scores: Array) -> Posterior:
        """Return the process after one more observation at a row, shape (d,).

        ``scores``, shape (versions,), say how many standard deviations above the prediction its value is. This costs
        the square of the number of observations, not the cube.
        """
        solved = (self._inverse @ self.kernel.between(self.x, row[None]))[:, 0]
        spread = math.sqrt(max(self.kernel.prior() + self.kernel.noise - solved @ solved, _JITTER))
        n = len(self.x)
        new = Posterior.__new__(Posterior)
        new.kernel = self.kernel
        new.x = np.vstack([self.x, row])
        new._inverse = np.zeros((n + 1, n + 1))
        new._inverse[:n, :n] = self._inverse
        new._inverse[n, :n] = -(solved @ self._inverse) / spread
        new._inverse[n, n] = 1 / spread
        new._whitened = np.vstack([self._whitened, scores])
        return new


class GaussianProcess(NamedTuple):
    """A Gaussian process whose hyperparameters were learnt from observations.

    Attributes:
        kernel: the learnt length scales, amplitude and noise, in units of standardised values.
        posterior: the process after the observations, in the same units.
        centre, scale: the mean and standard deviation of the values as given.
        log_likelihood: how well the hyperparameters explain the standardised values (with their priors).
    """

    kernel: Kernel
    posterior: Posterior
    centre: float
    scale: float
    log_likelihood: float

    @classmethod
    def fit(cls, x: Array, unordered: Mask, y: Array, chosen: npt.NDArray[np.intp] | None = None) -> GaussianProcess:
        """Learn hyperparameters from observations, and return the process after them.

        Args:
            x: coordinates, shape (n, d): ordered ones from 0 to 1, unordered ones any codes. n may be 0.
            unordered: which coordinates are unordered, shape (d,).
            y: values, shape (n,), all finite.
            chosen: the rows that choose the hyperparameters, best first; None for all. At most 150 are used, and
                fewer with many coordinates.
        """
        centre = float(y.mean()) if len(y) else 0.0
        scale = float(y.std()) if len(y) else 1.0
        scale = scale if scale > 1e-12 * (abs(centre) + 1e-300) else 1.0
        z = (y - centre) / scale
        most = min(_MOST_FITTED, int((_WORK / (x.shape[1] + 2)) ** (1 / 3)))
        used = np.arange(len(y)) if chosen is None else chosen
        used = used[:most]
        kernel, likelihood = _learnt(x[used], unordered, z[used])
        return cls(kernel, Posterior(kernel, x, z[:, None]), centre, scale, likelihood)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return means and standard deviations, shape (m,), of noise-free values at rows of shape (m, d)."""
        mean, deviation = self.posterior.predict(x)
        return self.centre + self.scale * mean[:, 0], self.scale * deviation


class _Evaluation(NamedTuple):
    """The penalised log likelihood at hyperparameters: value, gradient and expected Hessian (negative)."""

    theta: Array
    value: float
    gradient: Array
    information: Array


class _Likelihood:
    """The penalised likelihood of hyperparameters: logarithms of length scales, amplitude and noise, in this order."""

    def __init__(self, x: Array, unordered: Mask, y: Array) -> None:
        d = x.shape[1]
        difference = x.T[:, :, None] - x.T[:, None, :]
        self.distances = np.where(unordered[:, None, None], difference != 0, difference * difference)
        self.y = y
        length = math.log(LENGTH * math.sqrt(max(1, d)))
        self.mean = np.array([length] * d + [math.log(AMPLITUDE), math.log(NOISE)])
        covariance = np.diag([OWN_SPREAD**2] * d + [AMPLITUDE_SPREAD**2, NOISE_SPREAD**2])
        covariance[:d, :d] += COMMON_SPREAD**2
        self.precision = np.linalg.inv(covariance)

    def at(self, theta: Array) -> _Evaluation:
        """Evaluate at hyperparameters, shape (d + 2,)."""
        d, n = len(theta) - 2, len(self.y)
        weights = np.exp(-2 * theta[:d])
        amplitude, noise = math.exp(theta[d]), math.exp(theta[d + 1])
        scaled = np.sqrt(5 * np.tensordot(weights, self.distances, axes=1))
        decay = amplitude * np.exp(-scaled)
        smooth = decay * (1 + scaled + scaled * scaled / 3)
        root = _root(smooth + MEAN_VARIANCE + noise * np.eye(n))
        inverse_root = np.linalg.inv(root)
        inverse = inverse_root.T @ inverse_root
        alpha = inverse @ self.y
        slopes = np.empty((d + 2, n, n))  # derivatives of the covariance
        np.multiply(self.distances, weights[:, None, None], out=slopes[:d])
        slopes[:d] *= decay * (1 + scaled) * (5 / 3)
        slopes[d] = smooth
        slopes[d + 1] = noise * np.eye(n)
        products = inverse @ slopes
        off = theta - self.mean
        pull = self.precision @ off
        gradient = 0.5 * ((slopes @ alpha) @ alpha - np.trace(products, axis1=1, axis2=2)) - pull
        flat = products.reshape(d + 2, -1)
        information = 0.5 * flat @ products.transpose(0, 2, 1).reshape(d + 2, -1).T + self.precision
        value = -0.5 * self.y @ alpha - np.log(np.diag(root)).sum() - 0.5 * off @ pull
        return _Evaluation(theta, float(value), gradient, information)

    def climbed(self, theta: Array) -> _Evaluation:
        """Return the best hyperparameters that damped Fisher scoring from ``theta`` finds."""
        best = self.at(theta)
        damping = 0.0
        for _ in range(_MOST_STEPS):
            step = np.linalg.solve(best.information + damping * np.diag(np.diag(best.information)), best.gradient)
            step *= min(1.0, _LONGEST_STEP / max(1e-12, float(np.abs(step).max())))
            tried = self.at(best.theta + step)
            gain = tried.value - best.value
            if gain > 0:
                best, damping = tried, damping / 4
            else:
                damping = max(0.3, 4 * damping)
            if abs(gain) < _ENOUGH:
                break
        return best


def _learnt(x: Array, unordered: Mask, y: Array) -> tuple[Kernel, float]:
    """Return the kernel whose hyperparameters are the best found, and their penalised log likelihood."""
    likelihood = _Likelihood(x, unordered, y)
    d = x.shape[1]
    found = []
    for length, noise in _STARTS:
        start = likelihood.mean.copy()
        start[:d] += math.log(length)
        start[d + 1] += math.log(noise)
        found.append(likelihood.climbed(start))
    best = max(found, key=lambda one: one.value)
    lengths = np.exp(best.theta[:d])
    noise = max(math.exp(best.theta[d + 1]), _JITTER)
    return Kernel(unordered, lengths, math.exp(best.theta[d]), noise), best.value


def _root(covariance: Array) -> Array:
    """Return the Cholesky factor; with a growing jitter where rounding has made a matrix indefinite."""
    jitter = _JITTER
    while True:
        try:
            root: Array = np.linalg.cholesky(covariance + jitter * np.eye(len(covariance)))
        except np.linalg.LinAlgError:
            jitter *= 10
        else:
            return root
