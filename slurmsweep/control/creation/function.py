"""``--function package.module:train``: is it there, as far as can be told without running it; and remember it.

Nothing of the user's is imported here. The module's file is looked for, and its text for the function's name; what only
an import can tell is told by the job, in the trial's log.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import os
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

from slurmsweep.control.creation.interpreter import ask_interpreter
from slurmsweep.errors import UsageError
from slurmsweep.state.function import Function
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile.function import ImportPath

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Fails where an interpreter does not find a top-level package.
_ASK = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"


def ready_to_run(store: SweepStore, text: str | None, *, keep: bool = True) -> SweepStore:
    """Return the sweep with something for its trials to run: what it has, or the function that is named now.

    Args:
        store: of the sweep.
        text: import path of a function; None where none is named.
        keep: it is that of all the sweep's trials from now on.

    Raises:
        UsageError: it has nothing, and no function is named; or it has another function; or there is no such function.
        StateUnwritableError: the name could not be kept.
    """
    manifest = store.manifest
    if text is not None and manifest.function is None:
        here = (os.getcwd(), manifest.workdir, os.path.dirname(manifest.source))
        function = locate(text, (manifest.workdir,) if manifest.snapshot else here)
        try:
            if keep:
                function.write(store.layout, store.access)
        except FileExistsError:  # of many agents that are started with it one is the first
            return ready_to_run(SweepStore.open_to_run(store.layout.folder), text)
        return SweepStore(store.layout, manifest.calling(function))
    if text is not None and manifest.function and ImportPath.parse(text) != manifest.function.path:
        raise UsageError(
            f"the trials of sweep {manifest.sweep_id} call {manifest.function.path}, which does not change any more: "
            "make a new sweep for another function"
        )
    if not manifest.can_run:
        raise UsageError(
            f"sweep {manifest.sweep_id} has no program: give the function its trials call by --function "
            "package.module:function, or run them from Python by slurmsweep.agent(sweep_id, function=...)"
        )
    return store


def locate(text: str, folders: Sequence[str]) -> Function:
    """Return the function of that import path, to be called in the first of ``folders`` that has its module.

    A module that none of them has, but the interpreter's own path, is called in the first folder.

    Raises:
        UsageError: it is no import path; there is no such module, or no such name in it.
    """
    path = ImportPath.parse(text)
    top, *rest = path.module.split(".")
    folders = list(dict.fromkeys(folders))
    specs = [(folder, importlib.machinery.PathFinder.find_spec(top, [folder])) for folder in folders]
    problem = ""
    for folder, spec in [*specs, (folders[0], _installed(top))]:
        if spec is None:
            continue
        found = _follow(spec, rest)
        if isinstance(found, ModuleSpec):
            file = found.origin if found.origin and found.origin.endswith(".py") else None
            if file:
                _check_name(path, file)
            return Function(path, folder, file)
        problem = problem or found
        if spec.origin is not None:  # Python looks no further; of mere folders of one name it takes all
            break
    # slurmsweep may be installed in another environment than what trials run with
    if not problem and ask_interpreter(_ASK, top, folder=folders[0]) is not None:
        return Function(path, folders[0])
    raise UsageError(
        f"--function {path}: "
        + (
            problem
            or f"there is no module {top!r} in {' nor in '.join(folders)}, nor on Python's path: run this where "
            "it is, set PYTHONPATH, or activate its environment first"
        )
    )


def _follow(spec: ModuleSpec, rest: Sequence[str]) -> ModuleSpec | str:
    """Return the module that ``rest`` leads to from a top-level package, or what is not there. Imports nothing."""
    seen = spec.name
    for part in rest:
        if spec.submodule_search_locations is None:
            return f"{seen} is a module and no package: there is no {seen}.{part}"
        places = list(spec.submodule_search_locations)
        # by its last name alone: below a package by its full name Python looks into that package, which is not imported
        found = importlib.machinery.PathFinder.find_spec(part, places)
        if found is None:
            return f"there is no module {part!r} in {', '.join(places)}"
        seen, spec = f"{seen}.{part}", found
    if spec.origin is None:
        return f"{seen} is a folder: name a module in it"
    return spec


def _installed(top: str) -> ModuleSpec | None:
    """Find a top-level package, without importing anything."""
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):  # half-imported here, or found by a finder that fails
        return None


def _check_name(path: ImportPath, file: str) -> None:
    """Raise UsageError where the module's text certainly does not bind the name."""
    try:
        with open(file, "rb") as source:
            tree = ast.parse(source.read(), file)
    except (OSError, SyntaxError, ValueError):
        return  # the job's interpreter may read what this one cannot
    names = set(_bound(tree.body))
    wanted = path.name.partition(".")[0]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if wanted in names or names & {"*", "__getattr__"} or used & {"globals", "exec", "vars", "setattr"}:
        return  # it is bound, or the text does not show all that is
    from difflib import get_close_matches  # for mistakes only

    close = get_close_matches(wanted, names, n=1)
    raise UsageError(
        f"--function {path}: there is no {wanted!r} in {file}" + (f": did you mean {close[0]!r}?" if close else "")
    )


def _bound(body: Iterable[ast.AST]) -> Iterator[str]:
    """Yield names that statements of a module bind; ``*`` for those of another module."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        else:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            yield from _bound(ast.iter_child_nodes(node))
