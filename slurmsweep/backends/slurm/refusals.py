"""Texts with which sbatch refuses, and which option to change after each; as Slurm 22.05 prints them."""

from __future__ import annotations

import re

from slurmsweep.backends.slurm.commands import first_line
from slurmsweep.errors import (
    JobLimitError,
    SchedulerError,
    SchedulerUnavailableError,
    SubmissionRefusedError,
    SubmissionUnknownError,
)

#: In the names of every limit on the number of jobs of a user, an account or a QOS; and when the whole cluster is full.
_TOO_MANY = "SubmitJob"
_CLUSTER_FULL = "Resource temporarily unavailable"

#: A part of sbatch's text, and what to do. The first that is found counts: texts that say more come first.
_ADVICE = (
    ("Invalid partition name", "choose another --partition; `sinfo` lists them"),
    ("invalid partition", "choose another --partition; `sinfo` lists them"),
    ("Invalid account", "choose another --account; `sacctmgr show assoc user=$USER` lists yours"),
    ("Invalid qos", "choose another --qos"),
    ("Invalid --time", "--time is minutes, or hours:minutes:seconds, or days-hours"),
    (
        "Requested time limit is invalid",
        "ask for less --time, or another --partition; `sinfo -o '%P %l'` shows the limits",
    ),
    ("CPU count", "ask for fewer --cpus-per-task, or another --partition"),
    ("Memory specification", "ask for less --mem, or another --partition"),
    (
        "Requested node configuration is not available",
        "no node has that: ask for less --mem, --cpus-per-task or --gres",
    ),
    ("More processors requested", "ask for fewer nodes (--sbatch nodes) or --cpus-per-task"),
    ("Node count specification invalid", "ask for fewer nodes: --sbatch nodes"),
    ("Invalid feature", "choose another --constraint"),
    ("Invalid generic resource", "choose another --gres; `sinfo -o '%P %G'` lists what there is"),
    ("Invalid node name", "check --exclude and --sbatch nodelist"),
    ("Invalid job array", "the array is larger than MaxArraySize: use a smaller --count"),
    # AssocMaxSubmitJobLimit, AssocGrpSubmitJobsLimit, QOSMaxSubmitJobPerUserLimit, MaxSubmitJobsPerAccount ...
    (_TOO_MANY, "you may not have that many jobs at once: use a smaller --count, and submit the rest later"),
    (
        "accounting/QOS policy",
        "a limit of your account or QOS: ask for less --time, --mem, or a smaller --count",
    ),
    (_CLUSTER_FULL, "the cluster holds as many jobs as it can (MaxJobCount): submit later, or a smaller --count"),
    ("dependency problem", "check --sbatch dependency"),
    ("DOS line breaks", "convert the --template with dos2unix"),
    ("does not look like a batch script", "the --template must begin with #!/bin/bash"),
    ("Unable to open file", "the --template became a script that sbatch cannot read: is the sweep's folder seen here?"),
    ("unrecognized option", "this Slurm does not have that option: remove it (--sbatch, slurm:, or the template)"),
    ("invalid option", "this Slurm does not have that option: remove it (--sbatch, slurm:, or the template)"),
)


def explain(text: str) -> SchedulerError:
    """Return the error that fits what sbatch said."""
    # what sbatch itself printed, without its name in front and without submitit's frame around it
    lines = [re.sub(r"^sbatch: (error: )?", "", line.strip()) for line in text.splitlines() if "sbatch: " in line]
    said = "; ".join(dict.fromkeys(lines)) or first_line(text)
    if "timed out on send/recv" in text:
        return SubmissionUnknownError(
            f"the controller took the request and did not answer ({said}): the jobs may exist all the same. "
            "Run the command again in a minute: slurmsweep looks for them by name first",
        )
    if "Unable to contact slurm controller" in text or "slurm_load_ctl_conf" in text:
        return SchedulerUnavailableError(f"Slurm's controller cannot be reached ({said}): try again later")
    message = f"Slurm refused the jobs: {said}; {advice(text) or 'see `man sbatch`'}"
    if _TOO_MANY in text or _CLUSTER_FULL in text:
        return JobLimitError(message, cluster_is_full=_CLUSTER_FULL in text)
    return SubmissionRefusedError(message)


def advice(text: str) -> str:
    """Return which option to change after these words of Slurm's; empty for unknown words."""
    return next((advice for part, advice in _ADVICE if part.lower() in text.lower()), "")
