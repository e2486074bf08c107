"""Many processes over two mounts of a real network filesystem, whose caches are a second old: every trial once.

Each mount has its own cache, as two nodes have. The lock is granted correctly here; the second run switches it off, since
nothing may rely on it (docs/decisions/0001).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults.promise import TALLY, finished, prove, run_to_the_end

from slurmsweep.state.tail import AttemptId

HERE = Path(__file__).parent
LAB = Path("/tmp/slurmsweep-netfs")


#: Seconds for which a mount may show what was: the kernel keeps it for one, and the client's own cache for another.
CACHED = 2.5


@pytest.fixture(scope="module", params=["lax", "strict"])
def mounts(request):
    """Return the two mount points, and whether they cache; skips, and says why, where none can be had."""
    if request.param == "strict" and os.environ.get("FAULTS") != "long":
        pytest.skip("strict: only in the long form")
    installed = subprocess.run([HERE / "netfs", "install"], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(installed.stdout.strip())
    started = subprocess.run([HERE / "netfs", "up", request.param], capture_output=True, text=True, check=False)
    if started.returncode:
        subprocess.run([HERE / "netfs", "down"], check=False, capture_output=True)
        pytest.skip(f"GlusterFS does not start here: {started.stderr.strip() or started.stdout.strip()}")
    yield [LAB / "m1", LAB / "m2"], request.param == "lax"
    subprocess.run([HERE / "netfs", "down"], check=True, capture_output=True)


@pytest.mark.parametrize("lock", ["lock", "no_lock"])
@pytest.mark.timeout(3600)
def test_two_mounts_claim_every_trial_once(mounts, make_store, tmp_path, repository, size, lock):
    (points, is_cached), (trials, crews) = mounts, size.mounts
    for processes in crews:
        roots = [mount / f"{lock}-{processes}" for mount in points]
        roots[0].mkdir()
        store = make_store(trials, roots[0])
        time.sleep(CACHED)  # until the other mount sees it
        folders = [store.layout.folder.replace(str(points[0]), str(mount)) for mount in points]
        said = tmp_path / f"said-{processes}"
        crowd = [
            subprocess.Popen(
                [sys.executable, "-m", "faults.crowd", f"claimer_{lock}", folders[n % 2], str(said)],
                env=os.environ | {"PYTHONPATH": str(repository / "tests")},
            )
            for n in range(processes)
        ]
        assert [process.wait() for process in crowd] == [0] * processes

        if is_cached:
            TALLY.mounted += trials
        else:
            TALLY.uncached += trials
        time.sleep(CACHED)
        acknowledged = finished(said.read_text().splitlines())
        left = set(range(trials)) - set(acknowledged)
        begun = [number for number in left if store.read_owner(AttemptId(number, 1))]
        run_to_the_end(store)
        prove(store, acknowledged, f"{processes} processes, {lock}")
        assert len(acknowledged) == trials - len(left)
        # a client with caches may be told that another process made a folder that no process made: such a trial
        # has not begun, and the next command finds it
        assert begun == []
        assert is_cached or not left
        shutil.rmtree(roots[0])
