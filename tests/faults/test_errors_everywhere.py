"""Every system call of a claim and an outcome fails once, and from then on: a clear error or none, and another goes on."""

from __future__ import annotations

import errno
import functools
import os
import sys
import traceback
from pathlib import Path

import pytest
from faults import tracer
from faults.damage import copied
from faults.promise import FINISHED, GONE, TALLY, finished, one_trial, prove, run_to_the_end

from slurmsweep.cli.main import main
from slurmsweep.errors import StateError
from slurmsweep.state import files as durable
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile import yaml12
from slurmsweep.sweepfile.config import check

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


#: What a command meets that reads or writes files: the disk, rights, the file server, the process's own limits.
OF_COMMANDS = [
    *(errno.EIO, errno.ENOSPC, errno.EACCES, errno.ESTALE, errno.EROFS, errno.EMFILE, errno.ENOTDIR, errno.EDQUOT),
]

COMMANDS = [
    *(("plan", "sweep.yaml"), ("create", "sweep.yaml"), ("create", "sweep.yaml", "--prior", "@")),
    *(("create", "--from", "@", "--trials", "0"), ("templates",), ("templates", "array")),
    *(("status", "@"), ("trials", "@", "--json"), ("show", "@", "0"), ("show", "@", "3"), ("logs", "@", "0")),
    *(("best", "@"), ("importance", "@"), ("ls",), ("ls", "--json"), ("efficiency", "@"), ("sync", "@", "--dry-run")),
    *(("check", "@"), ("check", "@", "--repair"), ("pause", "@"), ("resume", "@"), ("stop", "@"), ("cancel", "@")),
    *(("delete", "@", "--trials", "0"), ("reconcile", "@"), ("resubmit", "@", "--dry-run", "--backend", "local")),
    *(("run", "@", "--dry-run", "--backend", "local"), ("submit", "@", "--dry-run"), ("agent", "@"), ("doctor",)),
    *(("resubmit", "@", "--backend", "local"), ("run", "sweep.yaml", "--backend", "local")),
    *(
        ("rerun", "@", "--trials", "0"),
        ("rerun", "@", "--where", "x=1", "--json"),
        ("share", "@"),
        ("share", "@", "--off"),
    ),
    *(("clean", "over0000", "--yes"), ("clean", "--older", "1h", "--dry-run"), ("rm", "over0000", "--dry-run")),
    *(("report", "@", "-o", "report.html"), ("report", "@", "--format", "md", "-o", "report.md")),
    *(("compare", "@", "over0000"), ("compare", "@", "over0000", "-o", "compare.html"), ("export", "@"), ("defaults",)),
    *(("export", "@", "-o", "trials.csv"), ("export", "@", "--history", "--format", "jsonl"), ("watch", "@", "--once")),
    *(("leet", "@", "--links", "links"), ("completion", "bash")),
    ("run", "sweep.yaml", "--backend", "local", "--notify", "true"),
    ("rm", "over0000", "--yes"),
]

SWEEP = """command: ["true"]
method: grid
metric: {name: loss}
parameters: {x: {values: [1, 2, 3, 4, 5, 6]}}
"""


@pytest.fixture(scope="module")
def half_run(tmp_path_factory):
    """Return the root folder of a sweep of which trials finished, failed and run, and two others; and the first's id."""
    root = tmp_path_factory.mktemp("half_run")
    (root / "sweep.yaml").write_text(SWEEP)
    config = check(yaml12.load(SWEEP, "sweep.yaml")[0], "sweep.yaml").config
    SweepStore.create(str(root), Manifest("zzzz0000", config, 6, str(root), "sweep.yaml", 1.0, "0"))
    over = SweepStore.create(str(root), Manifest("over0000", config, 6, str(root), "sweep.yaml", 1.0, "0"))
    for metric in (0.5, 0.25):
        claim = over.claim(GONE)
        saved = Path(over.layout.checkpoints(claim.attempt_id.trial), "hub")
        saved.mkdir(parents=True)
        (saved / "model").write_text("x")
        over.finish(claim, FINISHED._replace(metric=metric))
    os.utime(over.layout.journal, (1e9, 1e9))
    store = SweepStore.create(str(root), Manifest("aaaa0000", config, 6, str(root), "sweep.yaml", 1.0, "0"))
    failed = Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=2e9)
    for end in (FINISHED._replace(metric=0.5), failed, FINISHED._replace(metric=0.25), None):
        claim = store.claim(GONE)
        with open(store.layout.log(claim.attempt_id), "w", encoding="utf-8") as log:
            log.write("a line\n")
        with open(store.layout.history(claim.attempt_id), "w", encoding="utf-8") as history:
            history.write('{"loss": 0.5}\n')
        if end:
            store.finish(claim, end)
    return root, store.manifest.sweep_id


