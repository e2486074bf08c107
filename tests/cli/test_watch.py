"""``watch`` as a person sees it: in a real pseudo-terminal, and without one."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from terminals import ENTER_SCREEN, LEAVE_SCREEN, SHOW_CURSOR, Terminal, slurmsweep

from slurmsweep.agents.identity import this_process
from slurmsweep.cli import watching
from slurmsweep.control.session import Session
from slurmsweep.control.views.live_view import LiveView
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile.config import check


@pytest.fixture
def terminal(tmp_path):
    """Start a command in a terminal; it is ended with the test."""
    started = []

    def start(argv, **more):
        started.append(Terminal(argv, tmp_path, **more))
        return started[-1]

    yield start
    for one in started:
        one.close()


def finish(store, claim, **outcome):
    store.finish(claim, Outcome(seconds=3.0, ended=time.time(), **outcome))


@pytest.fixture
def store(tmp_path):
    """A sweep of six trials: one finished, one failed, and two run in this process, of which one logs a little more."""
    parameters = {"x": {"values": [1, 2, 3, 4, 5, 6]}}
    data = {"method": "grid", "program": "t.py", "metric": {"name": "loss"}, "parameters": parameters}
    manifest = Manifest("abcd1234", check(data, "t").config, 6, str(tmp_path), "t", 0.0, "0")
    store = SweepStore.create(str(tmp_path), manifest)
    finish(store, store.claim(this_process({})), state=TrialState.FINISHED, exit_code=0, metric=0.25)
    claim = store.claim(this_process({}))
    Path(store.layout.log(claim.attempt_id)).write_text("ValueError: \x1b[2J2 is too large\n")
    finish(store, claim, state=TrialState.FAILED, cause="exit 1", exit_code=1)
    for values in ((0.9, 0.5, 0.125), (0.75,)):
        claim = store.claim(this_process({}))
        rows = "".join(f'{{"_step": {step}, "loss": {value}}}\n' for step, value in enumerate(values))
        Path(store.layout.history(claim.attempt_id)).write_text(rows)
        Path(store.layout.log(claim.attempt_id)).write_text("epoch 1\nepoch 2 \x1b]0;title\x07 done\n")
    return store


@pytest.fixture
def watched(terminal, store):
    """A terminal in which ``watch`` shows that sweep."""

    def start(**more):
        shown = terminal(slurmsweep("watch", store.layout.folder), **more)
        shown.see("2 running")
        return shown

    return start


def journal_of(store) -> bytes:
    return Path(store.journal.path).read_bytes()


def test_a_person_sees_what_runs_what_failed_and_what_is_best(watched, store):
    before = journal_of(store)
    shown = watched()

    assert f"{store.manifest.sweep_id}  running for" in shown.text
    assert "1 finished  2 running  2 pending  1 failed" in shown.text
    assert "best loss 0.25  trial 0  x=1" in shown.text
    assert re.search(r">\s+2  .*0\.125  █▄▁ +3  x=3", shown.text)
    assert re.search(r"\s+3  .*0\.75  ▁ +1  x=4", shown.text)
    assert "1 x exit 1: ValueError: 2 is too large" in shown.text
    shown.press("q")
    assert shown.end() == 0
    assert journal_of(store) == before


def test_keys_open_pages_and_change_nothing(watched, store):
    before = journal_of(store)
    shown = watched()
    shown.press("j\r")
    shown.see("attempts     1  running")
    assert "trial 3 of sweep" in shown.text
    shown.press("l")
    shown.see("epoch 2 \\x1b]0;title\\x07 done")
    for key, seen in (("f", "1 failed, exit 1"), ("b", "trial  loss  state"), ("?", "the sweep goes on")):
        shown.press(key)
        shown.see(seen)
        shown.press("\x1b")
        shown.see("2 running")
    shown.press("/")
    shown.see("filter, such as")
    shown.press("x=4\r")
    shown.see(lambda: "x=3" not in shown.text and "x=4" in shown.text, "only trial 3")
    shown.press("/")
    shown.see("filter, such as")
    shown.press("y=4\r")
    shown.see("filter: trials of this sweep have no 'y'")
    shown.press("t0\r")
    shown.see("1  finished")
    shown.press("q")
    shown.see("2 running")
    assert b"\x1b[2J2 is" not in shown.bytes
    shown.press("q")
    assert shown.end() == 0
    assert journal_of(store) == before


@pytest.mark.parametrize(
    "text", ["\x1b[200~quit all jobs\r\n\x1b[201~", "scancel 4711; quit\n"], ids=["marked", "unmarked"]
)
def test_what_is_pasted_is_no_key(watched, text):
    shown = watched()
    shown.press(text)
    shown.see(lambda: shown.press("?") or "this page" in shown.text, "the keys")  # what comes with a paste is no key
    shown.press("q")
    shown.see("2 running")
    shown.press("q")
    assert shown.end() == 0


@pytest.mark.parametrize(("columns", "lines"), [(20, 5), (60, 20), (140, 40)])
def test_the_screen_follows_the_terminals_size(watched, columns, lines):
    shown = watched()
    before = len(shown.bytes)
    shown.resize(columns, lines)
    told = "33 %" if columns > 20 else "running"
    shown.see(lambda: len(shown.bytes) > before and told in shown.text and "q quit" in shown.text.split("\n")[-1])
    shown.press("q")
    assert shown.end() == 0
    assert b"Traceback" not in shown.bytes


def test_a_tiny_terminal_shows_how_far_the_sweep_is(terminal, store):
    shown = terminal(slurmsweep("watch", store.layout.folder), columns=20, lines=5)
    shown.see("33 %")
    shown.press("q")
    assert shown.end() == 0
    assert b"Traceback" not in shown.bytes


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_leaves_the_terminal_as_it_was(terminal, store, number, code):
    shown = terminal(slurmsweep("watch", store.layout.folder))
    usual = shown.modes()
    shown.see("2 running")
    assert shown.modes() != usual
    with shown.held():
        os.kill(shown.pid, number)
        shown.see(lambda: LEAVE_SCREEN in shown.bytes and shown.has_ended(), "the end")
        assert shown.modes() == usual
    assert shown.end() == code
    assert shown.bytes.count(ENTER_SCREEN) == shown.bytes.count(LEAVE_SCREEN) == 1
    assert shown.bytes.rindex(SHOW_CURSOR) > shown.bytes.rindex(ENTER_SCREEN)


def test_ctrl_z_gives_the_terminal_back_and_fg_shows_the_screen_again(terminal, store):
    shell = terminal(["bash", "--norc", "--noprofile", "-i"], PS1="ready> ")
    shell.see("ready>")
    shell.press(shlex.join(slurmsweep("watch", store.layout.folder)) + "\r")
    shell.see("2 running")
    for times in (1, 2):
        shell.press("\x1a")
        shell.see(lambda times=times: shell.bytes.count(LEAVE_SCREEN) == times and b"Stopped" in shell.bytes, "Stopped")
        shell.see(lambda: shell.text.rstrip().endswith("ready>"), "the shell's prompt")
        shell.press("stty -a\r")
        shell.see(lambda: " icanon" in shell.text and "-icanon" not in shell.text, "usual modes")
        shell.press("clear\r")
        shell.press("fg\r")
        shell.see(
            lambda times=times: shell.bytes.count(ENTER_SCREEN) == times + 1 and "2 running" in shell.text, "the view"
        )
    shell.press("q")
    shell.see(lambda: shell.bytes.count(LEAVE_SCREEN) == 3)
    shell.press("exit 7\r")
    assert shell.end() == 7


def test_what_happens_is_followed_until_the_sweep_is_removed(watched, store):
    shown = watched()
    for _ in range(2):
        finish(store, store.claim(this_process({})), state=TrialState.FINISHED, exit_code=0, metric=1.0)
    shown.see("3 finished")
    shutil.rmtree(store.layout.folder)
    shown.see("was removed")
    assert shown.end() == 3
    assert b"Traceback" not in shown.bytes


def test_a_finished_sweep_is_summed_up(run_in, terminal, slurmsweep_in, tmp_path):
    good = run_in(tmp_path, "pass", "", [1, 2])
    shown = terminal(slurmsweep("watch", good))
    assert shown.end() == 0
    assert "trials  2 finished" in shown.text
    bad = run_in(tmp_path, "import sys; sys.exit(3)", "", [1], code=1)
    done = slurmsweep_in(tmp_path, "watch", bad)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0] == f"sweep {bad} finished; 1 failed; 1 x exit 3"
    assert "next" in done.stdout


def test_without_a_terminal_lines_come_and_no_escapes(store, slurmsweep_process, tmp_path):
    argv = slurmsweep("watch", store.layout.folder)
    for environ in ({}, {"TERM": "dumb"}):
        with subprocess.Popen(
            argv, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ | environ
        ) as process:
            line = process.stdout.readline()
            process.terminate()
        assert line == (
            f"sweep {store.manifest.sweep_id} running; 1 finished, 2 running, 2 pending, 1 failed; "
            "best loss 0.25 in trial 0; 1 x exit 1: ValueError: 2 is too large\n"
        )


def test_once_prints_one_screen(store, slurmsweep_process):
    done = slurmsweep_process("watch", "--once", store.layout.folder, COLUMNS="70", LINES="20", LC_ALL="C.UTF-8")
    assert done.returncode == 0
    assert "1 finished  2 running  2 pending  1 failed" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 70
    plain = slurmsweep_process(
        "watch", "--once", store.layout.folder, LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    assert plain.stdout.isascii()
    assert "####" in plain.stdout


def test_colours_are_left_out_where_no_color_is_set(terminal, store):
    shown = terminal(slurmsweep("watch", store.layout.folder), NO_COLOR="1")
    shown.see("2 running")
    shown.press("q")
    assert shown.end() == 0
    assert not re.search(rb"\x1b\[(?:\d+;)*3[1-7]m", shown.bytes)


def test_status_watch_is_watch(terminal, store, slurmsweep_process):
    shown = terminal(slurmsweep("status", "--watch", store.layout.folder))
    shown.see("2 running")
    shown.press("q")
    assert shown.end() == 0
    assert slurmsweep_process("status", "--watch", "--json", store.layout.folder).returncode == 2


def test_a_damaged_journal_is_said_and_no_traceback(watched, store):
    shown = watched()
    with open(store.journal.path, "ab") as file:
        file.write(b"00000000 {nonsense}\n")
    shown.see("1 line of the journal is damaged")
    shown.press("q")
    assert shown.end() == 0


SEARCHES = {
    "several metrics": ("grid", "slurmsweep: {pareto: {loss: minimize, size: maximize}}", 3),
    "bayes": ("bayes", "run_cap: 3\nmetric: {name: loss}", 3),
    "rungs": ("random", "run_cap: 3\nmetric: {name: loss}\nslurmsweep: {rungs: {steps: [1, 3]}}", 3),
    "no metric": ("random", "", None),
}


@pytest.mark.parametrize("kind", SEARCHES)
def test_sweeps_of_every_search_are_shown(kind, write_sweep, slurmsweep_process):
    method, extra, trials = SEARCHES[kind]
    script = """
