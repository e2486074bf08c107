"""Many workers, killed and stopped at random, until the grid is empty: every trial acknowledged once, none lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from slurmsweep.launch.reconcile import give_back, reconcile
from slurmsweep.state.check import check
from slurmsweep.state.lifecycle import TrialState

TRIALS, WORKERS = 300, 8

#: Claims and finishes until nothing is left; says each trial once its outcome is acknowledged.
WORKER = """
import sys, time
from slurmsweep.agent.identity import this_process
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.store import Claim, SweepStore
store = SweepStore.open(sys.argv[1])
me = this_process({})
with open(sys.argv[2], "a", buffering=1) as said:
    while isinstance(claim := store.claim(me), Claim):
        time.sleep(0.02)
        store.finish(claim, Outcome(TrialState.FINISHED, exit_code=0, ended=1.0))
        said.write(f"{claim.slot.trial}\\n")
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_and_stops_lose_nothing_and_double_nothing(make_store, tmp_path, seed):
    store = make_store(TRIALS)
    said = tmp_path / "said"
    dice = random.Random(seed)
    workers: list[subprocess.Popen] = []
    kills = 0
    deadline = time.monotonic() + 120

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", WORKER, store.layout.folder, str(said)])

    while not is_done(store):
        assert time.monotonic() < deadline, "the grid was never empty"
        workers = [worker for worker in workers if worker.poll() is None]
        if not workers and kills > 0:
            reconcile(store, sleep=lambda seconds: None)
            give_back(store, lambda trial: True, why="chaos")
        workers += [start() for _ in range(WORKERS - len(workers))]
        time.sleep(dice.uniform(0.05, 0.25))
        victim = dice.choice(workers)
        if dice.random() < 0.3:
            os.kill(victim.pid, signal.SIGSTOP)
            time.sleep(dice.uniform(0.01, 0.1))
            os.kill(victim.pid, signal.SIGCONT)
        else:
            victim.kill()
            victim.wait()
            kills += 1
            reconcile(store, sleep=lambda seconds: None)
            give_back(store, lambda trial: True, why="chaos")
    for worker in workers:
        worker.wait()

    acknowledged = [int(line) for line in said.read_text().split()]
    assert sorted(acknowledged) == sorted(set(acknowledged)), "a trial was acknowledged twice"
    assert {n: str(trial.state) for n, trial in store.fold().trials.items()} == dict.fromkeys(range(TRIALS), "finished")
    assert [str(finding) for finding in check(store).findings] == []
    assert kills >= 5


def is_done(store) -> bool:
    return store.fold().counts().get(TrialState.FINISHED, 0) == TRIALS
