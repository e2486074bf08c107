"""Agents as PID 1 of real containers, with the variables of AWS Batch: however one ends, the same trial goes on."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest
from fake_wandb import serving
from served import served

if TYPE_CHECKING:
    from pathlib import Path

#: A job of Batch: its variables are all that tells an agent in a container who it is.
JOB = "3b2f6f0c-5a43-4e0b-9c5e-6d1f0f6f2a11"

#: Trains three epochs; each is saved, and said. An attempt that is the first one stays in its second epoch, until it is
#: ended from outside.
SCRIPT = """\
import os, pathlib, signal, sys, time
saved = pathlib.Path(os.environ["SLURMSWEEP_CHECKPOINT_DIR"], "epoch")
epoch = int(saved.read_text()) if saved.exists() else 0
print("run", os.environ["WANDB_RUN_ID"], "in", saved.parent, "from epoch", epoch, flush=True)
signal.signal(signal.SIGTERM, lambda *_: (print("heard TERM", flush=True), sys.exit(143)))
while epoch < 3:
    epoch += 1
    saved.write_text(str(epoch))
    print("epoch", epoch, flush=True)
    stays = pathlib.Path("stays")
    while epoch == 2 and stays.exists():
        time.sleep(0.05)
"""

#: Takes more memory than its container has, unless it has much.
GREEDY = """\
import pathlib
limit = int(pathlib.Path("limit").read_text())
taken = [b"x" * 2**20 for _ in range(limit)]
print("had enough", flush=True)
"""

#: The same, in a worker: the script itself lives, and ends with an exit code of its own.
GREEDY_WORKER = """\
import subprocess, sys
worker = [sys.executable, "-c", "taken = [b'x' * 2**20 for _ in range(600)]"]
sys.exit(2 if subprocess.run(worker).returncode else 0)
"""


#: Of a sweep that W&B holds: ends as its parameter says, or waits for a signal.
HOSTED = """\
import signal, sys, time
how = sys.argv[1].removeprefix("--end=")
signal.signal(signal.SIGTERM, lambda *_: (print("heard TERM", flush=True), sys.exit(143)))
print("ran", how, flush=True)
if how.isdigit():
    sys.exit(int(how))
time.sleep(600)
"""


def of_batch(attempt: int, index: int | None = None, job: str = JOB) -> dict[str, str]:
    """Return what Batch sets in a job's container."""
    name = job if index is None else f"{job}:{index}"
    index_said = {} if index is None else {"AWS_BATCH_JOB_ARRAY_INDEX": str(index)}
    return {"AWS_REGION": "eu-west-1", "AWS_BATCH_JOB_ID": name, "AWS_BATCH_JOB_ATTEMPT": str(attempt)} | index_said


@pytest.fixture
def created(slurmsweep, write_sweep, tmp_path):
    """Create a grid of so many trials; the sweep's folder."""

    def create(script: str, trials: int = 1) -> Path:
        write_sweep(script, f"  x: {{values: {list(range(trials))}}}")
        made = slurmsweep("create", "sweep.yaml")
        assert made.returncode == 0, made.stderr
        return tmp_path / ".slurmsweep" / f"sweep-{made.stdout.strip()}"

    return create


def log_of(sweep: Path, trial: int, attempt: int) -> Path:
    return sweep / "trials" / "0" / str(trial) / str(attempt) / "output.log"


def wait_for_line(docker, container: str, log: Path, line: str) -> None:
    """Wait until a trial has said a line; fails at once where its container has ended before."""
    deadline = time.monotonic() + 240
    while not (log.exists() and line in log.read_text().splitlines()):
        runs = docker("inspect", "--format", "{{.State.Running}}", container) == "true"
        assert runs, docker("logs", container)
        assert time.monotonic() < deadline, f"{log} never said {line!r}"
        time.sleep(0.05)


def recorded(slurmsweep, sweep: Path) -> list[dict]:
    """Return the rows of all trials, in their order; `check` finds nothing wrong."""
    checked = slurmsweep("check", str(sweep))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rows = json.loads(slurmsweep("trials", str(sweep), "--json").stdout)
    return sorted(rows, key=lambda row: row["number"])


def ends_of(sweep: Path) -> list[tuple[int, int, str, str]]:
    """Return trial, attempt, state and cause of each end that agents wrote into the attempts' folders."""
    found = []
    for path in sorted(sweep.glob("trials/0/*/*/outcome.json")):
        said = json.loads(path.read_text())
        found.append((int(path.parts[-3]), int(path.parts[-2]), said["state"], said.get("cause", "")))
    return found


