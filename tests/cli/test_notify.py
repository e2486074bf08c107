"""A command of the user's is run when a sweep ends, stops itself or has its first failure: once, and harmlessly."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurmsweep.agents import notices
from slurmsweep.agents.notices import SweepEvent
from slurmsweep.errors import UsageError
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.store import SweepStore

NOTIFY = "bash -c 'cat >> told; echo $SLURMSWEEP_NOTIFY_EVENT: $SLURMSWEEP_NOTIFY_TEXT >> words'"
SECOND_FAILS = "import sys\nsys.exit(sys.argv[1] == '--x=2')\n"


def told(folder: Path) -> list[dict]:
    path = folder / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def events(folder: Path) -> list[str]:
    return [one["event"] for one in told(folder)]


def test_a_run_tells_its_first_failure_and_its_end(slurmsweep, write_sweep, tmp_path):
    file = write_sweep(SECOND_FAILS, "  x: {values: [2, 1, 3]}", "name: my sweep")

    done = slurmsweep("run", str(file), "--backend", "local", "--notify", NOTIFY)

    assert done.returncode == 1
    first, last = sorted(told(tmp_path), key=lambda one: one["event"], reverse=True)
    [folder] = (tmp_path / ".slurmsweep").glob("sweep-*")
    sweep = folder.name.removeprefix("sweep-")
    assert (first["event"], first["detail"]) == ("failed", "trial 0: failed (exit 1)")
    assert last == {
        "event": "ended",
        "sweep": sweep,
        "name": "my sweep",
        "folder": str(folder),
        "text": f"sweep {sweep} (my sweep) has ended: 2 finished, 1 failed",
        "detail": "",
        "counts": {"finished": 2, "failed": 1},
    } | {"text": last["text"]}
    assert last["text"] in {
        f"sweep {sweep} (my sweep) has ended: {counted}" for counted in ("2 finished, 1 failed", "1 failed, 2 finished")
    }
    assert (tmp_path / "words").read_text().splitlines()[-1] == f"ended: {last['text']}"
    assert f"notified: sweep {sweep} (my sweep) has ended" in done.stderr


def test_a_second_command_line_tells_of_its_own_failures_only(slurmsweep, write_sweep, tmp_path):
    file = write_sweep(SECOND_FAILS)
    slurmsweep("run", str(file), "--backend", "local")
    assert told(tmp_path) == []

    slurmsweep("resubmit", "last", "--backend", "local", "--notify", NOTIFY)
    assert events(tmp_path) == ["failed", "ended"]
    (tmp_path / "train.py").write_text("")
    slurmsweep("resubmit", "last", "--backend", "local", "--notify", NOTIFY)

    assert events(tmp_path) == ["failed", "ended", "ended"]
    slurmsweep("resubmit", "last", "--backend", "local", "--notify", NOTIFY)  # nothing is left to start
    assert events(tmp_path) == ["failed", "ended", "ended"]


def test_a_sweep_that_stops_itself_says_why(slurmsweep, write_sweep, tmp_path):
    file = write_sweep("raise SystemExit(3)", "  x: {values: [1, 2, 3, 4, 5, 6]}")

    slurmsweep("run", str(file), "--backend", "local", "--max-fails", "2", "--notify", NOTIFY)

    assert events(tmp_path) == ["failed", "stopped"]
    assert told(tmp_path)[1]["detail"] == "the first 2 trials all failed alike (exit 3)"


@pytest.mark.parametrize(
    ("command", "said"),
    [("bash -c 'echo no route to host >&2; exit 7'", "exit code 7: no route to host"), ("bash -c 'kill -9 $$'", "-9")],
)
def test_a_command_that_fails_is_said_and_harms_nothing(slurmsweep, write_sweep, command, said):
    done = slurmsweep("run", str(write_sweep("pass")), "--backend", "local", "--notify", command)

    assert done.returncode == 0
    assert "the --notify command did not tell that the sweep has ended: " in done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-program x", "no program 'no-such-program'"),
        ("a 'b", "quoted"),
        ("cat >> notes.txt", "no shell reads the command, so '>>' does nothing: write bash -c '...' around it"),
    ],
)
def test_a_wrong_command_leaves_no_sweep_behind(slurmsweep, write_sweep, tmp_path, command, said):
    done = slurmsweep("run", str(write_sweep("pass")), "--backend", "local", "--notify", command)

    assert (done.returncode, said in done.stderr) == (2, True)
    assert not (tmp_path / ".slurmsweep").exists()


def test_a_command_that_hangs_is_killed_with_its_processes(make_store, tmp_path, monkeypatch):
    monkeypatch.setattr(notices, "TIMEOUT", 0.5)
    store, said = make_store(2), []
    notices.ask(store, f"bash -c 'sleep 300 & echo $! > {tmp_path}/pid; wait'", 0)

    notices.tell(store, SweepEvent.ENDED, {TrialState.FINISHED: 2}, said.append)

    assert [line.partition(": ")[2] for line in said] == ["it did not end within 0 s and was killed"]
    pid, deadline = (tmp_path / "pid").read_text().strip(), time.monotonic() + 60
    while os.path.exists(f"/proc/{pid}") and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_of_many_processes_that_notice_an_event_one_tells_it(make_store, tmp_path):
    store = make_store(2)
    notices.ask(store, f"bash -c 'cat >> {tmp_path}/told'", 0)
    script = (
        "import sys\nfrom slurmsweep.agents import notices\nfrom slurmsweep.state.store import SweepStore\n"
        "notices.tell(SweepStore.open(sys.argv[1]), notices.SweepEvent.ENDED, {}, print)\n"
    )
    crew = [subprocess.Popen([sys.executable, "-c", script, store.layout.folder]) for _ in range(6)]

    assert [one.wait() for one in crew] == [0] * 6
    assert events(tmp_path) == ["ended"]


def test_agents_tell_where_no_command_waits(slurmsweep, write_sweep, tmp_path):
    sweep = slurmsweep("create", str(write_sweep(SECOND_FAILS))).stdout.strip()
    store = SweepStore.open(str(tmp_path / ".slurmsweep" / f"sweep-{sweep}"))
    notices.ask(store, NOTIFY, 0, ends=3)

    said = [slurmsweep("agent", sweep).stderr for _ in range(3)]

    assert [(one["event"], one["detail"]) for one in told(tmp_path)] == [
        ("failed", "trial 1: failed (exit 1)"),
        ("ended", ""),
    ]
    assert ["notified: " in text for text in said] == [False, True, True]


def test_agents_tell_nothing_while_a_command_waits(slurmsweep, write_sweep, tmp_path):
    sweep = slurmsweep("create", str(write_sweep(SECOND_FAILS))).stdout.strip()
    store = SweepStore.open(str(tmp_path / ".slurmsweep" / f"sweep-{sweep}"))
    notices.ask(store, NOTIFY, 0)
    slurmsweep("agent", sweep, "--count", "2")
    assert told(tmp_path) == []

    notices.leave_to_agents(store, 3)
    slurmsweep("agent", sweep)

    assert events(tmp_path) == ["ended"]


def test_words_need_a_program():
    with pytest.raises(UsageError, match="no program"):
        notices.words_of("")


def test_a_command_that_prints_without_an_end_costs_no_memory(monkeypatch):
    monkeypatch.setattr(notices, "TIMEOUT", 2.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    problem = notices._run("yes", dict.fromkeys(("event", "sweep", "name", "text"), "x"))

    assert problem == "it did not end within 2 s and was killed"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
