"""``run`` on this machine: results, Ctrl-C, and going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from slurmsweep.backends import local_agents
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.trial_index import TrialIndex

COUNTING = "import os, sys\nopen('ran', 'a').write(sys.argv[1] + '\\n')\n"


@pytest.fixture
def ran(tmp_path):
    """Return the arguments of every command that ran, in order of start."""
    return lambda: (tmp_path / "ran").read_text().split()


@pytest.fixture
def start_run(tmp_path):
    """Start ``run`` in the background, with the signals of a terminal: whatever runs the tests may ignore them."""

    def restore() -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    def start(*argv) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "slurmsweep", "run", *argv, "--backend", "local"]
        return subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=restore
        )

    return start


def wait_for_words(file, count) -> None:
    """Until so many commands have said that they run."""
    deadline = time.monotonic() + 120
    while not file.exists() or len(file.read_text().split()) < count:
        assert time.monotonic() < deadline, "the commands never ran"
        time.sleep(0.05)


def only_sweep(tmp_path) -> str:
    [folder] = (tmp_path / "wandb").iterdir()
    return folder.name.removeprefix("sweep-")


def test_run_runs_every_point_once_and_shows_the_results(slurmsweep, write_sweep, ran, tmp_path):
    file = write_sweep(COUNTING, "  x: {values: [1, 2, 3]}\n  y: {values: [a, b]}")

    done = slurmsweep("run", str(file), "--backend", "local", "--jobs", "3")

    assert done.returncode == 0, done.stderr
    assert sorted(ran()) == ["--x=1", "--x=1", "--x=2", "--x=2", "--x=3", "--x=3"]
    assert "6 finished" in done.stdout
    assert slurmsweep("check", only_sweep(tmp_path)).returncode == 0


def test_a_failed_trial_makes_run_exit_with_1_and_says_how_to_go_on(slurmsweep, write_sweep, tmp_path):
    file = write_sweep("import sys; sys.exit('2' in sys.argv[1])")

    done = slurmsweep("run", str(file), "--backend", "local")

    assert done.returncode == 1
    assert "1 failed" in done.stdout
    assert f"slurmsweep resubmit {only_sweep(tmp_path)}" in done.stdout


def test_resubmit_runs_exactly_what_failed(slurmsweep, write_sweep, ran, tmp_path):
    file = write_sweep(COUNTING + "sys.exit('2' in sys.argv[1])")
    slurmsweep("run", str(file), "--backend", "local")
    (tmp_path / "ran").unlink()
    (tmp_path / "train.py").write_text(COUNTING)

    done = slurmsweep("resubmit", only_sweep(tmp_path), "--backend", "local")

    assert done.returncode == 0, done.stderr
    assert ran() == ["--x=2"]


def test_resubmit_of_a_finished_sweep_starts_nothing(slurmsweep, write_sweep, ran, tmp_path):
    slurmsweep("run", str(write_sweep(COUNTING)), "--backend", "local")
    before = ran()

    done = slurmsweep("resubmit", only_sweep(tmp_path), "--backend", "local")

    assert done.returncode == 0
    assert done.stderr.startswith("slurmsweep: nothing to run again: all 3 trials finished\n")
    assert ran() == before


def test_ctrl_c_stops_the_trials_and_the_sweep_goes_on_where_it_was(start_run, slurmsweep, write_sweep, ran, tmp_path):
    slow = COUNTING + "import time\nif not os.path.exists('fast'): time.sleep(60)\n"
    file = write_sweep(slow, "  x: {values: [1, 2, 3, 4]}")
    runner = start_run(str(file), "--jobs", "2")
    wait_for_words(tmp_path / "ran", 2)

    runner.send_signal(signal.SIGINT)
    _, err = runner.communicate(timeout=120)

    assert runner.returncode == 130, err
    sweep = only_sweep(tmp_path)
    assert f"slurmsweep run {sweep}" in err
    counts = json.loads(slurmsweep("status", sweep, "--json").stdout)["counts"]
    assert (counts["killed"], counts["pending"], counts["running"]) == (2, 2, 0)
    (tmp_path / "fast").touch()
    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
    assert sorted(ran()) == ["--x=1", "--x=1", "--x=2", "--x=2", "--x=3", "--x=4"]
    assert slurmsweep("check", sweep).returncode == 0


def test_a_closed_terminal_ends_the_trials_too(start_run, write_sweep, ran, tmp_path, slurmsweep):
    file = write_sweep(COUNTING + "import time; time.sleep(60)")
    runner = start_run(str(file))
    wait_for_words(tmp_path / "ran", 1)

    runner.send_signal(signal.SIGHUP)
    runner.communicate(timeout=120)

    counts = json.loads(slurmsweep("status", only_sweep(tmp_path), "--json").stdout)["counts"]
    assert (counts["killed"], counts["running"]) == (1, 0)


def test_a_killed_runner_leaves_trials_that_the_next_run_takes_up(start_run, slurmsweep, write_sweep, ran, tmp_path):
    file = write_sweep(
        COUNTING + "import time\nif not os.path.exists('fast'): time.sleep(60)\n", "  x: {values: [1, 2]}"
    )
    runner = start_run(str(file))
    wait_for_words(tmp_path / "ran", 1)
    runner.kill()
    runner.communicate()
    sweep = only_sweep(tmp_path)
    [trial] = [t for t in json.loads(slurmsweep("trials", sweep, "--json").stdout) if t["state"] == "running"]
    with open(os.path.dirname(trial["log"]) + "/owner") as file:
        os.kill(json.load(file)["owner"]["pid"], signal.SIGKILL)

    (tmp_path / "fast").touch()
    done = slurmsweep("run", sweep, "--backend", "local")

    assert done.returncode == 0, done.stderr
    assert sorted(ran()) == ["--x=1", "--x=1", "--x=2"]


def test_count_starts_that_many(slurmsweep, write_sweep, ran, tmp_path):
    file = write_sweep(COUNTING, "  x: {values: [1, 2, 3, 4, 5]}")

    done = slurmsweep("run", str(file), "--backend", "local", "--count", "2")

    assert done.returncode == 0
    assert ran() == ["--x=1", "--x=2"]


def test_run_json_is_one_document_on_stdout(slurmsweep, write_sweep):
    done = slurmsweep("run", str(write_sweep("pass")), "--backend", "local", "--json")

    document = json.loads(done.stdout)
    assert (document["state"], document["counts"]["finished"], document["expected_run_count"]) == ("finished", 3, 3)


def test_a_random_search_runs_as_many_as_asked_and_reproducibly(slurmsweep, write_sweep, tmp_path):
    file = write_sweep("pass", "  lr: {min: 0.0, max: 1.0}", method="random")
    assert slurmsweep("run", str(file), "--backend", "local", "--count", "3").returncode == 0

    sweep = only_sweep(tmp_path)
    first = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    again = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    values = [trial["params"]["lr"] for trial in first]
    assert values == [trial["params"]["lr"] for trial in again]
    assert len(set(values)) == 3


def test_a_canceled_sweep_starts_nothing_until_it_is_resubmitted(slurmsweep, write_sweep, ran, tmp_path):
    sweep = slurmsweep("create", str(write_sweep(COUNTING))).stdout.strip()
    assert slurmsweep("cancel", sweep).returncode == 0

    done = slurmsweep("agent", sweep)
    assert "the sweep is canceled" in done.stderr
    assert json.loads(slurmsweep("status", sweep, "--json").stdout)["state"] == "canceled"
    assert slurmsweep("resubmit", sweep, "--backend", "local").returncode == 0
    assert len(ran()) == 3


def test_plan_shows_points_and_commands_and_writes_nothing(slurmsweep, write_sweep, tmp_path):
    file = write_sweep("pass", "  a: {values: [1, 2]}\n  b: {values: [x, 'y z']}")

    document = json.loads(slurmsweep("plan", str(file), "--backend", "slurm", "--json").stdout)

    assert (document["method"], document["expected_run_count"]) == ("grid", 4)
    assert [trial["params"] for trial in document["trials"]] == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y z"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y z"},
    ]  # fmt: skip
    assert document["trials"][3]["argv"] == ["/usr/bin/env", "python", "train.py", "--a=2", "--b=y z"]
    assert "#SBATCH --array=0-3" in document["sbatch"]
    assert not (tmp_path / "wandb").exists()


def test_ls_lists_the_sweeps_of_a_folder(slurmsweep, write_sweep):
    first = slurmsweep("create", str(write_sweep("pass", extra="name: one"))).stdout.strip()
    second = slurmsweep("create", str(write_sweep("pass", extra="name: two"))).stdout.strip()

    rows = json.loads(slurmsweep("ls", "--json").stdout)

    assert {row["id"]: row["name"] for row in rows} == {first: "one", second: "two"}


def test_a_sweep_file_elsewhere_finds_the_program_beside_it(slurmsweep, write_sweep, tmp_path, ran):
    file = write_sweep(COUNTING)
    other = tmp_path / "other"
    other.mkdir()

    done = slurmsweep("run", str(file), "--backend", "local", cwd=other)

    assert done.returncode == 0, done.stderr
    assert len(ran()) == 3


def test_a_failed_agents_trial_is_found_without_going_over_all(make_store, monkeypatch):
    store, looked_up = make_store(40), []
    for pid in range(100, 130):
        failed = Outcome(TrialState.FAILED, "exit 1", exit_code=1)
        store.finish(store.claim(Owner("here", pid, 1, "boot")), failed)
    view, get = store.replay(), TrialIndex.__getitem__
    monkeypatch.setattr(TrialIndex, "__getitem__", lambda self, number: looked_up.append(number) or get(self, number))

    assert local_agents._has_a_trial(view, 129, was_killed=False)
    assert looked_up == [29]
    assert local_agents._has_a_trial(view, 100, was_killed=False)
    assert not local_agents._has_a_trial(view, 99, was_killed=False)


def test_here_no_trial_waits_for_another_sweep(slurmsweep, write_sweep):
    done = slurmsweep("run", str(write_sweep("")), "--backend", "local", "--after", "12")

    assert done.returncode == 2
    assert "--after: the local backend cannot let jobs wait for the end of others" in done.stderr
