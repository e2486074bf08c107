"""Run a command of the user's when a sweep ends, stops itself, or has its first failure (``--notify``).

Each command line with ``--notify`` leaves a file ``notify/<n>.json``, of which the newest counts. Before the user's
command is started, the event's own file is made, which one process alone can do: it is started at most once for each
event, however many processes notice it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections import deque
from contextlib import suppress
from enum import Enum
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import UsageError
from slurmsweep.state import files
from slurmsweep.state.fields import Fields, maybe, text, whole
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.sweepfile.shell_words import JOINTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Claim
    from slurmsweep.state.store import SweepStore

#: Seconds after which the user's command is killed: the process that runs it has more to do.
TIMEOUT = 60.0

#: States of trials that count as a failure.
FAILURES = (TrialState.FAILED, TrialState.CRASHED)

#: Characters of its output that are repeated where it fails.
_SHOWN = 200

#: Pieces of it, of 4 KiB at most, that are kept until it ends.
_PIECES = 64


class SweepEvent(Enum):
    """What a user is told of."""

    ENDED = "ended"
    STOPPED = "stopped"
    FAILED = "failed"


class NoticeRequest(NamedTuple):
    """What was asked for.

    Attributes:
        number: 1..
        command: words, quoted as in a shell.
        failures: trials that had failed or crashed before.
        ends: where agents are to notice: how many trials have ended when everything has that was started; None where
            the command that waits, or a supervisor, notices.
    """

    number: int
    command: str
    failures: int
    ends: int | None = None


def words_of(command: str) -> list[str]:
    """Return the words of a command. Raises UsageError where it is not quoted as in a shell, or not on this machine."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--notify is not quoted as in a shell ({error}): {command}") from error
    if not words or shutil.which(words[0]) is None:
        raise UsageError(
            f"--notify: there is no program {words[0] if words else command!r} here; its words are split as in a "
            "shell, but no shell reads them: where you need one write bash -c '...'"
        )
    if joint := next((word for word in words if JOINTS.fullmatch(word)), ""):
        raise UsageError(
            f"--notify: no shell reads the command, so {joint!r} does nothing: write bash -c '...' around it"
        )
    return words


def failures_in(counts: Mapping[TrialState, int]) -> int:
    """Return how many trials have failed or crashed."""
    return sum(counts.get(state, 0) for state in FAILURES)


def ask(store: SweepStore, command: str, failures: int, ends: int | None = None) -> int:
    """Keep what is asked for; return its number. Args as :class:`NoticeRequest`. Raises StateError."""
    files.ensure_folder(store.layout.notify, store.access)
    number = (known.number if (known := newest(store)) else 0) + 1
    document = {"command": command, "failures": failures, "ends": ends}
    try:
        files.write_once(_path(store, f"{number}.json"), json.dumps(document).encode(), store.access)
    except FileExistsError:
        return ask(store, command, failures, ends)
    return number


def withdraw(store: SweepStore, number: int) -> None:
    """Ask no longer for what :func:`ask` kept: what was asked for before counts again. Raises StateError."""
    files.remove_file(_path(store, f"{number}.json"))


def leave_to_agents(store: SweepStore, ends: int) -> None:
    """Let agents notice from now on, because the command that asked waits no longer. Raises StateError."""
    asked = newest(store)
    if asked:
        document = {"command": asked.command, "failures": asked.failures, "ends": ends}
        files.replace(_path(store, f"{asked.number}.json"), json.dumps(document).encode(), store.access)


def newest(store: SweepStore) -> NoticeRequest | None:
    """Return what was asked for last; None where nothing was. Raises StateError."""
    numbers = [int(name[:-5]) for name in files.names_in(store.layout.notify) if name[:-5].isdecimal()]
    if not numbers:
        return None
    known = files.read_document(_path(store, f"{max(numbers)}.json"), _FIELDS, "remove it, and give --notify again")
    return NoticeRequest(max(numbers), **known) if known else None


