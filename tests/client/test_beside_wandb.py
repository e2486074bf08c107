"""Summaries, steps and errors of the native client beside those of the real wandb, offline, of the same calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

NAN = float("nan")


def x(*values):
    return [{"x": value} for value in values]


def define(name, **named):
    return ["define_metric", [name], named]


#: Name: what is defined, and what is logged.
CASES = {
    **{f"summary {words}": ([define("x", summary=words)], x(3, 1, 5)) for words in (
        "min", "max", "mean", "last", "first", "none", "copy", "min,max", "last,min", "none,min", "copy,max", "MIN",
    )},
    "nothing defined": ([], x(3, 1, 5)),
    "NaN is the worst minimum": ([define("x", summary="min")], x(3, NAN, 1)),
    "NaN first": ([define("x", summary="min")], x(NAN, 3)),
    "infinite": ([define("x", summary="max")], x(float("-inf"), 3, float("inf"))),
    "mean of NaN": ([define("x", summary="mean")], x(3, NAN, 1)),
    "texts are no minimum": ([define("x", summary="min")], x("a", 3, "b")),
    "booleans are no minimum": ([define("x", summary="min")], x(True, 3)),
    "a mapping is not its parts": ([define("x", summary="min")], x({"k": 2}, {"k": 1}, {"k": 4})),
    "part of a mapping": ([define("x.k", summary="min")], x({"k": 2}, {"k": 1}, {"k": 4})),
    "parts by their beginning": ([define("x.*", summary="min")], x({"k": 2, "j": 3}, {"k": 1}, {"k": 4})),
    "names by their beginning": ([define("x*", summary="max")], [{"x1": 1, "xy": {"z": 3}}, {"x1": 0, "xy": {"z": 1}}]),
    "a name before a beginning": ([define("x*", summary="max"), define("x1", summary="min")], [{"x1": 1, "x2": 2}, {"x1": 2, "x2": 1}]),
    "words add up": ([define("x", summary="min"), define("x", summary="max")], x(1, 2)),
    "words are overwritten": ([define("x", summary="min"), define("x", summary="max", overwrite=True)], x(1, 2)),
    "defined again without words": ([define("x", summary="min"), define("x")], x(1, 2)),
    "mappings are merged": ([], x({"a": {"b": 1}, "c": [1, {"d": 2}]}, {"a": {"q": 2}})),
    "slashes": ([define("val/*", summary="max")], [{"val/a": 1, "b": 2}, {"val/a": 0, "b": 1}]),
}  # fmt: skip

SUMMARIES = """
import json, sys
def plain(value):
    return {key: plain(value[key]) for key in value.keys()} if hasattr(value, "keys") else value
found = {}
for name, (defined, rows) in json.load(sys.stdin).items():
    run = wandb.init(reinit="finish_previous")
    for call, args, named in defined:
        getattr(run, call)(*args, **named)
    for row in rows:
        run.log(row)
    found[name] = {key: value for key, value in plain(run.summary).items() if key[0] != "_"}
    run.finish()
print("RESULT", json.dumps(found))
"""

#: Each is tried, and the kind of its error printed, or its value.
CALLS = """
import argparse, json
def settle(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__
run = wandb.init(config={"a": 1, "-b-": 2, "opt": {"k": 1}}, name="n", tags=["t", "u"], notes="why", group="g", job_type="j")
def change():
    run.config.a = 2
def names():
    return [run.name, list(run.tags), run.notes, run.group, run.job_type, run.offline, run.disabled, run.resumed, run.url]
asked = {
    "changing a value": change,
    "changing it to the same": lambda: run.config.update({"a": 1}),
    "changing it on purpose": lambda: run.config.update({"a": 3}, allow_val_change=True),
    "names": names,
    "defaults are not merged": lambda: [run.config.setdefaults({"opt": {"j": 2}, "c": 4}), dict(run.config)],
    "a namespace": lambda: [run.config.update(argparse.Namespace(d=5)), run.config.d],
    "an attribute that is not there": lambda: run.config.nope,
    "an item that is not there": lambda: run.config["nope"],
    "get": lambda: [run.config.get("nope"), run.config.get("nope", 7), "nope" in run.config],
    "log no mapping": lambda: run.log("x"),
    "log a number as name": lambda: run.log({1: 2}),
    "log a text as step": lambda: run.log({"a": 1}, step="3"),
    "unknown word": lambda: run.define_metric("x", summary="nope") and None,
    "star inside": lambda: run.define_metric("a*b") and None,
    "no name": lambda: run.define_metric("") and None,
    "steps": lambda: [run.log({"x": 1}), run.log({"x": 2}, step=4), run.log({"x": 3}, commit=True), run.step],
    "a second init": lambda: wandb.init() is run,
    "finished twice": lambda: [run.finish(), run.finish()],
    "after the end": lambda: wandb.run,
}
found = {name: settle(call) for name, call in asked.items()}
print("RESULT", json.dumps(found))
"""


def ask(module, script, folder, given=""):
    folder.mkdir()
    environ = os.environ | {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    command = [sys.executable, "-c", f"import {module}\n{script}"]
    done = subprocess.run(command, env=environ, cwd=folder, input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("RESULT ")[2])


def ask_both(tmp_path_factory, script, given=""):
    pytest.importorskip("wandb")
    folder = tmp_path_factory.mktemp("beside")
    return [ask(name, script, folder / name[:5], given) for name in ("slurmsweep as wandb", "wandb")]


@pytest.fixture(scope="module")
def summaries(tmp_path_factory):
    return ask_both(tmp_path_factory, SUMMARIES, json.dumps(CASES))


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    return ask_both(tmp_path_factory, CALLS)


@pytest.mark.parametrize("case", CASES)
def test_summaries_are_wandbs(summaries, case):
    ours, theirs = (json.dumps(as_floats(found[case]), sort_keys=True) for found in summaries)

    assert ours == theirs


def as_floats(value):
    """Return the values with floats for integers: a mean of 3 is 3 in slurmsweep and 3.0 in wandb."""
    if isinstance(value, dict):
        return {key: as_floats(inner) for key, inner in value.items()}
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


#: Where the words differ: what wandb raises, and what we do.
ERRORS = {"ConfigError": "UsageError", "Error": "UsageError"}

#: As they stand in the script: its own text names them.
ASKED = [line.split('"')[1] for line in CALLS.splitlines() if line.startswith('    "')]


@pytest.mark.parametrize("name", ASKED)
def test_calls_answer_as_wandbs(calls, name):
    ours, theirs = (found[name] for found in calls)

    assert ours == (ERRORS.get(theirs, theirs) if isinstance(theirs, str) else theirs)


def test_both_were_really_asked(calls, summaries):
    assert len(ASKED) == len(calls[0]) == 19
    assert summaries[1]["summary min,max"] == {"x": {"min": 1, "max": 5}}
    assert calls[1]["changing a value"] == "ConfigError"
