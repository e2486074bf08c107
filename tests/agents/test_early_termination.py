"""Trials that are stopped early: what is recorded of them, what a script sees, and that the search finds the same best."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurmsweep.agents import signals
from slurmsweep.agents.early_termination import BandWatch
from slurmsweep.errors import UsageError
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId

OWNER = Owner("elsewhere", 1, 1, "b")
OFTEN = {"SLURMSWEEP_EARLY_TERMINATE_SECONDS": "0.1"}

#: Each epoch is a line of the file `epochs`; curves of two trials never cross.
CURVE = """
import os, sys, time
import slurmsweep
run = slurmsweep.init()
for epoch in range(1, 28):
    slurmsweep.log({"loss": run.config["x"] + 10 / epoch, "acc": -run.config["x"] - 10 / epoch})
    with open("epochs", "a") as file:
        file.write(f"{run.config['x']}\\n")
    time.sleep(0.08)
"""
MINIMIZE = "metric: {name: loss, goal: minimize}\nearly_terminate: {type: hyperband, min_iter: 3}"

#: Logs three values and waits to be stopped; trial 0 has the best ones. What it does with SIGTERM comes before it.
WAITER = """
import sys, time
import slurmsweep
run = slurmsweep.init()
for step in range(3):
    slurmsweep.log({"loss": run.config["x"] + 1.0})
print("logged", flush=True)
while run.config["x"]:
    time.sleep(0.02)
