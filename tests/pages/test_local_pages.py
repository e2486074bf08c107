"""Pages whose commands need no cluster: each command runs, in the page's order, with the outcome that it promises."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from documented import ROOT, commands

DOCS = ROOT / "docs"

#: Trials in one process: the loss goes with lr, and a little with width.
MAKES_A_SWEEP = """
import slurmsweep

def train():
    run = slurmsweep.init()
    run.log({"loss": run.config.lr + run.config.width / 1000})

values = {"lr": {"values": [0.1, 0.2, 0.3, 0.4]}, "width": {"values": [1, 2, 3, 4, 5, 6]}}
made = slurmsweep.sweep({"name": "lines", "method": "grid", "metric": {"name": "loss"}, "parameters": values})
slurmsweep.agent(made, function=train)
"""


@pytest.fixture
def make_ended(tmp_path):
    """Return the id of a new sweep of 24 trials that have finished, in the test's folder."""

    def make() -> str:
        before = set(tmp_path.glob("wandb/sweep-*"))
        done = subprocess.run(
            [sys.executable, "-c", MAKES_A_SWEEP], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        [folder] = set(tmp_path.glob("wandb/sweep-*")) - before
        return folder.name.removeprefix("sweep-")

    return make


def test_coming_from_wandb_plans_and_runs(follow_in, write_sweep, tmp_path):
    write_sweep("import slurmsweep\nslurmsweep.init().log({'loss': 1})", extra="metric: {name: loss}")

    planned, ran = follow_in(DOCS / "coming-from-wandb.md", tmp_path)

    assert re.findall(r"train\.py (--x=\d)", planned.printed) == ["--x=1", "--x=2", "--x=3"]
    assert "3 finished" in ran.printed


def test_reports_are_written_where_the_page_says(follow_in, make_ended, tmp_path):
    one, other = make_ended(), make_ended()
    words = {"abcd1234": one, "efgh5678": other}

    said = {step.command: step.printed for step in follow_in(DOCS / "report.md", tmp_path, words=words)}

    assert one in (tmp_path / "report.html").read_text()
    assert "## Best trials by loss, lower is better" in said["slurmsweep report abcd1234 --format md -o -"]
    assert "<svg" in (tmp_path / "lr.svg").read_text()
    rows = re.findall(r"^(\w{8}) +loss +0\.101 +0 +24 ", said["slurmsweep compare abcd1234 efgh5678"], re.MULTILINE)
    assert rows == [one, other]


def test_importance_names_the_parameter_that_mattered(follow_in, make_ended, tmp_path):
    pytest.importorskip("numpy")
    sweep = make_ended()

    [said] = follow_in(DOCS / "importance.md", tmp_path, words={"abcd1234": sweep})

    shares = dict(re.findall(r"^(lr|width) +([\d.]+)", said.printed, re.MULTILINE))
    assert f"sweep {sweep}: what mattered for loss (minimize), 24 trials" in said.printed
    assert float(shares["lr"]) > 0.8
    assert float(shares["width"]) < 0.2
    assert re.search(r"^lr .* lower +0\.1$", said.printed, re.MULTILINE)


def test_a_damaged_journal_is_rebuilt_from_the_folders(follow_in, make_ended, slurmsweep, tmp_path):
    sweep = make_ended()
    journal = tmp_path / ".slurmsweep" / f"sweep-{sweep}" / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    middle = len(lines) // 2
    lines[middle] = b"x" * (len(lines[middle]) - 1) + b"\n"
    journal.write_bytes(b"".join(lines))
    assert f"line {middle + 1}" in slurmsweep("check", sweep).stdout

    [repaired] = follow_in(DOCS / "failure.md", tmp_path, words={"SWEEP": sweep})

    assert "journal.log.old-1" in repaired.printed
    assert journal.with_name("journal.log.old-1").read_bytes() == b"".join(lines)
    checked = slurmsweep("check", sweep)
    assert (checked.returncode, "24 trials" in checked.stdout) == (0, True)


#: The modes of the sweep's folder after each command of docs/sharing.md.
MODES = {
    "slurmsweep run sweep.yaml --shared=read": 0o2750,
    "slurmsweep run sweep.yaml --shared": 0o2770,
    "slurmsweep share SWEEP": 0o2750,
    "slurmsweep share SWEEP --write": 0o2770,
    "slurmsweep share SWEEP --off": 0o700,
}


def test_a_shared_sweep_has_the_modes_that_each_command_promises(follow_in, tmp_path):
    page = DOCS / "sharing.md"
    [sweep_file] = re.findall(r"`sweep\.yaml`:\n\n```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    Path(tmp_path, "sweep.yaml").write_text(sweep_file)
    lists = [text for _, text in commands(page) if text.startswith("setfacl ")]
    words = {"ben": "4242", "abcd1234": "unknown yet"}
    not_run = {} if shutil.which("setfacl") else dict.fromkeys(lists, "there is no setfacl here")

    found = {}
    for step in follow_in(page, tmp_path, words=words, not_run=not_run):
        folder = tmp_path / ".slurmsweep" / f"sweep-{step.sweep}"
        if not found:
            words["abcd1234"] = step.sweep  # it stays shared, so access lists work on top
        if step.command in lists:
            continue
        found[step.command] = stat.S_IMODE(folder.stat().st_mode)
        said = "only you" if step.command.endswith("--off") else "group"
        assert said in step.printed
        assert stat.S_IMODE((folder / "sweep.json").stat().st_mode) == found[step.command] & 0o660

    assert list(found.items()) == list(MODES.items())
    if not not_run:
        shared = tmp_path / ".slurmsweep" / f"sweep-{words['abcd1234']}"
        assert "user:4242:--x\n" in access_list(shared.parent)
        assert "user:4242:r-x\n" in access_list(shared)
        assert "user:4242:r--\n" in access_list(shared / "sweep.json")


def access_list(path: Path) -> str:
    """Return what getfacl says; an entry that has no effect has a remark there."""
    return subprocess.run(["getfacl", "-p", path], capture_output=True, text=True, check=True).stdout
