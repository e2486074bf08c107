"""A claim's cost does not depend on the size of the sweep."""

from __future__ import annotations

import subprocess
import sys

import pytest

from slurmsweep.state.journal import encode

#: The whole of a claim in a fresh process, imports excluded: bytes asked from the system, by its own account.
CLAIM_ONCE = """
import sys
from slurmsweep.agent.identity import this_process
from slurmsweep.state.store import SweepStore
def read_so_far():
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])
owner = this_process({})
idle = -read_so_far() + read_so_far()
before = read_so_far()
claim = SweepStore.open(sys.argv[1]).claim(owner)
print(read_so_far() - before - idle, claim.slot.trial)
"""


@pytest.mark.parametrize(("trials", "claimed"), [(100, 50), (1_000_000, 500_000)])
def test_a_claim_reads_at_most_8_kib_of_state(make_store, trials, claimed):
    store = make_store(trials)
    record = {"op": "claim", "t": claimed - 1, "a": 1, "k": "0" * 16, "at": 1.0, "o": {"host": "n"}}
    line = encode({**record, "h": {"s": claimed, "n": claimed, "c": {"running": 3, "finished": claimed - 3}}})
    with open(store.journal.path, "ab") as file:
        file.write(line * claimed)

    done = subprocess.run(
        [sys.executable, "-c", CLAIM_ONCE, store.layout.folder], capture_output=True, text=True, check=True
    )

    read, trial = map(int, done.stdout.split())
    assert trial == claimed
    assert 0 < read <= 8 * 1024
