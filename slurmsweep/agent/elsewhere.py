"""Runs of the real wandb that lie outside of the trial's folder, because the script names another (``dir=``)."""

from __future__ import annotations

import os
import re
from glob import escape, glob

#: How much of a log is looked through: wandb says where its run is when it begins.
_BEGINNING = 256 * 1024


def runs_named_in(log: str, run_id: str) -> list[str]:
    """The run files that wandb said, in a trial's log, it would write; those that can be seen from here.

    wandb says so unless it is told to be silent. A folder that the script names relative to its own is not followed.

    Raises:
        OSError: the log is there and cannot be read.
    """
    try:
        with open(log, "rb") as file:
            text = file.read(_BEGINNING).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return []
    said = re.compile(
        rf"^wandb: Run data is saved locally in (/.*/(?:offline-)?run-[0-9_]+-{re.escape(run_id)})$", re.MULTILINE
    )
    folders = dict.fromkeys(said.findall(text))
    return [path for folder in folders for path in sorted(glob(os.path.join(escape(folder), "*.wandb")))]
