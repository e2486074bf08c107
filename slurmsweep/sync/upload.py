"""Upload offline runs by the real `wandb sync`, one process a trial, several at a time.

What was uploaded is remembered as wandb does it, by a file ``.synced`` beside the run file: `wandb sync` and `wandb
clean` see the same. All attempts of a trial share one run id; their files are uploaded in the order in which the
attempts began, as the server would have received them online.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from filelock import lock_descriptor

from slurmsweep.errors import LockTimeoutError, UsageError
from slurmsweep.metrics.trial_runs import OFFLINE, TrialRuns
from slurmsweep.state import files
from slurmsweep.state.files import reading
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId
from slurmsweep.sync.run_copy import Extremes, Home, copy_run, extremes_with, forget, home_of, is_synced, mark_synced

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore

#: Seconds between two looks at the upload processes.
_PERIOD = 0.05

#: After so many failures without a success no other upload is tried: there is no key, or no network.
_HOPELESS = 5

#: Variables that say which run a script is; `wandb sync` must not take them from this process.
_OF_A_RUN = (
    "WANDB_DIR",
    "WANDB_MODE",
    "WANDB_RESUME",
    "WANDB_RUN_GROUP",
    "WANDB_RUN_ID",
    "WANDB_SERVICE",
    "WANDB_SWEEP_ID",
    "WANDB_SWEEP_PARAM_PATH",
)

#: Lines by which wandb, click and Python report an error.
_ERROR = re.compile(r"\bERROR\b|^Error: |^Traceback |^\w*(Error|Exception): ")

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Upload:
    """The runs of one trial that are to be uploaded.

    Attributes:
        trial: number of the trial.
        run_files: paths of run files, in the order in which the runs began.
        homes: by path, where they go at W&B.
        all_files: paths of all run files of the trial, also of those that were uploaded before.
    """

    trial: int
    run_files: tuple[str, ...]
    homes: Mapping[str, Home]
    all_files: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What there is to upload.

    Attributes:
        uploads: in the order of the trials' numbers.
        synced: number of trials of which everything was uploaded before.
        without: number of trials that have no offline wandb run.
    """

    uploads: tuple[Upload, ...]
    synced: int
    without: int


@dataclass
class Result:
    """What became of the uploads.

    Attributes:
        done: numbers of trials of which everything is uploaded now.
        empty: of trials whose run files hold nothing: their scripts were killed before wandb wrote.
        failed: of trials that `wandb sync` did not upload, with the reason.
        untried: of trials left out because no upload had succeeded.
    """

    done: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    untried: list[int] = field(default_factory=list)


def find(
    store: SweepStore,
    view: SweepView,
    states: Collection[TrialState],
    numbers: Sequence[int] | None,
    *,
    again: bool = False,
) -> Found:
    """Return the offline runs of trials in one of ``states`` (and of these ``numbers``) that were not uploaded.

    Args:
        store: of the sweep.
        view: its journal's state.
        states: states that have ended: a file that still grows would be uploaded in part. None of them means trials
            that finished or were stopped early.
        numbers: only these trials; None for all.
        again: also runs that were uploaded before.

    Raises:
        UsageError: a state has not ended.
        StateUnreadableError: the folder of a trial's runs cannot be read.
    """
    for state in states:
        if not state.has_ended():
            raise UsageError(f"a {state} trial cannot be uploaded yet: choose states that have ended")
    trials = view.trials
    chosen = {number for state in states or (TrialState.FINISHED,) for number in trials.in_state(state)}
    chosen.update(() if states else trials.stopped_early())
    chosen = chosen if numbers is None else {number for number in chosen if number in numbers}
    uploads: list[Upload] = []
    synced = without = 0
    for trial in sorted(chosen):
        newest = AttemptId(trial, view.trials[trial].newest)
        with reading(store.layout.runs(trial)):
            found = TrialRuns(store.layout, newest, view.first_attempt(trial), is_over=True)
            paths = [run.path for run in found.found()]
            runs = [path for path in paths if os.path.basename(os.path.dirname(path)).startswith(OFFLINE)]
            left = tuple(run for run in runs if again or not is_synced(run))
            if left:
                uploads.append(Upload(trial, left, {run: home_of(run, found.asked_for) for run in left}, tuple(runs)))
        synced += bool(runs) and not left
        without += not runs
    return Found(tuple(uploads), synced, without)


def upload(
    store: SweepStore,
    uploads: Sequence[Upload],
    options: Sequence[str],
    jobs: int,
    show: Callable[[int, str], None],
) -> Result:
    """Upload runs, ``jobs`` trials at a time; the next call goes on where this one stopped, and with what failed.

    Args:
        store: of the sweep.
        uploads: of :func:`find`.
        options: for `wandb sync`.
        jobs: number of processes at a time.
        show: takes how many trials are done, and words about them.

    Raises:
        UsageError: there is no wandb.
        LockTimeoutError: another process is uploading runs of this sweep.
        StateError: a file of the sweep could not be read or written.
    """
    command = [*wandb_command(), "sync", *options]
    result = Result()
    waiting = deque(uploads)
    crew: list[_Process] = []
    with _alone(store) as lock:
        try:
            while waiting or crew:
                while waiting and len(crew) < jobs:
                    crew += _started(store, waiting.popleft(), command, lock, result)
                time.sleep(_PERIOD)
                _collect(store, crew, result)
                words = f"{len(result.done)} uploaded" + (f", {len(result.failed)} failed" if result.failed else "")
                show(len(result.done) + len(result.empty) + len(result.failed), words)
                if len(result.failed) >= _HOPELESS and not result.done:
                    result.untried = [one.trial for one in waiting]
                    waiting.clear()
        finally:
            for one in crew:
                one.process.terminate()
                one.process.wait()
    return result


