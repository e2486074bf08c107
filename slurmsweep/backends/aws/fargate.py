"""The sizes that AWS Fargate has: pairs of CPUs and memory. Pure.

Source: the model of ECS in botocore (RegisterTaskDefinition, ``cpu`` and ``memory``), for Linux.
"""

from __future__ import annotations

from typing import NamedTuple

_GIB = 1024


class Size(NamedTuple):
    """CPU units (1024 are one CPU) and MiB of a task."""

    cpu: int
    mib: int

    def __str__(self) -> str:
        """Return it as options of jobs."""
        cpus, gib = self.cpu / 1024, self.mib / _GIB
        return f"cpus-per-task {cpus:g} and mem {f'{gib:g}G' if gib.is_integer() else f'{self.mib}M'}"


def _gib(first: int, last: int, step: int = 1) -> tuple[int, ...]:
    return tuple(n * _GIB for n in range(first, last + 1, step))


#: MiB that a task may have, by its CPU units.
SIZES = {
    256: (512, *_gib(1, 2)),
    512: _gib(1, 4),
    1024: _gib(2, 8),
    2048: _gib(4, 16),
    4096: _gib(8, 30),
    8192: _gib(16, 60, 4),
    16384: _gib(32, 120, 8),
}


def fitting(wanted: Size) -> Size | None:
    """Return the size with these CPUs and as much memory, or what the next step has; None where there is none.

    Memory below the least that these CPUs have is not raised: it costs several times what was asked for.
    """
    sizes = SIZES.get(wanted.cpu, ())
    if not sizes or wanted.mib < sizes[0]:
        return None
    return next((Size(wanted.cpu, mib) for mib in sizes if mib >= wanted.mib), None)


def next_size(wanted: Size) -> Size | None:
    """Return the smallest size with at least these CPUs and this memory; None where even the largest has less."""
    pairs = (Size(cpu, mib) for cpu, sizes in SIZES.items() if cpu >= wanted.cpu for mib in sizes if mib >= wanted.mib)
    return min(pairs, default=None)
