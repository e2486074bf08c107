"""What tests that upload share."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_real_account(monkeypatch, tmp_path):
    """Give the client and `sync` a key and files of an account that is none."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
