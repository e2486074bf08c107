"""How the sweep beside this file was made: by the version before its modules were renamed (2ec9dd7), on a real Slurm.

    SLURM_CONF=... PYTHON_OF_THAT_VERSION make.py            # tests/cluster/up starts a cluster

It is not made again: later versions have to go on with it as it is. Of its 14 trials some ran here and some in Slurm:

* 0 and 2 finished here; 1 failed here, and failed again in Slurm;
* 3 finished in an array; 4 was killed by signal 9, was given back and finished; 5 lost its agent to a ``kill -9``;
  6 ran into its time limit; 7 was cancelled by ``scancel``;
* the sweep was paused while they ran, and resumed;
* an array for the others was refused (there is no such partition);
* 5 and 6 are given back to an array with more time that may not begin for an hour, and that nobody starts any more;
* 8 to 13 wait.

``files/`` is the sweep's folder and what stands beside it; :data:`PLACES` says what stands there for paths of the
machine. ``expected.json`` is what the old version answered to :data:`QUESTIONS` in the surroundings of
:func:`environment`: Slurm's programs are there, and know no job any more.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
CLUSTER = "slurmsweeplab"

#: What stands in the files, and what it stands for: the folder around the sweep, and the interpreter.
PLACES = ("@FOLDER@", "@PYTHON@")

#: Commands that are asked, each with the sweep and ``--json``.
QUESTIONS = ("status", "trials", "best", "check")

TRAIN = '''\
"""A trial whose end depends on its number and attempt."""

import os
import signal
import sys
import time

import slurmsweep as wandb

trial, attempt = int(os.environ["SLURMSWEEP_TRIAL"]), int(os.environ["SLURMSWEEP_ATTEMPT"])
with wandb.init() as run:
    for step in range(3):
        wandb.log({"loss": (trial - 9) ** 2 + 0.5 / (step + 1)})
    print("trial", trial, "attempt", attempt, flush=True)
    if trial == 1 and attempt < 3:
        sys.exit(3)
    if trial == 4 and attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if trial == 5 and attempt == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1)
    if trial in (6, 7) and attempt == 1:
        time.sleep(600)
'''
YAML = """\
program: train.py
method: grid
name: golden
metric: {name: loss, goal: minimize}
parameters:
  lr: {values: [0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]}
  opt:
    parameters:
      name: {values: [sgd, adam]}
slurm: {time: 1, mem: 200M}
"""


def environment(folder: Path, python: str) -> dict[str, str]:
    """Surroundings in which the recorded answers hold: of this cluster, whose programs know no job any more."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    answers = {
        "squeue": "exit 0",
        "sacct": "echo Slurm accounting storage is disabled >&2; exit 1",
        "scancel": "exit 0",
        "sinfo": "echo 'n1|main*|1-00:00:00|16000'",
        "sbatch": "for script; do :; done\n"
        "grep -q partition=nope $script && { echo invalid partition specified: nope >&2; exit 1; }\n"
        "echo Submitted batch job 4711",
    }
    for name, answer in answers.items():
        (programs / name).write_text(f"#!/bin/sh\n{answer}\n")
        (programs / name).chmod(0o755)
    (folder / "slurm.conf").write_text(f"ClusterName={CLUSTER}\n")
    path = os.pathsep.join([str(programs), os.path.dirname(python), "/usr/bin", "/bin"])
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "SLURM"))}
    return clean | {"PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}


def substituted(text: str, folder: Path, python: str, *, back: bool = False) -> str:
    """Return a text with :data:`PLACES` in place of the machine's paths; ``back`` the other way round."""
    for place, path in zip(PLACES, (str(folder), python), strict=True):
        text = text.replace(*((place, path) if back else (path, place)))
    return text


def main() -> None:
    """Make the sweep, and ask it."""
    folder = Path(tempfile.mkdtemp(prefix="golden-", dir="/tmp"))
    (folder / "train.py").write_text(TRAIN)
    (folder / "sweep.yaml").write_text(YAML)
    sweep = slurmsweep(folder, "create", "sweep.yaml").stdout.strip()
    happen(folder, sweep)
    for file in sorted((HERE / "files").rglob("*")) if (HERE / "files").exists() else ():
        file.unlink() if file.is_file() else None
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        target = HERE / "files" / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes()
        if file.name != "journal.log":  # whose lines have checksums
            content = substituted(content.decode(), folder, sys.executable).encode()
        target.write_bytes(content)
    answers = {}
    for name in QUESTIONS:
        done = slurmsweep(folder, name, sweep, "--json", environ=environment(folder, sys.executable))
        document = json.loads(substituted(done.stdout, folder, sys.executable))
        answers[name] = {"code": done.returncode, "document": document}
    (HERE / "expected.json").write_text(json.dumps(answers, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(folder)


def slurmsweep(folder: Path, *argv: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "slurmsweep", *argv]
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    print(argv[3:], done.returncode, done.stdout[-300:], done.stderr, sep="\n", flush=True)
    return done


def happen(folder: Path, sweep: str) -> None:
    slurmsweep(folder, "run", sweep, "--backend", "local", "--count", "3")
    slurmsweep(folder, "submit", sweep, "--count", "5", "--width", "5")
    wait_for(folder, sweep, lambda states: states[6] == states[7] == "running" and states[3] == "finished")
    slurmsweep(folder, "pause", sweep)
    [job] = {trial["job"] for trial in trials(folder, sweep) if trial["number"] == 7}
    subprocess.run(["scancel", job], check=True)
    slurmsweep(folder, "resume", sweep)
    slurmsweep(folder, "submit", sweep, "--count", "3", "--partition", "nope")
    while subprocess.run(["squeue", "-h"], check=True, capture_output=True).stdout:
        time.sleep(1)
    slurmsweep(folder, "reconcile", sweep)
    slurmsweep(folder, "resubmit", sweep, "--trials", "1,4", "--wait")
    slurmsweep(folder, "reconcile", sweep)
    slurmsweep(folder, "resubmit", sweep, "--trials", "5,6", "--time", "5", "--sbatch", "begin=now+1hour", "--no-wait")
    jobs = subprocess.run(["squeue", "-h", "-o", "%i"], check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(["scancel", *jobs], check=True)
    while subprocess.run(["squeue", "-h"], check=True, capture_output=True).stdout:
        time.sleep(0.5)


def trials(folder: Path, sweep: str) -> list[dict]:
    return json.loads(slurmsweep(folder, "trials", sweep, "--json").stdout)


def wait_for(folder: Path, sweep: str, question: Callable[[dict[int, str]], bool]) -> None:
    deadline = time.monotonic() + 300
    while not question({trial["number"]: trial["state"] for trial in trials(folder, sweep)}):
        assert time.monotonic() < deadline
        time.sleep(1)


if __name__ == "__main__":
    main()
