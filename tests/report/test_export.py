"""What ``export`` writes is read back by the programs for which it is."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

from slurmsweep.agents.identity import this_process
from slurmsweep.report.export import FORMATS, columns
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.store import SweepStore

ROWS = [
    {"number": 0, "params.lr": 0.1, "params.mixed": 1, "started": 1.7e9, "flag": True, "metrics.loss": math.nan},
    {"number": 1, "params.lr": 1, "params.mixed": "auto", "started": None, "flag": None, "metrics.b.c": math.inf},
    {"number": 2, "params.only": [1, {"a": 2}], "cause": "=1+1", "flag": False, "log": 'a\nb, "c" ünï'},
]  # fmt: skip


def written(kind, rows=ROWS) -> bytes:
    return b"".join(FORMATS[kind](rows))


def test_csv_has_all_columns_and_no_formula():
    read = list(csv.DictReader(io.StringIO(written("csv").decode())))

    assert list(read[0]) == columns(ROWS)
    assert [row["params.lr"] for row in read] == ["0.1", "1", ""]
    assert read[0]["started"] == "2023-11-14T22:13:20Z"
    assert (read[2]["cause"], read[2]["log"]) == ("'=1+1", 'a\nb, "c" ünï')
    assert read[2]["params.only"] == '[1, {"a": 2}]'


def test_columns_of_a_kind_stand_together_however_late_they_come():
    assert columns(ROWS) == ["number", "params.lr", "params.mixed", "params.only", "started", "flag", "metrics.loss", "metrics.b.c", "cause", "log"]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "read"), [("json", json.loads), ("jsonl", lambda text: list(map(json.loads, text.splitlines())))]
)
def test_json_is_strict(kind, read):
    def refuse(word):
        raise AssertionError(word)

    text = written(kind).decode()
    if kind == "json":
        json.loads(text, parse_constant=refuse)
    found = read(text)
    assert (found[0]["metrics.loss"], found[1]["metrics.b.c"], found[2]["params.only"]) == (None, None, [1, {"a": 2}])
    assert read(written(kind, []).decode()) == []


def test_parquet_keeps_types_and_columns_that_come_late(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    path.write_bytes(written("parquet", [*ROWS, {"number": 2**70}]))
    table = pq.read_table(path)

    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert types["params.lr"] == "double"
    assert types["params.mixed"] == types["params.only"] == "string"
    assert types["number"] == "double"
    assert types["flag"] == "bool"
    assert types["started"] == "timestamp[us, tz=UTC]"
    assert table.column("params.mixed").to_pylist() == ["1", "auto", None, None]


def test_a_sweep_is_exported_with_all_that_its_trials_logged(slurmsweep, write_sweep, tmp_path, monkeypatch):
    script = """
import sys, slurmsweep
run = slurmsweep.init()
for step in range(3):
    slurmsweep.log({"loss": run.config.x - step, "inner": {"acc": step}})
"""
    file = write_sweep(
        script, "  x: {values: [5, 6]}\n  opt: {parameters: {name: {value: sgd}}}", "metric: {name: loss}"
    )
    sweep = json.loads(slurmsweep("run", str(file), "--backend", "local", "--json").stdout)["id"]

    assert slurmsweep("export", sweep, "-o", "t.jsonl").returncode == 0
    first, second = map(json.loads, (tmp_path / "t.jsonl").read_text().splitlines())
    assert (first["params.x"], first["params.opt.name"], first["state"]) == (5, "sgd", "finished")
    assert (second["metric"], second["metrics.loss"], second["metrics.inner.acc"]) == (4, 4, 2)
    assert second["ended"] >= second["started"]

    steps = list(csv.DictReader(io.StringIO(slurmsweep("export", sweep, "--history", "--where", "x=6").stdout)))
    assert [(row["number"], row["attempt"], row["step"], row["loss"], row["inner.acc"]) for row in steps] == [
        ("1", "1", str(step), str(6 - step), str(step)) for step in range(3)
    ]

    monkeypatch.chdir(tmp_path)
    pd = pytest.importorskip("pandas")
    import slurmsweep as package

    table = package.Sweep(sweep).dataframe()
    assert list(table["params.x"]) == [5, 6]
    found = package.Api().sweep(sweep)
    assert list(found.dataframe(history=True)["loss"]) == [5, 4, 3, 6, 5, 4]
    assert isinstance(found.runs[0].history(), pd.DataFrame)
    assert found.runs[1].history(["loss"], pandas=False) == [{"loss": 6}, {"loss": 5}, {"loss": 4}]


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--format", "parquet"], "give the file to write with -o FILE"), (["-o", "t.xls"], "t.xls: what format is it to be?")],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(slurmsweep, write_sweep, tmp_path, options, said):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()
    done = slurmsweep("export", sweep, *options)
    assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True)
    assert not list(tmp_path.glob("t.*"))


def test_an_end_that_the_journal_lacks_is_told_with_its_time(slurmsweep, write_sweep, tmp_path):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()
    store = SweepStore.open_to_run(str(tmp_path / ".slurmsweep" / f"sweep-{sweep}"))
    claim = store.claim(this_process({}))
    store.write_outcome(claim, Outcome(TrialState.FAILED, "exit 3", exit_code=3, seconds=1.0, ended=1.7e9))
    row = json.loads(slurmsweep("export", sweep, "--format", "json").stdout)[0]

    assert (row["state"], row["exit_code"], row["ended"]) == ("failed", 3, 1.7e9)
