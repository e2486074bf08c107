"""The agent around real commands: what they see, what their end means, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from living import is_alive

from slurmsweep.agents import child, signals
from slurmsweep.agents.attempt import Furnished, Prepared, run_command

AWKWARD = [
    "two words",
    'it\'s "q"',
    "a\nb\tc",
    "$HOME `id` $(id)",
    "größe 日本 🎉",
    "--x=y; rm -rf /",
    "",
    "*",
    "#SBATCH --x",
]

SHOW_ENVIRONMENT = """
import json, os, sys
names = [n for n in os.environ if n.startswith(("WANDB_", "SLURMSWEEP_"))]
print(json.dumps({"env": {n: os.environ[n] for n in names}, "argv": sys.argv[1:], "cwd": os.getcwd(),
                  "group": os.getpgid(0) == os.getpid(), "stdin": sys.stdin.read()}))
"""

SLEEPER = """
import os, signal, sys, time
def leave(number, frame):
    print("heard", signal.Signals(number).name, flush=True)
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, leave)
print(f"ready {os.getpid()}", flush=True)
time.sleep(60)
"""


@pytest.fixture
def create(slurmsweep, write_sweep):
    """Create a sweep around a script; returns its id."""

    def create(script, parameters="  x: {values: [1, 2, 3]}", extra="", method="grid") -> str:
        done = slurmsweep("create", str(write_sweep(script, parameters, extra, method)))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return create


@pytest.fixture
def trial(slurmsweep):
    """One trial of a sweep, as ``trials --json`` shows it."""

    def trial(sweep, number=0) -> dict:
        done = slurmsweep("trials", sweep, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[number]

    return trial


@pytest.fixture
def agent_at_work(tmp_path):
    """Start an agent; returns its process once its command has printed ``ready``, with the command's pid."""
    agents = []

    def start(sweep, number=0, **environ) -> tuple[subprocess.Popen, int]:
        command = [sys.executable, "-m", "slurmsweep", "agent", sweep]
        agent = subprocess.Popen(
            command, cwd=tmp_path, env=os.environ | environ, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        agents.append(agent)
        log = tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0" / str(number) / "1" / "output.log"
        deadline = time.monotonic() + 120
        while not (log.exists() and "\n" in log.read_text()):
            assert time.monotonic() < deadline, "the command never got ready"
            assert agent.poll() is None, agent.communicate()[1]
            time.sleep(0.02)
        return agent, int(log.read_text().split()[1])

    yield start
    for agent in agents:
        if agent.poll() is None:
            agent.kill()
        agent.communicate()


def wait_until_taken(agent: subprocess.Popen, number: signal.Signals) -> None:
    """Of two equal signals that wait at the same time one is left: signal(7)."""
    deadline = time.monotonic() + 120
    while agent.poll() is None:
        waiting = Path(f"/proc/{agent.pid}/status").read_text().partition("ShdPnd:")[2].split()[0]
        if not int(waiting, 16) & 1 << (number - 1):
            return
        assert time.monotonic() < deadline, "the agent never took its signal"
        time.sleep(0.02)


def log_of(slurmsweep, sweep, number=0) -> str:
    done = slurmsweep("logs", sweep, str(number))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_sees_what_a_wandb_agent_gives_it(create, slurmsweep, tmp_path):
    sweep = create(SHOW_ENVIRONMENT, extra="project: p1\nentity: e1")
    assert slurmsweep("agent", sweep).returncode == 0

    seen = json.loads(log_of(slurmsweep, sweep))
    folder = tmp_path / ".slurmsweep" / f"sweep-{sweep}"
    trial_folder = str(folder / "trials" / "0" / "0")
    environ = seen["env"]
    assert seen["argv"] == ["--x=1"]
    assert seen["cwd"] == str(tmp_path)
    assert seen["group"] is True
    assert seen["stdin"] == ""
    assert environ["WANDB_SWEEP_ID"] == sweep
    assert environ["WANDB_RUN_ID"] == f"{sweep}-0"
    assert environ["WANDB_DIR"] == trial_folder
    assert environ["WANDB_SWEEP_PARAM_PATH"] == f"{trial_folder}/1/params.yaml"
    assert (environ["WANDB_PROJECT"], environ["WANDB_ENTITY"]) == ("p1", "e1")
    assert (environ["WANDB_MODE"], environ["WANDB_RESUME"]) == ("offline", "allow")
    assert environ["SLURMSWEEP_CHECKPOINT_DIR"] == f"{trial_folder}/checkpoints"


def test_what_the_user_has_set_wins(create, slurmsweep):
    sweep = create(SHOW_ENVIRONMENT, extra="project: from-file")
    slurmsweep("agent", sweep, WANDB_MODE="disabled", WANDB_PROJECT="mine", WANDB_SERVICE="2-1-tcp-localhost-1")

    environ = json.loads(log_of(slurmsweep, sweep))["env"]
    assert (environ["WANDB_MODE"], environ["WANDB_PROJECT"]) == ("disabled", "mine")
    assert "WANDB_SERVICE" not in environ


def test_awkward_values_reach_the_script_unchanged(create, slurmsweep, tmp_path):
    sweep = create(SHOW_ENVIRONMENT, parameters=f"  text: {{values: {json.dumps(AWKWARD)}}}")
    done = slurmsweep("agent", "--count", str(len(AWKWARD)), sweep)
    assert done.returncode == 0, done.stderr

    got = [json.loads(log_of(slurmsweep, sweep, n))["argv"] for n in range(len(AWKWARD))]
    assert got == [[f"--text={value}"] for value in AWKWARD]


@pytest.mark.parametrize(
    ("body", "code", "state", "cause"),
    [
        ("pass", 0, "finished", ""),
        ("raise SystemExit(3)", 3, "failed", "exit 3"),
        ("1 / 0", 1, "failed", "exit 1"),
        ("import os; os.kill(os.getpid(), 9)", 137, "crashed", "signal 9"),
        ("import os; os.kill(os.getpid(), 11)", 139, "crashed", "signal 11"),
    ],
)
def test_the_agent_exits_as_its_trial_did(create, slurmsweep, trial, body, code, state, cause):
    sweep = create(body)

    done = slurmsweep("agent", sweep)

    assert done.returncode == code
    shown = trial(sweep)
    assert (shown["state"], shown["cause"], shown["exit_code"]) == (state, cause, code)


def test_a_traceback_of_the_script_is_in_its_log(create, slurmsweep):
    sweep = create("print('before')\n1 / 0")
    slurmsweep("agent", sweep)

    text = log_of(slurmsweep, sweep)
    assert text.startswith("before\n")
    assert "ZeroDivisionError" in text


def test_with_nothing_left_to_do_it_says_so_and_exits_0(create, slurmsweep):
    sweep = create("pass")
    assert slurmsweep("agent", "--count", "3", sweep).returncode == 0

    done = slurmsweep("agent", sweep)

    assert done.returncode == 0
    assert done.stderr == "slurmsweep: nothing left to do: every trial has been claimed\n"


def test_count_runs_that_many_one_after_the_other(create, slurmsweep):
    sweep = create("pass", parameters="  x: {min: 1, max: 5}")
    done = slurmsweep("agent", "--count", "4", sweep)

    assert [line for line in done.stderr.splitlines() if "finished" in line] == [
        f"slurmsweep: trial {n}, attempt 1: finished" for n in range(4)
    ]


def test_a_command_that_is_not_there_is_a_failed_trial(create, slurmsweep, trial):
    sweep = create("pass", extra="command: [no-such-program, '${program}', '${args}']")

    assert slurmsweep("agent", sweep).returncode == 127
    assert trial(sweep)["cause"] == "exit 127"
    assert "cannot start 'no-such-program': No such file or directory" in log_of(slurmsweep, sweep)


def test_on_a_full_disk_a_command_that_is_not_there_is_a_failed_trial_without_a_line_that_says_so(tmp_path):
    log = os.open("/dev/full", os.O_WRONLY)

    ended = run_command(Prepared(["./not-there"], Furnished(dict(os.environ), log), 0o077), str(tmp_path))

    os.close(log)
    assert (ended.status, ended.stop) == (127, None)


def test_words_of_the_template_come_before_the_command_and_no_shell_reads_them(create, slurmsweep):
    sweep = create("import os, sys; print(os.environ['SEEN'], sys.argv[1:])", "  x: {value: $HOME}")
    wrap = """sh -c 'SEEN="two  words" exec "$@"' sh"""

    assert slurmsweep("agent", sweep, SLURMSWEEP_WRAP=wrap).returncode == 0

    assert "two  words ['--x=$HOME']" in slurmsweep("logs", sweep, "0").stdout


@pytest.mark.parametrize("words", ["sh -c 'echo", "sh -c '\udcffecho"])
def test_wrong_quoting_of_the_templates_words_is_said_before_a_trial_is_taken(create, slurmsweep, trial, words):
    sweep = create("pass")

    done = slurmsweep("agent", sweep, SLURMSWEEP_WRAP=words)

    assert done.returncode == 2
    assert "SLURMSWEEP_WRAP is not quoted as in a shell (No closing quotation): sh -c '" in done.stderr
    assert trial(sweep)["state"] == "pending"


def test_words_of_the_template_that_are_not_utf_8_are_passed_on_as_they_are(create, slurmsweep, trial, tmp_path):
    program = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.symlink("/usr/bin/env", program)
    sweep = create("pass")

    assert slurmsweep("agent", sweep, SLURMSWEEP_WRAP=program).returncode == 0
    assert trial(sweep)["state"] == "finished"


def test_a_program_that_is_missing_and_not_utf_8_is_a_failed_trial_that_names_it(create, slurmsweep, trial):
    sweep = create("pass")

    assert slurmsweep("agent", sweep, SLURMSWEEP_WRAP="caf\udce9").returncode == 127
    assert trial(sweep)["cause"] == "exit 127"
    assert r"cannot start 'caf\udce9'" in log_of(slurmsweep, sweep)


@pytest.mark.parametrize("seats", [(), ("--seats", "2")])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLURM_RESTART_COUNT", "x"),
        ("SLURM_RESTART_COUNT", "-1"),
        ("SLURM_ARRAY_TASK_ID", "1.5"),
        ("SLURM_ARRAY_TASK_ID", "9" * 5000),
        ("SLURM_ARRAY_TASK_COUNT", "\udcff"),
        ("SLURM_ARRAY_TASK_COUNT", "\u00b2"),
        ("SLURMSWEEP_SLOTS", "x"),
        ("SLURMSWEEP_SLOTS", "0-\u0663"),
        ("SLURMSWEEP_SLOTS", "9" * 5000),
        ("SLURMSWEEP_ARRAY_TRIALS", "many"),
    ],
)
def test_a_variable_that_is_no_number_is_said_before_a_trial_is_taken(create, slurmsweep, trial, name, value, seats):
    sweep = create("pass", "  x: {values: [1, 2, 3]}")
    slurm = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "7", name: value}

    done = slurmsweep("agent", *seats, sweep, **slurm)

    if name == "SLURMSWEEP_ARRAY_TRIALS" and not seats:  # read where a job has several seats only
        assert done.returncode == 0
    else:
        assert done.returncode == 2
        assert name in done.stderr
        assert "Traceback" not in done.stderr
        assert name == "SLURMSWEEP_ARRAY_TRIALS" or trial(sweep)["state"] == "pending"  # the first seat needs none


