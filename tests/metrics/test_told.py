"""Values of programs without a client: printed lines, and the file whose name a program is given."""

from __future__ import annotations

import math
import os
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.metrics import external_runs, told
from slurmsweep.metrics.external_runs import ExternalRuns
from slurmsweep.metrics.history import history as rows_of
from slurmsweep.metrics.logged_values import LoggedValues
from slurmsweep.metrics.reported import MetricReading, MetricsFollower, read_summary
from slurmsweep.metrics.told import printed_rows
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.sections import Metric

SLOT, SECOND = AttemptId(0, 1), AttemptId(0, 2)
GOAL = {"loss": "minimize"}


@pytest.fixture
def layout(make_store):
    layout = make_store().layout
    for slot in (SLOT, SECOND):
        Path(layout.attempt(slot)).mkdir(parents=True)
    return layout


@pytest.fixture
def prints(layout):
    """Add to the log of an attempt."""

    def prints(text: str, slot: AttemptId = SLOT) -> None:
        with open(layout.log(slot), "a") as file:
            file.write(text)

    return prints


@pytest.fixture
def saves(layout):
    """Add to the metrics file of an attempt, or write it anew."""

    def saves(text: str, mode: str = "a", slot: AttemptId = SLOT) -> None:
        with open(layout.metrics(slot), mode) as file:
            file.write(text)

    return saves


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ('slurmsweep: {"loss": 0.1, "step": 3}', [{"loss": 0.1, "step": 3}]),
        ('slurmsweep:{"loss": 1}', [{"loss": 1}]),
        ('  50%|###   | slurmsweep: {"loss": 1} it/s', [{"loss": 1}]),
        ('2026-01-01 INFO slurmsweep: {"loss": 1}', [{"loss": 1}]),
        ('0: slurmsweep: {"loss": 1}', [{"loss": 1}]),
        ('12: slurmsweep: {"loss": 1}', []),
        ('[default0]:slurmsweep: {"loss": 1}', [{"loss": 1}]),
        ('[default1]:slurmsweep: {"loss": 1}', []),
        ('[1,0]<stdout>:slurmsweep: {"loss": 1}', [{"loss": 1}]),
        ('[1,3]<stdout>:slurmsweep: {"loss": 1}', []),
        ('slurmsweep: {"val": {"loss": 1, "top": {"5": 2}}}', [{"val.loss": 1, "val.top.5": 2}]),
        ('slurmsweep: {"losslurmsweep: {"loss": 1}', [{"loss": 1}]),
        ('slurmsweep: {"loss": 1}slurmsweep: {"loss": 2}', [{"loss": 1}, {"loss": 2}]),
        ('slurmsweep: {"loss": 0.', []),
        ("slurmsweep: {'loss': 1}", []),
        ("slurmsweep: cannot start", []),
        ('slurmsweep: {"a": ' + "[" * 100_000, []),
        ('slurmsweep: {"loss": -inf, "a": [1, Infinity], "b": "nan, inf"}', None),
    ],
)
def test_a_row_is_found_in_its_line(line, rows):
    wanted = [{"loss": -math.inf, "a": [1, math.inf], "b": "nan, inf"}] if rows is None else rows

    assert list(printed_rows([line])) == wanted


@pytest.mark.parametrize("text", ["nan", "-nan", "NaN", "-nan(ind)", "NAN"])
def test_a_value_that_is_no_number_counts_as_what_the_run_ended_with(layout, prints, text):
    prints(f'slurmsweep: {{"loss": 1.0}}\nslurmsweep: {{"loss": {text}}}\n')

    assert MetricsFollower(layout, SLOT, GOAL).read()["loss"] == MetricReading(None, 1, "output")
    assert math.isnan(read_summary(layout, SLOT)["loss"])


def test_printed_values_are_followed_as_they_come_and_a_torn_line_counts_when_it_is_whole(layout, prints):
    follower, values = MetricsFollower(layout, SLOT, GOAL), LoggedValues(Metric("loss"), layout, SLOT)
    prints('hello\r 10%\rslurmsweep: {"loss": 0.5}\nslurmsweep: {"lo')
    assert (follower.read()["loss"], list(values.read())) == (MetricReading(0.5, 1, "output"), [0.5])

    prints('ss": 0.25}\r')
    assert (follower.read()["loss"], list(values.read())) == (MetricReading(0.25, 2, "output"), [0.5, 0.25])
    assert values.extremes() == (0.25, 0.5)


