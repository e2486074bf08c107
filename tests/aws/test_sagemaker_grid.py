"""A grid on SageMaker's stand-in meets all that can happen to it, with real agent processes: each trial finishes once.

The stand-in shows the words and rules of SageMaker's documentation; it is not SageMaker.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

TRIALS = 24
SPOT, KILLED, OUT_OF_MEMORY, OUT_OF_TIME = (3, 8), 11, 14, 17
TROUBLED = (*SPOT, KILLED, OUT_OF_MEMORY, OUT_OF_TIME)

#: A troubled trial waits in its first attempt until something happens to it; the second one needs its checkpoint.
SCRIPT = f"""
import os, sys, time
x, attempt = int(sys.argv[1].partition("=")[2]), int(os.environ["SLURMSWEEP_ATTEMPT"])
kept = os.path.join(os.environ["SLURMSWEEP_CHECKPOINT_DIR"], "kept")
if x in {TROUBLED} and attempt == 1:
    memory = bytearray(40_000_000 if x == {OUT_OF_MEMORY} else 1)
    open(kept, "w").write("half way")
    print("up", flush=True)
    time.sleep(600)
if x in {TROUBLED}:
    print("went on from", open(kept).read(), flush=True)
print("done", x)
"""
FILE = f"""
program: train.py
method: grid
parameters:
  x: {{values: {list(range(TRIALS))}}}
aws:
  role: arn:aws:iam::123456789012:role/slurmsweep-job
  image: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/sweeps:1
  instance-type: ml.m5.large
  time: 2:00:00
  spot: true
"""


#: As the image of jobs: a container's first process is number 1 of its own processes, and hears what SageMaker sends.
IMAGE = """\
#!/bin/bash
unshare --pid --fork --mount-proc --kill-child {slurmsweep} "$@" &
trap 'kill -TERM $(cat /proc/$!/task/$!/children)' TERM
while kill -0 $! 2>/dev/null; do wait $!; code=$?; done
exit $code
"""


@pytest.fixture
def image(cloud, tmp_path):
    """Jobs find a slurmsweep that runs in a pid namespace of its own, which is what SageMaker's containers are for it."""
    if subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], check=False).returncode:
        pytest.skip("this user may make no pid namespaces: unshare --pid")
    program = tmp_path / "image" / "slurmsweep"
    program.parent.mkdir()
    program.write_text(IMAGE.format(slurmsweep=shutil.which("slurmsweep")))
    program.chmod(0o755)
    cloud.machines.environ["PATH"] = f"{program.parent}:{cloud.machines.environ['PATH']}"


@pytest.fixture
def told(slurmsweep):
    """Run the command line, which has to succeed unless another exit code is expected; its document."""

    def run(*argv: str, code: int = 0):
        done = slurmsweep(*argv, "--json")
        assert done.returncode == code, (argv, done.stdout, done.stderr)
        return json.loads(done.stdout)

    return run