def test_an_unset_environment_variable_is_named_in_the_log(create, slurmsweep, trial):
    sweep = create("pass", extra="command: [python, '${program}', '--out=${envvar:NOT_SET_HERE}']")

    assert slurmsweep("agent", sweep).returncode == 127
    assert "NOT_SET_HERE" in log_of(slurmsweep, sweep)


@pytest.mark.parametrize(
    ("sent", "heard", "state", "cause"),
    [
        (signal.SIGTERM, "SIGTERM", "killed", "terminated"),
        (signal.SIGINT, "SIGINT", "killed", "interrupted"),
        (signal.SIGHUP, "SIGHUP", "killed", "hangup"),
        (signal.SIGUSR1, "SIGTERM", "crashed", "timeout"),
    ],
)
def test_signals_reach_the_command_and_its_end_is_recorded(
    create, slurmsweep, trial, agent_at_work, sent, heard, state, cause
):
    sweep = create(SLEEPER)
    agent, _ = agent_at_work(sweep)

    agent.send_signal(sent)
    agent.communicate(timeout=120)

    assert log_of(slurmsweep, sweep).splitlines()[1] == f"heard {heard}"
    assert (trial(sweep)["state"], trial(sweep)["cause"]) == (state, cause)
    assert agent.returncode == 128 + signal.Signals[heard]


