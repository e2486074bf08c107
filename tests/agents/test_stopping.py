"""Whatever stands in front of a program: it hears an order to stop once, and has the whole grace to save its state."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from living import is_alive

from slurmsweep.agents.processes import Process, descendants, hearers

#: Saves for longer than left-over processes of a command that ended by itself would have, and says what it heard.
PROGRAM = """
import os, signal, sys, time
heard = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: heard.append(signal.Signals(number).name))
print("ready", flush=True)
while not heard:
    time.sleep(0.02)
for part in range(125):
    time.sleep(0.02)
    print('saving', part, flush=True)
print("saved after", *heard, flush=True)
sys.exit(130)
"""

#: Each is a bash script that runs the program.
FRONTS = {
    "a shell script": "python program.py; echo ready for more",
    "a shell in a shell": "sh -c 'python program.py; true'; true",
    "a pipe": "python program.py | tee log",
    "a longer pipe": "python program.py 2>&1 | grep --line-buffered . | tee log",
    "a condition": "python program.py && python -c 'print(1)'",
    "a trap of its own": "trap 'echo cleaned' TERM INT EXIT; python program.py; exit 3",
    "a trap that passes it on": "trap 'kill -TERM $!' TERM INT; python program.py & wait $!",
    "a trap for the group": "trap 'trap - TERM; kill 0' TERM INT; python program.py & wait",
    "a launcher": "exec python -c \"import subprocess; subprocess.call(['python', 'program.py'])\"",
    "a launcher that passes it on": (
        "exec python -c \"import signal, subprocess; p = subprocess.Popen(['python', 'program.py']);"
        ' signal.signal(15, lambda *_: p.terminate()); p.wait()"'
    ),
    "a launcher that reads": (
        "exec python -c \"import subprocess; p = subprocess.Popen(['python', 'program.py'], stdout=-1)\n"
        'for line in p.stdout: print(line.decode(), end=str(), flush=True)"'
    ),
    "os.system": "exec python -c \"import os; os.system('python program.py; true')\"",
    "timeout": "exec timeout 100 bash -c 'python program.py; true'",
    "nice and env": "exec nice env A=1 python program.py",
    "another session": "setsid python program.py; true",
    "a daemon": "(setsid python program.py &); sleep 100",
}


@pytest.fixture
def stop(slurmsweep, write_sweep, tmp_path):
    """Run a bash script as a trial and send its agent a signal when the program is ready; return trial and log."""
    agents = []

    def stop(script: str, number: signal.Signals, program: str = PROGRAM, **environ: str) -> tuple[dict, list[str]]:
        (tmp_path / "program.py").write_text(program)
        command = "command: [bash, -c, " + json.dumps(script) + "]"
        sweep = slurmsweep("create", str(write_sweep("", "  x: {value: 1}", command))).stdout.strip()
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        agent = subprocess.Popen(
            [sys.executable, "-m", "slurmsweep", "agent", sweep],
            cwd=tmp_path, env=os.environ | {"PATH": path} | environ, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        agents.append(agent)
        log = tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0" / "0" / "1" / "output.log"
        deadline = time.monotonic() + 120
        while not (log.exists() and "ready" in log.read_text()):
            assert agent.poll() is None, "the agent ended before the program was ready"
            assert time.monotonic() < deadline, "the program never got ready"
            time.sleep(0.02)
        agent.send_signal(number)
        agent.wait(timeout=120)
        return json.loads(slurmsweep("trials", sweep, "--json").stdout)[0], log.read_text().splitlines()

    yield stop
    for agent in agents:
        if agent.poll() is None:
            agent.kill()
            agent.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("front", FRONTS)
def test_a_program_behind_anything_hears_it_once_and_saves(stop, front, number):
    trial, log = stop(FRONTS[front], number)

    assert [line for line in log if line.startswith("saved")] == [f"saved after {number.name}"]
    cause = "terminated" if number is signal.SIGTERM else "interrupted"
    assert (trial["state"], trial["cause"]) == ("killed", cause)


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_a_program_behind_make_saves(stop, tmp_path):
    (tmp_path / "Makefile").write_text("all:\n\t@echo begin; python program.py; echo end\n")

    trial, log = stop("make; true", signal.SIGTERM)

    assert ("saved after SIGTERM" in log, "end" in log, trial["cause"]) == (True, False, "terminated")


def test_a_shells_trap_runs_after_its_program_has_saved(stop):
    _, log = stop("trap 'echo cleaned; exit 143' TERM; python program.py; echo not reached", signal.SIGTERM)

    assert log[-2:] == ["saved after SIGTERM", "cleaned"]


def test_a_program_behind_a_shell_has_the_time_between_warning_and_limit(stop):
    trial, log = stop(
        "python program.py; true", signal.SIGUSR1, WANDB_AGENT_KILL_DELAY="0.5", SLURMSWEEP_WARNING_SECONDS="60"
    )

    assert log[-1] == "saved after SIGTERM"
    assert (trial["state"], trial["cause"]) == ("crashed", "timeout")


def test_what_does_not_end_is_killed_when_the_grace_is_over(stop, tmp_path):
    """The shell dies at once; its program hears the order, and goes on."""
    deaf = PROGRAM.replace("range(125)", "range(10 ** 6)")
    deaf = f"import os\nopen('pid', 'w').write(str(os.getpid()))\n{deaf}"

    trial, log = stop("setsid python program.py; true", signal.SIGTERM, deaf, WANDB_AGENT_KILL_DELAY="1")

    assert (trial["state"], trial["cause"], log[-1].split()[0]) == ("killed", "terminated", "saving")
    assert not is_alive((tmp_path / "pid").read_text())


def test_a_second_order_reaches_a_program_whose_launcher_is_held(stop):
    """It handles Ctrl-C only, and its handler goes on for ever."""
    deaf = PROGRAM.replace("(signal.SIGTERM, signal.SIGINT)", "(signal.SIGINT,)").replace(
        "range(125)", "range(10 ** 6)"
    )
    again = deaf.replace(
        "    print('saving'", "    if part == 9: os.kill(int(sys.argv[1]), signal.SIGINT)\n    print('saving'"
    )

    trial, log = stop("python program.py $PPID; true", signal.SIGINT, again)

    assert (trial["state"], trial["cause"], trial["exit_code"]) == ("killed", "interrupted", 143)
    assert "saving 9" in log


TERM = 1 << signal.SIGTERM - 1


def names(processes: list[Process]) -> list[int]:
    return [process.pid for process in processes]


def tree(*processes: Process) -> dict[int, Process]:
    return {process.pid: process for process in processes}


def test_helpers_of_a_program_are_left_alone():
    """Workers of a loader and wandb-core have handlers; the program computes, or waits for its helper's end."""
    computes = tree(Process(2, 0, 1, 2, 9), Process(3, 0, 2, 2, caught=TERM), Process(4, 0, 2, 4, caught=TERM))
    waits = tree(Process(2, 0, 1, 2, 9, waits=True), Process(4, 0, 2, 4, caught=TERM))

    assert names(hearers(computes, 1, signal.SIGTERM).programs) == [2]
    assert names(hearers(waits, 1, signal.SIGTERM).programs) == [2]


