"""Find what has changed since trials failed: the code, what their command names, its packages, what they lacked.

Only times that file systems keep are compared with each other: that of a file with those of the attempt's own files.
So the clocks of nodes play no part. Of a file the time of its last change (``ctime``) counts, which one that was moved
into place, linked anew or made executable has too. The worst result is one attempt too many.
"""

from __future__ import annotations

import glob
import importlib.machinery
import itertools
import os
import re
import shlex
import shutil
from collections import deque
from contextlib import suppress
from functools import cache, cached_property
from typing import TYPE_CHECKING

from slurmsweep import search
from slurmsweep.agents.environment import search_path
from slurmsweep.control.creation.code_files import CODE, CONFIGURATION, is_environment
from slurmsweep.control.creation.interpreter import ask_interpreter
from slurmsweep.control.creation.program import module_files
from slurmsweep.control.failures.log_end import is_library
from slurmsweep.errors import UsageError
from slurmsweep.state import files
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile import command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from slurmsweep.control.failures.log_end import Failure
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.trial import Trial

#: Folders that have nothing of what people write in a project's folder, code and configuration.
_NOT_WRITTEN = frozenset({"wandb", "node_modules", "site-packages", "__pycache__"})

#: Entries of a project's folder that are looked at.
_MOST_ENTRIES = 5000

_WORD = re.compile(r"[^\s'\"`()\[\]{}<>,;=]+")
_NO_MODULE = re.compile(r"No module named ['\"]?([A-Za-z_][\w.]*\w)")
_NO_PROGRAM = re.compile(
    r"(?:cannot start |env: |execve\(\): ?)[\u2018'\"]?([^\u2019'\":\s]+)|([^\s:'\"]+): (?:command )?not found",
    re.IGNORECASE,
)
_NO_FILE = re.compile(
    r"no such file|not found|does(?: not|n't) exist|permission denied|errno = 2\b"
    r"|(?:can(?:not|'t)|could not|unable to) (?:open|find|read|access|load)",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"\b[A-Z][A-Z0-9_]{2,}\b")
_NOT_SET = re.compile(
    r"not (?:set|defined|found)|unset|unbound|undefined|missing|environment|export|required|empty|\bset\b",
    re.IGNORECASE,
)