def command(words, root, say) -> None:
    """Run one command as a process does; say its exit code, and what it printed."""
    os.environ["WANDB_DIR"] = str(root)
    os.chdir(root)
    with open(root / "out", "w+b", buffering=0) as out, open(root / "err", "w+b", buffering=0) as err:
        for stream, file in ((1, out), (2, err)):
            os.dup2(file.fileno(), stream)
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", encoding="utf-8", closefd=False) for stream in (1, 2))
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code
        except BaseException:  # noqa: BLE001 - any is a failure of the test
            traceback.print_exc()
            code = "raised"
        sys.stdout.flush()
        sys.stderr.flush()
    say(str(code))


class FailingBelow(Failing):
    """The same for the files below a folder, but those in which the test keeps what was printed."""

    def __call__(self, name: str, path: str) -> int:
        return 0 if _is_printed(path) else super().__call__(name, path)


def _is_printed(path) -> bool:
    return os.path.basename(path) in ("out", "err")


def tried(words, half_run, place, number, at):
    """Run a command of which one call on a file fails; return the trace, the exit code, and what it printed."""
    sound, sweep = half_run
    root = copied(sound, place)
    fail = FailingBelow(str(root), number, at, lasting=False)
    found = tracer.trace(
        functools.partial(command, [sweep if word == "@" else word for word in words], root), fail=fail
    )
    return found, found.said[-1], (root / "out").read_text(), (root / "err").read_text()


@pytest.mark.timeout(3600)
def test_a_failing_call_of_a_command_is_a_line_that_names_the_file(half_run, tmp_path, monkeypatch, size, dice):
    monkeypatch.setattr(durable, "_VIEW_LAGS", [PATIENCE / 100] * len(durable._VIEW_LAGS))
    place = tmp_path / "root"
    failures = []
    for words in COMMANDS:
        named = (str(place), words[-1]) if "-o" in words else (str(place),)  # a file is named as the user named it
        probe, code, _, err = tried(words, half_run, place, 0, -1)
        assert code in "0134", (words, err)  # without a fault it works, or there is no Slurm
        ours = [name for name, path in probe.calls if path.startswith(str(place)) and not _is_printed(path)]
        cases = list(enumerate(ours))
        for at, name in _chosen(cases, size.errors, dice):
            number = dice.choice(OF_COMMANDS)
            found, code, out, err = tried(words, half_run, place, number, at)
            TALLY.faults += 1
            told = [line for line in err.splitlines() if line.startswith("slurmsweep: ")]
            is_right = (
                found.status == 0 and code in "012345" and "Traceback" not in err and "Exception ignored" not in err
            )
            if (
                not is_right
                or (code == "5" and not any(name in line for line in told for name in named))
                or _half_written(place, half_run[1])
            ):
                fault = f"{os.strerror(number)} at call {at} of {len(cases)}, {name}"
                failures.append(f"{' '.join(words)}, {fault}: {code}\n{out[-300:]}\n{err[-900:]}")

    assert not failures, "\n".join(failures)


def _chosen(cases, most, dice):
    """Return ``most`` of the calls, all for None; of the many of ``doctor``, which writes no sweep's files, some."""
    most = len(cases) if most is None else most
    return dice.sample(cases, min(most, len(cases), 150))


def _half_written(root, sweep) -> bool:
    """Return whether a document of the sweep is damaged, or a record that was acknowledged is gone."""
    store = SweepStore.open(str(root / "wandb" / f"sweep-{sweep}"))
    view = store.replay()
    return bool(view.damaged or view.wrong or view.trials[2].state is not TrialState.FINISHED)
