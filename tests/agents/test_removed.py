"""A script that removes the folder of its attempt, its trial or the whole sweep: said at once, and no result is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurmsweep.agents.agent import run_agent
from slurmsweep.state import place
from slurmsweep.state.store import SweepStore

LOGS = "import os, shutil, sys, slurmsweep\nslurmsweep.init()\nslurmsweep.log({{'loss': 1}})\nprint('trained', flush=True)\n{}"
METRIC = "metric: {name: loss}"


@pytest.fixture(autouse=True)
def _nothing_in_the_home(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/nonexistent-and-not-to-be-made/cache")


@pytest.mark.parametrize(
    "does",
    [
        "shutil.rmtree(os.environ['SLURMSWEEP_ATTEMPT_DIR'])",
        "os.system('rm -rf $WANDB_DIR')",
        "os.system('rm -rf $SLURMSWEEP_ATTEMPT_DIR/*')",
        "os.remove(os.environ['SLURMSWEEP_ATTEMPT_DIR'] + '/output.log')",
        "shutil.rmtree(os.environ['WANDB_DIR']); os.makedirs(os.environ['SLURMSWEEP_ATTEMPT_DIR'])",
        "os.chdir(os.environ['WANDB_DIR']); [shutil.rmtree(name) for name in os.listdir('.')]",
    ],
)
def test_an_attempt_whose_folder_its_command_removed_is_recorded_with_its_log(slurmsweep, write_sweep, does):
    script = LOGS.format(
        does + "\nprint('and on', flush=True)\nsys.exit(3 if os.environ['SLURMSWEEP_ATTEMPT'] == '1' else 0)"
    )
    file = write_sweep(script, "  x: {values: [1, 2]}", METRIC)

    sweep = json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]

    trials = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert [(trial["state"], trial["cause"]) for trial in trials] == [("failed", "exit 3")] * 2
    for trial in (0, 1):
        lines = slurmsweep("logs", sweep, str(trial)).stdout.splitlines()
        assert lines[:2] == ["trained", "and on"]
        assert lines[2].startswith("slurmsweep: note: the command removed the folder of its attempt")
    assert slurmsweep("check", sweep).returncode == 0
    assert slurmsweep("resubmit", sweep, "--backend", "local").returncode == 0
    trials = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert [(trial["state"], trial["attempt"]) for trial in trials] == [("finished", 2)] * 2


def test_why_there_is_no_metric_is_said(slurmsweep, write_sweep):
    file = write_sweep(LOGS.format("shutil.rmtree(os.environ['WANDB_DIR'])"), "  x: {value: 1}", METRIC)

    sweep = json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]

    [trial] = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert (trial["state"], trial["no_metric"]) == (
        "finished",
        "the command removed the folder with what it had logged",
    )


def test_a_folder_that_was_moved_away_is_made_again(slurmsweep, write_sweep, tmp_path):
    does = f"shutil.move(os.environ['WANDB_DIR'], {str(tmp_path / 'mine')!r})"
    file = write_sweep(LOGS.format(does), "  x: {value: 1}", METRIC)

    done = slurmsweep("run", str(file), "--backend", "local", "--json")

    assert done.returncode == 0, done.stderr
    sweep = json.loads(done.stdout)["id"]
    assert (tmp_path / "mine" / "1" / "output.log").read_text().startswith("trained")
    assert slurmsweep("check", sweep).returncode == 0


def test_a_removed_trial_of_an_earlier_attempt_blocks_no_agent(slurmsweep, write_sweep, tmp_path):
    file = write_sweep("import sys, os\nsys.exit(os.environ['SLURMSWEEP_ATTEMPT'] == '1')", "  x: {values: [1, 2]}")
    sweep = json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]
    shutil.rmtree(tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0" / "0")

    assert slurmsweep("resubmit", sweep, "--backend", "local").returncode == 0

    trials = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert [(trial["state"], trial["attempt"]) for trial in trials] == [("finished", 2)] * 2
    said = slurmsweep("check", sweep)
    assert (said.returncode, said.stdout.count("its folder is gone")) == (1, 1)


#: All agents are at work when the folder goes; the others end after that.
REMOVES = """
import os, subprocess, sys, time
number, sweep = int(os.environ["SLURMSWEEP_TRIAL"]), os.environ["SLURMSWEEP_SWEEP"]
print("trial", number, flush=True)
open(f"here-{number}", "w").close()
while not all(os.path.exists(f"here-{other}") for other in range(3)):
    time.sleep(0.01)
