"""A report as a page, in a real Chromium: what is in it, what a filter does, and that no name in it does harm."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import browser
import pytest

import slurmsweep
from slurmsweep.cli.sweeps import summarize
from slurmsweep.control.session import Session
from slurmsweep.control.views import report as gathering
from slurmsweep.control.views.compare import compared
from slurmsweep.state.outcome import STOPPED_EARLY
from slurmsweep.sweepfile.secrets import masked

in_chromium = pytest.mark.skipif(browser.CHROMIUM is None, reason=browser.MISSING)

#: Names and values that would be tags, scripts, formulas or escapes if a page took them for these.
HOSTILE = "</script><script>window.__harm=1</script><img src=x onerror=window.__harm=1>\"'`${1}=cmd|ünï\u2028🙂"


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location(
        "report_benchmark", Path(__file__).parents[2] / "benchmarks/report.py"
    )
    module = sys.modules["report_benchmark"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make


@pytest.fixture(scope="module")
def swept(make, tmp_path_factory):
    """Return the folder of a sweep of sixty trials, and its report."""
    folder = tmp_path_factory.mktemp("swept")
    store = make(str(folder), 60, rows=20)
    page = folder / "report.html"
    slurmsweep.Sweep(store.layout.folder, backend="local").report(str(page))
    return folder, page


def without_script(page: Path) -> str:
    return re.sub(r"<(script|style)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)


def test_results_and_failures_are_there_without_a_script(swept):
    _, page = swept
    text = without_script(page)

    assert "<h1>cifar-lr</h1>" in text
    assert "44 finished, 1 failed, 1 crashed, 14 stopped early" in text
    assert re.findall(r'<tr><td class="n">(\d+)</td><td class="n">([\d.]+)</td>', text)[:2] == [
        ("26", "0.420377"),
        ("9", "0.47166"),
    ]
    assert "ValueError: loss is nan (train.py, line 31)" in text
    assert '<svg class="chart"' in text
    assert "total Sobol index of a Gaussian process on ranks, 60 trials" in text
    assert "slurmsweep run sweep.yaml" in text
    assert "min_iter: 10" in text


def test_each_trial_has_a_place_of_its_own_also_where_two_ended_at_the_same_moment(swept):
    folder, page = swept
    ends = slurmsweep.Sweep(str(next(folder.glob(".slurmsweep/sweep-*")))).dataframe()["ended"]
    dots = re.findall(r'<circle cx="([\d.]+)"', without_script(page))

    assert ends.duplicated().any()
    assert len(set(dots)) == len(dots)


def test_secrets_in_logs_and_configurations_are_not_shown(swept):
    _, page = swept

    assert "HF_TOKEN=***" in page.read_text()
    assert "hf_abcdef" not in page.read_text()
    assert (
        masked('WANDB_API_KEY: "abc" max_token=5 DB_PASSWORD=x') == 'WANDB_API_KEY: "***" max_token=5 DB_PASSWORD=***'
    )


def test_a_page_names_nothing_that_it_would_load(swept):
    _, page = swept
    text = page.read_text()

    assert "default-src 'none'; script-src 'sha256-" in text
    assert re.findall(r"https?://|<link|@import|url\(", text) == []


@in_chromium
def test_every_panel_is_drawn_and_the_console_is_silent(swept, tmp_path):
    _, page = swept
    opened = browser.opened(
        page,
        tmp_path,
        """
        const panels = [...document.querySelectorAll(".panel")].map(box => {
            const canvas = box.querySelector("canvas"), data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            let drawn = 0;
            for (let k = 3; k < data.length; k += 4) drawn += data[k] > 0;
            return [box.id, drawn > 2000];
        });
        const rows = [...document.querySelectorAll("#rows tr[data-i]")].slice(0, 2).map(row => row.cells[0].textContent);
        return {panels, rows, said: document.getElementById("said").textContent, old: document.getElementById("old").hidden};
        """,
    )

    assert [line for line in opened.console if "willReadFrequently" not in line] == []
    assert dict(opened.found["panels"]) == dict.fromkeys(
        ("history", "parallel", "curves", "slices", "pareto", "timeline"), True
    )
    assert opened.found["rows"] == ["26", "9"]
    assert (opened.found["said"], opened.found["old"]) == ("all 60 trials", True)


@in_chromium
def test_one_filter_holds_for_every_panel_and_stays_in_the_address(swept, tmp_path):
    _, page = swept
    found = browser.opened(
        page,
        tmp_path,
        """
        const asked = ["lr>1e-3 optimizer=sgd", "state:failed", '-state:finished', "warmup=none", "trial=44", "layers<=3 val_loss<0.5",
                       'optimizer=sgd,lion', "state:\\"stopped early\\"", "optimizer!=sgd", "loss_of_nothing=3", "nan", ""];
        return asked.map(text => { const n = __filter(text).chosen; return [text, n, location.hash, document.getElementById("said").className]; });
        """,
    ).found
    counts = {text: number for text, number, _, _ in found}
    rows = slurmsweep.Sweep(str(next(swept[0].glob(".slurmsweep/sweep-*")))).dataframe()
    params = {name: rows[f"params.{name}"] for name in ("lr", "optimizer", "warmup", "layers")}

    assert counts["lr>1e-3 optimizer=sgd"] == sum((params["lr"] > 1e-3) & (params["optimizer"] == "sgd"))
    assert counts["state:failed"] == 1
    assert counts["-state:finished"] == 16
    assert counts["warmup=none"] == sum(params["warmup"].isna())
    assert counts["trial=44"] == 1
    assert counts["layers<=3 val_loss<0.5"] == sum((params["layers"] <= 3) & (rows["metric"] < 0.5))
    assert counts["optimizer=sgd,lion"] == sum(params["optimizer"] != "adam")
    assert counts['state:"stopped early"'] == 14
    assert counts["optimizer!=sgd"] == sum(params["optimizer"] != "sgd")
    assert (
        counts["loss_of_nothing=3"] == counts["optimizer!=sgd"]
    )  # a name that is not there changes nothing, and is said
    assert [kind for text, _, _, kind in found if text == "loss_of_nothing=3"] == ["bad"]
    assert counts[""] == 60
    assert [hash_ for text, _, hash_, _ in found if text == "state:failed"] == ["#f=state%3Afailed"]


@in_chromium
def test_a_link_shows_what_it_was_copied_from(swept, tmp_path):
    script = 'return [document.getElementById("filter").value, document.getElementById("said").textContent]'

    found = browser.opened(swept[1], tmp_path, script, fragment="#f=state%3Afailed").found
    assert found == ["state:failed", "1 of 60 trials"]


@in_chromium
def test_a_brush_is_a_filter_in_words(swept, tmp_path):
    found = browser.opened(
        swept[1],
        tmp_path,
        """
        const said = [];
        for (const [name, from, to] of [["optimizer", 0.4, 0.6], ["warmup", 0, 0.05], ["layers", 0.5, 1], ["lr", 0, 0.001]]) {
            said.push(__brush(name, from, to).filter);
            __filter("");
        }
        return said;
        """,
    ).found

    assert found == ["optimizer=lion", "warmup=none", "layers>=5", ""]


@in_chromium
def test_keys_move_a_brush(swept, tmp_path):
    found = browser.opened(
        swept[1],
        tmp_path,
        """
        const canvas = document.querySelector("#parallel canvas"), said = [];
        canvas.focus();
        for (const key of ["ArrowDown", "ArrowRight", "Escape", "ArrowLeft", "Escape"]) {
            canvas.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
            said.push(document.getElementById("filter").value.split(/[<>=]/)[0]);
        }
        const sort = [...document.querySelectorAll("#heads th")].find(th => th.textContent === "lr");
        sort.querySelector("button").click();
        return [said, sort.getAttribute("aria-sort")];
        """,
    ).found

    assert found[0][0] != ""
    assert (found[0][2], found[0][-1], found[1]) == (found[0][0], "", "ascending")


@in_chromium
def test_another_script_than_the_pages_own_is_refused(swept, tmp_path):
    changed = tmp_path / "changed.html"
    changed.write_text(swept[1].read_text().replace('"use strict";', '"use strict"; ', 1))
    opened = browser.opened(changed, tmp_path)

    assert any("Content Security Policy" in line for line in opened.console)
    assert 'class="ready"' not in opened.dom
    assert "<h2>Best trials</h2>" in opened.dom


@pytest.fixture
def hostile(make, tmp_path):
    """Return the report of a sweep in which names and values are as hostile as a sweep file lets them be."""
    parameters = {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1},
        "dropout": {"min": 0.0, "max": 0.6},
        "layers": {"distribution": "int_uniform", "min": 2, "max": 8},
        "optimizer": {"values": ["sgd", "adam", "lion"]},
        HOSTILE: {"values": [HOSTILE, "=1+1", "none", "", "a,b"]},
    }
    store = make(str(tmp_path), 12, rows=5, name=HOSTILE, description=HOSTILE, parameters=parameters)
    for log in tmp_path.rglob("output.log"):
        log.write_text(HOSTILE)
    return slurmsweep.Sweep(store.layout.folder, backend="local")


@in_chromium
def test_hostile_names_and_values_are_text(hostile, tmp_path):
    page = tmp_path / "hostile.html"
    hostile.report(str(page))
    name = json.dumps(HOSTILE).replace("<", "\\u003c")
    opened = browser.opened(
        page,
        tmp_path,
        f"__brush({name}, 0.1, 0.9); __focus(3); const title = document.querySelector('h1').textContent;"
        "return {title, harm: window.__harm, scripts: document.scripts.length, images: document.images.length};",
    )

    assert opened.console == []
    assert (opened.found.get("harm"), opened.found["images"], opened.found["scripts"]) == (
        None,
        0,
        4,
    )  # and the test's own
    assert opened.found["title"] == HOSTILE.replace("\u2028", "\\u2028")


def test_markdown_shows_hostile_names_literally(hostile):
    text = hostile.report(format="md").decode()

    assert "<script>" not in re.sub(r"(?s)```.*?```", "", text)
    assert "\\<script\\>" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[:3]} == {len(re.findall(r"(?<!\\)\|", lines[1]))}


def test_a_report_of_more_trials_says_what_it_left_out(make, tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "MOST_TRIALS", 20)
    store = make(str(tmp_path), 60, rows=2)
    text = slurmsweep.Sweep(store.layout.folder, backend="local").report(history="best:5").decode()

    assert re.search(r"\d+ of 60 trials are in this report, the 10 best and others taken evenly", text)
    assert "Only the histories of 5 trials were read" in text
    assert json.loads(re.search(r'id="meta">(.*?)</script>', text)[1])["n"] <= 20


def test_a_sweep_that_was_never_started_has_a_report(make_store):
    store = make_store(3)
    text = slurmsweep.Sweep(store.layout.folder, backend="local").report().decode()

    assert "3 pending" in text
    assert "The sweep file names no metric." in text


def trial_ends(store, ends):
    """Record trials that ran one after the other: state, cause and metrics of each, the first of which is the sweep's."""
    from made_sweeps import owner_in_array, records_of  # where ``make`` put it in reach

    with records_of(store.journal.path) as records:
        for number, (state, cause, metrics) in enumerate(ends):
            records.claim(number, owner_in_array(number), 1e9 + 10 * number)
            out = {"state": state, "cause": cause, "seconds": 8.0, "ended": 1e9 + 10 * number + 8, "by": "agent"}
            records.end(number, {**out, "metric": next(iter(metrics.values())), "metrics": metrics})


