"""What the real wandb answered, asked of the native client, and of the real wandb with our parameters file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurmsweep.agents import params_file

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "wandb_vectors.json").read_text())["vectors"]
INIT = [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == "wandb_init"]

SCRIPT = """
import json, sys
spec = json.loads(sys.argv[1])
run = wandb.init(**spec.get("init", {}))
after = dict(run.config)
for name, value in spec.get("setitem", {}).items():
    run.config[name] = value
if "update" in spec:
    run.config.update(spec["update"], allow_val_change=spec.get("allow"))
if "setdefaults" in spec:
    run.config.setdefaults(spec["setdefaults"])
print("RESULT", json.dumps([after, dict(run.config), run.id]))
run.finish()
"""


@pytest.mark.parametrize("vector", INIT)
@pytest.mark.parametrize("module", ["slurmsweep as wandb", "wandb"])
def test_configurations_are_what_wandb_makes_of_them(vector, module, tmp_path):
    (tmp_path / "params.yaml").write_text(params_file.render(vector["params"]))
    environ = {
        "WANDB_SWEEP_PARAM_PATH": str(tmp_path / "params.yaml"), "WANDB_SWEEP_ID": "sw1", "WANDB_RUN_ID": "r1",
        "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "SLURMSWEEP_ATTEMPT_DIR": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, "-c", f"import {module}\n{SCRIPT}", json.dumps(vector["spec"])]

    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    expected = vector["expect"]
    assert json.loads(line[len("RESULT") :]) == [
        expected["config_after_init"],
        expected["config_final"],
        expected["run_id"],
    ]
    assert [warning in done.stderr for warning in expected["warnings"]] == [True] * len(expected["warnings"])