def wandb_command() -> list[str]:
    """Return how to call `wandb`: the one on PATH, else this Python's. Raises UsageError if there is none."""
    if program := shutil.which("wandb"):
        return [program]
    found = importlib.util.find_spec("wandb")
    if found and found.origin:  # without one it is a folder of that name, such as that in which wandb keeps its runs
        return [sys.executable, "-m", "wandb"]
    raise UsageError(
        "there is no `wandb` here: activate the environment that has it, or install it by "
        f"`{os.path.basename(sys.executable)} -m pip install wandb`"
    )


@dataclass(frozen=True)
class _Process:
    """`wandb sync` at work on one trial.

    Attributes:
        upload: what it uploads.
        copies: copies of the run files, by original.
        folder: of the copies and of its output.
        process: the process.
    """

    upload: Upload
    copies: dict[str, str]
    folder: str
    process: subprocess.Popen[bytes]

    def failure(self) -> str:
        """Return why an upload failed; empty if `wandb sync` exits with 0, reports no error and marks every file.

        None of these is enough alone: 0.31 exits with 0 after a refusal, and 0.22 then marks the file all the same.
        """
        with open(_log(self.folder), encoding="utf-8", errors="replace") as file:
            lines = [line for text in file if (line := _ESCAPES.sub("", text).strip())]
        errors = [line for line in lines if _ERROR.search(line)]
        if not errors and self.process.returncode == 0 and all(map(is_synced, self.copies.values())):
            return ""
        last = next(iter([*errors[-1:], *lines[-1:]]), "nothing").removeprefix("wandb: ")
        return f"wandb sync ended with {self.process.returncode} and said: {last}"


def _started(store: SweepStore, one: Upload, command: list[str], lock: int, result: Result) -> list[_Process]:
    """Start the process that uploads one trial; return none, and note why in ``result``, if there is none to start."""
    folder = os.path.join(store.layout.uploads, str(one.trial))
    copies = {}
    before: Extremes = {}
    try:
        files.ensure_folder(folder, store.access)
        for place, original in enumerate(one.all_files):
            if original in one.run_files:
                target = os.path.join(folder, f"{place:06}", os.path.basename(os.path.dirname(original)))
                if copy := copy_run(original, target, store.access, one.homes[original], before):
                    copies[original] = copy
            if len(one.all_files) > 1:
                before = extremes_with(before, original)
    except OSError as error:
        result.failed[one.trial] = f"cannot be read: {error}"
        return []
    if not copies:
        result.empty.append(one.trial)
        return []
    runs = [os.path.relpath(os.path.dirname(copy), folder) for copy in copies.values()]
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_RUN}
    cache = {"WANDB_CACHE_DIR": store.layout.wandb_cache(os.getuid())}
    files.remove_file(_log(folder))
    output = files.open_log(_log(folder), store.access)
    try:
        process = subprocess.Popen(
            [*command, *runs],
            cwd=folder,
            env=cache | inherited | {"WANDB_DIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[lock],  # should this process be killed, the lock is held until the last upload has ended
        )
    finally:
        os.close(output)
    return [_Process(one, copies, folder, process)]


def _collect(store: SweepStore, crew: list[_Process], result: Result) -> None:
    """Take processes that have ended out of ``crew``, and note in ``result`` what became of their uploads."""
    for one in [one for one in crew if one.process.poll() is not None]:
        crew.remove(one)
        if why := one.failure():
            for copy in one.copies.values():
                forget(copy)
            result.failed[one.upload.trial] = f"{why} (all of it: {_log(one.folder)})"
            continue
        for original, copy in one.copies.items():
            mark_synced(copy, original, store.access)
        result.done.append(one.upload.trial)
        files.remove_tree(one.folder)


def _log(folder: str) -> str:
    return os.path.join(folder, "output.log")


@contextmanager
def _alone(store: SweepStore) -> Iterator[int]:
    """Keep out other processes, which would write the same steps again; yield the descriptor that holds the lock."""
    files.ensure_folder(store.layout.uploads, store.access)
    descriptor = files.open_log(os.path.join(store.layout.uploads, "lock"), store.access)
    try:
        if not lock_descriptor(descriptor, blocking=False):
            raise LockTimeoutError(
                "another `slurmsweep sync` of this sweep is at work: wait for its end; nothing was done"
            )
        yield descriptor
    finally:
        os.close(descriptor)
