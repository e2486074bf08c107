"""Completion in real shells: what a TAB shows, and that the scripts are those of today's parser."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurmsweep.cli.main import main

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = ROOT / "slurmsweep" / "completions"

#: Words of a command line, and some of what may stand in the place of the last one; and what may not.
CASES = [
    (["sta"], {"status"}, {"stop", "run"}),
    (["status", ""], {"last", "aaaa1111", "bbbb2222", "cccc3333"}, {"sweep.yaml"}),
    (["status", "bb"], {"bbbb2222"}, {"aaaa1111", "last"}),
    (["trials", "--wh"], {"--where"}, {"--wide"}),
    (["trials", "--state", "fa"], {"failed"}, {"finished"}),
    (["run", "sweep.y"], {"sweep.yaml"}, {"aaaa1111"}),
    (["run", "aa"], {"aaaa1111"}, {"bbbb2222"}),
    (["run", "--backend", ""], {"auto", "local", "slurm"}, {"aaaa1111"}),
    (["create", "--prior", "cc"], {"cccc3333"}, {"aaaa1111"}),
    (["help", "log"], {"logs"}, {"ls"}),
]


def need(shell):
    found = shutil.which(shell)
    if not found:
        pytest.skip(f"{shell} is not installed here")
    return found


@pytest.fixture
def project(tmp_path):
    """Return a folder with a sweep file and three sweeps; one of them made by an older version, in wandb/."""
    (tmp_path / "sweep.yaml").write_text("")
    (tmp_path / "wandb").mkdir()
    for sweep in ("aaaa1111", "bbbb2222"):
        (tmp_path / ".slurmsweep" / f"sweep-{sweep}").mkdir(parents=True)
        (tmp_path / "wandb" / f"sweep-{sweep}").symlink_to(f"../.slurmsweep/sweep-{sweep}")
    (tmp_path / "wandb" / "sweep-cccc3333").mkdir()
    return tmp_path


def bash(words, cwd):
    """Call the function that bash calls at a TAB."""
    line = ["slurmsweep", *words]
    array = " ".join(f"'{word}'" for word in line)
    script = f"""
        shopt -s progcomp; source {SCRIPTS}/slurmsweep.bash
        COMP_WORDS=({array}); COMP_CWORD={len(line) - 1}
        COMP_LINE="{" ".join(line)}"; COMP_POINT=${{#COMP_LINE}}
        function=$(complete -p slurmsweep | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
        "$function" slurmsweep "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return subprocess.run([need("bash"), "-c", script], cwd=cwd, capture_output=True, text=True, check=False)


def fish(words, cwd):
    """Ask fish what it would complete."""
    script = f"source {SCRIPTS}/slurmsweep.fish; complete -C 'slurmsweep {' '.join(words)}'"
    return subprocess.run([need("fish"), "-N", "-c", script], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shell", [bash, fish], ids=["bash", "fish"])
@pytest.mark.parametrize(("words", "there", "not_there"), CASES, ids=" ".join)
def test_a_tab_shows_commands_options_choices_and_sweeps(shell, words, there, not_there, project):
    done = shell(words, project)

    shown = {line.split("\t")[0] for line in done.stdout.splitlines()}
    assert done.stderr == ""
    assert there <= shown
    assert not not_there & shown


@pytest.mark.parametrize("shell", [bash, fish], ids=["bash", "fish"])
def test_sweeps_are_those_of_the_folder_that_the_environment_names(shell, project, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", str(project))

    done = shell(["status", ""], tmp_path_factory.mktemp("elsewhere"))

    assert {"aaaa1111", "bbbb2222", "cccc3333"} <= {line.split("\t")[0] for line in done.stdout.splitlines()}


#: Names of folders and files that a shell reads as something else, or that are no sweep's.
ODD_FOLDERS = [
    "$(touch run_by_tab)",
    "`touch run_by_tab`",
    "a b",
    "it's",
    "grösse12",
    "-rf",
    "aaaa1111.old",
    "AAAA1111",
]
ODD_FILES = ["my sweep.yaml", "it's.yaml", "größe.yaml", "-dash.yaml", "$(touch run_by_tab).yaml"]


@pytest.mark.parametrize("shell", [bash, fish], ids=["bash", "fish"])
def test_folders_with_odd_names_are_no_sweeps_and_run_nothing(shell, project):
    for name in ODD_FOLDERS:
        (project / ".slurmsweep" / f"sweep-{name}").mkdir()
        (project / "wandb" / f"sweep-{name}").mkdir()

    done = shell(["status", ""], project)

    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == {"last", "aaaa1111", "bbbb2222", "cccc3333"}
    assert not (project / "run_by_tab").exists()


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("run my", ["run", "my sweep.yaml"]),
        ("run my\\ s", ["run", "my sweep.yaml"]),
        ("plan 'my s", ["plan", "my sweep.yaml"]),
        ("run it", ["run", "it's.yaml"]),
        ("run gr", ["run", "größe.yaml"]),
        ("run ./-", ["run", "./-dash.yaml"]),
        ("run \\$", ["run", "$(touch run_by_tab).yaml"]),
        ("run --template my", ["run", "--template", "my sweep.yaml"]),
        ("status c", ["status", "cccc3333"]),
    ],
)
def test_a_real_tab_in_bash_gives_the_command_the_name_as_it_is(typed, given, project, tmp_path):
    for name in ODD_FOLDERS:
        (project / ".slurmsweep" / f"sweep-{name}").mkdir()
    for name in ODD_FILES:
        (project / name).touch()
    shell, tools = need("bash"), tmp_path / "tools"
    tools.mkdir()
    (tools / "slurmsweep").write_text('#!/bin/sh\nprintf "RAN:"; printf "<%s>" "$@"; echo ":END"\n')
    (tools / "slurmsweep").chmod(0o755)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project)
        os.environ |= {"TERM": "dumb", "LC_ALL": "C.UTF-8", "PATH": f"{tools}:{os.environ['PATH']}"}
        os.execv(shell, [shell, "--norc", "--noprofile", "-i"])
    try:
        type_into(terminal, f"source {SCRIPTS}/slurmsweep.bash; echo READY''_NOW\n")
        read_until(terminal, "READY_NOW")
        type_into(terminal, f"slurmsweep {typed}\t\n")
        assert f"RAN:{''.join(f'<{word}>' for word in given)}:END" in read_until(terminal, ":END")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)

    assert not (project / "run_by_tab").exists()


def test_a_real_tab_in_zsh(project, tmp_path):
    """Type into a zsh in a terminal; what it completes to is on the screen and runs."""
    shell = need("zsh")
    functions, tools = tmp_path / "functions", tmp_path / "tools"
    functions.mkdir()
    tools.mkdir()
    shutil.copy(SCRIPTS / "slurmsweep.zsh", functions / "_slurmsweep")
    (tools / "slurmsweep").write_text('#!/bin/sh\necho "RAN:$*:END"\n')
    (tools / "slurmsweep").chmod(0o755)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project)
        os.environ |= {"TERM": "dumb", "PATH": f"{tools}:{os.environ['PATH']}"}
        os.execv(shell, [shell, "-f", "-i"])
    try:
        type_into(terminal, f"fpath=({functions} $fpath); autoload -U compinit; compinit -u -D; echo READY''_NOW\n")
        read_until(terminal, "READY_NOW")
        type_into(terminal, "slurmsweep stat\tbb\t\n")
        assert "RAN:status bbbb2222" in read_until(terminal, ":END")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def type_into(terminal, text):
    os.write(terminal, text.encode())


def read_until(terminal, word):
    seen, deadline = "", time.monotonic() + 60
    while word not in seen.replace('"RAN:$*:END"', ""):
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
    return seen


def test_the_scripts_are_those_of_todays_parser():
    pytest.importorskip("shtab", reason="shtab is for development only")

    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "completions", "--check"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, ""), f"run scripts/completions: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_prints_the_script_and_how_to_install_it(capsys, shell):
    assert main(["completion", shell]) == 0

    out = capsys.readouterr().out
    assert out == (SCRIPTS / f"slurmsweep.{shell}").read_text()
    assert out.splitlines()[1].startswith(f"# install: slurmsweep completion {shell} > ~/")
