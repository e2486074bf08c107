"""Explain the point of a trial whose search learns: propose it again from what was known when it was claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.search.kept import kept, restored
from slurmsweep.state.replay import view_after

if TYPE_CHECKING:
    from slurmsweep.state.journal import Journal
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.replay import SweepView


class Explanation(NamedTuple):
    """Why a point was chosen, as far as that can be told today.

    Attributes:
        rank: which of several proposals it was, 0 for the best: the others were claimed meanwhile.
        why: of the proposal made again (:class:`slurmsweep.search.bayes.Why`): phase, best, predicted, and so on.
        other: the point that is proposed today, where that is another one; then ``why`` is not of the trial's point.
        problem: why it cannot be told; empty where it can.
        counted: the value with which the trial counts for the search by now; None where it has none.
    """

    rank: int | None = None
    why: dict[str, Any] | None = None
    other: dict[str, Any] | None = None
    problem: str = ""
    counted: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the document."""
        return self._asdict()


def explanation(manifest: Manifest, journal: Journal, view: SweepView, number: int) -> Explanation | None:
    """Return why a trial has the point that its claim keeps; None where its number alone decides.

    Args:
        manifest: of the sweep.
        journal: of the sweep.
        view: its state now.
        number: of the trial.

    Raises:
        StateUnreadableError: the journal cannot be read.
    """
    if manifest.config.method != "bayes":
        return None
    chosen = view.chosen.get(number)
    if chosen is None:
        return Explanation(problem="it has no point yet: an agent chooses one when it claims the trial")
    if chosen.basis is None:
        return Explanation(problem="the search did not choose it: another sweep had it, or a person gave it")
    before = view_after(journal, chosen.basis.sequence)
    if before is None:
        return Explanation(problem="the journal was rebuilt, so what was known at the claim cannot be told")
    try:
        from slurmsweep.learning.observations import observations
        from slurmsweep.learning.proposals import proposals
        from slurmsweep.search.bayes import Space
    except ImportError as error:
        if "numpy" not in f"{error.name} {error}":
            raise
        return Explanation(problem="numpy is missing here, which makes the proposal again: slurmsweep[bayes] has it")
    rank = chosen.basis.rank
    made = proposals(manifest, before, Space.of(manifest.config), chosen.basis, alternatives=rank + 1).items[rank]
    is_same = kept(manifest.config, made.point) == chosen.values
    other = None if is_same else restored(manifest.config, kept(manifest.config, made.point))
    observed = manifest.numbering.of(number)[0] if manifest.numbering else number
    now = next(one for one in observations(manifest.config, view) if one.number == observed)
    return Explanation(rank, made.why.to_json(), other, counted=None if now.running else now.value)
