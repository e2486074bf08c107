"""A Gaussian process on rows of ordered and unordered coordinates, with numpy alone.

Kernel: Matern 5/2 with one length scale for each coordinate; unordered coordinates have the distance 0 or 1. Length
scales, amplitude and noise maximise the likelihood together with weak priors: the logarithms of the length scales are
normal and correlated, so that few observations find one common scale and more tell the coordinates apart. The
maximum is found by Fisher scoring (the Hessian's expectation is known exactly), which needs some ten evaluations.

A coordinate below 0 is that of a parameter that the point does not have. Two such points are equal in it. From a point
that has the parameter one is as far as if it stood beside the middle of the range, at a fixed height (the wedge of
D. Horn and others 2019); the length scale of the parameter measures that, too.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from slurmsweep.search.bayes.arrays import Array, Mask


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

#: How much worse, in standard deviations, a search expects the ends of ranges to be than their middle (``bowl``).
BOWL = 0.6

#: The standard deviations of what it does not know of this before any result: by how much the bowl is deeper or
#: shallower than expected, and a linear trend over all ranges. So a few results that get better towards an end tell.
DOUBT = 0.3
TREND = 0.5

#: The least distance of a point without a parameter from one that has it, as a share of the parameter's range.
HEIGHT = 0.5

#: Where the search for hyperparameters may start: factors of the prior's length scales and noise. The best two do.
_STARTS = ((1.0, 1.0), (0.4, 0.1), (1.5, 100.0))
_CLIMBS = 2

_MOST_STEPS = 12
_LONGEST_STEP = 1.5
_ENOUGH = 3e-2
_JITTER = 1e-8

#: Covariances that are computed at a time: what fits into a processor's cache is done three times as fast.
_IN_CACHE = 32768

#: The work of one evaluation, in multiplications: with many coordinates fewer observations choose the length scales.
_WORK = 2e7
_MOST_FITTED = 120


class Kernel(NamedTuple):
    """The covariance of a Gaussian process before any observation.

    Attributes:
        unordered: which coordinates are unordered, shape (d,).
        lengths: the length scale of each coordinate, shape (d,).
        amplitude: the variance of the function.
        noise: the variance of the noise.
        trends: whether the function has a bowl and a linear trend of unknown strength (``DOUBT``, ``TREND``) too.
    """

    unordered: Mask
    lengths: Array
    amplitude: float
    noise: float
    trends: bool = False

    def between(self, a: Array, b: Array) -> Array:
        """Return the covariances of function values at rows, shapes (n, d) and (m, d), as shape (n, m)."""
        left, right = _filled(a) / self.lengths, _filled(b) / self.lengths
        u, v = left[:, ~self.unordered], right[:, ~self.unordered]
        if (a < 0).any() or (b < 0).any():
            heights = HEIGHT / self.lengths[~self.unordered]
            u = np.hstack([u, heights * (a[:, ~self.unordered] < 0)])
            v = np.hstack([v, heights * (b[:, ~self.unordered] < 0)])
        covariance: Array = _shapes(a, self.unordered, self.trends) @ _shapes(b, self.unordered, self.trends).T
        products, from_left, from_right = u @ v.T, (u * u).sum(axis=1), (v * v).sum(axis=1)
        rows = max(1, _IN_CACHE // max(1, len(b)))
        for start in range(0, len(a), rows):
            here = slice(start, start + rows)
            square = from_left[here, None] + from_right[None, :] - 2 * products[here]
            for place in np.flatnonzero(self.unordered):
                square += (a[here, place, None] != b[None, :, place]) / self.lengths[place] ** 2
            scaled = np.sqrt(5 * np.maximum(square, 0))
            covariance[here] += self.amplitude * (1 + scaled + scaled * scaled / 3) * np.exp(-scaled)
        return covariance

    def variance(self, x: Array) -> Array:
        """Return the variances of function values at rows before any observation, shape (n,)."""
        shapes = _shapes(x, self.unordered, self.trends)
        variance: Array = self.amplitude + (shapes * shapes).sum(axis=1)
        return variance


class Posterior:
    """A Gaussian process after observations, for one or several versions of their values at once.

    Args:
        kernel: the covariance before.
        bowl: how much higher the ends of ranges are expected to be than their middle: the standard deviation over the
            unit cube of a quadratic of the ordered coordinates.
        x: rows, shape (n, d).
        inverse: the inverse of the Cholesky factor of the observations' covariance, noise included; shape (n, n).
        whitened: the observations less their expectations, times ``inverse``; shape (n, versions).
    """

    def __init__(self, kernel: Kernel, bowl: float, x: Array, inverse: Array, whitened: Array) -> None:
        self.kernel = kernel
        self.bowl = bowl
        self.x = x
        self._inverse = inverse
        self._whitened = whitened

    @classmethod
    def of(cls, kernel: Kernel, bowl: float, x: Array, y: Array, variances: Array | float = 0.0) -> Posterior:
        """Return the process after values of shape (n, versions) at rows of shape (n, d).

        ``variances``, shape (n,), are known ones of the values, beside the noise.
        """
        covariance = kernel.between(x, x) + (kernel.noise + variances) * np.eye(len(x))
        inverse = np.asarray(np.linalg.inv(_root(covariance)), dtype=np.float64)
        return cls(kernel, bowl, x, inverse, inverse @ (y - bowl * _bowl(x, kernel.unordered)[:, None]))

    def precision(self) -> Array:
        """Return the inverse of the observations' covariance, noise included; shape (n, n)."""
        return self._inverse.T @ self._inverse

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return means, shape (m, versions), and standard deviations, shape (m,), of function values at (m, d) rows."""
        solved = self._inverse @ self.kernel.between(self.x, x)
        variance = self.kernel.variance(x) - np.einsum("nm,nm->m", solved, solved)
        return solved.T @ self._whitened + self.bowl * _bowl(x, self.kernel.unordered)[:, None], np.sqrt(
            np.maximum(variance, 1e-12)
        )

    def extended(self, row: Array, scores: Array) -> Posterior:
        """Return the process after one more observation at a row, shape (d,).

        ``scores``, shape (versions,), say how many standard deviations above the prediction its value is. This costs
        the square of the number of observations, not the cube.
        """
        n, x = len(self.x), np.vstack([self.x, row])
        covariance = self.kernel.between(x, row[None])[:, 0]
        solved = self._inverse @ covariance[:n]
        spread = math.sqrt(max(float(covariance[n]) + self.kernel.noise - float(solved @ solved), _JITTER))
        inverse = np.zeros((n + 1, n + 1))
        inverse[:n, :n] = self._inverse
        inverse[n, :n] = -(solved @ self._inverse) / spread
        inverse[n, n] = 1 / spread
        return Posterior(self.kernel, self.bowl, x, inverse, np.vstack([self._whitened, scores]))


class GaussianProcess(NamedTuple):
    """A Gaussian process whose hyperparameters were learnt from observations.

    Attributes:
        kernel: the learnt length scales, amplitude and noise, in units of standardised values.
        posterior: the process after the observations, in the same units.
        centre, scale: the mean and standard deviation of the values as given.
        log_likelihood: how well the hyperparameters explain the standardised values, their own priors included.
    """

    kernel: Kernel
    posterior: Posterior
    centre: float
    scale: float
    log_likelihood: float

    @classmethod
    def fit(  # noqa: PLR0913 (data, and how to use it)
        cls,
        x: Array,
        unordered: Mask,
        y: Array,
        chosen: npt.NDArray[np.intp] | None = None,
        *,
        bowl: float = 0.0,
        trends: bool = False,
        versions: int = 1,
        near: Kernel | None = None,
        variances: Array | None = None,
    ) -> GaussianProcess:
        """Learn hyperparameters from observations, and return the process after them.

        Args:
            x: coordinates, shape (n, d): ordered ones from 0 to 1, unordered ones any codes. n may be 0.
            unordered: which coordinates are unordered, shape (d,).
            y: values, shape (n,), all finite.
            chosen: the rows that choose the hyperparameters, the most useful first; None for all. At most 120 are used,
                and fewer with many coordinates.
            bowl: the expectation that the ends of ranges have higher values than their middle; see :class:`Posterior`.
            trends: whether the values may have trends of unknown strength; see :class:`Kernel`.
            versions: copies of the values in the posterior.
            near: a kernel that was learnt from nearly the same observations: the search for this one starts there only,
                which takes a third of the time.
            variances: of the values, shape (n,), as far as they are known; what is noise beside them is learnt.
        """
        centre = float(y.mean()) if len(y) else 0.0
        scale = float(y.std()) if len(y) else 1.0
        scale = scale if scale > 1e-12 * abs(centre) + 1e-300 else 1.0
        z = (y - centre) / scale
        most = min(_MOST_FITTED, int((_WORK / (x.shape[1] + 2)) ** (1 / 3)))
        used = (np.arange(len(y)) if chosen is None else chosen)[:most]
        known = np.zeros(len(y)) if variances is None else variances / (scale * scale)
        expected = bowl * _bowl(x[used], unordered)
        likelihood = _Likelihood(x[used], unordered, z[used] - expected, trends=trends, variances=known[used])
        best = likelihood.highest(near)
        *logs, amplitude, noise = best.theta
        kernel = Kernel(unordered, np.exp(logs), math.exp(amplitude), max(math.exp(noise), _JITTER), trends)
        posterior = Posterior.of(kernel, bowl, x, np.repeat(z[:, None], versions, axis=1), known)
        return cls(kernel, posterior, centre, scale, best.value)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Return means and standard deviations, shape (m,), of noise-free values at rows of shape (m, d)."""
        mean, deviation = self.posterior.predict(x)
        return self.centre + self.scale * mean.mean(axis=1), self.scale * deviation


