"""The metric is read from what a script left, however it ended: native history, and runs of the real wandb, offline."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from written import WAIT_UNTIL_WRITTEN

from slurmsweep.metrics import run_file
from slurmsweep.metrics.protobuf import bytes_field
from slurmsweep.metrics.reported import MetricReading, MetricsFollower, read_summary, trial_runs
from slurmsweep.state.paths import Layout
from slurmsweep.state.tail import AttemptId

#: Made by make.py beside them: the same script, run by four versions of the real wandb.
RUNS = Path(__file__).parent.parent / "data" / "wandb_runs"
VERSIONS = ["0.18.7", "0.22.3", "0.28.2", "0.31.0"]
FIRST, SECOND = AttemptId(0, 1), AttemptId(0, 2)

SCRIPT = """
import os, sys, wandb
run = wandb.init(config={"lr": 0.5})
run.define_metric("lowest", summary="min")
for step in range(200):
    run.log({"loss": 1 / (step + 1), "val": {"acc": step / 200}, "lowest": abs(step - 50), "odd": float("nan"), "word": "x" * 300})
"""


class Follower:
    """Follows one metric."""

    def __init__(self, layout, attempt_id, name, goal="minimize"):
        self._name = name
        self._all = MetricsFollower(layout, attempt_id, {name: goal})

    def read(self) -> MetricReading:
        return self._all.read()[self._name]


def read_metric(layout, attempt_id, name, goal="minimize") -> MetricReading:
    return Follower(layout, attempt_id, name, goal).read()


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Of a sweep with the folders of two attempts of trial 0."""
    layout = Layout(str(tmp_path / "sweep-abcd1234"))
    for attempt_id in (FIRST, SECOND):
        Path(layout.attempt(attempt_id)).mkdir(parents=True)
    return layout


@pytest.fixture
def history(layout) -> Path:
    """Where the native client writes in the first attempt."""
    return Path(layout.history((0, 1)))


@pytest.fixture(scope="module")
def offline_run(tmp_path_factory):
    """Return the file of a finished offline run of the real wandb, over 32 KiB."""
    folder = tmp_path_factory.mktemp("run")
    return run_wandb(folder, SCRIPT)


def run_wandb(folder, script, **environ) -> Path:
    settings = {
        "WANDB_MODE": "offline", "WANDB_DIR": str(folder), "WANDB_SILENT": "true", "WANDB_RUN_ID": "abcd1234-0",
        "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "0.1", "WANDB_CACHE_DIR": str(folder), "WANDB_CONFIG_DIR": str(folder),
        "WANDB_DATA_DIR": str(folder),
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", script], env=os.environ | settings | environ, check=False, capture_output=True
    )
    [file] = folder.glob("wandb/offline-run-*/run-*.wandb")
    return file


def test_what_a_killed_script_set_in_the_summary_counts_until_it_is_logged_again(layout, history):
    told = [{"loss": 3, "_step": 0}, {"_summary_set": {"loss": 1, "best": 7}}, {"acc": 0.5, "_step": 1}]
    history.write_text("".join(json.dumps(row) + "\n" for row in told))

    assert read_metric(layout, FIRST, "loss").value == 1
    assert read_metric(layout, FIRST, "best").value == 7
    assert read_summary(layout, FIRST) == {"loss": 1, "best": 7, "acc": 0.5, "_step": 1}
    with history.open("a") as file:
        file.write('{"loss": 2, "_step": 2}\n')
    assert read_metric(layout, FIRST, "loss").value == 2
    assert read_metric(layout, SECOND, "best").value == 7


def place(layout, data: bytes, name: str = "offline-run-20260101_000000-abcd1234-0") -> Path:
    """Return a run file in the trial's folder."""
    folder = Path(layout.runs(0)) / name
    folder.mkdir(parents=True)
    (folder / "run-abcd1234-0.wandb").write_bytes(data)
    return folder / "run-abcd1234-0.wandb"


def test_a_run_of_the_real_wandb_is_read_whole(offline_run):
    run = run_file.read(str(offline_run))

    assert run.exit_code == 0
    assert [row["loss"] for row in run.history] == [1 / (step + 1) for step in range(200)]
    assert run.history[-1]["val.acc"] == 199 / 200
    assert run.summary["lowest"] == {"min": 0}


