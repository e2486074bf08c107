"""The hyperband rule answers as W&B's engine does: its vectors, and its code written down once more."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.search import hyperband
from slurmsweep.sweepfile.config import check
from slurmsweep.sweepfile.sections import EarlyTerminate

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "wandb_vectors.json").read_text())["vectors"]
ANSWERED = [v for v in VECTORS if v["kind"] == "hyperband" and "raised" not in v["expect"]]


def rule_of(section) -> EarlyTerminate:
    """The rule of a section, keys beside W&B's left out as W&B's engine does when it stops runs."""
    return EarlyTerminate(**{key: value for key, value in section.items() if key in EarlyTerminate._fields})


def number(value) -> float:
    return float(value["__float__"]) if isinstance(value, dict) else value


@pytest.mark.parametrize("vector", ANSWERED, ids=lambda vector: vector["id"])
def test_bands_thresholds_and_stopped_runs_are_those_of_wandb(vector):
    rule, goal, expected = rule_of(vector["early_terminate"]), vector["metric"]["goal"], vector["expect"]
    histories = {run["name"]: [number(value) for value in run["history"]] for run in vector["runs"]}
    sign = -1 if goal == "maximize" else 1
    bands = hyperband.bands(rule)

    found = [
        hyperband.threshold([sign * h[band - 1] for h in histories.values() if len(h) >= band], rule.eta)
        for band in bands[: len(expected["bands"])]
    ]
    running = [run["name"] for run in vector["runs"] if run["state"] == "running"]

    assert (bands[: len(expected["bands"])], len(bands)) == (expected["bands"], expected["n_bands"])
    assert found == [number(value) for value in expected["thresholds"]]
    assert hyperband.stop_runs(rule, goal, histories, running) == expected["stop"]


def test_a_rule_without_bands_is_refused_in_wandbs_words():
    [vector] = [v for v in VECTORS if v["id"] == "hb-bands-max2-s2"]

    with pytest.raises(ValueError, match="Bands must be an array of length at least 1") as raised:
        hyperband.bands(rule_of(vector["early_terminate"]))

    assert str(raised.value) == vector["expect"]["raised"]["message"]


def test_a_whole_number_written_as_a_float_is_taken_where_wandb_ends_with_a_traceback():
    section = {"type": "hyperband", "max_iter": 27, "s": 2.0}
    document = {"method": "grid", "program": "t.py", "parameters": {"x": {"values": [1]}}, "metric": {"name": "loss"}}

    rule = check(document | {"early_terminate": section}, "test").config.early_terminate

    assert hyperband.bands(rule) == [3, 9]


def test_bands_end_where_floats_do():
    assert hyperband.bands(EarlyTerminate(min_iter=1, eta=1e200)) == [1, int(1e200)]


def test_what_is_no_finite_number_does_not_count_as_logged():
    odd = [None, math.nan, math.inf, True, "1", 10**400]
    rule = EarlyTerminate(min_iter=1, eta=2)

    assert hyperband.stop_runs(rule, "minimize", {"a": [*odd, 3], "b": [1], "c": [2]}, ["a"]) == ["a"]
    assert hyperband.stop_runs(rule, "minimize", {"a": odd, "b": [1], "c": [2]}, ["a"]) == []


def test_the_share_that_goes_on_is_a_factor_as_in_wandb_and_no_quotient():
    assert hyperband.threshold(range(49), 49) == 0


def transcribed(rule, goal, histories, running) -> list[str]:
    """``hyperband_stop_runs`` of W&B's ``sweeps`` 0.3.0, line by line."""
    bands, r = transcribed_bands(rule), 1.0 / rule.eta
    negated = {n: [-v if goal == "maximize" else v for v in h] for n, h in histories.items()}
    thresholds = []
    for band in bands:
        values = [h[band - 1] for h in negated.values() if len(h) >= band]
        thresholds.append(sorted(values)[int(r * len(values))] if values else math.inf)
    stopped = []
    for name in running:
        closest, closest_threshold = -1, 0.0
        for band, threshold in zip(bands, thresholds, strict=True):
            if band > len(negated[name]):
                break
            closest, closest_threshold = band, threshold
        if closest != -1:
            value = negated[name][closest - 1] if rule.strict else min(negated[name])
            if value > closest_threshold:
                stopped.append(name)
    return stopped


def transcribed_bands(rule) -> list[int]:
    band, bands = rule.max_iter or rule.min_iter, []
    if rule.max_iter is None:
        for _ in range(100):
            bands.append(int(band))
            band *= rule.eta
        return bands
    for _ in range(rule.s):
        band /= rule.eta
        if band < 1:
            break
        bands.append(int(band))
    return sorted(bands)


etas = st.floats(1.01, 9) | st.integers(2, 9)
growing = st.builds(
    lambda first, *rest: EarlyTerminate(first, None, None, *rest), st.integers(1, 6), etas, st.booleans()
)
counted = st.builds(EarlyTerminate, st.none(), st.integers(9, 40), st.integers(1, 4), etas, st.booleans())
curves = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2),
    st.lists(st.integers(-4, 4) | st.floats(-9, 9), max_size=30),
    min_size=1,
)


@given(rule=growing | counted, goal=st.sampled_from(["minimize", "maximize"]), histories=curves, data=st.data())
def test_any_set_of_runs_is_stopped_as_wandbs_code_stops_it(rule, goal, histories, data):
    running = data.draw(st.lists(st.sampled_from(sorted(histories)), unique=True))

    assert hyperband.stop_runs(rule, goal, histories, running) == transcribed(rule, goal, histories, running)
