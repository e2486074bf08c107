"""The filesystem of a sweep where SageMaker mounts it, for commands and jobs of tests alone."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

#: Where SageMaker mounts a channel of this name, on the machine where the sweep is made, too.
CHANNEL = "/opt/ml/input/data/sweeps"

_MOUNTED = f'mount -t tmpfs none /opt && mkdir -p {CHANNEL} && mount --bind "$0" {CHANNEL} && exec "$@"'


def mounted(folder: Path) -> list[str]:
    """Return words in front of a command for which a folder of the test is that of the channel."""
    words = ["unshare", "--mount", "sh", "-c", _MOUNTED, str(folder)]
    if subprocess.run([*words, "true"], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this user may mount nothing: unshare --mount")
    return words


def image(folder: Path, name: str, shared: Path, *program: str) -> str:
    """Return a folder for PATH of jobs, with a program of this name that sees the channel."""
    script = folder / "image" / name
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.join([*mounted(shared), *program])} "$@"\n')
    script.chmod(0o755)
    return str(script.parent)