class _Evaluation(NamedTuple):
    """The penalised log likelihood at hyperparameters: value, gradient and expected Hessian (negative)."""

    theta: Array
    value: float
    gradient: Array
    information: Array


class _Likelihood:
    """The penalised likelihood of hyperparameters: logarithms of length scales, amplitude and noise, in this order.

    Args:
        x: rows, shape (n, d).
        unordered: which coordinates are unordered, shape (d,).
        y: values less their expectation, shape (n,).
        trends: whether the values have trends; see :class:`Kernel`.
        variances: known ones of the values, shape (n,).
    """

    def __init__(self, x: Array, unordered: Mask, y: Array, *, trends: bool, variances: Array) -> None:
        n, d = x.shape
        columns, off = _filled(x).T, x.T < 0
        difference = columns[:, :, None] - columns[:, None, :]
        squares = np.where(unordered[:, None, None], difference != 0, difference * difference)
        if off.any():
            squares[~unordered] += HEIGHT**2 * (off[~unordered, :, None] != off[~unordered, None, :])
        self._distances = squares.reshape(d, n * n)
        shapes = _shapes(x, unordered, trends)
        self._fixed = shapes @ shapes.T + variances * np.eye(n)
        self._y = y
        self.mean = np.array([math.log(LENGTH * math.sqrt(max(1, d)))] * d + [math.log(AMPLITUDE), math.log(NOISE)])
        covariance = np.diag([OWN_SPREAD**2] * d + [AMPLITUDE_SPREAD**2, NOISE_SPREAD**2])
        covariance[:d, :d] += COMMON_SPREAD**2
        self._precision = np.linalg.inv(covariance)

    def at(self, theta: Array) -> _Evaluation:
        """Evaluate at hyperparameters, shape (d + 2,)."""
        d, n = len(theta) - 2, len(self._y)
        weights = np.exp(-2 * theta[:d])
        amplitude, noise = math.exp(theta[d]), math.exp(theta[d + 1])
        scaled = np.sqrt(5 * (weights @ self._distances))
        decay = amplitude * np.exp(-scaled)
        smooth = decay * (1 + scaled + scaled * scaled / 3)
        root = _root(smooth.reshape(n, n) + self._fixed + noise * np.eye(n))
        inverse_root = np.linalg.inv(root)
        inverse = inverse_root.T @ inverse_root
        alpha = inverse @ self._y
        # derivatives of the covariance by length scales and amplitude; that by the noise is a multiple of the identity
        slopes = np.empty((d + 1, n * n))
        np.multiply(self._distances, weights[:, None] * (decay * (1 + scaled) * (5 / 3)), out=slopes[:d])
        slopes[d] = smooth
        products = np.empty((d + 2, n, n))
        np.matmul(slopes.reshape((d + 1) * n, n), inverse, out=products[: d + 1].reshape((d + 1) * n, n))
        products[d + 1] = noise * inverse
        fit = np.append(slopes @ np.outer(alpha, alpha).reshape(-1), noise * (alpha @ alpha))
        off = theta - self.mean
        pull = self._precision @ off
        gradient = 0.5 * (fit - np.trace(products, axis1=1, axis2=2)) - pull
        turned = products.transpose(0, 2, 1).reshape(d + 2, n * n)
        information = 0.5 * products.reshape(d + 2, n * n) @ turned.T + self._precision
        value = -0.5 * self._y @ alpha - np.log(np.diag(root)).sum() - 0.5 * off @ pull
        return _Evaluation(theta, float(value), gradient, information)

    def highest(self, near: Kernel | None) -> _Evaluation:
        """Return the best hyperparameters that are found, from those of a kernel on, or from the prior's."""
        if near is not None:
            starts = [self.at(np.log([*near.lengths, near.amplitude, near.noise]))]
        else:
            starts = []
            for length, noise in _STARTS:
                theta = self.mean.copy()
                theta[:-2] += math.log(length)
                theta[-1] += math.log(noise)
                starts.append(self.at(theta))
            starts.sort(key=lambda one: -one.value)
        return max((self._climbed(one) for one in starts[:_CLIMBS]), key=lambda one: one.value)

    def _climbed(self, best: _Evaluation) -> _Evaluation:
        """Return the best hyperparameters that damped Fisher scoring from an evaluation finds."""
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