"""


@pytest.fixture
def create(slurmsweep, write_sweep, tmp_path):
    """Create a sweep with early termination; returns its store."""

    def create(script, parameters="  x: {values: [0, 1]}", extra=MINIMIZE, **options) -> SweepStore:
        done = slurmsweep("create", str(write_sweep(script, parameters, extra, **options)))
        assert done.returncode == 0, done.stderr
        return SweepStore.open(str(tmp_path / "wandb" / f"sweep-{done.stdout.strip()}"))

    return create


@pytest.fixture
def agent(tmp_path):
    """Start an agent that looks often; all of its processes are gone after the test."""
    agents = []

    def start(store, **environ) -> subprocess.Popen:
        command = [sys.executable, "-m", "slurmsweep", "agent", store.layout.folder]
        agents.append(
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env=os.environ | OFTEN | environ,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return agents[-1]

    yield start
    for one in agents:
        if one.poll() is None:
            one.kill()
        one.communicate()


def wait_until(true, what) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def outcome(store, number=1) -> Outcome:
    return store.replay().trials[number].current.outcome


def log_of(store, number=1, attempt=1) -> str:
    return Path(store.layout.log(AttemptId(number, attempt))).read_text()


def wait_for_the_log(store, word, number=1) -> None:
    path = Path(store.layout.log(AttemptId(number, 1)))
    wait_until(lambda: path.exists() and word in path.read_text(), f"the log never had {word}")


def bands(store, number, attempt=1) -> dict:
    return store.replay().bands.of(AttemptId(number, attempt))


def test_at_least_half_of_the_epochs_are_saved_and_the_best_point_is_the_same(create, slurmsweep, tmp_path):
    store = create(CURVE, "  x: {min: 0, max: 11}")

    done = slurmsweep("run", store.layout.folder, "--backend", "local", "--jobs", "4", "--json", **OFTEN)

    document = json.loads(done.stdout)
    epochs = len((tmp_path / "epochs").read_text().splitlines())
    assert done.returncode == 0, done.stderr
    assert document["best"]["params"] == {"x": 0}
    assert epochs <= 12 * 27 / 2
    assert document["counts"]["finished"] + document["stopped_early"] == 12
    assert document["state"] == "finished"
    assert slurmsweep("check", store.layout.folder).returncode == 0


def test_a_metric_to_be_large_is_compared_the_other_way_round(create, slurmsweep):
    extra = "metric: {name: acc, goal: maximize}\nearly_terminate: {type: hyperband, min_iter: 3}"
    store = create(CURVE, "  x: {values: [0, 5, 6, 7]}", extra)

    done = slurmsweep("run", store.layout.folder, "--backend", "local", "--json", **OFTEN)

    document = json.loads(done.stdout)
    assert (document["best"]["params"], document["stopped_early"]) == ({"x": 0}, 3)
    assert "acc=" in log_of(store, 1)


def test_a_stopped_trial_is_killed_with_its_last_metric_and_its_job_ends_well(create, agent):
    store = create(WAITER)
    for _ in range(2):
        assert agent(store).wait(120) == 0

    ended = outcome(store)
    assert (ended.state, ended.cause, ended.metric, ended.exit_code) == (
        TrialState.KILLED,
        "early_terminate",
        2.0,
        0,
    )
    assert "stopped early: loss=2 is worse than 1" in log_of(store)
    assert (bands(store, 0), bands(store, 1)) == ({3: 1.0}, {3: 2.0})


def test_a_script_that_ends_with_0_when_it_is_told_to_stop_was_stopped_early_all_the_same(create, agent):
    store = create("import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + WAITER)
    for _ in range(2):
        assert agent(store).wait(120) == 0

    assert (outcome(store).state, outcome(store).cause) == (TrialState.KILLED, "early_terminate")


def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(create, agent):
    store = create("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITER)
    assert agent(store).wait(120) == 0

    assert agent(store, WANDB_AGENT_KILL_DELAY="0.3").wait(120) == 0

    assert (outcome(store).state, outcome(store).cause) == (TrialState.KILLED, "early_terminate")


def test_the_templates_signal_is_the_one_by_which_a_trial_is_stopped(create, agent):
    handler = "import signal, sys\ndef leave(*_):\n    print('heard', flush=True)\n    sys.exit(3)\n"
    store = create(f"{handler}signal.signal(signal.SIGUSR2, leave)\n{WAITER}")
    for _ in range(2):
        assert agent(store, SLURMSWEEP_STOP_SIGNAL="USR2").wait(120) == 0

    assert "heard" in log_of(store)


def test_an_agent_that_is_told_to_stop_while_its_trial_is_being_stopped_early_takes_no_other(create, agent):
    script = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))\n" + WAITER
    store = create(script, "  x: {values: [0, 1, 2]}")
    assert agent(store).wait(120) == 0
    second = agent(store, WANDB_AGENT_KILL_DELAY="60")
    wait_for_the_log(store, "heard")

    second.send_signal(signal.SIGTERM)
    wait_until(lambda: log_of(store).count("heard") > 1, "the signal was not passed on")
    second.send_signal(signal.SIGTERM)
    wait_until(lambda: log_of(store).count("heard") > 2, "the second signal was not passed on")
    second.send_signal(signal.SIGTERM)

    assert second.wait(120) == 0
    assert outcome(store).cause == "early_terminate"
    assert 2 not in store.replay().trials


def test_a_signal_that_comes_first_says_what_became_of_the_trial(create, agent):
    store = create(WAITER)
    first = agent(store, SLURMSWEEP_EARLY_TERMINATE_SECONDS="60")
    assert first.wait(120) == 0
    second = agent(store, SLURMSWEEP_EARLY_TERMINATE_SECONDS="60")
    wait_for_the_log(store, "logged")

    second.send_signal(signal.SIGTERM)

    assert second.wait(120) == 143
    assert (outcome(store).state, outcome(store).cause) == (TrialState.KILLED, "terminated")


def test_bands_reached_after_the_last_look_are_recorded_with_the_end(create, agent):
    script = "import slurmsweep\nslurmsweep.init()\nfor step in range(10):\n    slurmsweep.log({'loss': step})"
    store = create(script)

    assert agent(store, SLURMSWEEP_EARLY_TERMINATE_SECONDS="60").wait(120) == 0

    assert bands(store, 0) == {3: 2.0, 9: 8.0}
    assert store.read_bands(AttemptId(0, 1)) == [(3, 2.0), (9, 8.0)]


def test_a_lenient_rule_spares_a_trial_whose_best_value_so_far_is_good_enough(create, agent):
    script = """
import time
import slurmsweep
run = slurmsweep.init()
for loss in (1.5, 0.5, 3.0) if run.config["x"] else (2, 2, 1.0):
    slurmsweep.log({"loss": loss})