@pytest.mark.parametrize("version", VERSIONS)
def test_runs_of_all_versions_are_read_whole(version):
    run = run_file.read(str(RUNS / f"{version}.wandb"))

    assert run.exit_code == 0
    assert [row["loss"] for row in run.history] == [1 / (step + 1) for step in range(8)]
    last = run.history[-1]
    kept = {"tiny": 1e-05, "huge": 1e22, "big": 2**53 + 1, "yes": True, "none": None, "text": "1e-5", "größe": 7}
    assert {key: last[key] for key in kept} == kept
    assert [type(last[key]) for key in kept] == [type(value) for value in kept.values()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "goal", "value", "steps"),
    [
        ("loss", "minimize", 1 / 8, 8),
        ("val.acc", "minimize", 7 / 8, 8),
        ("val.deep.er", "minimize", 7.0, 8),
        ("with.dot", "minimize", 7.0, 8),
        ("größe", "minimize", 7.0, 8),
        ("lowest", "minimize", 0.0, 8),
        ("both", "minimize", 0.0, 8),
        ("both", "maximize", 4.0, 8),
        ("average", "minimize", 3.5, 8),
        ("lowest.min", "minimize", 0.0, 0),
        ("group.x", "maximize", 4.0, 8),
        ("unsummarised", "minimize", 7.0, 8),
        ("by_hand", "minimize", 7.0, 0),
        ("tiny", "minimize", 1e-05, 8),
        ("nan", "minimize", None, 0),
        ("ends_nan", "minimize", None, 7),
        ("inf", "minimize", None, 0),
        ("yes", "minimize", None, 0),
        ("text", "minimize", None, 0),
        ("val", "minimize", None, 0),
        ("absent", "minimize", None, 0),
    ],
)
def test_the_metric_is_the_summarys_in_all_versions(layout, version, name, goal, value, steps):
    place(layout, (RUNS / f"{version}.wandb").read_bytes())

    assert read_metric(layout, FIRST, name, goal) == MetricReading(value, steps, "wandb")


def test_a_file_cut_anywhere_gives_what_is_whole(offline_run, tmp_path):
    data = offline_run.read_bytes()
    cut = tmp_path / "cut.wandb"
    lengths = []
    for end in [*range(200), *range(200, len(data), 4999)]:
        cut.write_bytes(data[:end])
        lengths.append(len(run_file.read(str(cut)).history))

    assert lengths == sorted(lengths)
    assert lengths[0] == 0
    assert lengths[-1] > 190


def test_a_file_that_grows_is_read_on_from_where_it_was_read_to(layout, offline_run):
    data = offline_run.read_bytes()
    growing = place(layout, b"")
    follower = Follower(layout, FIRST, "loss")
    readings = []
    for start in range(0, len(data), 4999):
        with growing.open("ab") as file:
            file.write(data[start : start + 4999])
        readings.append(follower.read())

    assert [reading.steps for reading in readings] == sorted(reading.steps for reading in readings)
    assert readings[-1] == read_metric(layout, FIRST, "loss") == MetricReading(1 / 200, 200, "wandb")
    assert all(reading.value in {1 / reading.steps, 1 / (reading.steps + 1)} for reading in readings if reading.steps)


def test_a_follower_reads_no_byte_twice_but_the_block_at_the_end(layout, offline_run, monkeypatch):
    place(layout, offline_run.read_bytes())
    follower = Follower(layout, FIRST, "loss")
    follower.read()
    reads = []
    frame = run_file._sound_frame
    monkeypatch.setattr(run_file, "_sound_frame", lambda *args: reads.append(frame(*args)) or frame(*args))

    assert follower.read() == MetricReading(1 / 200, 200, "wandb")
    assert [read for read in reads if read] == []


def test_what_a_damaged_block_held_is_missing_and_the_rest_is_read(layout, offline_run):
    data = bytearray(offline_run.read_bytes())
    assert len(data) > 3 * 32768
    data[32768 + 20] ^= 1
    place(layout, bytes(data))

    reading = read_metric(layout, FIRST, "loss")
    assert reading.value == 1 / 200
    assert 100 < reading.steps < 200


def test_a_damaged_block_that_is_not_full_yet_waits_for_its_rest(layout, offline_run):
    data = offline_run.read_bytes()
    file = place(layout, data[:5000] + bytes(500))
    follower = Follower(layout, FIRST, "loss")
    early = follower.read().steps
    file.write_bytes(data)

    assert early < 20
    assert follower.read() == MetricReading(1 / 200, 200, "wandb")


