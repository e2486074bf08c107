"""The name of this cluster, without which job ids mean nothing, and its configuration."""

from __future__ import annotations

import os
import re
import shutil
from functools import lru_cache
from typing import TYPE_CHECKING

from slurmsweep.backends.keys import is_elsewhere
from slurmsweep.backends.slurm.commands import answer, on
from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Where Slurm's programs look for their configuration (slurm.conf(5)); the last is that of a cluster without files.
_PLACES = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf")

#: A file that is only a part of the configuration.
_INCLUDES = re.compile(r"^\s*include\s", re.MULTILINE | re.IGNORECASE)

_PARTITION = re.compile(r"^\s*PartitionName\s*=\s*(\S+)(.*)", re.MULTILINE | re.IGNORECASE)
_MAX_TIME = re.compile(r"\bMaxTime\s*=\s*(\S+)", re.IGNORECASE)


@lru_cache(maxsize=1)
def site_name() -> str:
    """Return the cluster that Slurm's programs ask here; empty where it is not known. Looked up once per process.

    Read where Slurm's programs read it (the file of SLURM_CONF), so that it costs the controller nothing; asked of the
    controller (two RPCs) only where no file names it. SLURM_CLUSTERS chooses where jobs go (:mod:`.inherited`), and is
    kept from all programs: each question names its cluster. Never raises.
    """
    inside = os.environ.get("SLURM_CLUSTER_NAME")  # of a job: a supervisor
    if inside:
        return inside
    try:
        return parse_cluster_name(_file(_places()) or asked_configuration())
    except SchedulerUnavailableError:
        return ""


def target(options: Mapping[str, str | bool]) -> str:
    """Return the cluster that jobs with these options go to; empty for this one."""
    name = str(options.get("clusters") or "")
    return name.lower() if is_elsewhere(name, site_name() if name else "") else ""


def configuration(cluster: str = "") -> str:
    """Return the configuration of this cluster or that one, a ``Name=Value`` a line; defaults may be left out.

    From the file that Slurm's own programs read, so that it costs the controller nothing. The controller is asked (two
    RPCs, once per process) where there is no such file, where the file includes others, and of another cluster. A
    change of the file counts at once, also before the controller reads it.

    Raises:
        SchedulerUnavailableError: the controller was asked and did not answer.
    """
    text = "" if cluster else _file(_places())
    return text if text and not _INCLUDES.search(text) else asked_configuration(cluster)


@lru_cache(maxsize=4)
def asked_configuration(cluster: str = "") -> str:
    """Return the whole configuration, with defaults, from a controller. Raises SchedulerUnavailableError."""
    return answer("scontrol", *on(cluster), "show", "config")


def longest_time(partitions: str) -> str:
    """Return MaxTime of a partition by slurm.conf, the file that every command reads anyway.

    Empty where the file says none, or for several partitions, of which a job takes the one that starts it.
    """
    text, default, found = re.sub(r"\\\s*\n", " ", _file(_places())), "", ""
    for names, rest in _PARTITION.findall(text):
        limit = _MAX_TIME.search(rest)
        if names.upper() == "DEFAULT":
            default = limit[1] if limit else default
        elif partitions.lower() in names.lower().split(","):
            found = limit[1] if limit else default
    return found


def parse_cluster_name(text: str) -> str:
    """Return ClusterName of slurm.conf or ``scontrol show config``, in lower case as Slurm takes it; empty without."""
    return next(iter(setting(text, "ClusterName").split()), "").lower()


def setting(text: str, name: str) -> str:
    """Return the rest of the line in which slurm.conf or ``scontrol show config`` sets a name, without a comment.

    Empty where the name is not there, or not set. Names are read in any case, as Slurm does.
    """
    found = re.search(rf"^\s*{name}[ \t]*=([^#\n]*)", text, re.MULTILINE | re.IGNORECASE)
    value = found[1].strip() if found else ""
    return "" if value == "(null)" else value


def _places() -> tuple[str, ...]:
    configured, program = os.environ.get("SLURM_CONF"), shutil.which("scontrol")
    if configured:
        return (configured,)
    beside = (os.path.join(os.path.dirname(program), "..", "etc", "slurm.conf"),) if program else ()
    return (*_PLACES, *beside)


@lru_cache(maxsize=1)
def _file(places: tuple[str, ...]) -> str:
    """Return the text of the first file that names a cluster; empty where none does."""
    for path in places:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        if parse_cluster_name(text):
            return text
    return ""
