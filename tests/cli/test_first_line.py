"""A command that does not do what it was asked says so in its first line, and does not exit with 0."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import SweepStore

FAILS = "import sys\nfrom model import build\nbuild(sys.argv[1])\n"
BROKEN, WHOLE = "def build(x):\n    raise KeyError('hidden')\n", "def build(x):\n    return x\n"


@pytest.fixture
def sweep_of(make_store):
    """Return the folder of a sweep whose trials ended so, one after the other; those left are pending."""

    def make(*ends, trials=None) -> str:
        store = make_store(trials or len(ends))
        (Path(store.manifest.workdir) / "train.py").write_text("pass")
        for number, end in enumerate(ends):
            claim = store.claim(Owner("elsewhere", number, 1, "b"))
            if end != "running":
                store.finish(claim, Outcome(TrialState(end), "" if end == "finished" else "exit 1", ended=1.0))
        return store.layout.folder

    return make


def first_line(done) -> tuple:
    return done.returncode, done.stderr.partition("\n")[0].removeprefix("slurmsweep: ")


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["done", "rehearsed"])
@pytest.mark.parametrize(
    ("ends", "argv", "code", "said"),
    [
        (["finished"] * 3, (), 0, "nothing to run again: all 3 trials finished"),
        (["finished", "running"], (), 0, "nothing to run again: 1 running, 1 finished"),
        (["finished", "running"], ("--trials", "1"), 1, "nothing {was} run again: trial 1 runs"),
        (["finished", "running", "running"], ("--trials", "0-2"), 1, "nothing {was} run again: trials 1, 2 run"),
        (
            ["finished", "failed", "running"],
            ("--trials", "1,2"),
            1,
            "1 trial {are} run again, and 1 not: trial 2 runs",
        ),
        (["finished"], ("--trials", "9"), 3, "sweep abcd1234 has trials 0 to 0: there is no trial 9"),
        (["failed"], ("--cause", "oom"), 0, "nothing to run again: no trial ended so; of all trials 1 failed"),
    ],
)
def test_resubmit(slurmsweep, sweep_of, dry, ends, argv, code, said):
    done = slurmsweep("resubmit", sweep_of(*ends), "--backend", "local", *argv, *dry)

    words = {"was": "would be", "are": "would be"} if dry else {"was": "was", "are": "is"}
    assert first_line(done) == (code, said.format(**words))


def test_a_trial_that_never_ran_is_not_run_again(slurmsweep, sweep_of):
    done = slurmsweep("resubmit", sweep_of("finished", trials=2), "--trials", "1", "--backend", "local")

    assert first_line(done) == (
        1, "nothing was run again: trial 1 never ran: `slurmsweep submit` starts new trials"
    )  # fmt: skip


def test_a_rehearsal_tells_of_open_trials_that_resubmit_starts(slurmsweep, sweep_of):
    folder = sweep_of("finished", "failed", trials=4)

    planned = slurmsweep("resubmit", folder, "--backend", "local", "--dry-run")
    done = slurmsweep("resubmit", folder, "--backend", "local")

    assert planned.returncode == 0
    assert planned.stderr.splitlines()[1:] == ["slurmsweep: 2 trials would start that no job is for yet"]
    assert "4 finished" in done.stdout


def test_a_sweep_whose_first_trials_all_failed_alike_is_mended_first(slurmsweep, write_sweep):
    """The words after "no further trials" name what helps; a command that is given too early counts truly."""
    file = write_sweep("raise ValueError('no')", "  x: {values: [1, 2, 3, 4, 5, 6, 7]}")
    stopped = slurmsweep("run", str(file), "--backend", "local")
    assert "no further trials: the first 5 trials all failed alike" in stopped.stderr
    said = " ".join(stopped.stdout.partition("  next ")[2].split())
    look, mended = re.findall("`slurmsweep (.*?)`", said)
    assert look.startswith("logs ")
    assert said.endswith("runs them again and starts the 2 open trials")

    early = slurmsweep(*mended.split(), "--backend", "local", "--dry-run")
    assert first_line(early)[1] == "2 trials would be started, and 5 not run again: 5 trials fail alike"

    (file.parent / "train.py").write_text("pass")
    assert "7 finished" in slurmsweep(*mended.split(), "--backend", "local").stdout


def test_trials_that_never_ran_are_not_counted_as_run_again(slurmsweep, write_sweep):
    script = "import os, sys\nif sys.argv[1] == '--x=4': os.kill(os.getpid(), 9)\nraise ValueError('no')"
    file = write_sweep(script, "  x: {values: [1, 2, 3, 4, 5, 6]}")
    slurmsweep("run", str(file), "--backend", "local", "--count", "4")

    said = first_line(slurmsweep("resubmit", "last", "--backend", "local", "--dry-run"))[1]

    assert said == "3 trials would be started, 1 of them again, and 3 not: 3 trials fail alike"


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["done", "rehearsed"])
@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        (["finished"] * 2, 0, "nothing to start: all 2 trials finished"),
        (["finished", "running"], 0, "nothing to start: 1 running, 1 finished"),
        (
            ["finished", "failed"],
            1,
            "nothing to start: 1 finished, 1 failed; `slurmsweep resubmit` runs again what did not finish",
        ),
    ],
)
def test_run(slurmsweep, sweep_of, dry, ends, code, said):
    done = slurmsweep("run", sweep_of(*ends), "--backend", "local", *dry)

    assert first_line(done) == (code, said)


def test_submit_says_that_it_runs_nothing_again(slurmsweep, sweep_of, tmp_path):
    for program in ("sbatch", "squeue", "scontrol", "sacct", "sinfo"):
        (tmp_path / program).write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / program).chmod(0o755)

    done = slurmsweep("submit", sweep_of("finished", "crashed"), PATH=f"{tmp_path}:/usr/bin:/bin")

    assert first_line(done) == (
        1, "nothing to submit: 1 finished, 1 crashed; `slurmsweep resubmit` runs again what did not finish"
    )  # fmt: skip


def test_cancel_says_that_an_agent_elsewhere_goes_on(slurmsweep, sweep_of):
    folder = sweep_of("running")

    done = slurmsweep("cancel", folder)

    but = "an agent on elsewhere cannot be ended from here: run the same command there"
    assert first_line(done) == (1, f"sweep {folder} is canceled; but {but}")


@pytest.mark.parametrize(
    ("argv", "said"),
    [(("--state", "failed"), "no trial is failed"), (("--trials", "0"), "trial 0 waits to be run already")],
)
def test_delete_says_why_there_is_nothing_to_do(slurmsweep, sweep_of, argv, said):
    folder = sweep_of("finished")
    if argv[0] == "--trials":
        slurmsweep("delete", folder, *argv)

    assert first_line(slurmsweep("delete", folder, *argv)) == (0, f"nothing to run again: {said}")


def test_a_mistake_in_a_module_is_mended_and_the_trials_run_again(slurmsweep, write_sweep, tmp_path):
    (tmp_path / "model.py").write_text(BROKEN)
    file = write_sweep(FAILS, "  x: {values: [1, 2, 3, 4]}", "command: [python, -m, train, '${args}']")
    assert slurmsweep("run", str(file), "--backend", "local").returncode == 1
    [folder] = (tmp_path / "wandb").iterdir()

    planned = slurmsweep("resubmit", str(folder), "--backend", "local", "--dry-run", "--json")
    refused = slurmsweep("resubmit", str(folder), "--backend", "local")

    assert (planned.returncode, json.loads(planned.stdout)["groups"]) == (1, [])
    assert first_line(refused) == (1, "nothing was run again: 4 trials fail alike")
    assert (
        "not run again: trials 0, 1, 2, 3 (fail alike: KeyError: 'hidden' (model.py, line 2); mend it" in refused.stderr
    )
    (tmp_path / "model.py").write_text(WHOLE)
    done = slurmsweep("resubmit", str(folder), "--backend", "local")
    assert first_line(done) == (0, "to be run again: trials 0, 1, 2, 3 (exit 1; model.py has changed)")
    assert SweepStore.open(str(folder)).replay().counts() == {TrialState.FINISHED: 4}


def test_three_of_fifteen_that_lost_their_connection_run_again_and_finish(slurmsweep, write_sweep, tmp_path):
    script = (
        "import os\n"
        "if os.environ['SLURMSWEEP_TRIAL'] in '036' and os.environ['SLURMSWEEP_ATTEMPT'] == '1':\n"
        "    try:\n"
        "        raise ConnectionResetError(104, 'Connection reset by peer')\n"
        "    except OSError as error:\n"
        "        raise RuntimeError('cannot load the data') from error\n"
    )
    slurmsweep("run", str(write_sweep(script, "  x: {min: 1, max: 8}")), "--backend", "local")
    [folder] = (tmp_path / "wandb").iterdir()

    done = slurmsweep("resubmit", str(folder), "--backend", "local")

    assert first_line(done) == (0, "to be run again: trials 0, 3, 6 (exit 1; such an error may pass)")
    assert "8 finished" in done.stdout


def test_a_paused_sweep_with_nothing_left_is_not_said_to_be_at_fault(slurmsweep, sweep_of):
    folder = sweep_of("finished", "finished")
    slurmsweep("pause", folder)

    assert first_line(slurmsweep("run", folder, "--backend", "local")) == (
        0, "nothing to start: all 2 trials finished"
    )  # fmt: skip


def test_each_reason_to_run_trials_again_has_its_own_list(slurmsweep, write_sweep):
    script = "import sys\nx = int(sys.argv[1][4:])\nif x % 5 == 0: raise ValueError('no')\nsys.exit(7 if x == 8 else 0)"
    file = write_sweep(script, "  x: {values: [0, 5, 10, 8, 1]}")
    slurmsweep("run", str(file), "--backend", "local", "--max-fails", "0")
    (file.parent / "train.py").write_text("pass")

    said = slurmsweep("resubmit", "last", "--backend", "local", "--dry-run").stderr.splitlines()

    assert [line.removeprefix("slurmsweep: ") for line in said if "run again" in line] == [
        "would be run again: trials 0, 1, 2 (exit 1; train.py has changed)",
        "would be run again: trial 3 (exit 7)",
    ]
