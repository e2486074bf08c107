"""A comparison of sweeps as text: columns for each of them, whatever they are called."""

from __future__ import annotations

import re

import pytest

from slurmsweep.report.page.comparison import ComparedSweep, comparison_markdown, comparison_page, comparison_text


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


@pytest.mark.parametrize("made", [comparison_text, comparison_markdown, comparison_page])
def test_each_format_has_every_table(made, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = made([compared("aaaa1111", "one", 0.5, seed=2), compared("bbbb2222", "other", 0.7, seed=3)])
    words = " ".join(re.sub(r"<[^>]+>|\|", " ", text).split())  # neither tags nor borders

    for title in ("best of the first", "parameters of the best", "configuration"):
        assert title in words.lower()
    for row in ("10 % 1.5 1.7", "25 % 1.5 1.7", "50 % 1.5 1.7", "100 % 0.5 0.7", "lr 0.1 0.1", "seed 2 3"):
        assert row in words
