"""One engine of the search benchmark, as a process that is asked for points and told values: JSON lines on its pipes.

    PYTHON benchmarks/search_engines.py ENGINE

It runs in the Python that has the engine, so it imports the standard library, and then what its engine needs. Requests,
each of which gets one line as an answer:

- ``{"start": {"seed": 0, "parameters": W&B's mapping, "extensions": {}, "goal": "minimize", "axes": [...]}}``: a new
  search. ``extensions`` is the mapping under ``slurmsweep:``, which only our engine knows.
- ``{"ask": NUMBER}``: the point of a trial that starts now, with the CPU seconds that it took. Trials that were asked
  for and not yet told are running.
- ``{"tell": [NUMBER, VALUE]}``: a trial ended; null for one without a finite value.
- ``{"load": [[POINT, VALUE], ...]}``: ended trials that another engine chose.
- ``{"forget": NUMBER}``: a trial that was asked for never was.

How each engine learns of running trials is said in its class.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import random
import resource
import statistics
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any


class Axis:
    """One parameter as engines without W&B's distributions know it: a real number, an integer, or a choice.

    Logarithmic distributions are logarithmic axes; multiples of a quantum are integers (``q`` times the integer);
    numbers among ``values`` are integers in their order, which serves these engines better than a choice without order;
    a normal distribution is a real number in (0, 1), of which the value is the quantile.
    """

    def __init__(self, said: dict[str, Any]) -> None:
        self.path: list[str] = said["path"]
        self.name = ".".join(self.path)
        self.kind: str = said["kind"]
        self.low, self.high, self.log = said.get("low"), said.get("high"), said.get("log", False)
        self.values: list[Any] | None = said.get("values")
        self.q = said.get("q")
        self.normal = said.get("normal")

    def value(self, x: Any) -> Any:
        """Return the parameter's value at a place on the axis."""
        if self.values is not None:
            return self.values[int(x)]
        if self.kind == "int":
            return int(x) if self.q is None else int(x) * self.q
        if self.normal is not None:
            mu, sigma, exponential = self.normal
            x = statistics.NormalDist(mu, sigma).inv_cdf(x)
            x = math.exp(x) if exponential else x
        return float(x) if self.q is None else round(x / self.q) * self.q

    def place(self, value: Any) -> Any:
        """Return the place of a value on the axis."""
        if self.values is not None:
            return self.values.index(value)
        if self.normal is not None:
            mu, sigma, exponential = self.normal
            value = statistics.NormalDist(mu, sigma).cdf(math.log(value) if exponential else value)
        elif self.kind == "int":
            value = round(value if self.q is None else value / self.q)
        return min(max(value, self.low), self.high)


def nested(pairs: list[tuple[list[str], Any]]) -> dict[str, Any]:
    """Return a point, with a mapping for each nested parameter."""
    point: dict[str, Any] = {}
    for path, value in pairs:
        inner = point
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = value
    return point


def at(point: dict[str, Any], path: list[str]) -> Any:
    """Return a value of a point."""
    for name in path:
        point = point[name]
    return point


