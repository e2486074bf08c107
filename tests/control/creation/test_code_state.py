"""With which version of the code each attempt ran: asked of git where trials are started, and looked at again before each."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from slurmsweep.agents.agent import run_agent
from slurmsweep.control.creation.repository import find_repository
from slurmsweep.errors import UsageError
from slurmsweep.state.code_version import version_now
from slurmsweep.state.store import SweepStore


def git(folder, *words: str) -> str:
    name = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    return subprocess.run(["git", "-C", folder, *name, *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def project(write_sweep, tmp_path):
    """Make a repository with a program and a module, and a sweep of it; its id."""
    write_sweep("import helper\n", "  x: {values: [1, 2, 3, 4, 5]}")
    (tmp_path / "helper.py").write_text("V = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


@pytest.fixture
def sweep(project, slurmsweep):
    return slurmsweep("create", "sweep.yaml").stdout.strip()


@pytest.fixture
def run_one(sweep, project):
    return lambda: run_agent(SweepStore.open_to_run(f"{project}/.slurmsweep/sweep-{sweep}"), 1, dict(os.environ), str)


def head(folder) -> str:
    return git(folder, "rev-parse", "HEAD").strip()[:12]


def versions(slurmsweep, sweep: str) -> list[str]:
    found = [json.loads(slurmsweep("show", sweep, str(n), "--json").stdout)["attempts"] for n in range(5)]
    return [attempt["code"] for attempts in found for attempt in attempts]


def test_each_attempt_says_which_code_there_was_when_it_began(slurmsweep, project, sweep, run_one):
    first = head(project)
    run_one()
    (project / "helper.py").write_text("V = 22\n")  # no command of ours since
    run_one()
    git(project, "commit", "-qam", "second")
    run_one()
    assert slurmsweep("run", sweep, "--backend", "local", "--count", "1").returncode == 0
    second = head(project)

    clean, edited, committed, told = versions(slurmsweep, sweep)
    assert (clean, committed, told) == (first, f"{second}?", second)
    assert edited.startswith(f"{first}+")

    done = slurmsweep("check", sweep)
    assert done.returncode == 0
    assert "trials ran with 4 versions of it" in done.stderr
    assert f"commit {second}" in slurmsweep("show", sweep, "3", COLUMNS="300").stdout


def test_changes_that_are_not_committed_have_a_checksum(slurmsweep, project, sweep):
    for version in (2, 3, 2):
        (project / "helper.py").write_text(f"V = {version}\n")
        assert slurmsweep("run", sweep, "--backend", "local", "--count", "1").returncode == 0

    two, three, again = versions(slurmsweep, sweep)
    assert two == again != three
    assert two.startswith(f"{head(project)}+")
    ran = json.loads(slurmsweep("check", sweep, "--json").stdout)["code"]
    assert {row["version"]: row["attempts"] for row in ran["ran"]} == {two: 2, three: 1}
    (project / "helper.py").write_text("V = 4000\n")
    assert "the next trial runs another version than all before" in slurmsweep("check", sweep).stderr


def test_the_version_is_kept_over_a_repair_and_in_the_kept_view(slurmsweep, project, sweep, run_one, monkeypatch):
    monkeypatch.setattr("slurmsweep.state.view_cache._WORTH_KEEPING", 1)
    run_one()
    assert versions(slurmsweep, sweep) == versions(slurmsweep, sweep) == [head(project)]
    (project / f".slurmsweep/sweep-{sweep}/journal.log").unlink()

    assert slurmsweep("check", sweep, "--repair").returncode == 0
    assert versions(slurmsweep, sweep) == [head(project)]


def test_worktrees_packed_references_and_a_detached_head(slurmsweep, project):
    git(project, "gc", "-q")
    git(project, "pack-refs", "--all")
    git(project, "worktree", "add", "-q", "tree")
    for folder in (project, project / "tree"):
        name = slurmsweep("create", "sweep.yaml", cwd=folder).stdout.strip()
        store = SweepStore.open(f"{folder}/.slurmsweep/sweep-{name}")
        assert version_now(store.layout) == head(folder)
    git(project / "tree", "checkout", "-q", "--detach")
    assert version_now(store.layout) == head(project)


def test_a_branch_may_name_another_branch(slurmsweep, project, sweep):
    store = SweepStore.open(f"{project}/.slurmsweep/sweep-{sweep}")
    git(project, "symbolic-ref", "refs/heads/older-name", git(project, "symbolic-ref", "HEAD").strip())
    git(project, "checkout", "-q", "older-name")
    assert version_now(store.layout) == head(project)
    git(project, "pack-refs", "--all")
    assert version_now(store.layout) == head(project)

    git(project, "symbolic-ref", "refs/heads/older-name", "refs/heads/older-name")
    assert version_now(store.layout) is None


def test_no_repository_means_no_version_and_no_file(slurmsweep, write_sweep, tmp_path):
    write_sweep("", "  x: {value: 1}")
    sweep = json.loads(slurmsweep("run", "sweep.yaml", "--backend", "local", "--json").stdout)["id"]

    assert json.loads(slurmsweep("show", sweep, "0", "--json").stdout)["attempts"][0]["code"] is None
    assert not (tmp_path / f".slurmsweep/sweep-{sweep}/code.json").exists()
    assert b'"code"' not in (tmp_path / f".slurmsweep/sweep-{sweep}/journal.log").read_bytes()


def test_a_damaged_file_costs_no_trial_and_check_names_it(slurmsweep, project, sweep, run_one):
    (project / f".slurmsweep/sweep-{sweep}/code.json").write_text("{")

    assert run_one() == 0
    assert versions(slurmsweep, sweep) == [None]
    done = slurmsweep("check", sweep)
    assert (done.returncode, "code.json is damaged" in done.stdout) == (1, True)


def test_the_report_says_which_code_trials_ran(slurmsweep, project, sweep, run_one):
    run_one()
    assert slurmsweep("report", sweep, "-o", "page.html").returncode == 0
    assert f"commit {head(project)}" in (project / "page.html").read_text()


def test_a_git_that_cannot_be_run_is_said_in_words(project, tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").touch(mode=0o644)
    monkeypatch.setenv("PATH", str(programs))

    with pytest.raises(UsageError, match="it cannot be run: Permission denied"):
        find_repository(str(project))
