"""What W&B's documentation of sweeps shows runs as it stands: with slurmsweep as wandb, and with the real wandb offline.

Source: docs.wandb.ai, Sweeps (Add W&B to your code, Define a sweep configuration) and its frequently asked questions. One test
each, named after it. Every sweep is run by the command line, on the local backend.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import pytest

MODULES = [pytest.param("import slurmsweep as wandb", id="native"), pytest.param("import wandb", id="wandb")]


@pytest.fixture(params=MODULES)
def wandb(request):
    """Return the line by which a script imports wandb."""
    if request.param == "import wandb":
        pytest.importorskip("wandb")
    return request.param


@pytest.fixture
def run_sweep(slurmsweep, tmp_path, wandb):
    """Write the documented script and sweep file, run the sweep, and return its trials, as ``trials --json`` has them."""

    def run(script, sweep, **environ):
        (tmp_path / "train.py").write_text(f"{wandb}\n{script}")
        (tmp_path / "sweep.yaml").write_text(sweep)
        done = slurmsweep("run", "sweep.yaml", "--backend", "local", "--jobs", "2", WANDB_SILENT="true", **environ)
        assert done.returncode == 0, done.stderr + logs(tmp_path)
        sweeps = list(tmp_path.glob("**/wandb/sweep-????????"))
        assert len(sweeps) == 1
        return json.loads(slurmsweep("trials", str(sweeps[0]), "--json").stdout)

    return run


def logs(folder) -> str:
    return "\n".join(file.read_text() for file in sorted(folder.glob("**/output.log")))


GRID = "program: train.py\nmethod: grid\nmetric: {name: loss, goal: minimize}\nparameters:\n"


def test_defaults_by_init_config(run_sweep):
    """Set default values for hyperparameters by the configuration that init is given; the sweep's values win."""
    script = """
config_defaults = {"lr": 0.1, "batch_size": 256}
wandb.init(config=config_defaults)
config = wandb.config
wandb.log({"loss": config.lr * 1000 + config.batch_size})
"""
    trials = run_sweep(script, GRID + "  lr: {values: [0.5, 1e-05]}\n")

    assert [trial["metric"] for trial in trials] == [756.0, 256.01]


def test_config_setdefaults(run_sweep):
    """Set them after init; those of the sweep are not overwritten."""
    script = """
config_defaults = {"lr": 0.1, "batch_size": 256}
wandb.init()
wandb.config.setdefaults(config_defaults)
config = wandb.config
wandb.log({"loss": config["lr"] * 1000 + config["batch_size"]})
"""
    trials = run_sweep(script, GRID + "  lr: {value: 0.5}\n")

    assert [trial["metric"] for trial in trials] == [756.0]


def test_custom_command(run_sweep, tmp_path):
    """Run a command of one's own, with further arguments before those of the sweep."""
    script = """
import sys
wandb.init()
print("ARGV", sys.argv[1:])
wandb.log({"loss": 1})
"""
    sweep = GRID + (
        "  batch_size: {value: 8}\n  lr: {value: 0.0001}\n"
        'command:\n  - ${env}\n  - python\n  - ${program}\n  - "-b"\n  - your-training-config\n  - ${args}\n'
    )
    run_sweep(script, sweep)

    assert "ARGV ['-b', 'your-training-config', '--batch_size=8', '--lr=0.0001']" in logs(tmp_path)


def test_argparse_with_parse_known_args(run_sweep):
    """Read some parameters by argparse and leave the rest to the configuration."""
    script = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("-b", "--batch-size", type=int, default=8, metavar="N")
parser.add_argument("--lr", type=float)
args, unknown = parser.parse_known_args()
wandb.init()
wandb.config.update(args)
assert unknown == ["--opt={'name': 'adam'}"], unknown
wandb.log({"loss": args.lr * 1000 + args.batch_size + len(wandb.config["opt"]["name"])})
"""
    trials = run_sweep(script, GRID + "  lr: {value: 0.5}\n  opt: {parameters: {name: {value: adam}}}\n")

    assert [trial["metric"] for trial in trials] == [512.0]


def test_python3_in_the_command(run_sweep, tmp_path):
    """Replace the interpreter, which the command names as ``python``."""
    script = """
import sys
wandb.init()
print("MAJOR", sys.version_info[0])
wandb.log({"loss": 1})
"""
    sweep = GRID + "  lr: {value: 1}\ncommand:\n  - ${env}\n  - python3\n  - ${program}\n  - ${args}\n"
    run_sweep(script, sweep)

    assert "MAJOR 3" in logs(tmp_path)


def test_boolean_flags(run_sweep, tmp_path):
    """Pass booleans as flags: true as ``--flag``, false not at all."""
    script = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--nesterov", action="store_true")
args = parser.parse_args()
wandb.init()
wandb.log({"loss": args.lr + args.nesterov})
"""
    sweep = GRID + (
        "  lr: {value: 0.5}\n  nesterov: {values: [true, false]}\n"
        "command:\n  - ${env}\n  - ${interpreter}\n  - ${program}\n  - ${args_no_boolean_flags}\n"
    )
    trials = run_sweep(script, sweep)

    assert [trial["metric"] for trial in trials] == [1.5, 0.5]


