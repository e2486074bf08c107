"""The table of trials fits a terminal, shows what differs, and says what it leaves out."""

from __future__ import annotations

import pytest
from wcwidth import wcswidth

from slurmsweep.errors import UsageError
from slurmsweep.report.choice import chosen, condition, fields, told_apart
from slurmsweep.report.figures import duration
from slurmsweep.report.fitting import Column, fit
from slurmsweep.report.summary import TrialRow
from slurmsweep.report.terminal import coloured
from slurmsweep.report.trials_table import trials_table
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.sweepfile.config import check

WIDTHS = (80, 100, 120)


def config(parameters, **more):
    data = {"program": "t.py", "method": "random", "metric": {"name": "val/loss", "goal": "minimize"}}
    return check(data | {"parameters": parameters} | more, "sweep.yaml").config


def rows(count, of, **more):
    return [
        TrialRow(n, TrialState.FINISHED, "", 1, of(n), metric=n / 7, node="n1", job=f"41_{n}", started=1.7e9, seconds=n * 60.0)._replace(**more)
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
def test_twenty_parameters_with_long_values_fit(width):
    names = [f"parameter_number_{i}" for i in range(20)]
    trials = rows(30, lambda n: {name: f"value {n} of {name}, " * 5 for name in names})
    table = trials_table(trials, config({name: {"values": [1, 2]} for name in names}), width)

    assert max(map(wcswidth, table.split("\n"))) <= width
    header = table.split("\n")[0].split("  ")
    assert [word.strip() for word in header if word][:3] == ["trial", "val/loss", "state"]
    assert "no room for: " in table


@pytest.mark.parametrize("width", WIDTHS)
def test_wide_characters_fit_and_stay_in_line(width):
    trials = rows(3, lambda n: {"text": "漢字" * 10 * n, "b": n})
    lines = trials_table(trials, config({"text": {"values": ["x", "y"]}, "b": {"values": [1, 2]}}), width).split("\n")

    assert max(map(wcswidth, lines)) <= width
    assert len({wcswidth(line) for line in lines[1:2]}) == 1


def test_two_parameters_do_not_wrap_at_eighty_columns_and_nothing_is_left_out():
    trials = rows(3, lambda n: {"lr": 0.1 * n, "batch_size": 32 * n})
    table = trials_table(trials, config({"lr": {"values": [1, 2]}, "batch_size": {"values": [1, 2]}}), 80)

    assert table.split("\n")[0].split() == ["trial", "val/loss", "state", "lr", "batch_size", "took", "job"]
    assert "no room" not in table
    assert "the same for all: node=n1, started=" in table


def test_only_parameters_that_vary_have_a_column_and_the_others_are_said_once():
    trials = rows(3, lambda n: {"lr": float(n), "fixed": 7, "opt": {"name": "adam", "beta": n}})
    space = {"lr": {"min": 0.0, "max": 1.0}, "fixed": {"value": 7}, "opt": {"parameters": {"name": {"value": "adam"}, "beta": {"values": [0, 1, 2]}}}}  # fmt: skip
    table = trials_table(trials, config(space), 120)

    assert {"lr", "opt.beta"} <= set(table.split("\n")[0].split())
    assert "the same for all: fixed=7, opt.name=adam" in table
    assert table.count("adam") == 1


def test_a1_one_trial_has_the_parameters_that_differ_in_its_sweep_as_columns():
    space = {f"a{n}": {"value": "long " * 9} for n in range(20)} | {"lr": {"values": [0.5, 1]}, "b": {"values": [3]}}
    table = trials_table(
        rows(1, lambda _: {name: one.get("value", 3) for name, one in space.items()}), config(space), 80
    )
    head, _, row, *below = table.split("\n")

    assert (head.split()[3], row.split()[3], "a0" in head, "b" in head.split()) == ("lr", "3", False, False)
    assert below[0].startswith("the same for all: a0=long long")
    assert "lr" not in "".join(below)


def test_one_trial_of_a_sweep_in_which_nothing_differs_has_all_parameters_as_columns():
    table = trials_table(rows(1, lambda _: {"lr": 0.5}), config({"lr": {"value": 0.5}}), 80)
    assert table.split("\n")[2].split()[:4] == ["0", "0", "finished", "0.5"]


def test_numbers_have_six_digits_and_durations_two_units():
    assert [duration(s) for s in (None, 0.04, 9.94, 9.96, 59.6, 185, 7500, 100_000)] == [
        "", "0.0s", "9.9s", "10s", "1m 00s", "3m 05s", "2h 05m", "1d 03h",
    ]  # fmt: skip
    table = trials_table(rows(2, lambda n: {"lr": 0.1234567 + n}), config({"lr": {"min": 0.0, "max": 2.0}}), 80)
    assert " 0.123457  " in table
    assert " 1.12346   " in table


def test_causes_stay_where_parameters_must_go():
    trials = rows(2, lambda n: {f"p{i}": n for i in range(20)}, state=TrialState.FAILED, cause="exit 3")
    table = trials_table(trials, config({f"p{i}": {"values": [0, 1]} for i in range(20)}), 60)
    assert table.split("\n")[0].split()[:4] == ["trial", "val/loss", "state", "cause"]


@pytest.mark.parametrize(
    ("width", "error", "shown"),
    [
        (
            80,
            "ValueError: unknown optimizer sdg (train.py, line 15)",
            ["cause", "learning_rate", "batch_size", "optimizer"],
        ),
        (80, "ModuleNotFoundError: No module named 'x'", ["cause", "learning_rate", "batch_size", "optimizer"]),
        (120, "E" * 200, ["cause", "learning_rate", "batch_size", "optimizer", "took"]),
    ],
)
def test_a_long_reason_leaves_room_for_parameters(width, error, shown):
    names = ["learning_rate", "batch_size", "optimizer"]
    trials = rows(3, lambda n: dict.fromkeys(names, 10.0 ** (-n)), state=TrialState.FAILED, cause="exit 1", error=error)
    table = trials_table(trials, config({name: {"values": [1, 0.1, 0.01]} for name in names}), width)

    header, _, first = table.split("\n")[:3]
    assert header.split()[3 : 3 + len(shown)] == shown
    assert f"exit 1: {error}"[:15] in first
    assert max(map(len, table.split("\n"))) <= width


def test_two_long_reasons_leave_room_for_parameters():
    names, why = ["lr", "opt", "layers"], "loss was never logged (logged: acc, val/loss)"
    trials = rows(3, lambda n: dict.fromkeys(names, n), state=TrialState.FAILED, cause="exit 1", error="E" * 60)
    trials += [row._replace(error=None, cause="", no_metric=why) for row in trials]
    table = trials_table(trials, config({name: {"values": [0, 1, 2]} for name in names}), 80)

    assert table.split("\n")[0].split()[2:] == ["state", "cause", "no", "metric", *names, "took"]
    assert "loss was ne" in table


def test_a_long_reason_is_not_cut_for_times_and_nodes():
    trials = rows(3, lambda n: {"lr": n}, state=TrialState.FAILED, cause="exit 1", error="E" * 200)
    table = trials_table(trials, config({"lr": {"values": [0, 1, 2]}}), 80)

    assert {"cause", "lr"} <= set(table.split("\n")[0].split())
    assert "exit 1: " + "E" * 31 in table


def test_chosen_columns_come_in_that_order_and_an_unknown_one_is_refused():
    trials, space = rows(2, lambda n: {"lr": n, "opt": {"momentum": 0.5}}), {"lr": {"values": [0, 1]}, "opt": {"parameters": {"momentum": {"value": 0.5}}}}  # fmt: skip
    table = trials_table(trials, config(space), 80, ["lr", "trial", "momentum", "took", "metrics.val/loss"])
    assert table.split("\n")[0].split() == ["lr", "trial", "opt.momentum", "took", "val/loss"]
    with pytest.raises(UsageError, match="have no 'momentun': did you mean 'momentum'"):
        trials_table(trials, config(space), 80, ["momentun"])


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (["lr=0.2"], [2]),
        (["lr=0.333333"], [3]),
        (["lr<0.2"], [0, 1]),
        (["lr>=0.2", "lr!=0.333333"], [2, 4]),
        (["state=failed"], [4]),
        (["flag=true"], [0, 2, 4]),
        (["flag!=true"], [1, 3]),
        (["val/loss=null"], [4]),
        (["opt.name=sgd"], [1, 3]),
        (["name!=sgd"], [0, 2, 4]),
        (["lr=many"], []),
        (["trial>2"], [3, 4]),
    ],
)
def test_trials_are_chosen_by_what_they_are(where, numbers):
    space = {"lr": {"min": 0.0, "max": 1.0}, "flag": {"values": [True, False]}, "opt": {"parameters": {"name": {"values": ["adam", "sgd"]}}}}  # fmt: skip
    lr = [0.0, 0.1, 0.2, 1 / 3, 0.4]
    trials = rows(5, lambda n: {"lr": lr[n], "flag": n % 2 == 0, "opt": {"name": ["adam", "sgd"][n % 2]}})
    trials[4] = trials[4]._replace(state=TrialState.FAILED, metric=None)

    found = chosen(trials, fields(config(space)), [condition(text) for text in where], "", reverse=False)
    assert [trial.number for trial in found] == numbers