import slurmsweep as wandb
run = wandb.init()
for step in range(2):
    wandb.log({"loss": run.config["x"] ** 2, "size": run.config["x"]})
"""
    file = write_sweep(script, "  x: {min: 0, max: 2}", extra, method)
    done = slurmsweep_process("run", str(file), "--backend", "local", "--count", "2", "--json")
    sweep = json.loads(done.stdout)["id"]
    shown = slurmsweep_process("watch", "--once", sweep, LC_ALL="C.UTF-8")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"{method}, {trials} trials" in shown.stdout or trials is None
    assert "2 finished" in shown.stdout
    assert ("best loss" in shown.stdout) == (kind in ("bayes", "rungs"))


SCRIPT = """
import os, time
import slurmsweep as wandb
run = wandb.init()
wandb.log({"loss": run.config["x"]})
deadline = time.time() + 120
while not os.path.exists(os.path.join(os.environ["GATE"], "go")) and time.time() < deadline:
    time.sleep(0.1)
"""


def test_run_shows_the_view_and_then_its_results(terminal, write_sweep, tmp_path):
    file = write_sweep(SCRIPT, "  x: {values: [1, 2]}", "metric: {name: loss}")
    shown = terminal(slurmsweep("run", str(file), "--backend", "local", "--jobs", "2"), GATE=str(tmp_path))
    shown.see("2 running")
    assert ENTER_SCREEN in shown.bytes
    (tmp_path / "go").touch()
    assert shown.end() == 0
    after = shown.bytes.rpartition(LEAVE_SCREEN)[2].decode()
    assert "finished" in after
    assert "best" in after


def test_leaving_the_view_of_run_leaves_the_run_alone(terminal, write_sweep, tmp_path):
    file = write_sweep(SCRIPT, "  x: {values: [1, 2]}", "metric: {name: loss}")
    shown = terminal(slurmsweep("run", str(file), "--backend", "local", "--jobs", "2"), GATE=str(tmp_path))
    shown.see("2 running")
    shown.press("q")
    shown.see(lambda: shown.bytes.count(LEAVE_SCREEN) == 1 and "0/2" in shown.text, "a line of progress")
    (tmp_path / "go").touch()
    assert shown.end() == 0


def test_ctrl_c_in_run_ends_the_trials_and_restores_the_terminal(terminal, write_sweep, tmp_path):
    file = write_sweep(SCRIPT, "  x: {values: [1, 2]}", "metric: {name: loss}")
    shown = terminal(slurmsweep("run", str(file), "--backend", "local", "--jobs", "2"), GATE=str(tmp_path))
    shown.see("2 running")
    shown.press("\x03")
    assert shown.end() == 130
    assert shown.bytes.count(ENTER_SCREEN) == shown.bytes.count(LEAVE_SCREEN) == 1
    assert b"goes on where it was" in shown.bytes.rpartition(LEAVE_SCREEN)[2]


@pytest.mark.parametrize("words", [[], ["--plain"]])
def test_resubmit_shows_the_view_as_run_does(terminal, write_sweep, tmp_path, slurmsweep_process, words):
    script = f"import os\nassert os.path.exists('mended')\n{SCRIPT}"
    file = write_sweep(script, "  x: {values: [1]}", "metric: {name: loss}")
    sweep = json.loads(slurmsweep_process("run", str(file), "--backend", "local", "--json").stdout)["id"]
    (tmp_path / "mended").touch()
    shown = terminal(slurmsweep("resubmit", sweep, "--backend", "local", *words), GATE=str(tmp_path))
    if not words:
        shown.see("1 running")
    (tmp_path / "go").touch()
    assert shown.end() == 0
    assert (ENTER_SCREEN in shown.bytes) == (not words)


def test_run_plain_shows_no_screen(terminal, write_sweep, tmp_path):
    (tmp_path / "go").touch()
    file = write_sweep(SCRIPT, "  x: {values: [1, 2]}", "metric: {name: loss}")
    shown = terminal(slurmsweep("run", str(file), "--backend", "local", "--plain"), GATE=str(tmp_path))
    assert shown.end() == 0
    assert ENTER_SCREEN not in shown.bytes


def test_a_run_in_the_background_does_not_take_the_terminal(terminal, write_sweep, tmp_path):
    (tmp_path / "go").touch()
    file = write_sweep(SCRIPT, "  x: {values: [1]}", "metric: {name: loss}")
    command = shlex.join(slurmsweep("run", str(file), "--backend", "local"))
    shell = terminal(
        ["bash", "--norc", "--noprofile", "-c", f"set -m; {command} & wait $!; echo ended with $?"], GATE=str(tmp_path)
    )
    shell.see("ended with 0")
    assert ENTER_SCREEN not in shell.bytes


class Drawn(list):
    """A screen that keeps what was drawn, and has no keys."""

    stream, size = sys.__stderr__, (80, 24)

    def draw(self, lines):
        self.append("\n".join("".join(text for text, _ in line) for line in lines))

    def keys(self, seconds, *, is_typing=False):  # noqa: ARG002 - as those of a screen
        time.sleep(min(seconds, 0.01))
        return []

    def wake(self):
        pass


@pytest.mark.parametrize(("is_beside", "is_told"), [(True, False), (False, True)])
def test_the_view_of_a_command_that_starts_trials_names_no_command_that_does(tmp_path, is_beside, is_told):
    data = {"method": "grid", "program": "t.py", "parameters": {"x": {"values": [1, 2]}}}
    manifest = Manifest("abcd1234", check(data, "t").config, 2, str(tmp_path), "t", 0.0, "0")
    folder = SweepStore.create(str(tmp_path), manifest).layout.folder
    drawn = Drawn()
    viewer = watching.Viewer(LiveView(Session.open(folder), folder), drawn, stays=is_beside)

    viewer.start()
    deadline = time.monotonic() + 60
    while len(drawn) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    viewer.end()

    assert "2 pending" in drawn[1]
    assert ("next: " in drawn[1]) is is_told
