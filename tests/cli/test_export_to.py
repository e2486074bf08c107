"""What ``export -o`` does to what the name leads to."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest


@pytest.fixture
def export(slurmsweep, write_sweep, tmp_path):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return slurmsweep("export", sweep, *words)

    return run


def test_a_pipe_takes_the_table_and_stays_a_pipe(export, tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    reader = subprocess.Popen([sys.executable, "-c", f"print(open({str(pipe)!r}).read())"], stdout=subprocess.PIPE)
    done = export("-o", "pipe.csv")
    said, _ = reader.communicate(timeout=60)

    assert (done.returncode, len(said.split()), stat.S_ISFIFO(pipe.stat().st_mode)) == (0, 4, True)


def test_a_device_takes_the_table_and_stays_a_device(export):
    before = os.stat("/dev/null")
    assert export("-o", "/dev/null", "--format", "csv").returncode == 0
    assert os.stat("/dev/null").st_rdev == before.st_rdev
    assert len(export("-o", "/dev/stdout", "--format", "csv").stdout.splitlines()) == 4


def test_a_hyphen_is_stdout_and_no_file(export, tmp_path):
    done = export("-o", "-")

    assert (len(done.stdout.splitlines()), (tmp_path / "-").exists()) == (4, False)
    assert done.stdout == export().stdout
    assert "give the file to write" in export("-o", "-", "--format", "parquet").stderr


def test_a_link_stays_and_its_file_has_the_table(export, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "table.csv").write_text("older")
    (tmp_path / "link.csv").symlink_to("far/table.csv")

    assert export("-o", "link.csv").returncode == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "far" / "table.csv").read_text().startswith("number,state")
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == ["table.csv"]


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("nowhere/table.csv", "No such file or directory"),
        ("train.py/table.csv", "Not a directory"),
        ("folder.csv", "Is a directory"),
        ("/dev/full", "No space left on device"),
        ("dangling.csv", "No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_said_of_the_file_and_not_of_a_sweep(export, tmp_path, output, reason):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "dangling.csv").symlink_to("nowhere/else.csv")
    done = export("-o", output, "--format", "csv")
    assert (done.returncode, done.stderr) == (5, f"slurmsweep: cannot write {output}: {reason}\n")
