"""Running chosen trials again, removing a sweep, and removing what its trials left: shown, asked for, never while it runs."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import slurmsweep as package
from slurmsweep.agents.identity import this_process
from slurmsweep.errors import UsageError
from slurmsweep.state import files, paths

#: Leaves a checkpoint of 1000 bytes and a saved file; the loss is x, and x = 2 fails.
SCRIPT = """
import os, slurmsweep
run = slurmsweep.init()
slurmsweep.log({"loss": run.config["x"]})
with open(os.environ["SLURMSWEEP_CHECKPOINT_DIR"] + "/last", "w") as file:
    file.write("x" * 1000)
assert run.config["x"] != 2
"""


@pytest.fixture
def sweep(slurmsweep, write_sweep):
    """Return the id of a sweep of four trials of which the third one failed."""
    file = write_sweep(SCRIPT, parameters="  x: {values: [0, 1, 2, 3]}", extra="metric: {name: loss}")
    done = slurmsweep("run", str(file), "--backend", "local", "--json")
    return json.loads(done.stdout)["id"]


def folder_of(tmp_path: Path, sweep: str) -> Path:
    return tmp_path / ".slurmsweep" / f"sweep-{sweep}"


def checkpoints(tmp_path: Path, sweep: str) -> list[str]:
    return sorted(path.parts[-3] for path in folder_of(tmp_path, sweep).glob("trials/0/*/checkpoints/last"))


# ------------------------------------------------------------------------------------------------ rerun


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["--trials", "1,3"], [1, 3]),
        (["--trials", "0-1"], [0, 1]),
        (["--state", "failed"], [2]),
        (["--where", "loss<1.5"], [0, 1]),
        (["--where", "x>=2"], [2, 3]),
        (["--trials", "0,3", "--where", "x!=0"], [3]),
    ],
)
@pytest.mark.parametrize("command", ["rerun", "delete"])
def test_a10_chosen_trials_are_run_again(sweep, slurmsweep, command, words, numbers):
    document = json.loads(slurmsweep(command, sweep, *words, "--dry-run", "--json").stdout)
    assert [one["trial"] for one in document] == numbers
    assert slurmsweep(command, sweep, *words).stderr == (
        f"slurmsweep: trial{'s'[: len(numbers) - 1]} {', '.join(map(str, numbers))} will be run again\n"
        f"slurmsweep: `slurmsweep run {sweep}` starts them\n"
    )

    rows = json.loads(slurmsweep("trials", sweep, "--state", "pending", "--json").stdout)
    assert [row["number"] for row in rows] == numbers


def test_a_trial_that_is_to_be_run_again_shows_no_older_result(sweep, slurmsweep):
    slurmsweep("rerun", sweep, "--trials", "0")

    [row] = json.loads(slurmsweep("trials", sweep, "--state", "pending", "--json").stdout)
    assert (row["metric"], row["seconds"], row["exit_code"], row["attempt"]) == (None, None, None, 1)
    assert json.loads(slurmsweep("best", sweep, "--json").stdout)["number"] == 1


def test_a_condition_that_no_trial_meets_is_said(sweep, slurmsweep):
    assert slurmsweep("rerun", sweep, "--where", "loss>9").stderr == (
        "slurmsweep: nothing to run again: no such trial has loss>9\n"
    )


def test_trials_run_again_from_python(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert package.Sweep(sweep).rerun([3], ["failed"]) == [2, 3]
    with pytest.raises(UsageError, match="lost"):
        package.Sweep(sweep).rerun(states=["lost"])


# --------------------------------------------------------------------------------------------------- rm


def answered(answer: str, *argv: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run the command line on a terminal on which a person writes ``answer``."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        return subprocess.run(
            [sys.executable, "-m", "slurmsweep", *argv],
            cwd=cwd,
            stdin=theirs,
            stderr=theirs,
            stdout=subprocess.PIPE,
            timeout=120,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_sweep_is_removed_with_its_link_after_it_was_shown(sweep, slurmsweep, tmp_path):
    folder = folder_of(tmp_path, sweep)
    found = files.measure(str(folder))

    done = slurmsweep("rm", sweep, "--yes", "--json")

    assert json.loads(done.stdout) == {
        "sweep": sweep,
        "folder": str(folder),
        "links": [str(tmp_path / "wandb" / f"sweep-{sweep}")],
        "size": found.size,
        "entries": found.entries + 1,
        "unknown": [],
        "removed": True,
    }
    assert os.listdir(tmp_path / ".slurmsweep") == [".gitignore"]
    assert os.listdir(tmp_path / "wandb") == []
    assert slurmsweep("status", sweep).returncode == 3


def test_what_would_be_removed_is_shown_with_its_size(sweep, slurmsweep, tmp_path):
    done = slurmsweep("rm", sweep, "--dry-run")

    assert done.returncode == 0
    assert f"{folder_of(tmp_path, sweep)}: " in done.stderr
    assert "4 trials were started; done: 3" in done.stderr
    assert folder_of(tmp_path, sweep).exists()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("yes\n", 0), ("\n", 1), ("n\n", 1), ("\x04", 1)])
def test_only_yes_removes(sweep, tmp_path, answer, code):
    assert answered(answer, "rm", sweep, cwd=tmp_path).returncode == code
    assert folder_of(tmp_path, sweep).exists() == bool(code)


def test_without_a_terminal_nothing_is_removed_unless_told_to(sweep, slurmsweep, tmp_path):
    done = slurmsweep("rm", sweep)

    assert (done.returncode, "no terminal to ask on; --yes answers" in done.stderr) == (2, True)
    assert folder_of(tmp_path, sweep).exists()


@pytest.mark.parametrize("words", [["rm", "--yes"], ["clean", "--yes"]])
def test_a10_a_sweep_with_a_living_agent_stays(make_store, start_agent, slurmsweep, tmp_path, words):
    (tmp_path / "train.py").write_text("import time; print('started', flush=True); time.sleep(600)")
    store = make_store(2)
    agent = start_agent(store, "started")
    try:
        done = slurmsweep(words[0], "abcd1234", *words[1:])
        assert (done.returncode, "sweep abcd1234 is alive: trial 0 runs (process" in done.stderr) == (2, True)
        assert os.path.isdir(store.layout.folder)
    finally:
        agent.kill()
        agent.wait()
    assert slurmsweep(words[0], "abcd1234", *words[1:]).returncode == 0


def on_another_machine(store) -> None:
    """Claim a trial as an agent of another machine does."""
    store.claim(this_process({})._replace(host="elsewhere"))


@pytest.mark.parametrize("words", [["rm", "--yes"], ["clean", "--yes"]])
def test_a_trial_of_which_only_another_machine_can_tell_needs_force(make_store, slurmsweep, words):
    store = make_store(2)
    on_another_machine(store)

    done = slurmsweep(words[0], "abcd1234", *words[1:])
    forced = slurmsweep(words[0], "abcd1234", *words[1:], "--force")

    assert done.returncode == 2
    assert done.stderr.endswith(
        "sweep abcd1234 may be alive. It cannot be told whether trial 0 runs: only elsewhere can tell: ask there. "
        "Where you know that nothing of it runs, --force goes on\n"
    )
    assert (forced.returncode, "it is not known whether trial 0 runs: only elsewhere can tell" in forced.stderr) == (
        0,
        True,
    )
    assert os.path.isdir(store.layout.folder) == (words[0] == "clean")


def test_from_python_force_is_for_what_cannot_be_told(make_store, start_agent, tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text("import time; print('started', flush=True); time.sleep(600)")
    monkeypatch.chdir(tmp_path)
    store = make_store(2)
    agent = start_agent(store, "started")
    on_another_machine(store)
    try:
        with pytest.raises(UsageError, match="is alive: trial 0 runs"):
            package.Sweep("abcd1234").remove(force=True)
    finally:
        agent.kill()
        agent.wait()
    with pytest.raises(UsageError, match="cannot be told whether trial 1 runs"):
        package.Sweep("abcd1234").remove()

    package.Sweep("abcd1234").remove(force=True)

    assert not os.path.exists(store.layout.folder)


def test_an_agent_that_waits_while_its_sweep_is_removed_ends_without_a_trial(make_store, slurmsweep_process, tmp_path):
    (tmp_path / "train.py").write_text("open('ran', 'w')")
    store = make_store(2)
    agent = None
    try:
        with store.transaction():
            agent = subprocess.Popen(
                [sys.executable, "-m", "slurmsweep", "agent", store.layout.folder], stderr=subprocess.PIPE
            )
            link = tmp_path / "wandb" / "sweep-abcd1234"
            time.sleep(1)  # it waits for the lock by now, or comes later: the same must hold
            os.rename(store.layout.folder, tmp_path / ".slurmsweep" / ".removed-abcd1234")
            link.unlink()
        assert agent.wait(120) != 0
        assert b"Traceback" not in agent.stderr.read()
    finally:
        if agent:
            agent.kill()
            agent.stderr.close()
    assert not (tmp_path / "ran").exists()


def test_a_removal_that_was_killed_half_way_is_ended_by_the_next_one(sweep, slurmsweep, tmp_path):
    """The process is killed by the kernel at a system call of the removal, after the folder has its other name."""
    program = (
        "import os, signal, shutil, sys\n"
        "from slurmsweep.cli.main import main\n"
        "unlink, count = os.unlink, [0]\n"
        "def half(path, *a, **k):\n"
        "    count[0] += 1\n"
        "    if count[0] == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return unlink(path, *a, **k)\n"
        "os.unlink = half\n"
        f"main(['rm', '{sweep}', '--yes'])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False, stderr=subprocess.DEVNULL)
    assert killed.returncode == -9
    assert slurmsweep("status", sweep).returncode == 3
    assert slurmsweep("ls").returncode == 0
    assert (tmp_path / ".slurmsweep" / f".removed-{sweep}").exists()

    done = slurmsweep("rm", sweep, "--yes")

    assert (done.returncode, f"what an earlier `rm` of sweep {sweep} left" in done.stderr) == (0, True)
    assert os.listdir(tmp_path / ".slurmsweep") == [".gitignore"]
    assert os.listdir(tmp_path / "wandb") == []


def test_only_its_owner_removes_a_sweep_and_not_what_others_keep_closed(make_store, open_folder, as_user):
    store = make_store(3, open_folder)
    closed = Path(store.layout.trial(0))
    closed.mkdir(parents=True)
    (closed / "theirs").touch()
    for path in [open_folder, *open_folder.rglob("*")]:
        os.lchown(path, 4242, -1)
    os.chmod(store.layout.folder, 0o2770)
    shutil.chown(store.layout.folder, 4242, 4711)
    shutil.chown(closed, 4711)
    os.chmod(closed, 0o700)

    strangers = as_user(4711, "rm", store.layout.folder, "--yes")
    owners = as_user(4242, "rm", "abcd1234", "--yes")

    assert strangers.returncode != 0
    assert (owners.returncode, f"{closed} is another user's" in owners.stderr) == (2, True)
    assert os.path.isfile(store.layout.manifest)
    shutil.chown(closed, 4242)
    assert as_user(4242, "rm", "abcd1234", "--yes").returncode == 0
    assert not os.path.exists(store.layout.folder)


def test_a_sweep_is_removed_from_python(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    package.Sweep(sweep).remove()

    assert paths.sweep_ids(str(tmp_path)) == []


# ------------------------------------------------------------------------------------------------ clean


def test_done_trials_lose_their_checkpoints_and_the_best_and_the_failed_keep_theirs(sweep, slurmsweep, tmp_path):
    before = slurmsweep("trials", sweep, "--json").stdout

    done = slurmsweep("clean", sweep, "--yes")

    assert done.returncode == 0, done.stderr
    assert checkpoints(tmp_path, sweep) == ["0", "2"]  # the best, and the one that failed
    assert slurmsweep("trials", sweep, "--json").stdout == before
    assert slurmsweep("check", sweep).returncode == 0
    assert slurmsweep("logs", sweep, "1").returncode == 0
    assert slurmsweep("clean", sweep, "--yes").stderr == "slurmsweep: nothing to remove\n"


@pytest.mark.parametrize(
    ("words", "left"), [(["0"], ["2"]), (["2"], ["0", "1", "2"]), ([], ["0", "2"]), (["9"], ["0", "1", "2", "3"])]
)
def test_so_many_of_the_best_keep_their_files(sweep, slurmsweep, tmp_path, words, left):
    assert slurmsweep("clean", sweep, "--yes", "--keep-best", *words).returncode == 0
    assert checkpoints(tmp_path, sweep) == left


def test_what_would_be_removed_is_shown_first(sweep, slurmsweep, tmp_path):
    [document] = json.loads(slurmsweep("clean", sweep, "--dry-run", "--json").stdout)

    assert document == {
        "sweep": sweep,
        "trials": [1, 3],
        "best": [0],
        "unsynced": [],
        "size": 2000,
        "entries": 4,
        "unknown": [],
        "cleaned": False,
    }
    assert slurmsweep("clean", sweep, "--dry-run").stdout.splitlines()[2].split()[:4] == [sweep, "2.0", "KiB", "4"]
    assert slurmsweep("clean", sweep).returncode == 2
    assert answered("n\n", "clean", sweep, cwd=tmp_path).returncode == 1
    assert len(checkpoints(tmp_path, sweep)) == 4


def test_sweeps_are_chosen_by_age(sweep, slurmsweep, tmp_path):
    journal = folder_of(tmp_path, sweep) / "journal.log"
    assert slurmsweep("clean", "--older", "30d", "--yes").stderr == "slurmsweep: nothing to remove\n"
    assert slurmsweep("clean", "--older", "soon").returncode == 2
    assert slurmsweep("clean").returncode == 2
    old = time.time() - 31 * 86400
    os.utime(journal, (old, old))

    assert slurmsweep("clean", "--older", "30d", "--yes").returncode == 0
    assert checkpoints(tmp_path, sweep) == ["0", "2"]


def test_wandb_runs_that_were_never_uploaded_stay(sweep, slurmsweep, tmp_path):
    runs = folder_of(tmp_path, sweep) / "trials" / "0" / "1" / "wandb"
    run = runs / f"offline-run-20260101_000000-{sweep}-1"
    run.mkdir(parents=True)
    (run / f"run-{sweep}-1.wandb").write_bytes(b"x")

    done = slurmsweep("clean", sweep, "--yes")

    assert (done.returncode, "1 trial keeps wandb runs that were never uploaded" in done.stderr) == (0, True)
    assert runs.exists()
    assert checkpoints(tmp_path, sweep) == ["0", "2"]
    assert slurmsweep("clean", sweep, "--yes", "--unsynced").returncode == 0
    assert not runs.exists()


def test_a_trial_that_runs_again_meanwhile_keeps_its_files(sweep, slurmsweep, tmp_path, monkeypatch):
    from slurmsweep.control.session import Session
    from slurmsweep.control.upkeep import clean

    monkeypatch.chdir(tmp_path)
    session = Session.open_to_run(sweep)
    cleaning = clean.plan_cleaning(session, 1)
    slurmsweep("rerun", sweep, "--trials", "3")

    assert clean.clean(session, cleaning) == 1
    assert checkpoints(tmp_path, sweep) == ["0", "2", "3"]


# ------------------------------------------------------------------------------------- what must never go


def test_a_folder_that_only_holds_a_copy_of_a_sweeps_files_stays(sweep, slurmsweep, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(folder_of(tmp_path, sweep), project)
    (project / "thesis.tex").touch()

    done = slurmsweep("rm", str(project), "--yes")

    assert (done.returncode, f"{project} holds the sweep.json of sweep {sweep}" in done.stderr) == (2, True)
    assert (project / "thesis.tex").exists()
    assert folder_of(tmp_path, sweep).exists()


@pytest.mark.parametrize("name", ["aaaa0000", ".removed-aaaa0000"])
def test_a_link_under_another_sweeps_name_leads_no_removal_astray(sweep, slurmsweep, tmp_path, name):
    link = tmp_path / ".slurmsweep" / (name if name.startswith(".") else f"sweep-{name}")
    link.symlink_to(folder_of(tmp_path, sweep))

    done = slurmsweep("rm", "aaaa0000", "--yes")

    assert done.returncode == 3, done.stderr
    assert checkpoints(tmp_path, sweep) == ["0", "1", "2", "3"]
    assert slurmsweep("ls").returncode == 0
    assert slurmsweep("status").returncode == 0


def test_links_in_a_sweep_are_removed_and_not_followed(sweep, slurmsweep, tmp_path):
    outside = tmp_path / "data"
    (outside / "checkpoints").mkdir(parents=True)
    (outside / "checkpoints" / "precious").touch()
    trials = folder_of(tmp_path, sweep) / "trials"
    (trials / "0" / "0" / "1" / "data").symlink_to(outside)
    (trials / "9").symlink_to(outside)

    assert slurmsweep("rm", sweep, "--yes").returncode == 0
    assert (outside / "checkpoints" / "precious").exists()


@pytest.mark.parametrize(
    "linked", ["trials", "trials/0", "trials/0/3", "trials/0/3/checkpoints", "trials/0/3/1", "trials/0/3/wandb"]
)
def test_what_a_link_leads_to_is_not_cleaned(sweep, slurmsweep, tmp_path, linked):
    """A user moved a part of the sweep elsewhere, or a script put a link where one of its folders was."""
    folder = folder_of(tmp_path, sweep)
    for name in ("3/wandb/run-x", "3/1/files"):
        (folder / "trials" / "0" / name).mkdir(parents=True, exist_ok=True)
        (folder / "trials" / "0" / name / "saved").touch()
    outside = tmp_path / "elsewhere"
    os.rename(folder / linked, outside)
    (folder / linked).symlink_to(outside)
    before = sorted(outside.rglob("*"))

    done = slurmsweep("clean", sweep, "--yes", "--unsynced")

    assert done.returncode == 0, done.stderr
    assert sorted(outside.rglob("*")) == before
    assert (folder / linked).is_symlink()


def test_read_only_folders_of_ones_own_go_too(make_store, open_folder, as_user):
    store = make_store(3, open_folder)
    saved = Path(store.layout.checkpoints(0), "hub", "snapshots")
    saved.mkdir(parents=True)
    (saved / "model").touch()
    for path in [open_folder, *open_folder.rglob("*")]:
        os.lchown(path, 4242, -1)
    for path in (saved, saved.parent):
        os.chmod(path, 0o555)

    removed = as_user(4242, "rm", "abcd1234", "--yes")

    assert removed.returncode == 0, removed.stderr
    assert not os.path.exists(store.layout.folder)


def test_a_submission_while_the_question_waits_keeps_the_sweep(sweep, tmp_path, monkeypatch):
    from slurmsweep.control.session import Session
    from slurmsweep.control.upkeep import remove
    from slurmsweep.state.records import SubmitRecord
    from slurmsweep.state.store import SweepStore

    monkeypatch.chdir(tmp_path)
    session = Session.open_to_run(sweep)
    removal = remove.plan_removal(session)
    with SweepStore.open_to_run(sweep).transaction() as transaction:
        transaction.submit(SubmitRecord("ab12cd34", 4, None))

    with pytest.raises(UsageError, match="jobs were submitted"):
        remove.remove(removal, session)
    assert folder_of(tmp_path, sweep).exists()


def test_a_trial_that_ran_once_more_meanwhile_keeps_its_files(sweep, slurmsweep, tmp_path, monkeypatch):
    from slurmsweep.control.session import Session
    from slurmsweep.control.upkeep import clean

    monkeypatch.chdir(tmp_path)
    session = Session.open_to_run(sweep)
    cleaning = clean.plan_cleaning(session, 1)
    slurmsweep("rerun", sweep, "--trials", "3")
    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0

    assert clean.clean(session, cleaning) == 1
    assert checkpoints(tmp_path, sweep) == ["0", "2", "3"]