def test_trials_without_a_value_come_last_in_either_order():
    trials = rows(4, lambda n: {"lr": [3, "auto", 1, 2][n]})
    trials[2] = trials[2]._replace(metric=None)
    known = fields(config({"lr": {"values": [1, 2, 3, "auto"]}}))

    def order(sort, *, reverse):
        return [trial.number for trial in chosen(trials, known, [], sort, reverse=reverse)]

    assert order("val/loss", reverse=False) == [0, 1, 3, 2]
    assert order("val/loss", reverse=True) == [3, 1, 0, 2]
    assert order("lr", reverse=False) == [2, 3, 0, 1]


@pytest.mark.parametrize("text", ["lr", "=3", "", "<0.1"])
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(ValueError, match="is not a condition"):
        condition(text)


@pytest.mark.parametrize(
    ("text", "is_found"), [("opt=a b=c", True), ("cause=exit 3", False), ("log=/x=1/y", False), ("opt=a, b", False)]
)
def test_a_value_that_a_trial_has_and_one_without_another_condition_are_one_condition(text, is_found):
    assert told_apart([condition(text)], is_found=is_found) == ""


def test_long_cells_are_cut_before_a_column_goes():
    long, short = Column("a", ("x" * 100,), 1), Column("b", ("yy",), 2)
    shown, gone = fit([long, short], 40)
    assert ([column.cells[0] for column in shown], gone) == (["x" * 35 + "…", "yy"], [])


def test_each_column_is_measured_once_however_many_are_left_out(monkeypatch):
    measured = []
    monkeypatch.setattr("slurmsweep.report.fitting.text_width", lambda text: measured.append(text) or len(text))

    shown, gone = fit([Column(f"p{n}", ("1",), 3) for n in range(3000)], 80)

    assert [column.title for column in shown] == [f"p{n}" for n in range(len(shown))]
    assert gone == [f"p{n}" for n in range(len(shown), 3000)]
    assert len(measured) < 2 * 3000 + 1000


def test_states_are_coloured_where_they_stand_and_nowhere_else():
    table = "trial    state    note\n-------  -------  ------\n1        failed   failed\n2        pending  x"
    assert coloured(table).split("\n")[2:] == ["1        \x1b[31mfailed\x1b[0m   failed", "2        pending  x"]
    assert coloured("a  b\n1  failed") == "a  b\n1  failed"