def test_an_agent_that_is_pid_1_hears_docker_stop_and_the_next_attempt_of_its_job_goes_on(
    docker, created, slurmsweep, tmp_path
):
    sweep = created(SCRIPT)
    (tmp_path / "stays").touch()
    first = docker.agent(sweep, of_batch(1), tmp_path)
    wait_for_line(docker, first, log_of(sweep, 0, 1), "epoch 2")

    docker("stop", "--time", "60", first)

    assert docker.ended(first)["ExitCode"] == 143
    assert log_of(sweep, 0, 1).read_text().splitlines()[-1] == "heard TERM"
    assert ends_of(sweep) == [(0, 1, "killed", "terminated")]
    (tmp_path / "stays").unlink()
    second = docker.agent(sweep, of_batch(2), tmp_path)
    assert docker.ended(second)["ExitCode"] == 0, docker("logs", second)
    [row] = recorded(slurmsweep, sweep)
    assert (row["number"], row["state"], row["attempt"]) == (0, "finished", 2)
    begun, went_on = (log_of(sweep, 0, number).read_text().splitlines() for number in (1, 2))
    assert begun[:3] == [begun[0], "epoch 1", "epoch 2"]
    assert went_on == [begun[0].replace("from epoch 0", "from epoch 2"), "epoch 3"]  # same run id, same folder


def test_a_killed_container_leaves_its_trial_to_the_next_attempt_of_its_job(docker, created, slurmsweep, tmp_path):
    sweep = created(SCRIPT)
    (tmp_path / "stays").touch()
    first = docker.agent(sweep, of_batch(1), tmp_path)
    wait_for_line(docker, first, log_of(sweep, 0, 1), "epoch 2")

    docker("kill", "--signal", "KILL", first)

    assert docker.ended(first)["ExitCode"] == 137
    assert ends_of(sweep) == []  # nothing was left that could have written one
    (tmp_path / "stays").unlink()
    other = docker.agent(sweep, of_batch(1, job="another"), tmp_path)
    assert docker.ended(other)["ExitCode"] == 0
    assert "nothing left to do" in docker("logs", other)  # another job's agent takes no running trial
    second = docker.agent(sweep, of_batch(2), tmp_path)
    assert docker.ended(second)["ExitCode"] == 0, docker("logs", second)
    [row] = recorded(slurmsweep, sweep)
    assert (row["number"], row["state"], row["attempt"]) == (0, "finished", 2)
    begun, went_on = (log_of(sweep, 0, number).read_text().splitlines() for number in (1, 2))
    assert went_on == [begun[0].replace("from epoch 0", "from epoch 2"), "epoch 3"]


def test_a_trial_that_the_kernel_kills_for_memory_is_recorded_as_oom_and_runs_again_with_more(
    docker, created, slurmsweep, tmp_path
):
    sweep = created(GREEDY)
    (tmp_path / "limit").write_text("600")

    first = docker.ended(docker.agent(sweep, of_batch(1), tmp_path, memory="128m"))

    assert (first["ExitCode"], first["OOMKilled"]) == (137, True)
    [row] = recorded(slurmsweep, sweep)
    assert (row["state"], row["cause"], row["exit_code"]) == ("crashed", "oom", 137)
    (tmp_path / "limit").write_text("20")
    second = docker.agent(sweep, of_batch(2), tmp_path, memory="256m")
    assert docker.ended(second)["ExitCode"] == 0, docker("logs", second)
    [row] = recorded(slurmsweep, sweep)
    assert (row["state"], row["attempt"]) == ("finished", 2)


def test_a_script_whose_worker_is_killed_for_memory_has_failed_because_of_the_memory(
    docker, created, slurmsweep, tmp_path
):
    sweep = created(GREEDY_WORKER)

    ended = docker.ended(docker.agent(sweep, of_batch(1), tmp_path, memory="128m"))

    assert ended["ExitCode"] == 2
    [row] = recorded(slurmsweep, sweep)
    assert (row["state"], row["cause"], row["exit_code"]) == ("failed", "oom", 2)


@pytest.mark.parametrize(
    ("environ", "script", "said"),
    [
        (of_batch(1), "import os\nos.kill(os.getpid(), 9)\n", "signal 9"),
        ({"SLURM_JOB_ID": "7", "SLURM_CLUSTER_NAME": "lab"}, GREEDY, "signal 9"),
        ({}, GREEDY, "signal 9"),
    ],
    ids=["killed with enough memory", "a job of Slurm", "no job"],
)
def test_elsewhere_and_after_other_kills_the_agent_says_what_it_saw(
    docker, created, slurmsweep, tmp_path, environ, script, said
):
    sweep = created(script)
    (tmp_path / "limit").write_text("600")

    ended = docker.ended(docker.agent(sweep, environ, tmp_path, memory="128m"))

    assert ended["ExitCode"] == 137
    [row] = recorded(slurmsweep, sweep)
    assert (row["state"], row["cause"]) == ("crashed", said)