def test_records_written_again_are_the_same_file(offline_run, tmp_path):
    again = b"".join(run_file.log_bytes(run_file.RecordReader(str(offline_run)).new()))

    assert again == offline_run.read_bytes()


@pytest.mark.parametrize("size", [0, 1, 32747, 32748, 32753, 32754, 32755, 32761, 32762, 70000])
def test_records_of_any_size_are_written_and_read(tmp_path, size):
    records = [b"a" * size, b"b", b"c" * (32768 - 100), b"", b"d" * 40000]
    file = tmp_path / "any.wandb"
    file.write_bytes(b"".join(run_file.log_bytes(records)))

    assert list(run_file.RecordReader(str(file)).new()) == records


@pytest.mark.parametrize(
    "garbage",
    [b"", b"x", random.Random(1).randbytes(100_000), b"\x00" * 40_000, b":W&B\xe1\xbe\x00" + b"\xff" * 500],
    ids=["empty", "short", "any bytes", "NULs", "header only"],
)
def test_a_file_of_something_else_says_nothing(tmp_path, garbage):
    file = tmp_path / "odd.wandb"
    file.write_bytes(garbage)

    assert run_file.read(str(file)) == run_file.RunFile()


def test_records_of_something_else_say_nothing(tmp_path):
    item = bytes_field(1, b"abc") + bytes_field(16, b'{"a":' * 100_000)
    odd = [b"\x12\xff", random.Random(1).randbytes(50), bytes_field(2, bytes_field(1, item))]
    file = tmp_path / "odd.wandb"
    file.write_bytes(b"".join(run_file.log_bytes(odd)))

    assert run_file.read(str(file)).history == []


def test_a_value_taken_out_of_the_summary_leaves_the_last_one_logged(layout):
    def item(key, value=None):
        return bytes_field(1, key) + (b"" if value is None else bytes_field(16, value))

    history = bytes_field(2, bytes_field(1, item(b"loss", b"2")) + bytes_field(2, b"\x08\x05"))
    records = [
        bytes_field(3, bytes_field(1, item(b"loss", b"1"))),
        history,
        bytes_field(3, bytes_field(2, item(b"loss"))),
    ]
    file = place(layout, b"".join(run_file.log_bytes(records)))

    assert run_file.read(str(file)).history == [{"loss": 2}]
    assert read_metric(layout, FIRST, "loss") == MetricReading(2.0, 1, "wandb")


def test_a_killed_run_leaves_its_last_value(layout, tmp_path):
    script = SCRIPT + WAIT_UNTIL_WRITTEN + "wait_until_written(200, 'lowest')\nos.kill(os.getpid(), 9)"

    file = run_wandb(tmp_path, script)

    assert run_file.read(str(file)).exit_code is None
    place(layout, file.read_bytes())
    assert read_metric(layout, FIRST, "loss") == MetricReading(1 / 200, 200, "wandb")
    assert read_metric(layout, FIRST, "lowest").value == 0.0


def test_a_native_history_is_read_and_a_torn_last_line_left_out(layout, history):
    history.write_text('{"loss": 2, "a": {"b": 1}}\n{"loss": NaN}\n{"loss": true}\n{"loss": 1.5}\n{"lo')

    assert read_metric(layout, FIRST, "loss") == MetricReading(1.5, 2, "native")
    assert read_metric(layout, FIRST, "a.b").value == 1.0


def test_a_native_history_that_grows_is_read_on(layout, history):
    follower = Follower(layout, FIRST, "loss")
    assert follower.read() == MetricReading()
    history.write_text('{"loss": 2}\n{"lo')
    assert follower.read() == MetricReading(2.0, 1, "native")
    with history.open("a") as file:
        file.write('ss": 3}\n{"_summary": {"loss": 2}}\n')
    assert follower.read() == MetricReading(2.0, 2, "native")


@pytest.mark.parametrize("last", ["NaN", "Infinity", "-Infinity", "1" + "0" * 400, '"1e-5"'])
def test_a_run_that_ended_in_no_finite_number_has_no_value(layout, history, last):
    history.write_text(f'{{"loss": 0.5}}\n{{"loss": {last}}}\n')

    assert read_metric(layout, FIRST, "loss") == MetricReading(None, 1, "native")


