"""What ``--json`` prints of each command is what its schema in docs says, field by field."""

from __future__ import annotations

import copy
import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
from backends import played_slurm
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from slurmsweep.agents.identity import this_process
from slurmsweep.cli.parser import COMMANDS, build_parser
from slurmsweep.report.waiting import WaitingReason
from slurmsweep.state.store import SweepStore
from slurmsweep.state.supervisor_files import LastRound, SupervisorFiles

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


@pytest.fixture
def cluster(tmp_path, slurmsweep, monkeypatch):
    """Return what runs a command with ``--json`` on a cluster that is played, checks its document and returns that."""
    write_files(tmp_path)
    played_slurm.put_on_path(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{os.path.dirname(sys.executable)}")

    def printed(*words, code=0):
        done = slurmsweep(*words, "--json")
        assert done.returncode == code, done.stderr
        document = strict(done.stdout)
        validate(words[0], document)
        return document

    return printed


def jobs_become(tmp_path, state):
    jobs = played_slurm.read(tmp_path / "bin", "lab")
    for job in jobs.values():
        job["states"] = dict.fromkeys(job["states"], state)
    played_slurm.write(tmp_path / "bin", "lab", jobs)


def test_what_commands_print_of_a_sweep_on_a_cluster(cluster, tmp_path):
    started = cluster("run", "sweep.yaml", "--no-wait", "--backend", "slurm")

    assert [array["jobs"] for array in started["arrays"]] == [5]
    assert cluster("status", "last")["waiting"] is not None
    for words in (["efficiency"], ["efficiency", "--trials"], ["reconcile", "last"], ["ls"]):
        cluster(*words)
    assert cluster("pause", "last")["jobs"] == [started["arrays"][0]["job"]]
    assert cluster("resume", "last")["jobs"] == [started["arrays"][0]["job"]]
    assert cluster("cancel", "last")["jobs"] == [started["arrays"][0]["job"]]


def test_what_set_prints_where_jobs_wait_run_are_refused_and_are_none(cluster, tmp_path, slurmsweep):
    sweep = slurmsweep("create", "sweep.yaml").stdout.strip()
    nothing = cluster("set", sweep, "--time", "45", code=1)
    job = cluster("submit", sweep)["arrays"][0]["job"]
    waiting = cluster("set", sweep, "--time", "45", "--width", "2")
    jobs_become(tmp_path, "RUNNING")
    running = cluster("set", sweep, "--time", "30", "--running")
    (tmp_path / "bin" / "scontrol").write_text("#!/bin/sh\necho 'Access/permission denied' >&2\nexit 1\n")
    refused = cluster("set", sweep, "--time", "90", "--running", code=4)

    assert nothing == []
    assert waiting == [{"job": job, "waiting": 5, "running": 0, "problems": []}]
    assert running == [{"job": job, "waiting": 0, "running": 5, "problems": []}]
    assert [bool(one["problems"]) for one in refused] == [True]


def test_what_mend_prints_of_a_first_round_a_later_one_the_last_and_beside_another(cluster, tmp_path, slurmsweep):
    sweep = slurmsweep("create", "sweep.yaml").stdout.strip()
    first = cluster("mend", sweep)
    mending = cluster("status", sweep)["mending"]
    later = cluster("mend", sweep)
    store = SweepStore.open(str(tmp_path / ".slurmsweep" / f"sweep-{sweep}"))
    files = SupervisorFiles(store.layout, store.access)
    number = files.take_round(this_process(os.environ), lambda holder: False)
    beside = cluster("mend", sweep)
    files.end_round(LastRound(number))
    slurmsweep("stop", sweep)
    jobs_become(tmp_path, "CANCELLED")
    last = cluster("mend", sweep)

    assert any(line.startswith("submitted job") for line in first["said"])
    assert (first["number"], later["number"], mending["rounds"]) == (1, 2, 1)
    assert beside is None
    assert (last["number"], last["is_over"]) == (4, True)


def test_a_command_says_in_its_help_that_it_has_json():
    assert {name for name in COMMANDS if hasattr(import_module(f"slurmsweep.cli.commands.{name}"), "run")} >= set(
        with_json()
    )
