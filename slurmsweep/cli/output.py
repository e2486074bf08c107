"""All that commands print: documents, tables and logs on stdout; notes and progress on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from slurmsweep.control.jobs.orders import Ordered

#: Option of the interpreter (``-X``): the encoding of what is printed, where Python itself uses another one.
OUTPUT_ENCODING = "slurmsweep_output"

#: Seconds between two lines of progress where there is no terminal.
_LINE_PERIOD = 10.0

#: Characters of a bar of progress on a terminal that is wide enough.
_BAR = 40

#: Characters of a terminal that has room for times beside the words of a bar.
_WITH_TIMES = 60

#: Bytes of a log that are read at once.
_BLOCK = 1 << 16


def escape_what_cannot_be_shown() -> None:
    """Print backslash escapes in the place of characters that the encoding of stdout or stderr does not have."""
    encoding = sys._xoptions.get(OUTPUT_ENCODING)  # noqa: SLF001 - documented under that name
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a test or a program has put something else
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def note(message: str) -> None:
    """Print a line for people on stderr, without what a terminal would act upon."""
    if not message.isprintable():
        from slurmsweep.report.terminal import printable_lines  # agents say nothing that needs it

        message = printable_lines(message)
    print(fitted(f"slurmsweep: {message}", sys.stderr), file=sys.stderr, flush=True)


def fitted(prose: str, stream: TextIO) -> str:
    """Return prose in lines that fit the stream's terminal; as it is where that is none: programs read whole lines."""
    if not stream.isatty():
        return prose
    from slurmsweep.report.terminal import sentences, width  # agents have no terminal

    return sentences(prose, width(stream))


def print_json(document: Any) -> None:
    """Print one document on stdout. NaN and infinity, which JSON does not have, are the texts that W&B has for them."""
    try:
        text = json.dumps(document, indent=1, allow_nan=False)
    except ValueError:  # few documents have such a number, and looking for it costs as much as writing them
        from slurmsweep.report.strict_json import in_words, strict

        text = json.dumps(strict(document, in_words), indent=1, allow_nan=False)
    print(text)


def print_text(text: str, end: str = "\n") -> None:
    """Print what stays as it is on stdout: tables, and what is copied (ids, scripts); safe for a terminal already."""
    print(text, end=end)


def print_sentences(text: str) -> None:
    """Print prose, which is safe for a terminal already, on stdout; on a terminal in lines that fit it."""
    print(fitted(text, sys.stdout))


def refuse_on_terminal(kind: str) -> None:
    """Raise UsageError where a file of that format goes to stdout, and that is a terminal."""
    if kind == "png" and sys.stdout.isatty():
        raise UsageError("png is no text: give the file to write with -o FILE")


def print_table(table: str) -> None:
    """Print a table on stdout; on a terminal with states in colour, unless ``NO_COLOR`` is set."""
    from slurmsweep.report.terminal import coloured  # agents print none

    has_colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    print(coloured(table) if has_colours else table)


def print_log(path: str, lines: int | None = None, *, start: int = 0) -> int:
    """Print a log as it is; on a terminal without what a terminal would act upon, except colours.

    Args:
        path: of the log.
        lines: only the last so many.
        start: offset in bytes at which to begin; without effect where ``lines`` is given.

    Returns:
        The offset up to which the log was printed.
    """
    from slurmsweep.state import files

    if lines:
        with files.opened(path) as file:
            start = _last_lines(file, lines)
    end = start
    write = _write_shown() if sys.stdout.isatty() else sys.stdout.buffer.write
    sys.stdout.flush()
    for piece in files.pieces_of(path, start):
        write(piece)
        end += len(piece)
    sys.stdout.flush()
    return end


def _write_shown() -> Callable[[bytes], object]:
    """Return what takes pieces of a log and shows them on a terminal; a character may be in two pieces."""
    from codecs import getincrementaldecoder

    from slurmsweep.report.terminal import printable_log

    text = getincrementaldecoder("utf-8")("replace")
    return lambda piece: sys.stdout.write(printable_log(text.decode(piece)))


def _last_lines(file: BinaryIO, lines: int) -> int:
    """Return the offset at which the last lines of a file begin; it is read from its end."""
    end = position = file.seek(0, os.SEEK_END)
    found = 0
    while position:
        begin = max(0, position - _BLOCK)
        file.seek(begin)
        block = file.read(position - begin)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            found += begin + at + 1 != end  # the end of the last line begins no other
            if found == lines:
                return begin + at + 1
        position = begin
    return 0


def confirm(question: str, *, yes: bool) -> bool:
    """Ask a person before something is lost; return whether the answer is yes, which it is without asking for ``yes``.

    Raises:
        UsageError: there is no terminal to ask on.
    """
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("nothing was removed: there is no terminal to ask on; --yes answers, --dry-run only shows")
    print(fitted(f"slurmsweep: {question} [y/N]", sys.stderr), end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def print_order(sweep: str, ordered: Ordered, verb: str, *, as_json: bool) -> None:
    """Print what became of an order, such as ``pause``; ``verb`` says what was done with jobs and processes."""
    if as_json:
        print_json(vars(ordered))
        return
    told = [f"job {job}" for job in ordered.jobs] + [f"process {pid}" for pid in ordered.processes]
    untold = [f"an agent on {host} cannot be ended from here: run the same command there" for host in ordered.elsewhere]
    but = f"; but {'; '.join(untold)}" if untold else ""
    now = f"was {ordered.lifted}, which this lifts: it is" if ordered.lifted else "is"
    note(f"sweep {sweep} {now} {ordered.state}" + (f"; {verb}: {', '.join(told)}" if told else "") + but)
    for job in ordered.foreign:
        note(f"job {job} was left alone: its name is not that of a job of this sweep; end it yourself if it is yours")
    for job in ordered.unheld:
        note(
            f"job {job} cannot be held: what starts of it during the pause ends at once; `submit` again after `resume`"
        )
    for job in ordered.untold:
        note(f"{job} is no job that can be ended: what starts of it finds the order, and `listen` ends its own trials")
    for cluster in ordered.clusters:
        note(f"arrays were submitted on cluster {cluster}, too, which cannot be told from here: run the command there")


@contextmanager
def steps(total: int, noun: str) -> Iterator[Callable[[int, str], None]]:
    """Show how many of ``total`` things are done: a bar on a terminal, else a line now and then.

    Yields the function that takes that number, and words to show beside it.
    """
    if not sys.stderr.isatty():
        yield _lines(total, noun)
        return
    from rich import progress
    from rich.console import Console
    from rich.table import Column

    console, whole = Console(stderr=True), Column(no_wrap=True)
    counts = progress.MofNCompleteColumn(table_column=whole)
    words = progress.TextColumn("{task.description}", table_column=Column())  # alone broken where the room is small
    times = (progress.TimeElapsedColumn(whole), progress.TimeRemainingColumn(table_column=whole))
    columns = [progress.BarColumn(min(_BAR, console.width // 5), table_column=whole), counts, words]
    columns += times if console.width >= _WITH_TIMES else ()
    with progress.Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=total)
        yield lambda done, words: bar.update(task, completed=done, description=words)


def _lines(total: int, noun: str) -> Callable[[int, str], None]:
    shown = 0
    last = time.monotonic()

    def show(done: int, words: str) -> None:
        nonlocal shown, last
        if done != shown and (done == total or time.monotonic() - last >= _LINE_PERIOD):
            shown, last = done, time.monotonic()
            print(f"{done}/{total} {noun}: {words}", file=sys.stderr, flush=True)

    return show
