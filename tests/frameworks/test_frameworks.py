"""Scripts of nine frameworks, as their documentation writes them: killed once, and resumed from their checkpoint."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

SCRIPTS = Path(__file__).parent / "scripts"
EXAMPLES = Path(__file__).parents[2] / "examples"
WITHOUT = shutil.ignore_patterns("wandb", ".slurmsweep")
SIMPLE = '[python, "${program}", "${args}"]'


class Framework(NamedTuple):
    """A framework's script: its command and parameters, what it saves, and how its first attempt ends."""

    command: str
    parameters: str
    checkpoints: str
    end: str
    metric: str = "loss"
    package: str = ""
    stop: str = "TERM"


FRAMEWORKS = {
    "click": Framework(
        '[python, "${program}", "${args_no_boolean_flags}"]',
        "lr: {value: 0.2}, layers: {value: 3}, shuffle: {value: true}, out: {value: saved}",
        "saved/state.json",
        "the script is killed",
    ),
    "typer": Framework(
        """[bash, -c, 'mkdir -p "$SLURMSWEEP_CHECKPOINT_DIR"; python typer_train.py --no-amp """
        """--out "$SLURMSWEEP_CHECKPOINT_DIR" "$@"; exit $?', train, "${args}"]""",
        "lr: {value: 0.2}, optimizer: {value: adam}",
        "wandb/sweep-*/**/step-*.pkl",
        "the agent is told to end",
    ),
    "tyro": Framework(
        SIMPLE,
        "optimizer.lr: {value: 0.2}, seed: {value: 3}, out: {value: saved}",
        "saved/last.json",
        "the agent is killed",
    ),
    "jsonargparse": Framework(
        SIMPLE,
        "lr: {value: 0.2}, hidden: {value: [4, 4]}, momentum: {value: 0.5}, out: {value: saved}",
        "saved/last.json",
        "the script is killed",
    ),
    "hydra": Framework(
        '[python, "${program}", "${args_no_hyphens}"]',
        "optimizer: {value: adam}, optimizer.lr: {value: 0.2}, seed: {value: 3}",
        "wandb/sweep-*/trials/0/0/checkpoints/last.json",
        "the agent is told to end",
    ),
    "lightning": Framework(SIMPLE, "lr: {value: 0.2}, out: {value: saved}", "saved/last.ckpt", "the script is killed"),
    # at SIGTERM Lightning ends with exit code 0, so a sweep of it says by which signal its trials are to be stopped
    "lightning, interrupted": Framework(
        SIMPLE, "lr: {value: 0.2}, out: {value: saved}", "saved/last.ckpt", "the agent is told to end", stop="INT"
    ),
    "transformers": Framework(
        SIMPLE,
        "output_dir: {value: saved}, learning_rate: {value: 0.01}, num_train_epochs: {value: 1}, "
        "per_device_train_batch_size: {value: 2}, save_steps: {value: 1}, logging_steps: {value: 1}, "
        "report_to: {value: wandb}, use_cpu: {value: true}, disable_tqdm: {value: true}, save_total_limit: {value: 3}",
        "saved/checkpoint-*/trainer_state.json",
        "the script is killed",
        "train/loss",
    ),
    "accelerate": Framework(
        '[accelerate, launch, --cpu, --num_processes, "1", "${program}", "${args}"]',
        "lr: {value: 0.2}, out: {value: saved}",
        "saved/checkpoints/*/random_states_0.pkl",
        "the agent is told to end",
    ),
    "torchrun": Framework(
        '[torchrun, --standalone, --nproc-per-node, "2", "${program}", "${args}"]',
        "lr: {value: 0.2}, out: {value: saved}",
        "saved/snapshot.pt",
        "the agent is told to end",
        package="torch",
    ),
}

#: What is said of the first attempt: state and cause.
ENDS = {
    "the script is killed": ("crashed", "signal 9"),
    "the agent is told to end": ("killed", "terminated"),
    "the agent is killed": ("crashed", "lost"),
}


