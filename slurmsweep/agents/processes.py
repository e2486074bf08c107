"""See the processes of a trial in /proc, and decide which of them hears an order first. Nothing is signalled here.

What stands in front of a program (a shell, ``accelerate launch``, ``tee``) is not what has a checkpoint to save, and
the program may be lost with it: ``docs/decisions/0031-the-program-hears-first.md``.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.agents.identity import children_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

#: Where the kernel says that a process sleeps (/proc/<pid>/wchan) while it waits for a child, or for a signal of one.
_WAITS_FOR_CHILD = ("do_wait", "sigsuspend", "do_sigtimedwait")

#: Fields of /proc/<pid>/stat after the command's closing bracket (proc(5)).
_STATE, _PARENT, _SESSION, _THREADS, _START = 0, 1, 3, 17, 19

#: What a process is that has gone, or that another user owns.
_UNSEEN = (FileNotFoundError, ProcessLookupError, PermissionError)


class Process(NamedTuple):
    """A living process.

    Attributes:
        pid: its id.
        start: its start in clock ticks since boot: with the id it is unique.
        parent: the id of its parent.
        session: the id of its session.
        threads: how many it has.
        caught: the signals that it has a handler for and does not block, bit n - 1 for signal n.
        unheard: the signals that it ignores or blocks, likewise.
        waits: whether its first thread sleeps until a child ends.
        prints: the pipes that are its standard output and error.
        reads: the pipes that it may read.
    """

    pid: int
    start: int
    parent: int
    session: int = 0
    threads: int = 1
    caught: int = 0
    unheard: int = 0
    waits: bool = False
    prints: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()

    @property
    def key(self) -> tuple[int, int]:
        """What identifies the process for ever."""
        return self.pid, self.start

    def catches(self, number: int) -> bool:
        """Return whether a handler of its own runs when the signal comes."""
        return bool(self.caught >> (number - 1) & 1)

    def dies_of(self, number: int) -> bool:
        """Return whether the signal ends it at once."""
        return not (self.caught | self.unheard) >> (number - 1) & 1


class Hearers(NamedTuple):
    """Which processes an order is for, at one moment.

    Attributes:
        programs: those that hear it now, or have heard it.
        held: launchers that must not go on before their programs have ended: they would start the next command.
        relays: processes that pass on what a program prints; they end by themselves after it.
    """

    programs: list[Process]
    held: list[Process]
    relays: list[Process]


def hearers(
    tree: Mapping[int, Process],
    agent: int,
    number: int,
    told: Collection[tuple[int, int]] = (),
    ending: Collection[tuple[int, int]] = (),
) -> Hearers:
    """Return which processes hear a signal before all others.

    They are the first processes, from the agent down, that are no launchers. A launcher is one of them where nothing
    behind it has a handler: then all would only die of the signal.

    Args:
        tree: the descendants of the agent, by id.
        agent: its id.
        number: of the signal.
        told: keys of the processes that have heard the order already. They answer for what is behind them.
        ending: keys of processes that come before what stands in front of them: held launchers, relays.
    """
    children: dict[int, list[Process]] = {}
    for process in tree.values():
        children.setdefault(process.parent, []).append(process)
    held: list[Process] = []
    relays: list[Process] = []

    def will_end(process: Process) -> bool:
        return process.key in told or process.key in ending or process.catches(number)

    def programs(process: Process) -> list[Process]:
        if process.key in told:
            return [process]
        behind = _behind(process, children.get(process.pid, ()), number)
        found = [program for child in behind for program in programs(child)]
        if not any(will_end(program) for program in found):
            # Ctrl-C is for all who are there: a shell hears it, and waits on
            return [process, *(program for program in found if number == signal.SIGINT and program.dies_of(number))]
        if any(process.reads & child.prints for child in behind):
            relays.append(process)
        elif process.waits and process.threads == 1:  # another thread may serve the program
            held.append(process)
        return found

    found = [program for root in children.get(agent, ()) for program in programs(root)]
    relays += _readers(found, [program for program in found if will_end(program)])
    spared = {relay.key for relay in relays}
    return Hearers([program for program in found if program.key not in spared], held, relays)


def _behind(process: Process, children: Sequence[Process], number: int) -> list[Process]:
    """Return the children that a process was only the launcher of: it waits for them, or reads what they print.

    A helper in a session of its own (wandb-core) is none, unless a plain launcher waits for nothing else (``setsid``).
    A process with a handler of its own is a program that has a helper at work, unless it is as plain as a shell. Python
    has a handler for Ctrl-C in any case.
    """
    is_plain = process.threads == 1
    has_handler = process.catches(number)
    waited: Sequence[Process] = ()
    if process.waits and (is_plain or not has_handler or number == signal.SIGINT):
        waited = [child for child in children if child.session == process.session] or (children if is_plain else ())
    can_read = not has_handler or (is_plain and number == signal.SIGINT)
    return [child for child in children if child in waited or (can_read and process.reads & child.prints)]


def _readers(processes: list[Process], writers: list[Process]) -> list[Process]:
    """Return the processes that read, directly or through others, what the first of the writers in a pipe print."""
    first = [w for w in writers if not any(w.reads & other.prints for other in writers if other is not w)]
    pipes = {pipe for writer in first for pipe in writer.prints}
    readers: list[Process] = []
    left = [process for process in processes if process not in first]
    while True:
        more = [process for process in left if process.reads & pipes]
        if not more:
            return readers
        readers += more
        left = [process for process in left if process not in more]
        pipes.update(pipe for reader in more for pipe in reader.prints)


def descendants(agent: int) -> dict[int, Process]:
    """Return the living descendants of a process by id."""
    found: dict[int, Process] = {}
    waiting = [agent]
    while waiting:
        for pid in children_of(waiting.pop()):
            with suppress(*_UNSEEN):
                process = _look_at(pid)
                if process:
                    found[pid] = process
            waiting.append(pid)
    return found


def _look_at(pid: int) -> Process | None:
    """Return a process as it is now; None for one that has ended. Raises as open(2) where it is gone."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        program, _, rest = file.read().rpartition(")")
    fields = rest.split()
    if fields[_STATE] in "ZX":
        return None
    masks = {}
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in ("SigBlk", "SigIgn", "SigCgt"):
                masks[name] = int(value, 16)
    where = ""
    with suppress(*_UNSEEN), open(f"/proc/{pid}/wchan", encoding="ascii", errors="replace") as file:
        where = file.read()
    prints, reads = _pipes(pid)
    caught, unheard = masks["SigCgt"] & ~masks["SigBlk"], masks["SigIgn"] | masks["SigBlk"]
    if program.endswith("(srun"):
        # its handlers end all tasks by force, so that none can save; before 26.05 it has the same signals blocked
        caught, unheard = 0, unheard | caught
    return Process(
        pid=pid,
        start=int(fields[_START]),
        parent=int(fields[_PARENT]),
        session=int(fields[_SESSION]),
        threads=int(fields[_THREADS]),
        caught=caught,
        unheard=unheard,
        waits=where.startswith(_WAITS_FOR_CHILD),
        prints=prints,
        reads=reads,
    )


def _pipes(pid: int) -> tuple[frozenset[str], frozenset[str]]:
    """Return the pipes into which a process prints, and those that it may read."""
    prints, reads = set(), set()
    with suppress(*_UNSEEN):
        for number in os.listdir(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{number}"
            with suppress(*_UNSEEN):
                pipe = os.readlink(path)
                if not pipe.startswith("pipe:"):
                    continue
                mode = os.lstat(path).st_mode  # of the link: r for a reading end, w for a writing one
                if mode & 0o400:
                    reads.add(pipe)
                elif number in ("1", "2"):
                    prints.add(pipe)
    return frozenset(prints), frozenset(reads)
