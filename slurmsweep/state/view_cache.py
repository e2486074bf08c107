"""A view kept on disk, so that looking at a large sweep reads what is new and not everything.

For people's eyes: status, trials, best, logs, watch; and for what an agent looks up of other trials to stop its own
early. **Nothing that claims, records or gives back relies on it**, and it may be deleted at any time. It is one file,
written whole beside the journal once a megabyte has been read that it did not have; the sweep's own state never depends
on whether that worked.

It is believed where it says which journal it was made of (the file's number, and a checksum of the last record it
knows, at its place); anything else is as good as no cache.
"""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import StateUnreadableError, StateUnwritableError
from slurmsweep.state import files
from slurmsweep.state.band_values import BandValues
from slurmsweep.state.chosen import ChosenPoints
from slurmsweep.state.fields import Fields, flag, maybe, one_of, parsed, rows, text, whole
from slurmsweep.state.lifecycle import SweepState
from slurmsweep.state.records import MOST_JOBS, OPTIONS
from slurmsweep.state.replay import Reading, Submission, SweepView
from slurmsweep.state.tail import ATTEMPT_ID, REACHED, Head
from slurmsweep.state.trial_index import TrialIndex

if TYPE_CHECKING:
    from slurmsweep.state.replay import Expected
    from slurmsweep.state.store import SweepStore

_FORMAT = "slurmsweep fold 11"

#: Bytes of journal worth a new cache.
_WORTH_KEEPING = 1 << 20

#: Bytes before the end of what was read whose checksum shows that it is the same journal.
_WITNESS = 256


class Follower:
    """A reading of the journal that begins with the cache, if there is one, and keeps it up to date."""

    def __init__(self, store: SweepStore) -> None:
        self._store = store
        self.reading = _load(store) or store.reading()
        self._kept = self.reading.offset

    @property
    def view(self) -> SweepView:
        """As of the last :meth:`refresh`."""
        return self.reading.view

    def catch_up(self) -> SweepView:
        """Take in what was added, and keep nothing: for a moment in which others wait. Raises StateUnreadableError."""
        return self.reading.refresh()

    def refresh(self) -> SweepView:
        """Take in what was added, and keep it for the next process where it is much. Raises StateUnreadableError."""
        reading = self.reading
        reading.refresh()
        if abs(reading.offset - self._kept) >= _WORTH_KEEPING:  # shorter where the journal was replaced
            self._kept = reading.offset
            with suppress(StateUnwritableError, StateUnreadableError):  # a colleague's sweep, a full disk: then without
                _save(self._store, reading)
        return reading.view


def read(store: SweepStore) -> SweepView:
    """Return the state after all records, from the cache and what was added since. Raises StateUnreadableError."""
    return Follower(store).refresh()


def current(store: SweepStore) -> Reading:
    """Return a reading that is up to date, to be brought up to date again by its own :meth:`Reading.refresh`.

    For agents: each keeps a cache at most once, and so pays for what no process has read before. Raises as
    :func:`read`.
    """
    follower = Follower(store)
    follower.refresh()
    return follower.reading


def _save(store: SweepStore, reading: Reading) -> None:
    view = reading.view
    described, columns = view.trials.dump()
    bands, values = view.bands.dump()
    chosen = view.chosen.dump()
    document = {
        "format": _FORMAT,
        "journal": _identity(store.journal.path, reading.offset),
        "offset": reading.offset,
        "number": reading.number,
        "end": store.manifest.trials,
        "index": described,
        "bands": bands,
        "bands_at": len(columns),
        "chosen_at": len(columns) + len(values),
        "submissions": [asdict(submission) for submission in view.submissions.values()],
        "latest": view.latest,
        "word": view.word.value if view.word else None,
        "word_sequence": view.word_sequence,
        "reached": view.reached,
        "sealed": view.sealed,
        "damaged": view.damaged,
        "wrong": list(view.wrong.items()),
    }
    head = json.dumps(document).encode()
    checksum = zlib.crc32(chosen, zlib.crc32(values, zlib.crc32(columns, zlib.crc32(head))))
    content = b"%08x %s\n%s%s%s" % (checksum, head, columns, values, chosen)
    files.replace(store.layout.cache, content, store.access, sync=False)


def _load(store: SweepStore) -> Reading | None:
    """Return what the cache says; None where there is none, it is of another journal, or it is damaged."""
    try:
        content = files.read_plain_file(store.layout.cache) or b""
        end = content.find(b"\n")
        checksum, _, head = content[: max(0, end)].partition(b" ")
        columns = memoryview(content)[end + 1 :]  # of a large sweep: not copied
        if checksum != b"%08x" % zlib.crc32(columns, zlib.crc32(head)):
            return None
        document = parsed(head)
        if document["format"] != _FORMAT:
            return None
        # records of trials that a longer sweep has are wrong to a process that opened it before
        if document.get("end", store.manifest.trials) != store.manifest.trials:
            return None
        if document["journal"] != _identity(store.journal.path, document["offset"]):
            return None
        view = _view_from_json(document, columns, store.expected())
        return Reading(store.journal, view, document["offset"], whole()(document["number"]), store.expected())
    except (StateUnreadableError, *_OF_OTHER_CONTENT):
        return None


def _identity(path: str, offset: int) -> list[int]:
    """Return which file it is, and a checksum of what stands before ``offset``."""
    start = max(0, offset - _WITNESS)
    number, content = files.piece_of(path, start, offset - start)
    return [number, zlib.crc32(content)]


def _view_from_json(document: dict[str, Any], columns: memoryview, expected: Expected) -> SweepView:
    submissions = [Submission(**_SUBMISSION(fields)) for fields in document["submissions"]]
    for submission in submissions:
        submission.again = list(submission.again)
    Head.from_json(document["latest"])
    bands_at, chosen_at = document["bands_at"], document["chosen_at"]
    return SweepView(
        trials=TrialIndex.load(document["index"], columns[:bands_at]),
        submissions={submission.name: submission for submission in submissions},
        latest=document["latest"],
        word=maybe(one_of(SweepState))(document["word"]),
        word_sequence=whole(-1)(document["word_sequence"]),
        reached=maybe(REACHED)(document["reached"]),
        sealed=whole()(document["sealed"]),
        damaged=list(rows(whole())(document["damaged"])),
        wrong=dict(document["wrong"]),
        chosen=ChosenPoints.load(bytes(columns[chosen_at:])),
        bands=BandValues.load(document["bands"], columns[bands_at:chosen_at]),
        expected=expected,
    )


#: What reading a cache of other content raises: its checksum is against accidents, as all checksums are.
_OF_OTHER_CONTENT = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError)

_SUBMISSION = Fields(
    {"name": text, "tasks": whole(0, MOST_JOBS)},
    {
        **dict.fromkeys(("job", "template"), maybe(text)),
        "asked": maybe(OPTIONS),
        "wishes": OPTIONS,
        "agents": whole(1, MOST_JOBS),
        "again": rows(ATTEMPT_ID),
        "resumes": maybe(one_of(SweepState)),
        "sequence": whole(-1),
        "cluster": text,
        "compared": flag,
        "wanted": maybe(whole(0, MOST_JOBS)),
    },
)
