"""The live view: screens as they were looked at, one file a width in ``live/``, and what their lines promise.

After a change on purpose ``python tests/report/test_live.py`` writes the files anew: look at what git shows.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slurmsweep.report.failures import FailureGroup
from slurmsweep.report.fitting import text_width
from slurmsweep.report.live import ASCII, BLOCKS, LiveState, Queue, Running, compose, curve, one_line, plain
from slurmsweep.report.live_choice import Asks, LiveChoice, Page, Sort, react
from slurmsweep.report.summary import TrialRow
from slurmsweep.state.lifecycle import TrialState

SCREENS = Path(__file__).parent / "live"
PARAMS = {"lr": 1.3e-4, "wd": 5e-06, "opt": "adam", "layers": 5, "batch": 32}


def running(number: int, node: str, elapsed: float, metric: float | None, steps: int, **more) -> Running:
    trial = TrialRow(number, TrialState.RUNNING, "", 1, PARAMS, metric, node=node, job=f"4711_{number}", started=1.0)
    values = tuple(metric * (1 + 2 / (step + 1)) for step in range(steps)) if metric else ()
    return Running(trial, elapsed, **{"asked": 3600.0, **more}, curve=values, steps=steps)


RUNNING = (
    running(124, "n015", 3338, 0.5622, 47),
    running(138, "n013", 2729, 0.5367, 31),
    running(134, "n013", 2590, float("nan"), 38),
    running(126, "n022", 2541, None, 0),
    *(
        running(number, f"n0{number - 90}", 2300 - 10 * number, 0.5 + number / 1000, number)
        for number in range(100, 112)
    ),
)

STATE = LiveState(
    sweep="k3v9x2ab",
    name="cifar-lr",
    method="random",
    trials=200,
    standing="running",
    clock="17:43:05",
    counts={"pending": 60, "running": 16, "finished": 113, "stopped early": 5, "failed": 4, "crashed": 2},
    metric="val_loss",
    runs_for=13260,
    rate=31.4,
    left=(5460, 8400),
    best=tuple(
        TrialRow(number, TrialState.FINISHED, "", 1, PARAMS, metric, seconds=seconds)
        for number, metric, seconds in ((97, 0.2312, 2290), (41, 0.2388, 2512), (103, 0.2401, 1771))
    ),
    better=2460,
    best_so_far=tuple(0.23 + 0.68 / (n + 1) for n in range(118)),
    running=RUNNING,
    order=tuple(row.trial.number for row in RUNNING),
    nodes={"n003": 3, "n007": 1, "n013": 12},
    failures=(
        FailureGroup("failed", "exit 1", "ValueError: loss is nan (train.py, line 31)", (55, 90), "/l/55"),
        FailureGroup("crashed", "timeout", "", (77, 101), "/l/77"),
        FailureGroup("failed", "exit 2", "usage: train.py [-h]", (12,), "/l/12"),
        FailureGroup("crashed", "oom", "", (14,), "/l/14"),
        FailureGroup("crashed", "node_fail", "", (81,), "/l/81"),
    ),
    failed=720,
    queue=Queue({"running": 16, "pending": 44}, 12, 18, "jobs of higher priority come first (Priority)"),
)  # fmt: skip

SIZES = [(60, 20), (80, 24), (140, 40)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_screen_is_as_it_was_looked_at(width, height):
    shown = plain(compose(STATE, LiveChoice(), width, height)) + "\n"

    assert shown == (SCREENS / f"{width}x{height}.txt").read_text(encoding="utf-8")


ODD = replace(
    STATE,
    name="名前が長い名前\x1b[31m" * 3,
    running=(running(7, "\x1b]0;x\x07nöde", 10, 1e300, 3), *RUNNING),
    order=(7, *STATE.order),
    notes=("the queue did not answer " * 5,),
    follows="`slurmsweep run k3v9x2ab` starts the 60 open trials",
    best_so_far=(1e308, -1e308, 0.0),
)
PAGES = [LiveChoice(page) for page in Page] + [LiveChoice(asks=Asks.FILTER, typed="lr<0.1" * 40)]


@pytest.mark.parametrize("choice", PAGES, ids=lambda choice: choice.page.name)
@pytest.mark.parametrize("shapes", [BLOCKS, ASCII], ids=["blocks", "ascii"])
def test_no_screen_is_larger_than_its_terminal_or_has_a_raw_character(choice, shapes):
    states = [STATE, ODD, LiveState("abcd1234", "pending", "17:43:05"), replace(ODD, page=("名" * 90, *"abc") * 40)]
    for state in states:
        for width in (1, 2, 20, 33, 60, 79, 80, 100, 140, 300):
            for height in (1, 2, 3, 5, 8, 13, 24, 40):
                lines = plain(compose(state, choice, width, height, shapes)).split("\n")
                assert len(lines) == height
                assert max(map(text_width, lines)) <= width, (width, height, lines)
                assert all(line.isprintable() for line in lines)
                assert shapes is BLOCKS or all(line.isascii() for line in lines)


@pytest.mark.parametrize(("width", "height"), [(20, 5), (60, 20), (80, 24), (140, 40)])
def test_how_many_trials_have_ended_is_told_on_every_screen(width, height):
    assert "62 %" in plain(compose(STATE, LiveChoice(), width, height))


@pytest.mark.parametrize(("width", "height"), [(60, 20), (80, 24), (140, 40)])
def test_trial_elapsed_and_metric_are_never_left_out(width, height):
    lines = plain(compose(STATE, LiveChoice(), width, height)).split("\n")
    [header] = [line for line in lines if line.lstrip().startswith("trial ") and "elapsed" in line]

    assert "val_loss" in header
    assert any(">" in line and "124" in line and "!55m 38s" in line and "0.5622" in line for line in lines)
    assert any("134" in line and "nan" in line for line in lines)


def test_the_chosen_trial_is_on_the_screen_wherever_it_is():
    for number in STATE.order:
        shown = plain(compose(STATE, LiveChoice(trial=number), 80, 24))
        assert f"> {number}" in shown or f">{number}" in shown, number


def test_a_curve_has_the_extremes_of_its_values():
    assert curve([1, 2, 3], 8) == "▁▅█"
    assert curve([1, 2, 3], 8, ASCII) == ".=#"
    assert curve([5, 5], 8) == "▁▁"
    assert curve(range(100), 4) == "▁▃▆█"
    assert curve([], 8) == curve([1], 0) == ""


def test_the_bar_shows_a_single_failure_of_a_million():
    state = replace(STATE, trials=10**6, counts={"finished": 999_998, "failed": 1, "running": 1}, left=None)
    bar = plain(compose(state, LiveChoice(), 60, 20)).split("\n")[1]

    assert bar == "█" * 52 + "▒▓" + "  99 %"


def test_a_line_without_a_terminal_does_not_change_by_itself():
    assert one_line(STATE) == (
        "sweep k3v9x2ab running; 113 finished, 16 running, 60 pending, 4 failed, 2 crashed, 5 stopped early; "
        "best val_loss 0.2312 in trial 97; 2 x exit 1: ValueError: loss is nan (train.py, line 31); 2 x timeout"
    )
    assert one_line(replace(STATE, clock="17:43:07", runs_for=13262, left=(1, 2), better=2462)) == one_line(STATE)


# keys


def press(keys, order=(5, 6, 7), choice=None):
    choice = choice or LiveChoice()
    for key in keys:
        choice = react(choice, key, order)
    return choice


def test_a_trial_stays_chosen_when_the_order_changes_and_its_neighbour_when_it_ended():
    choice = press("j")
    assert (choice.trial, choice.place((5, 6, 7))) == (6, 1)
    assert choice.place((9, 7, 6)) == 2
    assert choice.place((5, 7)) == 1
    assert press("kkk").trial == 5
    assert press(["down"] * 9).trial == 7


def test_pages_open_and_close():
    assert press(["j", "enter"]) == LiveChoice(Page.TRIAL, trial=6, at=1)
    assert press(["j", "enter", "l"]).page is Page.LOG
    assert press(["f", "j", "j", "k"]).top == 1
    assert press(["f", "q"]).page is press(["b", "escape"]).page is Page.FIRST
    assert press("q") is None
    assert press(["escape"]) == LiveChoice()
    assert press(["enter"], order=()) == LiveChoice()
    assert press(["t", "1", "2", "enter"], order=()) == LiveChoice(Page.TRIAL, trial=12)
    assert press(["t", "x", "enter"]) == LiveChoice()


def test_a_filter_is_typed_and_keys_are_letters_meanwhile():
    assert press("/qjl").typed == "qjl"
    assert press(["/", *"node=n3", "backspace", "4", "enter"]).where == "node=n4"
    assert press(["/", "x", "escape"]) == LiveChoice()
    assert press("sss").sort is Sort.NODE
    assert press("ssss").sort is Sort.LIMIT


if __name__ == "__main__":
    for columns, rows in SIZES:
        lines = compose(STATE, LiveChoice(), columns, rows)
        (SCREENS / f"{columns}x{rows}.txt").write_text(plain(lines) + "\n", encoding="utf-8")
