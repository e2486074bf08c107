"""A preview and what it previews say the same; a refused run leaves nothing behind."""

from __future__ import annotations

import importlib.util
import json
import os
from typing import TYPE_CHECKING

import pytest
from backends import played_slurm

from slurmsweep.cli.parser import build_parser
from slurmsweep.control.creation import create

if TYPE_CHECKING:
    from pathlib import Path

TRUTH = [["plan"], ["run", "--dry-run"], ["run"]]


def answers(slurmsweep, *options, **environ) -> list[tuple[int, str]]:
    """Return exit code and last line of `plan`, of a rehearsal and of the real `run` of the same file."""
    found = []
    for words in TRUTH:
        done = slurmsweep(words[0], "sweep.yaml", *words[1:], "--backend", "local", *options, **environ)
        found.append((done.returncode, done.stderr.splitlines()[-1] if done.returncode else ""))
    return found


def sweeps(tmp_path: Path) -> list[str]:
    folder = tmp_path / ".slurmsweep"
    return [name for name in os.listdir(folder) if name.startswith("sweep-")] if folder.exists() else []


@pytest.mark.parametrize(
    ("extra", "parameters"),
    [
        ('command: ["${interpreter}", "${program}", "${envvar:NOT_SET_HERE}"]', "  x: {values: [1, 2]}"),
        ("slurmsweep: {exclude: [{x: 1}, {x: 2}]}", "  x: {values: [1, 2]}"),
        ("command: [python3.99, '${program}']", "  x: {values: [1, 2]}"),
    ],
)
def test_a4_plan_refuses_what_run_refuses_and_no_sweep_is_left(slurmsweep, write_sweep, tmp_path, extra, parameters):
    write_sweep("pass", parameters, extra)

    assert [code for code, _ in answers(slurmsweep)] == [2, 2, 2]
    assert len({said for _, said in answers(slurmsweep)}) == 1
    assert "the nodes may differ" not in slurmsweep("plan", "sweep.yaml", "--backend", "local").stderr
    assert sweeps(tmp_path) == []


def test_plan_refuses_bayes_without_numpy_as_run_does(slurmsweep, write_sweep, tmp_path, monkeypatch):
    write_sweep("pass", "  x: {min: 0.0, max: 1.0}", "metric: {name: loss}", method="bayes")
    monkeypatch.setattr(create, "find_spec", lambda name: None if name == "numpy" else importlib.util.find_spec(name))

    planned, rehearsed = slurmsweep("plan", "sweep.yaml"), slurmsweep("run", "sweep.yaml", "--dry-run", "--count", "1")

    assert (planned.returncode, "bayes needs numpy" in planned.stderr) == (2, True)
    assert rehearsed.stderr.splitlines()[-1] == planned.stderr.splitlines()[-1]
    assert sweeps(tmp_path) == []


@pytest.mark.parametrize(
    ("extra", "options", "is_said"), [("", [], True), ("", ["--count", "2"], False), ("run_cap: 2", [], False)]
)
def test_plan_says_that_run_wants_a_count_where_the_search_has_no_end(slurmsweep, write_sweep, extra, options, is_said):
    write_sweep("pass", "  x: {min: 0.0, max: 1.0}", extra, method="random")

    planned = slurmsweep("plan", "sweep.yaml", "--backend", "local", *options)
    rehearsed = slurmsweep("run", "sweep.yaml", "--backend", "local", "--dry-run", *options)

    assert (planned.returncode, "`run` wants --count" in planned.stderr) == (0, is_said)
    assert rehearsed.returncode == (2 if is_said else 0)


def test_a_variable_that_the_agent_sets_is_no_missing_one_and_reaches_the_command(slurmsweep, write_sweep, tmp_path):
    write_sweep(
        "import sys; print(sys.argv[1:3])",
        extra='command: [python, "${program}", "${envvar:SLURMSWEEP_TRIAL}", "${envvar:WANDB_RUN_ID}", "${args}"]',
    )

    planned = slurmsweep("plan", "sweep.yaml")
    assert (planned.returncode, "is not set" in planned.stderr) == (0, False)
    done = slurmsweep("run", "sweep.yaml", "--backend", "local", "--json")
    assert done.returncode == 0, done.stderr
    sweep = json.loads(done.stdout)["id"]
    assert slurmsweep("logs", "1").stdout == f"['1', '{sweep}-1']\n"


@pytest.mark.parametrize("words", [[], ["--state", "failed"], ["--trials", "1"], ["--max-attempts", "2"]])
def test_a4_resubmit_does_what_its_rehearsal_says(slurmsweep, write_sweep, tmp_path, words):
    write_sweep("import os, sys; sys.exit(not os.path.exists('mended'))")
    slurmsweep("run", "sweep.yaml", "--backend", "local")
    sweep = json.loads(slurmsweep("ls", "--json").stdout)[0]["id"]
    (tmp_path / "mended").touch()
    (tmp_path / "train.py").write_text("pass")

    plan = json.loads(slurmsweep("resubmit", sweep, "--backend", "local", "--dry-run", "--json", *words).stdout)
    slurmsweep("resubmit", sweep, "--backend", "local", *words)

    rows = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert sum(row["attempt"] == 2 for row in rows) == sum(batch["trials"] for batch in plan["batches"]) > 0


