"""The program of a sweep is looked for as the command will use it: what W&B would run is accepted."""

from __future__ import annotations

import json
import os
import zipfile

import pytest
import yaml

from slurmsweep.control.creation.create import draft_of, read_draft
from slurmsweep.errors import SweepFileError

DEFAULT = ["${env}", "${interpreter}", "${program}", "${args}"]
ALONE = ["${env}", "${program}", "train", "${args_no_hyphens}"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder to work in, beside one for sweep files."""
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "beside").mkdir()
    monkeypatch.chdir(here)
    return here


def draft(program, command=DEFAULT, **more):
    return draft_of(
        {"method": "grid", "parameters": {"x": {"value": 1}}, "program": program, "command": command, **more}, "t"
    )


def told(program, command=DEFAULT) -> list[str]:
    return [str(warning) for warning in draft(program, command).warnings]


def refused(program, command=DEFAULT) -> str:
    with pytest.raises(SweepFileError) as error:
        draft(program, command)
    return "\n".join(map(str, error.value.violations))


def test_python_runs_a_folder_with_a_main_and_a_zip_app_too(folder):
    (folder / "pkg").mkdir()
    assert refused("pkg") == (
        "program: 'pkg' is a folder without a __main__.py, which python cannot run "
        "(name the script in it, or give it a __main__.py)"
    )
    (folder / "pkg" / "__main__.py").touch()
    with zipfile.ZipFile(folder / "app.pyz", "w") as app:
        app.writestr("__main__.py", "")

    assert told("pkg") == told("./pkg") == told("app.pyz") == []


def test_a_command_on_the_path_needs_no_file(folder, monkeypatch):
    (folder / "bin").mkdir()
    (folder / "bin" / "mytool-train").write_text("#!/bin/sh\n")
    (folder / "bin" / "mytool-train").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")

    for command in (["srun", "${program}"], ["conda", "run", "-n", "x", "${program}"]):
        assert told("mytool-train", command) == []
        assert ", and no command of that name on the PATH" in told("other-train", command)[0]
    for command in (ALONE, ["${env}", "A=1", "${program}"], ["nice", "-n", "5", "${program}"]):
        made = draft("other-train", command)
        assert told("mytool-train", command) == list(made.warnings) == []
        [doubt] = map(str, made.doubts)  # once: where the first word is looked at
        assert doubt == "program: there is no program 'other-train' on the PATH here (is its name right?)"
    assert "there is no file 'mytool-train'" in refused("mytool-train")


def test_a_module_needs_no_file_and_runs_where_its_package_is(folder, tmp_path):
    command = ["${env}", "${interpreter}", "-m", "${program}", "${args}"]
    assert told("pkg.train", command) == []
    assert draft("pkg.train", command).workdir == str(folder)

    for files in (["pkg/train.py"], ["pkg/train/__main__.py"]):
        for file in files:
            (tmp_path / "beside" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "beside" / file).touch()
        file = tmp_path / "beside" / "sweep.yaml"
        file.write_text(
            "method: grid\nprogram: pkg.train\ncommand: [python, -m, '${program}']\nparameters: {x: {value: 1}}\n"
        )
        assert read_draft(str(file)).workdir == str(tmp_path / "beside")

    assert "write program: pkg.train, or remove -m" in told("./pkg/train.py", command)[0]


@pytest.mark.parametrize(
    "before",
    [
        ["apptainer", "exec", "image.sif", "python"],
        ["srun", "/usr/bin/singularity", "run", "--nv", "image.sif"],
        ["docker", "run", "--rm", "image", "python"],
        ["srun", "--container-image=image.sqsh", "python"],
        ["env", "--chdir=/src", "python"],
    ],
)
def test_a_program_in_a_container_is_a_warning_at_most(folder, before):
    command = [*before, "${program}", "${args}"]
    assert "the command runs it elsewhere" in told("/opt/app/train.py", command)[0]
    assert "the command runs it elsewhere" in told("app/train.py", command)[0]
    (folder / "train.py").touch()
    assert told("train.py", command) == []


def test_an_absolute_path_that_is_itself_started_is_doubted_once():
    made = draft("/nodes-only/me/tool", ALONE)

    assert made.warnings == ()
    assert list(map(str, made.doubts)) == [
        "program: there is no program '/nodes-only/me/tool' here (is its name right?)"
    ]


def test_an_absolute_path_whose_folder_is_not_here_may_be_on_the_nodes(folder):
    assert told("/nodes-only/me/train.py") == [
        "program: there is no file '/nodes-only/me/train.py' on this machine (the path is right only if it is there on the nodes)"
    ]
    assert f"there is no file '{folder}/trian.py' on this machine" in refused(f"{folder}/trian.py")


def test_what_cannot_be_run_is_refused_with_the_mend(folder):
    for name in ("train.py", "train.ipynb"):
        (folder / name).touch()

    assert "jupyter nbconvert --to script train.ipynb" in refused("train.ipynb")
    assert told("train.ipynb", ["papermill", "${program}", "out.ipynb"]) == []
    assert "write program: train.py, and its options in command" in refused("train.py --epochs 3")
    assert "write program: pkg.train, and `- -m` before ${program} in command" in refused("-m pkg.train")
    assert "no shell reads it" in refused("~/train.py")
    assert "no shell reads it" in refused("$HOME/train.py")
    assert "(did you mean 'train.py'?)" in refused("src/train.py", ["bash", "${program}"])
    assert "give its path relative to the sweep file" in refused("src/other.py", ["bash", "${program}"])


def test_a_missing_program_is_said_with_all_other_mistakes_and_its_line(folder):
    (folder / "sweep.yaml").write_text("program: nowhere.py\nmethod: gird\nparameters:\n  lr:\n    valeus: [0.1]\n")

    with pytest.raises(SweepFileError) as error:
        read_draft("sweep.yaml")

    assert [(one.line, one.path) for one in error.value.violations] == [
        (1, "program"),
        (2, "method"),
        (5, "parameters.lr.valeus"),
    ]


@pytest.mark.parametrize(
    ("program", "script", "words"),
    [
        ("python train.py", "train.py", ["python", "${program}"]),
        (
            "accelerate launch --cpu a/train.py --fast",
            "a/train.py",
            ["accelerate", "launch", "--cpu", "${program}", "--fast"],
        ),
        ("bash run.sh", "run.sh", ["bash", "${program}"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_whole_command_as_program_is_told_apart_into_program_and_command(program, script, words):
    said = refused(program)

    assert f"(program is one file: write program: {script}, and command: [" in said
    line = said.partition(", and ")[2].partition("\n")[0].removesuffix(")")
    assert yaml.safe_load(line) == {"command": [*words, "${args}"]}


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("#!/bin/bash", ["/bin/bash", "${program}", "${args}"]),
        ("#! /usr/bin/env Rscript", ["Rscript", "${program}", "${args}"]),
        ("#!/usr/bin/env python3", None),
        ("#!/opt/pypy/bin/pypy", None),
        ("import os", None),
        ("", None),
    ],
)
def test_a_script_that_python_does_not_read_is_told_which_command_runs_it(folder, first, words):
    (folder / "fit.sh").write_text(f"{first}\nx=1\n")

    warnings = told("fit.sh")

    if words is None:
        assert warnings == []
    else:
        [warning] = warnings
        assert f"begins with '{first.replace('! ', '!')}', and the command lets python read it" in warning
        assert yaml.safe_load(warning.partition("(write ")[2].removesuffix(")")) == {"command": words}


def test_a_misspelt_program_is_answered_with_the_file_that_is_there(folder):
    (folder / "train.py").touch()

    assert "there is no file 'trian.py'" in refused("trian.py")
    assert "(did you mean 'train.py'?)" in refused("trian.py")


@pytest.mark.parametrize("name", ["team/mnist", "a:b", "50%", "x" * 129])
def test_a_project_that_wandb_refuses_in_every_trial_is_an_error_before_the_first(folder, name):
    (folder / "train.py").touch()
    with pytest.raises(SweepFileError, match="project: wandb refuses the name"):
        draft("train.py", project=name)
    (folder / "sweep.json").write_text(
        json.dumps({"method": "grid", "parameters": {"x": {"value": 1}}, "program": "train.py"})
    )
    with pytest.raises(SweepFileError, match="project: wandb refuses the name"):
        read_draft("sweep.json", names={"project": name})
    assert draft("train.py", project="mnist tuning (2)").config.project == "mnist tuning (2)"
