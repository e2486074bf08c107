"""The rules of the house that no linter knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "slurmsweep"

#: Calls that change what is on disk. Reading is everybody's business, writing is state/files.py's, except:
WRITING = re.compile(
    r"""open\([^)]*["'][wax]b?\+?["']|os\.(write|mkdir|makedirs|rename|replace|link|unlink|rmdir|symlink)\(|\.write_(text|bytes)\("""
)
MAY_WRITE = {
    "state/files.py": "the home of all writing",
    "client/folders.py": "runs in the training script and imports nothing of ours",
    "client/history.py": "the same",
    "client/files.py": "the same",
    "doctor/probe.py": "tries the bare system calls: what it writes is no sweep's, and its folder is removed",
    "backends/slurm/executor.py": "submitit writes the batch script; its hidden link is removed there",
}


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
