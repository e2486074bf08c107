"""Make the environment of a trial's command: with W&B's names, so that an unmodified script runs as under W&B's agent.

Source: ``wandb.wandb_agent.Agent._command_run`` (names), ``wandb.sdk.wandb_settings`` (meanings).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.state.assignment import LOCAL, SEAT, place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.state.paths import Layout
    from slurmsweep.state.tail import AttemptId
    from slurmsweep.sweepfile.config import SweepConfig

#: Words put before the trial's command, quoted as in a shell: set by job templates.
WRAP = "SLURMSWEEP_WRAP"

#: Variables by which launchers tell a process its rank, and the one that names those of the agent itself: as in
#: ``client/history.py``, which imports nothing from here.
RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")
AGENT_RANKS = "SLURMSWEEP_AGENT_RANKS"

#: Values of ``WANDB_MODE`` with which wandb talks to its server.
_ONLINE = ("online", "shared")


def words_before(environ: Mapping[str, str]) -> list[str]:
    """Return the words that a job template puts before the command (``srun``). Raises UsageError for wrong quotes."""
    text = environ.get(WRAP)
    if not text:
        return []
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{WRAP} is not quoted as in a shell ({error}): {text}") from error


def search_path(environ: Mapping[str, str]) -> str:
    """Return the ``PATH`` of a trial's command, with this interpreter's folder at its end.

    An environment that the user activated stays before it. W&B's ``${interpreter}`` is the word ``python``, which a
    Debian machine does not have outside a virtual environment.
    """
    folders = (environ.get("PATH", os.defpath), os.path.dirname(sys.executable))
    return os.pathsep.join(folder for folder in folders if folder)


def child_environment(
    environ: Mapping[str, str], config: SweepConfig, layout: Layout, attempt_id: AttemptId
) -> dict[str, str]:
    """Return the environment variables of a trial's command.

    The user's values win where W&B lets them (``WANDB_MODE``, ``WANDB_PROJECT``, ...); the variables that name the
    trial are always ours. An inherited ``WANDB_SERVICE`` would make wandb talk to another run's process, so it is
    removed; so are empty W&B variables, some of which wandb takes for wrong values.

    A rank that the agent inherited (``srun --ntasks=4 slurmsweep agent``) is none of its trial: there it is 0, for the
    frameworks that log on rank 0 alone; what a launcher below the agent sets replaces it.
    """
    inherited = {
        name: value
        for name, value in environ.items()
        if name not in ("WANDB_SERVICE", LOCAL, AGENT_RANKS) and (value or not name.startswith("WANDB_"))
    }
    seat = place(environ)
    ranks = [name for name in RANKS if environ.get(name, "").isdecimal()]
    named = {"WANDB_PROJECT": config.project, "WANDB_ENTITY": config.entity}
    # texts of the sweep are UTF-8 for the trial, also where this process has another encoding for names
    named = {name: os.fsdecode(value.encode("utf-8", "surrogateescape")) for name, value in named.items() if value}
    seen = {
        "WANDB_MODE": "offline",
        "WANDB_RESUME": "allow",
        # W&B's server does not know the sweep: the group keeps its runs together
        "WANDB_RUN_GROUP": f"sweep-{layout.sweep_id}",
        # artifacts are staged here until `sync`: not on the node, and not in the home folder
        "WANDB_DATA_DIR": layout.runs(attempt_id.trial),
        "WANDB_CACHE_DIR": layout.wandb_cache(os.getuid()),
        # by default wandb writes after 15 s or 32 KiB: of a killed run nothing would be on disk
        "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "1",
        # python fills 8 KiB before it writes into a file: until then the log is empty, and a kill would lose it
        "PYTHONUNBUFFERED": "1",
        # log_code takes every requirements.txt below the current folder for code, but for those in `wandb/`: it would
        # stage those of the runs of all other trials, once for each trial
        "WANDB_X_SAVE_REQUIREMENTS": "false",
        **named,
        **inherited,
        "WANDB_SWEEP_ID": layout.sweep_id,
        "WANDB_RUN_ID": layout.run_id(attempt_id.trial),
        "WANDB_SWEEP_PARAM_PATH": layout.params(attempt_id),
        "WANDB_DIR": layout.trial(attempt_id.trial),
        "SLURMSWEEP_SWEEP": layout.folder,
        "SLURMSWEEP_TRIAL": str(attempt_id.trial),
        "SLURMSWEEP_ATTEMPT": str(attempt_id.attempt),
        "SLURMSWEEP_ATTEMPT_DIR": layout.attempt(attempt_id),
        "SLURMSWEEP_METRICS_FILE": layout.metrics(attempt_id),
        "SLURMSWEEP_CHECKPOINT_DIR": layout.checkpoints(attempt_id.trial),
        **({SEAT: seat} if seat else {}),
        **({AGENT_RANKS: ",".join(ranks), **dict.fromkeys(ranks, "0")} if ranks else {}),
        "PATH": search_path(environ),
    }
    if seen["WANDB_MODE"] in _ONLINE:
        del seen["WANDB_SWEEP_ID"]  # W&B's server refuses runs of a sweep that it does not know
    return seen