@pytest.fixture(scope="module")
def cancelled(make, tmp_path_factory):
    """Return a sweep whose best values are those of trials that did not finish; the best that counts is 0.55."""
    from made_sweeps import new_sweep

    folder = tmp_path_factory.mktemp("cancelled")
    document = {
        "method": "grid",
        "program": "train.py",
        "metric": {"name": "loss"},
        "slurmsweep": {"pareto": {"loss": "minimize", "cost": "minimize"}},
        "parameters": {"x": {"values": [1, 2, 3, 4, 5, 6]}},
    }
    store = new_sweep(folder, document, 6)
    ends = [
        ("finished", "", {"loss": 0.9, "cost": 1.5}),
        ("failed", "exit 1", {"loss": 0.3, "cost": 0.1}),
        ("killed", STOPPED_EARLY, {"loss": 0.55, "cost": 1.0}),
        ("finished", "", {"loss": 0.7, "cost": 2.0}),
        ("killed", "cancelled", {"loss": 0.475, "cost": 0.5}),
        ("crashed", "oom", {"loss": 0.2, "cost": 0.2}),
    ]
    trial_ends(store, ends)
    return slurmsweep.Sweep(store.layout.folder, backend="local")


def heights_of_steps(text):
    """Return the heights at which a line of steps goes, from left to right, and those of the dots beside it."""
    path = re.search(r'<path class="area" d="([^"]+)"', text)[1]
    return [float(y) for y in re.findall(r"V([\d.]+)", path)], [float(y) for y in re.findall(r'cy="([\d.]+)"', text)]


