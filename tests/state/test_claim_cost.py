"""A claim's cost does not depend on the size of the sweep."""

from __future__ import annotations

import functools
import math
import re
import subprocess
import sys
from collections import Counter

import pytest
from faults import tracer
from faults.promise import one_trial

from slurmsweep.state import journal
from slurmsweep.state.journal import encode
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import SweepStore

#: The whole of a claim in a fresh process, imports excluded: bytes asked from the system, by its own account.
CLAIM_ONCE = """
import sys
from slurmsweep.agents.identity import this_process
from slurmsweep.state.store import SweepStore
def read_so_far():
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])
owner = this_process({})
SweepStore.open(sys.argv[2]).claim(owner)  # loads all that is loaded where it is used
idle = -read_so_far() + read_so_far()
before = read_so_far()
claim = SweepStore.open(sys.argv[1]).claim(owner)
print(read_so_far() - before - idle, claim.attempt_id.trial)
"""


@pytest.mark.parametrize(("trials", "claimed"), [(100, 50), (1_000_000, 500_000)])
def test_a_claim_reads_at_most_8_kib_of_state(make_store, tmp_path, trials, claimed):
    store, other = half_done(make_store(trials), claimed), make_store(1, tmp_path / "other")

    argv = [sys.executable, "-c", CLAIM_ONCE, store.layout.folder, other.layout.folder]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)

    read, trial = map(int, done.stdout.split())
    assert trial == claimed
    assert 0 < read <= 8 * 1024


def half_done(store, claimed: int):
    """As many records as claims, all alike: only the last one is read."""
    record = {"op": "claim", "t": claimed - 1, "a": 1, "k": "0" * 16, "at": 1.0, "o": {"host": "n"}}
    line = encode({**record, "h": {"s": claimed, "n": claimed, "c": {"running": 3, "finished": claimed - 3}}})
    with open(store.journal.path, "ab") as file:
        file.write(line * claimed)
    return store


def whole_trial(folder: str, say) -> None:
    one_trial(SweepStore.open_to_run(folder), say)


def requests(store) -> Counter:
    """Return calls on files of the sweep, by kind, that open it, claim and finish: what a file server would see."""
    folder = store.layout.folder
    calls = tracer.trace(functools.partial(whole_trial, folder)).calls
    return Counter(name for name, path in calls if path.startswith(folder))


@pytest.fixture(params=[math.inf, 0.0], ids=["no writer was held up", "every writer was held up"])
def looks_more(request, monkeypatch):
    """Decide which writers look at the journal's name once more, four in a trial, whatever the load of the machine."""
    monkeypatch.setattr(journal, "_HELD_UP", request.param)
    return 0 if request.param else 4


@pytest.mark.skipif(not tracer.SUPPORTED, reason="tests/faults/tracer.py knows Linux on x86-64 only")
def test_a_trial_costs_at_most_40_requests_and_3_fsyncs(make_store, looks_more):
    store = make_store(3)
    first, second = requests(store), requests(store)

    assert first.total() <= 40 + looks_more, first
    assert first["fsync"] <= 3
    assert second.total() < first.total()  # its shard's folder is there


#: Calls by their names on the page on performance.
ON_THE_PAGE = {"newfstatat": "stat", "openat": "open", "pread64": "read", "flock": "lock"}


@pytest.mark.skipif(not tracer.SUPPORTED, reason="tests/faults/tracer.py knows Linux on x86-64 only")
def test_the_page_on_performance_shows_what_a_trial_costs(make_store, monkeypatch, repository):
    monkeypatch.setattr(journal, "_HELD_UP", math.inf)
    page = (repository / "docs" / "performance.md").read_text().partition("## What an agent adds")[0]
    rows = re.findall(r"^\| \**(\w[\w, ]+?)\** \| \**([\d +]+?)\** \| \**([\d +]+?)\** \|", page, re.MULTILINE)
    shown = {word: cells for words, *cells in rows for word in [words.replace("open, close", "open")]}
    store = make_store(1_000)

    for column, counted in enumerate((requests(store), requests(store))):
        calls = Counter()
        for name, count in counted.items():
            calls[ON_THE_PAGE.get(name, name)] += count
        said = {name: int(cells[column].split(" + ")[0]) for name, cells in shown.items()}
        assert said.pop("in all") == sum(said.values()) + said["open"]
        assert calls.pop("close") == calls["open"]
        assert calls.keys() == said.keys()
        # another Python may look at what it opens less often
        assert calls.pop("stat") <= said.pop("stat")
        assert calls == said


@pytest.mark.skipif(not tracer.SUPPORTED, reason="tests/faults/tracer.py knows Linux on x86-64 only")
@pytest.mark.usefixtures("looks_more")
def test_a_million_trials_cost_no_more_requests_than_a_thousand(make_store, tmp_path):
    small = half_done(make_store(1_000, tmp_path / "small"), 500)
    large = half_done(make_store(1_000_000, tmp_path / "large"), 500_000)

    assert requests(small) == requests(large)


@pytest.mark.parametrize("before", [0, 20_000])
def test_a_requeued_job_decodes_what_was_recorded_since_its_claim_and_no_more(make_store, monkeypatch, before):
    store = half_done(make_store(100_000), before) if before else make_store(100_000)
    job = Owner("n", 1, 1, "b", job="7", task=3)
    held = store.claim(job)
    store.claim(job._replace(task=4))
    for _ in range(20):
        store.claim(job._replace(job="77"))
    decoded = 0
    blocks = store.journal.blocks

    def counting(*where):
        nonlocal decoded
        for lines in blocks(*where):
            decoded += len(lines)
            yield lines

    monkeypatch.setattr(store.journal, "blocks", counting)

    claim = store.continue_after_requeue(job._replace(restart=1))

    assert claim.attempt_id == (held.attempt_id.trial, 2)
    assert decoded == 22
    assert store.continue_after_requeue(job._replace(job="8", restart=1)) is None
    assert decoded == 22
