"""Which sweep, and which trial, the words of a command line mean."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.cli.output import note
from slurmsweep.errors import NotFoundError, StateError, UsageError
from slurmsweep.state.naming import meant, steps_back
from slurmsweep.state.paths import find, project_folder, sweep_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The word for the trial with the best value of the metric.
BEST = "best"


def sweep_of(word: str | None) -> str:
    """Return the sweep that a word means (:func:`slurmsweep.state.naming.meant`); say which, where none was named."""
    sweep = meant(word)
    back = steps_back(word)
    if back is not None and len(sweep_ids(project_folder())) > 1:  # of one sweep there is nothing to mistake
        note(f"sweep {sweep}, the newest here" if not back else f"sweep {sweep}, {back} before the newest here")
    return sweep


def sweep_and_trial(words: Sequence[str], usage: str) -> tuple[str, str]:
    """Return the sweep and the trial of ``SWEEP TRIAL``; of ``TRIAL`` alone, which is one of the newest sweep.

    One word is always the trial: a sweep alone is not what such a command is for.

    Args:
        words: as they were written.
        usage: what would be right.

    Raises:
        UsageError: it is neither of the two.
        NotFoundError: there is no sweep here.
    """
    trial = words[-1] if words else ""
    if len(words) not in (1, 2) or not (trial.isdecimal() or trial == BEST):
        what = f"{trial!r} is not the number of a trial" if trial else "name a trial by its number"
        if len(words) == 1:
            with suppress(UsageError, NotFoundError, StateError):
                what = f"{trial!r} is sweep {find(meant(trial)).sweep_id}: say which trial of it, or `{BEST}`"
        raise UsageError(f"{what}: {usage}")
    return sweep_of(words[0] if len(words) == 2 else None), trial
