"""Many workers, killed and stopped at random, two submitters and a reconciler beside them, until the grid is empty."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from faults.crowd import is_done
from faults.promise import TALLY, finished, prove, run_to_the_end


@pytest.mark.timeout(3600)
def test_random_kills_and_stops_lose_nothing_and_double_nothing(make_store, tmp_path, repository, size, dice):
    trials, workers = size.chaos
    store = make_store(trials)
    said = tmp_path / "said"
    said.touch()

    def start(*role: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "faults.crowd", role[0], store.layout.folder, str(said), *role[1:]]
        return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(repository / "tests")})

    submitters = [start("submitter", str(workers // 2)) for _ in range(2)]
    crowd = [*submitters, start("reconciler")]
    kills = stops = 0
    deadline = time.monotonic() + trials
    while not is_done(store):
        assert time.monotonic() < deadline, "the grid was never empty"
        assert all(process.poll() is None or is_done(store) for process in crowd), "one of them gave up"
        time.sleep(dice.uniform(0.02, 0.1))
        victims = [pid for submitter in submitters for pid in children(submitter.pid)]
        if not victims:
            continue
        victim = dice.choice(victims)
        with suppress(ProcessLookupError):  # it has just ended by itself
            if dice.random() < 0.3:
                os.kill(victim, signal.SIGSTOP)
                time.sleep(dice.uniform(0.01, 0.1))
                os.kill(victim, signal.SIGCONT)
                stops += 1
            else:
                os.kill(victim, signal.SIGKILL)
                kills += 1
    assert [process.wait(60) for process in crowd] == [0, 0, 0]

    TALLY.chaos += trials
    assert kills >= 5
    assert stops >= 1
    run_to_the_end(store)
    prove(store, finished(said.read_text().splitlines()), f"{kills} kills, {stops} stops")


def children(pid: int) -> list[int]:
    with suppress(FileNotFoundError), open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]
    return []