def after_outcome(store: SweepStore, claim: Claim, outcome: Outcome, say: Callable[[str], None]) -> None:
    """Tell what the end of a trial brought about, where agents are to notice that. Raises StateError."""
    asked, counts = newest(store), store.counts
    if asked is None or asked.ends is None:
        return
    if outcome.state in FAILURES and failures_in(counts) > asked.failures:
        detail = f"trial {claim.attempt_id.trial}: {outcome.state} ({outcome.cause})"
        tell(store, SweepEvent.FAILED, counts, say, detail)
    if sum(n for state, n in counts.items() if state.has_ended()) >= asked.ends:
        tell(store, SweepEvent.ENDED, counts, say)


def tell(
    store: SweepStore,
    event: SweepEvent,
    counts: Mapping[TrialState, int],
    say: Callable[[str], None],
    detail: str = "",
) -> None:
    """Run the user's command for an event, unless it was run for it already. Raises StateError.

    What goes wrong with the command is said, and harms nothing.

    Args:
        store: of the sweep.
        event: what happened.
        counts: trials by state.
        say: takes a line for people.
        detail: what else is known: the cause, or the best trial.
    """
    asked = newest(store)
    if asked is None:
        return
    try:
        files.write_once(_path(store, f"{asked.number}-{event.value}"), b"", store.access)
    except FileExistsError:
        return
    manifest = store.manifest
    name = manifest.config.name
    counted = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    happened = {"ended": "has ended", "stopped": "has stopped itself", "failed": "has its first failure"}[event.value]
    words = f"sweep {manifest.sweep_id}{f' ({name})' if name else ''} {happened}: {counted}"
    facts = {
        "event": event.value,
        "sweep": manifest.sweep_id,
        "name": name,
        "folder": store.layout.folder,
        "text": f"{words}; {detail}" if detail else words,
        "detail": detail,
        "counts": {state.value: n for state, n in counts.items() if n},
    }
    problem = _run(asked.command, facts)
    say(f"the --notify command did not tell that the sweep {happened}: {problem}" if problem else "notified: " + words)


def _run(command: str, facts: Mapping[str, Any]) -> str:
    """Run the command with the facts; return what went wrong, empty for nothing."""
    named = {f"SLURMSWEEP_NOTIFY_{key.upper()}": str(facts[key] or "") for key in ("event", "sweep", "name", "text")}
    ours, theirs = os.pipe()
    printed: deque[bytes] = deque(maxlen=_PIECES)  # a program that prints without an end costs no memory
    reader = Thread(target=_take_all, args=(ours, printed), daemon=True)
    reader.start()
    try:
        process = subprocess.Popen(
            words_of(command),
            env=os.environ | named,
            stdin=subprocess.PIPE,
            stdout=theirs,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        )
    except (OSError, UsageError, ValueError) as error:
        return str(error)
    finally:
        os.close(theirs)
    try:
        process.communicate(json.dumps(facts) + "\n", timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # of a process that a file server holds
            process.wait(1)
        if process.stdin:
            with suppress(OSError):  # what was not read by then
                process.stdin.close()
        return f"it did not end within {TIMEOUT:.0f} s and was killed"
    reader.join(1)  # longer only where it left a process behind that holds its output
    last = b"".join(list(printed)).decode("utf-8", "backslashreplace").strip()[-_SHOWN:]
    return f"exit code {process.returncode}{f': {last}' if last else ''}" if process.returncode else ""


def _take_all(pipe: int, printed: deque[bytes]) -> None:
    """Read a pipe to its end, and close it."""
    with open(pipe, "rb", buffering=0) as stream:
        printed.extend(iter(lambda: stream.read(4096), b""))


def _path(store: SweepStore, name: str) -> str:
    return os.path.join(store.layout.notify, name)


_FIELDS = Fields({"command": text, "failures": whole(), "ends": maybe(whole())})
