"""``early_terminate`` with ``slurmsweep.agent(function=)``: the function ends, the agent goes on."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import slurmsweep
from slurmsweep.api.early_stop import EarlyStop, StoppedEarly
from slurmsweep.errors import UsageError

STOPPED = ("killed", "early_terminate")


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch):
    monkeypatch.setenv("SLURMSWEEP_EARLY_TERMINATE_SECONDS", "0.05")


@pytest.fixture
def make_stopping_sweep(make_sweep):
    return lambda *values: make_sweep(values, early_terminate={"type": "hyperband", "min_iter": 3})


def train(epochs=2000):
    """Log a curve that is the better the smaller x is; the best one is short."""
    run = slurmsweep.init()
    for epoch in range(5 if run.config.x == 0 else epochs):
        slurmsweep.log({"loss": run.config.x + 1 / (epoch + 1)})
        time.sleep(0.02)


def test_a_worse_trial_is_stopped_and_the_agent_goes_on(make_stopping_sweep, outcomes, log_of):
    sweep = make_stopping_sweep(0, 1, 2)
    started = time.monotonic()

    slurmsweep.agent(sweep, train)

    assert outcomes(sweep) == {0: ("finished", ""), 1: STOPPED, 2: STOPPED}
    assert "stopped early: loss=" in log_of(sweep, 1)
    assert "Traceback" not in log_of(sweep, 1)
    assert time.monotonic() - started < 40
    assert slurmsweep.run is None


def test_a_function_that_catches_every_exception_is_stopped_all_the_same(make_stopping_sweep, outcomes):
    def stubborn():
        try:
            train()
        except Exception:  # noqa: BLE001 - as some scripts do
            raise AssertionError("caught") from None

    sweep = make_stopping_sweep(0, 1)
    slurmsweep.agent(sweep, stubborn)

    assert outcomes(sweep)[1] == STOPPED


def test_a_function_that_goes_on_nevertheless_was_stopped_early(make_stopping_sweep, outcomes):
    ends = []

    def deaf():
        try:
            train()
        except StoppedEarly:
            ends.append("heard")

    sweep = make_stopping_sweep(0, 1)
    slurmsweep.agent(sweep, deaf)

    assert (outcomes(sweep)[1], ends) == (STOPPED, ["heard"])


def test_a_wrong_number_of_seconds_is_said_before_a_trial_is_taken(make_stopping_sweep, outcomes, monkeypatch):
    monkeypatch.setenv("SLURMSWEEP_EARLY_TERMINATE_SECONDS", "never")
    sweep = make_stopping_sweep(0)

    with pytest.raises(UsageError, match="SLURMSWEEP_EARLY_TERMINATE_SECONDS='never'"):
        slurmsweep.agent(sweep, train)

    assert outcomes(sweep) == {}


class Impatient:
    """A watch that stops at every look."""

    due = 0.0
    is_due = True

    def __init__(self):
        self.looks = 0

    def look(self) -> bool:
        self.looks += 1
        return True


def test_the_exception_comes_inside_of_the_body_or_not_at_all():
    inside = 0
    for pause in range(200):
        watch = Impatient()
        early = EarlyStop(watch)
        try:
            with early:
                sum(range(pause * 50))
        except StoppedEarly:
            inside += 1
            assert early.has_come
        early.close()
        for _ in range(100):
            pass  # here it would come late
    assert 0 <= inside <= 200


def test_without_a_rule_no_thread_is_started():
    early = EarlyStop(None)
    with early:
        pass
    early.close()

    assert not early.has_come
    assert early._thread.ident is None


#: A function that ends, one that catches the order and goes on, and one that hears it; each is then followed by a trace.
TRACED = """
import sys, time
from types import SimpleNamespace
from slurmsweep.api.early_stop import EarlyStop, StoppedEarly

def wait():
    while True:
        time.sleep(0.01)

def catch():
    try:
        wait()
    except BaseException:
        pass

def stopping():
    return SimpleNamespace(due=time.monotonic() + 0.3, is_due=True, look=lambda: True)

for function, watch in ((int, None), (catch, stopping()), (wait, stopping())):
    stop = EarlyStop(watch)
    try:
        with stop:
            function()
        print(function.__name__, "ended")
    except StoppedEarly:
        print(function.__name__, "was ended")
    stop.close()
    sys.settrace(lambda *_: None)
    (lambda: None)()
    sys.settrace(None)
"""


def test_a_process_can_be_traced_after_its_function_was_told_to_end():
    """CPython 3.11 would look for ever for an exception that was taken back, in each call that is traced."""
    done = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, timeout=120, check=False)

    assert done.stdout.splitlines() == ["int ended", "catch ended", "wait was ended"], done.stderr
