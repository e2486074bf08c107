"""Run Slurm's own programs: argument lists, a time limit, and errors that say what did not answer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import lru_cache
from threading import Timer
from typing import TYPE_CHECKING

from slurmsweep.backends.slurm import inherited
from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Seconds. Slurm's own clients give up after MessageTimeout (10 s by default) or a few times that.
_TIMEOUT = 60

#: Job ids in one call: the system limits the length of one argument (128 KiB).
_IDS_PER_CALL = 1000

#: Seconds after which it is said that a command waits for Slurm.
_SILENT = 5.0

#: Variables by which users change what Slurm's programs print, choose and ask.
_OF_USERS = ("SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_", "SCONTROL_", "SLURM_CLUSTERS")

#: Variables of Slurm's that say how to reach it, and nothing of a job.
_OF_SITE = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT")

#: ``  -A, --account=name`` and ``      --container-image=URI`` at the beginning of a line.
_LISTED = re.compile(r"^\s*(?:-\w, )?--([a-z][\w-]+)", re.MULTILINE)


def available() -> bool:
    """Return whether ``sbatch`` is found on this machine."""
    return installed("sbatch")


def require_sbatch() -> None:
    """Raise SchedulerUnavailableError unless ``sbatch`` is found on this machine."""
    if not available():
        raise SchedulerUnavailableError(
            "there is no sbatch on this machine: `run --backend local` runs trials here; or log in to the cluster"
        )


def installed(program: str) -> bool:
    """Return whether a program is found on this machine."""
    return shutil.which(program) is not None


def call(*argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's programs with ``text`` as its input; return what it printed, whatever its exit code.

    Raises:
        SchedulerUnavailableError: the program is not installed or cannot be run, or did not answer in time.
    """
    # English words, and none of a user's own formats, filters and clusters
    environ = {name: value for name, value in os.environ.items() if not name.startswith(_OF_USERS)}
    # elements of an array are not cut at 64 characters (``19_[1,4,9-12,...``)
    environ |= {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard", "SLURM_BITSTR_LEN": "0"}
    timer = Timer(_SILENT, _say_that_it_is_slow)
    timer.daemon = True
    timer.start()
    try:
        return subprocess.run(
            argv,
            env=environ,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",  # names may be in any encoding
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise SchedulerUnavailableError(f"there is no {argv[0]} on this machine") from error
    except OSError as error:  # such as an argument that is too long
        raise SchedulerUnavailableError(f"{argv[0]} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise SchedulerUnavailableError(f"{argv[0]} did not answer within {_TIMEOUT} s") from error
    finally:
        timer.cancel()


def _say_that_it_is_slow() -> None:
    import logging  # Slurm answers nearly always at once

    logging.getLogger("slurmsweep").warning("slurmsweep: Slurm has not answered yet: waiting, %d s at most", _TIMEOUT)


def answer(*argv: str, harmless: str = "") -> str:
    """Return the standard output of one of Slurm's programs.

    Raises:
        SchedulerUnavailableError: it failed, with its own words, unless ``harmless`` is among them.
    """
    done = call(*argv)
    if done.returncode != 0 and not (harmless and harmless in done.stderr):
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


def listed(ids: Sequence[str]) -> Iterator[str]:
    """Yield job ids as arguments of some calls, each a list with commas."""
    for start in range(0, len(ids), _IDS_PER_CALL):
        yield ",".join(ids[start : start + _IDS_PER_CALL])


def sacct_of(ids: Sequence[str], cluster: str, flags: Sequence[str], fields: str) -> tuple[str, str]:
    """Ask Slurm's accounting about jobs of a cluster, in as many calls as that takes; return as :func:`sacct`."""
    texts, said = [], "not needed"
    for some in listed(ids):
        text, said = sacct(*on(cluster), *flags, "-j", some, "-o", fields)
        texts.append(text)
        if said != "used":
            break
    return "".join(texts), said


@lru_cache(maxsize=1)
def options_of_sbatch() -> frozenset[str]:
    """Return the long options that ``sbatch --help`` lists here, those of a site's plugins too; empty if it fails.

    It asks no controller. Never raises.
    """
    try:
        said = call("sbatch", "--help")
    except SchedulerUnavailableError:
        return frozenset()
    return frozenset(_LISTED.findall(said.stdout)) if said.returncode == 0 else frozenset()


def on(cluster: str) -> list[str]:
    """Return the words that let one of Slurm's programs ask another cluster; none for this one (empty)."""
    return ["-M", cluster] if cluster else []


def as_outside_of_jobs(*variables: str) -> list[str]:
    """Return what stands before sbatch to run it without ``variables``, and without those of a surrounding job.

    sbatch would take these for options of the new job; likewise the options in ``SBATCH_`` variables, which stand in
    the script as far as they count (:mod:`.inherited`).
    """
    surrounding = [name for name in os.environ if name.startswith("SLURM_") and name not in _OF_SITE]
    unset = (*surrounding, *inherited.removed(os.environ), *variables)
    return ["env", *(word for name in unset for word in ("-u", name)), "LC_ALL=C"]


def first_line(text: str) -> str:
    """Return the first line that is not blank, stripped; empty where there is none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
