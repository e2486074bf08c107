"""Follow a page of the project: type its commands in their order, as they stand there, and let a test look at each.

A test that knows what comes next names the beginning of each command; a command that the page gets later fails it::

    with following(sections(PAGE)["Batch"], Shell(folder, environ, {"URI": "me/image:1"})) as typed:
        assert "3 finished" in typed("slurmsweep run sweep.yaml")

A test that takes a page as it is runs such a command, too, without a change of the test::

    printed = {command: said for command, said, _ in follow(PAGE, Shell(folder, environ, {"abcd1234": sweep}))}
"""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from documented import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from documented import Command


#: How a page's command says which sweep it made.
_MADE = re.compile(r"\bsweep ([a-z0-9]{8}) in ")


class Shell:
    """A terminal in which a user types what a page shows.

    Attributes:
        folder: where the next command is typed; a command that begins with `cd` changes it.
        environ: of the commands, beside those of the test's process.
        stands_for: what is typed in the place of a word of the page, such as `URI`. It may change between commands.

    Args:
        before: words in front of each command, which get bash's words as theirs.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str], stands_for: dict[str, str], before: Sequence[str] = ()
    ) -> None:
        self.folder, self.environ = str(folder), dict(environ)
        self.stands_for, self._before = stands_for, before

    def words(self, text: str) -> list[str]:
        """Return the program and its arguments that type a command of the page."""
        text = _replaced(text, self.stands_for)
        return [*self._before, "bash", "-c", 'cd "$0" && eval "$1"', self.folder, text]

    def type(self, text: str, exit_code: int = 0) -> str:
        """Type a command, which has to end so; what it says: its output and its notes."""
        moved = re.fullmatch(r"cd (\S+)(?: && .*)?", text)
        done = subprocess.run(
            self.words(text),
            env=os.environ | self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=500,
        )
        assert done.returncode == exit_code, f"$ {text}\n{done.stdout}"
        if moved:
            self.folder = os.path.join(self.folder, moved[1])
        return done.stdout


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


class Followed(NamedTuple):
    """A command of a page that was typed.

    Attributes:
        command: as the page shows it.
        printed: what it said, on both streams.
        sweep: the sweep that this page made last.
    """

    command: str
    printed: str
    sweep: str | None


def follow(
    page: Path,
    shell: Shell,
    *,
    not_run: Mapping[str, str] | None = None,
    exit_codes: Mapping[str, int] | None = None,
) -> Iterator[Followed]:
    """Yield each command of a page after it was typed; the test may look around before the next one.

    `SWEEP` in a command is the sweep that the page made last, unless the shell says which sweep it is.

    Args:
        page: whose commands are typed.
        shell: where.
        not_run: commands that are left out, with the reason.
        exit_codes: of commands that promise another one than 0.
    """
    not_run, exit_codes = not_run or {}, exit_codes or {}
    shown = [text for _, text in commands(page)]
    unused = [name for name in (*not_run, *exit_codes) if name not in shown]
    unused += [word for word in shell.stands_for if not any(_replaced(text, {word: ""}) != text for text in shown)]
    assert unused == [], f"{page.name} has none of these"
    sweep = given = shell.stands_for.get("SWEEP")
    for text in shown:
        if text in not_run:
            continue
        printed = shell.type(text, exit_codes.get(text, 0))
        made = _MADE.findall(printed)
        if made:
            sweep = made[-1]
            shell.stands_for["SWEEP"] = given or sweep
        yield Followed(text, printed, sweep)


def _replaced(text: str, stands_for: Mapping[str, str]) -> str:
    for word, own in sorted(stands_for.items(), key=lambda pair: -len(pair[0])):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?![\w-])", lambda _, own=own: own, text)
    return text
