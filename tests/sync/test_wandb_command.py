"""Which `wandb` uploads and shows runs."""

from __future__ import annotations

import sys

import pytest

from slurmsweep.errors import UsageError
from slurmsweep.sync.upload import wandb_command


def test_a_folder_of_runs_is_not_taken_for_the_package(tmp_path, monkeypatch):
    (tmp_path / "wandb").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)

    with pytest.raises(UsageError, match="there is no `wandb` here"):
        wandb_command()

    (tmp_path / "wandb" / "__init__.py").touch()
    assert wandb_command() == [sys.executable, "-m", "wandb"]