def test_a_native_summary_stands_over_the_last_value(layout, history):
    history.write_text('{"loss": 2}\n{"loss": 3}\n{"_summary": {"loss": 2}}\n')

    assert read_metric(layout, FIRST, "loss").value == 2.0


@pytest.mark.parametrize(
    "line", ["[" * 100_000, "nonsense", "[1]", '"text"', "\xff\xfe", '{"loss": ' + "9" * 5000 + "}"]
)
def test_an_odd_line_of_a_history_is_passed_over(layout, history, line):
    history.write_bytes(f"{line}\n".encode("latin-1") + b'{"loss": 2}\n')

    assert read_metric(layout, FIRST, "loss").value == 2.0


def test_a_script_that_logged_nothing_has_no_metric(layout):
    assert read_metric(layout, FIRST, "loss") == MetricReading()


def test_a_script_that_uses_both_clients_has_the_metric_of_the_one_that_logged_it(layout, history):
    history.write_text('{"other": 2}\n')
    place(layout, (RUNS / "0.31.0.wandb").read_bytes())

    assert read_metric(layout, FIRST, "loss") == MetricReading(1 / 8, 8, "wandb")
    assert read_metric(layout, FIRST, "other") == MetricReading(2.0, 1, "native")


def test_several_metrics_are_read_at_once_each_from_where_it_was_logged(layout, history):
    history.write_text('{"other": 2, "loss": NaN}\n{"other": 1}\n')
    place(layout, (RUNS / "0.31.0.wandb").read_bytes())
    goals = {"loss": "minimize", "other": "minimize", "both": "maximize", "val.acc": "minimize", "absent": "minimize"}

    readings = MetricsFollower(layout, FIRST, goals).read()

    assert list(readings) == list(goals)
    assert readings["other"] == MetricReading(1.0, 2, "native")
    assert readings["loss"] == MetricReading(1 / 8, 8, "wandb")
    assert (readings["both"].value, readings["val.acc"].value) == (4.0, 7 / 8)
    assert readings["absent"].value is None


def test_an_online_run_is_read_too(layout):
    place(layout, (RUNS / "0.31.0.wandb").read_bytes(), "run-20260101_000000-abcd1234-0")

    assert read_metric(layout, FIRST, "loss").value == 1 / 8


def test_of_several_processes_that_each_made_a_run_the_one_with_the_metric_counts(layout):
    place(layout, (RUNS / "0.31.0.wandb").read_bytes())
    place(layout, b":W&B\xe1\xbe\x00", "offline-run-20260101_000000-abcd1234-0-1")

    assert read_metric(layout, FIRST, "loss").value == 1 / 8


@pytest.fixture
def two_attempts(layout):
    """Begin two attempts, at 100 and at 300; place the run of one of them, last written at that time."""
    for attempt, when in ((FIRST, 100), (SECOND, 300)):
        Path(layout.owner(attempt)).parent.mkdir(parents=True, exist_ok=True)
        Path(layout.owner(attempt)).write_text("{}")
        os.utime(layout.owner(attempt), (when, when))

    def place_run(when, data, second=0) -> str:
        path = place(layout, data, f"offline-run-20260101_00000{second}-abcd1234-0")
        os.utime(path, (when, when))
        return str(path)

    return place_run


def test_an_attempt_that_logged_nothing_keeps_what_the_one_before_had(layout, two_attempts):
    two_attempts(200, (RUNS / "0.31.0.wandb").read_bytes())

    assert read_metric(layout, FIRST, "loss") == MetricReading(1 / 8, 8, "wandb")
    assert read_metric(layout, SECOND, "loss") == MetricReading(1 / 8, 8, "wandb")
    assert read_summary(layout, SECOND)["loss"] == 1 / 8


def test_an_attempt_after_a_deleted_one_begins_anew(layout, two_attempts):
    two_attempts(200, (RUNS / "0.31.0.wandb").read_bytes())
    assert MetricsFollower(layout, SECOND, {"loss": "minimize"}, 2).read()["loss"] == MetricReading()
    assert read_summary(layout, SECOND, 2) == {}

    new = two_attempts(400, (RUNS / "0.28.2.wandb").read_bytes(), second=1)

    assert trial_runs(layout, SECOND, 2).files() == [new]
    assert MetricsFollower(layout, SECOND, {"loss": "minimize"}, 2).read()["loss"].source == "wandb"