def test_a_program_with_a_handler_hears_before_a_helper_that_it_waits_for_or_reads_from():
    """As ``rsync`` and ``ffmpeg``, whose end by the signal would be an error in the middle of its work."""
    helper = Process(3, 0, 2, 2, caught=TERM, prints=frozenset({"pipe:[1]"}))
    waits = Process(2, 0, 1, 2, threads=9, caught=TERM, waits=True)
    reads = Process(2, 0, 1, 2, caught=TERM, reads=frozenset({"pipe:[1]"}))

    assert names(hearers(tree(waits, helper), 1, signal.SIGTERM).programs) == [2]
    assert names(hearers(tree(reads, helper), 1, signal.SIGTERM).programs) == [2]


def test_a_launcher_that_serves_its_program_is_not_held():
    served = tree(Process(2, 0, 1, 2, threads=3, waits=True), Process(3, 0, 2, 2, caught=TERM))

    found = hearers(served, 1, signal.SIGTERM)

    assert (names(found.programs), names(found.held)) == ([3], [])


def test_a_trap_decides_where_nothing_behind_it_has_a_handler():
    """As in the template for several nodes: the shell tells the ranks by scancel, and srun must not hear it."""
    shell = tree(Process(2, 0, 1, 2, caught=TERM, waits=True), Process(3, 0, 2, 2, threads=4, unheard=TERM))

    found = hearers(shell, 1, signal.SIGTERM)

    assert (names(found.programs), names(found.held)) == ([2], [])


def test_a_program_that_reads_from_another_hears_it_where_the_other_only_dies():
    pipe = tree(
        Process(2, 0, 1, 2, waits=True),
        Process(3, 0, 2, 2, prints=frozenset({"pipe:[1]"})),
        Process(4, 0, 2, 2, caught=TERM, reads=frozenset({"pipe:[1]"})),
    )

    found = hearers(pipe, 1, signal.SIGTERM)

    assert (names(found.programs), names(found.held), names(found.relays)) == ([3, 4], [2], [])


def test_srun_hears_nothing_whether_it_has_handlers_or_blocks_the_signals(tmp_path):
    """The handlers of 26.05 end all tasks by force; earlier versions block the same signals."""
    script = tmp_path / "srun"
    script.write_text(
        f"#!{sys.executable}\nimport signal\nsignal.signal(15, print)\nprint(flush=True)\nsignal.pause()\n"
    )
    script.chmod(0o755)
    with subprocess.Popen([script], stdout=subprocess.PIPE) as started:
        started.stdout.readline()
        srun = descendants(os.getpid())[started.pid]
        started.kill()

    assert not srun.catches(signal.SIGTERM)
    assert not srun.dies_of(signal.SIGTERM)