class Engine:
    """What each engine does; trials are known by their number.

    Attributes:
        points: of all trials that were asked for, by number.
        told: values by number; NaN for a trial without one.
        loaded: points and values that another engine chose.
    """

    packages: tuple[str, ...] = ()

    def start(self, said: dict[str, Any]) -> None:
        """Begin a new search."""
        self.points: dict[int, dict[str, Any]] = {}
        self.told: dict[int, float] = {}
        self.loaded: list[tuple[dict[str, Any], float]] = []
        self.seed, self.parameters, self.goal = said["seed"], said["parameters"], said["goal"]
        self.extensions: dict[str, Any] = said["extensions"]
        every = [Axis(one) for one in said["axes"]]
        self.axes = [axis for axis in every if axis.kind != "constant"]
        self.constants = [(axis.path, axis.value(0)) for axis in every if axis.kind == "constant"]
        self.prepare()

    def prepare(self) -> None:
        """Make what the engine needs for a new search."""

    def ask(self, number: int) -> dict[str, Any]:
        """Return the point of a trial that starts now."""
        raise NotImplementedError

    def tell(self, number: int, value: float) -> None:
        """Take the value of a trial that ended."""
        self.told[number] = value

    def load(self, trials: list[tuple[dict[str, Any], float]]) -> None:
        """Take ended trials that another engine chose."""
        self.loaded += trials

    def forget(self, number: int) -> None:
        """Take back an ask."""
        del self.points[number]

    def version(self) -> str:
        """Return what the engine's results depend on."""
        return " ".join(f"{package} {version(package)}" for package in self.packages)

    def point(self, places: list[Any]) -> dict[str, Any]:
        """Return the point at a place on each axis."""
        return nested([(axis.path, axis.value(x)) for axis, x in zip(self.axes, places, strict=True)] + self.constants)


class Ours(Engine):
    """slurmsweep's engine: running trials are observations without a value."""

    def version(self) -> str:
        """Return a hash of the source: an engine under work has no version."""
        from slurmsweep.search import bayes

        folder = Path(bayes.__file__).parents[1]
        sources = b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py")))
        return "source " + hashlib.sha256(sources).hexdigest()[:12]

    def prepare(self) -> None:
        """Check the sweep file."""
        from slurmsweep.search.bayes import Space
        from slurmsweep.sweepfile.config import check

        metric = {"name": "loss", "goal": self.goal}
        document = {"method": "bayes", "metric": metric, "program": "x.py", "parameters": self.parameters}
        self.space = Space.of(check(document | {"slurmsweep": self.extensions}, "benchmark").config)

    def ask(self, number: int) -> dict[str, Any]:
        """Return the engine's proposal."""
        from slurmsweep.search.bayes import Observation, propose

        first = max([number, *self.points]) + 1
        known = [Observation(first + n, *trial, running=False) for n, trial in enumerate(self.loaded)]
        for one, point in self.points.items():
            value = self.told.get(one, math.nan)
            known.append(Observation(one, point, None if math.isnan(value) else value, running=one not in self.told))
        proposals = propose(self.space, self.goal, known, number=number, seed=str(self.seed))
        return dict(proposals.items[0].point)


class AlwaysPresent(Ours):
    """slurmsweep's engine with every parameter in every trial, also where it does nothing."""

    def prepare(self) -> None:
        """Check the sweep file without its conditions."""
        self.extensions = {name: value for name, value in self.extensions.items() if name != "conditions"}
        super().prepare()


class Random(Engine):
    """Random search, as ``method: random`` of slurmsweep and of W&B draws."""

    def version(self) -> str:
        """Return what never changes: the points are part of what slurmsweep promises."""
        return "1"

    def prepare(self) -> None:
        """Check the sweep file."""
        from slurmsweep.sweepfile.config import check

        document = {"method": "random", "program": "x.py", "parameters": self.parameters}
        self.config = check(document, "benchmark").config

    def ask(self, number: int) -> dict[str, Any]:
        """Return an independent draw."""
        from slurmsweep.search.random import point

        return point(self.config, number, str(self.seed))


