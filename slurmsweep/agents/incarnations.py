"""Number the starts of a job whose service does not: SageMaker starts a training job again after a Spot interruption.

Loaded in jobs of SageMaker only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.agents.identity import process_start
from slurmsweep.state.replay import last_owner_of_job

if TYPE_CHECKING:
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.store import SweepStore


def numbered(store: SweepStore, owner: Owner) -> Owner:
    """Return the owner with the number of its job's start: one more than that of the newest claim of an earlier start.

    SageMaker runs one container of a job on its first machine at a time ("Use Managed Spot Training": the job is
    interrupted, then starts again under its name), so a claim made in another container is of an earlier start, which
    is over. A container is the life of its process 1: other agents of this one count with it, whether they live or not.

    The journal is searched from its end to the job's newest claim, and not decoded: once in the life of an agent.

    Raises:
        StateUnreadableError: the journal cannot be read.
    """
    last = last_owner_of_job(store.journal, owner)
    if last is None:
        return owner
    here = (last.host, last.boot, last.pid_space) == (owner.host, owner.boot, owner.pid_space)
    is_of_this_start = here and last.start >= (process_start(1) or 0)
    return owner._replace(restart=last.restart + (not is_of_this_start))
