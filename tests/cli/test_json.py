"""What ``--json`` prints of each command is what its schema in docs says, field by field."""

from __future__ import annotations

import copy
import json
import os
import re
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from slurmsweep.cli.parser import COMMANDS, build_parser
from slurmsweep.control.change_jobs import ArrayChange
from slurmsweep.report.waiting import WaitingReason
from slurmsweep.state.supervisor_files import LastRound

SCHEMAS = Path(__file__).parent.parent.parent / "docs" / "schemas"

#: Commands that look at a sweep, or say what they would do to it.
LOOKING = [
    "status",
    "trials",
    "best",
    "best --top 3",
    "show last 0",
    "show last 4",
    "ls",
    "check last",
    "doctor",
    "templates",
    "templates array",
    "defaults",
    "importance",
    "efficiency",
    "efficiency --trials",
    "delete last --trials 0 --dry-run",
    "rerun last --trials 0 --dry-run",
    "rm last --dry-run",
    "clean last --dry-run",
    "compare last other",
    "reconcile last --dry-run",
    "resubmit last --dry-run",
    "sync last --dry-run",
    "plan sweep.yaml",
    "plan sweep.yaml --backend local",
    "plan sweep.yaml --backend slurm",
    "run sweep.yaml --backend local --dry-run",
]
SCRIPT = """
import slurmsweep as wandb
wandb.init()
wandb.log({"loss": wandb.config.lr, "nan": float("nan")})
if wandb.config.lr == 0.5:
    raise ValueError("too large")
"""


def with_json():
    """Return the commands that have the option."""
    commands = build_parser()._subparsers._group_actions[0].choices
    return sorted(name for name in COMMANDS if "--json" in commands[name]._option_string_actions)


def closed(schema):
    """Return a schema that refuses a field it does not describe: nothing is printed that is not documented."""
    schema = copy.deepcopy(schema)
    nodes = [schema]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if "properties" in node:
                node.setdefault("additionalProperties", False)
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
    return schema


def validate(command, document):
    schema = json.loads((SCHEMAS / f"{command}.json").read_text())
    Draft202012Validator.check_schema(schema)
    for one in (schema, closed(schema)):
        error = best_match(Draft202012Validator(one).iter_errors(document))
        assert error is None, f"{'.'.join(map(str, error.absolute_path))}: {error.message}"[:500]


