"""What is shown of many trials is what one look at all of them would show."""

from __future__ import annotations

import random

from slurmsweep.report import summary
from slurmsweep.report.pareto import non_dominated
from slurmsweep.report.summary import SweepSummary
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile.config import check


def test_the_front_of_many_trials_is_taken_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(summary, "_WEIGHED_AT_ONCE", 7)
    goals = {"acc": "maximize", "latency": "minimize"}
    parameters = {"x": {"min": 0, "max": 59}}
    document = {"method": "grid", "program": "t.py", "parameters": parameters, "slurmsweep": {"pareto": goals}}
    config = check(document, "x").config
    store = SweepStore.create(str(tmp_path), Manifest("abcd1234", config, 60, str(tmp_path), "x", 0.0, "0"))
    rng = random.Random(3)
    points = {n: (float(rng.randrange(12)), float(rng.randrange(12))) for n in range(60)}
    for number, (acc, latency) in points.items():
        metrics = {"acc": acc, "latency": latency} if number % 5 else {"acc": 99.0}
        store.finish(store.claim(Owner("h", 1, 1, "b")), Outcome(TrialState.FINISHED, metrics=metrics, ended=1.0))

    front = SweepSummary(store.layout, store.manifest, store.replay(), {}).front()

    weighed = {number: (-acc, latency) for number, (acc, latency) in points.items() if number % 5}
    assert [trial.number for trial in front.trials] == sorted(non_dominated(weighed), key=lambda n: (weighed[n], n))
    assert (front.left_out, len(front.trials) > 2) == (12, True)