class Wandb(Engine):
    """W&B's own engine: running trials are runs in state ``running`` with their configuration, as its server has them.

    The engine then puts the value that it predicts itself in their place (a constant liar).
    """

    packages = ("sweeps",)

    def prepare(self) -> None:
        """Seed the global generators that the engine draws from."""
        import numpy as np
        import sweeps

        self.sweeps = sweeps
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002 - the engine draws from it
        metric = {"name": "loss", "goal": self.goal}
        self.config = {"method": "bayes", "metric": metric, "parameters": self.parameters}

    def run(self, point: dict[str, Any], state: str, value: float | None = None) -> Any:
        """Return a trial as W&B's server hands it to the engine."""
        config = {name: {"value": value} for name, value in point.items()}
        summary = {} if value is None else {"loss": value}
        return self.sweeps.SweepRun(config=config, state=state, summaryMetrics=summary)

    def ask(self, number: int) -> dict[str, Any]:  # noqa: ARG002 - the engine knows trials by what they are
        """Return the next run of the engine."""
        runs = [self.run(point, "finished", value) for point, value in self.loaded]
        for one, point in self.points.items():
            state = "running" if one not in self.told else "failed" if math.isnan(self.told[one]) else "finished"
            runs.append(self.run(point, state, self.told[one] if state == "finished" else None))
        suggested = self.sweeps.next_run(self.config, runs)
        return {name: held["value"] for name, held in suggested.config.items()}


