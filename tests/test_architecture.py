"""The rules of the house that no linter knows."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "slurmsweep"

#: Of all functions, the most that may be private helpers with one caller, in per cent: reading them means hopping.
MOST_ONE_CALLER_HELPERS = 20.0

#: Where argparse's result is read outside the command line: training scripts hand theirs over as a configuration.
MAY_READ_A_NAMESPACE = {"client/configuration.py", "client/session.py", "client/values.py"}

#: Calls that change what is on disk. Every module may read; writing is for state/files.py alone, except:
WRITING = re.compile(
    r"""open\([^)]*["'][wax]b?\+?["']|os\.(write|mkdir|makedirs|rename|replace|link|unlink|rmdir|symlink)\(|\.write_(text|bytes)\("""
)
MAY_WRITE = {
    "state/files.py": "the home of all writing",
    "state/code_copy.py": "copies the user's files into a folder that is not the sweep's yet; with state/files.py's errors",
    "client/folders.py": "runs in the training script and imports nothing of ours",
    "client/history.py": "the same",
    "client/files.py": "the same",
    "doctor/probe.py": "tries the bare system calls: what it writes is no sweep's, and its folder is removed",
    "cli/screen.py": "wakes a thread of its own through a pipe",
    "backends/slurm/executor.py": "submitit writes the batch script; its hidden link is removed there",
}


#: Calls that look at what is on disk. An error of theirs names no sweep's file and says no remedy, or is swallowed: so
#: in these folders state/files.py reads and looks, except:
LOOKING = re.compile(
    r"(?<![.\w])open\(|os\.(open|listdir|scandir|stat|lstat|walk)\(|os\.path\.(exists|isfile|isdir|getsize|getmtime)\("
    r"|\.read_(text|bytes)\("
)
LOOKS_THERE = ("state", "control", "report", "cli", "api", "supervisor", "learning", "sizing")
MAY_LOOK = {
    "state/files.py": "the home of all reading",
    "state/access.py": "modes: one that cannot be looked at, or is gone, is no error of its own",
    "state/lock.py": "tells a file server that is out of order for a while from one that refuses",
    "state/code_copy.py": "copies the user's files, and makes read-only ones",
    "state/code_version.py": "looks at the user's files: what cannot be looked at is as gone",
    "control/creation/code_selection.py": "chooses among the user's files, which are no sweep's",
    "control/creation/code_files.py": "tells the user's environments, which are no sweep's",
    "control/creation/code_snapshot.py": "copies the user's files",
    "control/creation/repository.py": "looks for a repository of the user's",
    "state/journal.py": "as state/lock.py, and follows no link",
    "state/place.py": "makes folders: where it cannot look, the error of making them says what to do",
    "api/naming.py": "tells a path from a name; the sweep is opened afterwards",
    "control/planning/canary.py": "counts what a script left: what cannot be read is not counted",
    "control/failures/log_end.py": "a log that cannot be read says nothing",
    "control/creation/start_check.py": "looks for programs as the system does when it starts them: no files of a sweep",
    "control/creation/function.py": "looks for the module of a function, which is no file of a sweep",
    "control/failures/mended.py": "looks at the user's code and environments: of what cannot be looked at no change is known",
    "control/creation/program.py": "looks for the user's program, and reads how it begins",
    "api/function_trial.py": "holds the current folder of this process, whatever its name is",
    "cli/main.py": "the null device",
    "cli/commands/check.py": "the folder of a project, which is no file of a sweep",
    "cli/commands/completion.py": "a file of the package",
    "cli/commands/run.py": "tells a sweep file from a sweep's name; either is opened afterwards",
}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_sweeps_files_are_looked_at_where_an_error_gets_its_path_and_its_remedy(path):
    name = str(path.relative_to(PACKAGE))
    if name in MAY_LOOK or name.partition("/")[0] not in LOOKS_THERE:
        return
    lines = path.read_text().splitlines()

    assert [
        f"{n}: {line.strip()}" for n, line in enumerate(lines, 1) if LOOKING.search(line) and "def open" not in line
    ] == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_durable_writes(path):
    if str(path.relative_to(PACKAGE)) in MAY_WRITE:
        return
    lines = [f"{n}: {line.strip()}" for n, line in enumerate(path.read_text().splitlines(), 1) if WRITING.search(line)]

    assert lines == []


def test_every_public_name_of_the_package_is_importable():
    import slurmsweep

    with slurmsweep.init():  # and no run is left to the tests that come after
        assert slurmsweep.__all__ == sorted(slurmsweep.__all__)
        assert [name for name in slurmsweep.__all__ if not hasattr(slurmsweep, name)] == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_grows_into_a_god(path):
    assert len(path.read_text().splitlines()) <= 600


def test_no_shell_is_ever_used():
    found = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if re.search(r"shell\s*=\s*True|os\.system\(|os\.popen\(", path.read_text())
    ]

    assert found == []


@pytest.fixture(scope="module")
def house():
    """Return the module that counts, and the package's syntax trees."""
    spec = importlib.util.spec_from_file_location("house", PACKAGE.parent / "benchmarks" / "house.py")
    module = sys.modules["house"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, module.Package(PACKAGE.parent)


def test_no_module_imports_itself_through_others(house):
    module, package = house

    assert module.circles(module.imports(package, inside_functions=False)) == []


def test_no_circle_hides_behind_imports_inside_functions(house):
    module, package = house

    assert module.circles(module.imports(package, inside_functions=True)) == []


def test_no_import_inside_a_function_points_up(house):
    module, package = house
    imports = module.imports(package, inside_functions=True)
    layers = {name: package.layer(name) for name in imports}

    pairs = [(a, b) for a, found in imports.items() for b in found if None not in (layers[a], layers[b])]

    assert [(a, b) for a, b in pairs if layers[b] < layers[a]] == []


def test_a_class_name_means_one_thing(house):
    _, package = house
    names = Counter(name for _, name in package.classes)

    assert {name for name, times in names.items() if times > 1} == set()


def test_few_functions_are_private_helpers_with_one_caller(house):
    module, package = house

    share = 100 * len(module.one_caller_helpers(package)) / len(module.code_lines(package))

    assert share <= MOST_ONE_CALLER_HELPERS


def test_only_the_command_line_knows_argparse_results():
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if "Namespace" in path.read_text()}

    assert {name for name in found if not name.startswith("cli/")} - MAY_READ_A_NAMESPACE == set()
