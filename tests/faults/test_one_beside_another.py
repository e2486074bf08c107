"""One command stopped before each of its calls on the sweep's files, another one run to its end, then the first goes on.

Every command beside every other one, and between the two what may happen to a journal: nothing, a lock that does not
lock, its removal or damage and a repair. Afterwards a person runs ``resubmit`` once: each trial has finished once.

The short form takes a sample, the same for the same seed; all of it is
``FAULTS=long python -m pytest tests/faults/test_one_beside_another.py`` and takes about half an hour.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from fake_backend import FakeBackend
from faults import tracer
from faults.promise import FINISHED, GONE, TALLY, run_to_the_end
from submitting import on_backend

from slurmsweep.agents import agent
from slurmsweep.agents.identity import this_process
from slurmsweep.control.jobs import orders
from slurmsweep.control.round.reconcile import give_back, reconcile
from slurmsweep.control.upkeep.rerun import Choice, rerun
from slurmsweep.errors import NotFoundError, StateError, UsageError
from slurmsweep.state import files as durable
from slurmsweep.state import journal
from slurmsweep.state.check import attempt_folders, check
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.lock import LockedFile
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim
from slurmsweep.state.repair import rebuild
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.skipif(not tracer.SUPPORTED, reason="tests/faults/tracer.py knows Linux on x86-64 only")

FAILED = Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=1.0)
TRIALS = 7

#: Seconds to wait for a lock that a stopped process holds.
PATIENCE = 0.02


def run_agent(store, say, trials: int = 2) -> None:
    """Claim, run and record as an agent does; what runs needs no time."""
    claims = agent.Claims(store, {})
    claims.owner = this_process({})
    for _ in range(trials):
        try:
            claim = claims.next()
        finally:
            claims.say_what_was_voided(say)
        if not isinstance(claim, Claim):
            break
        say(f"claimed {claim.attempt_id.trial} {claim.attempt_id.attempt}")
        agent.record(store, claim, FINISHED, say)
        say(f"finished {claim.attempt_id.trial} {claim.attempt_id.attempt}")


def run_agents(store, say) -> None:
    run_agent(store, say, trials=TRIALS)


def resubmit(store, _say) -> None:
    bring_up_to_date(store, _say)
    give_back(session_of(store), lambda trial: True, why="test")


def bring_up_to_date(store, _say) -> None:
    reconcile(session_of(store), sleep=lambda seconds: None)


def delete_first(store, _say) -> None:
    rerun(session_of(store), Choice(trials=frozenset({0})))


def order(given: Callable, store, _say) -> None:
    given(session_of(store))


COMMANDS: dict[str, Callable] = {
    "agent": run_agent,
    "run": run_agents,
    "resubmit": resubmit,
    "reconcile": bring_up_to_date,
    "delete": delete_first,
    "pause": functools.partial(order, orders.pause),
    "resume": functools.partial(order, orders.resume),
    "stop": functools.partial(order, orders.stop),
    "cancel": functools.partial(order, orders.cancel),
    "check": lambda store, _say: check(store),
    "repair": lambda store, _say: rebuild(store),
}

#: The first to be stopped: ``run`` is ``agent`` more often.
STOPPED = [name for name in COMMANDS if name != "run"]


def as_it_is(_store, _say) -> None:
    """Leave the journal as it is."""


def remove(store, _say) -> None:
    """Remove the journal, and repair the sweep, as a person does."""
    os.unlink(store.journal.path)
    rebuild(store)


def edit(store, _say) -> None:
    """Edit the journal, with an editor that makes a new file, and repair what that broke."""
    with open(store.journal.path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    durable.replace(store.journal.path, b"".join([*lines[:2], b"junk\n", *lines[3:]]))
    rebuild(store)


def damage(store, _say) -> None:
    """Lose a part of the journal, as a file server does, and repair it."""
    with open(store.journal.path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 2)
        file.write(b"\0" * 8)
    with suppress(StateError):  # it is locked
        rebuild(store)


HAPPENINGS: dict[str, Callable] = {
    "as it is": as_it_is,
    "lock ignored": as_it_is,
    "removed": remove,
    "edited": edit,
    "damaged": damage,
}


def session_of(store):
    return on_backend(store, FakeBackend())


def said_by(command: Callable, folder: str, say) -> None:
    """Run a command; an error that is meant for people is said, any other is a failure of the test."""
    store = SweepStore.open_to_run(folder)
    store = SweepStore(store.layout, store.manifest, PATIENCE)
    try:
        command(store, say)
    except (StateError, UsageError, NotFoundError) as error:
        say(f"error {error}")


@pytest.fixture
def eventful(make_store, tmp_path) -> SweepStore:
    """Trial 0 finished, 1 failed and given back, 2 by an agent that is gone, 3 made and never started, others new."""
    store = make_store(TRIALS, tmp_path / "made")
    store.finish(store.claim(GONE), FINISHED)
    store.finish(store.claim(GONE), FAILED)
    store.claim(GONE)
    give_back(session_of(store), lambda trial: True, why="test")
    durable.ensure_folders(store.layout.attempt((3, 1)))
    return store


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(agent, "_RECORD_AGAIN", (0.0, 0.0))
    monkeypatch.setattr(durable, "_VIEW_LAGS", (0.0,))
    monkeypatch.setattr(journal, "_HELD_UP", 0.0)  # those that are stopped here sleep for milliseconds


def calls_of(name: str, folder: str) -> int:
    """Return how many calls on files of the sweep a command makes."""
    found = tracer.trace(functools.partial(said_by, COMMANDS[name], folder))
    assert found.status == 0
    return sum(path.startswith(folder) for _, path in found.calls)


class Nth:
    """Is true of the n-th call on a file below a folder, from 0 on."""

    def __init__(self, folder: str, number: int) -> None:
        self._folder, self._left = folder, number

    def __call__(self, _name: str, path: str) -> bool:
        self._left -= path.startswith(self._folder)
        return self._left < 0


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("happening", HAPPENINGS)
@pytest.mark.parametrize("first", STOPPED)
def test_a_command_that_slept_beside_another_one_doubles_nothing_and_loses_nothing(
    eventful, tmp_path, size, dice, first, happening
):
    calls = calls_of(first, copy_of(eventful, tmp_path / "probe"))
    cases = [(at, second) for at in range(calls) for second in COMMANDS]
    problems = []
    for at, second in dice.sample(cases, min(len(cases), size.beside)):
        folder = copy_of(eventful, tmp_path / "case")
        problem = beside(folder, (first, at), second, happening)
        problems += [f"{first} before call {at}, {happening}, {second}: {problem}"] if problem else []
        shutil.rmtree(tmp_path / "case")
        TALLY.faults += 1
    assert problems == [], f"{len(problems)} of {len(cases)}"


def copy_of(store, place: Path) -> str:
    return str(shutil.copytree(store.layout.folder, place / os.path.basename(store.layout.folder)))


def beside(folder: str, stopped: tuple[str, int], second: str, happening: str) -> str:
    """Stop the one, run the other, wake the one, and put right what is left; return what is wrong then."""
    first, at = stopped
    heard: list[str] = []
    sleeper = tracer.stop_before(functools.partial(said_by, COMMANDS[first], folder), Nth(folder, at))
    if sleeper is None:
        return "it made fewer calls than before"
    locks = LockedFile._try_lock
    try:
        if happening == "lock ignored":
            LockedFile._try_lock = lambda self, descriptor: True
        for step in (HAPPENINGS[happening], COMMANDS[second]):
            said_by(step, folder, heard.append)
    finally:
        LockedFile._try_lock = locks
        tracer.wake(sleeper)
    if sleeper.status != 0 and (second, os.WTERMSIG(sleeper.status)) != ("cancel", signal.SIGTERM):
        return f"it ended with status {sleeper.status}, and said {sleeper.said}"
    store = SweepStore.open(folder)
    problem = after(store, locks=happening != "lock ignored", deleted="delete" in {first, second})
    return f"{problem}; said: {[*heard, *sleeper.said]}" if problem else ""


def after(store, *, locks: bool, deleted: bool) -> str:
    """Return what is wrong once a person has put right what is left."""
    if not os.path.exists(store.journal.path) or store.replay().damaged:
        rebuild(store)
    if store.replay().word:
        with store.transaction() as transaction:
            transaction.order(SweepState.RUNNING)
    run_to_the_end(store)
    if not locks and check(store).findings:  # records may be lost then, and folders are not
        rebuild(store)
        run_to_the_end(store)
    wrong = [str(finding) for finding in check(store).findings]
    view = store.replay()
    wrong += [f"trial {n} is {t.state}" for n, t in view.trials.items() if t.state is not TrialState.FINISHED]
    wrong += [f"trial {n} is lost" for n in range(TRIALS) if n not in view.trials]
    ends = Counter(a.trial for a in attempt_folders(store) if (end := store.read_outcome(a)) and end.is_done)
    most = {0: 1 + deleted}
    wrong += [f"trial {n} finished {times} times" for n, times in ends.items() if times > most.get(n, 1)]
    return "; ".join(wrong)


def stopped_before_its_name(store, attempt_id) -> tracer.Trace:
    """Return an agent that made the folder of that attempt and has not put its name in."""
    claimed = store.layout.attempt(attempt_id)
    work = functools.partial(said_by, run_agent, store.layout.folder)
    return tracer.stop_before(work, lambda name, path: name == "rename" and path.startswith(f"{claimed}/.owner"))


def test_an_agent_whose_attempt_a_repair_voided_says_so_and_runs_another_trial(eventful):
    sleeper = stopped_before_its_name(eventful, (4, 1))
    remove(eventful, None)

    tracer.wake(sleeper)

    assert sleeper.said[2:4] == [
        "trial 4, attempt 1: voided while this agent was stopped, so it does not run here",
        "claimed 5 1",
    ]
    assert eventful.replay().trials[4].attempts[1].void
    assert after(SweepStore.open(eventful.layout.folder), locks=True, deleted=False) == ""


def test_a_further_attempt_without_a_name_is_voided_when_its_trial_runs_again(eventful):
    """A repair leaves its folder alone, which may be a script's own; no agent can make it a second time."""
    sleeper = stopped_before_its_name(eventful, (1, 2))
    remove(eventful, None)
    for _ in range(2):
        resubmit(eventful, None)
        run_agents_here(eventful)

    tracer.wake(sleeper)

    assert sleeper.said[0] == "trial 1, attempt 2: voided while this agent was stopped, so it does not run here"
    assert eventful.replay().trials[1].current.number == 3
    assert after(SweepStore.open(eventful.layout.folder), locks=True, deleted=False) == ""


