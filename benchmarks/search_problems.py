"""The problems of the search benchmark: ``python benchmarks/search.py --problems FILE.py`` takes others in this form.

``PROBLEMS`` has a class by name, with:

- ``space``: W&B's parameters, the mapping under ``parameters:`` of a sweep file.
- ``extensions``, where it has any: the mapping under ``slurmsweep:``, such as ``{"conditions": {...}}``. Other engines
  do not know it: a parameter that they give where it does not exist changes nothing.
- ``evaluate(parameters, rng)``: the metric of a trial; ``rng`` is a ``numpy.random.Generator`` of this trial. NaN, or
  an ArithmeticError, ValueError or RuntimeError, is a failed trial.
- ``true(parameters)``, where known: the metric without noise. Engines are judged by it, at the trial that they
  observed as the best. Without it by what was observed.
- ``optimum``, where known: the best that ``true`` can be. Regret counts from there, else from the best of all runs.
- ``goal``: ``"maximize"``, or ``"minimize"`` where it is missing.

The functions are textbook ones, some of them moved so that no optimum lies in the middle; the stand-ins for training
runs have what sweep files have: logarithms, integers, quanta, choices, parameters that matter only beside others, and
noise. The real ones train scikit-learn models on the data sets that come with it, in a few milliseconds a trial.
"""

from __future__ import annotations

import functools
import math
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def box(count: int, low: float, high: float) -> dict[str, Any]:
    """Return so many real parameters x0, x1, ... with the same bounds."""
    return {f"x{n}": {"distribution": "uniform", "min": low, "max": high} for n in range(count)}


def vector(parameters: dict[str, Any]) -> NDArray[np.float64]:
    """Return the parameters of :func:`box` as numbers in their order."""
    return np.array([parameters[f"x{n}"] for n in range(len(parameters))], dtype=float)


class Function:
    """A function that is known, with normal noise of a standard deviation."""

    noise: ClassVar[float] = 0.0

    def true(self, parameters: dict[str, Any]) -> float:
        raise NotImplementedError

    def evaluate(self, parameters: dict[str, Any], rng: np.random.Generator) -> float:
        return self.true(parameters) + self.noise * float(rng.standard_normal())