def test_usr2_is_passed_on_and_the_trial_goes_on(create, slurmsweep, trial, agent_at_work):
    script = (
        "import signal, time\nheard = []\n"
        "signal.signal(signal.SIGUSR2, lambda *_: (print('two', flush=True), heard.append(2)))\n"
        "print('ready 0', flush=True)\nwhile not heard: time.sleep(0.02)"
    )
    sweep = create(script)
    agent, _ = agent_at_work(sweep)

    agent.send_signal(signal.SIGUSR2)
    agent.communicate(timeout=120)

    assert "two" in log_of(slurmsweep, sweep)
    assert trial(sweep)["state"] == "finished"


def test_a_command_that_ignores_signals_is_killed_after_its_grace(create, trial, agent_at_work):
    sweep = create(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('ready 0', flush=True)\ntime.sleep(60)"
    )
    agent, _ = agent_at_work(sweep, WANDB_AGENT_KILL_DELAY="0.3")

    agent.send_signal(signal.SIGTERM)
    agent.communicate(timeout=120)

    assert agent.returncode == 137
    assert (trial(sweep)["state"], trial(sweep)["cause"]) == ("killed", "terminated")


def test_a_third_request_kills_without_waiting(create, trial, agent_at_work):
    sweep = create(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('ready 0', flush=True)\ntime.sleep(60)"
    )
    agent, _ = agent_at_work(sweep, WANDB_AGENT_KILL_DELAY="100")

    for _ in range(3):
        agent.send_signal(signal.SIGTERM)
        wait_until_taken(agent, signal.SIGTERM)
    agent.communicate(timeout=120)

    assert agent.returncode == 137


