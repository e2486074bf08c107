"""How the journal beside this file was made, once, by the version that wrote journal version 1: a bit of everything.

It is never made again: later versions read it as it is. A journal of a later version gets a folder of its own.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from slurmsweep.control.round.reconcile import give_back
from slurmsweep.control.session import Session
from slurmsweep.state import files as durable
from slurmsweep.state.lifecycle import SweepState, TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.config import check

LOCAL = Owner("node1", 4321, 99, "b007", "pid:[1]")


def job(task: int, restart: int = 0) -> Owner:
    return Owner("node2", 5000 + task, 77, "b008", "pid:[1]", "n2", "lab", "17", task, restart)


def main(target: Path) -> None:
    parameters = {
        "lr": {"values": [0.1, 1e-5]},
        "opt": {"parameters": {"name": {"values": ["sgd", "adam"]}}},
        "s": {"values": [0, 1, 2]},
    }
    document = {"method": "grid", "program": "train.py", "metric": {"name": "loss"}, "parameters": parameters}
    config = check(document, "sweep.yaml").config
    with tempfile.TemporaryDirectory() as root:
        what = Manifest("v1v1v1v1", config, 12, "/home/ada", "/home/ada/sweep.yaml", 1764000000.0, "0.1.0")
        store = SweepStore.create(root, what)
        happen(store)
        with open(store.journal.path, "ab") as file:
            file.write(b'0123abcd {"op":"end","t"')  # its writer was killed; nobody came after it
        for name in ("sweep.json", "journal.log"):
            shutil.copy(Path(store.layout.folder) / name, target / name)
        (target / "expected.json").write_text(json.dumps(told(store), indent=1) + "\n")


def happen(store: SweepStore) -> None:
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("slurmsweep-v1v1v1v1-aa", 4, None))
        transaction.submit(SubmitRecord("slurmsweep-v1v1v1v1-aa", 4, "17"))
        transaction.submit(SubmitRecord("slurmsweep-v1v1v1v1-bb", 9, ""))
        transaction.submit(SubmitRecord("slurmsweep-v1v1v1v1-cc", 2, None))
    store.finish(
        store.claim(job(0)),
        Outcome(
            TrialState.FINISHED,
            exit_code=0,
            metric=0.25,
            seconds=3.5,
            cpu_seconds=3.25,
            max_rss_mb=101.5,
            ended=1764000010.0,
        ),
    )
    store.finish(store.claim(job(1)), Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=1764000011.0))
    store.claim(job(2))
    store.continue_after_requeue(job(2, restart=1))
    store.finish(store.claim(LOCAL), Outcome(TrialState.KILLED, "interrupted", exit_code=130, ended=1764000012.0))
    store.give_up(store.claim(LOCAL))
    with open(store.journal.path, "ab") as file:
        file.write(b'77777777 {"op":"claim","t":5')  # torn, and sealed by the next writer
    durable.ensure_folders(store.layout.attempt((5, 1)))
    store.void(AttemptId(5, 1))
    with store.transaction(store.reading()) as transaction:
        transaction.void(AttemptId(5, 1))
    store.adopt({10: Outcome(TrialState.FINISHED, exit_code=0, metric=0.125, origin="prior000/3")}, LOCAL)
    give_back(Session(store), lambda trial: trial.number == 1, why="resubmit")
    store.finish(
        store.claim(LOCAL), Outcome(TrialState.CRASHED, "oom", exit_code=137, by="reconcile", ended=1764000013.0)
    )
    with store.transaction() as transaction:
        transaction.exhausted(100)
        transaction.order(SweepState.CANCELED)
        transaction.order(SweepState.PAUSED)


def told(store: SweepStore) -> dict:
    """Return what every later version must read from it."""
    view = store.replay()
    return {
        "counts": {state.value: n for state, n in view.counts().items()},
        "word": view.word,
        "sealed": view.sealed,
        "damaged": len(view.damaged),
        "next_trial": view.head.next_trial,
        "waiting": [[attempt_id.trial, attempt_id.attempt] for attempt_id in view.waiting()],
        "submissions": [[s.name, s.tasks, s.job] for s in view.submissions.values()],
        "trials": {
            str(number): {
                "state": trial.state.value,
                "cause": trial.cause,
                "attempts": {
                    str(n): [
                        a.token is not None,
                        a.owner.job_name if a.owner else None,
                        a.void,
                        a.outcome.to_json() if a.outcome else None,
                    ]
                    for n, a in sorted(trial.attempts.items())
                },
            }
            for number, trial in view.trials.items()
        },
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
