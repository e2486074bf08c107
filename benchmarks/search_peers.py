"""The engines of the search benchmark as processes: where each is installed, and how it is asked.

Every peer has a virtual environment of its own below a folder, made here by ``venv`` and ``pip``: W&B's engine wants an
old numpy, and HEBO's own pins can no longer be met.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import math
import os
import select
import subprocess
import sys
import tempfile
import textwrap
import venv
from typing import TYPE_CHECKING, Any, NamedTuple

import search_engines

from slurmsweep.search.flat import flatten
from slurmsweep.sweepfile.config import check
from slurmsweep.sweepfile.space import Categorical, Constant, Continuous, IntUniform

if TYPE_CHECKING:
    from pathlib import Path

#: Engines that are in this checkout.
OURS = ("ours", "always-present", "random")

#: One thread each, so that CPU seconds are what a proposal costs.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

#: A virtual environment, and what pip is given to install into it, call by call.
ENVIRONMENTS: dict[str, tuple[str, list[list[str]]]] = {
    "wandb": ("wandb", [["sweeps==0.3.0", "numpy<2"]]),
    "optuna-tpe": ("optuna", [["optuna", "scipy"]]),
    "optuna-gp": ("optuna", [["optuna", "scipy"], ["torch"]]),
    "hebo": (
        "hebo",
        [
            ["--no-deps", "HEBO"],
            ["torch", "gpytorch", "pymoo", "scikit-learn", "pandas", "scipy", "disjoint-set", "networkx"],
        ],
    ),
}
ENVIRONMENTS["hebo-liar"] = ENVIRONMENTS["hebo"]


def axes(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Return W&B's parameters as axes that every engine knows; see :class:`search_engines.Axis`."""
    document = {"method": "random", "program": "x.py", "parameters": parameters}
    return [{"path": list(path), **axis(one)} for path, one in flatten(check(document, "benchmark").config.parameters)]


def axis(parameter: Any) -> dict[str, Any]:
    """Return one parameter as an axis."""
    if isinstance(parameter, Constant):
        return {"kind": "constant", "values": [parameter.value]}
    if isinstance(parameter, Categorical):
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in parameter.values)
        if numbers and len(parameter.values) > 1:
            values = sorted(set(parameter.values))
            return {"kind": "int", "low": 0, "high": len(values) - 1, "values": values}
        return {"kind": "choice", "low": 0, "high": len(parameter.values) - 1, "values": list(parameter.values)}
    if isinstance(parameter, IntUniform):
        return {"kind": "int", "low": parameter.low, "high": parameter.high}
    return real_axis(parameter)


def real_axis(parameter: Continuous) -> dict[str, Any]:
    """Return a continuous or quantised distribution as an axis."""
    kind, low, high, q = parameter
    if kind in {"normal", "log_normal"}:
        # the outermost of a thousand draws on each side are left out: an axis of these engines has an end
        return {"kind": "float", "low": 0.001, "high": 0.999, "normal": [low, high, kind == "log_normal"], "q": q}
    if kind == "beta":
        low, high = 0.0, 1.0
    elif kind == "log_uniform":
        low, high = math.exp(low), math.exp(high)
    elif kind == "inv_log_uniform":
        low, high = math.exp(-high), math.exp(-low)
    log = "log" in kind
    if q is None:
        return {"kind": "float", "low": low, "high": high, "log": log}
    first, last = round(low / q), round(high / q)
    return {"kind": "int", "low": max(1, first) if log else first, "high": last, "log": log, "q": q}


def meaning(*things: Any) -> str:
    """Return a hash of the code of functions and classes; comments, docstrings and layout do not count."""
    texts = []
    for thing in things:
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
        for node in ast.walk(tree):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        texts.append(ast.dump(tree))
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:12]


class Peer(NamedTuple):
    """An engine that can be started: its title in tables, its name for search_engines.py, Python, and checkout."""

    title: str
    engine: str
    python: str
    checkout: str | None = None

    def code(self) -> str:
        """Return a hash of how the engine is called, for results that are kept."""
        kind = search_engines.ENGINES[self.engine]
        return meaning(*kind.__mro__[:-1], search_engines.Axis, axes, axis, real_axis)


class CannotInstallError(Exception):
    """A peer that pip did not install; the text is pip's."""


def install(title: str, folder: Path) -> Peer:
    """Return a peer, installed below ``folder`` if it is not yet; raises CannotInstallError."""
    if title in OURS:
        return Peer(title, title, sys.executable)
    name, calls = ENVIRONMENTS[title]
    place = folder / name
    python, stamp = place / "bin" / "python", place / "installed.json"
    done = json.loads(stamp.read_text()) if stamp.exists() else []
    if not python.exists():
        print(f"making {place}", file=sys.stderr)
        venv.create(place, with_pip=True)
    for words in calls:
        if words in done:
            continue
        print(f"pip install {' '.join(words)}", file=sys.stderr)
        pip = [str(python), "-m", "pip", "install", "--quiet", *words]
        ran = subprocess.run(pip, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise CannotInstallError("\n".join(ran.stderr.strip().splitlines()[-3:]))
        done.append(words)
        stamp.write_text(json.dumps(done))
    return Peer(title, title, str(python))


class TooSlowError(Exception):
    """An answer that did not come in time."""


class DiedError(Exception):
    """An engine that ended instead of answering; the text is the end of what it printed."""


class Process:
    """A running engine.

    Attributes:
        version: of the engine, as it said.
        peak: the most memory that it had at its last proposal, in MB.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" or peer.engine in OURS}
        if peer.checkout:
            environment["PYTHONPATH"] = peer.checkout
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self.child = subprocess.Popen(
            [peer.python, search_engines.__file__, peer.engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**environment, **ONE_THREAD},
            text=True,
        )
        self.peak = 0.0
        self.version: str = self.read(None)["version"]

    def read(self, seconds: float | None) -> dict[str, Any]:
        """Return the next answer; raises TooSlowError after so many seconds, and DiedError."""
        assert self.child.stdout is not None
        if not select.select([self.child.stdout], [], [], seconds)[0]:
            self.end()
            raise TooSlowError
        line = self.child.stdout.readline()
        if not line:
            self.log.seek(0)
            said = self.log.read().strip()[-2000:]
            self.end()
            raise DiedError(f"{self.peer.title}: {said}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def request(self, seconds: float | None = None, **what: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        assert self.child.stdin is not None
        try:
            self.child.stdin.write(json.dumps(what) + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # read() says how it ended
        return self.read(seconds)

    def start(self, parameters: dict[str, Any], extensions: dict[str, Any], goal: str, seed: int) -> None:
        """Begin a new search."""
        said = {"seed": seed, "parameters": parameters, "extensions": extensions, "goal": goal}
        self.request(start={**said, "axes": axes(parameters)})

    def ask(self, number: int, seconds: float | None = None) -> tuple[dict[str, Any], float]:
        """Return the point of a trial that starts now, and the CPU seconds that it took."""
        answer = self.request(seconds, ask=number)
        self.peak = answer["peak"] / 1024
        return answer["point"], answer["cpu"]

    def tell(self, number: int, value: float | None) -> None:
        """Tell the value of a trial that ended; None for one without a finite value."""
        self.request(tell=[number, value])

    def end(self) -> None:
        """End the process; nothing happens to one that has ended."""
        if not self.log.closed:
            self.child.kill()
            self.child.communicate()
            self.log.close()
