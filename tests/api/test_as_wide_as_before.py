"""A sweep that goes on on this machine runs as many trials at a time as when it was started last."""

from __future__ import annotations

import pytest

SCRIPT = "import os, sys; sys.exit(not os.path.exists('mended'))"
SAID = "2 trials at a time, as when this sweep was started last (--jobs)"


@pytest.fixture
def begun(slurmsweep, write_sweep, tmp_path, monkeypatch, request):
    """Return the id of a sweep of which two trials failed, two at a time; the parameter is its project's defaults."""
    monkeypatch.delenv("SLURMSWEEP_JOBS", raising=False)
    (tmp_path / ".slurmsweep.yaml").write_text(getattr(request, "param", ""))
    slurmsweep("run", str(write_sweep(SCRIPT)), "--backend", "local", "--jobs", "2", "--count", "2")
    (tmp_path / "mended").touch()
    return next(path.name.partition("-")[2] for path in (tmp_path / ".slurmsweep").glob("sweep-*"))


@pytest.mark.parametrize("words", [["run"], ["run", "--dry-run"], ["resubmit", "--force"]])
def test_the_number_is_that_of_the_last_start_and_is_said(slurmsweep, begun, words):
    assert SAID in slurmsweep(words[0], begun, *words[1:]).stderr


@pytest.mark.parametrize(
    ("begun", "words"), [("", ["--jobs", "1"]), ("", ["--gpus", "0"]), ("jobs: 1\n", [])], indirect=["begun"]
)
def test_the_command_line_gpus_and_defaults_count_before_it(slurmsweep, begun, words):
    assert "trials at a time" not in slurmsweep("resubmit", begun, "--force", "--dry-run", *words).stderr


@pytest.mark.parametrize("words", [["run"], ["resubmit"], ["run", "--dry-run"], ["resubmit", "--dry-run"]])
def test_it_is_not_said_where_nothing_starts(slurmsweep, begun, words):
    assert "3 finished" in slurmsweep("resubmit", begun, "--force").stdout

    done = slurmsweep(words[0], begun, *words[1:])

    assert "all 3 trials finished" in done.stderr
    assert "trials at a time" not in done.stderr