def test_what_the_command_leaves_running_is_ended(create, slurmsweep, tmp_path):
    script = (
        "import subprocess\n"
        "for new in (False, True):\n"
        "    p = subprocess.Popen(['sleep', '60'], start_new_session=new)\n"
        "    open('pids', 'a').write(f'{p.pid}\\n')\n"
    )
    sweep = create(script)

    assert slurmsweep("agent", sweep).returncode == 0

    pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    assert [is_alive(pid) for pid in pids] == [False, False]


def test_a_killed_agent_takes_its_command_with_it_and_the_trial_is_run_again(
    create, slurmsweep, trial, agent_at_work, tmp_path
):
    sweep = create(SLEEPER, parameters="  x: {value: 1}")
    agent, command = agent_at_work(sweep)

    agent.kill()
    agent.communicate()
    deadline = time.monotonic() + 120
    while is_alive(command):
        assert time.monotonic() < deadline, "the command outlived its agent"
        time.sleep(0.02)

    assert json.loads(slurmsweep("status", sweep, "--json").stdout)["counts"]["crashed"] == 1
    assert (trial(sweep)["state"], trial(sweep)["cause"]) == ("crashed", "lost")
    (tmp_path / "train.py").write_text("print('better')")
    assert slurmsweep("resubmit", sweep, "--backend", "local").returncode == 0
    assert (trial(sweep)["state"], trial(sweep)["attempt"]) == ("finished", 2)
    assert slurmsweep("check", sweep).returncode == 0


def test_status_writes_nothing(create, slurmsweep, agent_at_work, tmp_path):
    sweep = create(SLEEPER)
    agent, _ = agent_at_work(sweep)
    agent.kill()
    agent.communicate()
    journal = tmp_path / "wandb" / f"sweep-{sweep}" / "journal.log"
    before = journal.read_bytes()

    for name in ("status", "trials", "check"):
        slurmsweep(name, sweep)

    assert journal.read_bytes() == before


def test_a_finished_trial_costs_at_most_six_inodes(create, slurmsweep, tmp_path):
    sweep = create("import slurmsweep\nslurmsweep.init()\nslurmsweep.log({'loss': 1.0})\nslurmsweep.finish()")
    assert slurmsweep("agent", sweep).returncode == 0

    trial_folder = tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0" / "0"
    inodes = [trial_folder, *trial_folder.rglob("*")]
    assert len(inodes) <= 6, inodes


