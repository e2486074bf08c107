"""Stop trials early by W&B's hyperband rule (``sweeps/hyperband_stopping.py`` 0.3.0): pure, standard library alone.

A trial is looked at each time it has logged the metric as often as a *band* says. It goes on if its value there is
among the best ones that any trial, in whatever state, had at the same band: about one of ``eta`` goes on, and equal
values go on together. A trial that is alone at a band always does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.sweepfile.plain import is_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slurmsweep.sweepfile.sections import EarlyTerminate

#: Bands of a rule that names only the first one; fewer where floats end before.
_MANY_BANDS = 100


class Verdict(NamedTuple):
    """What the rule says of one trial that runs.

    Attributes:
        band: the largest one it has reached, as a number of logged values.
        value: of it that is compared; as logged, also where the metric is to be large.
        threshold: the worst value with which a trial goes on; likewise as logged.
        stops: the value is worse than the threshold.
    """

    band: int
    value: float
    threshold: float
    stops: bool


def bands(rule: EarlyTerminate) -> list[int]:
    """Return the numbers of logged values at which trials are compared, ascending; as in W&B some may be equal.

    ``max_iter`` with ``s`` overrides ``min_iter``. Raises ValueError where no band is left, as W&B does.
    """
    found: list[int] = []
    if rule.max_iter is not None:
        band: float = rule.max_iter
        for _ in range(rule.s or 0):
            band /= rule.eta
            if band < 1:
                break
            found.append(int(band))
        found.sort()
    else:
        band = rule.min_iter or 0
        while len(found) < _MANY_BANDS and math.isfinite(band):
            found.append(int(band))
            band *= rule.eta
    if not found:
        raise ValueError(
            "Bands must be an array of length at least 1. Try increasing s, decreasing eta, or increasing min_iter."
        )
    return found


def threshold(values: Iterable[float], eta: float) -> float:
    """Return the value that is the last to go on, of values to be small; infinity for none of them."""
    ordered = sorted(values)
    share = 1.0 / eta  # a factor as in W&B: of 49 values with eta 49 it leaves one, and the quotient 49 / 49 would two
    return ordered[int(share * len(ordered))] if ordered else math.inf


def verdict(
    rule: EarlyTerminate, goal: str, own: Sequence[float], others: Callable[[int], Iterable[float]]
) -> Verdict | None:
    """Return what the rule says of a trial that runs; None before its first band.

    Args:
        rule: of the sweep.
        goal: ``minimize`` or ``maximize``.
        own: finite values of the metric in the order in which the trial logged them.
        others: of a band, the values that the other trials logged as their value of that number.
    """
    band = next((band for band in reversed(bands(rule)) if band <= len(own)), None)
    if band is None:
        return None
    sign = -1.0 if goal == "maximize" else 1.0
    at_band = sign * own[band - 1]
    value = at_band if rule.strict else min(sign * logged for logged in own)
    last = threshold([at_band, *(sign * logged for logged in others(band))], rule.eta)
    return Verdict(band, sign * value, sign * last, stops=value > last)


def stop_runs(
    rule: EarlyTerminate, goal: str, histories: Mapping[str, Sequence[Any]], running: Iterable[str]
) -> list[str]:
    """Return the runs to stop, in the order of ``running``: W&B's ``stop_runs`` over whole histories.

    Args:
        rule: of the sweep.
        goal: ``minimize`` or ``maximize``.
        histories: what each run, in whatever state, logged as the metric; what is no finite number does not count.
        running: names of those that run.
    """
    finite = {name: list(filter(is_finite, values)) for name, values in histories.items()}

    def besides(name: str) -> Callable[[int], list[float]]:
        others = [values for other, values in finite.items() if other != name]
        return lambda band: [values[band - 1] for values in others if len(values) >= band]

    stopped = []
    for name in running:
        said = verdict(rule, goal, finite[name], besides(name))
        if said and said.stops:
            stopped.append(name)
    return stopped
