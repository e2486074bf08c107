"""Why trials failed is said where the failure is told: grouped, with how many, and where to look."""

from __future__ import annotations

import json

import pytest

from slurmsweep.control.failures import groups as failure_groups
from slurmsweep.report.failures import FailureGroup, failure_words

SCRIPT = """
import os, signal, sys, slurmsweep
x = int(sys.argv[1].partition("=")[2])
slurmsweep.init()
slurmsweep.log({"loss": x})
if x in (1, 2, 3):
    raise ValueError(f"{x} is too small")
if x == 4:
    print("no more licences", file=sys.stderr)
    sys.exit(3)
if x == 5:
    os.kill(os.getpid(), signal.SIGKILL)
"""
METRIC = "metric: {name: loss, goal: minimize}"
SMALL = "3 failed, exit 1: ValueError: 1 is too small (train.py, line 7) (trials 0, 1, 2; `slurmsweep logs {} 0`)"


@pytest.fixture(scope="module")
def folder(run_in, tmp_path_factory):
    """A folder with a sweep of seven trials, of which five fail in three ways, and the sweep's id."""
    folder = tmp_path_factory.mktemp("failing")
    return folder, run_in(folder, SCRIPT, METRIC, [1, 2, 3, 4, 5, 6, 7], code=1)


def test_a2_status_groups_what_failed_alike(folder, slurmsweep):
    shown = slurmsweep("status", folder[1], cwd=folder[0], COLUMNS="300").stdout
    told = [line.removeprefix("  why     ") for line in shown.splitlines() if line.startswith("  why")]

    assert told == [
        SMALL.format(folder[1]),
        f"1 failed, exit 3: no more licences (trial 3; `slurmsweep logs {folder[1]} 3`)",
        f"1 crashed, signal 9 (trial 4; `slurmsweep logs {folder[1]} 4`)",
    ]
    groups = json.loads(slurmsweep("status", folder[1], "--json", cwd=folder[0]).stdout)["failures"]
    assert [(g["state"], g["cause"], g["trials"]) for g in groups] == [
        ("failed", "exit 1", [0, 1, 2]), ("failed", "exit 3", [3]), ("crashed", "signal 9", [4]),
    ]  # fmt: skip
    assert groups[0]["log"].endswith("trials/0/0/1/output.log")


def test_tables_and_documents_have_the_last_words(folder, slurmsweep):
    shown = slurmsweep("trials", folder[1], "--state", "failed", cwd=folder[0], COLUMNS="80").stdout
    assert "exit 1: ValueError: 2 is too small" in shown
    errors = [t["error"] for t in json.loads(slurmsweep("trials", folder[1], "--json", cwd=folder[0]).stdout)]
    assert errors[2:4] == ["ValueError: 3 is too small (train.py, line 7)", "no more licences"]
    assert errors[4:] == [None, None, None]


def test_a2_trials_say_in_whole_why_those_that_are_shown_failed(folder, slurmsweep):
    words = [
        SMALL.format(folder[1]),
        f"1 failed, exit 3: no more licences (trial 3; `slurmsweep logs {folder[1]} 3`)",
        f"1 crashed, signal 9 (trial 4; `slurmsweep logs {folder[1]} 4`)",
    ]
    for asked, told in {"": words, "--where x=4": words[1:2], "-s finished": [], "--columns trial,cause": []}.items():
        done = slurmsweep("trials", folder[1], *asked.split(), cwd=folder[0])
        assert [line for line in done.stderr.splitlines() if "`slurmsweep logs" in line] == [
            f"slurmsweep: {one}" for one in told
        ]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            "--where x>1 -s failed",
            ["2 failed, exit 1: ValueError: 2 is too small (train.py, line 7) (trials 1, 2; `{} 1`)"],
        ),
        ("--where x=3", ["1 failed, exit 1: ValueError: 3 is too small (train.py, line 7) (trial 2; `{} 2`)"]),
        ("-n 2", ["2 failed, exit 1: ValueError: 1 is too small (train.py, line 7) (trials 0, 1; `{} 0`)"]),
    ],
)
def test_what_is_said_below_the_table_counts_the_rows_that_are_shown(folder, slurmsweep, asked, told):
    said = slurmsweep("trials", folder[1], *asked.split(), cwd=folder[0]).stderr

    assert [line for line in said.splitlines() if "exit 1" in line] == [
        f"slurmsweep: {one.format(f'slurmsweep logs {folder[1]}')}" for one in told
    ]


@pytest.mark.parametrize("fails", ["raise ValueError('401 for HF_TOKEN=hf_abcdef')", "sys.exit('HF_TOKEN: hf_abcdef')"])
def test_no_screen_and_no_document_shows_a_secret_that_a_trial_failed_with(slurmsweep, write_sweep, fails):
    """As ``report`` does: known by its name, behind which the value stands."""
    done = slurmsweep("run", str(write_sweep(f"import sys\n{fails}")), "--backend", "local")
    words = ("status", "trials", "trials --wide", "show 0", "watch --once", "export", "status --json", "trials --json")
    told = [done.stdout, *(slurmsweep(*one.split()).stdout for one in words)]

    assert ["hf_abcdef" in text for text in told] == [False] * len(told)
    assert ["***" in " ".join(text.split()) for text in told] == [True] * len(told)


def test_the_end_of_a_run_explains_them_too(slurmsweep, write_sweep):
    done = slurmsweep("run", str(write_sweep(SCRIPT, "  x: {values: [1, 2, 7]}", METRIC)), "--backend", "local")
    told = " ".join(done.stdout.split())
    assert "2 failed, exit 1: ValueError: 1 is too small" in told
    assert (told.count("slurmsweep logs "), told.count("slurmsweep resubmit ")) == (1, 1)
    assert ("slurmsweep logs" in done.stderr, "slurmsweep resubmit" in done.stderr) == (False, False)


def test_of_very_many_the_first_logs_are_read_and_the_others_counted(folder, monkeypatch):
    from slurmsweep.report.summary import SweepSummary
    from slurmsweep.state.store import SweepStore

    store = SweepStore.open(str(folder[0] / ".slurmsweep" / f"sweep-{folder[1]}"))
    monkeypatch.setattr(failure_groups, "MOST_LOGS", 1)
    found = failure_groups.failure_groups(SweepSummary(store.layout, store.manifest, store.replay(), {}))

    assert [(group.cause, group.trials) for group in found] == [
        ("exit 1", (0, 1, 2)),
        ("exit 3", (3,)),
        ("signal 9", (4,)),
    ]
    assert [bool(group.error) for group in found] == [True, False, False]


def test_few_groups_are_named_and_the_rest_counted():
    groups = [FailureGroup("failed", f"exit {n}", "", tuple(range(n, n + 10)), None) for n in range(1, 8)]
    told = list(failure_words(groups, "abcd1234"))

    assert told[0] == "10 failed, exit 1 (trials 1, 2, 3, 4, 5, 6, 7, 8 and 2 more)"
    assert told[5:] == ["20 more, for other reasons: `slurmsweep trials abcd1234` shows each"]
