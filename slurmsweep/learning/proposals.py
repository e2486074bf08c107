"""Choose the point of a trial whose search learns: proposed outside the journal's lock, checked again under it.

Each agent proposes by itself, from what the journal says at that moment, and no agent waits for the proposal of
another. Under the lock the agent takes its point unless that is near to one that was claimed meanwhile; then it
proposes again, and several points: each of them assumes that those before it are running.
``docs/decisions/0027-proposed-outside-the-lock.md`` says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.search.bayes import Space, propose
from slurmsweep.search.kept import kept, restored
from slurmsweep.state import view_cache
from slurmsweep.state.chosen import Basis, ChosenPoint, NotChosenError
from slurmsweep.state.point_runs import settle_point
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from slurmsweep.search.bayes import Proposals
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore

#: Points that the second try proposes, and at most; each further try doubles them. The first try proposes a single one:
#: mostly no other agent claims in the meantime, and three alternatives take as long as the point itself.
_SECOND, _MOST = 4, 32

#: Tries after which a point is taken that is near to another one, which costs quality and nothing else.
_MOST_TRIES = 8


class Proposer:
    """Giver of points for the claims of one agent.

    Args:
        store: of the sweep.

    Raises:
        UsageError: numpy is missing.
    """

    def __init__(self, store: SweepStore) -> None:
        self._store = store
        self._space = Space.of(store.manifest.config)
        self._follower = view_cache.Follower(store)
        self._tries = 0
        self._known: set[int] = set()
        self._basis = Basis(0, 0, 0)
        self._proposals: Proposals | None = None

    def propose(self) -> None:
        """Propose points from what the journal says now; nothing where a trial waits that has its point already.

        Takes no lock. The time it takes depends on the number of results, see docs/search.md.
        """
        view = self._follower.refresh()
        waits = bool(view.head.queue or view.waiting())
        numbers, following = self._store.manifest.numbering, view.head.next_trial
        if numbers:  # runs of a point after its first one have its point
            waits = waits or any(run in view.chosen for run in numbers.trials(numbers.of(following)[0]))
            following = -(-following // numbers.runs)
        if waits and not self._tries:
            self._tries, self._proposals = 1, None
            return
        alternatives = min(_MOST, _SECOND << (self._tries - 1)) if self._tries else 1
        self._tries += 1
        self._known = {self._point_of(number) for number in view.chosen}
        self._basis = Basis(view.head.sequence, following, 0)
        self._proposals = proposals(self._store.manifest, view, self._space, self._basis, alternatives)

    def choose(self, attempt_id: AttemptId) -> ChosenPoint:
        """Return the point that the trial has already, or the best one that is not taken. Under the journal's lock.

        Raises:
            NotChosenError: none was proposed yet, or others have claimed points near to all of them.
        """
        for attempt in range(attempt_id.attempt - 1, 0, -1):
            before = self._store.read_chosen(AttemptId(attempt_id.trial, attempt))
            if before is not None:
                return before
        view, point = self._follower.catch_up(), self._point_of(attempt_id.trial)
        numbers = self._store.manifest.numbering
        runs = numbers.trials(point) if numbers else (attempt_id.trial,)
        known = next((view.chosen[run] for run in runs if run in view.chosen), None)
        if known is not None:
            return known
        config = self._store.manifest.config
        if self._proposals is None:
            raise NotChosenError
        new = [number for number in view.chosen if self._point_of(number) not in self._known]
        since = [restored(config, view.chosen[number].values) for number in new]
        rank = self._proposals.first_free(since)
        if rank is None:
            if self._tries < _MOST_TRIES:
                raise NotChosenError
            rank = len(self._proposals.items) - 1
        self._tries = 0
        chosen = ChosenPoint(kept(config, self._proposals.items[rank].point), self._basis._replace(rank=rank))
        return settle_point(self._store, runs[0], chosen) if numbers else chosen

    def _point_of(self, number: int) -> int:
        numbers = self._store.manifest.numbering
        return numbers.of(number)[0] if numbers else number


def proposals(manifest: Manifest, view: SweepView, space: Space, basis: Basis, alternatives: int) -> Proposals:
    """Return the proposals for a state of the sweep: the same ones each time, on one machine with one numpy.

    Args:
        manifest: of the sweep.
        view: the state after the record that ``basis`` names.
        space: of the configuration.
        basis: which state it is, and the number of the trial.
        alternatives: how many to propose, best first.
    """
    from slurmsweep.learning.observations import observations

    config = manifest.config
    metric = config.metric
    return propose(
        space,
        metric.goal if metric else "minimize",
        observations(config, view),
        number=basis.number,
        seed=manifest.sweep_id,
        alternatives=alternatives,
    )