time.sleep(run.config["x"])
"""
    store = create(script, extra=MINIMIZE.replace("min_iter: 3", "min_iter: 3, strict: false"))
    for _ in range(2):
        assert agent(store).wait(120) == 0

    assert outcome(store).state is TrialState.FINISHED
    assert bands(store, 1) == {3: 3.0}


def test_values_of_trials_that_failed_or_were_stopped_count(create):
    store = create(WAITER)
    for state, cause, value in (TrialState.FAILED, "exit 1", 0.1), (TrialState.KILLED, "early_terminate", 0.2):
        claim = store.claim(OWNER._replace(pid=len(cause)))
        store.record_bands(claim.attempt_id, [(3, value)])
        store.finish(claim, Outcome(state, cause))

    assert store.replay().values_at(3, besides=1) == [0.1]
    assert store.replay().values_at(3, besides=7) == [0.1, 0.2]


def test_resubmit_leaves_them_alone_unless_they_are_named(create, slurmsweep):
    store = create("pass", "  x: {values: [0, 1, 2]}")
    for cause in ("early_terminate", "terminated", "early_terminate"):
        store.finish(store.claim(OWNER), Outcome(TrialState.KILLED, cause))

    def planned(*words) -> list[int]:
        done = slurmsweep("resubmit", store.layout.folder, "--dry-run", "--json", "--backend", "local", *words)
        assert done.returncode == 0, done.stderr
        return [number for group in json.loads(done.stdout)["groups"] for number in group["trials"]]

    assert planned() == [1]
    assert planned("--state", "killed") == [1]
    assert planned("--trials", "0,1") == [0, 1]
    assert planned("--cause", "early_terminate") == [0, 2]


def test_run_goes_on_with_what_was_cut_off_and_not_with_what_was_stopped_early(create, slurmsweep):
    store = create("pass", "  x: {values: [0, 1]}")
    for cause in ("early_terminate", "terminated"):
        store.finish(store.claim(OWNER), Outcome(TrialState.KILLED, cause))

    done = slurmsweep("run", store.layout.folder, "--backend", "local", "--json")

    assert done.returncode == 0, done.stderr
    assert [trial.newest for trial in store.replay().trials.values()] == [1, 2]


def test_a_trial_that_is_named_runs_again_and_that_is_no_failure(create, slurmsweep):
    store = create("pass", "  x: {values: [0, 1]}")
    for _ in range(2):
        store.finish(store.claim(OWNER), Outcome(TrialState.KILLED, "early_terminate"))

    done = slurmsweep("resubmit", store.layout.folder, "--trials", "1", "--backend", "local")

    assert done.returncode == 0, done.stderr
    assert "1 finished, 1 stopped early" in done.stdout


def test_a_requeued_job_does_not_go_on_with_a_trial_that_was_stopped_early(create):
    store = create("pass")
    job = OWNER._replace(job="7", task=0)
    store.finish(store.claim(job), Outcome(TrialState.KILLED, "early_terminate"))

    assert store.continue_after_requeue(job._replace(restart=1)) is None


def test_a_wrong_number_of_seconds_is_said_before_a_trial_is_taken(create, slurmsweep):
    store = create("pass")

    done = slurmsweep("agent", store.layout.folder, SLURMSWEEP_EARLY_TERMINATE_SECONDS="soon")

    assert done.returncode != 0
    assert "SLURMSWEEP_EARLY_TERMINATE_SECONDS='soon' is not a number of seconds" in done.stderr
    assert len(store.replay().trials) == 0


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x"])
def test_seconds_between_looks_are_a_number_greater_than_0(text):
    with pytest.raises(UsageError):
        signals.seconds_between_looks({"SLURMSWEEP_EARLY_TERMINATE_SECONDS": text})

    assert signals.seconds_between_looks({}) == 5


@pytest.fixture
def watch(create):
    """A watch over the first attempt of trial 0 of a new sweep, its store, and what it says."""
    store = create("pass")
    claim = store.claim(OWNER)
    said: list[str] = []
    return watching(store, claim.attempt_id, said), store, said


def watching(store, attempt_id, said) -> BandWatch:
    config = store.manifest.config
    return BandWatch(store, attempt_id, (config.early_terminate, config.metric), 5.0, said.append)


def logged(store, values, attempt=1, first_step=0) -> None:
    path = Path(store.layout.history(AttemptId(0, attempt)))
    rows = [{"loss": value, "_step": step} for step, value in enumerate(values, first_step)]
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_what_cannot_be_read_is_said_once_and_tried_again(watch):
    watched, store, said = watch
    path = Path(store.layout.history(AttemptId(0, 1)))
    path.mkdir()
    path.rmdir()
    path.symlink_to("/proc/self/mem")  # a file that opens and does not read
    assert [watched.look(), watched.look()] == [False, False]
    path.unlink()
    logged(store, [5, 5, 5])
    journal = Path(store.journal.path)
    journal.rename(journal.with_suffix(".away"))
    assert watched.look() is False
    journal.with_suffix(".away").rename(journal)
    store.record_bands(AttemptId(1, 1), [(3, 1.0)])

    assert watched.look() is True
    assert [line.partition(",")[0] for line in said] == [
        "early_terminate cannot look at this trial now",
        "stopped early: loss=5 is worse than 1",
    ]
    assert bands(store, 0) == {3: 5.0}


def test_a_look_reads_and_writes_nothing_more_while_nothing_happens(watch, monkeypatch):
    watched, store, _ = watch
    logged(store, [5, 5, 5])
    assert watched.look() is False
    size = os.stat(store.journal.path).st_size
    monkeypatch.setattr(store.journal, "opened", lambda: pytest.fail("the journal was read"))

    assert watched.look() is False
    assert os.stat(store.journal.path).st_size == size


def test_an_attempt_that_goes_on_is_judged_by_the_whole_history_and_records_no_band_again(watch):
    _, store, said = watch
    logged(store, [5, 5, 5])
    store.record_bands(AttemptId(0, 1), [(3, 5.0)])
    store.finish(store.claim(OWNER), Outcome(TrialState.FINISHED))
    with store.transaction() as transaction:
        transaction.retry([AttemptId(0, 2)], "test")
    claim = store.claim(OWNER)
    store.record_bands(AttemptId(1, 1), [(9, 1.0)])
    logged(store, [4] * 6, attempt=2, first_step=3)
    second = watching(store, claim.attempt_id, said)

    assert second.look() is True
    assert second.concluded(Outcome(TrialState.FINISHED))[1].values == ((3, 5.0), (9, 4.0))
    assert (bands(store, 0), bands(store, 0, 2)) == ({3: 5.0}, {9: 4.0})


def test_attempts_that_a_person_deleted_do_not_count(watch, slurmsweep):
    _, store, said = watch
    logged(store, [5, 5, 5])
    store.record_bands(AttemptId(0, 1), [(3, 5.0)])
    store.finish(store.claim(OWNER), Outcome(TrialState.FINISHED))
    with store.transaction() as transaction:
        transaction.end(AttemptId(0, 1), None, Outcome(TrialState.FINISHED))
    assert slurmsweep("delete", store.layout.folder, "--trials", "0").returncode == 0
    assert store.replay().values_at(3, besides=1) == []
    claim = store.claim(OWNER)
    logged(store, [4, 4], attempt=claim.attempt_id.attempt, first_step=3)
    second = watching(store, claim.attempt_id, said)

    assert second.look() is False
    assert second.concluded(Outcome(TrialState.FINISHED))[1].values == ()


@pytest.mark.parametrize(("waited", "cpu", "next_look"), [(0.0, 0.01, 1.0), (3.0, 0.01, 3.0), (3.0, 0.5, 5.0)])
def test_the_next_look_waits_by_the_work_of_the_last_and_less_by_its_waiting(
    watch, monkeypatch, waited, cpu, next_look
):
    _, store, said = watch
    clock = {"monotonic": 100.0, "thread_time": 5.0}
    monkeypatch.setattr("slurmsweep.agents.watch.time.monotonic", lambda: clock["monotonic"])
    monkeypatch.setattr("slurmsweep.agents.watch.time.thread_time", lambda: clock["thread_time"])
    watched = watching(store, AttemptId(0, 1), said)

    def slow() -> str:
        clock["monotonic"] += waited
        clock["thread_time"] += cpu
        return ""

    monkeypatch.setattr(watched, "why_stop", slow)

    watched.look()

    assert watched.due - clock["monotonic"] == pytest.approx(next_look)
