"""Claims and outcomes by several processes until a grid is empty: beside optuna's journal and SQLite, in one run.

    pip install optuna
    python benchmarks/claims.py [POINTS] [PROCESSES]

Every trial is trivial, so this measures the state alone. Prints times as ratios, and points evaluated more than once.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def slurmsweep_worker(folder: str, _points: int) -> list[int]:
    from slurmsweep.agent.identity import this_process
    from slurmsweep.state.lifecycle import TrialState
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.store import Claim, SweepStore

    store = SweepStore.open(folder)
    done = []
    while isinstance(claim := store.claim(this_process({})), Claim):
        done.append(claim.slot.trial)
        store.finish(claim, Outcome(TrialState.FINISHED, exit_code=0))
    return done


def make_slurmsweep(folder: Path, points: int) -> str:
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.store import SweepStore
    from slurmsweep.sweepfile.config import check

    parameters = {"x": {"min": 0, "max": points - 1}}
    config = check({"method": "grid", "program": "t.py", "parameters": parameters}, "x").config
    what = Manifest("abcd1234", config, points, str(folder), "x", 0.0, "0")
    return SweepStore.create(str(folder), what).layout.folder


def sqlite_worker(file: str, _points: int) -> list[int]:
    done = []
    db = sqlite3.connect(file, timeout=120, isolation_level=None)
    while True:
        db.execute("begin immediate")
        row = db.execute("select n from trial where state = 'pending' order by n limit 1").fetchone()
        if row is None:
            db.execute("rollback")
            return done
        db.execute("update trial set state = 'running' where n = ?", row)
        db.execute("commit")
        done.append(row[0])
        db.execute("update trial set state = 'finished' where n = ?", row)


def make_sqlite(folder: Path, points: int) -> str:
    file = str(folder / "state.db")
    with sqlite3.connect(file) as db:
        db.execute("create table trial (n integer primary key, state text)")
        db.execute("create index by_state on trial (state, n)")
        db.executemany("insert into trial values (?, 'pending')", ((n,) for n in range(points)))
    return file


def optuna_study(file: str, points: int):  # noqa: ANN201 - optuna's Study
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.GridSampler({"x": list(range(points))}, seed=0)
    storage = JournalStorage(JournalFileBackend(file))
    return optuna.create_study(study_name="g", storage=storage, sampler=sampler, load_if_exists=True)


def optuna_worker(file: str, points: int) -> list[int]:
    done: list[int] = []

    def objective(trial) -> float:  # noqa: ANN001 - optuna's Trial
        done.append(trial.suggest_int("x", 0, points - 1))
        return 0.0

    optuna_study(file, points).optimize(objective, n_trials=None)
    return done


def make_optuna(folder: Path, points: int) -> str:
    file = str(folder / "optuna.log")
    optuna_study(file, points)
    return file


def _run(job: tuple[Callable[[str, int], list[int]], str, int]) -> list[int]:
    worker, place, points = job
    return worker(place, points)


def measure(worker: Callable[[str, int], list[int]], place: str, points: int, processes: int) -> tuple[float, int, int]:
    """Trials a second, points evaluated more than once, points never evaluated."""
    with mp.get_context("spawn").Pool(processes) as pool:
        pool.map(os.path.exists, [place] * processes)  # started before the clock
        start = time.perf_counter()
        done = Counter(n for part in pool.map(_run, [(worker, place, points)] * processes, chunksize=1) for n in part)
        seconds = time.perf_counter() - start
    return sum(done.values()) / seconds, sum(1 for count in done.values() if count > 1), points - len(done)


def main() -> None:
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    peers = [("slurmsweep", make_slurmsweep, slurmsweep_worker), ("SQLite", make_sqlite, sqlite_worker)]
    try:
        import optuna  # noqa: F401
    except ImportError:
        print("optuna is not installed: pip install optuna")
    else:
        peers.append(("optuna journal, grid", make_optuna, optuna_worker))
    with tempfile.TemporaryDirectory() as name:
        results = {}
        for title, make, worker in peers:
            folder = Path(name) / title.split()[0]
            folder.mkdir()
            results[title] = measure(worker, make(folder, points), points, processes)
    ours = results["slurmsweep"][0]
    print(f"{points} points, {processes} processes")
    for title, (rate, doubled, missed) in results.items():
        print(
            f"{title:22} takes {ours / rate:5.1f} times as long as slurmsweep; {doubled} points twice, {missed} never"
        )


if __name__ == "__main__":
    main()
