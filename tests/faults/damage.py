"""Damage one document of a sweep that is sound otherwise, and ask every command about it.

A field takes a value of another kind, is missing, or is one too many, and the checksum fits: no reader finds the damage by
that. Or the file as a whole is cut, empty, no text, very large, or no file at all.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slurmsweep.state.journal import decode

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Exit codes that the command line documents.
DOCUMENTED = range(6)

#: What a field is replaced by: a value, or text of JSON that Python's writer would not write.
DEEP = "@deep"
VALUES: list[Any] = [
    None, True, False, [], [1], [[]], {}, {"a": 1}, "", "text", "\0", "\ud800", "x" * 5000, "../../etc", "1", 0, 1, -1, 7, 2**31,
    2**53, 2**63, 10**30, 10**400, -(2**63), 0.5, -0.5, 1e300, float("nan"), float("inf"), float("-inf"), DEEP,
]  # fmt: skip

#: Documents of a sweep, as patterns below its folder.
DOCUMENTS = (
    "sweep.json",
    "function.json",
    "fold.cache",
    "submissions/*.json",
    "mend/*.json",
    "trials/*/*/*/owner",
    "trials/*/*/*/outcome.json",
    "trials/*/*/*/history.jsonl",
)

#: What is asked about a damaged sweep; ``--json`` is added where there is such an option.
COMMANDS = (
    ("status", "@", "--json"),
    ("trials", "@", "--json"),
    ("show", "@", "0", "--json"),
    ("show", "@", "1"),
    ("logs", "@", "0"),
    ("best", "@", "--json"),
    ("importance", "@", "--json"),
    ("check", "@", "--json"),
    ("check", "@", "--repair"),
    ("ls", "--json"),
    ("efficiency", "@", "--trials", "--json"),
    ("delete", "@", "--trials", "0", "--json"),
    ("pause", "@", "--json"),
    ("resume", "@"),
    ("stop", "@"),
    ("cancel", "@"),
    ("reconcile", "@", "--json"),
    ("resubmit", "@", "--dry-run", "--json", "--backend", "local"),
    ("run", "@", "--dry-run", "--json", "--backend", "local"),
    ("submit", "@", "--dry-run", "--json"),
    ("sync", "@", "--dry-run", "--json"),
    ("create", "--from", "@", "--trials", "0"),
    ("status", "@"),
    ("trials", "@"),
    ("best", "@", "--top", "3"),
    ("efficiency", "@"),
)


@dataclass(frozen=True)
class Damage:
    """One damage that was done.

    Attributes:
        path: of the document, below the sweep's folder.
        what: for people.
    """

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def damage(folder: Path, dice: random.Random) -> Damage:
    """Damage one document of the sweep in ``folder``, chosen by ``dice``."""
    journal = folder / "journal.log"
    if dice.random() < 0.1:
        return _as_a_file(dice.choice([journal, *_documents(folder)]), folder, dice)
    if dice.random() < 0.5:
        return _in_the_journal(journal, dice)
    return _in_a_document(dice.choice(_documents(folder)), folder, dice)


def _documents(folder: Path) -> list[Path]:
    return sorted(path for pattern in DOCUMENTS for path in folder.glob(pattern) if path.is_file())


def _in_the_journal(journal: Path, dice: random.Random) -> Damage:
    lines = journal.read_bytes().split(b"\n")[:-1]
    number = dice.randrange(len(lines))
    record = decode(lines[number])
    place, what = _mutate(record, dice)
    text = _text(record)
    lines[number] = b"%08x %s" % (zlib.crc32(text), text)
    journal.write_bytes(b"\n".join([*lines, b""]))
    return Damage("journal.log", f"line {number + 1}, {record.get('op')}, {place} {what}")


def _in_a_document(path: Path, folder: Path, dice: random.Random) -> Damage:
    content = path.read_bytes()
    name = str(path.relative_to(folder))
    if path.name == "fold.cache":
        head, _, columns = content.partition(b"\n")
        document = json.loads(head[9:])
        place, what = _mutate(document, dice)
        text = _text(document)
        path.write_bytes(b"%08x %s\n%s" % (zlib.crc32(text + columns), text, columns))
        return Damage(name, f"{place} {what}")
    lines = content.splitlines() if path.suffix == ".jsonl" else [content]
    number = dice.randrange(len(lines))
    document = json.loads(lines[number])
    place, what = _mutate(document, dice)
    lines[number] = _text(document)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return Damage(name, f"{place} {what}")


def _mutate(document: dict[str, Any], dice: random.Random) -> tuple[str, str]:
    """Change one place of a document; return where, and how."""
    where, inside, key = dice.choice(list(_places(document)))
    how = dice.random()
    if how < 0.15 and isinstance(inside, dict):
        del inside[key]
        return where, "is missing"
    value = dice.choice(VALUES)
    if how < 0.25:
        if isinstance(inside, dict):
            inside[dice.choice(["further", "", "t", "p", "reached"])] = value
        else:
            inside.append(value)
        return where, f"has {value!r:.40} beside it"
    inside[key] = value
    return where, f"is {value!r:.40}"


def _places(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield f"{path}.{key}", value, key
        yield from _places(inner, f"{path}.{key}")


def _text(document: Any) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return text.replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000).encode()


def _as_a_file(path: Path, folder: Path, dice: random.Random) -> Damage:
    """Put something else in the place of a document."""
    content = path.read_bytes()
    ways: dict[str, Callable[[], object]] = {
        "cut": lambda: path.write_bytes(content[: dice.randrange(len(content))]),
        "empty": lambda: path.write_bytes(b""),
        "binary": lambda: path.write_bytes(bytes(range(256)) * 20),
        "no UTF-8": lambda: path.write_bytes(b'{"a": "\xff\xfe"}\n'),
        "10 MB": lambda: path.write_bytes(content + b" " * 10_000_000),
        "10 MB of a list": lambda: path.write_bytes(b"[" + b"1," * 5_000_000 + b"1]"),
        "a folder": lambda: (path.unlink(), path.mkdir()),
        "a pipe": lambda: (path.unlink(), os.mkfifo(path)),
        "a link to nothing": lambda: (path.unlink(), path.symlink_to("nowhere")),
        "a link to itself": lambda: (path.unlink(), path.symlink_to(path.name)),
        "missing": path.unlink,
    }
    what = dice.choice(list(ways))
    ways[what]()
    return Damage(str(path.relative_to(folder)), what)


def copied(sound: Path, place: Path) -> Path:
    """Return a fresh copy of a sweep's root folder at ``place``."""
    with suppress(FileNotFoundError):
        shutil.rmtree(place)
    shutil.copytree(sound, place, symlinks=True)
    return place