@pytest.fixture
def task_of_ecs():
    """Serve what ECS tells a container of its task; the variable that leads there."""
    arn = "arn:aws:ecs:eu-west-1:123456789012:task/lab/158d1c8083dd49d6b527399fd6414f5c"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"Cluster": "lab", "TaskARN": arn}).encode()
            self.send_response(200 if self.path == "/v4/one/task" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with served(Handler) as address:
        yield {"ECS_CONTAINER_METADATA_URI_V4": f"{address}/v4/one"}


def test_a_task_of_ecs_is_named_in_its_claim_and_its_memory_is_watched(
    docker, created, slurmsweep, tmp_path, task_of_ecs
):
    sweep = created(GREEDY)
    (tmp_path / "limit").write_text("600")

    docker.ended(docker.agent(sweep, task_of_ecs, tmp_path, memory="128m", network="host"))

    owner = json.loads((sweep / "trials" / "0" / "0" / "1" / "owner").read_text())["owner"]
    assert (owner["cluster"], owner["job"]) == ("ecs:eu-west-1/lab", "158d1c8083dd49d6b527399fd6414f5c")
    [row] = recorded(slurmsweep, sweep)
    assert (row["state"], row["cause"]) == ("crashed", "oom")


@pytest.mark.parametrize(("end", "code"), [("3", 3), ("never", 143)])
def test_the_agent_of_a_sweep_that_wandb_holds_ends_its_container_as_its_run_ended(docker, tmp_path, end, code):
    (tmp_path / "train.py").write_text(HOSTED)
    folders = {f"WANDB_{word}_DIR": str(tmp_path / word) for word in ("CACHE", "CONFIG", "DATA")}
    with serving([{"end": end}]) as wandb:
        environ = of_batch(1, 2) | wandb.environ() | folders | {"SLURMSWEEP_STAGGER": "0"}
        container = docker.agent("ent/proj/abcd1234", environ, tmp_path, memory="1g", network="host")
        deadline = time.monotonic() + 240
        while f"ran {end}" not in docker("logs", container):
            assert time.monotonic() < deadline, docker("logs", container)
            time.sleep(0.1)
        if end == "never":
            docker("stop", "--time", "60", container)
        ended = docker.ended(container)

    assert (ended["ExitCode"], ended["OOMKilled"]) == (code, False), docker("logs", container)
    assert list(wandb.runs.values()) == [{"end": end}]
    assert ("heard TERM" in docker("logs", container)) == (end == "never")


def test_six_trials_in_containers_of_which_one_is_killed_and_one_out_of_memory_finish_once_each(
    docker, created, slurmsweep, tmp_path
):
    sweep = created(SCRIPT + "if os.path.exists('greedy'): taken = [b'x' * 2**20 for _ in range(600)]\n", trials=6)
    attempts: dict[int, int] = dict.fromkeys(range(6), 1)
    (tmp_path / "stays").touch()
    killed = docker.agent(sweep, of_batch(1, 0), tmp_path)
    wait_for_line(docker, killed, log_of(sweep, 0, 1), "epoch 2")
    docker("kill", "--signal", "KILL", killed)
    (tmp_path / "stays").unlink()
    (tmp_path / "greedy").touch()
    assert docker.ended(docker.agent(sweep, of_batch(1, 1), tmp_path, memory="128m"))["OOMKilled"]
    (tmp_path / "greedy").unlink()
    # two containers of the array at a time: as many as this machine runs at least
    for pair in ((2, 3), (4, 5)):
        for container in [docker.agent(sweep, of_batch(1, index), tmp_path) for index in pair]:
            assert docker.ended(container)["ExitCode"] == 0, docker("logs", container)

    for index in (0, 1):
        attempts[index] = 2
        container = docker.agent(sweep, of_batch(2, index), tmp_path)
        assert docker.ended(container)["ExitCode"] == 0, docker("logs", container)

    rows = recorded(slurmsweep, sweep)
    assert [(row["number"], row["state"], row["attempt"]) for row in rows] == [
        (number, "finished", attempt) for number, attempt in attempts.items()
    ]
    finished = [(trial, attempt) for trial, attempt, state, _ in ends_of(sweep) if state == "finished"]
    assert finished == list(attempts.items())  # none was run twice
    assert (1, 1, "crashed", "oom") in ends_of(sweep)