def test_the_best_so_far_is_of_the_trials_among_which_one_is_the_best(cancelled, tmp_path):
    page = tmp_path / "r.html"
    cancelled.report(str(page))
    text = without_script(page)
    chart = re.search(r'<div class="nojs">(.*?)</div>', text, re.DOTALL)[1]
    steps, dots = heights_of_steps(chart)

    assert "<b>0.55</b><span>best loss, trial 2<br>" in text
    assert len(dots) == 6  # each trial has its dot
    assert steps[-1] == dots[2]


def test_every_metric_of_a_report_counts_the_same_trials(cancelled):
    text = cancelled.report(metric="cost").decode()

    assert "<b>1</b><span>best cost, trial 2<br>" in text


def test_a_comparison_counts_the_trials_among_which_one_is_the_best(cancelled):
    one = compared(summarize(Session.open(cancelled.status()["folder"]))[0])

    assert one.best == (0.55, 2)
    assert one.steps(by_time=False) == [(1, 0.9), (2, 0.55), (3, 0.55)]
    assert one.best_after(1.0) == 0.55


@in_chromium
def test_bands_over_steps_are_where_the_lines_are(swept, tmp_path):
    found = browser.opened(swept[1], tmp_path, "return __over()").found

    assert len(found["steps"]) == 20
    assert found["bands"] == pytest.approx(found["steps"])