def _shapes(x: Array, unordered: Mask, trends: bool) -> Array:  # noqa: FBT001 (a field of the kernel)
    """Return the functions that a sample is a sum of, besides the Matern part, with standard normal factors.

    They are a constant and, with ``trends``, the bowl and a line in each ordered coordinate; shape (n, 1) or
    (n, 2 + ordered coordinates).
    """
    if not trends:
        return np.full((len(x), 1), math.sqrt(MEAN_VARIANCE))
    ordered = 2 * _filled(x)[:, ~unordered] - 1
    shapes = np.empty((len(x), ordered.shape[1] + 2))
    shapes[:, 0] = math.sqrt(MEAN_VARIANCE)
    shapes[:, 1] = DOUBT * _bowl(x, unordered)
    shapes[:, 2:] = ordered * (TREND * math.sqrt(3 / max(1, ordered.shape[1])))
    return shapes


def _bowl(x: Array, unordered: Mask) -> Array:
    """Return a quadratic of ordered coordinates with mean 0 and variance 1 over the unit cube, shape (n,)."""
    ordered = 2 * x[:, ~unordered] - 1
    d = ordered.shape[1]
    squares = np.where(x[:, ~unordered] < 0, 1 / 3, ordered * ordered)  # an absent one is neither good nor bad
    bowl: Array = (squares.sum(axis=1) - d / 3) * math.sqrt(45 / (4 * max(1, d)))
    return bowl


def _filled(x: Array) -> Array:
    """Return rows with the middle of the range in the place of absent parameters."""
    return np.where(x < 0, 0.5, x)


def _root(covariance: Array) -> Array:
    """Return the Cholesky factor; with a growing jitter where rounding has made a matrix indefinite."""
    jitter = _JITTER
    while True:
        with suppress(np.linalg.LinAlgError):
            return np.asarray(np.linalg.cholesky(covariance + jitter * np.eye(len(covariance))), dtype=np.float64)
        jitter *= 10