@pytest.fixture
def sweep(slurmsweep, tmp_path, installed, request):
    """Make a sweep of one trial of a framework's script; skip where the framework is not installed."""
    framework, name = FRAMEWORKS[request.param], request.param.partition(",")[0]
    package = framework.package or name
    if package not in installed:
        pytest.skip(f"{package} is not installed in .venv-frameworks: `scripts/setup-frameworks`")
    is_example = (EXAMPLES / name).exists()
    shutil.copytree(EXAMPLES / name if is_example else SCRIPTS, tmp_path, dirs_exist_ok=True, ignore=WITHOUT)
    program = "train.py" if is_example else f"{name}_train.py"
    (tmp_path / "sweep.yaml").write_text(
        f"program: {program}\nmethod: grid\nmetric: {{name: {framework.metric}, goal: minimize}}\n"
        f"command: {framework.command}\nparameters: {{{framework.parameters}}}\n"
    )
    made = slurmsweep("create", "sweep.yaml")
    assert made.returncode == 0, made.stderr
    return framework, made.stdout.strip()


@pytest.fixture
def surroundings(bin_folder, monkeypatch):
    """Use the frameworks' environment, as one that is activated; slow steps are for the attempt that is killed."""
    monkeypatch.setenv("PATH", str(bin_folder), prepend=os.pathsep)
    for name in ("OMP_NUM_THREADS", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("STEP_SECONDS", "0.5")


def wait_until(true, what) -> None:
    deadline = time.monotonic() + 400
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def processes(program: str, group_of: int) -> list[int]:
    """Return the processes below an agent that run a script, as the operating system names their arguments."""
    found, below = [], [group_of]
    for pid in below:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            below += [int(child) for child in children.read_text().split()]
    for pid in below[1:]:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"python" in words[0] and any(word.endswith(program.encode()) for word in words[1:3]):
            found.append(pid)
    return found


def end_once_it_saved(framework: Framework, sweep: str, tmp_path: Path, program: str) -> None:
    """Run an agent until its trial has saved a few checkpoints, and end it as the framework's entry says."""
    saved: set[tuple] = set()

    def has_saved() -> bool:
        assert agent.poll() is None, "it ended by itself"
        found = [(str(path), path.stat().st_mtime_ns) for path in tmp_path.glob(framework.checkpoints) if path.exists()]
        saved.update(found)
        return len(saved) >= 4

    command = [sys.executable, "-m", "slurmsweep", "agent", sweep]
    environ, nothing = os.environ | {"SLURMSWEEP_STOP_SIGNAL": framework.stop}, subprocess.DEVNULL
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=nothing, stderr=nothing) as agent:
        try:
            wait_until(has_saved, "its checkpoints")
            if framework.end == "the script is killed":
                [script] = processes(program, agent.pid)
                os.kill(script, signal.SIGKILL)
            else:
                agent.send_signal(signal.SIGTERM if framework.end == "the agent is told to end" else signal.SIGKILL)
            agent.wait(timeout=120)
        finally:
            agent.kill()


def steps_in(log: str) -> list[int]:
    """Return the steps that a script wrote into its log: from its beginning to its end, without wandb's summary."""
    lines = "\n".join(line for line in log.splitlines() if "wandb" not in line)
    return [int(number) for number in re.findall(r"(?<!from )\bstep (\d+)$", lines, re.MULTILINE)]


def trial(slurmsweep, sweep) -> dict:
    [row] = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    return row


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("sweep", FRAMEWORKS, indirect=True)
def test_a_script_that_was_killed_goes_on_from_its_checkpoint(slurmsweep, sweep, tmp_path, monkeypatch):
    framework, name = sweep
    program = json.loads(next((tmp_path / "wandb").glob("sweep-*/sweep.json")).read_text())["config"]["program"]

    end_once_it_saved(framework, name, tmp_path, program)
    slurmsweep("reconcile", name)
    ended = trial(slurmsweep, name)
    monkeypatch.setenv("STEP_SECONDS", "0")
    done = slurmsweep("resubmit", name, "--backend", "local")

    assert (ended["state"], ended["cause"]) == ENDS[framework.end]
    assert ended["metric"] is not None
    first, log = (slurmsweep("logs", name, "0", "--attempt", str(n)).stdout for n in (1, 2))
    assert done.returncode == 0, log
    assert steps_in(first)[:2] == [1, 2]
    [start] = map(int, re.findall(r"going on from step (\d+)", log))
    assert start >= 2
    assert steps_in(log) == list(range(start + 1, 41))
    [last] = re.findall(r"trained, loss (\S+)", log)
    row = trial(slurmsweep, name)
    assert (row["state"], row["attempt"]) == ("finished", 2)
    assert row["metric"] == pytest.approx(float(last))
    listed = json.loads(slurmsweep("sync", name, "--dry-run", "--json").stdout)
    [upload] = listed["to_upload"]
    assert (upload["trial"], len(upload["runs"]), listed["without_run"]) == (0, 2, 0)
    assert upload["runs"] == sorted(upload["runs"])
    assert all((tmp_path / run).stat().st_size > 0 for run in upload["runs"])
    assert slurmsweep("check", name).returncode == 0


