"""What an agent does where a script has removed the folder of its attempt, of its trial, or of the whole sweep.

The first two are made again: the attempt is this agent's, as the claim in the journal says. Of a sweep that is gone
each agent keeps what it knows of its own trial elsewhere.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from slurmsweep.errors import StateUnwritableError
from slurmsweep.state import files, place
from slurmsweep.state.paths import rescued_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Claim
    from slurmsweep.state.records import BandsReached
    from slurmsweep.state.store import SweepStore

_AT_ONCE = 1 << 20


def put_back(store: SweepStore, claim: Claim, log: int) -> str:
    """Make an attempt's folder again with its log, whose name its command removed and which ``log`` still has open.

    ``log`` is the new file's descriptor then; a line for it is returned. Of a sweep that was removed the log is kept
    elsewhere. Where neither is possible nothing is done: recording the outcome says so.
    """
    if place.is_removed(store.layout.folder, store.device):
        _keep_elsewhere(store, claim, "log", lambda path: _copy(log, path, store.access))
        return ""
    path = store.layout.log(claim.attempt_id)
    with suppress(StateUnwritableError):
        store.remake_attempt(claim)
        lost = "" if _copy(log, path, store.access) else "the log and "
        new = files.open_log(path, store.access)
        os.dup2(new, log)
        os.close(new)
        return f"the command removed the folder of its attempt, which is made again: {lost}what else was in it is lost"
    return ""


def answer_missing_folder(
    store: SweepStore, claim: Claim, params: Mapping[str, Any], outcome: Outcome, bands: BandsReached
) -> None:
    """Make the attempt's folder again, where there was none to record the outcome in.

    Raises:
        StateUnwritableError: the whole sweep was removed. The message says where the outcome is kept.
    """
    attempt_id, folder = claim.attempt_id, store.layout.folder
    if not place.is_removed(folder, store.device):
        with suppress(StateUnwritableError):
            store.remake_attempt(claim)
        return
    document = {
        "sweep": store.manifest.sweep_id,
        "trial": attempt_id.trial,
        "attempt": attempt_id.attempt,
        "parameters": params,
        **outcome.to_json(),
        **({"bands": bands.values} if bands.values else {}),
        "folder": folder,
        "log": next(filter(os.path.exists, _elsewhere(store, claim, "log")), None),
    }
    text = json.dumps(document)

    def write(path: str) -> bool:
        files.replace(path, f"{text}\n".encode(), store.access)
        return True

    kept = _keep_elsewhere(store, claim, "json", write)
    raise StateUnwritableError(
        f"the folder of sweep {store.manifest.sweep_id} was removed while trial {attempt_id.trial} ran: {folder}; "
        + (f"the outcome of the trial is kept in {kept}" if kept else f"outcome not recorded: {text}")
    )


def _keep_elsewhere(store: SweepStore, claim: Claim, kind: str, write: Callable[[str], bool]) -> str | None:
    """Let ``write`` make a file in the first place that takes it; return its path, None where none does."""
    for path in _elsewhere(store, claim, kind):
        folder = os.path.dirname(path)
        with suppress(StateUnwritableError):
            place.make_state(os.path.dirname(folder), store.access)
            files.ensure_folder(folder, store.access)
            if write(path):
                return path
    return None


def _elsewhere(store: SweepStore, claim: Claim, kind: str) -> Iterator[str]:
    """Yield paths for what is known of a trial of a removed sweep: beside the sweep, else in the home folder."""
    name = f"{store.manifest.sweep_id}-{claim.attempt_id.trial}-{claim.attempt_id.attempt}.{kind}"
    beside = rescued_folder(store.layout.folder)
    if os.path.isdir(os.path.dirname(os.path.dirname(beside))):
        yield os.path.join(beside, name)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    yield os.path.join(cache, "slurmsweep", "rescued", name)


def _copy(descriptor: int, path: str, access: files.Access) -> bool:
    """Write what an open file without a name holds to ``path``; return whether it could be read."""
    try:
        with open(f"/proc/self/fd/{descriptor}", "rb") as content:
            files.write_pieces(path, iter(lambda: content.read(_AT_ONCE), b""), access)
    except OSError:
        return False
    return True
