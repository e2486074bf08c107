"""``--function package.module:train``: trials are processes as any others, and call a function by its import path."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from slurmsweep.agents import call_function
from slurmsweep.control.creation.function import locate
from slurmsweep.errors import UsageError
from slurmsweep.sweepfile.function import ImportPath

MODULE = """
import os, sys
import slurmsweep

def train():
    run = slurmsweep.init()
    print(run.config.x, __name__, os.getcwd(), sys.argv)
    slurmsweep.log({"loss": run.config.x})

def fail():
    raise ValueError("no luck")

class Model:
    @staticmethod
    def fit():
        print("fitted")

async def later():
    pass

def leave():
    sys.exit(3)

number = 7
from json import dumps as renamed
"""

SWEEP = "method: grid\nmetric: {name: loss, goal: minimize}\nparameters: {x: {values: [1, 2]}}\n"


@pytest.fixture(autouse=True)
def _files(tmp_path):
    """Return a module, a package, a folder that is none, and a sweep file without a program."""
    (tmp_path / "job.py").write_text(MODULE)
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text("raise RuntimeError('nothing of it is imported before the job')")
    (tmp_path / "pack" / "inner" / "__init__.py").write_text("")
    (tmp_path / "pack" / "inner" / "deep.py").write_text("from os.path import *\n")
    (tmp_path / "plain" / "sub").mkdir(parents=True)
    (tmp_path / "plain" / "sub" / "job.py").write_text("def train(): print('in a plain folder')\n")
    (tmp_path / "torn.py").write_text("def train(:\n")
    (tmp_path / "sweep.yaml").write_text(SWEEP)


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("job", ""),
        ("job:", ""),
        (":train", ""),
        ("", ""),
        ("job.train", "job:train"),
        ("job.py:train", "job:train"),
        ("./src/job.py:train", "src.job:train"),
        ("job:train()", "job:train"),
        ("job:2", ""),
        ("job:class", ""),
        ("a:b:c", ""),
        ("job: train", ""),
        ("job..x:train", ""),
    ],
)
def test_what_is_no_import_path_is_refused_with_what_may_have_been_meant(text, guess):
    with pytest.raises(UsageError) as caught:
        ImportPath.parse(text)

    assert f"--function {text!r} is not the import path" in str(caught.value)
    assert str(caught.value).endswith(f"such as {guess}" if guess else "write package.module:function")


@pytest.mark.parametrize("text", ["job:train", "a.b_1.c:D.e", "größe:тест"])
def test_an_import_path_is_module_and_name(text):
    assert str(ImportPath.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("job:train", "job.py"),
        ("job:Model.fit", "job.py"),
        ("job:renamed", "job.py"),
        ("pack.inner.deep:anything", "pack/inner/deep.py"),
        ("plain.sub.job:train", "plain/sub/job.py"),
        ("torn:train", "torn.py"),
    ],
)
def test_a_function_is_found_by_the_text_of_its_module_and_nothing_is_imported(text, file, tmp_path):
    function = locate(text, [str(tmp_path / "plain"), str(tmp_path)])

    assert (function.folder, function.file) == (str(tmp_path), str(tmp_path / file))
    assert not {"job", "pack", "pack.inner", "plain", "torn"} & sys.modules.keys()


@pytest.mark.parametrize("text", ["math:sqrt", "json.tool:main", "concurrent.futures:wait"])
def test_an_installed_function_is_called_in_the_first_folder(text, tmp_path):
    assert locate(text, [str(tmp_path), "/"]).folder == str(tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nowhere:train", "there is no module 'nowhere' in"),
        ("job:trian", "did you mean 'train'?"),
        ("job.more:train", "job is a module and no package"),
        ("pack.inner.high:train", "there is no module 'high' in"),
        ("plain.sub:train", "name a module in it"),
        ("plain.job:train", "there is no module 'job' in"),
    ],
)
def test_a_function_that_is_not_there_is_refused(text, problem, tmp_path):
    with pytest.raises(UsageError) as caught:
        locate(text, [str(tmp_path)])

    assert problem in str(caught.value)


def test_a_module_that_only_the_trials_own_interpreter_has_is_found(tmp_path, monkeypatch):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("PATH", f"{python.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("PYTHONPATH", raising=False)

    function = locate("job:train", [str(tmp_path / "elsewhere")])

    assert (function.folder, function.file) == (str(tmp_path / "elsewhere"), None)


def call(*argv: str, cwd) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, call_function.__file__, *argv]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("job:Model.fit", 0, ""),
        ("job:leave", 3, ""),
        ("job:fail", 1, "ValueError: no luck\n"),
        ("nowhere:train", 2, "slurmsweep: No module named 'nowhere': looked in"),
        ("job:nothing", 2, "has no 'nothing'"),
        ("job:number", 2, "job:number is 'int' and cannot be called"),
        ("job:later", 2, "job:later is asynchronous"),
        ("pack.inner.deep:join", 1, "RuntimeError: nothing of it is imported before the job"),
        ("job", 2, "name one function as package.module:function"),
    ],
)
def test_the_trials_process_ends_as_a_script_would_and_says_what_cannot_be_called(text, code, words, tmp_path):
    done = call(text, cwd=tmp_path)

    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert ("Traceback" in done.stderr) == (code == 1)


def test_a_module_that_is_missing_inside_the_users_module_is_shown_with_its_traceback(tmp_path):
    (tmp_path / "needs.py").write_text("import not_installed_here\ndef train(): pass\n")

    done = call("needs:train", cwd=tmp_path)

    assert done.returncode == 1
    assert "No module named 'not_installed_here'" in done.stderr
    assert "needs.py" in done.stderr


def test_the_interpreter_of_the_trial_needs_no_slurmsweep(tmp_path):
    (tmp_path / "bare.py").write_text(
        "import importlib.util as u\ndef train(): print(u.find_spec('slurmsweep'), u.find_spec('child'))\n"
    )
    command = [sys.executable, "-S", call_function.__file__, "bare:train"]  # without site-packages
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)

    assert (done.returncode, done.stdout) == (0, "None None\n"), done.stderr


def test_run_creates_a_sweep_whose_trials_call_the_function(slurmsweep, log_of, tmp_path):
    done = slurmsweep("run", "sweep.yaml", "--backend", "local", "--function", "job:train", "--strict", "--json")

    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert status["counts"]["finished"] == 2
    assert status["best"]["metric"] == 1
    assert log_of(status["id"], 1) == f"2 job {tmp_path} ['job:train']\n"


def test_the_function_is_kept_for_whatever_runs_trials_later(slurmsweep, log_of, outcomes, tmp_path):
    sweep = slurmsweep("create", "sweep.yaml", "--function", "job:fail").stdout.strip()
    assert slurmsweep("agent", sweep).returncode == 1
    (tmp_path / "job.py").write_text(MODULE.replace('raise ValueError("no luck")', "train()"))

    done = slurmsweep("resubmit", sweep, "--backend", "local")
    again = slurmsweep("agent", sweep, "--function", "job:fail")

    assert done.returncode == 0, done.stderr
    assert log_of(sweep, 0, 1).endswith("ValueError: no luck\n")
    assert outcomes(sweep) == {0: ("finished", ""), 1: ("finished", "")}
    assert "nothing left to do" in again.stderr


def test_a_sweep_has_one_function(slurmsweep):
    sweep = slurmsweep("create", "sweep.yaml", "--function", "job:train").stdout.strip()

    done = slurmsweep("agent", sweep, "--function", "job:fail")

    assert done.returncode == 2
    assert f"the trials of sweep {sweep} call job:train" in done.stderr


def test_a_sweep_made_in_python_can_be_given_its_function_on_the_command_line(make_sweep, slurmsweep, outcomes):
    sweep = make_sweep((1, 2))

    done = slurmsweep("agent", sweep, "--count", "2", "--function", "job:train")

    assert done.returncode == 0, done.stderr
    assert outcomes(sweep) == {0: ("finished", ""), 1: ("finished", "")}


def test_of_agents_that_name_it_at_the_same_time_one_is_the_first_and_all_work(make_sweep, python, outcomes):
    sweep = make_sweep(range(4))
    program = "import sys; from slurmsweep.cli.main import main; sys.exit(main(sys.argv[1:]))"

    agents = [python(program, "agent", sweep, "--function", "job:train") for _ in range(4)]

    assert [agent.wait(120) for agent in agents] == [0] * 4
    assert outcomes(sweep) == dict.fromkeys(range(4), ("finished", ""))


def test_a_dry_run_keeps_nothing_and_an_agent_of_a_function_loads_no_more_than_another(
    make_sweep, slurmsweep, python, tmp_path
):
    sweep = make_sweep((1, 2))
    kept = tmp_path / "wandb" / f"sweep-{sweep}" / "function.json"

    dry = slurmsweep("submit", sweep, "--dry-run", "--function", "job:train")
    was_kept = kept.exists()
    slurmsweep("agent", sweep, "--function", "job:train")
    program = (
        "import sys; from slurmsweep.cli.main import main; main(sys.argv[1:]); "
        "print([name for name in sys.modules if name.startswith(('slurmsweep.control', 'slurmsweep.api'))])"
    )
    out, err = python(program, "agent", sweep).communicate(timeout=120)

    assert dry.returncode == 0, dry.stderr
    assert (was_kept, kept.exists()) == (False, True)
    assert out == "[]\n", err


def test_a_function_beside_the_sweep_file_is_called_there(slurmsweep, log_of, tmp_path):
    (tmp_path / "plain" / "sub" / "sweep.yaml").write_text(SWEEP)
    (tmp_path / "plain" / "sub" / "mine.py").write_text("import os\ndef train(): print(os.getcwd())\n")

    done = slurmsweep(
        "run", "plain/sub/sweep.yaml", "--backend", "local", "--function", "mine:train", "--count", "1", "--json"
    )

    assert done.returncode == 0, done.stderr
    assert log_of(json.loads(done.stdout)["id"]) == f"{tmp_path / 'plain' / 'sub'}\n"


@pytest.mark.parametrize("command", [("run", "--backend", "local"), ("create",), ("plan",)])
@pytest.mark.parametrize("function", ["job:trian", "job.train", "nowhere:train"])
def test_a_wrong_function_is_a_usage_error_before_anything_is_made(slurmsweep, tmp_path, command, function):
    done = slurmsweep(command[0], "sweep.yaml", *command[1:], "--function", function)

    assert done.returncode == 2
    assert f"slurmsweep: --function {function.strip()}" in done.stderr.replace("'job.train'", "job.train")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "wandb").exists()


def test_create_without_program_and_function_says_both_ways(slurmsweep):
    done = slurmsweep("create", "sweep.yaml")

    assert done.returncode == 2
    assert "program: is missing" in done.stderr
    assert "--function package.module:function" in done.stderr


def test_plan_shows_the_call(slurmsweep):
    planned = json.loads(slurmsweep("plan", "sweep.yaml", "--function", "job:train", "--json").stdout)

    assert planned["trials"][0]["argv"][:2] == ["/usr/bin/env", "python"]
    assert planned["trials"][0]["argv"][2].endswith("call_function.py")
    assert planned["trials"][0]["argv"][3:] == ["job:train"]


def test_a_damaged_record_of_the_function_is_an_error_of_the_state(slurmsweep, tmp_path):
    sweep = slurmsweep("create", "sweep.yaml", "--function", "job:train").stdout.strip()
    (tmp_path / "wandb" / f"sweep-{sweep}" / "function.json").write_text('{"format": "slurmsweep function"')

    done = slurmsweep("agent", sweep)

    assert done.returncode == 5
    assert "function.json is damaged" in done.stderr


def test_a_function_for_a_sweep_of_wandbs_own_is_refused(slurmsweep):
    for command in ("agent", "submit"):
        done = slurmsweep(command, "entity/project/abcd1234", "--function", "job:train")

        assert done.returncode == 2
        assert "--function is for sweeps made here" in done.stderr
