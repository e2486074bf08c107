"""``trials`` and the table that ``run`` ends with: which trials, which columns, and what is not shown."""

from __future__ import annotations

import json

import pytest

SCRIPT = """
import sys, slurmsweep
x = int(sys.argv[1].partition("=")[2])
slurmsweep.init()
slurmsweep.log({"loss": abs(x - 20), "val": {"acc": x / 100}, "note": "x"})
sys.exit(x % 7 == 3)
"""
METRIC = "metric: {name: loss, goal: minimize}"


@pytest.fixture(scope="module")
def folder(run_in, tmp_path_factory):
    """A folder with a sweep of 30 trials of which 4 failed, and the sweep's id."""
    folder = tmp_path_factory.mktemp("thirty")
    return folder, run_in(folder, SCRIPT, METRIC, list(range(30)), "--jobs", "2", code=1)


@pytest.fixture
def trials(folder, slurmsweep):
    """Run ``trials`` with these options."""
    return lambda *options, **environ: slurmsweep("trials", folder[1], *options, cwd=folder[0], **environ)


def numbers(done) -> list[int]:
    assert done.returncode == 0, done.stderr
    return [trial["number"] for trial in json.loads(done.stdout)]


def test_trials_are_filtered_sorted_and_limited(trials):
    assert numbers(trials("--json", "--where", "loss<=2", "--sort", "loss")) == [20, 19, 21, 18, 22]
    assert numbers(trials("--json", "--where", "state=failed", "--sort", "x", "--reverse")) == [24, 17, 10, 3]
    assert numbers(trials("--json", "--sort", "loss", "--limit", "2")) == [20, 19]

    done = trials("--where", "state=finished", "--sort", "loss", "--limit", "2")
    assert [line.split()[:3] for line in done.stdout.splitlines()[2:4]] == [
        ["20", "0", "finished"],
        ["19", "1", "finished"],
    ]
    assert done.stderr == "slurmsweep: the first 2 of 26 trials; --limit shows more\n"


def test_columns_are_chosen_by_name(trials):
    done = trials("--columns", "x,trial,loss", "--limit", "1")
    assert done.stdout.splitlines()[0].split() == ["x", "trial", "loss"]
    assert done.stdout.splitlines()[2].split() == ["0", "0", "20"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--where", "y=1"], "trials of this sweep have no 'y'"),
        (["--sort", "los"], "did you mean 'loss'?"),
        (["--columns", "trial,stat"], "did you mean 'state'?"),
        (["--where", "x"], "'x' is not a condition: write NAME=VALUE"),
        (["--where", "x>0,1"], "x is a number, and '0,1' is none: write x>0.5"),
        (["--wide", "--columns", "x"], "not allowed with"),
    ],
)
def test_a_name_that_trials_do_not_have_is_refused(trials, options, said):
    done = trials(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize("columns", ["60", "80"])
def test_no_line_is_longer_than_the_terminal(trials, columns):
    done = trials(COLUMNS=columns)
    assert max(map(len, done.stdout.splitlines())) <= int(columns)


@pytest.mark.parametrize(("order", "word"), [("pause", "paused"), ("stop", "stopped"), ("cancel", "canceled")])
def test_a3_a_run_that_a_person_ends_says_so_and_has_not_failed(slurmsweep, write_sweep, order, word):
    script = (
        "import os, subprocess, sys, slurmsweep\n"
        "slurmsweep.init()\n"
        "slurmsweep.log({'loss': 1})\n"
        "del os.environ['WANDB_DIR']\n"
        f"subprocess.run([sys.executable, '-m', 'slurmsweep', '{order}', 'last'], check=True)\n"
    )
    file = write_sweep(script, extra="metric: {name: loss, goal: minimize}")
    done = slurmsweep("run", str(file), "--backend", "local")

    assert done.returncode == 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"slurmsweep: the sweep is {word}, as was ordered meanwhile: "), last
    assert "--failed" not in done.stderr


def test_what_failed_is_said_apart_from_what_is_open(slurmsweep, write_sweep):
    done = slurmsweep("run", str(write_sweep("raise SystemExit(3)")), "--backend", "local", "--max-fails", "1")

    assert done.returncode == 1
    assert "  trials  2 pending, 1 failed\n" in done.stdout
    assert "  why     1 failed, exit 3 (trial 0; `slurmsweep logs " in done.stdout


def test_a_run_shows_the_best_and_some_failures_and_says_what_it_leaves_out(folder, slurmsweep):
    done = slurmsweep("run", folder[1], "--backend", "local", cwd=folder[0])

    states = [line.split()[2] for line in done.stdout.splitlines()[2:22]]
    assert states == ["finished"] * 16 + ["failed"] * 4
    told = "20 of 30 trials are shown, the 16 best and 4 of 4 that did not finish: `slurmsweep trials"
    assert told in done.stderr