@in_chromium
def test_no_trial_that_was_killed_is_drawn_as_the_best(cancelled, tmp_path):
    page = tmp_path / "r.html"
    cancelled.report(str(page))
    opened = browser.opened(page, tmp_path, "return [__best(), document.getElementById('front').textContent]")

    assert opened.found == [
        {"steps": [0, 2], "last": 2},
        "2 of 2 finished trials are beaten by no other one in both.",
    ]


def test_a_sentence_that_begins_with_a_parameter_has_its_name_as_it_is(make, tmp_path):
    pytest.importorskip("numpy")
    from made_sweeps import new_sweep

    levels = [1, 2, 3, 4, 5, 6]
    document = {
        "method": "grid",
        "program": "train.py",
        "metric": {"name": "loss"},
        "parameters": {"opt": {"parameters": {"lr": {"values": levels}}}, "width": {"values": levels}},
    }
    store = new_sweep(tmp_path, document, 36)
    values = [(lr - 3.5) * (width - 3.5) for lr in levels for width in levels]
    trial_ends(store, [("finished", "", {"loss": value}) for value in values])
    text = slurmsweep.Sweep(store.layout.folder, backend="local").report().decode()

    assert re.findall(r"<p>([^<]*) only together: ", text) in (["opt.lr and width"], ["width and opt.lr"])


def used(sweep):
    """Return the hint of "Asked beside used" in the report, and the widths of its bars; None for a row without one."""
    section = re.search(r'<section id="used">(.*?)</section>', sweep.report().decode(), re.DOTALL)[1]
    rows = re.findall(r'<span>(\w+)</span><span(?: class="track"><b style="width:([\d.]+)%)?', section)
    return re.search(r'"hint">(.*?)</p>', section)[1], {name: float(width) if width else None for name, width in rows}


def test_what_was_used_has_a_bar_only_beside_what_was_asked_for(cancelled, monkeypatch):
    hint, bars = used(cancelled)
    assert bars == {"time": None}
    assert "asked" not in hint

    made = gathering.efficiency_document

    def asked(*arguments):
        document = made(*arguments)
        document["time"] = {**document["time"], "each_asked": 0.4, "each_used": 0.1, "most_used": 0.2}
        document["memory"] = {**document["memory"], "each_asked": 100.0, "each_used": 100.0, "most_used": 200.0}
        document["cpu"] = {**document["cpu"], "each_asked": None, "each_used": 1.0, "most_used": 2.0}
        return document

    monkeypatch.setattr(gathering, "efficiency_document", asked)
    hint, bars = used(cancelled)
    assert bars == {"time": 25.0, "cpu": None, "memory": 50.0}
    assert "full width: what was asked for, or the mark where one used more" in hint


@pytest.fixture(scope="module")
def large(make, tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    store = make(str(folder), 10_000, rows=20)
    page = folder / "report.html"
    slurmsweep.Sweep(store.layout.folder, backend="local").report(str(page))
    return page


def test_ten_thousand_trials_are_less_than_twenty_megabytes(large):
    assert large.stat().st_size < 20e6


@in_chromium
def test_ten_thousand_trials_are_filtered_and_only_rows_in_view_are_laid_out(large, tmp_path):
    opened = browser.opened(
        large,
        tmp_path,
        """
        const text = "lr>1e-3 optimizer=sgd";
        return {chosen: __filter(text).chosen, all: __filter("").chosen, rows: document.querySelectorAll("#rows tr[data-i]").length};
        """,
    )

    assert (opened.console, opened.found["all"]) == ([], 10_000)
    assert 0 < opened.found["chosen"] < 3000
    assert opened.found["rows"] < 60


@in_chromium
@pytest.mark.parametrize("look", ["light", "dark", "narrow"])
def test_a_screenshot_has_more_than_one_colour(swept, tmp_path, look):
    image = tmp_path / "shot.png"
    options = {
        "light": ["--window-size=1280,1400"],
        "dark": ["--window-size=1280,1400", "--blink-settings=preferredColorScheme=0"],
        "narrow": ["--window-size=500,1400"],
    }[look]
    opened = browser.opened(swept[1], tmp_path, "", f"--screenshot={image}", *options)
    picture = pytest.importorskip("PIL.Image").open(image).convert("RGB")
    raw = picture.tobytes()
    pixels = [tuple(raw[at : at + 3]) for at in range(0, len(raw), 3 * 7)]

    assert opened.console == []
    assert len(set(pixels)) > 200
    brightness = sum(map(sum, pixels)) / len(pixels) / 3
    assert (brightness < 100) == (look == "dark")