class Optuna(Engine):
    """A sampler of optuna by ask and tell: trials that were asked for count as running in the study."""

    packages = ("optuna",)

    def sampler(self) -> Any:
        """Return the sampler: TPE, multivariate, with the constant liar for running trials."""
        import optuna

        return optuna.samplers.TPESampler(seed=self.seed, multivariate=True, constant_liar=True)

    def prepare(self) -> None:
        """Make a study in memory."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna = optuna
        self.study = optuna.create_study(direction=self.goal, sampler=self.sampler())
        self.trials: dict[int, Any] = {}

    def distribution(self, axis: Axis) -> Any:
        """Return an axis in optuna's words."""
        if axis.kind == "choice":
            return self.optuna.distributions.CategoricalDistribution(list(range(len(axis.values or []))))
        if axis.kind == "int":
            return self.optuna.distributions.IntDistribution(axis.low, axis.high, log=axis.log)
        return self.optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)

    def ask(self, number: int) -> dict[str, Any]:
        """Return a new trial of the study."""
        trial = self.trials[number] = self.study.ask({axis.name: self.distribution(axis) for axis in self.axes})
        return self.point([trial.params[axis.name] for axis in self.axes])

    def tell(self, number: int, value: float) -> None:
        """End a trial of the study."""
        if math.isnan(value):
            self.study.tell(self.trials[number], state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(self.trials[number], value)

    def load(self, trials: list[tuple[dict[str, Any], float]]) -> None:
        """Add ended trials to the study."""
        space = {axis.name: self.distribution(axis) for axis in self.axes}
        for point, value in trials:
            params = {axis.name: axis.place(at(point, axis.path)) for axis in self.axes}
            trial = self.optuna.trial.create_trial(params=params, distributions=space, value=value)
            self.study.add_trial(trial)

    def forget(self, number: int) -> None:
        """Let the trial fail, which no sampler here learns from."""
        super().forget(number)
        self.study.tell(self.trials.pop(number), state=self.optuna.trial.TrialState.FAIL)


class OptunaGp(Optuna):
    """optuna's Gaussian process: running trials are part of its expected improvement of several points (qLogEI)."""

    packages = ("optuna", "torch")

    def sampler(self) -> Any:
        """Return the sampler."""
        import torch

        torch.set_num_threads(1)
        return self.optuna.samplers.GPSampler(seed=self.seed)


class Hebo(Engine):
    """HEBO by ``suggest(1)`` and ``observe``, a request for each worker that becomes free.

    HEBO knows no running trials. Its own way to work in parallel (``support_parallel_opt``, acquisition MACE) is that
    a suggestion is a random one from the Pareto front of three acquisition functions, so that several differ.
    """

    packages = ("HEBO", "pymoo", "torch")
    lies = False

    def prepare(self) -> None:
        """Make HEBO's design space and optimiser."""
        import numpy as np
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        torch.set_num_threads(1)
        torch.manual_seed(self.seed)
        random.seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002 - HEBO draws from it
        space = DesignSpace().parse([self.described(axis) for axis in self.axes])
        self.optimiser = HEBO(space, scramble_seed=self.seed)
        self.places: dict[int, Any] = {}

    @staticmethod
    def described(axis: Axis) -> dict[str, Any]:
        """Return an axis in HEBO's words; a choice by the texts of its places."""
        if axis.kind == "choice":
            return {"name": axis.name, "type": "cat", "categories": [str(n) for n in range(len(axis.values or []))]}
        kind = ("pow_int" if axis.log else "int") if axis.kind == "int" else "pow" if axis.log else "num"
        base = {"base": 10} if axis.log else {}
        return {"name": axis.name, "type": kind, "lb": axis.low, "ub": axis.high, **base}

    def ask(self, number: int) -> dict[str, Any]:
        """Return HEBO's suggestion; of a liar with a lie for each running trial."""
        import pandas as pd

        data, values = self.optimiser.X, self.optimiser.y
        running = [self.places[n] for n in self.points if n not in self.told]
        if self.lies and running and len(values) >= self.optimiser.rand_sample:
            lie = statistics.median(values[:, 0].tolist())
            self.observe(pd.concat(running, ignore_index=True), [lie] * len(running))
        suggested = self.optimiser.suggest(1)
        self.optimiser.X, self.optimiser.y = data, values
        self.places[number] = suggested
        row = suggested.to_dict("records")[0]
        return self.point([row[axis.name] for axis in self.axes])

    def observe(self, places: Any, values: list[float]) -> None:
        """Give HEBO places and their values to minimise."""
        import numpy as np

        self.optimiser.observe(places, np.array(values, dtype=float).reshape(-1, 1))

    def tell(self, number: int, value: float) -> None:
        """Observe a trial; HEBO leaves one that is not finite out."""
        super().tell(number, value)
        self.observe(self.places[number], [-value if self.goal == "maximize" else value])

    def load(self, trials: list[tuple[dict[str, Any], float]]) -> None:
        """Observe ended trials."""
        import pandas as pd

        rows = []
        for point, _ in trials:
            places = [(axis, axis.place(at(point, axis.path))) for axis in self.axes]
            rows.append({axis.name: str(x) if axis.kind == "choice" else x for axis, x in places})
        self.observe(pd.DataFrame(rows), [-value if self.goal == "maximize" else value for _, value in trials])


class HeboLiar(Hebo):
    """HEBO with a constant liar: running trials are observed, in a copy of the data, with the median of the values.

    In trials with 8 in flight this did worse than HEBO's own way, which is therefore the peer.
    """

    lies = True


ENGINES: dict[str, type[Engine]] = {
    "ours": Ours,
    "always-present": AlwaysPresent,
    "random": Random,
    "wandb": Wandb,
    "optuna-tpe": Optuna,
    "optuna-gp": OptunaGp,
    "hebo": Hebo,
    "hebo-liar": HeboLiar,
}


def plain(value: Any) -> Any:
    """Return a number of numpy as Python's own."""
    return value.item() if hasattr(value, "item") else str(value)


def answer(engine: Engine, request: dict[str, Any]) -> dict[str, Any]:
    """Do what one request asks for."""
    if "start" in request:
        engine.start(request["start"])
        return {}
    if "ask" in request:
        begin = time.process_time()
        point = engine.ask(request["ask"])
        cpu = time.process_time() - begin
        engine.points[request["ask"]] = point
        return {"point": point, "cpu": cpu, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    if "tell" in request:
        number, value = request["tell"]
        engine.tell(number, math.nan if value is None else value)
    elif "load" in request:
        engine.load([(point, value) for point, value in request["load"]])
    elif "forget" in request:
        engine.forget(request["forget"])
    return {}


def main() -> None:
    """Answer requests until the pipe ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what an engine prints does not end up among the answers
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    engine = ENGINES[sys.argv[1]]()
    print(json.dumps({"version": engine.version()}), file=answers)
    for line in sys.stdin:
        print(json.dumps(answer(engine, json.loads(line)), default=plain), file=answers)


if __name__ == "__main__":
    main()