def test_a_file_of_lines_is_read_on_and_a_document_that_is_written_anew_is_a_new_value(layout, saves):
    follower = MetricsFollower(layout, SLOT, GOAL)
    saves('{"loss": 3}\n{"loss": 2}\n{"loss": 1')
    assert follower.read()["loss"] == MetricReading(2.0, 2, "file")
    saves("}\n")
    assert follower.read()["loss"] == MetricReading(1.0, 3, "file")
    assert follower.read()["loss"] == MetricReading(1.0, 3, "file")

    saves('{\n  "loss": 7,\n  "val": {"acc": 0.5}\n}', "w")

    assert follower.read()["loss"] == MetricReading(7.0, 4, "file")
    assert read_summary(layout, SLOT) == {"loss": 7, "val.acc": 0.5, "_step": 0}


def test_a_file_that_grew_while_it_was_written_anew_is_not_taken_for_longer(layout, saves):
    follower = MetricsFollower(layout, SLOT, GOAL)
    for value in ("0.5", "0.25", "0.125"):
        saves(f'{{"loss": {value}}}\n', "w")
        assert follower.read()["loss"].value == float(value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "loss: 1", '{"loss": "low"}', "\0" * 100])
def test_a_file_without_values_is_no_value_and_hides_none(layout, prints, saves, text):
    saves(text)
    assert MetricsFollower(layout, SLOT, GOAL).read()["loss"].value is None

    prints('slurmsweep: {"loss": 1}\n')
    assert MetricsFollower(layout, SLOT, GOAL).read()["loss"] == MetricReading(1.0, 1, "output")


def test_the_file_counts_before_what_is_printed_name_by_name(layout, prints, saves):
    prints('slurmsweep: {"loss": 9, "acc": 0.5}\n')
    saves('{"loss": 1, "step": 4}\n')

    found = MetricsFollower(layout, SLOT, GOAL | {"acc": "maximize"}).read()

    assert found == {"loss": MetricReading(1.0, 1, "file"), "acc": MetricReading(0.5, 1, "output")}
    assert list(rows_of(layout, SLOT)) == [(1, {"loss": 1, "_step": 4})]
    assert list(LoggedValues(Metric("loss"), layout, SLOT).read()) == [1]


def test_the_native_client_counts_before_both(layout, prints, saves):
    Path(layout.history(SLOT)).write_text('{"loss": 3, "_step": 0}\n')
    saves('{"loss": 1}\n')
    prints('slurmsweep: {"loss": 2}\n')

    assert MetricsFollower(layout, SLOT, GOAL).read()["loss"] == MetricReading(3.0, 1, "native")
    assert read_summary(layout, SLOT) == {"loss": 3, "_step": 0}


def test_a_second_attempt_goes_on_with_the_steps_it_names(layout, prints):
    prints("".join(f'slurmsweep: {{"loss": {9 - n}, "step": {n}}}\n' for n in range(4)))
    prints("".join(f'slurmsweep: {{"loss": {n}, "step": {n}}}\n' for n in (2, 3)), SECOND)

    assert list(LoggedValues(Metric("loss"), layout, SECOND).read()) == [9, 8, 2, 3]
    assert MetricsFollower(layout, SECOND, GOAL).read()["loss"] == MetricReading(3.0, 6, "output")
    assert [(attempt, row["_step"]) for attempt, row in rows_of(layout, SECOND)][-2:] == [(2, 2), (2, 3)]


def test_of_a_huge_log_both_ends_are_read(layout, prints, monkeypatch):
    monkeypatch.setattr(external_runs, "_PIECE", 1000)
    monkeypatch.setattr(external_runs, "END", 10_000)
    runs = ExternalRuns(layout, SLOT)
    prints('slurmsweep: {"loss": 3}\n' + "x" * 20_000 + '\nslurmsweep: {"loss": 2}\n' + "y" * 50_000)
    prints('\nslurmsweep: {"loss": 1}\n')
    runs.files()

    assert list(printed_rows(runs.printed)) == [{"loss": 3}, {"loss": 1}]

    prints('slurmsweep: {"loss": 0}\n')
    runs.files()
    assert list(printed_rows(runs.printed)) == [{"loss": 0}]


def test_of_a_huge_metrics_file_both_ends_are_read(layout, saves, monkeypatch):
    monkeypatch.setattr(told, "END", 50)
    saves("".join(f'{{"loss": {n:05}.5}}\n'.replace(" 0000", " ").replace(" 000", " ") for n in range(50)))
    follower = MetricsFollower(layout, SLOT, GOAL)
    first = follower.read()["loss"]
    saves('{"loss": 0.25}\n')

    assert (first.value, follower.read()["loss"].value) == (49.5, 0.25)
    assert first.steps < 10


