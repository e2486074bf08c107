"""How much of the fault suite is run: the short form among the tests, the long one by ``scripts/faults``."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

import pytest
from faults.promise import TALLY

_LONG = os.environ.get("FAULTS") == "long"
_SEED = int(os.environ.get("FAULTS_SEED") or 1)


@dataclass(frozen=True)
class Size:
    """How much to do.

    Attributes:
        kills: processes killed at a system call.
        chaos: trials, and workers at a time, under random kills.
        mounts: trials for each run over two mounts, and the numbers of processes.
        herd: processes that want the lock at once.
        beside: how often each command is stopped beside another one, for each thing that may happen to the journal.
        damages: damaged documents, each asked about by several commands.
        errors: system calls of each command that fail; None for every one.
    """

    kills: int
    chaos: tuple[int, int]
    mounts: tuple[int, tuple[int, ...]]
    herd: int
    beside: int
    damages: int
    errors: int | None


_SHORT_FORM = Size(kills=1500, chaos=(3000, 32), mounts=(150, (8,)), herd=256, beside=18, damages=150, errors=6)
_LONG_FORM = Size(
    kills=10_000, chaos=(3000, 32), mounts=(800, (8, 16)), herd=256, beside=100_000, damages=2000, errors=None
)


@pytest.fixture
def size() -> Size:
    return _LONG_FORM if _LONG else _SHORT_FORM


@pytest.fixture
def dice() -> random.Random:
    """Return the chance of this run: the same for the same seed."""
    return random.Random(_SEED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line with what was tried, and what was lost."""
    if TALLY.tried():
        form = "long" if _LONG else "short"
        terminalreporter.write_line(f"faults, {form} form, seed {_SEED}: {TALLY}")