def test_a_metric_file_that_cannot_be_read_does_not_cost_the_outcome(create, slurmsweep, trial):
    script = "import os\nos.mkdir(os.environ['WANDB_DIR'] + '/wandb')\n"
    script += "open(os.environ['WANDB_DIR'] + '/wandb/offline-run-1-x', 'w')"
    sweep = create(script, extra="metric: {name: loss}")

    assert slurmsweep("agent", sweep).returncode == 0
    assert (trial(sweep)["state"], trial(sweep)["metric"]) == ("finished", None)
    assert "the metrics cannot be read" in log_of(slurmsweep, sweep)


def test_a_program_without_python_on_the_path_is_still_run(create, slurmsweep, tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    sweep = create("print('ran')")

    assert slurmsweep("agent", sweep, PATH=str(empty)).returncode == 0
    assert log_of(slurmsweep, sweep) == "ran\n"


@pytest.mark.parametrize(("chosen", "heard"), [("USR2", "12"), ("sigint", "2"), ("", "15")])
def test_a_template_chooses_the_signal_by_which_a_script_is_told(
    create, slurmsweep, trial, agent_at_work, chosen, heard
):
    script = (
        "import signal, sys, time\n"
        "def told(number, _):\n    print('heard', int(number), flush=True)\n    sys.exit(128 + number)\n"
        "for s in (2, 12, 15): signal.signal(s, told)\n"
        "print('ready 0', flush=True)\ntime.sleep(60)"
    )
    sweep = create(script)
    agent, _ = agent_at_work(sweep, SLURMSWEEP_STOP_SIGNAL=chosen)

    agent.send_signal(signal.SIGUSR1)
    agent.communicate(timeout=120)

    assert f"heard {heard}" in log_of(slurmsweep, sweep)
    assert (trial(sweep)["state"], trial(sweep)["cause"]) == ("crashed", "timeout")


@pytest.mark.parametrize("hears", [True, False], ids=["a script that hears", "a script that does not"])
def test_an_agent_keeps_a_time_limit_itself_where_no_scheduler_does(
    create, slurmsweep_process, slurmsweep, trial, hears
):
    told = "lambda *_: sys.exit(143)" if hears else "signal.SIG_IGN"
    sweep = create(f"import signal, sys, time\nsignal.signal(15, {told})\nprint('ready', flush=True)\ntime.sleep(600)")

    done = slurmsweep_process("agent", sweep, SLURMSWEEP_TIME_LIMIT_SECONDS="6")

    assert (trial(sweep)["state"], trial(sweep)["cause"]) == ("crashed", "timeout")
    assert done.returncode == (143 if hears else 137)
    assert log_of(slurmsweep, sweep) == "ready\n"


def test_a_time_limit_ends_with_its_agent():
    with child.signals_blocked(), child.time_limit(600):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
        # it comes in the last moment, and does not end this process later; to this thread, as to the only one of an agent:
        # here are others, numpy's among them, that do not block it
        signal.pthread_kill(threading.get_ident(), signal.SIGALRM)

    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize(
    ("limit", "warning", "told", "killed"),
    [("3600", "", 3540, 3585), ("3600", "600", 3000, 3585), ("60", "", 30, 60), ("20", "", 10, 20)],
)
def test_the_own_time_limit_of_an_agent_has_the_warning_and_the_grace_of_slurms(limit, warning, told, killed):
    environ = {"SLURMSWEEP_TIME_LIMIT_SECONDS": limit, "SLURMSWEEP_WARNING_SECONDS": warning}

    assert signals.seconds_to_warning(environ) == told
    assert told + signals.grace(signal.SIGALRM, environ) == killed
    assert signals.seconds_to_warning({}) is None


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("SLURMSWEEP_STOP_SIGNAL", "KILL", "TERM"),
        ("SLURMSWEEP_REQUEUE", "often", "whole number"),
        ("WANDB_AGENT_KILL_DELAY", "30s", "such as 30, without a unit"),
        ("WANDB_AGENT_KILL_DELAY", "-1", "number of seconds"),
        ("WANDB_AGENT_KILL_DELAY", "inf", "number of seconds"),
        ("SLURMSWEEP_WARNING_SECONDS", "2m", "number of seconds"),
        ("SLURMSWEEP_TIME_LIMIT_SECONDS", "1:00:00", "greater than 0"),
        ("SLURMSWEEP_TIME_LIMIT_SECONDS", "0", "greater than 0"),
        ("SLURMSWEEP_EARLY_TERMINATE_SECONDS", "0", "greater than 0"),
        ("SLURM_RESTART_COUNT", "once", "whole number"),
        ("SLURM_ARRAY_TASK_COUNT", "1e3", "whole number"),
        ("SLURM_ARRAY_TASK_ID", "\udcff", "whole number"),
        ("SLURMSWEEP_SLOTS", "one", "0-11"),
    ],
)
def test_a_template_that_asks_for_nonsense_takes_no_trial(create, slurmsweep, trial, name, value, word):
    sweep = create("pass")

    array = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"} if "ARRAY" in name or "SLOTS" in name else {}
    done = slurmsweep("agent", sweep, **(array | {name: value}))

    assert (done.returncode, name in done.stderr, word in done.stderr) == (2, True, True)
    assert "Traceback" not in done.stderr
    assert trial(sweep)["state"] == "pending"


