"""Trials that are the runs of one point, where each point runs several times: their common point, worth and end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slurmsweep.state import files
from slurmsweep.state.chosen import ChosenPoint
from slurmsweep.state.fields import document
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import NOT_NEEDED, Outcome
from slurmsweep.state.owner import Claim
from slurmsweep.state.store import new_token
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.state.owner import Owner
    from slurmsweep.state.store import SweepStore


def leave_out(store: SweepStore, trials: Mapping[int, ChosenPoint | None], owner: Owner) -> list[int]:
    """Record trials as never needed that no agent has claimed; return those of which this process did.

    It makes the folder of the first attempt, as a claim does: exactly one process runs a trial or leaves it out. No job
    is said to have run it; the owner file names this process, so that it is known whether it died in between.

    Args:
        store: of the sweep.
        trials: by number, with the point of each where the search does not give it by number.
        owner: this process.

    Raises:
        LockTimeoutError, StateUnreadableError, StateUnwritableError: none was left out, or all up to some.
    """
    left_out = []
    with store.transaction() as transaction:
        for number, chosen in trials.items() if transaction.head.word is None else ():
            claim = Claim(AttemptId(number, 1), new_token(), owner, chosen)
            if store.make_attempt(claim):
                outcome = Outcome(TrialState.KILLED, NOT_NEEDED, exit_code=0)
                store.write_outcome(claim, outcome)
                nameless = owner._replace(job=None, task=None, seat=None, restart=0)
                transaction.adopt(claim.attempt_id, claim.token, nameless, outcome, chosen)
                left_out.append(number)
    return left_out


def settle_point(store: SweepStore, first: int, chosen: ChosenPoint) -> ChosenPoint:
    """Return the point of several trials, whose first one is ``first``: ``chosen``, or what another process chose.

    Exactly one process makes the file that says it, so all of these trials have the same point, whatever is cached
    where.

    Raises:
        StateUnreadableError, StateUnwritableError: it is not known; nothing was claimed.
    """
    path = store.layout.point(first)
    files.ensure_folders(os.path.dirname(path), store.access)
    try:
        files.write_once(path, document(chosen.to_json()), store.access)
    except FileExistsError:
        return files.read_document(path, ChosenPoint.from_json) or chosen
    return chosen
