"""Which trials may go on: what is chosen from rows and texts is what the records say, one by one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from slurmsweep.learning.rungs import Promotion, ends_at_rungs, promotions
from slurmsweep.state import view_cache
from slurmsweep.state.journal import decode
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim, Owner
from slurmsweep.state.records import DELETED, BandsReached
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.config import check

STEPS = (1, 3, 9)
ENDS = [(TrialState.FAILED, "exit 1"), (TrialState.CRASHED, "oom"), (TrialState.PREEMPTED, "preempted")]


@pytest.fixture(params=["minimize", "maximize"])
def store(request, tmp_path) -> SweepStore:
    document = {
        "method": "random",
        "program": "x.py",
        "metric": {"name": "loss", "goal": request.param},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
        "slurmsweep": {"rungs": {"steps": list(STEPS)}},
    }
    config = check(document, "t").config
    return SweepStore.create(str(tmp_path), Manifest("abcd1234", config, None, str(tmp_path), "t", 0.0, "0"))


def play(store: SweepStore, rng: random.Random, turns: int) -> None:
    """Let trials run, fail, go on, be given back and be deleted, as chance has it."""
    config, reached, running = store.manifest.config, {}, []
    for _ in range(turns):
        what = rng.random()
        if what < 0.5:
            claim = store.claim(Owner(f"n{rng.randrange(3)}", rng.randrange(9), 1, "b", job=str(rng.randrange(9))))
            assert isinstance(claim, Claim)
            running.append(claim)
        elif what < 0.85 and running:
            claim = running.pop(rng.randrange(len(running)))
            number, rung = claim.attempt_id.trial, min(reached.get(claim.attempt_id.trial, 0), 2)
            if rng.random() < 0.2:
                state, cause = rng.choice(ENDS)
                store.finish(claim, Outcome(state, cause, exit_code=1, ended=1.0))
                continue
            value = float(rng.randrange(12))  # many are equal
            bands = ((STEPS[rung], value),)
            cause = "" if rung == 2 else f"rung {STEPS[rung]}"
            ended = Outcome(TrialState.FINISHED, cause, exit_code=0, metric=value, ended=1.0)
            store.finish(claim, ended, BandsReached(bands, bands))
            reached[number] = rung + 1
        elif what < 0.95:
            view = store.replay()
            again = [one.attempt_id for one in promotions(config, view)[: rng.randrange(3)]]
            again += [t.next_attempt for t in dict(view.trials).values() if t.state.can_retry and rng.random() < 0.5]
            with store.transaction(store.reading()) as transaction:
                transaction.retry(again, "rung", array=rng.choice(["", f"array-{len(again)}"]))
        else:
            ended = [t for t in dict(store.replay().trials).values() if t.state.has_ended()]
            for trial in rng.sample(ended, min(1, len(ended))):
                with store.transaction(store.reading()) as transaction:
                    transaction.retry([trial.next_attempt], DELETED)
                reached.pop(trial.number, None)


def expected(store: SweepStore) -> tuple[list[Promotion], list[tuple[int, int, int]]]:
    """Return what the rule gives, from an object of each trial, and the values as the records have them."""
    view, goal = store.replay(), store.manifest.config.metric.goal
    trials = dict(view.trials)
    values: dict[int, dict[int, dict[int, float]]] = {step: {} for step in STEPS}
    for line in Path(store.journal.path).read_bytes().splitlines():
        record = decode(line) or {}
        if record.get("op") == "band":
            for step, value in record["b"]:
                values[step].setdefault(record["t"], {})[record["a"]] = value
    ended = {}
    for number, trial in trials.items():
        if trial.state is TrialState.FINISHED:
            ended[number] = STEPS.index(int(trial.cause.removeprefix("rung "))) if trial.cause else 2
    found = []
    for rung in (1, 0):
        here = {n: told[min(a)] for n, of in values[STEPS[rung]].items()
                if (told := of) and (a := [a for a in of if n not in trials or a > trials[n].deleted])}  # fmt: skip
        ranked = sorted(here, key=lambda n, here=here: (here[n] if goal == "minimize" else -here[n], n))
        best = ranked[: store.manifest.config.extensions.rungs.places(len(ranked))]
        found += [Promotion(trials[n].next_attempt, rung + 1) for n in best if ended.get(n) == rung]
    rows = [(s, sum(r == i for r in ended.values()), sum(r > i for r in ended.values())) for i, s in enumerate(STEPS)]
    return found, rows


@pytest.mark.parametrize("seed", range(3))
def test_what_may_go_on_is_what_the_records_say_however_they_are_kept(store, seed, monkeypatch):
    rng, config = random.Random(seed), store.manifest.config
    monkeypatch.setattr("slurmsweep.state.trial_index._MOST_OPENED", 4)
    monkeypatch.setattr(view_cache, "_WORTH_KEEPING", 1)
    reading = store.reading()
    chosen = 0
    for _ in range(4):
        play(store, rng, 60)
        found, rows = expected(store)
        chosen += len(found)
        kept = view_cache.current(store).view  # written by the round before, and read on
        for view in (store.replay(), reading.refresh(), kept):
            assert promotions(config, view) == found
            assert ends_at_rungs(config.extensions.rungs, view) == rows
            assert dict(view.trials) == dict(store.replay().trials)
    assert chosen
    assert any(a.attempt > 2 for a in (trial.next_attempt for trial in store.replay().trials.stories()))
    assert AttemptId(0, 1).trial in store.replay().trials
