"""More trials for a sweep that has an end: ``extend SWEEP --count 50``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.report.next_step import agent_call
from slurmsweep.search.grid import grid_of
from slurmsweep.state import manifest
from slurmsweep.sweepfile.sections import MOST_TRIALS

if TYPE_CHECKING:
    from slurmsweep.state.store import SweepStore


def extend(store: SweepStore, count: int) -> int:
    """Give a sweep so many more trials, or points where each runs several times; return how many trials it has then.

    Nothing else changes: the trials that it has keep their numbers and points, new ones follow them, and the search
    goes on as if ``run_cap`` had been larger from the start. A pause or an end that was ordered stays. Two calls at one
    time both count. Commands that opened the sweep before go on with the number that they read.

    Raises:
        UsageError: the search has no end, so it needs no more; or a grid has no more points; or its race is decided for
            the points that it has.
        StateError: nothing was changed.
    """
    name = store.manifest.sweep_id
    with store.transaction():
        what = manifest.read(store.layout)
        if what.trials is None:
            more = f"`slurmsweep run {name} --count {count}` runs"
            if not what.can_run:
                more = f"{agent_call(name, count)} runs"
            raise UsageError(f"the search of sweep {name} has no end: {more} {count} more")
        repeats, runs = what.config.extensions.repeats, what.config.extensions.runs_each
        if repeats and repeats.race is not None:
            raise UsageError(
                f"sweep {name} has a race: which trial is which run, and the chance to lose the best point, are for "
                "the points that it has; for more of them make a new sweep with a larger run_cap"
            )
        total = what.trials + count * runs
        if what.config.method == "grid" and total > (points := grid_of(what.config).size()) * runs:
            left = points - what.trials // runs
            has = f"has {points} points, of which {left} are left" if left else f"has {points} points, all of them"
            raise UsageError(
                f"the grid of sweep {name} {has} in this sweep: add values to its file and make a new sweep that keeps "
                f"what finished: `slurmsweep create FILE --prior {name}` (`plan FILE --prior {name}` says what is new)"
            )
        if total > MOST_TRIALS:
            raise UsageError(f"--count {count}: a sweep has {MOST_TRIALS} trials at most")
        manifest.extend(store.layout, total, store.access)
    return total