def test_wandb_dir(run_sweep, tmp_path):
    """WANDB_DIR says where the logs of a sweep lie."""
    script = 'wandb.init()\nwandb.log({"loss": 1})\n'
    run_sweep(script, GRID + "  lr: {value: 1}\n", WANDB_DIR=str(tmp_path / "your" / "directory"))

    assert not (tmp_path / "wandb").exists()
    [log] = tmp_path.glob("your/directory/wandb/sweep-*/trials/0/0/1/output.log")
    assert log.is_file()


def test_weighted_sum_of_several_metrics(run_sweep):
    """Optimise several metrics: log their weighted sum, and make that the sweep's metric."""
    script = """
with wandb.init() as run:
    # Log individual metrics
    metric_a = run.summary.get("metric_a", 0.5)
    metric_b = run.summary.get("metric_b", 0.7)
    # ... log other metrics as needed
    metric_n = run.summary.get("metric_n", 0.9)

    # Combine metrics with weights, adjust weights according to your optimization goals
    metric_combined = 0.3 * metric_a + 0.2 * metric_b + 1.5 * metric_n
    run.log({"metric_combined": metric_combined})
"""
    trials = run_sweep(script, GRID.replace("loss", "metric_combined") + "  lr: {value: 1}\n")

    assert [trial["metric"] for trial in trials] == [pytest.approx(1.64)]


def test_code_logging(run_sweep, tmp_path, wandb):
    """Log the code of a run with ``log_code``, after init."""
    script = """
with wandb.init() as run:
    run.log_code()
    run.log({"loss": 1})
"""
    run_sweep(script, GRID + "  lr: {values: [1, 2]}\n")

    if wandb == "import wandb":
        staged = [path for path in tmp_path.glob("**/artifacts/staging/*") if path.is_file()]
        assert {path.read_text() for path in staged} == {(tmp_path / "train.py").read_text()}
        return
    [archive] = tmp_path.glob("wandb/sweep-*/code/*.zip")
    assert zipfile.ZipFile(archive).read("train.py") == (tmp_path / "train.py").read_bytes()


def test_rerunning_a_grid_after_some_runs_were_deleted(slurmsweep, tmp_path, wandb):
    """Delete the runs that crashed, resume the sweep, start agents: what finished is not run again."""
    (tmp_path / "train.py").write_text(
        f"{wandb}\nimport os\nwandb.init()\nwandb.log({{'loss': wandb.config.x}})\n"
        "with open('ran', 'a') as file: print(wandb.config.x, file=file)\n"
        "if wandb.config.x == 2 and not os.path.exists('mended'): os.abort()\n"
    )
    (tmp_path / "sweep.yaml").write_text(GRID + "  x: {values: [1, 2, 3]}\n")
    quiet = {"WANDB_SILENT": "true"}
    assert slurmsweep("run", "sweep.yaml", "--backend", "local", **quiet).returncode == 1
    (tmp_path / "mended").touch()
    [folder] = tmp_path.glob("wandb/sweep-*")
    sweep = folder.name.removeprefix("sweep-")

    assert slurmsweep("delete", sweep, "--state", "crashed").returncode == 0
    assert slurmsweep("resume", sweep).returncode == 0
    assert slurmsweep("agent", sweep, "--count", "9", **quiet).returncode == 0

    trials = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert [(trial["state"], trial["metric"]) for trial in trials] == [("finished", x) for x in (1.0, 2.0, 3.0)]
    assert sorted((tmp_path / "ran").read_text().split()) == ["1", "2", "2", "3"]


def test_wandb_dir_set_by_the_script_itself(slurmsweep, tmp_path):
    """Inside the script it moves wandb's run; the sweep's metric is found there."""
    pytest.importorskip("wandb")
    (tmp_path / "train.py").write_text(
        'import os\nimport wandb\nos.environ["WANDB_DIR"] = os.path.abspath("your/directory")\n'
        'with wandb.init() as run:\n    run.log({"loss": 7})\n'
    )
    (tmp_path / "sweep.yaml").write_text(GRID + "  lr: {value: 1}\n")
    assert slurmsweep("run", "sweep.yaml", "--backend", "local").returncode == 0
    [folder] = tmp_path.glob("wandb/sweep-*")

    assert list(tmp_path.glob("your/directory/wandb/offline-run-*/*.wandb"))
    [trial] = json.loads(slurmsweep("trials", str(folder), "--json").stdout)
    assert trial["metric"] == 7.0


def test_expected_run_count(tmp_path):
    """Ask how many runs a grid has. The real wandb asks its server, so this is for slurmsweep as wandb alone."""
    script = """
import slurmsweep as wandb
sweep_configuration = {
    "method": "grid",
    "metric": {"goal": "minimize", "name": "loss"},
    "parameters": {"batch_size": {"values": [16, 32, 64]}, "epochs": {"values": [5, 10]}, "lr": {"value": 0.1}},
    "program": "train.py",
}
sweep_id = wandb.sweep(sweep=sweep_configuration, project="my-first-sweep")
api = wandb.Api()
sweep = api.sweep(f"entity/my-first-sweep/{sweep_id}")
print(f"EXPECTED RUN COUNT = {sweep.expected_run_count}")
"""
    (tmp_path / "train.py").write_text("")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "EXPECTED RUN COUNT = 6"
