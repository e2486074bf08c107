"""What people are told when jobs were handed to Slurm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.reading import note

if TYPE_CHECKING:
    from slurmsweep.launch.submit import Handover
    from slurmsweep.state.store import SweepStore


def note_handover(store: SweepStore, handover: Handover) -> None:
    """One line an array, and what a limit kept back."""
    for array in handover:
        note(f"submitted job {array.job}: {array.tasks} trials")
    if handover.kept_back:
        sweep = store.manifest.sweep_id
        note(
            f"{handover.kept_back} trials wait without a job: {handover.why}. Nothing is lost: "
            f"`slurmsweep submit {sweep}` submits them when there is room"
        )
