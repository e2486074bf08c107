"""The journal survives any damage to its end, and says clearly what it does not read."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from slurmsweep.errors import LockTimeoutError, StateUnreadableError
from slurmsweep.state import journal as journals
from slurmsweep.state import lock
from slurmsweep.state.journal import MAX_RECORD, SEAL, Journal, decode, decode_all, encode, header
from slurmsweep.state.replay import Reading


def journal_with(tmp_path, *records) -> Journal:
    path = tmp_path / "journal.log"
    path.write_bytes(header("abcd1234") + b"".join(encode(record) for record in records))
    return Journal(str(path))


def records_of(journal) -> list:
    with journal.opened() as file:
        lines = [decode(line) for lines in journal.blocks(file) for line in lines]
    return [record for record in lines if record]


def append(journal, record) -> None:
    with journal.locked() as locked:
        locked.append(encode(record), record)


def test_a_record_is_one_ascii_line_with_its_checksum():
    line = encode({"op": "claim", "name": "größe\n"})

    assert line.isascii()
    assert line.count(b"\n") == 1
    assert decode(line[:-1]) == {"op": "claim", "name": "größe\n"}


SOUND = [encode({"op": "end", "t": n, "out": {"cause": "größe, ]}"}})[:-1] for n in range(200)]


def with_checksum(text: bytes) -> bytes:
    return b"%08x %s" % (zlib.crc32(text), text)


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"~",
        SOUND[3][:-5],
        SOUND[3][1:],
        SOUND[3] + b" ",
        *map(with_checksum, (b"", b"[]", b"7", b"{} {}", b'{"a":')),
    ],
)
@pytest.mark.parametrize("places", [(), (0,), (63, 64), (199,), range(0, 200, 7)])
def test_lines_decoded_together_are_what_each_of_them_is(odd, places):
    lines = [odd if number in places else line for number, line in enumerate(SOUND)]

    assert list(decode_all(lines)) == [decode(line) for line in lines]
    assert sum(record is None for record in decode_all(lines)) == len(places)


def test_a_flipped_bit_makes_a_line_unreadable():
    line = bytearray(encode({"op": "claim", "t": 7})[:-1])
    line[-3] ^= 1

    assert decode(bytes(line)) is None


def test_records_that_would_not_fit_a_tail_are_refused():
    with pytest.raises(ValueError, match="larger than"):
        encode({"text": "x" * MAX_RECORD})


@pytest.mark.parametrize("junk", [b"", b"\0" * 64, b"\xff garbage"], ids=["cut", "NULs", "junk"])
def test_cut_at_every_byte_nothing_acknowledged_is_lost_and_the_next_record_counts(tmp_path, junk):
    first, last = {"op": "claim", "t": 0}, {"op": "claim", "t": 1}
    journal = journal_with(tmp_path, first, last)
    whole = Path(journal.path).read_bytes()
    start_of_last = len(whole) - len(encode(last))

    for cut in range(start_of_last, len(whole)):
        with open(journal.path, "wb") as file:
            file.write(whole[:cut] + junk)
        append(journal, {"op": "claim", "t": 2})

        assert [r.get("t") for r in records_of(journal)] == [None, 0, 2], f"cut at {cut}"


def test_a_torn_tail_is_sealed_not_cut(tmp_path):
    journal = journal_with(tmp_path)
    torn = encode({"op": "claim", "t": 5})[:-1]
    with open(journal.path, "ab") as file:
        file.write(torn)

    append(journal, {"op": "claim", "t": 6, "a": 1, "k": "k", "o": {}})

    content = Path(journal.path).read_bytes()
    assert torn + SEAL in content
    view = Reading(journal).refresh()
    assert (view.sealed, view.damaged, list(view.trials)) == (1, [], [6])


def test_an_unfinished_last_line_does_not_count_yet(tmp_path):
    journal = journal_with(tmp_path, {"op": "claim", "t": 0})
    with open(journal.path, "ab") as file:
        file.write(encode({"op": "claim", "t": 1})[:-1])

    assert [r.get("t") for r in records_of(journal)] == [None, 0]


def test_the_last_record_is_found_behind_junk_longer_than_the_tail(tmp_path):
    journal = journal_with(tmp_path, {"op": "claim", "t": 3})
    with open(journal.path, "ab") as file:
        file.write(b"x" * 20_000)

    with journal.locked() as locked:
        assert locked.last == {"op": "claim", "t": 3}


def test_a_journal_of_a_newer_format_is_refused_unread(tmp_path):
    path = tmp_path / "journal.log"
    path.write_bytes(encode({"op": "journal", "format": "slurmsweep journal", "version": 99, "sweep": "abcd1234"}))

    with pytest.raises(StateUnreadableError, match="newer slurmsweep"):
        records_of(Journal(str(path)))


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    path = tmp_path / "journal.log"
    path.write_bytes(b"hello\n")

    with pytest.raises(StateUnreadableError, match="not that of a slurmsweep journal"):
        records_of(Journal(str(path)))


def test_a_symbolic_link_in_its_place_is_not_followed(tmp_path):
    target = tmp_path / "elsewhere"
    target.write_bytes(b"precious\n")
    (tmp_path / "journal.log").symlink_to(target)

    with pytest.raises(StateUnreadableError, match="symbolic link"), Journal(str(tmp_path / "journal.log")).locked():
        pass
    assert target.read_bytes() == b"precious\n"


def test_a_pipe_in_its_place_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "journal.log")

    with pytest.raises(StateUnreadableError, match="not a plain file"), Journal(str(tmp_path / "journal.log")).locked():
        pass


def test_waiting_for_the_lock_ends_with_a_message(tmp_path):
    journal = journal_with(tmp_path)

    with journal.locked(), pytest.raises(LockTimeoutError, match="held its lock"), journal.locked(timeout=0.2):
        pass


def test_a_killed_holder_does_not_keep_the_lock(tmp_path):
    journal = journal_with(tmp_path)
    script = (
        "import os, signal, sys; from slurmsweep.state.journal import Journal\n"
        "with Journal(sys.argv[1]).locked(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", script, journal.path], check=False)
    assert killed.returncode == -9

    append(journal, {"op": "claim", "t": 0})

    assert [r.get("t") for r in records_of(journal)] == [None, 0]


def test_several_records_go_to_disk_in_one_write(tmp_path):
    journal = journal_with(tmp_path)

    with journal.locked() as locked:
        locked.append(encode({"t": 1}) + encode({"t": 2}), {"t": 2})
        assert locked.last == {"t": 2}

    assert [r.get("t") for r in records_of(journal)] == [None, 1, 2]


@pytest.mark.parametrize("block", [7, 64, 1000, 1 << 18])
@pytest.mark.parametrize("tail", [b"", b"unfinished with word"])
def test_lines_with_a_word_are_found_from_the_end_whatever_is_read_at_once(tmp_path, monkeypatch, block, tail):
    monkeypatch.setattr(journals, "_BLOCK", block)
    lines = [b"x" * (n % 90) + (b"word" if n % 7 == 0 else b"") + b"y" * (n % 11) for n in range(200)]
    path = tmp_path / "journal.log"
    path.write_bytes(b"\n".join(lines) + b"\n" + tail)

    with open(path, "rb") as file:
        found = list(Journal(str(path)).lines_with(file, b"word"))

    offsets = [sum(len(line) + 1 for line in lines[:n]) for n in range(200)]
    assert found == [(offsets[n], lines[n]) for n in range(199, -1, -1) if b"word" in lines[n]]


def test_waiting_for_the_lock_is_said_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lock, "_SILENT", 0.0)
    path = tmp_path / "journal.log"
    path.touch()
    with lock.LockedFile(str(path)).held(), pytest.raises(LockTimeoutError), lock.LockedFile(str(path)).held(0.2):
        pass

    assert caplog.messages == [f"slurmsweep: {path} is locked by other processes: waiting, 0 s at most"]
