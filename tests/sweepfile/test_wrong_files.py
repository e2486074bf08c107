"""Every wrong sweep file of tests/data gets exactly the message beside it."""

from __future__ import annotations

import os
import subprocess
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


def test_a_file_of_almost_that_name_is_named(tmp_path):
    (tmp_path / "sweep.yaml").touch()

    with pytest.raises(SweepFileError, match=rf"there is no such file \(did you mean '{tmp_path}/sweep\.yaml'\?\)"):
        load(f"{tmp_path}/sweep.yml")
    with pytest.raises(SweepFileError, match=r"there is no such file \(give the path of a sweep file\)"):
        load(f"{tmp_path}/other/sweep.yml")


def test_a_folder_in_the_place_of_a_file(tmp_path):
    with pytest.raises(SweepFileError, match="is a folder"):
        load(str(tmp_path))


@pytest.mark.timeout(30)
def test_a_pipe_that_no_program_writes_to_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "sweep.yaml")

    for path in (str(tmp_path / "sweep.yaml"), os.devnull):
        with pytest.raises(SweepFileError, match="gives nothing to read: it is no file"):
            load(path)


@pytest.mark.timeout(60)
def test_a_pipe_that_a_program_writes_to_is_read_to_its_end():
    reading, writing = os.pipe()
    text = "method: grid\nprogram: t.py\nparameters: {x: {value: 1}}\n"
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=writing, text=True) as writer:
        os.close(writing)
        writer.stdin.write(text)
        writer.stdin.close()
        config = load(f"/dev/fd/{reading}").config
    os.close(reading)

    assert config.method == "grid"


def test_a_file_without_end_is_too_large():
    with pytest.raises(SweepFileError, match="is larger than 1 MiB"):
        load("/dev/zero")


@pytest.mark.parametrize(
    ("text", "problem"),
    [("[" * 30_000 + "]" * 30_000, "nested too deeply"), ("{a: " * 150 + "1" + "}" * 150, "nested more than 100")],
)
def test_deep_nesting_is_refused(tmp_path, text, problem):
    (tmp_path / "sweep.yaml").write_text(f"method: grid\nparameters: {{x: {{value: {text}}}}}\n")

    with pytest.raises(SweepFileError, match=problem):
        load(str(tmp_path / "sweep.yaml"))


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\x85", "\u2028"])
def test_lines_are_counted_as_yaml_counts_them(tmp_path, line_break):
    (tmp_path / "sweep.yaml").write_bytes(f"method grid{line_break}program: t.py{line_break}".encode())

    with pytest.raises(SweepFileError, match=r"line 2: not YAML: .*\(line 1 is no `key: value`"):
        load(str(tmp_path / "sweep.yaml"))