class Changes:
    """What has changed since trials of a sweep failed; each file is looked at once.

    Args:
        store: of the sweep.
        view: its state.
        failed: trials that failed. Files that a script may write itself count where they changed after all of these.
        by_person: a person gave the command, in the environment that the next jobs get.
    """

    def __init__(self, store: SweepStore, view: SweepView, failed: Iterable[Trial], *, by_person: bool) -> None:
        self._store, self._view, self._by_person = store, view, by_person
        self._workdir, self._script = store.manifest.workdir, store.manifest.script
        self._changed = cache(_changed)
        self._last_end = max((self._ended(_newest(trial)) for trial in failed), default=0.0)

    def since(self, trial: Trial, failure: Failure) -> str:
        """Return what has changed since a trial failed, in words; empty where nothing is known to have changed."""
        return (
            self._in_code(_newest(trial), failure)
            or self._in_named_files(trial, failure)
            or self._no_longer_lacking(failure)
            or self._in_project
            or self._in_packages(failure)
        )

    def _ended(self, attempt_id: AttemptId) -> float:
        layout = self._store.layout
        return _written(layout.outcome(attempt_id)) or _written(layout.log(attempt_id))

    def _in_code(self, attempt_id: AttemptId, failure: Failure) -> str:
        """Return the file of the traceback, or the program, that changed after the attempt began: it read it then."""
        began = _written(self._store.layout.owner(attempt_id)) or self._ended(attempt_id)
        folders = (self._workdir, os.path.dirname(self._script or "") or self._workdir)
        inside = tuple(os.path.join(folder, "") for folder in folders)  # elsewhere a trial may have made code itself
        own = [path for path in map(self._path, failure.files) if path.startswith(inside) and not is_library(path)]
        for path in [*reversed(own), *([self._script] if self._script else [])]:
            if self._changed(path) > began > 0:
                return self._has_changed(path)
        return ""

    def _in_named_files(self, trial: Trial, failure: Failure) -> str:
        """Return the changed file of those that the traceback, the command and the error name."""
        words = (*self._words(trial), *(word.rstrip(":.") for error in failure.errors for word in _WORD.findall(error)))
        for path in dict.fromkeys((*map(self._path, failure.files), *map(self._path, words))):
            if os.path.isfile(path) and self._changed(path) > self._last_end > 0:
                return self._has_changed(path)
        return ""

    def _no_longer_lacking(self, failure: Failure) -> str:
        """Return what a trial lacked and is there now: a module, a program, a file, a variable."""
        for error in failure.errors:
            module, program = _NO_MODULE.search(error), _NO_PROGRAM.search(error)
            if module and self._has_module(module[1]):
                return f"the module {module[1]} is there now"
            name = (program[1] or program[2]) if program else ""
            if name and shutil.which(self._path(name) if os.sep in name else name, path=search_path(os.environ)):
                return f"{name} can be started now"
            if _NO_FILE.search(error) and not program:
                named: list[str] = [found[1] or found[2] for found in re.finditer(r"'([^']+)'|\"([^\"]+)\"", error)]
                named += [word.rstrip(":.") for word in _WORD.findall(error)[1:] if os.sep in word]
                for path in named:
                    if os.access(self._path(path), os.R_OK):
                        return f"{path} is there now"
        return self._variable(failure) if self._by_person else ""

    def _variable(self, failure: Failure) -> str:
        """Return the variable that a trial lacked and that is set now, where a person asks."""
        last = failure.errors[-1] if failure.errors else ""
        is_lookup = any(os.path.basename(path) in ("os.py", "<frozen os>") for path in failure.files)
        names = _VARIABLE.findall(last) if is_lookup or _NOT_SET.search(last) else []
        return next((f"{name} is set now" for name in names if os.environ.get(name)), "")

    @cached_property
    def _in_project(self) -> str:
        """Return a file of code or configuration in the project's folders that changed after every failure."""
        besides = {self._store.layout.folder, os.path.join(self._workdir, self._store.manifest.source)}
        for path in _project_files({self._workdir, os.path.dirname(self._script or "") or self._workdir}, besides):
            if self._changed(path) > self._last_end > 0:
                return self._has_changed(path)
        return ""

    def _in_packages(self, failure: Failure) -> str:
        """Return the folder of installed packages that changed: of the traceback's, and of the command's."""
        named = {f"{head}-packages" for path in failure.files if (head := path.partition("-packages")[0]) != path}
        for folder in sorted({*named, *self._packages}):
            if self._changed(folder) > self._last_end > 0:
                return f"the packages in {folder} have changed"
        return ""

    @cached_property
    def _packages(self) -> list[str]:
        """The folders of installed packages of the command's interpreter, and of environments at hand."""
        places = {os.environ.get("VIRTUAL_ENV", ""), os.environ.get("CONDA_PREFIX", "")}
        places |= {os.path.join(self._workdir, name) for name in (".venv", "venv")}
        places |= {os.path.dirname(os.path.dirname(path)) for path in self._programs}
        known = [place for place in places if place and is_environment(place)]
        inside = (path for place in known for path in glob.glob(f"{glob.escape(place)}/lib*/python3*/site-packages"))
        return [*inside, *(folder for folder in self._looked_in if folder.endswith("-packages"))]

    @cached_property
    def _programs(self) -> list[str]:
        """The programs that the command names: launchers, and the interpreter."""
        words = self._store.manifest.config.command or command.DEFAULT
        named = ("python" if word == "${interpreter}" else str(word) for word in words)
        return [
            path for word in named if os.sep not in word and (path := shutil.which(word, path=search_path(os.environ)))
        ]

    @cached_property
    def _looked_in(self) -> list[str]:
        """The folders in which the command's interpreter looks for modules, as it says itself."""
        interpreter = next((path for path in self._programs if os.path.basename(path).startswith("python")), "")
        program = "import sys; print('\\n'.join(sys.path))"
        said = ask_interpreter(program, folder=self._workdir, interpreter=interpreter)
        return [line for line in (said or "").splitlines() if line]  # without an answer less is known

    def _has_module(self, name: str) -> bool:
        """Return whether the command's interpreter would find a module; nothing is imported."""
        importlib.invalidate_caches()
        parts = name.split(".")
        folders: Sequence[str] = [os.path.dirname(self._script or ""), self._workdir, *self._looked_in]
        for place in range(len(parts)):
            found = importlib.machinery.PathFinder.find_spec(".".join(parts[: place + 1]), folders)
            if found is None:
                return False
            folders = list(found.submodule_search_locations or ())
        return True

    def _words(self, trial: Trial) -> list[str]:
        """Return the words of a trial's command that may name files."""
        manifest = self._store.manifest
        params = search.parameters(manifest.config, trial.number, manifest.sweep_id, self._view.kept(trial.number))
        words: list[str] = []
        with suppress(UsageError, ValueError):  # a variable is missing, or a quote: the command says so itself
            argv = command.build_argv(
                manifest.config.command,
                manifest.config.program,
                params,
                environ=os.environ,
                own=dict.fromkeys(self._store.layout.own_macros(_newest(trial)), ""),  # what the trial itself writes
            )
            for word in argv:
                words += shlex.split(word) if " " in word else [word]
        values = [word.partition("=")[2] for word in words if "=" in word]
        modules = [name for word, after in itertools.pairwise(words) if word == "-m" for name in module_files(after)]
        return [word for word in (*words, *values, *modules) if word]

    def _path(self, word: str) -> str:
        return os.path.join(self._workdir, os.path.expanduser(word))

    def _has_changed(self, path: str) -> str:
        inside = path.startswith(os.path.join(self._workdir, ""))
        return f"{os.path.relpath(path, self._workdir) if inside else path} has changed"


def _newest(trial: Trial) -> AttemptId:
    return AttemptId(trial.number, trial.current.number if trial.current else trial.newest)


def _changed(path: str) -> float:
    """Return when a file, or a link to it, was changed last, by its file system; 0 for no such file."""
    with suppress(OSError, ValueError):
        return max(os.stat(path).st_ctime, os.lstat(path).st_ctime)
    return 0.0


def _written(path: str) -> float:
    """Return when a file of ours was written, by its file system; a copy of the sweep's folder keeps that time."""
    found = files.status_of(path)
    return found.st_mtime if found else 0.0


def _project_files(folders: Iterable[str], besides: set[str]) -> Iterator[str]:
    """Yield the files that people wrote in the first few thousand entries, those near the top first."""
    queue, seen = deque(sorted(folders)), 0
    while queue and seen < _MOST_ENTRIES:
        with suppress(OSError), os.scandir(queue.popleft()) as entries:
            for entry in entries:
                seen += 1
                if entry.path in besides:
                    continue
                if entry.name.lower().endswith((*CODE, *CONFIGURATION)):
                    yield entry.path
                elif (
                    entry.is_dir(follow_symlinks=False)
                    and not entry.name.startswith(".")
                    and entry.name not in _NOT_WRITTEN
                    and not is_environment(entry.path)
                ):
                    queue.append(entry.path)
