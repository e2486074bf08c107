"""Runs Slurm's own programs: argument lists, a time limit, and errors that say what did not answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds. Slurm's own clients give up after MessageTimeout (10 s by default) or a few times that.
_TIMEOUT = 60


def available() -> bool:
    """Whether ``sbatch`` is found on this machine."""
    return installed("sbatch")


def require_sbatch() -> None:
    """Raise SchedulerUnavailableError unless ``sbatch`` is found on this machine."""
    if not available():
        raise SchedulerUnavailableError(
            "there is no sbatch on this machine: use --backend local, or log in to the cluster"
        )


def installed(program: str) -> bool:
    """Whether a program is found on this machine."""
    return shutil.which(program) is not None


def call(*argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program of Slurm's with ``text`` as its input and return what it said, whatever its exit code.

    Raises:
        SchedulerUnavailableError: it is not installed, or did not answer.
    """
    try:
        return subprocess.run(
            argv,
            env=_environment(os.environ),
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise SchedulerUnavailableError(f"there is no {argv[0]} on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise SchedulerUnavailableError(f"{argv[0]} did not answer within {_TIMEOUT} s") from error


def answer(*argv: str) -> str:
    """Standard output of a program of Slurm's. Raises SchedulerUnavailableError with its own words where it fails."""
    done = call(*argv)
    if done.returncode != 0:
        raise SchedulerUnavailableError(f"{argv[0]}: {first_line(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def sacct(*options: str) -> tuple[str, str]:
    """Ask Slurm's accounting; return what it says, and what became of the question.

    That is ``used``; ``off`` where there is no accounting; else the words with which it failed, and then nothing
    follows from its silence. Never raises.
    """
    if not installed("sacct"):
        return "", "off"
    try:
        done = call("sacct", "-n", "-P", *options)
    except SchedulerUnavailableError as error:
        return "", str(error)
    if done.returncode == 0:
        return done.stdout, "used"
    return "", "off" if "disabled" in done.stderr else first_line(done.stderr) or f"exit code {done.returncode}"


def as_outside_of_jobs(*variables: str) -> list[str]:
    """What stands before sbatch: without ``variables``, and without what a surrounding job has set.

    sbatch would take that for wishes about the new job.
    """
    inherited = [name for name in os.environ if name.startswith("SLURM_") and name != "SLURM_CONF"]
    return ["env", *(word for name in (*inherited, *variables) for word in ("-u", name)), "LC_ALL=C"]


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """English words, and none of a user's own formats."""
    unset = ("SQUEUE_", "SACCT_")
    kept = {name: value for name, value in environ.items() if not name.startswith(unset)}
    return kept | {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}
