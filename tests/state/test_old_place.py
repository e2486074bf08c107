"""A sweep that an older version made in `wandb/` is to every command what one of today is."""

from __future__ import annotations

import shutil

from slurmsweep.state.store import SweepStore

SCRIPT = """
import os, slurmsweep
run = slurmsweep.init()
run.log({"loss": run.config["x"]})
os._exit(run.config["x"] == 2)
"""

#: They run one after the other; SWEEP stands for the sweep.
COMMANDS = [
    "run SWEEP --backend local --jobs 1 --plain", "status SWEEP", "status SWEEP --json", "watch SWEEP --once",
    "trials SWEEP", "show SWEEP 1", "logs SWEEP 2", "best SWEEP", "importance SWEEP", "compare SWEEP SWEEP",
    "report SWEEP -o r.html", "export SWEEP", "efficiency SWEEP", "ls", "ls --all", "check SWEEP", "reconcile SWEEP",
    "pause SWEEP", "resume SWEEP", "stop SWEEP", "cancel SWEEP", "resume SWEEP", "share SWEEP", "share SWEEP --off",
    "rerun SWEEP --trials 0", "delete SWEEP --trials 1", "resubmit SWEEP --dry-run", "resubmit SWEEP --backend local",
    "plan sweep.yaml --prior SWEEP", "create sweep.yaml --prior SWEEP", "leet SWEEP", "mend SWEEP", "set SWEEP --width 3",
    "check SWEEP --repair", "agent SWEEP --count 1", "clean SWEEP --yes", "sync SWEEP", "status", "rm SWEEP --yes", "status SWEEP",
]  # fmt: skip


def test_every_command_says_and_does_the_same_for_a_sweep_in_the_old_place(slurmsweep, write_sweep, tmp_path):
    sweeps = {}
    for place in ("new", "old"):
        file, folder = write_sweep(SCRIPT, extra="metric: {name: loss, goal: minimize}"), tmp_path / place
        folder.mkdir()
        for path in (file, tmp_path / "train.py"):
            shutil.move(path, folder)
        sweeps[place] = slurmsweep("create", "sweep.yaml", cwd=folder).stdout.strip()
    old = tmp_path / "old" / "wandb" / f"sweep-{sweeps['old']}"
    old.unlink()
    shutil.move(tmp_path / "old" / ".slurmsweep" / old.name, old)
    shutil.rmtree(tmp_path / "old" / ".slurmsweep")

    for place_of_line, line in enumerate(COMMANDS):
        done = {}
        for place, sweep in sweeps.items():
            named = f"wandb/sweep-{sweep}" if place_of_line % 2 else sweep
            done[place] = slurmsweep(*line.replace("SWEEP", named).split(), cwd=tmp_path / place, COLUMNS="200")
        told = [[text for text in one.stderr.splitlines() if "a link to it" not in text] for one in done.values()]
        outlines = [
            (one.returncode, bool(one.stdout), len(lines)) for one, lines in zip(done.values(), told, strict=True)
        ]
        assert outlines[0] == outlines[1], f"{line}\n{done['new']}\n{done['old']}"
        assert "Traceback" not in done["old"].stderr
        if "rm SWEEP --yes" not in COMMANDS[: place_of_line + 1]:
            assert SweepStore.open(str(old)).layout.folder == str(old)
            assert (old.is_dir(), old.is_symlink()) == (True, False)
    assert not old.exists()
    assert not (tmp_path / "new" / ".slurmsweep" / f"sweep-{sweeps['new']}").exists()