def test_an_agent_that_claimed_in_a_removed_journal_obeys_the_order_in_the_new_one(eventful):
    """It was stopped after it had put its name into the attempt's folder, and the sweep was canceled."""
    folder, named = eventful.layout.folder, eventful.layout.owner((1, 2))
    sleeper = tracer.stop_before(
        functools.partial(said_by, run_agent, folder), lambda name, _path: name == "write" and os.path.exists(named)
    )
    remove(eventful, None)
    with eventful.transaction() as transaction:
        transaction.order(SweepState.CANCELED)

    tracer.wake(sleeper)

    assert sleeper.said == ["trial 1, attempt 2: voided while this agent was stopped, so it does not run here"]
    assert eventful.replay().trials[1].state is TrialState.PENDING
    assert after(SweepStore.open(folder), locks=True, deleted=False) == ""


def test_a_repair_does_not_replace_a_journal_that_another_one_made_meanwhile(eventful):
    folder = eventful.layout.folder
    os.unlink(eventful.journal.path)
    sleeper = tracer.stop_before(
        functools.partial(said_by, COMMANDS["repair"], folder), lambda name, _path: name == "link"
    )
    os.unlink(f"{eventful.journal.path}.repair")  # as if its lock did not lock
    rebuild(eventful)
    done = run_agents_here(eventful)

    tracer.wake(sleeper)

    assert "it was removed or replaced while it was repaired: repair it again" in sleeper.said[0]
    assert done == [3, 4, 5, 6]
    assert {n for n, t in eventful.replay().trials.items() if t.state is TrialState.FINISHED} == {0, *done}


