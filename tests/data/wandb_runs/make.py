"""Makes the run files beside it: the same script run offline by several versions of the real wandb.

    python tests/data/wandb_runs/make.py 0.18.7 0.22.3 0.28.2 0.31.0

Each version gets a virtual environment of its own in a temporary folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).parent

SCRIPT = """
import wandb
run = wandb.init(config={"lr": 0.5})
run.define_metric("lowest", summary="min")
run.define_metric("both", summary="min,max")
run.define_metric("average", summary="mean")
run.define_metric("unsummarised", summary="none")
run.define_metric("group.*", summary="max")
for step in range(8):
    away = abs(step - 4)
    run.log({
        "loss": 1 / (step + 1), "val": {"acc": step / 8, "deep": {"er": step}}, "lowest": away, "both": away,
        "average": step, "unsummarised": step, "group": {"x": away}, "with.dot": step, "tiny": 1e-05, "huge": 1e22,
        "big": 2**53 + 1, "nan": float("nan"), "ends_nan": float("nan") if step == 7 else step, "inf": float("inf"),
        "yes": True, "none": None, "text": "1e-5", "größe": step,
    })
run.summary["by_hand"] = 7
"""


def make(version: str, folder: Path) -> None:
    environment = folder / "env"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"wandb=={version}", "setuptools<80"], check=True)
    (folder / "dir").mkdir()  # 0.18 writes into the temporary folder where it is missing
    settings = {"WANDB_MODE": "offline", "WANDB_DIR": str(folder / "dir"), "WANDB_X_DISABLE_STATS": "true"}
    settings |= {"WANDB_RUN_ID": "abcd1234-0", "WANDB_SWEEP_ID": "abcd1234", "WANDB_CACHE_DIR": str(folder / "cache")}
    settings |= {"WANDB_DISABLE_CODE": "true", "WANDB__DISABLE_META": "true", "WANDB_X_DISABLE_META": "true"}
    subprocess.run([python, "-c", SCRIPT], env=os.environ | settings, check=True, cwd=folder)
    [file] = folder.glob("dir/wandb/offline-run-*/run-*.wandb")
    (HERE / f"{version}.wandb").write_bytes(file.read_bytes())


for each in sys.argv[1:]:
    with tempfile.TemporaryDirectory() as name:
        make(each, Path(name))
