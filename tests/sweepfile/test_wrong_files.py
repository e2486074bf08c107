"""Every wrong sweep file of tests/data gets exactly the message beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmsweep.errors import SweepFileError
from slurmsweep.sweepfile.load import load

FOLDER = Path(__file__).parent.parent / "data" / "wrong_sweeps"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_wrong_file_gets_the_whole_message(file, monkeypatch):
    monkeypatch.chdir(FOLDER)

    with pytest.raises(SweepFileError) as error:
        load(file.name)

    assert f"{error.value}\n" == file.with_suffix(".txt").read_text()


def test_there_are_enough_of_them():
    assert len(list(FOLDER.glob("*.yaml"))) >= 60


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "sweep.yaml").write_bytes(b"method: \xff\n")

    with pytest.raises(SweepFileError, match="not UTF-8 text: byte 8 is 0xff"):
        load(str(tmp_path / "sweep.yaml"))


def test_a_folder_in_the_place_of_a_file(tmp_path):
    with pytest.raises(SweepFileError, match="is a folder"):
        load(str(tmp_path))
