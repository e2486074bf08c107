"""Decide when an agent gives up a function: W&B's rules, which spare the other trials from one that cannot work.

Source: ``wandb.agents.pyagent.Agent._handle_errored_run`` (0.31.0).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: The agent stops after so many failures within so many seconds of its start.
_FLAPPING_FAILURES = 3
_FLAPPING_SECONDS = 60.0

#: The agent stops after more failures than this, if no trial has succeeded.
_INITIAL_FAILURES = 5


@dataclass
class Failures:
    """The failures of one agent so far.

    Attributes:
        environ: ``WANDB_AGENT_DISABLE_FLAPPING=true`` turns the first rule off; ``WANDB_AGENT_MAX_INITIAL_FAILURES``
            changes the bound of the second.
        most_in_a_row: the agent stops after so many failures in a row; None for no such bound.
        clock: returns seconds.
    """

    environ: Mapping[str, str]
    most_in_a_row: int | None = None
    clock: Callable[[], float] = time.monotonic
    _trials: int = field(default=0, init=False)
    _failed: int = field(default=0, init=False)
    _in_a_row: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Note that the agent starts now."""
        self._started = self.clock()

    def count(self, *, failed: bool) -> str | None:
        """Count a trial that ended; return why the agent is to stop, or None if it goes on."""
        self._trials += 1
        if not failed:
            self._in_a_row = 0
            return None
        self._failed += 1
        self._in_a_row += 1
        if self.most_in_a_row is not None and self._in_a_row >= self.most_in_a_row:
            return f"{self._in_a_row} trials failed one after the other"
        is_early = self.clock() - self._started < _FLAPPING_SECONDS
        may_flap = self.environ.get("WANDB_AGENT_DISABLE_FLAPPING", "").lower() == "true"
        if is_early and not may_flap and self._failed >= _FLAPPING_FAILURES:
            return (
                f"{self._failed} trials failed in the first {_FLAPPING_SECONDS:.0f} seconds "
                "(WANDB_AGENT_DISABLE_FLAPPING=true goes on all the same)"
            )
        try:
            most_initial = int(self.environ.get("WANDB_AGENT_MAX_INITIAL_FAILURES", ""))
        except ValueError:
            most_initial = _INITIAL_FAILURES
        if self._failed == self._trials and self._failed > most_initial:
            return (
                f"the first {self._failed} trials all failed "
                f"(WANDB_AGENT_MAX_INITIAL_FAILURES={most_initial} is how many may)"
            )
        return None