if number == 1:
    subprocess.run(sys.argv[1], shell=True, check=False, stderr=subprocess.DEVNULL)
    open("done", "w").close()
while not os.path.exists("done"):
    time.sleep(0.01)
sys.exit(number)
"""


@pytest.mark.parametrize(
    "line", ["rm -rf .slurmsweep", "rm -rf .slurmsweep/sweep-*", "rm -rf wandb/*/", "rm -rf wandb"]
)
def test_every_agents_outcome_of_a_removed_sweep_is_kept_and_it_is_said(slurmsweep, write_sweep, tmp_path, line):
    """The last line is for a sweep that an older version made in ``wandb/``."""
    file = write_sweep(REMOVES, extra="command: [python, '${program}', " + json.dumps(line) + "]")
    sweep = slurmsweep("create", str(file)).stdout.strip()
    if line == "rm -rf wandb":
        os.unlink(tmp_path / "wandb" / f"sweep-{sweep}")
        shutil.move(tmp_path / ".slurmsweep" / f"sweep-{sweep}", tmp_path / "wandb")

    done = slurmsweep("run", sweep, "--backend", "local", "--jobs", "3")

    assert done.returncode == 5
    assert [text for text in done.stderr.splitlines() if "was removed" in text] == done.stderr.splitlines()[-1:]
    rescued = tmp_path / ".slurmsweep" / "rescued"
    assert str(rescued) in done.stderr
    deadline = time.monotonic() + 60
    while len(kept := sorted(rescued.glob(f"{sweep}-?-1.json"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for number, path in enumerate(kept):
        document = json.loads(path.read_text())
        assert (document["trial"], document["parameters"], document["exit_code"]) == (number, {"x": number + 1}, number)
        assert document["state"] == ("failed" if number else "finished")
        assert Path(document["log"]).read_text() == f"trial {number}\n"


def test_an_agent_of_a_removed_sweep_says_where_the_outcome_is(slurmsweep, write_sweep, tmp_path):
    sweep = slurmsweep("create", str(write_sweep("import shutil, os\nshutil.rmtree(os.environ['SLURMSWEEP_SWEEP'])")))
    sweep = sweep.stdout.strip()

    done = slurmsweep("agent", sweep)

    kept = tmp_path / ".slurmsweep" / "rescued" / f"{sweep}-0-1.json"
    assert done.returncode == 5
    assert "was removed while trial 0 ran" in done.stderr
    assert str(kept) in done.stderr
    assert json.loads(kept.read_text())["state"] == "finished"


def test_where_the_project_is_gone_too_the_outcome_goes_to_the_home(make_store, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "train.py").write_text(f"import shutil; shutil.rmtree({str(tmp_path / 'project')!r})")
    store = make_store(1, tmp_path / "project")
    command = [sys.executable, "-m", "slurmsweep", "agent", store.layout.folder]
    file = Path(store.layout.manifest)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"workdir": str(tmp_path)}))

    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        check=False,
        capture_output=True,
    )

    assert done.returncode == 5
    kept = tmp_path / "cache" / "slurmsweep" / "rescued" / "abcd1234-0-1.json"
    assert json.loads(kept.read_text())["trial"] == 0
    assert str(kept) in done.stderr.decode()
    assert not (tmp_path / "project").exists()


def test_only_what_the_filesystem_says_itself_counts_as_removed(make_store, tmp_path, monkeypatch):
    store = SweepStore.open(make_store(1).layout.folder)
    folder, device = store.layout.folder, store.device

    assert not place.is_removed(folder, device)
    shutil.move(folder, tmp_path / "away")
    assert place.is_removed(folder, device)
    assert not place.is_removed(folder, device + 1)  # what is there is another filesystem: it is not mounted

    def stale(path, **_):
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(os, "stat", stale)
    assert not place.is_removed(folder, device)


def test_a_lost_journal_alone_is_tried_again_as_before(make_store, tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text("import os; os.remove(os.environ['SLURMSWEEP_SWEEP'] + '/journal.log')")
    store = SweepStore.open(make_store(1).layout.folder)
    monkeypatch.setattr("slurmsweep.agents.agent._RECORD_AGAIN", (0,))
    said = []

    with pytest.raises(Exception, match="it is missing; `slurmsweep check` says what can be recovered"):
        run_agent(store, 1, dict(os.environ), said.append)

    assert any("trying again in 0 s" in text for text in said)
    assert Path(store.layout.outcome((0, 1))).exists()
