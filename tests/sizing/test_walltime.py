"""Which wave comes next: decisions over what is known, without Slurm and without a disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.backends.base import SubmitOptions, Submitted
from slurmsweep.cli.events import EventPrinter
from slurmsweep.cli.output import note
from slurmsweep.control.round.auto_resources import what_to_learn
from slurmsweep.control.round.events import ArraySubmitted
from slurmsweep.errors import UsageError
from slurmsweep.sizing.canaries import canaries_wanted, choose_canaries
from slurmsweep.sizing.grouping import group_limits, limit_for
from slurmsweep.sizing.usage import Usage
from slurmsweep.sizing.walltime import (
    LEAST_MIB,
    LEAST_MINUTES,
    AutoSizing,
    Bounds,
    SizingInput,
    Step,
    mib_for,
    minutes_for,
    next_wave,
    time_samples,
    wave_of_all,
)
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

LIMITS = Bounds(minutes=60, mib=None, most_minutes=24 * 60, most_mib=16000, warning=60)
TIME = AutoSizing(time=True)
BOTH = AutoSizing(time=True, mem=True)
EPOCHS = (1, 10, 100)


def point(number):
    """Return a grid of 3 epochs times 8 rates; a trial takes 20 s an epoch and 5 MiB."""
    return {"epochs": EPOCHS[number % 3], "lr": number // 3}


def ended(number, seconds=None, *, cause="", state=TrialState.FINISHED, attempt=1, mib=None, minutes=60.0):
    taken = 20.0 * point(number)["epochs"] if seconds is None else seconds
    return Usage(number, attempt, state, cause, "1_0", minutes, None, 1, taken, taken, 0.1, mib)


def timed_out(number, seconds=3540.0, attempt=1):
    return ended(number, seconds, cause="timeout", state=TrialState.CRASHED, attempt=attempt)


def known(open_trials=(), history=(), live=0, own=None, limits=LIMITS):
    attempt_ids = [AttemptId(number, 1) for number in open_trials]
    return SizingInput(point, attempt_ids, live, [[usage] for usage in history], own or {}, limits)


def submitted(wave):
    return sorted(attempt_id.trial for group in wave.groups for attempt_id in group.attempt_ids)


def test_with_nothing_known_a_few_trials_go_first_with_what_was_asked():
    wave = next_wave(known(range(24)), TIME)

    [group] = wave.groups
    assert wave.step is Step.CANARIES
    assert len(group.attempt_ids) == 10  # two for each of five levels of lr
    assert {point(attempt_id.trial)["epochs"] for attempt_id in group.attempt_ids} == set(EPOCHS)
    assert (group.minutes, group.mib, wave.left) == (None, None, 14)
    assert wave.reasons == ("10 canaries, spread over the parameters' values, with 60 min each",)


def test_a_person_says_how_many_canaries():
    assert len(submitted(next_wave(known(range(24)), AutoSizing(time=True, canaries=3)))) == 3
    assert submitted(next_wave(known(range(2)), AutoSizing(time=True, canaries=30))) == [0, 1]


def test_while_canaries_run_nothing_is_submitted():
    wave = next_wave(known(range(10, 24), map(ended, range(4)), live=6), TIME)

    assert (wave.step, wave.groups, wave.left) == (Step.WAIT, (), 14)
    assert wave.reasons == ("4 of 10 trials to learn from have ended; 6 jobs run or wait",)


def test_the_rest_asks_for_what_was_learnt_in_groups():
    wave = next_wave(known(range(10, 24), map(ended, range(10))), TIME)

    assert wave.step is Step.REST
    assert submitted(wave) == list(range(10, 24))
    by_epochs = {
        (point(attempt_id.trial)["epochs"], group.minutes) for group in wave.groups for attempt_id in group.attempt_ids
    }
    # 20, 200 and 2000 s, times 1.42, and two minutes around them; 5 min for the shortest would save too little
    assert by_epochs == {(1, 7), (10, 7), (100, 50)}
    assert [group.minutes for group in wave.groups] == [50, 7]
    assert wave.reasons[0] == "time by epochs: 0.95 quantile of 10 trials x 1.4"
    assert wave.reasons[1] == "asks 5.22 h in all, where 60 min each would be 14 h: 63 % less"


def test_the_page_on_walltime_shows_what_the_waves_of_these_trials_say(capsys):
    printer, jobs = EventPrinter("abcd1234"), iter(("11", "21", "26"))
    printer.close()  # holds nothing back: there is no headline
    for wave in (next_wave(known(range(24)), TIME), next_wave(known(range(10, 24), map(ended, range(10))), TIME)):
        for reason in wave.reasons:
            note(reason)
        for group in wave.groups:
            size = len(group.attempt_ids)
            printer(ArraySubmitted(Submitted(next(jobs), size, size), group.minutes, group.mib))
    page = (Path(__file__).parents[2] / "docs" / "walltime.md").read_text()

    said = capsys.readouterr().err.splitlines()

    assert said == [line.strip() for line in page.splitlines() if line.startswith("    slurmsweep: ")]


def test_enough_trials_that_ended_are_learnt_from_while_others_run():
    assert next_wave(known(range(12, 24), map(ended, range(10)), live=2), TIME).step is Step.REST


def test_what_finished_is_learnt_from_where_other_canaries_failed():
    history = [ended(0), ended(1), *[ended(n, 1.0, state=TrialState.FAILED, cause="exit 1") for n in (2, 3, 4)]]

    wave = next_wave(known(range(5, 24), history), TIME)

    assert wave.step is Step.REST
    assert "2 trials" in wave.reasons[0]


def test_where_every_canary_failed_the_rest_is_kept_back():
    wave = next_wave(known(range(5, 24), [ended(n, 1.0, state=TrialState.FAILED) for n in range(5)]), TIME)

    assert (wave.step, wave.groups) == (Step.STUCK, ())
    assert "no trial finished of the 5 that ended" in wave.reasons[0]


def test_where_every_canary_ran_out_of_time_others_get_twice_as_much():
    wave = next_wave(known(range(5, 24), map(timed_out, range(5))), TIME)

    assert wave.step is Step.CANARIES
    assert [group.minutes for group in wave.groups] == [120]
    assert "all 5 before them were cut off" in wave.reasons[0]


def test_where_every_canary_ran_out_of_memory_others_get_twice_as_much():
    oom = [ended(n, 5.0, cause="oom", state=TrialState.CRASHED, mib=900) for n in range(5)]

    wave = next_wave(known(range(5, 24), oom), BOTH)

    assert (wave.step, [group.mib for group in wave.groups]) == (Step.CANARIES, [2048])


def test_with_nothing_open_there_is_nothing_to_do():
    assert next_wave(known((), map(ended, range(24))), TIME).step is Step.NOTHING


def test_a_trial_that_ran_out_of_time_gets_more_than_it_had():
    again = [timed_out(11, seconds=7000.0)]
    state = replace(known((), map(ended, range(10)), own={11: again}), open=[AttemptId(11, 2), AttemptId(14, 1)])

    wave = next_wave(state, TIME)

    asked = {attempt_id: group.minutes for group in wave.groups for attempt_id in group.attempt_ids}
    assert asked == {AttemptId(11, 2): 180, AttemptId(14, 1): 50}


def test_nothing_above_the_partitions_limit_is_asked_and_it_is_said():
    wave = next_wave(known(range(10, 24), map(ended, range(10)), limits=replace(LIMITS, most_minutes=30)), TIME)

    assert max(group.minutes for group in wave.groups) == 30
    assert any("all that the partition allows (30 min)" in reason for reason in wave.reasons)


def test_memory_is_learnt_beside_time():
    history = [ended(n, mib=100 + 5 * point(n)["epochs"]) for n in range(10)]

    wave = next_wave(known(range(10, 24), history), BOTH)

    assert submitted(wave) == list(range(10, 24))
    need = {point(attempt_id.trial)["epochs"]: group.mib for group in wave.groups for attempt_id in group.attempt_ids}
    assert need[1] == need[10] == 320 < need[100] <= 1024
    assert any(reason.startswith("memory by epochs: 0.95 quantile of 10 trials") for reason in wave.reasons)


def test_memory_alone_leaves_the_time_as_it_was_asked():
    wave = next_wave(known(range(10, 24), [ended(n, mib=100) for n in range(10)]), AutoSizing(mem=True))

    assert [(group.minutes, group.mib) for group in wave.groups] == [(None, 256)]


def test_memory_that_nobody_recorded_is_said():
    wave = next_wave(known(range(10, 24), map(ended, range(10))), AutoSizing(mem=True))

    assert [(group.minutes, group.mib) for group in wave.groups] == [(None, None)]
    assert "was not recorded" in wave.reasons[0]


def test_a_trial_that_went_on_counts_with_what_it_took_before():
    usages = [timed_out(2, 500.0), ended(2, 300.0, attempt=2)]
    crashed_once = [ended(5, 400.0, state=TrialState.CRASHED, cause="node_fail"), ended(5, 900.0, attempt=2)]

    assert [s.value for s in time_samples([usages, crashed_once], point)] == [800.0, 900.0]


def test_a_limit_is_a_bound_where_no_agent_was_left_to_say_how_long():
    lost = timed_out(2)._replace(seconds=None)

    [sample] = time_samples([[lost]], point)

    assert (sample.value, sample.is_bound) == (3600.0, True)


def test_without_a_parameter_that_explains_it_no_point_is_computed():
    computed = []

    def counting(number):
        computed.append(number)
        return {"lr": number}

    alike = [[ended(n, 100.0)] for n in range(10)]
    state = SizingInput(counting, [AttemptId(n, 1) for n in range(10, 100_000)], 0, alike, {}, LIMITS)

    wave = next_wave(state, AutoSizing(time=True, canaries=5))

    assert len(submitted(wave)) == 99_990
    assert len(computed) <= 1_100


@given(st.floats(0, 1e7), st.floats(0, 300), st.one_of(st.none(), st.integers(1, 10_000)))
def test_a_limit_holds_the_trial_and_slurms_early_warning(seconds, warning, most):
    minutes = minutes_for(seconds, Bounds(60, None, most, None, warning))

    assert minutes == most or minutes * 60 >= seconds + warning + 30
    assert minutes >= min(LEAST_MINUTES, most or LEAST_MINUTES)
    assert most is None or minutes <= most


@given(st.floats(0, 1e7), st.one_of(st.none(), st.integers(64, 10**6)))
def test_a_memory_holds_the_trial_within_the_node(mib, most):
    asked = mib_for(mib, Bounds(60, None, None, most, 60))

    assert asked == most or asked >= max(mib, LEAST_MIB)
    assert most is None or asked <= most


needs = st.dictionaries(st.integers(1, 2000), st.integers(1, 500), min_size=1, max_size=150)


@given(needs, st.integers(1, 6))
def test_groups_cover_every_need_and_are_few(counted, most):
    limits = group_limits(counted, most)

    assert limits == sorted(set(limits))
    assert len(limits) <= most
    assert limits[-1] == max(counted)
    assert all(limit_for(need, limits) >= need for need in counted)


@given(st.dictionaries(st.integers(1, 30), st.integers(1, 20), min_size=1, max_size=7))
def test_two_groups_waste_as_little_as_any_two(counted):
    limits = group_limits(counted, 2)

    def asked(limits):
        return sum(n * limit_for(need, limits) for need, n in counted.items())

    best = min(asked(sorted({need, max(counted)})) for need in counted)
    assert asked(limits) == best or asked(limits) - best < 0.1 * asked([max(counted)])


def test_needs_that_hardly_differ_are_one_group():
    assert group_limits({30: 100, 31: 100, 32: 100}, 6) == [32]
    assert group_limits({5: 10, 60: 10, 600: 2}, 6) == [5, 60, 600]


def test_canaries_see_each_value_and_each_pair_evenly():
    points = [{"a": a, "b": {"c": c}} for a in (1, 2, 3) for c in "xyz" for _ in range(20)]

    chosen = [points[index] for index in choose_canaries(points, 9)]

    assert set(Counter(p["a"] for p in chosen).values()) == set(Counter(p["b"]["c"] for p in chosen).values()) == {3}
    assert len({(p["a"], p["b"]["c"]) for p in chosen}) >= 7


def test_canaries_of_a_random_search_reach_both_ends():
    points = [{"epochs": number} for number in range(1, 1001)]

    chosen = sorted(points[index]["epochs"] for index in choose_canaries(points, 2))

    assert chosen[0] <= 200
    assert chosen[1] > 800


@pytest.mark.parametrize(("trials", "wanted"), [(2, 1), (10, 5), (40, 10), (100, 10), (240, 12), (100_000, 20)])
def test_how_many_canaries_go_first(trials, wanted):
    points = [point(number) for number in range(min(trials, 100))]

    assert canaries_wanted(trials, points) == wanted


def test_what_is_run_again_waits_for_no_canaries_and_says_so_where_nothing_is_known():
    open_trials = range(12, 18)

    wave = wave_of_all(known(open_trials, [ended(n) for n in range(9)], live=5), AutoSizing(time=True))

    assert (wave.step, submitted(wave)) == (Step.REST, list(open_trials))
    for history, says in (([], "no trial has ended"), ([timed_out(0)], "no trial finished of the 1 that ended")):
        nothing = wave_of_all(known(open_trials, history), AutoSizing(time=True))
        assert (nothing.groups, says in nothing.reasons[0]) == ((), True)


def test_auto_is_taken_out_of_what_is_asked_of_slurm():
    wishes = SubmitOptions(options={"time": "auto", "t": "AUTO", "mem": "4G", "partition": "long"})

    rest, learn = what_to_learn(wishes, canaries=7)

    assert rest.options == {"mem": "4G", "partition": "long"}
    assert learn == AutoSizing(time=True, mem=False, canaries=7)
    assert what_to_learn(SubmitOptions(options={"time": "30"})) == (SubmitOptions(options={"time": "30"}), None)


def test_canaries_without_anything_to_learn_are_refused():
    with pytest.raises(UsageError, match="--canaries stands with --time auto"):
        what_to_learn(SubmitOptions(options={"time": "30"}), canaries=7)
