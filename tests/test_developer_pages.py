"""The commands of the pages for developers start what the pages say.

The tests themselves, and what installs something, cannot be run within a test: the scripts are, in a copy of the
checkout where pytest, pip and the linters only write down that they were called, and a suite of Debian is this machine.
What they start is tried elsewhere: by `.ci/run`, which is followed here in the same way, and by `test_newer_slurm.py`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from documented import ROOT, commands

if TYPE_CHECKING:
    from collections.abc import Callable

CONTRIBUTING = ROOT / "CONTRIBUTING.md"
VERSIONS = ROOT / "docs" / "slurm-versions.md"

#: A program that writes down its name and its words.
NOTES = '#!/bin/sh\necho "${0##*/} $*" >> "$CALLS"\n'

#: A Python that makes environments and wheels as far as the scripts look at them. Nothing else happens.
PYTHON = (
    NOTES
    + """
case "$*" in
    "-m venv "*)
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        for name in ruff mypy lint-imports; do cp "$PROGRAMS/notes" "$3/bin/$name"; done
        echo "PATH=$PWD/$3/bin:\\$PATH" > "$3/bin/activate" ;;
    *" wheel --wheel-dir "*) mkdir -p "$7"; : > "$7/slurmsweep-0.whl" ;;
esac
"""
)

#: In the place of scripts/newer-slurm: a suite whose Slurm is on the PATH, with this checkout in it.
NEWER = NOTES.replace("$*", "$1") + 'shift\nexec env PATH="$PROGRAMS:$PATH" "$@"\n'

SET_UP = "python -m pip install --quiet --disable-pip-version-check -e .[dev]"
LINTS = ["ruff check .", "ruff format --check .", "mypy ", "lint-imports "]
FRAMEWORKS = "python -m pip install --quiet --disable-pip-version-check -r tests/frameworks/requirements-torch.txt"
TOOLKIT = "python -m pip --quiet --disable-pip-version-check install -r tests/sagemaker/requirements.txt"
#: What one of the two processes of `scripts/test` runs, and the other one leaves out.
BESIDE = [
    "tests/cluster",
    *re.findall(r"^after_cluster=\((.+)\)$", (ROOT / "scripts" / "test").read_text(), re.MULTILINE)[0].split(),
]
ON_CLUSTER = " ".join(["python -m pytest --color=auto -o cache_dir=.pytest_cache/cluster", *BESIDE])
ALL_OTHERS = " ".join(["python -m pytest", *(f"--ignore={folder}" for folder in BESIDE)])
NEWER_TESTS = "python -m pytest -o cache_dir=/tmp/pytest-cache"


def a_run_of_tests(words: str) -> list[str]:
    return [SET_UP, FRAMEWORKS, TOOLKIT, *LINTS, f"python -m pytest {words}"]


#: What each command calls, in this order; other calls may stand between them.
CALLS = {
    "scripts/test": [SET_UP, FRAMEWORKS, TOOLKIT, *LINTS],
    "scripts/test tests/state": a_run_of_tests("tests/state"),
    "scripts/test tests/containers": a_run_of_tests("tests/containers"),
    "scripts/test tests/cluster": a_run_of_tests("tests/cluster"),
    "scripts/setup-frameworks && scripts/test tests/frameworks": [
        FRAMEWORKS,
        *(call for call in a_run_of_tests("tests/frameworks") if call != FRAMEWORKS),
    ],
    "scripts/setup-sagemaker && scripts/test tests/sagemaker": [
        TOOLKIT,
        *(call for call in a_run_of_tests("tests/sagemaker") if call != TOOLKIT),
    ],
    "scripts/test --slurm trixie": ["newer-slurm trixie", "slurmctld -V", f"{NEWER_TESTS} tests/cluster"],
    "scripts/test --slurm sid": ["newer-slurm sid", "slurmctld -V", f"{NEWER_TESTS} tests/cluster"],
    "scripts/test --slurm trixie tests/cluster/test_limits.py -x": [
        "newer-slurm trixie",
        "slurmctld -V",
        f"{NEWER_TESTS} tests/cluster/test_limits.py -x",
    ],
    # a recording takes five minutes: what `cluster.record` made is read by backends/slurm/test_recorded.py
    "scripts/record-slurm": [SET_UP, "install ", "python -m cluster.record"],
    "scripts/record-slurm trixie": ["newer-slurm trixie", "python -m cluster.record"],
}

#: Commands with a test of their own.
CLONE = "git clone <this repository> && cd slurmsweep"
COMPLETIONS = "scripts/completions"
ONE_FILE = ".venv/bin/python -m pytest tests/state/test_journal.py"


@pytest.fixture
def checkout(tmp_path):
    """Return the copy: the scripts as they are, and those of them that install or make something as notes."""
    copy, programs = tmp_path / "checkout", tmp_path / "programs"
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    shutil.copytree(ROOT / ".ci", copy / ".ci")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for name in ("frameworks", "sagemaker"):
        shutil.copytree(ROOT / "tests" / name, copy / "tests" / name)
    scripts = {
        copy / "tests" / name: NOTES for name in ("cluster/install", "containers/install", "report/install-browser")
    }
    scripts |= {programs / name: NOTES for name in ("notes", "slurmctld")}
    for path, text in (scripts | {programs / "python": PYTHON, copy / "scripts" / "newer-slurm": NEWER}).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    for file in (ROOT / "tests" / "cluster").glob("test_*.py"):
        (copy / "tests" / "cluster" / file.name).touch()
    return copy


@pytest.fixture
def called_by(checkout, tmp_path) -> Callable[[str], list[str]]:
    """Type a command into a shell in the copy, where it has to end with 0; the calls that it made, in their order."""

    def called_by(command: str) -> list[str]:
        programs = tmp_path / "programs"
        environ = os.environ | {
            "CALLS": str(tmp_path / "calls"),
            "PROGRAMS": str(programs),
            "PYTHON": str(programs / "python"),
        }
        done = subprocess.run(
            ["bash", "-c", command], cwd=checkout, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return (tmp_path / "calls").read_text().splitlines()

    return called_by


def assert_in_order(expected: list[str], calls: list[str]) -> None:
    rest = iter(calls)
    for call in expected:
        assert call in rest, f"no {call} in its place\n" + "\n".join(calls)


@pytest.mark.parametrize(
    ("page", "others"),
    [(CONTRIBUTING, {CLONE, COMPLETIONS, ONE_FILE}), (VERSIONS, set())],
    ids=lambda page: str(page)[-20:],
)
def test_every_command_of_the_page_is_here(page, others):
    shown = {command.text for command in commands(page)}

    assert shown == others | (shown & CALLS.keys())
    for word in [word for text in shown for word in shlex.split(text) if word.startswith("tests/")]:
        assert (ROOT / word).exists(), word


@pytest.mark.parametrize("command", CALLS)
def test_a_command_starts_what_its_page_says(command, called_by):
    assert any(command in {one.text for one in commands(page)} for page in (CONTRIBUTING, VERSIONS))

    calls = called_by(command)

    assert_in_order(CALLS[command], calls)
    runs = [call for call in calls if "-m pytest" in call]
    if command == "scripts/test":
        assert sorted(runs) == sorted([ON_CLUSTER, ALL_OTHERS])
    else:
        assert runs == [call for call in CALLS[command] if "-m pytest" in call]
    assert calls.count(SET_UP) == (SET_UP in CALLS[command])


def test_continuous_integration_runs_all_tests_and_those_on_slurm_with_a_newer_one(called_by):
    calls = called_by(".ci/run")

    assert_in_order([SET_UP, *LINTS], calls)
    assert calls.count("newer-slurm trixie") == 1
    [newer] = [call for call in calls if call.startswith(NEWER_TESTS)]
    assert sorted(call for call in calls if "-m pytest" in call) == sorted([newer, ON_CLUSTER, ALL_OTHERS])
    files = newer.removeprefix(NEWER_TESTS).split()
    assert len(files) > 1
    for file in files:
        assert (ROOT / file).is_file(), file


def test_one_file_of_tests_runs_by_itself():
    assert ONE_FILE in {one.text for one in commands(CONTRIBUTING)}
    words = shlex.split(ONE_FILE.replace(".venv/bin/python", sys.executable))

    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    assert re.search(r"\d\d passed in ", done.stdout)


def test_completions_are_written_where_the_page_says(checkout, called_by):
    [command] = [one.text for one in commands(CONTRIBUTING) if one.text == COMPLETIONS]

    done = subprocess.run([checkout / command], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    made = {path.name: path.read_text() for path in (checkout / "slurmsweep" / "completions").iterdir()}
    assert made == {path.name: path.read_text() for path in (ROOT / "slurmsweep" / "completions").iterdir()}
    assert {f"slurmsweep/completions/{name}" for name in made} == set(done.stdout.split())


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout of git, but a copy of one")
def test_a_clone_has_what_the_page_goes_on_with(tmp_path):
    (tmp_path / "origin").mkdir()
    (tmp_path / "origin" / "slurmsweep").symlink_to(ROOT)
    assert CLONE in {one.text for one in commands(CONTRIBUTING)}
    command = CLONE.replace("<this repository>", str(tmp_path / "origin" / "slurmsweep"))

    (tmp_path / "gitconfig").write_text("[safe]\n\tdirectory = *\n")  # the checkout may belong to another user

    done = subprocess.run(
        ["bash", "-c", f"{command} && ls"],
        cwd=tmp_path,
        env=os.environ | {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert {"scripts", "tests", "slurmsweep", "CONTRIBUTING.md"} <= set(done.stdout.split())
    assert os.access(tmp_path / "slurmsweep" / "scripts" / "test", os.X_OK)