@pytest.mark.usefixtures("surroundings")
def test_hydra_reads_null_as_null(slurmsweep, tmp_path, installed, monkeypatch):
    if "hydra" not in installed:
        pytest.skip("hydra is not installed in .venv-frameworks: `scripts/setup-frameworks`")
    monkeypatch.setenv("STEP_SECONDS", "0")
    shutil.copytree(EXAMPLES / "hydra", tmp_path, dirs_exist_ok=True, ignore=WITHOUT)
    (tmp_path / "sweep.yaml").write_text(
        'program: train.py\nmethod: grid\ncommand: [python, "${program}", "${args_no_hyphens}"]\n'
        "parameters: {weight_decay: {value: null}, hidden: {value: [4, 8]}, optimizer.name: {value: 'a b'}}\n"
    )

    done = slurmsweep("run", "sweep.yaml", "--backend", "local")

    [folder] = tmp_path.glob("wandb/sweep-*")
    log = slurmsweep("logs", str(folder), "0").stdout
    assert done.returncode == 0, log
    assert "optimizer a b, 2 hidden layers, weight decay 0.0" in log


#: Examples: the number of their trials, and what the best ones have, as their README says.
SWEEPS = {
    "hydra": (4, "hydra", {"optimizer.lr": 0.2}),
    "lightning": (2, "lightning", {"lr": 0.2}),
    "transformers": (2, "transformers", {"learning_rate": 0.01}),
    "torchrun": (2, "torch", {"lr": 0.2}),
}


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("name", SWEEPS)
def test_a12_an_example_runs_as_its_readme_says(slurmsweep, follow_in, tmp_path, installed, monkeypatch, name):
    trials, package, best = SWEEPS[name]
    if package not in installed:
        pytest.skip(f"{package} is not installed in .venv-frameworks: `scripts/setup-frameworks`")
    monkeypatch.setenv("STEP_SECONDS", "0")
    folder = tmp_path / "examples" / name
    shutil.copytree(EXAMPLES / name, folder, ignore=WITHOUT)

    planned = slurmsweep("plan", f"examples/{name}/sweep.yaml")
    *_, done = follow_in(folder / "README.md", tmp_path, environ=os.environ)

    status = json.loads(slurmsweep("status", done.sweep, "--json").stdout)
    assert "output folder" not in planned.stderr
    assert (status["counts"]["finished"], status["best"]["metric"] is not None) == (trials, True)
    assert best.items() <= status["best"]["params"].items()


@pytest.mark.usefixtures("surroundings")
def test_a12_trials_of_hydra_that_start_together_have_a_folder_each(slurmsweep, tmp_path, installed):
    if "hydra" not in installed:
        pytest.skip("hydra is not installed in .venv-frameworks: `scripts/setup-frameworks`")
    (tmp_path / "train.py").write_text(
        "import hydra\n@hydra.main(version_base=None)\ndef main(cfg):\n"
        "    print('in', hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)\nmain()\n"
    )
    (tmp_path / "sweep.yaml").write_text(
        'program: train.py\nmethod: grid\ncommand: [python, "${program}", "${args_append_hydra}", '
        '"hydra.run.dir=$${oc.env:SLURMSWEEP_CHECKPOINT_DIR}"]\nparameters: {x: {values: [1, 2]}}\n'
    )

    done = slurmsweep("run", "sweep.yaml", "--backend", "local", "--jobs", "2")

    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "wandb").glob("sweep-*")
    said = [slurmsweep("logs", str(folder), n).stdout.split()[-1] for n in ("0", "1")]
    assert [Path(place).parts[-2:] for place in said] == [("0", "checkpoints"), ("1", "checkpoints")]
