"""What trials had at bands: records of it in any order, kept in the cache, in the folders, and through a repair."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.agents.identity import this_process
from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.session import Session
from slurmsweep.state import view_cache
from slurmsweep.state.band_values import BandValues
from slurmsweep.state.check import check
from slurmsweep.state.journal import decode, encode
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import BandRecord, BandsReached
from slurmsweep.state.repair import rebuild
from slurmsweep.state.tail import AttemptId

OWNER = Owner("elsewhere", 1, 1, "b")
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, ended=1.0)

records = st.dictionaries(
    st.tuples(st.integers(0, 9000), st.integers(1, 3), st.sampled_from([1, 3, 9])),
    st.floats(allow_nan=False, allow_infinity=False),
    max_size=20,
)


def taken(told) -> BandValues:
    values = BandValues()
    for (trial, attempt, band), value in told:
        values.take(AttemptId(trial, attempt), [(band, value)])
    return values


@given(records, st.dictionaries(st.integers(0, 9000), st.integers(1, 2), max_size=3), st.randoms())
def test_a_trial_has_the_value_of_its_first_attempt_that_stands_in_any_order_of_records(told, deleted, dice):
    items = list(told.items())
    dice.shuffle(items)
    values = taken(items)
    for band in (1, 3, 9):
        standing: dict[int, tuple[int, float]] = {}
        for (trial, attempt, at), value in told.items():
            if at == band and attempt > deleted.get(trial, 0) and trial != 7:
                standing[trial] = min(standing.get(trial, (attempt, value)), (attempt, value))

        assert sorted(values.besides(7, band, deleted)) == sorted(value for _, value in standing.values())


@given(records)
def test_what_is_dumped_is_loaded_again(told):
    values = taken(told.items())

    loaded = BandValues.load(decode(encode({"op": "x", "v": values.dump()[0]})[:-1])["v"], values.dump()[1])

    for trial, attempt, _ in told:
        assert loaded.of(AttemptId(trial, attempt)) == values.of(AttemptId(trial, attempt))
        assert values.of(AttemptId(trial, attempt)) == {
            band: value for (t, a, band), value in told.items() if (t, a) == (trial, attempt)
        }


def test_bytes_that_do_not_fit_the_description_are_refused():
    described, data = taken([((0, 1, 3), 1.0)]).dump()

    with pytest.raises(ValueError, match="bytes of band values"):
        BandValues.load(described, data + b"x")


@pytest.fixture
def stopping(make_store):
    """Four trials: one finished, one crashed without an agent's word, one that runs and one that is new."""
    store = make_store(4)
    claim = store.claim(OWNER)
    store.record_bands(claim.attempt_id, [(3, 0.5)])
    store.finish(claim, FINISHED, BandsReached(((3, 0.5), (9, 0.25)), ((9, 0.25),)))
    for number in (1, 2):
        store.record_bands(store.claim(OWNER).attempt_id, [(3, float(number))])
    return store


def test_the_record_of_a_band_changes_nothing_else(stopping):
    view = stopping.replay()

    assert view.counts() == {TrialState.FINISHED: 1, TrialState.RUNNING: 2}
    assert view.head.next_trial == 3
    assert view.head.counts == view.counts()
    assert [view.bands.of(AttemptId(number, 1)) for number in range(4)] == [{3: 0.5, 9: 0.25}, {3: 1.0}, {3: 2.0}, {}]
    assert view.values_at(3, besides=1) == [0.5, 2.0]
    assert check(stopping).findings == ()


def test_a_record_is_read_back_as_it_was_written():
    record = BandRecord(AttemptId(3, 2), ((3, 0.5), (9, -1e300)))

    assert BandRecord.from_json(decode(encode({"op": "band", **record.to_json()})[:-1])) == record


def test_older_readers_pass_over_it(stopping, monkeypatch):
    monkeypatch.delitem(view_cache.Reading.refresh.__globals__["_CHANGES"], "band")

    view = stopping.replay()

    assert view.counts() == {TrialState.FINISHED: 1, TrialState.RUNNING: 2}
    assert view.damaged == []


def test_the_cache_has_the_bands(stopping, monkeypatch):
    monkeypatch.setattr(view_cache, "_WORTH_KEEPING", 1)
    reading = view_cache.current(stopping)
    assert Path(stopping.layout.cache).exists()

    second = view_cache.current(stopping)

    assert second.bytes_read == 0
    assert second.view.bands.dump() == reading.view.bands.dump()
    assert second.view.values_at(9, besides=3) == [0.25]


def test_a_rebuilt_journal_has_the_bands_of_attempts_that_ended(stopping):
    Path(stopping.journal.path).unlink()

    rebuild(stopping)

    assert stopping.replay().bands.of(AttemptId(0, 1)) == {3: 0.5, 9: 0.25}
    assert check(stopping).findings == ()


def test_a_repair_of_a_whole_journal_records_no_band_twice(stopping):
    rebuild(stopping)

    lines = Path(stopping.journal.path).read_bytes().splitlines()
    told = [pair for line in lines if decode(line)["op"] == "band" for pair in decode(line)["b"]]
    assert len(told) == 4
    assert [stopping.replay().bands.of(AttemptId(n, 1)) for n in (1, 2)] == [{3: 1.0}, {3: 2.0}]


def test_what_an_agent_did_not_live_to_record_is_recorded_with_its_trials_end(slurmsweep, write_sweep, tmp_path):
    keys = "metric: {name: loss}\nearly_terminate: {type: hyperband, min_iter: 3}"
    sweep = slurmsweep("create", str(write_sweep("pass", extra=keys))).stdout.strip()
    session = Session.open_to_run(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    store = session.store
    claim = store.claim(this_process({})._replace(pid=1, start=1))
    store.record_bands(claim.attempt_id, [(3, 3.0)])
    rows = "".join(f'{{"loss": {value}, "_step": {value}}}\n' for value in range(1, 12))
    Path(store.layout.history(claim.attempt_id)).write_text(rows)

    reconcile(session, sleep=lambda _: None)

    view = store.replay()
    assert view.trials[0].state is TrialState.CRASHED
    assert view.bands.of(AttemptId(0, 1)) == {3: 3.0, 9: 9.0}


def test_a_million_values_take_eight_bytes_each():
    values, dice = BandValues(), random.Random(1)
    for number in range(20_000):
        values.take(AttemptId(number, 1), [(3, dice.random())])

    assert len(values.dump()[1]) < 20_000 * 8 * 1.1
    assert len(values.besides(5, 3, {})) == 19_999
