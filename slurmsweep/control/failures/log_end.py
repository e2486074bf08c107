"""Read why a command failed, from the end of its log: the error, the line of code, the files.

Python's tracebacks are read as Python, Hydra, torchrun and rich (typer) print them: chained, in groups, of several
ranks at once, of a worker process. Of anything else the last lines count.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slurmsweep.state.outcome import NOTE
from slurmsweep.sweepfile.secrets import masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Bytes of the end of a log that are looked at.
_TAIL = 65536

#: Lines that count where there is no traceback, and lines of an error's own message.
_LAST, _OF_MESSAGE = 5, 6

_HEADER = re.compile(r"^(.*?)(Exception Group |Original )?Traceback \(most recent call last\)")
_FRAME = re.compile(r'^\s*File "(.+)", line (\d+)')
_BOXED_FRAME = re.compile(r"(/.+?):(\d+) in ")
_CHAINED = ("The above exception was the direct cause", "During handling of the above exception")

#: What stands before the lines of one rank, as PyTorch, torchrun and `srun --label` write it.
_RANK = re.compile(r"\[(?:rank|default)?\d+\]: ?|\d+: ")

#: What stands before the lines of an exception group.
_BARS = re.compile(r"^\s{2,}(?:\| ?|\+ (?=Exception Group)|\+[-+ 0-9.]*$)")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")

#: Words below the command's last ones: of the agent; and of wandb at its end, of launchers that tell an exit code, and
#: metrics that a program prints.
_NOTE = re.compile(re.escape(NOTE) + ".*")
_NOISE = re.compile(
    r"wandb:|srun: error: .*(?:Exited|task)|slurmstepd: error: \*\*\*|make: \*\*\*|.*slurmsweep:[ \t]*\{"
)

#: What differs between two trials that make the same mistake: numbers, addresses, quoted values.
_VARYING = re.compile(r"0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|'[^']*'|\"[^\"]*\"")

#: Errors of a launcher about its child, which has said more.
_OF_LAUNCHERS = ("ChildFailedError", "CalledProcessError")

#: Folders of code that the user did not write.
_LIBRARIES = re.compile(r"[/\\](?:site-packages|dist-packages|lib(?:64)?/python3[.\d]*)[/\\]|^<")


@dataclass(frozen=True)
class Failure:
    """The last words of a command that failed.

    Attributes:
        signature: equal for equal mistakes: ``train.py, line 12: ValueError: # is no size``; empty for no words.
        errors: messages, each with its type: of a chain of exceptions all of them, the last one last.
        files: the files of code that its traceback names, outermost first.
        is_traceback: the errors are those of tracebacks, and not the last lines of something else.
    """

    signature: str = ""
    errors: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    is_traceback: bool = False

    @property
    def words(self) -> str:
        """``ValueError: 7 is too large (train.py, line 5)``; the last line where there is no traceback."""
        said = self.errors[-1].strip().partition("\n")[0] if self.errors else ""
        return f"{said} ({self.signature.partition(': ')[0]})" if self.files else said


@dataclass
class _Block:
    """One traceback.

    Attributes:
        label: what stands before each of its lines.
        goes_on: it is part of the one before.
        frames: file and line, outermost first.
        message: the lines of its error.
        is_chained: the next one goes on from it.
    """

    label: str
    goes_on: bool
    frames: list[tuple[str, str]] = field(default_factory=list)
    message: list[str] = field(default_factory=list)
    is_chained: bool = False


def last_words(path: str) -> str:
    """Return the end of a log; empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def is_library(path: str) -> bool:
    """Return whether code belongs to Python or to an installed package."""
    return _LIBRARIES.search(path) is not None


