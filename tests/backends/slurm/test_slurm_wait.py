"""How Slurm's jobs are waited for: by the journal, and by squeue only where the journal is silent. The clock is a fake."""

from __future__ import annotations

import pytest
from fake_clock import Clock

from slurmsweep.backends import following
from slurmsweep.backends.base import Answer
from slurmsweep.backends.slurm import backend as slurm
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner


@pytest.mark.parametrize(("busy", "asked"), [(40, []), (20, [20 + slurm.SQUEUE_PERIOD])])
def test_squeue_is_asked_15_seconds_after_the_last_end(make_store, monkeypatch, busy, asked):
    store, times = make_store(40), []

    def end_one(task):
        store.finish(store.claim(Owner("host", 1, 1, "boot", job="7", task=task)), Outcome(TrialState.FINISHED))

    def ask(_jobs, _wanted):
        times.append(following.time.monotonic())
        return Answer({}, "not needed")

    monkeypatch.setattr(following, "time", Clock(busy, end_one))
    monkeypatch.setattr(slurm.queue, "ask", ask)

    slurm.SlurmBackend().wait(["7"], 40, store.replay, lambda: True, lambda _: None)

    assert (store.replay().counts(), times) == ({TrialState.FINISHED: busy}, asked)