class Branin(Function):
    """Two dimensions, three equal minima."""

    space = {
        "x0": {"distribution": "uniform", "min": -5, "max": 10},
        "x1": {"distribution": "uniform", "min": 0, "max": 15},
    }
    optimum = 0.39788735772973816

    def true(self, parameters: dict[str, Any]) -> float:
        x, y = vector(parameters)
        valley = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
        return float(valley**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


class Hartmann6(Function):
    """Six dimensions, six local minima."""

    space = box(6, 0, 1)
    optimum = -3.32236801141551
    scales = np.array(
        [
            [10, 3, 17, 3.5, 1.7, 8],
            [0.05, 10, 17, 0.1, 8, 14],
            [3, 3.5, 1.7, 10, 17, 8],
            [17, 8, 0.05, 10, 0.1, 14],
        ]
    )
    centres = np.array(
        [
            [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
            [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
            [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
            [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
        ]
    )

    def true(self, parameters: dict[str, Any]) -> float:
        distance = (self.scales * (vector(parameters) - self.centres) ** 2).sum(axis=1)
        return -float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-distance))


class Ackley5(Function):
    """Five dimensions, a funnel with many local minima."""

    space = box(5, -32.768, 32.768)
    optimum = 0.0

    def true(self, parameters: dict[str, Any]) -> float:
        x = vector(parameters) - np.array([7.1, -11.3, 3.9, 14.2, -5.6])
        bowl = -20 * math.exp(-0.2 * math.sqrt(np.mean(x**2)))
        return float(bowl - math.exp(np.mean(np.cos(2 * np.pi * x))) + 20 + math.e)


class Rosenbrock4(Function):
    """Four dimensions, a curved valley; values over six orders of magnitude."""

    space = box(4, -3, 3)
    optimum = 0.0

    def true(self, parameters: dict[str, Any]) -> float:
        x = vector(parameters)
        return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


class Levy5(Function):
    """Five dimensions, waves over a bowl."""

    space = box(5, -10, 10)
    optimum = 0.0

    def true(self, parameters: dict[str, Any]) -> float:
        w = 1 + (vector(parameters) - 1) / 4
        middle = np.sum((w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2))
        last = (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)
        return float(np.sin(np.pi * w[0]) ** 2 + middle + last)


class Styblinski4(Function):
    """Four dimensions, sixteen local optima; maximised, with noise."""

    space = box(4, -5, 5)
    goal = "maximize"
    optimum = 4 * 39.16616570377142
    noise = 1.0

    def true(self, parameters: dict[str, Any]) -> float:
        x = vector(parameters)
        return -float(np.sum(x**4 - 16 * x**2 + 5 * x)) / 2


class RotatedEllipsoid6(Function):
    """Six dimensions that do not act one by one: a turned and moved bowl, a thousand times steeper on one side."""

    space = box(6, -5, 5)
    optimum = 0.0
    turn = np.linalg.qr(np.random.default_rng(4).standard_normal((6, 6)))[0]
    centre = np.random.default_rng(5).uniform(-3, 3, 6)

    def true(self, parameters: dict[str, Any]) -> float:
        x = self.turn @ (vector(parameters) - self.centre)
        return float(np.logspace(0, 3, 6) @ x**2)


class MovedRastrigin3(Function):
    """Three dimensions, a hundred local minima."""

    space = box(3, -5.12, 5.12)
    optimum = 0.0

    def true(self, parameters: dict[str, Any]) -> float:
        x = vector(parameters) - np.array([1.3, -2.2, 0.7])
        return float(10 * len(x) + np.sum(x**2 - 10 * np.cos(2 * np.pi * x)))


class Irrelevant(Function):
    """Ten dimensions of which two matter, with noise."""

    space = box(10, 0, 1)
    optimum = 0.0
    noise = 0.02

    def true(self, parameters: dict[str, Any]) -> float:
        x = vector(parameters)
        return float((x[2] - 0.71) ** 2 * 4 + abs(x[7] - 0.27))


class Corner5(Function):
    """Five dimensions with the best values near the ends of their ranges, as when a range was chosen too narrow."""

    space = box(5, 0, 1)
    optimum = 0.0
    noise = 0.02
    best = np.array([0.97, 0.04, 1.0, 0.0, 0.9])

    def true(self, parameters: dict[str, Any]) -> float:
        return float(np.sum(np.abs(vector(parameters) - self.best) ** 1.5))


class Training(Function):
    """A stand-in for training a network: momentum matters for one optimiser only, and the steps of some are large."""

    space = {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
        "weight_decay": {"distribution": "log_uniform_values", "min": 1e-6, "max": 0.1},
        "layers": {"min": 1, "max": 8},
        "width": {"distribution": "q_log_uniform_values", "min": 16, "max": 1024, "q": 16},
        "dropout": {"distribution": "q_uniform", "min": 0.0, "max": 0.6, "q": 0.05},
        "batch_size": {"values": [16, 32, 64, 128, 256]},
        "optimizer": {"values": ["sgd", "adam", "rmsprop", "adagrad"]},
        "momentum": {"distribution": "uniform", "min": 0.0, "max": 0.99},
    }
    optimum = 0.2
    noise = 0.01
    best_lr = {"sgd": -1.2, "adam": -3.1, "rmsprop": -3.4, "adagrad": -2.0}
    floor = {"sgd": 0.02, "adam": 0.0, "rmsprop": 0.03, "adagrad": 0.06}

    def true(self, parameters: dict[str, Any]) -> float:
        p, kind = parameters, parameters["optimizer"]
        batch = math.log2(p["batch_size"] / 64)
        momentum = 0.08 * (p["momentum"] - 0.9) ** 2 if kind == "sgd" else 0.0
        rate = math.log10(p["lr"]) - self.best_lr[kind] - 0.15 * batch
        size = 0.03 * (p["layers"] - 4) ** 2 / 4 + 0.04 * (math.log2(p["width"] / 256)) ** 2 / 4
        held = 0.02 * (math.log10(p["weight_decay"]) + 3.3) ** 2 / 2 + 0.3 * (p["dropout"] - 0.25) ** 2
        return 0.2 + self.floor[kind] + min(0.7, 0.07 * rate**2) + size + held + momentum + 0.01 * batch**2


class Diverging(Training):
    """The same, where a rate far above the best one gives no number at all: about a third of random trials fail."""

    def evaluate(self, parameters: dict[str, Any], rng: np.random.Generator) -> float:
        above = math.log10(parameters["lr"]) - self.best_lr[parameters["optimizer"]]
        return math.nan if above > 0.5 else super().evaluate(parameters, rng)


class Branches(Function):
    """One of three models, each with two parameters of its own that the others ignore; nested as in a sweep file."""

    space = {
        "model": {"values": ["forest", "boosting", "kernel"]},
        "forest": {
            "parameters": {
                "depth": {"min": 2, "max": 30},
                "share": {"distribution": "uniform", "min": 0.1, "max": 1.0},
            }
        },
        "boosting": {
            "parameters": {
                "rate": {"distribution": "log_uniform_values", "min": 1e-3, "max": 1.0},
                "trees": {"distribution": "q_log_uniform_values", "min": 10, "max": 1000, "q": 10},
            }
        },
        "kernel": {
            "parameters": {
                "c": {"distribution": "log_uniform_values", "min": 1e-3, "max": 1e3},
                "gamma": {"distribution": "log_uniform_values", "min": 1e-5, "max": 10.0},
            }
        },
    }
    optimum = 0.1
    noise = 0.005

    def true(self, parameters: dict[str, Any]) -> float:
        if parameters["model"] == "forest":
            own = parameters["forest"]
            return float(0.16 + 0.0004 * (own["depth"] - 17) ** 2 + 0.2 * (own["share"] - 0.4) ** 2)
        if parameters["model"] == "boosting":
            own = parameters["boosting"]
            work = math.log10(own["rate"]) + math.log10(own["trees"])
            return 0.1 + 0.12 * (work - 1.3) ** 2 + 0.02 * (math.log10(own["rate"]) + 1.4) ** 2
        own = parameters["kernel"]
        c, gamma = math.log10(own["c"]), math.log10(own["gamma"])
        return min(0.6, 0.13 + 0.05 * (c - 1.1) ** 2 + 0.08 * (gamma + 2.2 + 0.4 * (c - 1.1)) ** 2)


class Choices(Function):
    """Five choices without order that act in pairs, and one integer; 3,000 points, with noise."""

    space = {
        **{f"c{n}": {"values": list("abcd"[: 3 + n % 2])} for n in range(5)},
        "width": {"min": 1, "max": 7},
    }
    noise = 0.02
    pairs = np.random.default_rng(11).uniform(0, 1, (5, 5, 4, 4)) * 0.3
    single = np.random.default_rng(12).uniform(0, 1, (5, 4))

    def true(self, parameters: dict[str, Any]) -> float:
        at = ["abcd".index(parameters[f"c{n}"]) for n in range(5)]
        alone = sum(float(self.single[n, at[n]]) for n in range(5))
        both = sum(float(self.pairs[n, m, at[n], at[m]]) for n in range(5) for m in range(n))
        return alone + both + 0.02 * (parameters["width"] - 3 - at[0]) ** 2


class Distributions(Function):
    """One of each continuous distribution that W&B has; large values, a few of them extremely large."""

    space = {
        "n": {"distribution": "normal", "mu": 2.0, "sigma": 1.5},
        "s": {"distribution": "log_normal", "mu": 0.0, "sigma": 1.0},
        "b": {"distribution": "beta", "a": 2.0, "b": 3.0},
        "i": {"distribution": "inv_log_uniform_values", "min": 1e-4, "max": 1.0},
        "q": {"distribution": "q_normal", "mu": 10.0, "sigma": 5.0, "q": 1},
    }
    optimum = 0.0

    def true(self, parameters: dict[str, Any]) -> float:
        p = parameters
        centre = (p["n"] - 3.1) ** 2 + 3 * math.log(p["s"] / 0.6) ** 2 + 20 * (p["b"] - 0.55) ** 2
        return 100 * math.expm1(centre + math.log10(p["i"] / 3e-3) ** 2 + 0.02 * (p["q"] - 14) ** 2)


@functools.cache
def data(name: str, train: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return a data set of scikit-learn, scaled and split: inputs and targets to learn from, and those to judge by."""
    from sklearn import datasets

    inputs, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(inputs))
    inputs = (inputs - inputs.mean(axis=0)) / np.maximum(inputs.std(axis=0), 1e-9)
    learn, judge = order[:train], order[train : train + 600]
    return inputs[learn], targets[learn], inputs[judge], targets[judge]


class Learned:
    """A scikit-learn model on held-out data: log loss of a classifier, error of a regression as a share of variance.

    Where the model draws random numbers, a trial has its own seed, and the mean of eight other seeds is the truth.
    """

    name: ClassVar[str]
    train: ClassVar[int]
    random: ClassVar[bool] = False

    def model(self, parameters: dict[str, Any], seed: int) -> Any:
        raise NotImplementedError

    def score(self, parameters: dict[str, Any], seed: int) -> float:
        from sklearn.metrics import log_loss

        inputs, targets, judged, known = data(self.name, self.train)
        model = self.model(parameters, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some points are bad on purpose: they do not converge
            model.fit(inputs, targets)
        if hasattr(model, "predict_proba"):
            return float(log_loss(known, model.predict_proba(judged), labels=np.unique(targets)))
        return float(np.mean((model.predict(judged) - known) ** 2) / np.var(known))

    def evaluate(self, parameters: dict[str, Any], rng: np.random.Generator) -> float:
        return self.score(parameters, int(rng.integers(10**6)) if self.random else 0)

    def true(self, parameters: dict[str, Any]) -> float:
        return float(np.mean([self.score(parameters, seed) for seed in range(8 if self.random else 1)]))


class SvrDiabetes(Learned):
    """Support vectors for a regression: three logarithms and a kernel, of which the degree matters for one."""

    name, train = "diabetes", 220
    space = {
        "C": {"distribution": "log_uniform_values", "min": 1e-2, "max": 1e4},
        "gamma": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
        "epsilon": {"distribution": "log_uniform_values", "min": 1e-2, "max": 100.0},
        "kernel": {"values": ["rbf", "poly", "sigmoid"]},
        "degree": {"min": 1, "max": 4},
    }

    def model(self, parameters: dict[str, Any], seed: int) -> Any:  # noqa: ARG002 - it draws nothing
        from sklearn.svm import SVR

        return SVR(max_iter=20_000, **parameters)


class BoostingDiabetes(Learned):
    """Gradient boosting for a regression."""

    name, train, random = "diabetes", 150, True
    space = {
        "learning_rate": {"distribution": "log_uniform_values", "min": 5e-3, "max": 1.0},
        "n_estimators": {"distribution": "q_log_uniform_values", "min": 5, "max": 30, "q": 5},
        "max_depth": {"min": 1, "max": 6},
        "subsample": {"distribution": "q_uniform", "min": 0.3, "max": 1.0, "q": 0.1},
        "min_samples_leaf": {"values": [1, 2, 4, 8, 16, 32]},
        "loss": {"values": ["squared_error", "huber"]},
    }

    def model(self, parameters: dict[str, Any], seed: int) -> Any:
        from sklearn.ensemble import GradientBoostingRegressor

        # a quantised parameter of W&B may round out of its bounds
        share = min(1.0, parameters["subsample"])
        return GradientBoostingRegressor(random_state=seed, **{**parameters, "subsample": share})


class MlpDigits(Learned):
    """A small network for digits, a few epochs."""

    name, train, random = "digits", 300, True
    space = {
        "learning_rate_init": {"distribution": "log_uniform_values", "min": 1e-4, "max": 0.3},
        "alpha": {"distribution": "log_uniform_values", "min": 1e-6, "max": 10.0},
        "hidden": {"values": [8, 16, 32, 64]},
        "batch_size": {"values": [20, 50, 100]},
        "activation": {"values": ["relu", "tanh", "logistic"]},
        "beta_1": {"distribution": "uniform", "min": 0.5, "max": 0.99},
    }

    def model(self, parameters: dict[str, Any], seed: int) -> Any:
        from sklearn.neural_network import MLPClassifier

        others = {name: value for name, value in parameters.items() if name != "hidden"}
        return MLPClassifier((parameters["hidden"],), max_iter=6, random_state=seed, **others)


class LogisticCancer(Learned):
    """An elastic net by stochastic gradients, on few patients."""

    name, train, random = "breast_cancer", 120, True
    space = {
        "alpha": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1.0},
        "l1_ratio": {"distribution": "uniform", "min": 0.0, "max": 1.0},
        "eta0": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
        "power_t": {"distribution": "uniform", "min": 0.0, "max": 1.0},
        "learning_rate": {"values": ["constant", "invscaling", "optimal"]},
        "max_iter": {"distribution": "q_log_uniform_values", "min": 5, "max": 50, "q": 5},
        "average": {"values": [False, True]},
    }

    def model(self, parameters: dict[str, Any], seed: int) -> Any:
        from sklearn.linear_model import SGDClassifier

        return SGDClassifier(loss="log_loss", penalty="elasticnet", tol=None, random_state=seed, **parameters)


class ProjectionWine(Learned):
    """A projection by a kernel and a logistic model behind it: what the kernel needs depends on which it is."""

    name, train = "wine", 60
    space = {
        "components": {"min": 1, "max": 13},
        "kernel": {"values": ["linear", "rbf", "poly", "cosine"]},
        "gamma": {"distribution": "log_uniform_values", "min": 1e-4, "max": 10.0},
        "degree": {"min": 2, "max": 5},
        "C": {"distribution": "log_uniform_values", "min": 1e-3, "max": 1e3},
    }

    def model(self, parameters: dict[str, Any], seed: int) -> Any:  # noqa: ARG002 - it draws nothing
        from sklearn.decomposition import KernelPCA
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        shape = {name: parameters[name] for name in ("kernel", "gamma", "degree")}
        project = KernelPCA(parameters["components"], eigen_solver="dense", **shape)
        return make_pipeline(project, LogisticRegression(C=parameters["C"], max_iter=100))


class ConditionalTraining(Training):
    """The same, where momentum is a parameter of its one optimiser."""

    extensions: ClassVar[dict[str, Any]] = {"conditions": {"momentum": {"optimizer": "sgd"}}}


class ConditionalBranches(Branches):
    """The same, where each model's own parameters exist only with it."""

    extensions: ClassVar[dict[str, Any]] = {
        "conditions": {
            f"{model}.{name}": {"model": model}
            for model, nested in Branches.space.items()
            for name in nested.get("parameters", {})
        }
    }


class Depth(Function):
    """A network of one to five layers, each with a width and a dropout of its own; the best one has three."""

    space = {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
        "layers": {"values": [1, 2, 3, 4, 5]},
        **{f"width{n}": {"distribution": "q_log_uniform_values", "min": 16, "max": 1024, "q": 16} for n in range(1, 6)},
        **{f"dropout{n}": {"distribution": "uniform", "min": 0.0, "max": 0.6} for n in range(1, 6)},
    }
    extensions: ClassVar[dict[str, Any]] = {
        "conditions": {
            f"{name}{n}": {"layers": list(range(n, 6))} for n in range(2, 6) for name in ("width", "dropout")
        }
    }
    optimum = 0.1
    noise = 0.01

    def true(self, parameters: dict[str, Any]) -> float:
        p, layers = parameters, parameters["layers"]
        loss = 0.1 + 0.05 * (layers - 3) ** 2 + min(0.6, 0.06 * (math.log10(p["lr"]) + 2.2 + 0.25 * layers) ** 2)
        for n in range(1, layers + 1):
            loss += 0.03 * (math.log2(p[f"width{n}"]) - 9 + 0.7 * n) ** 2 / layers
            loss += 0.5 * (p[f"dropout{n}"] - 0.1 * n) ** 2 / layers
        return loss


class SvrKernels(SvrDiabetes):
    """Support vectors for a regression with four kernels, each with parameters of its own."""

    space = {
        "C": {"distribution": "log_uniform_values", "min": 1e-2, "max": 1e4},
        "epsilon": {"distribution": "log_uniform_values", "min": 1e-2, "max": 100.0},
        "kernel": {"values": ["linear", "rbf", "poly", "sigmoid"]},
        "gamma": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
        "degree": {"min": 1, "max": 4},
        "coef0": {"distribution": "uniform", "min": 0.0, "max": 3.0},
    }
    extensions: ClassVar[dict[str, Any]] = {
        "conditions": {
            "gamma": {"kernel": ["rbf", "poly", "sigmoid"]},
            "degree": {"kernel": "poly"},
            "coef0": {"kernel": ["poly", "sigmoid"]},
        }
    }


class LayersDigits(Learned):
    """A network for digits with one to three hidden layers, a few epochs."""

    name, train, random = "digits", 300, True
    space = {
        "learning_rate_init": {"distribution": "log_uniform_values", "min": 1e-4, "max": 0.3},
        "solver": {"values": ["adam", "sgd"]},
        "momentum": {"distribution": "uniform", "min": 0.0, "max": 0.99},
        "layers": {"values": [1, 2, 3]},
        **{f"units{n}": {"distribution": "q_log_uniform_values", "min": 4, "max": 64, "q": 4} for n in (1, 2, 3)},
    }
    extensions: ClassVar[dict[str, Any]] = {
        "conditions": {"momentum": {"solver": "sgd"}, "units2": {"layers": [2, 3]}, "units3": {"layers": 3}}
    }

    def model(self, parameters: dict[str, Any], seed: int) -> Any:
        from sklearn.neural_network import MLPClassifier

        units = [int(parameters[f"units{n}"]) for n in range(1, parameters["layers"] + 1)]
        momentum = {"momentum": parameters["momentum"]} if parameters["solver"] == "sgd" else {}
        rate, solver = parameters["learning_rate_init"], parameters["solver"]
        return MLPClassifier(
            units, learning_rate_init=rate, solver=solver, max_iter=6, batch_size=20, random_state=seed, **momentum
        )


class ConditionalLogistic(LogisticCancer):
    """The same, where the schedules have parameters of their own."""

    extensions: ClassVar[dict[str, Any]] = {
        "conditions": {
            "eta0": {"learning_rate": ["constant", "invscaling"]},
            "power_t": {"learning_rate": "invscaling"},
        }
    }

    def model(self, parameters: dict[str, Any], seed: int) -> Any:
        # scikit-learn wants a rate above 0 that it then does not use
        return super().model({"eta0": 0.1, **parameters}, seed)


class ConditionalProjection(ProjectionWine):
    """The same, where the kernels have parameters of their own."""

    extensions: ClassVar[dict[str, Any]] = {
        "conditions": {"gamma": {"kernel": ["rbf", "poly"]}, "degree": {"kernel": "poly"}}
    }

    def model(self, parameters: dict[str, Any], seed: int) -> Any:
        return super().model({"gamma": 1.0, "degree": 3, **parameters}, seed)


PROBLEMS = {
    "branin": Branin,
    "hartmann6": Hartmann6,
    "ackley5": Ackley5,
    "rosenbrock4": Rosenbrock4,
    "levy5": Levy5,
    "styblinski4-max-noisy": Styblinski4,
    "rotated-ellipsoid6": RotatedEllipsoid6,
    "rastrigin3": MovedRastrigin3,
    "irrelevant10-noisy": Irrelevant,
    "corner5-noisy": Corner5,
    "training-mixed-noisy": Training,
    "training-diverging": Diverging,
    "branches-noisy": Branches,
    "choices-noisy": Choices,
    "distributions": Distributions,
    "svr-diabetes": SvrDiabetes,
    "boosting-diabetes": BoostingDiabetes,
    "mlp-digits": MlpDigits,
    "logistic-cancer": LogisticCancer,
    "projection-wine": ProjectionWine,
    "training-conditional": ConditionalTraining,
    "branches-conditional": ConditionalBranches,
    "depth-conditional": Depth,
    "svr-conditional": SvrKernels,
    "layers-conditional": LayersDigits,
    "logistic-conditional": ConditionalLogistic,
    "projection-conditional": ConditionalProjection,
}
