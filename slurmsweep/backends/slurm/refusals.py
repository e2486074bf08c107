"""Texts with which sbatch refuses, and which option to change after each; as Slurm 22.05 to 26.05 print them."""

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

#: In the names of every limit on the number of jobs of a user, an account or a QOS.
_TOO_MANY = "SubmitJob"

#: When the whole cluster takes no more jobs for now: what sbatch says after two minutes of tries of its own
#: (sbatch.c). MaxJobCount up to 25.11 and since 26.05; a full queue of old; job creation that is disabled for a while.
_CLUSTER_FULL = (
    "Resource temporarily unavailable",
    "MaxJobCount limit reached",
    "Unable to create job record, try again",
    "Requested nodes are busy",
    "Required ports are in use",
)

#: The controller is not there, or asks for patience.
_NO_CONTROLLER = (
    "Unable to contact slurm controller",
    "slurm_load_ctl_conf",
    "Rate limit exceeded",
    "controller in standby mode",
    "Could not establish a configuration source",  # Slurm is installed, and no cluster is set up
)

_FULL = "the cluster holds as many jobs as it can (MaxJobCount): submit later, or a smaller --count"
_LATER = "submit later"
_ONE_OF_TWO = "they stand in one place (the template, slurm:, or the command line): leave one of them out"

#: A part of sbatch's text, and what to do. The first that is found counts: texts that say more come first.
_ADVICE = (
    ("Invalid partition name", "choose another --partition; `sinfo` lists them"),
    ("invalid partition", "choose another --partition; `sinfo` lists them"),
    # what sbatch itself compares, before it asks the controller (slurm_opt.c, gres.c)
    ("mutually exclusive", _ONE_OF_TWO),
    ("please use one or the other", _ONE_OF_TWO),
    ("Cannot specify both", _ONE_OF_TWO),
    ("is incompatible with", _ONE_OF_TWO),
    ("used without either", "say how many tasks there are, too: --sbatch ntasks=1"),
    ("used without -n/--ntasks", "say how many tasks there are, too: --sbatch ntasks=1"),
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
    *((text, _FULL if "MaxJobCount" in text or "temporarily" in text else _LATER) for text in _CLUSTER_FULL),
    ("dependency problem", "check --sbatch dependency"),
    ("DOS line breaks", "convert the --template with dos2unix"),
    ("does not look like a batch script", "the --template must begin with #!/bin/bash"),
    ("Unable to open file", "the --template became a script that sbatch cannot read: is the sweep's folder seen here?"),
    ("unrecognized option", "this Slurm does not have that option: remove it (--sbatch, slurm:, or the template)"),
    ("invalid option", "this Slurm does not have that option: remove it (--sbatch, slurm:, or the template)"),
    ("denied to requested reservation", "choose another --sbatch reservation: this one is not for you"),
    ("reservation not usable now", "submit when the reservation has begun, or without --sbatch reservation"),
    ("reservation", "choose another --sbatch reservation; `scontrol show reservation` lists them"),
    ("Licenses currently unavailable", "submit later, or ask for fewer --sbatch licenses"),
    ("license", "choose another --sbatch licenses; `scontrol show licenses` lists what there is"),
    ("--nice value", "--sbatch nice is a whole number, 0 to 2147483645; a negative one is for operators"),
    ("--mail-type", "--sbatch mail-type is NONE, ALL, or some of BEGIN, END, FAIL, REQUEUE, TIME_LIMIT, ARRAY_TASKS"),
    ("wckey", "choose another --sbatch wckey; `sacctmgr show user $USER withassoc format=wckey` lists yours"),
    ("QOS usage threshold", "the account has used its share of that QOS: choose another --qos, or submit later"),
    ("group not permitted to use this partition", "choose another --partition: this one is not for your groups"),
    ("partition not available", "the partition takes no jobs now: choose another --partition, or submit later"),
    ("partition configuration not available now", "choose another --partition, or submit later"),
    ("not in this partition", "check --sbatch nodelist: these nodes are in another --partition"),
    ("Required node not available", "check --sbatch nodelist: these nodes are down or reserved"),
    ("default partition", "name a --partition: this cluster has no default one"),
    ("Burst Buffer", "check --sbatch bb"),
    ("not supported on this system", "this cluster does not have what an option asks for: remove it"),
)

#: ``Invalid --distribution specification``, of any option (slurm_opt.c).
_INVALID = re.compile(r"Invalid --([a-z-]+) (?:specification|argument|value|combo)")

#: What a site's own check (job_submit/lua) gives where it gives no reason that Slurm has a text for.
_UNSPECIFIED = "Unspecified error"


def explain(text: str) -> SchedulerError:
    """Return the error that fits what sbatch said."""
    # what sbatch itself printed, without its name in front and without submitit's frame around it
    lines = [
        re.sub(r"^sbatch: ((error|fatal): )?", "", line.strip()) for line in text.splitlines() if "sbatch: " in line
    ]
    said = "; ".join(dict.fromkeys(lines)) or first_line(text)
    if "timed out on send/recv" in text:
        return SubmissionUnknownError(
            f"the controller took the request and did not answer ({said}): the jobs may exist all the same. "
            "Run the command again in a minute: slurmsweep looks for them by name first",
        )
    if any(words in text for words in _NO_CONTROLLER):
        last = said.rpartition("; ")[2]
        return SchedulerUnavailableError(
            f"Slurm's controller cannot be reached ({last}): try again later, or run here by `run --backend local`"
        )
    message = f"Slurm refused the jobs: {said}; {advice(text) or 'see `man sbatch`'}"
    is_full = any(words in text for words in _CLUSTER_FULL)
    if _TOO_MANY in text or is_full:
        return JobLimitError(message, cluster_is_full=is_full)
    return SubmissionRefusedError(message)


def advice(text: str) -> str:
    """Return which option to change after these words of Slurm's; empty for unknown words."""
    known = next((advice for part, advice in _ADVICE if part.lower() in text.lower()), "")
    if known:
        return known
    if invalid := _INVALID.search(text):
        return f"correct the value of --{invalid[1]}"
    if _UNSPECIFIED in text:
        return (
            "a check of this site (job_submit) refused it: do what it says; ask the administrators if it says nothing"
        )
    return ""
