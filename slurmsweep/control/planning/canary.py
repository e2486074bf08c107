"""One trial ahead of all others: what it used says what the rest will need."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep.control.creation.create import create
from slurmsweep.control.defaults import filled
from slurmsweep.control.jobs.wait import wait_for_jobs
from slurmsweep.control.round.apply import apply
from slurmsweep.control.round.decide import Policy, decide
from slurmsweep.control.round.events import ignore
from slurmsweep.control.round.observe import observe
from slurmsweep.control.session import Session
from slurmsweep.control.snapshot import look
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.config import SweepConfig

if TYPE_CHECKING:
    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.control.creation.create import Draft


@dataclass(frozen=True)
class CanaryUsage:
    """The resources that one trial used.

    Attributes:
        sweep: id of the sweep it was run as; its finished point can be kept by ``create FILE --prior``.
        state, cause: how it ended.
        seconds: that the command ran.
        cpu_seconds: of all its processes.
        max_rss_mb: memory of its largest process, in MiB.
        log_bytes: that it printed.
        files: files and folders in its folder, itself included.
        log: path of its log.
    """

    sweep: str
    state: str
    cause: str
    seconds: float | None
    cpu_seconds: float | None
    max_rss_mb: float | None
    log_bytes: int
    files: int
    log: str

    def to_json(self) -> dict[str, Any]:
        """Return the document in ``plan --canary --json``."""
        return asdict(self)


def run_canary(draft: Draft, backend: str, wish: SubmitOptions) -> CanaryUsage:
    """Run the first trial of a draft as a sweep of its own, and wait for it.

    Raises:
        SweepFileError: the draft cannot be run.
        SchedulerError: the scheduler refused, or could not be asked.
        StateError: its files could not be written.
    """
    config = SweepConfig.from_json(draft.config.to_json() | {"run_cap": 1})
    store = create(draft._replace(config=config), canary=True)
    session = Session(store, backend)
    policy = Policy(filled(wish, store.manifest.defaults, session.backend), count=1)
    result = apply(session, decide(observe(session, policy, ignore), policy), ignore)
    wait_for_jobs(session, [array.job for array in result.arrays], result.trials, 0, ignore)
    session.refresh()
    snapshot = look(session)
    trial = snapshot.view.trials.get(0)
    recorded = trial.current.outcome if trial and trial.current else None
    outcome = recorded or next(iter(snapshot.ended.values()), None)
    log = store.layout.log(AttemptId(0, 1))
    return CanaryUsage(
        sweep=store.manifest.sweep_id,
        state=str(outcome.state) if outcome else str(TrialState.PENDING),
        cause=outcome.cause if outcome else "no job got to it",
        seconds=outcome.seconds if outcome else None,
        cpu_seconds=outcome.cpu_seconds if outcome else None,
        max_rss_mb=outcome.max_rss_mb if outcome else None,
        log_bytes=os.path.getsize(log) if os.path.isfile(log) else 0,
        files=sum(1 + len(files) for _, _, files in os.walk(store.layout.trial(0))),
        log=log,
    )
