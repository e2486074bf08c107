"""Processes for the tests: ``python -m faults.crowd submitter|reconciler|claimer_lock|claimer_no_lock FOLDER SAID [N]``.

A submitter keeps so many workers at work, forked so that a kill costs no new interpreter; a worker claims and finishes
until nothing is left; a reconciler gives back what was killed. All of them end when every trial has finished.
"""

from __future__ import annotations

import os
import sys
import time

from faults.promise import FINISHED

from slurmsweep.agents.identity import this_process
from slurmsweep.control.round.reconcile import give_back, reconcile
from slurmsweep.control.session import Session
from slurmsweep.state.journal import Journal
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.owner import Claim
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.store import SweepStore


def main() -> None:
    role, folder, said = sys.argv[1:4]
    store = SweepStore.open(folder)
    if role == "submitter":
        submit(store, said, int(sys.argv[4]))
    elif role == "reconciler":
        mend(store)
    else:
        if role == "claimer_no_lock":
            Journal._try_lock = lambda self, descriptor: True
        work(store, said)


def is_done(store) -> bool:
    return store.replay().counts().get(TrialState.FINISHED, 0) == store.manifest.trials


def submit(store, said: str, workers: int) -> None:
    crew: set[int] = set()
    count = 0
    while not is_done(store):
        while len(crew) < workers:
            count += 1
            name = f"array-{os.getpid()}-{count}"
            with store.transaction() as transaction:
                transaction.submit(SubmitRecord(name, 1, None))
                transaction.submit(SubmitRecord(name, 1, ""))  # as if Slurm had refused: there is none to ask here
            crew.add(start_worker(store, said))
        crew -= ended(crew)
        time.sleep(0.05)
    for pid in crew:
        os.waitpid(pid, 0)


def ended(crew: set[int]) -> set[int]:
    return {pid for pid in crew if os.waitpid(pid, os.WNOHANG)[0]}


def start_worker(store, said: str) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work(store, said)
        finally:
            os._exit(0)
    return pid


def work(store, said: str) -> None:
    me = this_process({})
    with open(said, "a", buffering=1) as file:
        while isinstance(claim := store.claim(me), Claim):
            time.sleep(0.01)
            store.finish(claim, FINISHED)
            file.write(f"finished {claim.attempt_id.trial}\n")
    time.sleep(0.2)  # nothing is left until the reconciler gives something back


def mend(store) -> None:
    while not is_done(store):
        reconcile(Session(store), sleep=lambda seconds: None)
        give_back(Session(store), lambda trial: True, why="chaos")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
