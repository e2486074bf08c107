"""Explain the point of a trial whose search learns: propose it again from what was known when it was claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.search.kept import kept, restored
from slurmsweep.state.replay import view_after

if TYPE_CHECKING:
    from slurmsweep.state.chosen import ChosenPoint
    from slurmsweep.state.journal import Journal
    from slurmsweep.state.manifest import Manifest


class Explanation(NamedTuple):
    """Why a point was chosen, as far as that can be told today.

    Attributes:
        rank: which of several proposals it was, 0 for the best: the others were claimed meanwhile.
        why: of the proposal made again (:class:`slurmsweep.search.bayes.Why`): phase, best, predicted, and so on.
        other: the point that is proposed today, where that is another one; then ``why`` is not of the trial's point.
        problem: why it cannot be told; empty where it can.
    """

    rank: int | None = None
    why: dict[str, Any] | None = None
    other: dict[str, Any] | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return self._asdict()


def explanation(manifest: Manifest, journal: Journal, chosen: ChosenPoint | None) -> Explanation | None:
    """Return why a trial has the point that its claim keeps; None where its number alone decides.

    Raises:
        StateUnreadableError: the journal cannot be read.
    """
    if manifest.config.method != "bayes":
        return None
    if chosen is None:
        return Explanation(problem="it has no point yet: an agent chooses one when it claims the trial")
    if chosen.basis is None:
        return Explanation(problem="the search did not choose it: another sweep had it, or a person gave it")
    before = view_after(journal, chosen.basis.sequence)
    if before is None:
        return Explanation(problem="the journal was rebuilt, so what was known at the claim cannot be told")
    try:
        from slurmsweep.learning.proposals import proposals
        from slurmsweep.search.bayes import Space
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        return Explanation(problem="numpy is missing here, which makes the proposal again: slurmsweep[bayes] has it")
    rank = chosen.basis.rank
    made = proposals(manifest, before, Space.of(manifest.config), chosen.basis, alternatives=rank + 1).items[rank]
    is_same = kept(manifest.config, made.point) == chosen.values
    other = None if is_same else restored(manifest.config, kept(manifest.config, made.point))
    return Explanation(rank, made.why.to_json(), other)
