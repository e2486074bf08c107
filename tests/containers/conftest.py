"""A private dockerd for the tests in this folder: started once where it may be, and stopped at the end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from containers.daemon import running_daemon

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def docker():
    """Return the daemon's client; skips, and says why, where no daemon may be started."""
    installed = subprocess.run([HERE / "install"], capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(installed.stdout.strip())
    with running_daemon() as client:
        yield client