@pytest.fixture
def decoded(monkeypatch):
    """Return what is read as JSON, in order."""
    seen = []

    class Counting:
        def raw_decode(self, text, start=0):
            seen.append(text[start:])
            return decode(text, start)

    decode = told._DECODER.raw_decode
    monkeypatch.setattr(told, "_DECODER", Counting())
    return seen


@pytest.mark.parametrize("line", ["slurmsweep: {}\n", "slurmsweep:{}\r\n"])
def test_lines_with_an_empty_row_are_no_rows_and_are_not_read_as_json(layout, prints, decoded, line):
    follower = MetricsFollower(layout, SLOT, GOAL)
    prints(line * 10_000 + 'slurmsweep: {"loss": 2}\n' + line * 10_000 + "slurmsweep: { }\n")

    assert follower.read()["loss"] == MetricReading(2.0, 1, "output")
    assert decoded == ['{"loss": 2}', "{ }"]
    assert list(rows_of(layout, SLOT)) == [(1, {"_step": 0, "loss": 2})]
    prints(line)
    assert read_summary(layout, SLOT) == {"loss": 2, "_step": 0}


@pytest.mark.parametrize("between", ["\n", "", " \x1b[2K", "\nwandb sync \n"])
def test_of_many_new_rows_those_at_both_ends_are_read_as_json(layout, prints, decoded, monkeypatch, between):
    monkeypatch.setattr(told, "ROWS", 3)
    follower = MetricsFollower(layout, SLOT, GOAL)
    prints("".join(f'slurmsweep: {{"loss": {n}}}{between}' for n in range(100)) + "\n")

    assert follower.read()["loss"] == MetricReading(99.0, 6, "output")
    assert [row["loss"] for _, row in rows_of(layout, SLOT)] == [0, 1, 2, 97, 98, 99]
    assert len(decoded) == 12

    prints('slurmsweep: {"loss": 50}\n' * 4)  # the bound is that of one look
    assert follower.read()["loss"] == MetricReading(50.0, 10, "output")


def test_of_many_lines_in_a_metrics_file_those_at_both_ends_are_read_as_json(layout, saves, decoded, monkeypatch):
    monkeypatch.setattr(told, "ROWS", 3)
    saves("".join(f'{{"loss": {n}}}\n' for n in range(100)))

    assert MetricsFollower(layout, SLOT, GOAL).read()["loss"] == MetricReading(99.0, 6, "file")
    assert len(decoded) == 7  # the first one also tells lines from a document


def test_a_pipe_in_place_of_the_file_is_not_waited_for(layout):
    os.mkfifo(layout.metrics(SLOT))

    assert MetricsFollower(layout, SLOT, GOAL).read()["loss"].value is None


def test_a_line_full_of_torn_rows_costs_its_length_and_not_its_square(monkeypatch):
    """The search for ``nan`` looks at all that follows a row: it is made where such a word is what JSON stumbled over."""
    searched = []

    class Counting:
        match = told._NO_NUMBER.match

        def sub(self, _by, text):
            searched.append(text)
            return text

    monkeypatch.setattr(told, "_NO_NUMBER", Counting())

    assert list(printed_rows(['slurmsweep: {"a":' * 500])) == []
    assert list(printed_rows(["slurmsweep: {" * 500])) == []
    assert searched == []
    assert list(printed_rows(['slurmsweep: {"a": nan}'])) == []
    assert searched == ['{"a": nan}']


def test_many_printed_rows_are_kept_in_about_their_own_length(layout, prints):
    prints('slurmsweep: {"loss": 1}\n' * 100_000)
    log = ExternalRuns(layout, SLOT)

    log.files()

    assert sum(map(sys.getsizeof, log.printed)) + sys.getsizeof(log.printed) < 1.1 * os.path.getsize(layout.log(SLOT))
    rows = told.ToldRows(partial(printed_rows, log.printed))
    assert [row["_step"] for row in rows.new()] == [*range(100_000)]
    assert log.printed == []


@given(
    st.lists(st.sampled_from(['{"a": 1}', "{", "nan", "\x1b[2K", "slurmsweep:", "\u2028", '"', "1: ", "\\", "[" * 999]))
)
def test_no_line_is_too_odd(parts):
    for row in printed_rows(["".join(parts)]):
        assert isinstance(row, dict)
