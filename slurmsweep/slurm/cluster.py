"""Which cluster this is, by Slurm's name of itself: job ids mean something together with it alone."""

from __future__ import annotations

import os
import re
import shutil
from functools import lru_cache

from slurmsweep.errors import SchedulerUnavailableError
from slurmsweep.slurm.commands import answer

#: Where Slurm's programs look for their configuration (slurm.conf(5)); the last is that of a cluster without files.
_PLACES = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf")

_NAME = re.compile(r"^\s*ClusterName\s*=\s*([^\s#]+)", re.MULTILINE | re.IGNORECASE)


@lru_cache(maxsize=1)
def site_name() -> str:
    """The cluster that Slurm's programs ask here; empty where nobody says. Looked up once per process.

    Read where they read it (SLURM_CLUSTERS, the file of SLURM_CONF), so that it costs the controller nothing; asked of
    the controller (two RPCs) only where no file names it. Never raises.
    """
    chosen = os.environ.get("SLURM_CLUSTERS")
    if chosen:
        return "" if "," in chosen or chosen == "all" else chosen
    inside = os.environ.get("SLURM_CLUSTER_NAME")  # of a job: a supervisor
    if inside:
        return inside
    for path in _places():
        name = _name_in(path)
        if name:
            return name
    try:
        return parse_cluster_name(answer("scontrol", "show", "config"))
    except SchedulerUnavailableError:
        return ""


def parse_cluster_name(text: str) -> str:
    """From slurm.conf or ``scontrol show config``; empty where it is not there. Slurm takes names in lower case."""
    found = _NAME.search(text)
    return found[1].lower() if found else ""


def is_elsewhere(cluster: str | None, here: str) -> bool:
    """Whether a recorded cluster is another one; unknown names are taken for this one's."""
    return bool(cluster and here and cluster.lower() != here.lower())


def _places() -> tuple[str, ...]:
    configured, program = os.environ.get("SLURM_CONF"), shutil.which("scontrol")
    if configured:
        return (configured,)
    beside = (os.path.join(os.path.dirname(program), "..", "etc", "slurm.conf"),) if program else ()
    return (*_PLACES, *beside)


def _name_in(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return parse_cluster_name(file.read())
    except OSError:
        return ""
