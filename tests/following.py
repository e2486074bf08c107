"""Follow a page of the project: type its commands in their order, as they stand there, and let a test look at each.

::

    with following(section(PAGE, "Batch"), Shell(folder, environ, {"URI": "me/image:1"})) as typed:
        assert "3 finished" in typed("slurmsweep run sweep.yaml")
"""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from documented import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from documented import Command


class Shell:
    """A terminal in which a user types what a page shows.

    Attributes:
        folder: where the next command is typed; a command that begins with `cd` changes it.
        environ: of the commands, beside that of the test.
        stands_for: what is typed in the place of a word of the page, such as `URI`.

    Args:
        before: words in front of each command, which get bash's words as theirs.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str], stands_for: Mapping[str, str], before: Sequence[str] = ()
    ) -> None:
        self.folder, self.environ = str(folder), dict(environ)
        self.stands_for, self._before = dict(stands_for), before

    def words(self, text: str) -> list[str]:
        """Return the program and its arguments that type a command of the page."""
        for word, own in sorted(self.stands_for.items(), key=lambda pair: -len(pair[0])):
            text = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", lambda _, own=own: own, text)
        return [*self._before, "bash", "-c", 'cd "$0" && eval "$1"', self.folder, text]

    def type(self, text: str) -> str:
        """Type a command, which has to succeed; what it says: its output and its notes."""
        moved = re.fullmatch(r"cd (\S+)(?: && .*)?", text)
        done = subprocess.run(
            self.words(text),
            env=os.environ | self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, f"$ {text}\n{done.stdout}"
        if moved:
            self.folder = os.path.join(self.folder, moved[1])
        return done.stdout


def section(page: Path, title: str) -> list[Command]:
    """Return the commands below one of the page's titles and the titles in it, `title` and its signs as they stand."""
    return sections(page)[title]


def sections(page: Path) -> dict[str, list[Command]]:
    """Return the commands of a page by the nearest title of the first two levels above each."""
    titles = [
        (number, line.lstrip("# "))
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if re.match(r"##? ", line)
    ]
    found: dict[str, list[Command]] = {}
    for command in commands(page):
        above = [title for number, title in titles if number < command.line]
        found.setdefault(above[-1], []).append(command)
    return found


@contextmanager
def following(shown: Sequence[Command], shell: Shell) -> Iterator[Callable[[str], str]]:
    """Return a function that types the next of these commands, which begins with its argument; at the end none is left."""
    left = list(shown)

    def typed(beginning: str) -> str:
        command = left.pop(0)
        assert command.text.startswith(beginning), f"the page has in line {command.line}: {command.text}"
        return shell.type(command.text)

    yield typed
    assert not left, left