@pytest.mark.parametrize("fault", ["is not there", "answers nothing useful"])
def test_a_run_that_a_broken_slurm_refuses_leaves_no_sweep(slurmsweep_process, write_sweep, tmp_path, fault):
    """Programs in the place of Slurm's: what is broken of a real one cannot be broken on purpose."""
    write_sweep("pass")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo"):
        program = programs / name
        program.write_text(
            "#!/bin/sh\necho 'sbatch: error: Batch job submission failed: Invalid account' >&2\nexit 1\n"
        )
        program.chmod(0o755)
        if fault == "is not there" and name != "sbatch":
            program.unlink()

    done = slurmsweep_process("run", "sweep.yaml", "--backend", "slurm", PATH=f"{programs}:{os.environ['PATH']}")

    assert done.returncode == 4, done.stderr
    assert sweeps(tmp_path) == []


def test_a_resubmit_with_nothing_to_do_says_so_and_shows_no_table(slurmsweep, write_sweep):
    write_sweep("pass")
    slurmsweep("run", "sweep.yaml", "--backend", "local")

    done = slurmsweep("resubmit", "last", "--backend", "local")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1] == "slurmsweep: nothing to run again: all 3 trials finished"


def test_one_trial_fails_alike(slurmsweep, write_sweep):
    write_sweep("raise SystemExit(3)", parameters="  x: {values: [1]}")
    slurmsweep("run", "sweep.yaml", "--backend", "local")
    for _ in range(3):
        done = slurmsweep("resubmit", "last", "--backend", "local")

    assert "1 trial fail " not in done.stderr


#: Options of `run` and `submit` that `plan` does not need: they say how a command goes on, for whom a sweep is, or where
#: one runs that was made before.
ONLY_OF_STARTS = {"--dry-run", "--plain", "--shared", "--shared=read", "--workdir"}


@pytest.mark.parametrize("command", ["run", "submit"])
def test_plan_takes_every_option_that_changes_what_is_submitted(command):
    options = {
        name: {option for option in parser._option_string_actions if option.startswith("--")}
        for name, parser in build_parser()._subparsers._group_actions[0].choices.items()
    }

    assert options[command] - options["plan"] == ONLY_OF_STARTS


@pytest.mark.parametrize(
    "options",
    [
        ["--after", "last"],
        ["--mend"],
        ["--no-wait"],
        ["--canaries", "3"],
        ["--notify", "no-such-program"],
        ["--name", "last"],
        ["--name", "last~2"],
        ["--jobs", "2", "--gpus", "0-2"],
    ],
    ids=" ".join,
)
def test_plan_refuses_each_option_that_run_refuses_in_the_same_words(slurmsweep, write_sweep, tmp_path, options):
    write_sweep("pass")
    assert slurmsweep("create", "sweep.yaml", "--name", "first").returncode == 0
    made = sweeps(tmp_path)

    found = answers(slurmsweep, *options)

    assert [code for code, _ in found] == [2, 2, 2]
    assert len({said for _, said in found}) == 1, found
    assert sweeps(tmp_path) == made


def test_a_plan_behind_other_jobs_shows_the_dependency_that_run_submits(slurmsweep, write_sweep, tmp_path, monkeypatch):
    write_sweep("pass")
    played_slurm.put_on_path(tmp_path / "bin", monkeypatch)
    options = ["sweep.yaml", "--backend", "slurm", "--template", "array", "--json"]
    first = slurmsweep("submit", slurmsweep("create", "sweep.yaml").stdout.strip(), "--json")
    assert first.returncode == 0, first.stderr
    job = json.loads(first.stdout)["arrays"][0]["job"]

    planned, rehearsed = (
        slurmsweep(*words, *options, "--after", "last") for words in (["plan"], ["run", "--dry-run", "--no-wait"])
    )

    dependency = f"#SBATCH --dependency=afterany:{job}"
    assert (planned.returncode, rehearsed.returncode) == (0, 0), planned.stderr + rehearsed.stderr
    assert dependency in json.loads(planned.stdout)["sbatch"].splitlines()
    assert dependency in json.loads(rehearsed.stdout)["sbatch"].splitlines()
    assert all("these jobs start when all jobs of sweep" in done.stderr for done in (planned, rehearsed))


@pytest.mark.parametrize("word", ["last", "last~1"])
def test_a_file_that_names_its_sweep_as_the_word_for_the_newest_is_warned_of(slurmsweep, write_sweep, word):
    write_sweep("pass", extra=f"name: {word}")

    warned = slurmsweep("create", "sweep.yaml")
    strict = slurmsweep("create", "sweep.yaml", "--strict")
    named = slurmsweep("create", "sweep.yaml", "--name", "mine")

    assert (warned.returncode, strict.returncode, named.returncode) == (0, 2, 0)
    assert f"name: {word!r}: that is a word for the newest sweep" in warned.stderr
    assert "newest sweep" not in named.stderr


def test_what_is_not_run_beside_a_function_is_named(slurmsweep, write_sweep):
    write_sweep("def train(): pass", extra="command: [python, -V]")

    planned = slurmsweep("plan", "sweep.yaml", "--backend", "local", "--function", "train:train")

    said = [line for line in planned.stderr.splitlines() if "is not run: trials call the function" in line]
    assert [line.split(": ")[2] for line in said] == ["command", "program"], planned.stderr
