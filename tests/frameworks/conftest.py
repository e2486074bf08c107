"""The interpreter of the scripts: of an environment of their own, which ``scripts/setup-frameworks`` makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[2] / ".venv-frameworks" / "bin" / "python"


@pytest.fixture(scope="session")
def installed() -> frozenset[str]:
    """Return which of the packages that the tests need are there."""
    if not PYTHON.exists():
        pytest.skip("there is no .venv-frameworks: `scripts/setup-frameworks` makes it")
    names = ("click", "typer", "tyro", "jsonargparse", "hydra", "lightning", "transformers", "accelerate", "torch")
    code = "import sys, importlib.util as i; print(*(n for n in sys.argv[1:] if i.find_spec(n)))"
    said = subprocess.run([PYTHON, "-c", code, *names], capture_output=True, text=True, check=True)
    return frozenset(said.stdout.split())


@pytest.fixture
def bin_folder(installed) -> Path:
    """Return the folder of the environment's programs."""
    return PYTHON.parent
