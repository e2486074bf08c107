"""Runs that a script keeps outside of its trial's folder are found by what wandb says in the log."""

from __future__ import annotations

import builtins
import os
from pathlib import Path

import pytest

from slurmsweep.metrics import external_runs
from slurmsweep.metrics.external_runs import ExternalRuns
from slurmsweep.metrics.reported import MetricReading, MetricsFollower
from slurmsweep.metrics.run_file import HEADER
from slurmsweep.state.tail import AttemptId

NAME = "offline-run-20260101_000000-abcd1234-0"
SLOT = AttemptId(0, 1)
RUN = Path(__file__).parent.parent / "data" / "wandb_runs" / "0.31.0.wandb"


@pytest.fixture
def layout(make_store):
    """Of a sweep whose commands start in the test's folder, with an attempt of trial 0."""
    layout = make_store().layout
    Path(layout.attempt((0, 1))).mkdir(parents=True)
    return layout


@pytest.fixture
def log(layout):
    """Add to the log of the attempt."""

    def log(text: str) -> None:
        with open(layout.log((0, 1)), "a") as file:
            file.write(text)

    return log


def make_run(folder: Path, name: str = NAME) -> str:
    (folder / name).mkdir(parents=True)
    path = folder / name / "run-abcd1234-0.wandb"
    path.write_bytes(HEADER)
    return str(path)


@pytest.mark.parametrize(
    "line",
    [
        "wandb: Run data is saved locally in {}",
        "wandb: Run data is saved locally in {}-1",
        "3: wandb: Run data is saved locally in {}",
        " 42%|####  | 3/7\rwandb: Run data is saved locally in {}\r",
        "\x1b[1;34mwandb\x1b[0m: \x1b[1mwandb sync {}\x1b[0m",
    ],
)
def test_a_run_is_found_by_what_wandb_says(layout, log, tmp_path, line):
    log("one\n" + line.format(f"{tmp_path}/a [b] c/wandb/{NAME}") + "\ntwo\n")
    path = make_run(tmp_path / "a [b] c" / "wandb", NAME + ("-1" if "{}-1" in line else ""))

    assert ExternalRuns(layout, SLOT).files() == [path]


def test_the_run_of_another_trial_is_not_taken(layout, log, tmp_path):
    log(f"wandb: Run data is saved locally in {tmp_path}/wandb/{NAME}1\n")
    make_run(tmp_path / "wandb", NAME + "1")

    assert ExternalRuns(layout, SLOT).files() == []


@pytest.mark.parametrize("where", [".", "sub", "sub/2026-01-01/12-00-00", "trial", "attempt"])
def test_a_relative_folder_is_found_from_where_the_script_may_have_been(layout, log, tmp_path, where):
    base = {"trial": Path(layout.trial(0)), "attempt": Path(layout.attempt((0, 1)))}.get(where, tmp_path / where)
    path = make_run(base / "mine" / "wandb")
    log(f"wandb: Run data is saved locally in mine/wandb/{NAME}\n")
    runs = ExternalRuns(layout, SLOT)

    assert runs.files() == [path]
    assert runs.unseen == []


def test_a_relative_folder_is_found_from_the_checkpoint_folder(layout, log):
    log(f"wandb: Run data is saved locally in results/wandb/{NAME}\n")
    path = make_run(Path(layout.checkpoints(0)) / "results" / "wandb")

    assert ExternalRuns(layout, SLOT).files() == [path]


def test_a_run_in_the_trials_own_folder_is_not_looked_for_where_the_sweep_was_before(layout, log, tmp_path):
    own = Path(layout.runs(0))
    before = tmp_path / "before" / own.relative_to(tmp_path)
    there, here = make_run(before), make_run(own)
    log(f"wandb: Run data is saved locally in {before}/{NAME}\n")

    assert ExternalRuns(layout, SLOT).files() == [here] != [there]


def test_a_folder_that_cannot_be_seen_from_here_is_named_until_it_can(layout, log, tmp_path):
    log(f"wandb: Run data is saved locally in ../mine/wandb/{NAME}\n")
    runs = ExternalRuns(layout, SLOT)
    assert (runs.files(), runs.unseen) == ([], [f"../mine/wandb/{NAME}"])

    (tmp_path / "sub" / "deep").mkdir(parents=True)
    path = make_run(tmp_path / "sub" / "mine" / "wandb")

    assert (runs.files(), runs.unseen) == ([path], [])


