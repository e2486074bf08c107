"""The commands ``report`` and ``compare``: formats, files that they write and refuse to write, tables that fit."""

from __future__ import annotations

import json

import pytest

SCRIPT = """
import slurmsweep, sys
x = int(sys.argv[1].partition("=")[2])
if x == 2:
    raise ValueError("too large")
run = slurmsweep.init()
for step in range(3):
    run.log({"loss": (x - 1) ** 2 + 1 / (step + 1), "epochs_run": step})
run.finish()
"""


@pytest.fixture(scope="module")
def swept(run_in, tmp_path_factory):
    """Return a folder with two sweeps that were run, and their ids."""
    folder = tmp_path_factory.mktemp("swept")
    keys = "metric: {name: loss, goal: minimize}"
    first = run_in(folder, SCRIPT, f"name: first\n{keys}", [0, 1, 2], code=1)
    second = run_in(folder, SCRIPT, f"name: second\n{keys}", [3, 1])
    return folder, first, second


def test_the_page_is_made_here_and_is_made_again_over_itself(swept, slurmsweep_in):
    folder, sweep, _ = swept
    for _ in range(2):
        done = slurmsweep_in(folder, "report", sweep)
        assert (done.returncode, f"report-{sweep}.html: " in done.stderr) == (0, True)
    text = (folder / f"report-{sweep}.html").read_text()

    assert text.startswith("<!doctype html>")
    assert "ValueError: too large (train.py, line 5)" in text
    assert "2 finished, 1 failed" in text
    assert "epochs_run" not in text  # it ends alike in all trials


def test_a_file_that_is_no_report_is_written_over_by_force_only(swept, slurmsweep_in):
    folder, sweep, _ = swept
    (folder / "thesis.md").write_text("years of work")
    done = slurmsweep_in(folder, "report", sweep, "-o", "thesis.md")

    assert (done.returncode, "is no report of slurmsweep" in done.stderr) == (2, True)
    assert (folder / "thesis.md").read_text() == "years of work"
    assert slurmsweep_in(folder, "report", sweep, "-o", "thesis.md", "--force").returncode == 0
    assert slurmsweep_in(folder, "report", sweep, "-o", "thesis.md").returncode == 0
    assert (folder / "thesis.md").read_text().startswith("<!-- slurmsweep report -->\n# first\n")


def test_markdown_has_the_best_trials_and_the_failures(swept, slurmsweep_in):
    folder, sweep, _ = swept
    text = slurmsweep_in(folder, "report", sweep, "--format", "md", "-o", "-").stdout

    assert "| 1 | 0.333333 | 1 |" in text
    assert "| 1 | failed | exit 1 | ValueError: too large (train.py, line 5) | 2 |" in text
    assert f"slurmsweep report {sweep}" in text


def test_a_picture_without_matplotlib_is_refused_before_histories_are_read(swept, slurmsweep_in, tmp_path, monkeypatch):
    folder, sweep, _ = swept
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['matplotlib'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = slurmsweep_in(folder, "report", sweep, "-o", "plot.png")

    assert (done.returncode, done.stderr) == (
        2,
        "slurmsweep: png needs matplotlib: `pip install 'slurmsweep[plots]'`, or use --format html\n",
    )


@pytest.mark.parametrize("plot", ["history", "parallel", "importance", "slices", "timeline"])
def test_a_picture_of_the_same_data_is_the_same_file(swept, slurmsweep_in, plot):
    pytest.importorskip("matplotlib")
    folder, sweep, _ = swept
    for _ in range(2):
        done = slurmsweep_in(folder, "report", sweep, "-o", f"{plot}.svg", "--plot", plot)
        assert done.returncode == 0, done.stderr
        (folder / f"{plot}.svg").rename(folder / f"{plot}-{_}.svg")

    first = (folder / f"{plot}-0.svg").read_text()
    assert first == (folder / f"{plot}-1.svg").read_text()
    assert ("slurmsweep report" in first, "<dc:date>" in first) == (True, False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "r.pdf"], "what format is it to be?"),
        (["--history", "best"], "'best' is neither all, none nor best:N"),
        (["--metric", "accuracy"], "no trial in this report has a metric 'accuracy': there is loss"),
        (["-o", "nowhere/r.html"], "cannot write nowhere/r.html: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said(swept, slurmsweep_in, words, said):
    folder, sweep, _ = swept
    done = slurmsweep_in(folder, "report", sweep, *words)

    assert done.returncode in {2, 5}
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_two_sweeps_are_compared_within_eighty_columns(swept, slurmsweep_in):
    folder, first, second = swept
    done = slurmsweep_in(folder, "compare", first, second)
    lines = done.stdout.splitlines()

    assert done.returncode == 0
    assert max(map(len, lines)) <= 80
    assert lines[2].split()[:7] == [first, "loss", "0.333333", "1", "3", "2", "1"]
    assert lines[3].split()[:7] == [second, "loss", "0.333333", "1", "2", "2", "0"]
    assert 'parameters.x   {"values": [0, 1, 2]}  {"values": [3, 1]}' in done.stdout


def test_a_comparison_is_a_document_and_a_page(swept, slurmsweep_in):
    folder, first, second = swept
    document = json.loads(slurmsweep_in(folder, "compare", first, second, "--json").stdout)
    assert [one["best"] for one in document["sweeps"]] == [{"value": 1 / 3, "trial": 1}] * 2
    assert set(document["differences"]) == {"name", "parameters.x"}

    assert slurmsweep_in(folder, "compare", first, second, "-o", "compare.html").returncode == 0
    page = (folder / "compare.html").read_text()
    assert page.count('<svg class="chart"') == 2
    assert "<script" not in page
    assert slurmsweep_in(folder, "compare", first, "-o", "compare.html").returncode == 2


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_comparison_is_a_picture(swept, slurmsweep_in, kind):
    pytest.importorskip("matplotlib")
    folder, first, second = swept
    name = f"compare.{kind}"
    done = slurmsweep_in(folder, "compare", first, second, "-o", name)
    drawn = (folder / name).read_bytes()
    again = slurmsweep_in(folder, "compare", first, second, "-o", name)

    assert (done.returncode, again.returncode) == (0, 0), done.stderr + again.stderr
    assert (folder / name).read_bytes() == drawn
    shown = [b"best loss so far", b"first", b"second", b"hours since"]
    assert drawn.startswith(b"\x89PNG") if kind == "png" else all(words in drawn for words in shown)


def test_sweeps_without_a_value_have_no_picture(tmp_path, slurmsweep_in):
    pytest.importorskip("matplotlib")
    (tmp_path / "train.py").touch()
    (tmp_path / "sweep.yaml").write_text("program: train.py\nmethod: grid\nparameters: {x: {values: [1]}}\n")
    two = [slurmsweep_in(tmp_path, "create", "sweep.yaml").stdout.strip() for _ in range(2)]
    done = slurmsweep_in(tmp_path, "compare", *two, "-o", "compare.svg")

    assert done.returncode == 2
    assert "there is nothing to draw" in done.stderr
    assert not (tmp_path / "compare.svg").exists()
