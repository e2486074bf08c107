"""A job that its service starts again goes on with its trial, as one that Slurm requeues: with real agents and kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler

import pytest
from served import served

from slurmsweep.state.owner import Owner

JOB = "1b0f3c1e-8a52-4d7f-9d5f-0a6f1c2d3e4f"
BATCH = {"AWS_REGION": "eu-west-1", "AWS_BATCH_JOB_ID": JOB, "AWS_BATCH_JOB_ATTEMPT": "1"}
TRAINING = {
    "TRAINING_JOB_NAME": "sweep-1-0",
    "TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:123456789012:training-job/sweep-1-0",
}

#: Begins: says who it is, where its other attempts find it. Its third start ends well, the others wait to be killed.
GOES_ON = """
import json, os, time
folder = os.environ["SLURMSWEEP_CHECKPOINT_DIR"]
with open(os.path.join(folder, "starts"), "a") as file:
    file.write(json.dumps([os.environ["WANDB_RUN_ID"], os.environ["SLURMSWEEP_ATTEMPT"], folder]) + "\\n")
print(f"ready {os.getpid()}", flush=True)
if os.environ["SLURMSWEEP_ATTEMPT"] != "3":
    time.sleep(300)
"""

#: Its own process 1, as in a container: with processes of its own, which end with it.
CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.fixture
def create(slurmsweep, write_sweep):
    """Create a sweep around a script; returns its id."""

    def create(script, extra="", values="[1, 2, 3]") -> str:
        done = slurmsweep("create", str(write_sweep(script, f"  x: {{values: {values}}}", extra)))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return create


@pytest.fixture
def trials(slurmsweep):
    """Return the trials of a sweep, as ``trials --json`` shows them, after ``check`` found nothing."""

    def trials(sweep) -> list[dict]:
        checked = slurmsweep("check", sweep)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        return json.loads(slurmsweep("trials", sweep, "--json").stdout)

    return trials


@pytest.fixture
def at_work(tmp_path):
    """Start an agent; returns its process once its command has printed ``ready``, with the command's own pid."""
    started = []

    def start(sweep, trial, attempt, environ, within=()) -> subprocess.Popen:
        command = [*within, sys.executable, "-m", "slurmsweep", "agent", sweep]
        agent = subprocess.Popen(
            command, cwd=tmp_path, env=os.environ | environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(agent)
        log = tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0" / str(trial) / str(attempt) / "output.log"
        deadline = time.monotonic() + 120
        while not (log.exists() and "ready" in log.read_text()):
            assert time.monotonic() < deadline, "the command never got ready"
            assert agent.poll() is None, agent.communicate()[1]
            time.sleep(0.02)
        return agent

    yield start
    for agent in started:
        if agent.poll() is None:
            agent.kill()
        agent.communicate()


@pytest.fixture
def owners(tmp_path):
    """Return the owners of a sweep's attempts, by trial and attempt."""

    def owners(sweep) -> dict[tuple[int, int], Owner]:
        found = (tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0").glob("*/*/owner")
        return {
            (int(path.parts[-3]), int(path.parts[-2])): Owner.from_json(json.loads(path.read_text())["owner"])
            for path in found
        }

    return owners


def children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def kill_with_command(agent: subprocess.Popen) -> None:
    """As a host that is lost: the agent and its command are killed at once."""
    for pid in (agent.pid, *children(agent.pid)):
        os.kill(pid, signal.SIGKILL)
    agent.communicate(timeout=120)


def starts(folder, sweep) -> list[list[str]]:
    file = folder / "wandb" / f"sweep-{sweep}" / "trials" / "0" / "0" / "checkpoints" / "starts"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_job_of_batch_that_is_retried_goes_on_with_its_trial(create, slurmsweep, trials, at_work, owners, tmp_path):
    sweep = create(GOES_ON)
    first, second, third = (BATCH | {"AWS_BATCH_JOB_ATTEMPT": f"{n}"} for n in (1, 2, 3))

    kill_with_command(at_work(sweep, 0, 1, first))
    agent = at_work(sweep, 0, 2, second)
    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=120)
    done = slurmsweep("agent", sweep, **third)

    assert (agent.returncode, done.returncode) == (143, 0)
    [trial, *others] = trials(sweep)
    assert (trial["state"], trial["attempt"], {other["state"] for other in others}) == ("finished", 3, {"pending"})
    said = starts(tmp_path, sweep)
    assert [attempt for _, attempt, _ in said] == ["1", "2", "3"]
    assert {run for run, _, _ in said} == {f"{sweep}-0"}
    assert len({folder for _, _, folder in said}) == 1
    assert [(key, owner.job_name, owner.cluster, owner.restart) for key, owner in sorted(owners(sweep).items())] == [
        ((0, n), JOB, "batch:eu-west-1", n - 1) for n in (1, 2, 3)
    ]


def test_another_job_of_batch_leaves_that_trial_alone(create, slurmsweep, trials, at_work):
    sweep = create(
        "import os, time\nprint('ready', flush=True)\nif os.environ['SLURMSWEEP_TRIAL'] == '0': time.sleep(300)"
    )
    kill_with_command(at_work(sweep, 0, 1, BATCH))

    other = BATCH | {"AWS_BATCH_JOB_ID": JOB.replace("1", "2"), "AWS_BATCH_JOB_ATTEMPT": "2"}
    done = slurmsweep("agent", sweep, **other)

    assert done.returncode == 0, done.stderr
    assert [trial["state"] for trial in trials(sweep)] == ["running", "finished", "pending"]


@pytest.fixture(scope="module")
def container():
    """Return the words before a command that runs as process 1 of a pid namespace."""
    if subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may make no pid namespaces: unshare --pid")
    return CONTAINER


def test_a_training_job_that_starts_again_goes_on_with_its_trial_without_being_told_a_number(
    create, trials, at_work, owners, container, tmp_path
):
    sweep = create(GOES_ON)
    environ = TRAINING | {"SAGEMAKER_BASE_DIR": str(tmp_path)}

    outside = at_work(sweep, 0, 1, environ, container)
    [agent] = children(outside.pid)
    os.kill(agent, signal.SIGKILL)
    outside.communicate(timeout=120)
    outside = at_work(sweep, 0, 2, environ, container)
    [agent] = children(outside.pid)
    os.kill(agent, signal.SIGTERM)
    outside.communicate(timeout=120)
    command = [*container, sys.executable, "-m", "slurmsweep", "agent", sweep]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | environ, capture_output=True, text=True, check=False)

    assert (outside.returncode, done.returncode) == (143, 0), done.stderr
    [trial, *others] = trials(sweep)
    assert (trial["state"], trial["attempt"], {other["state"] for other in others}) == ("finished", 3, {"pending"})
    assert [start[:2] for start in starts(tmp_path, sweep)] == [[f"{sweep}-0", f"{n}"] for n in (1, 2, 3)]
    assert [(key, owner.pid, owner.restart) for key, owner in sorted(owners(sweep).items())] == [
        ((0, n), 1, n - 1) for n in (1, 2, 3)
    ]


def test_other_agents_in_the_same_container_of_a_training_job_are_no_later_start(
    create, slurmsweep, trials, at_work, owners, tmp_path
):
    """One beside the first, which is at work, and one after it has failed: each takes a trial of its own."""
    sweep = create(
        "import os, sys, time\nprint('ready', flush=True)\nif sys.argv[1] == '--x=1': time.sleep(300)\nsys.exit(3)"
    )
    environ = TRAINING | {"SAGEMAKER_BASE_DIR": str(tmp_path)}
    first = at_work(sweep, 0, 1, environ)

    codes = [slurmsweep("agent", sweep, **environ).returncode for _ in range(2)]

    assert codes == [3, 3]
    assert [trial["state"] for trial in trials(sweep)] == ["running", "failed", "failed"]
    assert {owner.restart for owner in owners(sweep).values()} == {0}
    kill_with_command(first)


def test_each_element_of_an_array_of_batch_takes_the_attempt_that_is_meant_for_it(create, trials, owners, tmp_path):
    sweep = create("pass", values="[1, 2, 3, 4]")
    elements = [
        BATCH
        | {"AWS_BATCH_JOB_ID": f"{JOB}:{n}", "AWS_BATCH_JOB_ARRAY_INDEX": f"{n}", "AWS_BATCH_JOB_ARRAY_SIZE": "4"}
        | {"SLURMSWEEP_SLOTS": "2,0,3,1"}
        for n in range(4)
    ]

    agents = [
        subprocess.Popen(
            [sys.executable, "-m", "slurmsweep", "agent", sweep],
            cwd=tmp_path,
            env=os.environ | environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        for environ in elements
    ]
    said = [agent.communicate(timeout=120)[1] for agent in agents]

    assert [agent.returncode for agent in agents] == [0] * 4, said
    assert [trial["state"] for trial in trials(sweep)] == ["finished"] * 4
    found = {trial: owner.job_name for (trial, _), owner in owners(sweep).items()}
    assert found == {2: f"{JOB}_0", 0: f"{JOB}_1", 3: f"{JOB}_2", 1: f"{JOB}_3"}


@pytest.fixture
def task_of_ecs():
    """Serve the metadata of a task; returns the address that ECS puts into its environment."""
    document = json.dumps({"TaskARN": f"arn:aws:ecs:eu-west-1:123456789012:task/mine/{'0a' * 16}", "Cluster": "mine"})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/v4/c1/task" else 404)
            self.end_headers()
            self.wfile.write(document.encode())

    with served(Handler) as address:
        yield f"{address}/v4/c1"


def test_an_agent_in_a_task_of_ecs_owns_its_trial_by_the_tasks_own_name(
    create, slurmsweep, trials, owners, task_of_ecs
):
    sweep = create("pass")

    done = slurmsweep("agent", sweep, ECS_CONTAINER_METADATA_URI_V4=task_of_ecs)
    lost = slurmsweep("agent", sweep, ECS_CONTAINER_METADATA_URI_V4=f"{task_of_ecs}/x")

    assert (done.returncode, lost.returncode) == (0, 4)
    assert lost.stderr == (
        "slurmsweep: cannot read this task's metadata (ECS_CONTAINER_METADATA_URI_V4) from "
        f"{task_of_ecs}/x/task: status 404\n"
    )
    [owner] = owners(sweep).values()
    assert (owner.job_name, owner.cluster, owner.restart) == ("0a" * 16, "ecs:eu-west-1/mine", 0)
    assert [trial["state"] for trial in trials(sweep)] == ["finished", "pending", "pending"]


def test_of_a_training_job_on_several_machines_one_runs_a_trial_and_the_others_say_so(
    create, slurmsweep, trials, owners, tmp_path
):
    sweep = create("pass")
    said = {}
    for host in ("algo-2", "algo-1"):
        (tmp_path / host / "input" / "config").mkdir(parents=True)
        machines = {"current_host": host, "hosts": ["algo-1", "algo-2"]}
        (tmp_path / host / "input" / "config" / "resourceconfig.json").write_text(json.dumps(machines))
        said[host] = slurmsweep("agent", sweep, SAGEMAKER_BASE_DIR=str(tmp_path / host), **TRAINING)

    assert [done.returncode for done in said.values()] == [0, 0]
    assert said["algo-2"].stderr == (
        "slurmsweep: nothing left to do: of this job's 2 machines algo-1 runs the agent, and this is algo-2\n"
    )
    [owner] = owners(sweep).values()
    assert (owner.job, owner.node) == ("sweep-1-0", "algo-1")
    assert [trial["state"] for trial in trials(sweep)] == ["finished", "pending", "pending"]


@pytest.fixture
def asked_of_slurm(tmp_path):
    """Put programs of Slurm on the PATH that only write down that they were called; returns the PATH and that file."""
    (tmp_path / "bin").mkdir()
    for name in ("squeue", "scancel", "scontrol"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/calls\n')
        (tmp_path / "bin" / name).chmod(0o755)
    return f"{tmp_path / 'bin'}:{os.environ['PATH']}", tmp_path / "calls"


def test_a_job_of_batch_out_of_time_says_that_it_cannot_put_itself_back(create, trials, at_work, asked_of_slurm):
    path, calls = asked_of_slurm
    sweep = create(GOES_ON)
    agent = at_work(sweep, 0, 1, BATCH | {"SLURMSWEEP_REQUEUE": "2", "PATH": path})

    agent.send_signal(signal.SIGUSR1)
    _, said = agent.communicate(timeout=120)

    assert "this job of batch cannot put itself back, out of time: `slurmsweep resubmit` goes on" in said
    assert not calls.exists()
    assert (trials(sweep)[0]["state"], trials(sweep)[0]["cause"]) == ("crashed", "timeout")


def test_an_agent_of_batch_that_reaches_the_target_asks_no_scheduler(create, slurmsweep, trials, asked_of_slurm):
    path, calls = asked_of_slurm
    script = "import slurmsweep\nslurmsweep.init()\nslurmsweep.log({'loss': 0.01})"
    sweep = create(script, extra="metric: {name: loss, goal: minimize, target: 0.1}")

    done = slurmsweep("agent", sweep, PATH=path, **BATCH)

    assert done.returncode == 0
    assert "`slurmsweep reconcile`, where jobs are submitted, cancels them" in done.stderr
    assert not calls.exists()
    assert trials(sweep)[0]["metric"] == 0.01


def test_agents_of_a_local_run_inside_a_job_count_as_of_that_job(slurmsweep, write_sweep, trials, owners):
    done = slurmsweep("run", str(write_sweep("pass")), "--backend", "local", **BATCH)

    assert done.returncode == 0, done.stderr
    [sweep] = json.loads(slurmsweep("ls", "--json").stdout)
    assert [trial["state"] for trial in trials(sweep["id"])] == ["finished"] * 3
    assert {(owner.cluster, owner.job_name) for owner in owners(sweep["id"]).values()} == {("batch:eu-west-1", JOB)}


@pytest.mark.parametrize("environ", [BATCH, TRAINING], ids=["batch", "sagemaker"])
def test_in_a_job_that_says_all_by_variables_an_agent_loads_nothing_to_ask_with(create, tmp_path, environ):
    """Beside what it loads in a job of Slurm: three modules of its own, and for SageMaker those that read a journal."""
    code = (
        "import json, sys\nfrom slurmsweep.cli.main import main; main(['agent', sys.argv[1]])\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )

    def loaded(sweep, variables) -> set[str]:
        command = [sys.executable, "-c", code, sweep]
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True, check=True
        )
        return set(json.loads(done.stdout.splitlines()[-1]))

    sweep = create("pass")
    more = loaded(sweep, environ | {"SAGEMAKER_BASE_DIR": str(tmp_path)}) - loaded(sweep, {"SLURM_JOB_ID": "7"})

    ours = {name for name in more if name.startswith("slurmsweep.")}
    of_all = {"slurmsweep.agents.metadata", "slurmsweep.agents.oom", "slurmsweep.agents.place"}
    assert ours >= of_all
    if environ is BATCH:
        assert ours == of_all
    else:
        assert all(name.startswith("slurmsweep.state.") for name in ours - of_all - {"slurmsweep.agents.incarnations"})
    assert more & {"boto3", "botocore", "http.client", "ssl", "email", "urllib.request"} == set()
