"""A comparison of sweeps as text: columns for each of them, whatever they are called."""

from __future__ import annotations

import pytest

from slurmsweep.report.page.comparison import ComparedSweep, comparison_text


def compared(sweep, title, best, **config):
    ended = [(60.0, best + 1), (120.0, best)]
    return ComparedSweep(
        sweep, title, "loss", "minimize", {"finished": 2}, ended, (best, 1), {"lr": 0.1}, 120.0, config
    )


@pytest.mark.parametrize("title", ["configuration", "best of the first", "parameters of the best"])
def test_a_sweep_may_be_called_as_the_first_column(title, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = comparison_text([compared("aaaa1111", title, 0.5, run_cap=2), compared("bbbb2222", "other", 0.7, run_cap=3)])
    lines = [line.split() for line in text.split("\n")]

    assert ["100", "%", "0.5", "0.7"] in lines
    assert ["lr", "0.1", "0.1"] in lines
    assert ["run_cap", "2", "3"] in lines