def strict(text):
    """Return the one document of an output; NaN and infinity are no JSON."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def write_files(folder):
    (folder / "train.py").write_text(SCRIPT)
    (folder / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nname: demo\nmetric: {name: loss, goal: minimize}\n"
        "parameters: {lr: {values: [0.1, 0.2, 0.3, 0.4, 0.5]}}\n"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory, slurmsweep_in):
    """Return a folder with a sweep that has run, one trial of which failed; its ``run --json`` is checked here."""
    made = tmp_path_factory.mktemp("documents")
    write_files(made)
    slurmsweep_in(made, "create", "sweep.yaml", "--name", "other")
    done = slurmsweep_in(made, "run", "sweep.yaml", "--backend", "local", "--json")
    assert done.returncode == 1, done.stderr
    validate("run", strict(done.stdout))
    return made


def test_every_command_with_json_has_a_schema_and_the_reverse():
    assert sorted(path.stem for path in SCHEMAS.glob("*.json")) == with_json()


def test_the_page_lists_every_command_with_json_and_its_schema():
    rows = re.findall(r"^\| (`.*?) \|.*\| (\[.*) \|$", (SCHEMAS.parent / "json.md").read_text(), re.MULTILINE)
    named = [(re.findall(r"`(\w+)`", commands), re.findall(r"schemas/(\w+)\.json", links)) for commands, links in rows]

    assert [commands for commands, links in named if commands != links] == []
    assert sorted(command for commands, _ in named for command in commands) == with_json()


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_every_field_of_a_schema_is_described(path):
    lacking = []
    nodes = [("", json.loads(path.read_text()))]
    while nodes:
        where, node = nodes.pop()
        if isinstance(node, dict):
            lacking += [
                f"{where}.{name}" for name, one in node.get("properties", {}).items() if not one.get("description")
            ]
            nodes += [(f"{where}.{name}", one) for name, one in node.items()]
        elif isinstance(node, list):
            nodes += [(where, one) for one in node]

    assert lacking == []


@pytest.mark.parametrize("words", LOOKING)
def test_what_a_command_prints_is_as_its_schema_says(words, folder, slurmsweep_in):
    done = slurmsweep_in(folder, *words.split(), "--json")

    validate(words.split()[0], strict(done.stdout))


def test_a_list_with_a_sweep_that_cannot_be_read_and_one_without_an_end(tmp_path, slurmsweep):
    write_files(tmp_path)
    damaged = slurmsweep("create", "sweep.yaml").stdout.strip()
    (tmp_path / ".slurmsweep" / f"sweep-{damaged}" / "sweep.json").write_text("{")
    (tmp_path / "sweep.yaml").write_text((tmp_path / "sweep.yaml").read_text().replace("grid", "random"))
    slurmsweep("create", "sweep.yaml")

    rows = strict(slurmsweep("ls", "--json").stdout)

    validate("ls", rows)
    assert {(row["state"], row["method"], row["trials"]) for row in rows} == {
        ("pending", "random", None),
        ("unreadable", None, None),
    }


def test_files_that_are_removed(tmp_path, slurmsweep):
    write_files(tmp_path)
    slurmsweep("create", "sweep.yaml")

    cleaned = strict(slurmsweep("clean", "last", "--yes", "--json").stdout)
    removed = strict(slurmsweep("rm", "last", "--yes", "--json").stdout)

    validate("clean", cleaned)
    validate("rm", removed)
    assert removed["removed"]


def test_reasons_why_jobs_wait():
    """Slurm gives such reasons in tests/cluster."""
    reason = WaitingReason("Priority", "others come first", "", is_stuck=False, jobs=3, first="7_0")
    schema = json.loads((SCHEMAS / "status.json").read_text())["anyOf"][0]["properties"]["waiting"]["items"]

    Draft202012Validator(closed(schema)).validate(reason.to_json("abcd1234"))


@pytest.mark.parametrize("order", ["pause", "resume", "stop", "cancel"])
def test_orders(order, tmp_path, slurmsweep):
    write_files(tmp_path)
    slurmsweep("create", "sweep.yaml")
    if order == "resume":
        slurmsweep("pause", "last")

    validate(order, strict(slurmsweep(order, "last", "--json").stdout))


def test_more_trials(tmp_path, slurmsweep, write_sweep):
    write_sweep("", "  x: {min: 0.0, max: 1.0}", "run_cap: 1", method="random")
    slurmsweep("create", "sweep.yaml")

    validate("extend", strict(slurmsweep("extend", "last", "-n", "1", "--json").stdout))


def test_a_canary(tmp_path, slurmsweep):
    write_files(tmp_path)

    validate("plan", strict(slurmsweep("plan", "sweep.yaml", "--canary", "--backend", "local", "--json").stdout))


def test_what_is_submitted_to_slurm(tmp_path, slurmsweep, monkeypatch):
    """The stand-in for Slurm says that job 7 was submitted; the documents are ours."""
    write_files(tmp_path)
    (tmp_path / "bin").mkdir()
    for name, words in {"sbatch": "Submitted batch job 7", "scontrol": "MaxArraySize = 1001"}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho '{words}'\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.path.dirname(sys.executable)}:/usr/bin:/bin")
    sweep = slurmsweep("create", "sweep.yaml").stdout.strip()

    rehearsed = slurmsweep("submit", sweep, "--dry-run", "--json")
    submitted = slurmsweep("submit", sweep, "--json")

    validate("submit", strict(rehearsed.stdout))
    validate("submit", strict(submitted.stdout))
    assert strict(submitted.stdout)["arrays"] == [{"job": "7", "jobs": 5, "trials": 5}]


def test_documents_of_what_only_a_cluster_prints():
    """A real cluster prints these in tests/cluster; here are the values that they are made of."""
    validate("set", json.loads(json.dumps([asdict(ArrayChange("7", 3, 1, ("refused",)))])))
    validate("mend", json.loads(json.dumps(asdict(LastRound(2, said=("a",), notes=("b",))))))
    validate("mend", None)


def test_a_command_says_in_its_help_that_it_has_json():
    assert {name for name in COMMANDS if hasattr(import_module(f"slurmsweep.cli.commands.{name}"), "run")} >= set(
        with_json()
    )
