"""The count of what the fault tests have tried, over all processes of a run."""

from __future__ import annotations

from dataclasses import dataclass


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

    def add(self, others: dict[str, int]) -> None:
        """Take over what another process of this run has tried."""
        for name, count in others.items():
            setattr(self, name, getattr(self, name) + count)

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