def test_of_two_repairs_the_second_waits_for_the_first(eventful):
    folder = eventful.layout.folder
    sleeper = tracer.stop_before(
        functools.partial(said_by, COMMANDS["repair"], folder), lambda name, _path: name == "link"
    )
    heard = []

    said_by(COMMANDS["repair"], folder, heard.append)
    tracer.wake(sleeper)

    assert "journal.log.repair: other processes held its lock" in heard[0]
    assert sleeper.said == []


def run_agents_here(store) -> list[int]:
    """Run what is there, and return the trials that finished."""
    said: list[str] = []
    run_agents(store, said.append)
    return [int(line.split()[1]) for line in said if line.startswith("finished")]


def test_of_two_orders_at_once_without_a_lock_all_readers_believe_the_same(eventful, monkeypatch):
    """Both writers saw the same last record, so both orders have its number and one."""
    folder = eventful.layout.folder
    sleeper = tracer.stop_before(
        functools.partial(said_by, COMMANDS["cancel"], folder), lambda name, path: name == "write" and "journal" in path
    )
    monkeypatch.setattr(LockedFile, "_try_lock", lambda self, descriptor: True)
    said_by(COMMANDS["pause"], folder, print)

    tracer.wake(sleeper)

    view = eventful.replay()
    assert view.word is view.head.word is SweepState.CANCELED
