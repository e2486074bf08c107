"""What tests that upload share."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_real_account(monkeypatch, tmp_path):
    """Give the client and `sync` a key and files of an account that is none."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    # a busy machine may need more than the 30 s in which wandb's own process has to start, and the 90 s of `init`
    monkeypatch.setenv("WANDB_X_SERVICE_WAIT", "300")
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "300")
