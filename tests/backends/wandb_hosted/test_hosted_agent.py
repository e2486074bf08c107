"""The agent of a sweep of W&B's own: the real ``wandb agent`` against a fake server, and what its run's end becomes.

All agents of this module run at the same time, each with a server of its own: W&B's agent sleeps most of its 11 seconds.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from fake_wandb import API_KEY, FakeWandb, serving
from living import is_alive

from slurmsweep.backends.wandb_hosted import agent as cloud
from slurmsweep.backends.wandb_hosted import agent_shim as wandb_agent_shim
from slurmsweep.backends.wandb_hosted.folder import parse
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

SWEEP = "ent/proj/abcd1234"

#: Ends as its first parameter says. Each line is one string: without a buffer, Python writes every word that it prints by
#: itself, and the agent's own lines come between.
TRAIN = """
import os, signal, subprocess, sys, time
how = sys.argv[1].removeprefix("--end=")
print(f"ran {how} {os.environ['WANDB_SWEEP_ID']} {os.environ['WANDB_RUN_ID']}\\n", end="", flush=True)
if how.isdigit():
    sys.exit(int(how))
if how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
def leave(number, frame):
    print(f"heard {signal.Signals(number).name}\\n", end="", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, leave)
helper = subprocess.Popen(["sleep", "300"], start_new_session=True)
print(f"ready {os.getpid()} {helper.pid}\\n", end="", flush=True)
time.sleep(300)
"""


@dataclass
class Agent:
    """One ``slurmsweep agent`` for such a sweep, while it runs and afterwards."""

    process: subprocess.Popen
    server: FakeWandb
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def code(self) -> int:
        return self.process.wait(120)


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    """One agent for each way a run can end; they have all been started, and are ended with the module."""
    with_servers = {
        "finished": serving([{"end": "0"}, {"end": "1"}]),
        "failed": serving([{"end": "3"}]),
        "killed": serving([{"end": "killed"}]),
        "warned": serving([{"end": "never"}]),
        "terminated": serving([{"end": "never"}]),
        "nothing left": serving([]),
        "no program": serving([{"end": "0"}] * 5, "command: [no-such-program, '${args}']\n"),
        "own macro": serving([{"end": "0"}] * 5, "command: [python, '${program}', --out, '${trial_dir}']\n"),
        "two runs": serving([{"end": "4"}, {"end": "0"}]),
    }
    started = {name: _start(name, context, tmp_path_factory) for name, context in with_servers.items()}
    yield {name: agent for name, (agent, _) in started.items()}
    for agent, context in started.values():
        agent.process.kill()
        agent.process.wait()
        context.__exit__(None, None, None)


def _start(name, context, tmp_path_factory):
    server = context.__enter__()
    folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
    (folder / "train.py").write_text(TRAIN)
    log = folder / "log"
    kept = {word: value for word, value in os.environ.items() if not word.startswith(("WANDB_", "SLURM"))}
    environ = kept | server.environ() | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    environ |= {f"WANDB_{word}_DIR": str(folder / word) for word in ("CACHE", "CONFIG", "DATA")}
    command = [sys.executable, "-m", "slurmsweep", "agent", "--count", "2" if name == "two runs" else "1", SWEEP]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    return Agent(process, server, log), context


def wait_until(question, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return answer


def ready(agent) -> list[str]:
    """Pids of the run and of the helper it started in a session of its own."""
    words = wait_until(lambda: [line.split() for line in agent.said().splitlines() if line.startswith("ready ")])
    return words[0][1:]


def test_a_macro_that_wandb_would_leave_out_ends_the_agent_before_its_run(agents):
    agent = agents["own macro"]

    assert agent.code() == 126
    assert "the sweep's command has ${trial_dir}, which W&B's agent does not know" in agent.said()
    assert "ran " not in agent.said()


@pytest.mark.parametrize(("number", "name"), [(signal.SIGUSR1, "warned"), (signal.SIGTERM, "terminated")])
def test_a_signal_reaches_the_run_as_sigterm_and_nothing_is_left(agents, number, name):
    agent = agents[name]
    pids = ready(agent)

    agent.process.send_signal(number)

    assert agent.code() == 143
    assert "heard SIGTERM" in agent.said()
    assert [pid for pid in pids if is_alive(pid)] == []
    assert agent.server.wanted == 1 or name == "terminated", "it asked for another run"


@pytest.mark.parametrize(("name", "code"), [("finished", 0), ("failed", 3), ("killed", 137), ("two runs", 4)])
def test_the_exit_code_is_the_runs(agents, name, code):
    agent = agents[name]

    assert agent.code() == code, agent.said()
    assert f"ran {code or 0} abcd1234 run1" in agent.said() or name == "killed"
    assert len(agent.server.runs) == 1 or name == "two runs"


def test_where_wandb_has_nothing_left_the_agent_says_so_and_ends_well(agents):
    agent = agents["nothing left"]

    assert agent.code() == 0
    assert "nothing left to do" in agent.said()


def test_a_command_that_is_not_there_is_127_and_does_not_use_up_the_sweep(agents):
    agent = agents["no program"]

    assert agent.code() == 127, agent.said()
    assert "cannot start 'no-such-program'" in agent.said()
    assert len(agent.server.runs) == 1


def test_the_key_is_in_no_log(agents):
    for agent in agents.values():
        assert API_KEY not in agent.said()


def test_a_sweep_that_w_and_b_does_not_have_is_exit_code_1(slurmsweep, tmp_path):
    with serving([]) as server:
        done = slurmsweep("agent", "ent/proj/gone1234", **server.environ())

    assert done.returncode == 1
    assert "not found" in done.stdout
    assert "the agent ended before any run (exit code 1)" in done.stdout


def test_a_node_without_wandb_is_told_what_to_do(tmp_path):
    code = (
        "import sys; sys.modules['wandb'] = None\n"
        f"from slurmsweep.cli.main import main; sys.exit(main(['agent', '{SWEEP}']))"
    )
    environ = os.environ | {"PATH": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 127
    assert "there is no wandb on this node" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_interpreter_is_that_of_the_wandb_program_on_the_path(tmp_path):
    python = tmp_path / "python3"
    python.symlink_to(sys.executable)
    program = tmp_path / "wandb"
    program.write_text(f"#!{python}\nimport wandb\n")
    program.chmod(0o755)
    assert cloud.find_python({"PATH": str(tmp_path)}) == str(python)

    program.write_text("#!/bin/sh\nexec python -m wandb\n")
    assert cloud.find_python({"PATH": str(tmp_path)}) == sys.executable


@pytest.mark.parametrize(
    ("module", "options", "words"),
    [
        (SimpleNamespace(AgentProcess=object), ["--count"], "no --forward-signals"),
        (SimpleNamespace(), ["--forward-signals"], "exit codes would be lost"),
        (SimpleNamespace(AgentProcess=object), ["--count", "--forward-signals"], ""),
    ],
)
def test_a_wandb_that_cannot_do_it_is_refused_with_the_reason(module, options, words):
    cli = SimpleNamespace(agent=SimpleNamespace(params=[SimpleNamespace(opts=[option]) for option in options]))

    said = wandb_agent_shim._what_is_lacking(module, cli)

    assert words in said
    assert bool(said) == bool(words)


def test_the_starts_of_an_array_are_spread_evenly_within_half_a_minute():
    waits = [
        cloud.stagger({"SLURM_ARRAY_TASK_ID": str(index), "SLURM_ARRAY_TASK_COUNT": "400"}) for index in range(400)
    ]

    assert min(waits) == 0
    assert max(waits) < 30
    for first in range(0, 384, 7):  # whichever 16 of them happen to start together
        together = sorted(waits[first : first + 16])
        assert min(b - a for a, b in itertools.pairwise(together)) > 0.9


def test_a_small_array_waits_less_and_a_single_job_not_at_all():
    waits = [cloud.stagger({"SLURM_ARRAY_TASK_ID": str(n), "SLURM_ARRAY_TASK_COUNT": "3"}) for n in range(3)]
    assert max(waits) < 4
    assert len({round(wait, 1) for wait in waits}) == 3
    assert cloud.stagger({}) == 0
    assert cloud.stagger({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "9", "SLURMSWEEP_STAGGER": "0"}) == 0


def test_the_starts_of_an_array_of_aws_batch_are_spread_alike_and_need_no_region():
    def waits(index, size) -> list[float]:
        return [cloud.stagger({index: str(n), size: "9", "AWS_BATCH_JOB_ID": f"j:{n}"}) for n in range(9)]

    of_batch = waits("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE")

    assert max(of_batch) > 1
    assert of_batch == waits("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")


def test_of_several_machines_of_a_job_one_asks_wandb_for_a_run():
    said = []
    job = {"AWS_BATCH_JOB_ID": "j#2", "AWS_BATCH_JOB_NODE_INDEX": "2", "AWS_BATCH_JOB_MAIN_NODE_INDEX": "1"}

    code = cloud.run_cloud_agent(parse(SWEEP, {}), 1, job, said.append)

    assert (code, said) == (
        0,
        ["nothing left to do: of this job's machines number 1 runs the agent, and this is number 2"],
    )


@pytest.mark.parametrize("wrong", [{"SLURM_ARRAY_TASK_ID": "x"}, {"SLURM_ARRAY_TASK_COUNT": "x"}])
def test_a_variable_of_slurm_that_is_no_number_is_named(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}='x'"):
        cloud.stagger({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "9"} | wrong)


@pytest.mark.parametrize("wish", ["soon", "1 s", "inf", "nan"])
def test_a_wish_for_the_spread_that_is_no_number_is_an_error(wish):
    with pytest.raises(UsageError, match=f"SLURMSWEEP_STAGGER is '{wish}'"):
        cloud.stagger({"SLURM_ARRAY_TASK_ID": "1", "SLURMSWEEP_STAGGER": wish})


def test_a_job_cancelled_while_it_waits_for_its_turn_starts_nothing(tmp_path):
    environ = os.environ | {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "9", "SLURMSWEEP_STAGGER": "300"}
    command = [sys.executable, "-m", "slurmsweep", "agent", SWEEP]
    agent = subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True)
    assert "waiting 185.4 s" in agent.stderr.readline()

    agent.send_signal(signal.SIGTERM)

    assert agent.wait(120) == 143
    # the signal may have come before the agent took its signals in hand
    assert agent.stderr.read() in ("", "slurmsweep: asked to stop by SIGTERM before anything was started\n")
    agent.stderr.close()
