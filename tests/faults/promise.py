"""What must hold after every fault, and the count of what was tried."""

from __future__ import annotations

from dataclasses import dataclass

from slurmsweep.agents.agent import Claims
from slurmsweep.agents.identity import this_process
from slurmsweep.control.round.reconcile import give_back, reconcile
from slurmsweep.control.session import Session
from slurmsweep.state.check import check
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim, Owner

#: An agent on a machine that cannot be asked, and one on this machine that is gone.
OWNER = Owner("elsewhere", 1, 1, "b")
GONE = this_process({})._replace(pid=1, start=1)
FINISHED = Outcome(TrialState.FINISHED, exit_code=0, ended=1.0)


@dataclass
class Tally:
    """What was tried in this run of the tests, and what it cost."""

    kills: int = 0
    faults: int = 0
    chaos: int = 0
    mounted: int = 0
    uncached: int = 0
    lost: int = 0
    doubled: int = 0

    def tried(self) -> int:
        return self.kills + self.faults + self.chaos + self.mounted

    def __str__(self) -> str:
        return (
            f"{self.kills:,} kill points, {self.faults:,} fault cases, {self.chaos:,} trials under random kills, "
            f"{self.mounted:,} trials over two cached mounts"
            + (f" and {self.uncached:,} over two without caches" if self.uncached else "")
            + f": {self.lost} lost, {self.doubled} doubled"
        )


TALLY = Tally()


def one_trial(store, say) -> None:
    """Claim and finish, and say each thing once it is acknowledged."""
    claim = next_claim(store, this_process({}))
    if isinstance(claim, Claim):
        say(f"claimed {claim.attempt_id.trial} {claim.attempt_id.attempt}")
        store.finish(claim, FINISHED)
        say(f"finished {claim.attempt_id.trial}")


def next_claim(store, owner):
    """Claim as an agent does, for another owner if need be: where the search learns with a point that was proposed."""
    if store.manifest.config.method != "bayes":
        return store.claim(owner)
    claims = Claims(store, {})
    claims.owner = owner
    return claims.next()


def finished(said) -> list[int]:
    """Trials whose end was acknowledged."""
    return [int(line.split()[1]) for line in said if line.startswith("finished")]


def go_on(store) -> None:
    """Return what a person would do: bring the journal up to date, and let what is not finished be run again."""
    reconcile(Session(store), sleep=lambda seconds: None)
    give_back(Session(store), lambda trial: True, why="test")


def run_to_the_end(store) -> None:
    """Go on once, and then claim and finish until nothing is left."""
    go_on(store)
    while isinstance(claim := next_claim(store, OWNER), Claim):
        store.finish(claim, FINISHED)


def prove(store, acknowledged: list[int], what: str) -> None:
    """Every trial finished once; what was acknowledged was not run again; journal and folders agree."""
    view = store.replay()
    states = {number: trial.state for number, trial in view.trials.items()}
    missing = set(range(store.manifest.trials)) - {n for n, s in states.items() if s is TrialState.FINISHED}
    again = {n for n in acknowledged if acknowledged.count(n) > 1 or _was_run_after_its_end(view.trials[n])}
    TALLY.lost += len(missing)
    TALLY.doubled += len(again)
    assert not missing, f"{what}: lost"
    assert not again, f"{what}: acknowledged and run again"
    points = [chosen.values for chosen in view.chosen.values()]
    assert len({str(point) for point in points}) == len(points), f"{what}: a point was chosen twice"
    findings = [str(finding) for finding in check(store).findings]
    assert findings == [], f"{what}: {findings}"


def _was_run_after_its_end(trial) -> bool:
    """Whether there is an attempt after one that finished."""
    done = [a.number for a in trial.attempts.values() if a.outcome and a.outcome.state is TrialState.FINISHED]
    return len(done) > 1 or any(number > done[0] for number in trial.attempts)