def test_a_search_below_the_folder_of_the_command_is_bounded(layout, log, tmp_path, monkeypatch):
    monkeypatch.setattr(external_runs, "_FOLDERS", 5)
    for number in range(20):
        (tmp_path / f"results-{number}").mkdir()
    looked_at = list(external_runs.below(str(tmp_path)))

    assert len(looked_at) == 5
    assert all(Path(folder).name.startswith("results-") for folder in looked_at)  # and not wandb's own


@pytest.fixture
def bytes_read(monkeypatch):
    """Count the bytes that are read of logs."""
    counts = []

    class Counting:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def __getattr__(self, name):
            return getattr(self._file, name)

        def read(self, size):
            data = self._file.read(size)
            counts.append(len(data))
            return data

    def counting(*args):
        return Counting(builtins.open(*args))

    monkeypatch.setattr(external_runs, "open", counting, raising=False)
    return counts


def test_looks_at_a_log_that_grows_read_each_byte_of_it_once(layout, log, bytes_read):
    follower = MetricsFollower(layout, SLOT, {"loss": "minimize"})
    for look in range(60):
        log(f"step {look}: " + "x" * 10_000 + ("" if look % 3 else "\n"))
        assert follower.read()["loss"] == MetricReading()

    assert sum(bytes_read) == os.path.getsize(layout.log((0, 1))) > 600_000


def test_a_long_log_is_read_to_its_end_by_one_look_in_pieces(layout, log, bytes_read, monkeypatch, tmp_path):
    monkeypatch.setattr(external_runs, "_PIECE", 7_000)
    log(("y" * 99 + "\n") * 500 + f"wandb: Run data is saved locally in {tmp_path}/wandb/{NAME}\n" + "z" * 9_000)
    path = make_run(tmp_path / "wandb")
    runs = ExternalRuns(layout, SLOT)

    assert (runs.files(), sum(bytes_read)) == ([path], os.path.getsize(layout.log((0, 1))))
    assert max(bytes_read) == 7_000


@pytest.mark.parametrize("cut", range(1, 80, 13))
def test_a_line_that_is_torn_between_two_looks_is_read_whole(layout, log, tmp_path, cut):
    line = f"before\nwandb: Run data is saved locally in {tmp_path}/wandb/{NAME}\n"
    path = make_run(tmp_path / "wandb")
    runs = ExternalRuns(layout, SLOT)
    log(line[:cut])
    assert runs.files() == []
    log(line[cut:-1])
    assert runs.files() == []
    log(line[-1])

    assert runs.files() == [path]


def test_a_line_without_an_end_costs_no_memory_and_hides_nothing_after_it(layout, log, tmp_path):
    path = make_run(tmp_path / "wandb")
    line = f"wandb: Run data is saved locally in {tmp_path}/wandb/{NAME}\n"
    runs = ExternalRuns(layout, SLOT)
    for _ in range(30):
        log("\r" + "#" * 20_000)
        assert runs.files() == []
        assert len(runs._torn) <= external_runs._LONGEST_LINE
    log(line)  # the end of the long one

    assert runs.files() == [path]


@pytest.mark.parametrize("how", ["truncated", "replaced"])
def test_a_log_that_begins_anew_is_read_from_its_start(layout, log, tmp_path, how):
    path = make_run(tmp_path / "wandb")
    runs = ExternalRuns(layout, SLOT)
    log("x" * 500 + "\nand a torn li")
    assert runs.files() == []
    if how == "truncated":
        os.truncate(layout.log((0, 1)), 0)
    else:
        os.rename(layout.log((0, 1)), layout.log((0, 1)) + ".1")
        log("y" * 600 + "\n")
    log(f"wandb: Run data is saved locally in {tmp_path}/wandb/{NAME}\n")

    assert runs.files() == [path]


def test_the_metric_of_a_run_elsewhere_is_followed(layout, log, tmp_path):
    follower = MetricsFollower(layout, SLOT, {"loss": "minimize"})
    assert follower.read()["loss"] == MetricReading()
    log(f"wandb: Run data is saved locally in mine/wandb/{NAME}\n")
    assert (follower.read()["loss"], follower.files.unseen) == (MetricReading(), [f"mine/wandb/{NAME}"])
    file = Path(make_run(tmp_path / "mine" / "wandb"))
    assert follower.read()["loss"] == MetricReading(None, 0, "wandb")
    file.write_bytes(RUN.read_bytes())

    assert (follower.read()["loss"], follower.files.unseen) == (MetricReading(1 / 8, 8, "wandb"), [])
