"""Find the wandb runs of a trial: those of all its attempts, in its own folder and wherever its script put them.

wandb names the folder of a run ``offline-run-<date>_<time>-<id>``, and the id is the trial's. Three sources are put
together: the trial's own folder, what wandb says in the logs of the attempts, and, where wandb was silent there, the
folders in which scripts run.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import lru_cache, partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.metrics.external_runs import ENTRIES, ExternalRuns, bases, below, files_in
from slurmsweep.metrics.told import MetricsFile, ToldRows, printed_rows
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.state.paths import Layout

#: How wandb begins the names of run folders: offline and online.
OFFLINE = "offline-run-"
_KINDS = (OFFLINE, "run-")

_BEGUN = re.compile(r"(?:offline-)?run-(\d{8}_\d{6})-")
_ID_OF_OURS = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-([a-z0-9]{8}-\d+)(?:-\d+)?")


class FoundRun(NamedTuple):
    """A run file of a trial.

    Attributes:
        path: of the file.
        attempt: in whose log wandb named it, else the one that was running when the file was last written.
        written: when it was last written, nanoseconds.
        place: among the runs that the logs name; -1 where none names it.
    """

    path: str
    attempt: int
    written: int
    place: int

    @property
    def begun(self) -> tuple[int, str, int, int, int]:
        """What sorts runs by when they began: attempt and second, then place in the log, then wandb's number."""
        folder, run_id = os.path.basename(os.path.dirname(self.path)), os.path.basename(self.path)[4:-6]
        found = _BEGUN.match(folder)
        number = folder[found.end() :].removeprefix(run_id)[1:] if found else ""
        second = found[1] if found else folder
        return self.attempt, second, self.place, int(number) if number.isdecimal() else 0, self.written


class TrialRuns:
    """Follower of the runs of a trial, which are one run of W&B's: new ones are found by each call.

    Each byte of a log is read once. Limits: a run is not found on another machine's disk, nor where wandb was silent
    and the script's folder is none of those that :meth:`_unsaid` looks at.

    Args:
        layout: of the sweep.
        attempt_id: the newest attempt.
        first: the first attempt that counts: a person may have deleted those before it.
        is_over: the trial has ended, so that a longer search is made once.

    Attributes:
        files_of_metrics: by attempt, oldest first, what programs without a client wrote into their metrics files.
        printed: likewise, what they printed, as far as :meth:`files` or :meth:`found` read the logs.
    """

    def __init__(self, layout: Layout, attempt_id: AttemptId, first: int = 1, *, is_over: bool = False) -> None:
        self._layout, self._trial = layout, attempt_id.trial
        self._numbers = range(first, attempt_id.attempt + 1)
        self._logs = {number: ExternalRuns(layout, AttemptId(attempt_id.trial, number)) for number in self._numbers}
        self._is_over = is_over
        self.files_of_metrics = {
            number: ToldRows(MetricsFile(layout.metrics(AttemptId(attempt_id.trial, number))).added)
            for number in self._numbers
        }
        self.printed = {number: ToldRows(partial(printed_rows, log.printed)) for number, log in self._logs.items()}

    @property
    def unseen(self) -> list[str]:
        """Places where wandb said that it writes runs, of those that cannot be seen from here."""
        return [said for log in self._logs.values() for said in log.unseen]

    @property
    def asked_for(self) -> dict[str, str]:
        """``project`` and ``entity`` that the script named and wandb ignored, because it runs in a sweep."""
        return {name: value for log in self._logs.values() for name, value in log.asked_for.items()}

    def files(self) -> list[str]:
        """Return the run files, the one last written last. Raises OSError where something cannot be read.

        Of those that ranks wrote at the same time, rank 0's is the last: :mod:`.ranks`.
        """
        files = [run.path for run in sorted(self.found(), key=lambda run: (run.written, run.begun))]
        if len(files) > 1:
            from slurmsweep.metrics import ranks

            files = ranks.in_order(files)
        return files

    def found(self) -> list[FoundRun]:
        """Return the runs in the order in which they began. Raises OSError as above."""
        if not self._numbers:  # deleted, and not run again yet: no run counts
            return []
        named = {path: number for number, log in self._logs.items() for path in log.files()}
        inside = list(inner_files(self._layout.runs(self._trial)))
        said = {os.path.basename(place) for log in self._logs.values() for place in log.said}
        # a run in the trial's own folder that no log names shows that wandb prints nothing: there may be more elsewhere
        is_silent = any(os.path.basename(os.path.dirname(path)) not in said for path in inside)
        unsaid = list(self._unsaid()) if is_silent or not (inside or said) else []
        begun, places = self._begins(), {path: place for place, path in enumerate(named)}
        runs: dict[tuple[int, int], FoundRun] = {}
        for path in (*named, *inside, *unsaid):
            with suppress(FileNotFoundError):
                status = os.stat(path)
                owners = [number for number, moment in begun.items() if moment <= status.st_mtime_ns]
                attempt = named.get(path) or max(owners, default=0)
                if attempt >= self._numbers.start:
                    place = places.get(path, -1)
                    runs.setdefault((status.st_dev, status.st_ino), FoundRun(path, attempt, status.st_mtime_ns, place))
        return sorted(runs.values(), key=lambda run: (run.begun, run.path))

    def _begins(self) -> dict[int, int]:
        """Return when each attempt began; the first one of the trial has no earlier one to be told from."""
        begun = {1: 0} if self._numbers.start == 1 else {}
        for number in self._numbers:
            if number > 1:
                with suppress(FileNotFoundError):
                    begun[number] = os.stat(self._layout.owner(AttemptId(self._trial, number))).st_mtime_ns
        return begun

    def _unsaid(self) -> Iterator[str]:
        """Yield the run files of this trial's id in the folders where scripts are, for a wandb that printed nothing.

        While the trial runs: the folder of its command, the folders directly in that, its program's own, and the
        attempt's. Once it has ended also further ones below the first, where the sweep's scripts use wandb at all.
        """
        run_id = self._layout.run_id(self._trial)
        log = self._layout.log(AttemptId(self._trial, self._numbers[-1]))
        folders = list(bases(self._layout, log))
        for folder in folders[:1]:
            with suppress(OSError), os.scandir(folder) as entries:
                folders += [entry.path for entry in islice(entries, ENTRIES) if not entry.name.startswith(".")]
        if self._is_over and os.path.isdir(os.environ.get("WANDB_CACHE_DIR") or self._layout.wandb_cache(os.getuid())):
            folders += below(folders[0]) if folders else ()
        for folder in dict.fromkeys(folders):
            place = os.path.join(folder, "wandb")
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                for name in _names(place, os.stat(place).st_mtime_ns).get(run_id, ()):
                    yield from files_in(os.path.join(place, name))


def inner_files(runs: str) -> Iterator[str]:
    """Yield the run files of all attempts in a trial's own folder of runs, in no order. Raises OSError."""
    try:
        names = os.listdir(runs)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        if name.startswith(_KINDS):
            with os.scandir(os.path.join(runs, name)) as entries:
                yield from (entry.path for entry in entries if entry.name.endswith(".wandb") and entry.is_file())


@lru_cache(maxsize=64)
def _names(place: str, changed: int) -> dict[str, list[str]]:
    """Return the names of run folders by run id; a folder that many trials share is listed once as long as it is same.

    ``changed`` is the folder's time of change.
    """
    del changed
    found: dict[str, list[str]] = {}
    for name in os.listdir(place):
        if told := _ID_OF_OURS.fullmatch(name):
            found.setdefault(told[1], []).append(name)
    return found