class Troublemaker:
    """Does something to the jobs of troubled trials, once each, as soon as their scripts are up."""

    def __init__(self, sagemaker, folder: Path) -> None:
        self._sagemaker, self._folder = sagemaker, folder
        self._orders = dict.fromkeys(SPOT, sagemaker.interrupt)
        self._orders |= {KILLED: sagemaker.kill_container, OUT_OF_MEMORY: sagemaker.oom, OUT_OF_TIME: sagemaker.expire}
        self.jobs: dict[int, str] = {}

    def until_all_have_ended(self, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while any(job.ended is None for job in list(self._sagemaker.jobs.values())):
            assert time.monotonic() < deadline, self._told()
            for trial in [trial for trial in self._orders if trial not in self.jobs and self._is_up(trial)]:
                self.jobs[trial] = self._job_of(trial)
                self._orders[trial](self.jobs[trial])
            time.sleep(0.05)

    def _told(self) -> str:
        lives = [job for job in list(self._sagemaker.jobs.values()) if job.ended is None]
        return f"done to {self.jobs}; " + "\n".join(f"{j.name} {j.transitions} {self._output(j.name)}" for j in lives)

    def _is_up(self, trial: int) -> bool:
        log = self._folder / "trials" / "0" / str(trial) / "1" / "output.log"
        return log.exists() and "up\n" in log.read_text()

    def _job_of(self, trial: int) -> str:
        return next(n for n in list(self._sagemaker.jobs) if f"trial {trial}, attempt 1: started" in self._output(n))

    def _output(self, name: str) -> str:
        return self._sagemaker.output(name)


@pytest.mark.usefixtures("image")
def test_a_grid_meets_all_that_can_happen_and_each_trial_finishes_once(cloud, sagemaker, told, tmp_path):
    cloud.machines.slots = 4
    cloud.machines.grace_scale = 0.01
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "sweep.yaml").write_text(FILE)
    sagemaker.lose_answers(1, "CreateTrainingJob")
    sagemaker.throttle(3, "CreateTrainingJob")

    made = told("run", "sweep.yaml", "--backend", "sagemaker", "--no-wait")

    folder = Path(made["folder"])
    assert [(array["jobs"], array["trials"]) for array in made["arrays"]] == [(TRIALS, TRIALS)]
    assert len(sagemaker.jobs) == TRIALS
    trouble = Troublemaker(sagemaker, folder)
    trouble.until_all_have_ended()
    told("reconcile", made["sweep"])
    ended = {row["number"]: row for row in told("trials", made["sweep"])}
    assert Counter(row["state"] for row in ended.values()) == {"finished": TRIALS - 3, "crashed": 3}
    assert {trial: ended[trial]["cause"] for trial in (KILLED, OUT_OF_MEMORY, OUT_OF_TIME)} == {
        KILLED: "signal 9",
        OUT_OF_MEMORY: "signal 9",  # SageMaker says no word of memory, and this machine counts no kill in a container
        OUT_OF_TIME: "timeout",
    }
    for trial in SPOT:  # the same job started again by itself, and its agent went on with the same trial
        assert (ended[trial]["attempt"], ended[trial]["job"]) == (2, trouble.jobs[trial])
        assert len(sagemaker.jobs[trouble.jobs[trial]].marks) == 2
        attempts = told("show", made["sweep"], str(trial))["attempts"]
        assert [(one["state"], one["cause"]) for one in attempts] == [("preempted", "requeued"), ("finished", "")]

    again = told("resubmit", made["sweep"], "--no-wait")

    assert sorted(array["trials"] for array in again["arrays"]) == [1, 2]
    trouble.until_all_have_ended()
    told("reconcile", made["sweep"])
    assert told("check", made["sweep"])["findings"] == []
    ended = {row["number"]: row for row in told("trials", made["sweep"])}
    assert Counter(row["state"] for row in ended.values()) == {"finished": TRIALS}
    assert {trial: row["attempt"] for trial, row in ended.items()} == {
        trial: 2 if trial in TROUBLED else 1 for trial in range(TRIALS)
    }
    for trial in TROUBLED:
        log = folder / "trials" / "0" / str(trial) / "2" / "output.log"
        assert log.read_text() == f"went on from half way\ndone {trial}\n"
    names = [asked["TrainingJobName"] for asked in sagemaker.asked("CreateTrainingJob")]
    assert len(sagemaker.jobs) == TRIALS + 3
    assert set(names) == set(sagemaker.jobs)
    # the lost answer cost one more request, and the throttles three, each for a name that was asked for before
    assert len(names) == len(set(names)) + 4
    limits = [asked["StoppingCondition"]["MaxRuntimeInSeconds"] for asked in sagemaker.asked("CreateTrainingJob")]
    assert Counter(limits[-3:]) == {7200: 2, 14400: 1}  # what ran out of time has twice as much
