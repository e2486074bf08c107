"""Find the program of a sweep before anything is written: is it there, and in which folder do the trials run.

W&B looks at nothing: its agent runs the command in its own folder. So what W&B would run is accepted here: a script, a
folder with ``__main__.py``, a module, a command on the PATH. A program that cannot be there is an error, and one that
only a node or a container may have is a warning.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from contextlib import suppress
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.control.creation.wrappers import started
from slurmsweep.errors import UsageError
from slurmsweep.state import manifest
from slurmsweep.sweepfile.findings import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.state.store import SweepStore
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.findings import Findings

_PROGRAM = "${program}"

#: Programs that run the rest of the command in another file system, by the name of their file.
_CONTAINERS = (
    "apptainer",
    "singularity",
    "docker",
    "podman",
    "nerdctl",
    "enroot",
    "shifter",
    "ch-run",
    "udocker",
    "kubectl",
    "ssh",
)
#: Options, and the beginnings of options, of other programs that do so or change the folder.
_ELSEWHERE = ("--container-image", "--chdir", "--directory")

_PYTHON = re.compile(r"\$\{interpreter\}|(python|pypy)[0-9.]*")
_MODULE_OPTIONS = ("-m", "--module")

#: The first line of a script that python does not read.
_OTHER_INTERPRETER = re.compile(rb"#! *((?:(?!python|pypy)[^\n\r])+)(?=\r?\n)")
_LINE = 256


class _Use(NamedTuple):
    """How a command uses the program.

    Attributes:
        as_module: as the name of a module, behind ``-m``.
        by_python: Python reads it as a file or folder.
        elsewhere: in a container, or in a folder that another program enters.
        is_started: it has to be a program itself, at which :mod:`.start_check` looks.
    """

    as_module: bool
    by_python: bool
    elsewhere: bool
    is_started: bool


def find_program(config: SweepConfig, source: str, findings: Findings) -> str:
    """Return the folder in which trials run; report to ``findings`` why the program cannot be run in it.

    It is the current folder, as W&B's agent's; or the sweep file's folder, where only that has the program.
    """
    here, beside = os.getcwd(), os.path.dirname(os.path.abspath(source))
    use = _use(config.command)
    if config.program is None or use is None:
        return here
    program = config.program
    names = module_files(program) if use.as_module else [program]
    folders = [folder for folder in (here, beside) if any(os.path.exists(os.path.join(folder, one)) for one in names)]
    if use.as_module:
        if program.endswith(".py") or "/" in program:
            hint = f"write program: {program.removesuffix('.py').strip('./').replace('/', '.')}, or remove -m"
            findings.warn(("program",), f"-m takes the name of a module, and {program!r} is a path", hint)
    elif folders:
        _check_found(os.path.join(folders[0], program), program, use, findings)
    else:
        _report_missing(program, use, (here, beside), findings)
    return folders[0] if folders else here


def moved(store: SweepStore, workdir: str, *, keep: bool = True) -> SweepStore:
    """Return the sweep with trials that run in another folder; with ``keep`` all of its trials, from now on.

    Raises:
        UsageError: there is no such folder.
        StateError: the folder could not be kept.
    """
    if store.manifest.snapshot:
        raise UsageError(
            f"--workdir {workdir}: sweep {store.manifest.sweep_id} runs its trials from its own copy of the code, "
            "wherever the project is: for other code make a new sweep (`create FILE --prior` keeps what finished)"
        )
    folder = os.path.abspath(workdir)
    if not os.path.isdir(folder):
        raise UsageError(f"--workdir {workdir}: there is no folder {folder}")
    if not keep:
        function = store.manifest.function
        there = store.manifest._replace(workdir=folder).calling(function and function.moved_to(folder))
        return type(store)(store.layout, there)
    with store.transaction():  # more trials (`extend`) are not lost
        manifest.move(store.layout, folder, store.access)
    return store.open_to_run(store.layout.folder)


def _use(command: Sequence[object] | None) -> _Use | None:
    """Return how a command uses the program; None if it does not."""
    words = ["", *map(str, command or ("${env}", "${interpreter}", _PROGRAM))]
    place = next((i for i, (_, word) in enumerate(pairwise(words)) if word == _PROGRAM), None)
    if place is None:
        return None
    before = words[: place + 1]
    return _Use(
        as_module=before[-1] in _MODULE_OPTIONS,
        by_python=any(_PYTHON.fullmatch(os.path.basename(word)) for word in before) and "-m" not in before,
        elsewhere=any(os.path.basename(word) in _CONTAINERS or word.startswith(_ELSEWHERE) for word in before),
        is_started=_PROGRAM in started("env" if word == "${env}" else word for word in words[1:]),
    )


def module_files(name: str) -> list[str]:
    """Return the files one of which a module in the current folder is, relative to it."""
    path = name.replace(".", "/")
    return [f"{path}.py", f"{path}/__main__.py"]


def _check_found(path: str, program: str, use: _Use, findings: Findings) -> None:
    if use.by_python and program.endswith(".ipynb"):
        hint = f"convert it by: jupyter nbconvert --to script {program}"
        findings.error(("program",), f"{program!r} is a notebook, which python cannot run", hint)
    elif use.by_python and os.path.isdir(path) and not os.path.isfile(os.path.join(path, "__main__.py")):
        hint = "name the script in it, or give it a __main__.py"
        findings.error(("program",), f"{program!r} is a folder without a __main__.py, which python cannot run", hint)
    elif use.by_python and (other := _OTHER_INTERPRETER.match(beginning_of(path, _LINE) or b"")):
        line = other[1].decode(errors="replace")
        problem = f"{program!r} begins with '#!{line}', and the command lets python read it"
        words = [*line.removeprefix("/usr/bin/env ").split(), _PROGRAM, "${args}"]
        findings.warn(("program",), problem, f"write command: {_quoted(words)}")


def _report_missing(program: str, use: _Use, places: tuple[str, str], findings: Findings) -> None:
    here, beside = places
    where = here if here == beside else f"{here} nor in {beside}"
    problem = f"there is no file {program!r} in {where}"
    if use.elsewhere:
        findings.warn(("program",), problem, "the command runs it elsewhere: it must be there")
    elif os.path.isabs(program):
        problem, hint = (
            f"there is no file {program!r} on this machine",
            "the path is right only if it is there on the nodes",
        )
        if os.path.isdir(os.path.dirname(program)):
            findings.error(("program",), problem, hint)
        elif not use.is_started:
            findings.warn(("program",), problem, hint)
    elif not (use.by_python or "/" in program or " " in program or program.endswith((".py", ".sh", ".ipynb"))):
        if not use.is_started and shutil.which(program) is None:  # it has the form of a command: ``mytool-train``
            problem += ", and no command of that name on the PATH"
            findings.warn(("program",), problem, "it must be on the PATH where the trials run")
    else:
        findings.error(("program",), problem, _hint(program, places))


def _hint(program: str, places: tuple[str, str]) -> str:
    first = program.split(maxsplit=1)[0] if program.split() else ""
    if program.startswith("-m "):
        return f"write program: {program[3:].strip()}, and `- -m` before ${{program}} in command"
    if program.startswith("~") or "$" in program:
        return "no shell reads it: write the path without ~ and $"
    if first != program and any(os.path.isfile(os.path.join(folder, first)) for folder in places):
        return f"program is one file: write program: {first}, and its options in command"
    if script := next((word for word in program.split() if word.endswith((".py", ".sh"))), None):
        words = ["${program}" if word == script else word for word in program.split()]
        if script != program:
            return f"program is one file: write program: {script}, and command: {_quoted([*words, '${args}'])}"
    with suppress(OSError):
        if close := nearest(program, chain.from_iterable(map(os.listdir, places))):
            return f"did you mean {close!r}?"
    return "give its path relative to the sweep file, or to the folder you run slurmsweep in"


def _quoted(words: Sequence[str]) -> str:
    """Return the words as a list of YAML: a macro without quotes is none in it."""
    return json.dumps(words, ensure_ascii=False)


def beginning_of(path: str, most: int) -> bytes | None:
    """Return the first bytes of a user's file; None where it is no plain file, or may not or cannot be read."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe does not wait
        with os.fdopen(descriptor, "rb") as file:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return file.read(most)
    return None
