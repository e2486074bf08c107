"""``logs``: of one trial, of the best, the last lines, as they are written, and of those that failed."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from slurmsweep.cli.output import print_log

SCRIPT = """
import os, sys, slurmsweep
x = int(sys.argv[1].partition("=")[2])
slurmsweep.init()
slurmsweep.log({"loss": abs(x - 2)})
for line in range(50):
    print("trial", x, "line", line)
if x > 2:
    raise ValueError(f"{x} is too large")
"""
METRIC = "metric: {name: loss, goal: minimize}"


@pytest.fixture(scope="module")
def folder(run_in, tmp_path_factory):
    """A folder with a sweep of five trials, of which two fail, and the sweep's id."""
    folder = tmp_path_factory.mktemp("logs")
    return folder, run_in(folder, SCRIPT, METRIC, [0, 1, 2, 3, 4], code=1)


@pytest.fixture
def logs(folder, slurmsweep):
    """Run ``logs`` with these options."""
    return lambda *options: slurmsweep("logs", folder[1], *options, cwd=folder[0])


def test_the_log_of_the_best_trial_needs_no_number(logs):
    assert logs("best").stdout == logs("2").stdout
    assert logs("best").stdout.startswith("trial 2 line 0\n")


@pytest.mark.parametrize(
    ("lines", "first"), [("1", "trial 1 line 49"), ("3", "trial 1 line 47"), ("999", "trial 1 line 0")]
)
def test_the_last_lines_are_printed(logs, lines, first):
    printed = logs("1", "-n", lines).stdout
    assert printed.startswith(f"{first}\n")
    assert printed.count("\n") == min(50, int(lines))


@pytest.mark.parametrize("text", ["", "one", "one\n", "a\nb\nc\n", "a\nb\nc", "\n\n\n", "x" * 200_000 + "\nlast\n"])
@pytest.mark.parametrize("lines", [1, 2, 7])
def test_last_lines_are_those_of_tail(tmp_path, capfdbinary, text, lines):
    path = tmp_path / "log"
    path.write_text(text)
    end = print_log(str(path), lines)

    expected = subprocess.run(["tail", "-n", str(lines), path], capture_output=True, check=True).stdout
    assert (capfdbinary.readouterr().out, end) == (expected, len(text))


def test_the_ends_of_failed_trials_are_printed_below_their_paths(logs):
    printed = logs("--failed", "-n", "2").stdout.splitlines()
    assert printed[0].startswith("==> trial 3, attempt 1: failed (exit 1): ")
    assert printed[0].endswith("trials/0/3/1/output.log <==")
    assert [line for line in printed if line.startswith("ValueError")] == [
        f"ValueError: {x} is too large" for x in (3, 4)
    ]

    paths = logs("--failed", "--path").stdout.splitlines()
    assert [Path(path).parts[-3:] for path in paths] == [("3", "1", "output.log"), ("4", "1", "output.log")]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], 2, ": say which trial of it, or `best`: `slurmsweep logs SWEEP TRIAL`"),
        (["3", "--failed"], 2, "TRIAL, --attempt and --follow are for one"),
        (["--failed", "-f"], 2, "TRIAL, --attempt and --follow are for one"),
        (["worst"], 2, "'worst' is not the number of a trial"),
        (["9"], 3, "there is no trial 9"),
        (["1", "--attempt", "2"], 3, "trial 1 has no log of attempt 2 yet"),
    ],
)
def test_a_wrong_choice_is_refused(logs, options, code, said):
    done = logs(*options)
    assert (done.returncode, done.stdout, said in done.stderr) == (code, "", True)


def test_a_running_trial_is_followed_to_its_end(slurmsweep, write_sweep, tmp_path):
    script = (
        "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.02)\nprint('ended')"
    )
    sweep = slurmsweep("create", str(write_sweep(script, "  x: {value: 1}"))).stdout.strip()
    command = [sys.executable, "-m", "slurmsweep"]
    with (
        subprocess.Popen([*command, "agent", sweep], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as agent,
        ended_in_time(agent),
    ):
        assert agent.stderr is not None
        assert "started, log in" in agent.stderr.readline()
        with (
            subprocess.Popen(
                [*command, "logs", sweep, "0", "-f"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
            ) as follow,
            ended_in_time(follow),
        ):
            assert follow.stdout is not None
            assert follow.stdout.readline() == "begun\n"
            (tmp_path / "go").touch()
            assert follow.stdout.read() == "ended\n"
        agent.stderr.read()
    assert (follow.returncode, agent.returncode) == (0, 0)


@contextmanager
def ended_in_time(process):
    """Kill a process that hangs, so that the test fails and does not hang with it."""
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        yield
        process.wait(60)
    finally:
        watchdog.cancel()
        watchdog.join(60)
        process.kill()