def test_that_no_trial_is_best_yet_is_said_of_any_metric(slurmsweep, make_store):
    make_store(3)
    done = slurmsweep("best", "--metric", "loss")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("slurmsweep: no finished trial has a value of 'loss' yet\n")


def test_columns_that_are_none_are_refused(slurmsweep, make_store):
    make_store(3)
    done = slurmsweep("trials", "--columns", "")
    assert (done.returncode, "'' names no column" in done.stderr) == (2, True)


def test_a_condition_that_no_trial_meets_is_said(slurmsweep, make_store):
    make_store(3)
    done = slurmsweep("trials", "--where", "x>9", "--where", "x!=1")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith("slurmsweep: no trial has x>9 and x!=1\n")


@pytest.mark.parametrize(
    ("condition", "apart"),
    [
        ("state=failed x=3", "-w state=failed -w x=3"),
        ("state=failed, x = 3", "-w state=failed -w 'x = 3'"),
        ("state=failed and x=3 and loss>1", "-w state=failed -w x=3 -w 'loss>1'"),
    ],
)
def test_several_conditions_in_one_text_are_answered_with_one_option_for_each(trials, condition, apart):
    done = trials("-w", condition)
    document = trials("-w", condition, "--json")

    hint = f"each condition wants a --where of its own: {apart}\n"
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"slurmsweep: no trial has {condition}: {hint}"
    assert (document.returncode, document.stdout, document.stderr) == (0, "[]\n", f"slurmsweep: {hint}")


def test_several_conditions_in_one_text_are_told_apart_also_where_trials_meet_it_or_it_is_no_number(trials):
    unequal, smaller = trials("-w", "state!=failed x=3", "--json"), trials("-w", "x<9 state=failed")

    hint = "each condition wants a --where of its own: -w"
    assert f"{hint} 'state!=failed' -w x=3\n" in unequal.stderr
    assert (smaller.returncode, "'9 state=failed' is none" in smaller.stderr) == (2, True)
    assert f"{hint} 'x<9' -w state=failed\n" in smaller.stderr


def test_other_commands_with_conditions_tell_them_apart_too(folder, slurmsweep):
    condition = ("--where", "state=failed x=3")
    exported = slurmsweep("export", folder[1], *condition, cwd=folder[0])
    rerun = slurmsweep("rerun", folder[1], *condition, "--dry-run", cwd=folder[0])

    hint = "each condition wants a --where of its own: -w state=failed -w x=3\n"
    assert [(done.returncode, hint in done.stderr) for done in (exported, rerun)] == [(0, True)] * 2


def test_another_metric_that_trials_logged_is_shown(trials, folder, slurmsweep):
    documents = json.loads(trials("--json", "--metric", "val.acc", "--sort", "val.acc", "--reverse", "-n", "2").stdout)
    assert [(one["number"], one["metric"]) for one in documents] == [(29, 0.29), (28, 0.28)]
    assert trials("--metric", "val.acc", "-n", "2").stdout.split()[1] == "val.acc"

    def best(*words) -> int:
        done = slurmsweep("best", folder[1], "--json", *words, cwd=folder[0])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["number"]

    assert (best(), best("--metric", "loss")) == (20, 20)
    assert (best("--metric", "val.acc"), best("--metric", "val.acc", "--goal", "maximize")) == (0, 29)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_best_says_which_values_of_a_metric_are_good_that_the_sweep_file_does_not_name(folder, slurmsweep, words):
    def said(*more: str) -> str:
        done = slurmsweep("best", folder[1], *words, *more, cwd=folder[0])
        assert done.returncode == 0, done.stderr
        return " ".join(done.stderr.split())

    assert said("--metric", "val.acc") == (
        "slurmsweep: the smallest 'val.acc' is the best here, as the sweep file does not name this metric; "
        "with --goal maximize the largest is"
    )
    assert said("--metric", "val.acc", "--goal", "minimize") == ""
    assert said("--metric", "loss") == said() == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["best", "--metric", "acc"], "logged a number named 'acc'; logged were: loss, val.acc"),
        (["best", "--metric", "note"], "logged a number named 'note'"),
        (["best", "--goal", "maximize"], "add --metric"),
        (["best", "--metric", "loss", "--pareto"], "not allowed with argument"),
        (["trials", "--metric", "acc"], "logged a number named 'acc'"),
    ],
)
def test_a_metric_that_was_not_logged_is_an_error(folder, slurmsweep, words, said):
    done = slurmsweep(words[0], folder[1], *words[1:], cwd=folder[0])

    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
