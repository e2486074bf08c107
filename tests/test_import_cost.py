"""What runs on every compute node, and in every training script, loads nothing heavy."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from slurmsweep.cli.parser import build_parser

#: What the newest filelock for Python 3.10 (4.1) loads by itself; from 3.11 on it loads none of it.
FILELOCK_ON_3_10 = {"asyncio", "shutil", "ssl", "sqlite3"} if sys.version_info < (3, 11) else set()

HEAVY = {
    "submitit",
    "yaml",
    "tabulate",
    "asyncio",
    "numpy",
    "rich",
    "click",
    "ssl",
    "wandb",
    "sqlite3",
    "multiprocessing",
}


def modules_after(code: str, *argv: str, cwd=None) -> set[str]:
    script = f"import sys, json\n{code}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script, *argv], cwd=cwd, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


#: Modules of ours, and modules beside those that Python and filelock load: an agent that runs a trial loads at most so
#: many. Each is CPU time of every job, and several requests to the metadata server of a parallel filesystem.
MOST_OF_OURS = {"grid": 45, "random": 47}
MOST_IN_ALL = 60

#: Rooms of ours that an agent loads nothing of, where its sweep has no metric; the readers of metrics where it has one.
NOT_OURS_FOR_AGENTS = ("cli.parser", "api", "supervisor", "control", "sizing", "sync", "doctor", "backends", "report")
ONLY_FOR_METRICS = ("metrics",)

#: What an agent needs none of, neither for itself nor for filelock.
NEEDLESS = {"argparse", "difflib", "gettext", "shlex", "shutil"}


def ours(loaded: set[str]) -> set[str]:
    return {name.removeprefix("slurmsweep.") for name in loaded if name.startswith("slurmsweep.")}


def is_in(name: str, *rooms: str) -> bool:
    return any(f"{name}.".startswith(f"{room}.") for room in rooms)


@pytest.mark.parametrize("is_path", [False, True], ids=["id", "path"])
@pytest.mark.parametrize("method", ["grid", "random"])
def test_an_agent_that_runs_a_trial_loads_no_login_node_library(slurmsweep, write_sweep, tmp_path, method, is_path):
    made = slurmsweep("create", str(write_sweep("pass", method=method, extra="run_cap: 2"))).stdout.strip()
    sweep = str(tmp_path / ".slurmsweep" / f"sweep-{made}") if is_path else made

    command = "from slurmsweep.cli.main import main; main(['agent', '--count', '1', sys.argv[1]])"
    loaded = modules_after(command, sweep, cwd=tmp_path)

    assert [name for name in ours(loaded) if is_in(name, *NOT_OURS_FOR_AGENTS, *ONLY_FOR_METRICS)] == []
    assert loaded & ((HEAVY | NEEDLESS) - FILELOCK_ON_3_10) == set()
    assert len(ours(loaded)) <= MOST_OF_OURS[method]
    assert len(loaded - modules_after("import filelock")) <= MOST_IN_ALL
    assert not {name for name in loaded if name.endswith(".naming")}


def test_an_agent_of_a_sweep_with_a_metric_loads_the_readers_of_metrics_besides(slurmsweep, write_sweep, tmp_path):
    script = "import slurmsweep; slurmsweep.init(); slurmsweep.log({'loss': 1})"
    sweep = slurmsweep("create", str(write_sweep(script, extra="metric: {name: loss}"))).stdout.strip()

    command = "from slurmsweep.cli.main import main; main(['agent', '--count', '1', sys.argv[1]])"
    loaded = modules_after(command, sweep, cwd=tmp_path)

    readers = {"metrics", "metrics.objective_values", "metrics.protobuf", "metrics.reported", "metrics.run_file"}
    assert {name for name in ours(loaded) if is_in(name, *ONLY_FOR_METRICS)} == readers
    assert [name for name in ours(loaded) if is_in(name, *NOT_OURS_FOR_AGENTS)] == []


#: What an agent loads besides where trials may be stopped early: as soon as one has reached a band.
FOR_BANDS = {
    "agents.early_termination",
    "metrics.logged_values",
    "search.hyperband",
    "state.band_values",
    "state.replay",
    "state.trial_index",
    "state.view_cache",
}


@pytest.mark.parametrize(
    "extra", ["metric: {name: loss}", "metric: {name: loss}\nearly_terminate: {type: hyperband, min_iter: 1}"]
)
def test_an_agent_loads_readers_of_other_trials_only_where_trials_may_be_stopped_early(
    slurmsweep, write_sweep, tmp_path, monkeypatch, extra
):
    monkeypatch.setenv("SLURMSWEEP_EARLY_TERMINATE_SECONDS", "0.1")
    script = "import slurmsweep, time; slurmsweep.init(); slurmsweep.log({'loss': 1}); time.sleep(2)"
    sweep = slurmsweep("create", str(write_sweep(script, extra=extra))).stdout.strip()

    command = "from slurmsweep.cli.main import main; main(['agent', '--count', '1', sys.argv[1]])"
    loaded = modules_after(command, sweep, cwd=tmp_path)

    assert ours(loaded) & FOR_BANDS == (FOR_BANDS if "early_terminate" in extra else set())
    assert [name for name in ours(loaded) if is_in(name, *NOT_OURS_FOR_AGENTS)] == []
    assert loaded & (HEAVY - FILELOCK_ON_3_10) == set()


@pytest.mark.parametrize(
    ("extra", "is_loaded"),
    [
        ("metric: {name: a}", False),
        ("slurmsweep: {pareto: {a: minimize, b: minimize}}", False),
        ("slurmsweep: {metric: {name: total, expression: a + b}}", True),
    ],
)
def test_an_agent_loads_expressions_only_where_there_is_one(slurmsweep, write_sweep, tmp_path, extra, is_loaded):
    sweep = slurmsweep("create", str(write_sweep("pass", extra=extra))).stdout.strip()

    loaded = modules_after("from slurmsweep.cli.main import main; main(['agent', sys.argv[1]])", sweep, cwd=tmp_path)

    assert ("slurmsweep.sweepfile.expression" in loaded) == is_loaded
    assert loaded & (HEAVY - FILELOCK_ON_3_10) == set()


def test_the_training_scripts_side_loads_none_of_the_rest():
    loaded = modules_after("import slurmsweep; slurmsweep.init(config={'x': 1}); slurmsweep.log({'x': 1})")

    assert "slurmsweep.client" in loaded
    assert {name.split(".")[1] for name in loaded if name.startswith("slurmsweep.")} == {"client", "errors"}
    assert loaded & (HEAVY | {"argparse", "filelock", "zipfile", "shutil", "tempfile"}) == set()


def test_help_loads_no_login_node_library():
    loaded = modules_after("from slurmsweep.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass")

    assert loaded & HEAVY == set()


#: What no command needs to start work or to look at it: help with mistakes, learning, and each other's heavy parts.
NOT_FOR_RUN = {"statistics", "fractions", "difflib", "rich", "numpy", "click", "wandb", "sqlite3", "multiprocessing"}
NOT_OURS_FOR_RUN = {
    "agents.agent",
    "agents.attempt",
    "agents.child",
    "control.creation.function",
    "control.launch.supervised",
    "backends.local",
    "backends.local_agents",
}

#: What submits jobs, and what decides of them: a look at a sweep needs neither.
NOT_OURS_FOR_STATUS = {
    "backends.slurm.executor",
    "backends.slurm.template",
    "control.failures.log_end",
    "control.jobs.wakeup",
    "control.round.apply",
    "control.round.retry_policy",
}


@pytest.mark.parametrize("named", [FOR_BANDS, NOT_OURS_FOR_RUN, NOT_OURS_FOR_STATUS], ids=["bands", "run", "status"])
def test_modules_that_are_looked_for_exist(named):
    assert [name for name in named if find_spec(f"slurmsweep.{name}") is None] == []


def sbatch_that_takes_everything(folder) -> str:
    """Return a PATH on which sbatch says that job 7 was submitted, and scontrol that there is nothing special about Slurm."""
    for name, words in {"sbatch": "Submitted batch job 7", "scontrol": "MaxArraySize = 1001"}.items():
        (folder / name).write_text(f"#!/bin/sh\necho '{words}'\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_run_on_slurm_loads_what_submits_and_nothing_that_runs_trials_here(write_sweep, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", sbatch_that_takes_everything(tmp_path / "bin"), prepend=os.pathsep)
    words = ["run", str(write_sweep("pass")), "--backend", "slurm", "--no-wait"]

    loaded = modules_after("from slurmsweep.cli.main import main; main(sys.argv[1:])", *words, cwd=tmp_path)

    assert "submitit" in loaded
    assert loaded & (NOT_FOR_RUN - FILELOCK_ON_3_10) == set()
    assert ours(loaded) & NOT_OURS_FOR_RUN == set()


def test_status_loads_nothing_that_submits(slurmsweep, write_sweep, tmp_path):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()

    loaded = modules_after("from slurmsweep.cli.main import main; main(['status', sys.argv[1]])", sweep, cwd=tmp_path)

    assert loaded & (HEAVY | NOT_FOR_RUN | {"tabulate", "filelock", "logging"}) == set()
    assert ours(loaded) & NOT_OURS_FOR_STATUS == set()


@pytest.mark.parametrize("command", ["run", "status", "cancel", "sync"])
def test_only_the_arguments_of_the_command_are_made(command):
    [commands] = [action for action in build_parser(command)._actions if isinstance(action, argparse._SubParsersAction)]

    assert list(commands.choices) == [command]
