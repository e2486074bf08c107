"""What is uploaded: every whole record of a run file, in all versions, but of no sweep. Read by wandb's own classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from slurmsweep.metrics.run_file import RecordReader
from slurmsweep.state.files import PRIVATE
from slurmsweep.sync.run_copy import Home, copy_run, home_of

RUNS = Path(__file__).parent.parent / "data" / "wandb_runs"


def records(file) -> list[Record]:
    return [Record.FromString(record) for record in RecordReader(str(file)).new()]


@pytest.fixture(params=["0.18.7", "0.22.3", "0.28.2", "0.31.0"])
def original(request, tmp_path) -> Path:
    """Return a run file as it lies in a trial's folder."""
    folder = tmp_path / "offline-run-1"
    (folder / "files").mkdir(parents=True)
    (folder / "run-abcd1234-0.wandb").write_bytes((RUNS / f"{request.param}.wandb").read_bytes())
    return folder / "run-abcd1234-0.wandb"


def test_a_copy_is_the_same_run_without_its_sweep_and_goes_on_with_an_older_one(original, tmp_path):
    before = original.read_bytes()

    copy = copy_run(str(original), str(tmp_path / "copy"), PRIVATE, home_of(str(original), {}), {})

    there, here = records(original), records(copy)
    [run] = [record.run for record in there if record.WhichOneof("record_type") == "run"]
    assert run.sweep_id == "abcd1234"
    run.sweep_id, run.resume = "", True
    assert here == there
    assert original.read_bytes() == before
    assert (tmp_path / "copy" / "files").resolve() == original.parent / "files"


def test_a_copy_of_a_torn_file_is_whole(original, tmp_path):
    original.write_bytes(original.read_bytes()[:-100])

    copy = copy_run(str(original), str(tmp_path / "copy"), PRIVATE, home_of(str(original), {}), {})

    there, here = records(original), records(copy)
    assert len(here) == len(there) > 20
    assert Path(copy).stat().st_size < original.stat().st_size


@pytest.mark.parametrize("data", [b"", b":W&B\xe1\xbe\x00", b":W&B\xe1\xbe\x00\x00\x00\x00"])
def test_a_file_in_which_nothing_was_written_is_not_copied(tmp_path, data):
    file = tmp_path / "run-x.wandb"
    file.write_bytes(data)

    assert copy_run(str(file), str(tmp_path / "copy"), PRIVATE, Home(), {}) is None
    assert not (tmp_path / "copy").exists()


def test_where_an_upload_began_is_remembered_over_copies(original, tmp_path):
    original.with_name("run-abcd1234-0.wandb.syncstate").write_text('{"starting_step": 5}')

    copy = copy_run(str(original), str(tmp_path / "copy"), PRIVATE, home_of(str(original), {}), {})

    assert Path(copy + ".syncstate").read_text() == '{"starting_step": 5}'
