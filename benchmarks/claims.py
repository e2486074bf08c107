"""Short-lived claimers on one sweep: beside optuna's journal (grid, random) and SQLite, in one run.

    pip install optuna
    python benchmarks/claims.py [POINTS] [CLAIMERS]

Each trial is a process of its own, as a single-count agent is: it opens the state, claims, records the outcome, ends.
Trials are trivial, so this measures the state alone. Prints rates as ratios, and points evaluated more than once.
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

from made_sweeps import new_sweep

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Opens the state below a path, runs one trial of so many points, and says which; None where nothing was left.
    OneTrial = Callable[[str, int], "int | None"]


def slurmsweep_trial(folder: str, _points: int) -> int | None:
    from slurmsweep.agents.identity import this_process
    from slurmsweep.state.lifecycle import TrialState
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Claim
    from slurmsweep.state.store import SweepStore

    store = SweepStore.open_to_run(folder)
    claim = store.claim(this_process({}))
    if not isinstance(claim, Claim):
        return None
    store.finish(claim, Outcome(TrialState.FINISHED, exit_code=0))
    return claim.attempt_id.trial


def make_slurmsweep(folder: Path, points: int) -> str:
    document = {"method": "grid", "program": "t.py", "parameters": {"x": {"min": 0, "max": points - 1}}}
    return new_sweep(folder, document, points).layout.folder


def sqlite_trial(file: str, _points: int) -> int | None:
    db = sqlite3.connect(file, timeout=120, isolation_level=None)
    db.execute("begin immediate")
    row = db.execute("select n from trial where state = 'pending' order by n limit 1").fetchone()
    if row is None:
        db.execute("rollback")
        return None
    db.execute("update trial set state = 'running' where n = ?", row)
    db.execute("commit")
    db.execute("update trial set state = 'finished' where n = ?", row)
    number: int = row[0]
    return number


def make_sqlite(folder: Path, points: int) -> str:
    file = str(folder / "state.db")
    with sqlite3.connect(file) as db:
        db.execute("create table trial (n integer primary key, state text)")
        db.execute("create index by_state on trial (state, n)")
        db.executemany("insert into trial values (?, 'pending')", ((n,) for n in range(points)))
    return file


def optuna_study(file: str, points: int, sampler: str):  # noqa: ANN201 - optuna's Study
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    samplers = {
        "grid": lambda: optuna.samplers.GridSampler({"x": list(range(points))}),
        "random": optuna.samplers.RandomSampler,
    }
    storage = JournalStorage(JournalFileBackend(file))
    return optuna.create_study(study_name="g", storage=storage, sampler=samplers[sampler](), load_if_exists=True)


def optuna_trial(file: str, points: int, sampler: str) -> int:
    done: list[int] = []

    def objective(trial) -> float:  # noqa: ANN001 - optuna's Trial
        done.append(trial.suggest_int("x", 0, points - 1))
        return 0.0

    optuna_study(file, points, sampler).optimize(objective, n_trials=1)
    return done[0]


def optuna_grid_trial(file: str, points: int) -> int:
    return optuna_trial(file, points, "grid")


def optuna_random_trial(file: str, points: int) -> int:
    return optuna_trial(file, points, "random")


def make_optuna(folder: Path, points: int) -> str:
    file = str(folder / "optuna.log")
    optuna_study(file, points, "random")
    return file


def claimer(job: tuple[OneTrial, str, int, int]) -> list[int]:
    """Run ``count`` trials one after the other, each in a process of its own; forked, so that no process imports."""
    trial, place, points, count = job
    done = []
    for _ in range(count):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            number = trial(place, points)
            os.write(writing, b"" if number is None else str(number).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        os.waitpid(pid, 0)
        done += [int(said)] if said else []
    return done


def warm_up(job: tuple[OneTrial, str, int]) -> None:
    """Import what a trial needs, before the clock starts."""
    trial, place, points = job
    trial(place, points)


def measure(trial: OneTrial, make: Callable[[Path, int], str], folder: Path, points: int, claimers: int):  # noqa: ANN201
    """Trials a second, points evaluated more than once, points never evaluated."""
    (folder / "warm").mkdir(parents=True)
    warm, place = make(folder / "warm", 10 * claimers), make(folder, points)
    share = [points // claimers + (n < points % claimers) for n in range(claimers)]
    with mp.get_context("spawn").Pool(claimers) as pool:
        pool.map(warm_up, [(trial, warm, 10 * claimers)] * claimers, chunksize=1)
        start = time.perf_counter()
        parts = pool.map(claimer, [(trial, place, points, count) for count in share], chunksize=1)
        seconds = time.perf_counter() - start
    done = Counter(n for part in parts for n in part)
    return sum(done.values()) / seconds, sum(1 for count in done.values() if count > 1), points - len(done)


def main() -> None:
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    claimers = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    peers: list[tuple[str, Callable[[Path, int], str], OneTrial]] = [
        ("slurmsweep", make_slurmsweep, slurmsweep_trial),
        ("SQLite", make_sqlite, sqlite_trial),
    ]
    try:
        import optuna  # noqa: F401
    except ImportError:
        print("optuna is not installed: pip install optuna")
    else:
        peers += [
            ("optuna journal, random", make_optuna, optuna_random_trial),
            ("optuna journal, grid", make_optuna, optuna_grid_trial),
        ]
    with tempfile.TemporaryDirectory() as name:
        results = {}
        for number, (title, make, trial) in enumerate(peers):
            results[title] = measure(trial, make, Path(name) / str(number), points, claimers)
    ours = results["slurmsweep"][0]
    print(f"{points} trials by {claimers} claimers, each trial a process of its own")
    for title, (rate, doubled, missed) in results.items():
        times = f"slurmsweep makes {ours / rate:5.1f} times as many trials a second" if title != "slurmsweep" else ""
        print(f"{title:24} {doubled:3} points twice, {missed:3} never; {times}".rstrip("; "))


if __name__ == "__main__":
    main()
