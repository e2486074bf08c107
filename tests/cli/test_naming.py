"""Sweeps are named by less than their ids, and never by chance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import slurmsweep as slurmsweep_package
from slurmsweep.control.creation import create
from slurmsweep.errors import NotFoundError, UsageError


@pytest.fixture
def made(slurmsweep, write_sweep, monkeypatch, tmp_path):
    """Make three sweeps, the ids of two of which begin alike, one after the other, in this process for its ids."""
    for thread in set(threading.enumerate()) - {threading.current_thread()}:
        thread.join(60)  # one of an earlier test that is about to end
    ids = iter(["abcd1234", "abxy5678", "zzzz0000"])
    monkeypatch.setattr(create, "new_sweep_id", lambda: next(ids))
    for place, name in enumerate(["first", "second", "first"]):
        sweep = slurmsweep("create", str(write_sweep("pass", extra=f"name: {name}"))).stdout.strip()
        manifest = tmp_path / ".slurmsweep" / f"sweep-{sweep}" / "sweep.json"
        os.utime(manifest, ns=(10**18 + place, 10**18 + place))
    return tmp_path


def status(slurmsweep, *words) -> str:
    done = slurmsweep("status", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["id"]


@pytest.mark.parametrize(
    ("words", "sweep"),
    [
        ([], "zzzz0000"),
        (["last"], "zzzz0000"),
        (["last~0"], "zzzz0000"),
        (["last~"], "abxy5678"),
        (["last~2"], "abcd1234"),
        (["abc"], "abcd1234"),
        (["z"], "zzzz0000"),
        (["second"], "abxy5678"),
        (["abxy5678"], "abxy5678"),
        (["wandb/sweep-abcd1234"], "abcd1234"),
    ],
)
def test_a6_a_sweep_is_named_by_little(made, slurmsweep, words, sweep):
    assert status(slurmsweep, *words) == sweep


@pytest.mark.parametrize(("word", "sweep"), [("last", "zzzz0000"), ("abc", "abcd1234"), ("second", "abxy5678")])
def test_run_goes_on_with_a_sweep_that_is_named_by_little(made, slurmsweep, word, sweep):
    done = slurmsweep("run", word, "--backend", "local", "--json")
    assert (done.returncode, json.loads(done.stdout)["id"]) == (0, sweep), done.stderr


@pytest.mark.parametrize(
    ("word", "sweep"),
    [
        ("last", "zzzz0000"),
        ("last~1", "abxy5678"),
        ("abc", "abcd1234"),
        ("second", "abxy5678"),
        ("abxy5678", "abxy5678"),
        (".slurmsweep/sweep-abcd1234", "abcd1234"),
        ("link", "abcd1234"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--count", "1"], ["--count", "1", "--seats", "1"]], ids=" ".join)
def test_an_agent_runs_a_trial_of_a_sweep_that_is_named_by_little(made, slurmsweep, options, word, sweep):
    (made / "link").symlink_to(".slurmsweep/sweep-abcd1234")

    done = slurmsweep("agent", *options, word)

    assert done.returncode == 0, done.stderr
    finished = {row["id"]: row["finished"] for row in json.loads(slurmsweep("ls", "--json").stdout)}
    assert finished == {"abcd1234": 0, "abxy5678": 0, "zzzz0000": 0} | {sweep: 1}


def test_an_agent_takes_a_name_that_looks_like_an_id(slurmsweep, write_sweep):
    sweep = slurmsweep("create", str(write_sweep("pass", extra="name: baseline"))).stdout.strip()

    assert slurmsweep("agent", "baseline").returncode == 0
    assert json.loads(slurmsweep("status", sweep, "--json").stdout)["counts"]["finished"] == 1


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("ab", 2, "'ab' may mean 2 sweeps: abcd1234, abxy5678; write more of the id"),
        ("first", 2, "'first' may mean 2 sweeps: abcd1234, zzzz0000"),
        ("fourth", 3, "'fourth' is not a sweep"),
        ("abcd1235", 3, "did you mean abcd1234?"),
        ("last~3", 3, "has no sweep last~3: the oldest is last~2"),
    ],
)
def test_an_agent_refuses_a_word_that_means_several_sweeps_or_none(made, slurmsweep, word, code, said):
    done = slurmsweep("agent", word)

    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_run_takes_a_file_of_that_name_for_a_sweep_file(made, slurmsweep):
    Path(made, "second").write_text("{")
    done = slurmsweep("run", "second", "--backend", "local")
    assert (done.returncode, "second: " in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("ab", 2, "'ab' may mean 2 sweeps: abcd1234, abxy5678; write more of the id"),
        ("first", 2, "'first' may mean 2 sweeps: abcd1234, zzzz0000"),
        ("fourth", 3, "'fourth' is not a sweep"),
        ("fourth", 3, "`slurmsweep ls` lists the sweeps here"),
        ("abcd1235", 3, "did you mean abcd1234?"),
        ("last~3", 3, "has no sweep last~3: the oldest is last~2"),
        ("last~99999999", 3, "'last~99999999' is not a sweep"),
    ],
)
def test_a_word_that_means_several_sweeps_or_none_is_refused(made, slurmsweep, word, code, said):
    done = slurmsweep("status", word)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_the_sweep_that_was_taken_is_said(made, slurmsweep):
    assert "sweep zzzz0000, the newest here" in slurmsweep("trials").stderr
    assert slurmsweep("show", "1").stdout.startswith("trial 1 of sweep zzzz0000\n")
    assert "sweep abcd1234, 2 before the newest here" in slurmsweep("trials", "last~2").stderr


def test_of_one_sweep_it_is_not_said(slurmsweep, write_sweep):
    slurmsweep("create", str(write_sweep("pass")))
    assert slurmsweep("trials").stderr == ""


def test_without_a_sweep_it_is_said_how_to_make_one(slurmsweep):
    done = slurmsweep("status")
    assert (done.returncode, "`slurmsweep run FILE` makes one" in done.stderr) == (3, True)
    assert "wandb" not in done.stderr


@pytest.mark.parametrize(
    "command", ["resubmit", "cancel", "delete", "rerun", "stop", "sync", "rm", "share", "check --repair"]
)
def test_commands_that_change_something_want_a_name(made, slurmsweep, command):
    assert slurmsweep(*command.split()).returncode == 2


@pytest.fixture
def moved(slurmsweep, write_sweep, tmp_path):
    """Make a sweep in a project, and move that; returns its new folder."""
    (tmp_path / "before").mkdir()
    file = write_sweep("pass").rename(tmp_path / "before" / "sweep.yaml")
    (tmp_path / "train.py").rename(tmp_path / "before" / "train.py")
    assert slurmsweep("create", str(file), cwd=file.parent).returncode == 0
    return (tmp_path / "before").rename(tmp_path / "now")


@pytest.mark.parametrize(
    "words",
    [
        ["run", "last", "--backend", "local"],
        ["resubmit", "last", "--backend", "local"],
        ["submit", "last", "--dry-run"],
        ["mend", "last"],
        ["agent", "last", "--count", "3"],
    ],
    ids=lambda words: words[0],
)
def test_a7_a_moved_project_is_one_error_before_a_trial_is_claimed(slurmsweep, moved, tmp_path, words):
    [folder] = (moved / ".slurmsweep").glob("sweep-*")
    refused = slurmsweep(*[str(folder) if word == "last" else word for word in words], cwd=moved)

    assert refused.returncode == 2
    [line] = refused.stderr.splitlines()
    assert f" runs its trials in {tmp_path}/before, and that folder is not there. If the project was moved" in line
    assert line.endswith("--workdir FOLDER` (or submit, resubmit, mend)")
    assert "3 pending" in slurmsweep("status", cwd=moved).stdout


def test_a_moved_project_goes_on_where_its_new_folder_is_named_once(slurmsweep, moved, tmp_path):
    wrong = slurmsweep("run", "last", "--backend", "local", "--workdir", "nowhere", cwd=moved)
    rehearsed = slurmsweep("run", "last", "--backend", "local", "--workdir", ".", "--dry-run", cwd=moved)
    again = slurmsweep("run", "last", "--backend", "local", "--count", "1", cwd=moved)
    named = slurmsweep("run", "last", "--backend", "local", "--count", "1", "--workdir", ".", cwd=moved)
    rest = slurmsweep("run", "last", "--backend", "local", cwd=moved)

    assert (wrong.returncode, f"--workdir nowhere: there is no folder {moved}/nowhere" in wrong.stderr) == (2, True)
    assert [done.returncode for done in (rehearsed, again, named, rest)] == [0, 2, 0, 0]
    assert "3 finished" in slurmsweep("status", cwd=moved).stdout
    assert slurmsweep("check", "last", cwd=moved).returncode == 0


def test_a_moved_project_whose_trials_call_a_function_goes_on_too(slurmsweep, tmp_path):
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "train.py").write_text("def train(): print('trained')\n")
    (tmp_path / "before" / "sweep.yaml").write_text("method: grid\nparameters: {x: {values: [1, 2]}}\n")
    function = ["--backend", "local", "--function", "train:train"]
    assert slurmsweep("run", "sweep.yaml", "--count", "1", *function, cwd=tmp_path / "before").returncode == 0
    now = (tmp_path / "before").rename(tmp_path / "now")

    refused = slurmsweep("run", "last", "--backend", "local", cwd=now)
    done = slurmsweep("run", "last", "--backend", "local", "--workdir", ".", cwd=now)

    assert (refused.returncode, "--workdir FOLDER" in refused.stderr) == (2, True)
    assert done.returncode == 0, done.stderr
    assert "2 finished" in slurmsweep("status", cwd=now).stdout


def test_a_new_sweep_takes_no_other_folder(slurmsweep, write_sweep, tmp_path):
    done = slurmsweep("run", str(write_sweep("pass")), "--workdir", ".", cwd=tmp_path)

    assert (done.returncode, "is for a sweep whose project was moved" in done.stderr) == (2, True)
    assert not (tmp_path / ".slurmsweep").exists()


def test_an_export_into_a_folder_that_is_not_there_speaks_of_that_folder(made, slurmsweep, tmp_path):
    done = slurmsweep("export", "-o", f"{tmp_path}/tables/trials.csv")
    assert (done.returncode, "the sweep is missing" in done.stderr) == (5, False)
    assert f"cannot write {tmp_path}/tables/trials.csv: No such file or directory" in done.stderr


def test_a_damaged_sweep_does_not_hide_the_others(made, slurmsweep):
    Path(made, ".slurmsweep", "sweep-abcd1234", "sweep.json").write_text("{")
    assert status(slurmsweep, "second") == "abxy5678"


def test_other_sweeps_that_create_takes_are_named_by_little_too(made, slurmsweep, monkeypatch):
    monkeypatch.setattr(create, "new_sweep_id", lambda: "nnnn0000")
    assert slurmsweep("create", "--from", "last", "--trials", "1").stdout.startswith("program: train.py\n")
    done = slurmsweep("create", "sweep.yaml", "--prior", "abx")
    assert (done.returncode, "points known from sweep abxy5678 that will not be run again: 0" in done.stderr) == (
        0,
        True,
    )


def test_a_name_that_begins_another_id_is_not_taken_for_that_sweep(made, slurmsweep, write_sweep, monkeypatch):
    monkeypatch.setattr(create, "new_sweep_id", lambda: "nnnn0000")
    slurmsweep("create", str(write_sweep("pass", extra="name: zz")))

    done = slurmsweep("cancel", "zz")
    assert (done.returncode, "'zz' may mean 2 sweeps: nnnn0000, zzzz0000" in done.stderr) == (2, True)


def test_an_older_sweep_of_the_name_last_is_not_passed_over(made, slurmsweep, write_sweep, monkeypatch):
    ids = iter(["nnnn0000", "oooo0000"])
    monkeypatch.setattr(create, "new_sweep_id", lambda: next(ids))
    slurmsweep("create", str(write_sweep("pass", extra="name: last")))
    assert status(slurmsweep, "last") == "nnnn0000"

    newer = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()
    done = slurmsweep("stop", "last")
    assert (done.returncode, "'last' may mean 2 sweeps: nnnn0000, oooo0000" in done.stderr) == (2, True)
    assert status(slurmsweep) == newer


@pytest.fixture
def tried(slurmsweep, write_sweep):
    """Make a sweep of the name ``tried``, and run its canary after that; return both ids."""
    file = str(write_sweep("pass", extra="name: tried"))
    sweep = slurmsweep("create", file).stdout.strip()
    planned = slurmsweep("plan", file, "--canary", "--backend", "local", "--json")
    return sweep, json.loads(planned.stdout)["canary"]["sweep"]


def test_a_canary_is_neither_the_newest_sweep_nor_one_of_its_name(tried, slurmsweep):
    sweep, canary = tried

    assert [status(slurmsweep, *words) for words in ([], ["last"], ["tried"], [canary])] == [*[sweep] * 3, canary]
    assert f"sweep {sweep}, the newest here" in slurmsweep("trials").stderr
    assert [row["id"] for row in json.loads(slurmsweep("ls", "--json").stdout)] == [canary, sweep]
    done = slurmsweep("status", "last~1")
    assert (done.returncode, "has no sweep last~1: the oldest is last~0" in done.stderr) == (3, True), done.stderr


def test_where_there_are_canaries_only_it_is_said_what_names_them(tried, slurmsweep):
    sweep, canary = tried
    assert slurmsweep("rm", sweep, "--yes").returncode == 0

    done = slurmsweep("status")
    assert (done.returncode, " but canaries of plans, which their ids alone name: " in done.stderr) == (3, True)
    assert slurmsweep("cancel", "tried").returncode == 3
    assert status(slurmsweep, canary) == canary


@pytest.mark.parametrize("text", ["{", "[]", '{"config": []}', "[" * 100_000])
def test_a_damaged_sweep_that_is_the_newest_is_no_canary(made, slurmsweep, text):
    Path(made, ".slurmsweep", "sweep-zzzz0000", "sweep.json").write_text(text)

    done = slurmsweep("status")
    assert (done.returncode, "zzzz0000" in done.stderr) == (5, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_word_too_long_for_a_path_is_no_sweep(made, slurmsweep):
    assert slurmsweep("status", "w" * 5000).returncode == 3


@pytest.mark.parametrize("word", ["link", "sweep-abcd1234"])
def test_a_folder_here_is_a_path_without_a_slash_too(made, slurmsweep, word):
    (made / "link").symlink_to(".slurmsweep/sweep-abcd1234")
    (made / "sweep-abcd1234").symlink_to(".slurmsweep/sweep-abcd1234")
    assert status(slurmsweep, word) == "abcd1234"


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "trials",
        "show 1",
        "show 1 --json",
        "best",
        "export",
        "importance",
        "efficiency",
        "check",
        "logs --failed",
    ],
)
def test_commands_that_read_take_the_newest_sweep(made, slurmsweep, command):
    done = slurmsweep(*command.split())

    assert "sweep zzzz0000, the newest here" in done.stderr
    assert done.returncode in (0, 2), done.stderr  # 2: the sweep has no metric


@pytest.fixture
def ran(slurmsweep, write_sweep):
    """Return the id of a sweep whose trials print their point; the second one is the best."""
    script = "import slurmsweep, sys; slurmsweep.init(); slurmsweep.log({'loss': 5 - int(sys.argv[1][4:])}); print('log of', sys.argv[1])"
    file = write_sweep(script, parameters="  x: {values: [1, 3]}", extra="metric: {name: loss}")
    return json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("logs 0", "log of --x=1\n"),
        ("logs best", "log of --x=3\n"),
        ("logs last best", "log of --x=3\n"),
        ("logs best -n 1", "log of --x=3\n"),
        ("logs -n 1 best", "log of --x=3\n"),
        ("logs last -n 1 0", "log of --x=1\n"),
    ],
)
def test_the_log_of_a_trial_of_the_newest_sweep_needs_no_sweep(ran, slurmsweep, words, said):
    done = slurmsweep(*words.split())

    assert (done.returncode, done.stdout) == (0, said), done.stderr


@pytest.mark.parametrize("words", ["show 1", "show best", "show last 1", "show --json best", "show last --json 1"])
def test_a_trial_of_the_newest_sweep_is_shown_without_naming_the_sweep(ran, slurmsweep, words):
    done = slurmsweep(*words.split())

    shown = json.loads(done.stdout)["number"] if "--json" in words else done.stdout.splitlines()[0]
    assert shown in (1, f"trial 1 of sweep {ran}"), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("logs", "name a trial by its number: `slurmsweep logs SWEEP TRIAL`, or TRIAL alone of the newest sweep"),
        ("logs last", ": say which trial of it, or `best`: `slurmsweep logs SWEEP TRIAL`"),
        ("logs last 0 1", "`slurmsweep logs SWEEP TRIAL`"),
        ("show zzzz", "'zzzz' is not the number of a trial: `slurmsweep show SWEEP TRIAL`"),
        ("logs last 0 --failed", "--failed prints the ends of several logs"),
    ],
)
def test_words_that_name_no_trial_are_told_what_would(ran, slurmsweep, words, said):
    done = slurmsweep(*words.split())

    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_python_names_sweeps_by_as_little(made, monkeypatch):
    monkeypatch.chdir(made)

    assert [slurmsweep_package.Sweep(word).id for word in ("last", "abc", "second")] == [
        "zzzz0000",
        "abcd1234",
        "abxy5678",
    ]
    with pytest.raises(UsageError, match="may mean 2 sweeps"):
        slurmsweep_package.Sweep("ab")
    with pytest.raises(NotFoundError):
        slurmsweep_package.Sweep("fourth")


AGENT = """
import sys, slurmsweep
def train(): print("trained")
slurmsweep.agent(sys.argv[1], function=train)
"""


@pytest.mark.parametrize(
    "words",
    [
        ["-c", AGENT],
        ["-m", "slurmsweep", "agent", "--function", "train:train"],
        ["-c", "import sys, slurmsweep; slurmsweep.agent(sys.argv[1])"],
    ],
    ids=["a function of a program", "the command", "the program"],
)
def test_an_agent_of_a_function_in_a_moved_project_is_refused_before_it_claims_a_trial(slurmsweep, tmp_path, words):
    before = tmp_path / "before"
    before.mkdir()
    (before / "train.py").write_text("def train(): print('trained')\n")
    (before / "sweep.yaml").write_text("method: grid\nparameters: {x: {values: [1, 2]}}\n")
    made = slurmsweep("create", "sweep.yaml", "--function", "train:train", cwd=before)
    sweep, now = made.stdout.strip(), before.rename(tmp_path / "now")

    done = subprocess.run([sys.executable, *words, sweep], cwd=now, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "--workdir FOLDER" in done.stderr.splitlines()[-1]
    assert "2 pending" in slurmsweep("status", sweep, cwd=now).stdout


def test_a_moved_project_whose_sweep_has_no_program_is_told_how_to_name_its_folder(slurmsweep, tmp_path):
    before = tmp_path / "before"
    before.mkdir()
    make = "import slurmsweep; print(slurmsweep.sweep({'method': 'grid', 'parameters': {'x': {'values': [1, 2]}}}))"
    made = subprocess.run([sys.executable, "-c", make], cwd=before, capture_output=True, text=True, check=True)
    sweep, now = made.stdout.split()[-1], before.rename(tmp_path / "now")

    def agent():
        return subprocess.run(
            [sys.executable, "-c", AGENT, sweep], cwd=now, capture_output=True, text=True, check=False
        )

    refused = agent()
    name = f"import slurmsweep; slurmsweep.Sweep('{sweep}', workdir='.')"
    subprocess.run([sys.executable, "-c", name], cwd=now, check=True)

    assert refused.returncode != 0
    assert refused.stderr.rstrip().endswith(f'--workdir FOLDER` (or slurmsweep.Sweep("{sweep}", workdir=...))')
    assert agent().returncode == 0
    assert "2 finished" in slurmsweep("status", sweep, cwd=now).stdout


@pytest.mark.parametrize(
    "change", [["extend", "{}", "--count", "2"], ["run", "{}", "--workdir", "there", "--backend", "local"]]
)
def test_a6_a_sweep_that_is_changed_later_does_not_become_the_newest(slurmsweep, write_sweep, tmp_path, change):
    file = write_sweep("", "  x: {min: 0.0, max: 1.0}", "run_cap: 2", "random")
    older, newer = (slurmsweep("create", str(file)).stdout.strip() for _ in range(2))
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "train.py").write_text("")
    made = [row["created"] for row in json.loads(slurmsweep("ls", "--json").stdout)]

    done = slurmsweep(*(word.format(older) for word in change))
    assert done.returncode == 0, done.stderr

    rows = json.loads(slurmsweep("ls", "--json").stdout)
    assert ([row["id"] for row in rows], [row["created"] for row in rows]) == ([newer, older], made)
    assert slurmsweep("status").stdout.startswith(f"sweep {newer}\n")