@pytest.mark.parametrize("command", [("plan",), ("run", "--backend", "local"), ("submit",)], ids=lambda words: words[0])
def test_a_wrong_variable_is_refused_where_it_is_set(create, slurmsweep, tmp_path, command):
    """A file for ``plan`` and ``run``, and no sweep is made of it; a sweep for ``submit``."""
    sweep = create("pass")
    name = sweep if command == ("submit",) else "sweep.yaml"

    done = slurmsweep(command[0], name, *command[1:], WANDB_AGENT_KILL_DELAY="half a minute")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        "slurmsweep: WANDB_AGENT_KILL_DELAY='half a minute' is not a number of seconds, such as 30, without a unit"
    )
    assert [folder.name for folder in (tmp_path / "wandb").iterdir()] == [f"sweep-{sweep}"]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("command", ["['${env}', python, '${program}']", "[sh, -c, 'python train.py 2>&1 | cat']"])
def test_what_a_script_prints_is_in_its_log_at_once_and_after_any_kill(
    create, slurmsweep, agent_at_work, monkeypatch, ending, command
):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setenv("PATH", os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    script = "import time\nfor word in ('ready 0', 'epoch 1'): print(word)\ntime.sleep(60)"
    sweep = create(script, extra=f"command: {command}")
    agent, _ = agent_at_work(sweep)  # it waits for the first line

    deadline = time.monotonic() + 120
    while "epoch 1\n" not in log_of(slurmsweep, sweep):
        assert time.monotonic() < deadline, "the second line never came"
    agent.send_signal(ending)
    agent.communicate(timeout=120)

    assert log_of(slurmsweep, sweep) == "ready 0\nepoch 1\n"


def test_a_scripts_own_choice_of_buffering_stays(create, slurmsweep):
    sweep = create("import os; print(repr(os.environ['PYTHONUNBUFFERED']))", parameters="  x: {values: [1, 2, 3]}")

    for value in ("", "yes"):
        assert slurmsweep("agent", sweep, PYTHONUNBUFFERED=value).returncode == 0
    assert [log_of(slurmsweep, sweep, n) for n in (0, 1)] == ["''\n", "'yes'\n"]


@pytest.mark.parametrize(("restart", "calls"), [("0", ["requeue 7_3"]), ("2", [])])
def test_a_job_out_of_time_puts_itself_back_up_to_its_bound(
    create, slurmsweep, trial, agent_at_work, tmp_path, restart, calls
):
    """With a scontrol that only writes down what it is asked: the real one is in tests/cluster/test_ends.py."""
    said = tmp_path / "calls"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    (tmp_path / "bin" / "scontrol").chmod(0o755)
    sweep = create("import time\nprint('ready 0', flush=True)\ntime.sleep(60)")
    slurm = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": restart}
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    agent, _ = agent_at_work(sweep, SLURMSWEEP_REQUEUE="2", PATH=path, **slurm)

    agent.send_signal(signal.SIGUSR1)
    agent.communicate(timeout=120)

    assert (said.read_text().splitlines() if said.exists() else []) == calls