def rows(*losses, **summary) -> str:
    lines = [json.dumps({"loss": loss}) for loss in losses] + ([json.dumps({"_summary": summary})] if summary else [])
    return "".join(f"{line}\n" for line in lines)


DEFINED = '{"_define": {"name": "lo*", "summary": ["min", "max", "first", "mean"], "goal": null}}\n'


@pytest.mark.parametrize(
    ("first", "second", "value", "loss"),
    [
        (rows(0.9, 0.1), rows(), 0.1, 0.1),
        (rows(0.9, 0.1), rows(0.5, 0.3), 0.3, 0.3),
        (rows(0.9, loss=0.05), rows(), 0.05, 0.05),
        (rows(0.9, loss=0.05), rows(0.5), 0.5, 0.5),
        (rows(0.1), rows(0.5, math.nan), None, pytest.approx(math.nan, nan_ok=True)),
        (rows(0.1, math.nan), rows(0.5), 0.5, 0.5),
        (rows(0.1, loss={"min": 0.1}), rows(0.5, loss={"min": 0.5}), 0.1, {"min": 0.1}),
        (rows(0.1, 0.4), rows(0.5, loss={"min": 0.5, "max": 0.5}), 0.1, {"min": 0.1, "max": 0.5}),
        (rows(0.1, loss={"best": 0.1}), rows(0.5, loss={"best": 0.5}), 0.1, {"best": 0.5}),
        (
            DEFINED + rows(0.3, 0.1, 0.5),
            DEFINED + rows(0.9),
            0.1,
            {"min": 0.1, "max": 0.9, "first": 0.3, "mean": pytest.approx(0.45)},
        ),
        (DEFINED + rows(0.1, math.nan), DEFINED + rows(0.5), 0.5, {"min": 0.5, "max": 0.5, "first": 0.1, "mean": 0.5}),
    ],
)
def test_two_attempts_of_the_native_client_are_one_run(layout, first, second, value, loss):
    for attempt, text in ((FIRST, first), (SECOND, second)):
        Path(layout.history(attempt)).parent.mkdir(parents=True, exist_ok=True)
        Path(layout.history(attempt)).write_text(text)

    assert read_metric(layout, SECOND, "loss").value == value
    assert read_summary(layout, SECOND)["loss"] == loss


def run_of(*losses, loss=None) -> bytes:
    """Return a run file as wandb writes it, cut off before its end."""

    def item(value):
        return bytes_field(1, bytes_field(1, b"loss") + bytes_field(16, json.dumps(value).encode()))

    summary = [bytes_field(3, item(loss))] if loss else []
    return b"".join(run_file.log_bytes([*(bytes_field(2, item(value)) for value in losses), *summary]))


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        (run_of(0.9, 0.1, loss={"min": 0.1}), run_of(0.5, 0.3, loss={"min": 0.3}), 0.1),
        (run_of(0.9, 0.1, 0.4), run_of(0.5, loss={"min": 0.5}), 0.1),
        (run_of(0.9, 0.1, loss={"min": 0.1}), run_of(), 0.1),
        (run_of(0.9, 0.1, loss={"mean": 0.5}), run_of(0.2, loss={"mean": 0.2}), pytest.approx(0.4)),
        (run_of(0.9, 0.1, loss={"min": 0.1}), run_of(0.5), 0.1),  # cut off before the summary was written
        (run_of(0.9, 0.1, loss={"min": 0.1}), run_of(math.nan), None),
        (run_of(0.9, 0.1, loss={"min": 0.1}), run_of(0.5, loss=0.5), 0.5),
        (run_of(0.9, 0.1, loss={"min": 0.1}), run_of(math.nan, loss={"min": math.nan}), None),
    ],
)
def test_two_attempts_of_wandb_are_one_run(layout, two_attempts, first, second, value):
    two_attempts(200, first)
    two_attempts(400, second, second=1)

    assert read_metric(layout, SECOND, "loss").value == value


def test_the_goal_decides_what_is_best_over_attempts(layout, two_attempts):
    two_attempts(200, run_of(0.9, 0.1, loss={"best": 0.9}))
    two_attempts(400, run_of(0.5, loss={"best": 0.5}), second=1)

    assert MetricsFollower(layout, SECOND, {"loss": "maximize"}).read()["loss"] == MetricReading(0.9, 3, "wandb")
