"""What an attempt leaves, without an agent and without a script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slurmsweep.state.paths import Layout


@pytest.fixture
def layout(tmp_path) -> Layout:
    layout = Layout(str(tmp_path / "sweep-abcd1234"))
    Path(layout.attempt((0, 1))).mkdir(parents=True)
    return layout


@pytest.fixture
def history(layout):
    """Write rows as the native client does."""

    def write(*rows) -> None:
        with open(layout.history((0, 1)), "a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    return write
