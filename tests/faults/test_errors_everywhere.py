"""Every system call of a claim and an outcome fails once, and from then on: a clear error or none, and another goes on."""

from __future__ import annotations

import errno
import functools
import os
import traceback

import pytest
from faults import tracer
from faults.promise import TALLY, finished, one_trial, prove, run_to_the_end

from slurmsweep.errors import StateError
from slurmsweep.state import files as durable
from slurmsweep.state.store import SweepStore

pytestmark = pytest.mark.skipif(not tracer.SUPPORTED, reason="tests/faults/tracer.py knows Linux on x86-64 only")

ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOLCK, errno.EACCES, errno.EROFS]

#: Seconds to wait for a lock that will never be given.
PATIENCE = 0.3


def careful_trial(folder, say) -> None:
    """Return a trial whose errors are said and not raised; what is not a StateError is a traceback for the user."""
    try:
        store = SweepStore.open_to_run(folder)
        store = SweepStore(store.layout, store.manifest, lock_timeout=PATIENCE)
        one_trial(store, say)
    except StateError as error:
        say(f"error {error}")
    except BaseException:
        say(traceback.format_exc())
        raise


class Failing:
    """Lets the n-th call on a file of the sweep fail; or that one and all after it."""

    def __init__(self, folder: str, number: int, at: int, *, lasting: bool) -> None:
        self._folder, self._number, self._at, self._lasting = folder, number, at, lasting
        self._seen = -1

    def __call__(self, _name: str, path: str) -> int:
        if not path.startswith(self._folder):
            return 0
        self._seen += 1
        return self._number if self._seen == self._at or (self._lasting and self._seen > self._at) else 0


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from_then_on"])
@pytest.mark.timeout(900)
def test_a_failing_call_is_an_error_message_and_costs_no_trial(make_store, tmp_path, monkeypatch, number, lasting):
    monkeypatch.setattr(durable, "_VIEW_LAGS", [PATIENCE / 100] * len(durable._VIEW_LAGS))  # the same tries, sooner
    probe = make_store(2, tmp_path / "probe").layout.folder
    calls = tracer.trace(functools.partial(careful_trial, probe)).calls
    names = [name for name, path in calls if path.startswith(probe)]
    assert {"write", "fsync", "mkdir", "rename", "flock", "openat"} <= set(names)

    for at, name in enumerate(names):
        store = make_store(2, tmp_path / str(at))
        folder = store.layout.folder
        fail = Failing(folder, number, at, lasting=lasting)
        found = tracer.trace(functools.partial(careful_trial, folder), fail=fail)
        TALLY.faults += 1
        where = f"{os.strerror(number)} at call {at}, {name}"
        assert os.waitstatus_to_exitcode(found.status) == 0, f"{where}: {found.said}"

        run_to_the_end(store)

        prove(store, finished(found.said), where)