def read_failure(text: str) -> Failure:
    """Return what the end of a log says of a failure, without the values that stand behind the names of secrets."""
    shown = _NOTE.sub("", text.replace("\0", ""))  # no terminal shows a NUL, and no name of a file has one
    lines = [_COLOURS.sub("", line).rpartition("\r")[2].rstrip() for line in shown.split("\n")]
    lines = [_BARS.sub("", line) for line in lines if not _NOISE.match(line)]
    chain = _chain(list(_blocks(lines)))
    if chain:
        errors = tuple(masked("\n".join(block.message)) for block in chain if block.message)
        files = tuple(dict.fromkeys(path for block in chain for path, _ in block.frames))
    else:
        said = [words for line in lines if (words := line.strip("│╭╰─╮╯ \t"))]
        errors, files = tuple(map(masked, said[-_LAST:])), ()
    return Failure(_signature(chain, errors), errors, files, is_traceback=bool(chain))


def _signature(chain: Sequence[_Block], errors: Sequence[str]) -> str:
    """Return the error without what differs between trials, after the innermost line of the user's own code."""
    if not errors:
        return ""
    error = _VARYING.sub("#", errors[-1].partition("\n")[0].strip())
    frames = chain[-1].frames if chain else []
    own = [frame for frame in frames if not is_library(frame[0])] or frames
    return f"{os.path.basename(own[-1][0])}, line {own[-1][1]}: {error}" if own else error


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    """Yield the tracebacks of a log, each with the lines of its own process (``[rank0]: ``) only."""
    heads = [(place, head) for place, line in enumerate(lines) if (head := _HEADER.match(line))]
    ends = [*(place for place, _ in heads), len(lines)][1:]
    in_group = False
    for (place, head), end in zip(heads, ends, strict=True):
        label = head[1]
        block = _Block(label, goes_on=in_group or head[2] == "Original ")
        in_group = in_group or head[2] == "Exception Group "
        if "─" in label:
            _read_boxed(lines[place + 1 : end], block)
        else:
            _read((line[len(label) :] for line in lines[place + 1 :] if line.startswith(label)), block)
        yield block


def _read(lines: Iterator[str], block: _Block) -> None:
    """Fill a block from the lines below its first one: frames, then the error and its message."""
    is_over = False
    for line in lines:
        if _HEADER.match(line):
            return
        if line.startswith(_CHAINED):
            block.is_chained = True
            return
        is_over = is_over or (not line.strip() and bool(block.message)) or len(block.message) == _OF_MESSAGE
        frame = _FRAME.match(line)
        if frame and not block.message:
            block.frames.append((frame[1], frame[2]))
        elif not is_over and (block.message or (line.strip() and not line[0].isspace())):
            block.message.append(line.strip())


def _read_boxed(lines: Sequence[str], block: _Block) -> None:
    """Fill a block from a traceback in a box, as rich draws it; a path may take several lines."""
    path = ""
    for place, line in enumerate(lines):
        if line.startswith("╰"):
            _read(iter(lines[place + 1 :]), block)
            return
        inside = line.strip("│ ")
        path = inside if inside.startswith("/") else path + inside
        if frame := _BOXED_FRAME.match(path):
            block.frames.append((frame[1], frame[2]))
            path = ""


def _chain(blocks: list[_Block]) -> list[_Block]:
    """Return the tracebacks of the last failure: of chained exceptions all; of a launcher's own, those of its child."""
    while blocks:
        start = len(blocks) - 1
        while start and (blocks[start].goes_on or blocks[start - 1].is_chained):
            start -= 1
        error = blocks[-1].message[0].partition(":")[0] if blocks[-1].message else ""
        if not (start and error.endswith(_OF_LAUNCHERS)):
            return _of_first_rank(blocks) if _RANK.fullmatch(blocks[-1].label) else blocks[start:]
        blocks = blocks[:start]
    return []


def _of_first_rank(blocks: list[_Block]) -> list[_Block]:
    """Return the tracebacks of the rank that failed first: the others lost their connection to it."""
    start = len(blocks)
    while start and _RANK.fullmatch(blocks[start - 1].label):
        start -= 1
    return [block for block in blocks[start:] if block.label == blocks[start].label]
