"""``slurmsweep.agent(sweep_id, function=train)``: trials in this process, recorded like any others."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import slurmsweep
from slurmsweep.api import console
from slurmsweep.api.interrupts import Interrupts
from slurmsweep.errors import NotFoundError, UsageError
from slurmsweep.state.store import SweepStore

FINISHED = ("finished", "")


def train():
    run = slurmsweep.init()
    slurmsweep.log({"loss": run.config.x * 2})


def test_every_point_is_run_once_and_its_metric_recorded(make_sweep, outcomes, slurmsweep):
    import slurmsweep as wandb

    sweep = make_sweep()
    wandb.agent(sweep, function=train)

    assert outcomes(sweep) == {0: FINISHED, 1: FINISHED, 2: FINISHED}
    assert [run.metric for run in wandb.Api().sweep(sweep).runs] == [2, 4, 6]
    assert slurmsweep("check", sweep).returncode == 0


def test_count_bounds_the_trials_of_one_call_and_the_next_call_goes_on(make_sweep, outcomes):
    sweep = make_sweep((1, 2, 3, 4))

    slurmsweep.agent(sweep, train, count=1)
    first = outcomes(sweep)
    slurmsweep.agent(f"entity/project/{sweep}", train, count=2)

    assert list(first) == [0]
    assert list(outcomes(sweep)) == [0, 1, 2]


def test_the_function_sees_a_trials_environment_and_afterwards_all_is_as_before(make_sweep, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setenv("WANDB_SERVICE", "another run's process")
    monkeypatch.setenv("WANDB_NOTES", "")
    before = dict(os.environ)
    sweep = make_sweep((1, 2))

    slurmsweep.agent(sweep, lambda: seen.append(dict(os.environ)), project="p", entity="e")

    trial = str(tmp_path / ".slurmsweep" / f"sweep-{sweep}" / "trials" / "0" / "1")
    assert dict(os.environ) == before
    assert (
        seen[1]
        | {
            "WANDB_SWEEP_ID": sweep,
            "WANDB_RUN_ID": f"{sweep}-1",
            "WANDB_DIR": trial,
            "WANDB_PROJECT": "p",
            "WANDB_ENTITY": "e",
            "WANDB_MODE": "offline",
            "WANDB_SWEEP_PARAM_PATH": f"{trial}/1/params.yaml",
            "SLURMSWEEP_ATTEMPT_DIR": f"{trial}/1",
            "SLURMSWEEP_TRIAL": "1",
        }
        == seen[1]
    )
    assert not {"WANDB_SERVICE", "WANDB_NOTES"} & seen[1].keys()


def test_what_the_function_itself_sets_in_the_environment_stays(make_sweep, monkeypatch):
    monkeypatch.delenv("OF_THE_FUNCTION", raising=False)
    monkeypatch.setattr(os, "environ", os.environ)

    slurmsweep.agent(make_sweep(), lambda: os.environ.update(OF_THE_FUNCTION="1"), count=1)

    assert os.environ.pop("OF_THE_FUNCTION") == "1"


def test_an_exception_fails_the_trial_with_its_traceback_in_the_log_and_the_agent_goes_on(
    make_sweep, outcomes, log_of, capfd
):
    def fail_once():
        if slurmsweep.init().config.x == 1:
            raise ValueError("no luck with 1")

    sweep = make_sweep()
    slurmsweep.agent(sweep, fail_once)

    lines = log_of(sweep).splitlines()
    assert outcomes(sweep) == {0: ("failed", "exit 1"), 1: FINISHED, 2: FINISHED}
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{__file__}"')
    assert lines[-1] == "ValueError: no luck with 1"
    assert "ValueError: no luck with 1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("code", "state", "logged"),
    [
        (None, FINISHED, ""),
        (0, FINISHED, ""),
        (3, ("failed", "exit 3"), ""),
        (-1, ("failed", "exit 255"), ""),
        ("bad data", ("failed", "exit 1"), "bad data\n"),
    ],
)
def test_sys_exit_means_what_it_means_in_a_script(make_sweep, outcomes, log_of, code, state, logged):
    sweep = make_sweep((1,))

    slurmsweep.agent(sweep, lambda: sys.exit(code))

    assert outcomes(sweep) == {0: state}
    assert log_of(sweep) == logged


def test_a_function_that_only_makes_a_coroutine_fails(make_sweep, outcomes, log_of):
    async def train():
        """Never awaited."""

    sweep = make_sweep((1,))
    with pytest.warns(RuntimeWarning, match="never awaited"):
        slurmsweep.agent(sweep, train)

    assert outcomes(sweep) == {0: ("failed", "exit 1")}
    assert "asynchronous" in log_of(sweep)


def test_what_is_printed_reaches_the_terminal_and_the_log_of_its_own_trial(make_sweep, log_of, capfd):
    logger = logging.getLogger("made before the agent")
    logger.addHandler(logging.StreamHandler(sys.stderr))

    def chatter():
        x = slurmsweep.init().config.x
        print("größe", x)
        sys.stderr.writelines([f"err {x}\n"])
        logger.warning("logged %s", x)

    sweep = make_sweep((1, 2))
    slurmsweep.agent(sweep, chatter)
    print("afterwards")

    out, err = capfd.readouterr()
    assert log_of(sweep, 0) == "größe 1\nerr 1\nlogged 1\n"
    assert log_of(sweep, 1) == "größe 2\nerr 2\nlogged 2\n"
    assert [line for line in out.splitlines() if "größe" in line] == ["größe 1", "größe 2"]
    assert [line for line in err.splitlines() if "err" in line] == ["err 1", "err 2"]


def test_a_stream_is_left_as_it_was_unless_somebody_else_holds_our_write(tmp_path):
    with open(tmp_path / "stream", "w") as stream, open(tmp_path / "log", "wb") as log:
        copier = console._copier(stream)
        copier.log = log.fileno()
        held = stream.write

        def wrapped(text):
            return held(text)

        stream.write = wrapped  # as wandb does when it is imported
        stream.write("first\n")
        copier.log = None
        again = console._copier(stream)
        stream.write("second\n")

    assert again is copier
    assert stream.write is wrapped
    assert (tmp_path / "stream").read_text() == "first\nsecond\n"
    assert (tmp_path / "log").read_text() == "first\n"


def test_ctrl_c_ends_the_agent_with_the_trial_recorded_and_the_next_agent_goes_on(make_sweep, outcomes, log_of):
    sweep = make_sweep()

    slurmsweep.agent(sweep, lambda: os.kill(os.getpid(), signal.SIGINT) or time.sleep(60))
    interrupted = outcomes(sweep)
    slurmsweep.agent(sweep, train)

    assert interrupted == {0: ("killed", "interrupted")}
    assert log_of(sweep).endswith("KeyboardInterrupt\n")
    assert outcomes(sweep) == interrupted | {1: FINISHED, 2: FINISHED}


def test_ctrl_c_between_two_steps_waits_for_the_function_and_a_second_one_does_not():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.pending is signal.SIGINT
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            pytest.fail("the function would have been called")
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_ends_trial_and_program_with_both_recorded(make_sweep, outcomes, log_of, python):
    sweep = make_sweep()
    process = python(SLEEPING, sweep)
    assert process.stdout.readline() == "ready\n"

    process.terminate()

    assert process.wait(120) == 143
    assert outcomes(sweep) == {0: ("killed", "terminated")}
    assert [run.metric for run in slurmsweep.Api().sweep(sweep).runs] == [0.5]
    assert log_of(sweep).splitlines()[-1].endswith("Terminated")


def test_a_functions_own_handler_hears_sigterm_and_no_further_trial_begins(make_sweep, outcomes, log_of):
    def save(number, _frame):
        print("saved")
        sys.exit(128 + number)

    def train():
        signal.signal(signal.SIGTERM, save)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    sweep = make_sweep()
    try:
        with pytest.raises(SystemExit, match="143"):
            slurmsweep.agent(sweep, train)
        assert signal.getsignal(signal.SIGTERM) is save
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    assert outcomes(sweep) == {0: ("killed", "terminated")}
    assert log_of(sweep) == "saved\n"


def test_cancel_ends_the_trial_of_a_function_too(make_sweep, outcomes, python, slurmsweep):
    sweep = make_sweep()
    process = python(SLEEPING, sweep)
    assert process.stdout.readline() == "ready\n"

    assert slurmsweep("cancel", sweep).returncode == 0

    assert process.wait(120) == 143
    assert outcomes(sweep) == {0: ("killed", "terminated")}


def test_an_agent_in_another_thread_works_too(make_sweep, outcomes):
    sweep = make_sweep((1, 2))

    thread = threading.Thread(target=slurmsweep.agent, args=(sweep, train))
    thread.start()
    thread.join()

    assert outcomes(sweep) == {0: FINISHED, 1: FINISHED}


def test_three_failures_at_the_start_end_the_agent_as_in_wandb(make_sweep, outcomes, capfd):
    sweep = make_sweep(range(8))

    slurmsweep.agent(sweep, lambda: 1 / 0)

    assert list(outcomes(sweep)) == [0, 1, 2]
    assert "no further trials: 3 trials failed in the first 60 seconds" in capfd.readouterr().err


def test_without_that_rule_six_failures_and_nothing_else_end_it(make_sweep, outcomes, monkeypatch, capfd):
    monkeypatch.setenv("WANDB_AGENT_DISABLE_FLAPPING", "true")
    sweep = make_sweep(range(8))

    slurmsweep.agent(sweep, lambda: 1 / 0)

    assert list(outcomes(sweep)) == [0, 1, 2, 3, 4, 5]
    assert "the first 6 trials all failed (WANDB_AGENT_MAX_INITIAL_FAILURES=5" in capfd.readouterr().err


def test_a_paused_sweep_gives_no_trial(make_sweep, outcomes, slurmsweep, capfd):
    import slurmsweep as wandb

    sweep = make_sweep()
    assert slurmsweep("pause", sweep).returncode == 0

    wandb.agent(sweep, train)

    assert outcomes(sweep) == {}
    assert "nothing left to do: the sweep is paused" in capfd.readouterr().err


def test_a_run_left_open_is_finished_with_its_summary(make_sweep, tmp_path):
    sweep = make_sweep((7,))

    slurmsweep.agent(sweep, train)

    history = tmp_path / "wandb" / f"sweep-{sweep}" / "trials" / "0" / "0" / "1" / "history.jsonl"
    assert json.loads(history.read_text().splitlines()[-1])["_summary"] == {"loss": 14}
    assert slurmsweep.run is None


def test_without_a_function_the_sweeps_program_runs_as_a_process(make_sweep, outcomes, log_of, tmp_path):
    (tmp_path / "train.py").write_text("import os, sys; print(sys.argv[1], os.environ['WANDB_PROJECT'])")
    sweep = make_sweep((1, 2), program="train.py")

    slurmsweep.agent(sweep, project="p")

    assert outcomes(sweep) == {0: FINISHED, 1: FINISHED}
    assert log_of(sweep, 1) == "--x=2 p\n"


def test_without_a_function_and_without_a_program_nothing_is_claimed(make_sweep, outcomes):
    sweep = make_sweep()

    with pytest.raises(UsageError, match="has no program"):
        slurmsweep.agent(sweep)

    assert outcomes(sweep) == {}


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"function": "train"}, "cannot be called"),
        ({"function": train, "count": 0}, "count=0"),
        ({"function": train, "count": True}, "count=True"),
        ({"function": train, "max_consecutive_failed_runs": 0}, "max_consecutive_failed_runs=0"),
        ({"max_consecutive_failed_runs": 1}, "max_consecutive_failed_runs"),
    ],
)
def test_wrong_arguments_are_refused_before_a_trial_is_claimed(make_sweep, outcomes, named, words):
    sweep = make_sweep()

    with pytest.raises(UsageError, match=words):
        slurmsweep.agent(sweep, **named)

    assert outcomes(sweep) == {}


@pytest.mark.parametrize(
    ("sweep", "error"), [("abcd1234", NotFoundError), ("e/p/", UsageError), (7, UsageError), ("/tmp", NotFoundError)]
)
def test_a_sweep_that_is_none_is_said_so(sweep, error):
    with pytest.raises(error):
        slurmsweep.agent(sweep, train)


def test_an_agent_inside_an_agents_function_is_refused(make_sweep, outcomes, log_of):
    sweep, inner = make_sweep((1,)), make_sweep((1,))

    slurmsweep.agent(sweep, lambda: slurmsweep.agent(inner, train))

    assert outcomes(sweep) == {0: ("failed", "exit 1")}
    assert "an agent is at work in this process already" in log_of(sweep)
    assert outcomes(inner) == {}


SLEEPING = """
import sys, time
import slurmsweep
def train():
    slurmsweep.init()
    slurmsweep.log({"loss": 0.5})
    print("ready", flush=True)
    time.sleep(600)
slurmsweep.agent(sys.argv[1], function=train)
"""


def test_a_process_killed_by_sigkill_leaves_a_trial_that_reconcile_finds_with_log_and_metric(
    make_sweep, outcomes, log_of, python, slurmsweep
):
    sweep = make_sweep()
    process = python(SLEEPING, sweep)
    assert process.stdout.readline() == "ready\n"
    running = slurmsweep("reconcile", sweep, "--dry-run", "--json").stdout
    process.kill()
    process.wait()

    assert slurmsweep("reconcile", sweep).returncode == 0

    [trial] = SweepStore.open(sweep).replay().trials.values()
    assert json.loads(running)["ended"] == []
    assert outcomes(sweep) == {0: ("crashed", "lost")}
    assert trial.current.outcome.metric == 0.5
    assert log_of(sweep) == "ready\n"
    assert slurmsweep("delete", sweep, "--state", "crashed").returncode == 0


TAKING_TURNS = """
import os, sys
import slurmsweep
def train():
    with open("ran", "a") as file:
        file.write(f"{slurmsweep.init().config.x} {os.getpid()}\\n")
    for _ in range(2000):
        os.getpid()
slurmsweep.agent(sys.argv[1], function=train)
"""


def test_agents_in_several_processes_never_run_the_same_trial(make_sweep, outcomes, python, slurmsweep, tmp_path):
    sweep = make_sweep(range(30))

    agents = [python(TAKING_TURNS, sweep) for _ in range(3)]
    for agent in agents:
        assert agent.wait(120) == 0, agent.stderr.read()

    ran = [line.split()[0] for line in (tmp_path / "ran").read_text().splitlines()]
    assert sorted(map(int, ran)) == list(range(30))
    assert outcomes(sweep) == dict.fromkeys(range(30), FINISHED)
    assert slurmsweep("check", sweep).returncode == 0


REAL_WANDB = """
import json, os, sys
import slurmsweep
import wandb
seen = []
def train():
    run = wandb.init(config={"x": -1, "other": 5})
    seen.append((run.id, dict(run.config)))
    print("printed by", run.id)
    wandb.log({"loss": run.config.x * 10})
    if run.config.x == 3:
        raise ValueError("the last one fails")
slurmsweep.agent(sys.argv[1], function=train)
print(json.dumps([seen, wandb.run is None, "WANDB_RUN_ID" in os.environ]))
"""


def test_the_real_wandb_begins_a_run_of_its_own_in_every_trial(make_sweep, outcomes, log_of, python):
    from slurmsweep.metrics.reported import read_summary
    from slurmsweep.metrics.run_file import read
    from slurmsweep.state.tail import AttemptId

    sweep = make_sweep()
    process = python(REAL_WANDB, sweep)
    out, err = process.communicate(timeout=240)

    assert process.returncode == 0, err
    seen, run_is_gone, id_is_left = json.loads(out.splitlines()[-1])
    layout = SweepStore.open(sweep).layout
    files = [next(iter(run.rglob("*.wandb"))) for run in map(_runs_folder, [layout] * 3, range(3))]
    assert seen == [[f"{sweep}-{n}", {"x": n + 1, "other": 5}] for n in range(3)]
    assert run_is_gone
    assert not id_is_left
    assert outcomes(sweep) == {0: FINISHED, 1: FINISHED, 2: ("failed", "exit 1")}
    assert [read(str(file)).exit_code for file in files] == [0, 0, 1]
    assert [run.metric for run in slurmsweep.Api().sweep(sweep).runs] == [10, 20, 30]
    assert read_summary(layout, AttemptId(1, 1))["loss"] == 20
    assert [f"printed by {sweep}-{n}" in log_of(sweep, n) for n in range(3)] == [True] * 3
    assert f"printed by {sweep}-0" not in log_of(sweep, 1)


def _runs_folder(layout, trial):
    from pathlib import Path

    return Path(layout.runs(trial))


DOCUMENTED = """
import slurmsweep as wandb

def objective(config):
    score = config.x**3 + config.y
    return score

def main():
    with wandb.init(project="my-first-sweep") as run:
        score = objective(run.config)
        run.log({"score": score})

sweep_configuration = {
    "method": "random",
    "metric": {"goal": "minimize", "name": "score"},
    "parameters": {
        "x": {"max": 0.1, "min": 0.01},
        "y": {"values": [1, 3, 7]},
    },
}
sweep_id = wandb.sweep(sweep=sweep_configuration, project="my-first-sweep")
wandb.agent(sweep_id, function=main, count=10)
best = wandb.Api().sweep(f"me/my-first-sweep/{sweep_id}").best_run()
print(best.summary["score"] == best.config["x"] ** 3 + best.config["y"] == best.metric)
"""


def test_the_first_example_of_wandbs_documentation_runs_as_it_stands(python, outcomes):
    out, err = python(DOCUMENTED).communicate(timeout=120)

    created, true = out.splitlines()
    assert true == "True", err
    assert outcomes(created.removeprefix("Create sweep with ID: ")) == dict.fromkeys(range(10), FINISHED)


SHADOWS = """
import sys
import slurmsweep as wandb
ran = []
before = wandb.agent
before(sys.argv[1], function=lambda: ran.append(wandb.init().config.x), count=1)
import slurmsweep.agents.child, slurmsweep.agents.agent, slurmsweep.api.function_agent
from slurmsweep import agent
wandb.agent(sys.argv[1], function=lambda: ran.append(wandb.init().config.x), count=1)
agent(sys.argv[1], function=lambda: ran.append(wandb.init().config.x), count=1)
print(ran)
"""


def test_agent_can_be_called_before_and_after_its_package_was_imported(make_sweep, python):
    process = python(SHADOWS, make_sweep())
    out, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    assert out == "[1, 2, 3]\n"


def test_type_checkers_know_the_function_and_not_the_package(repository, tmp_path):
    (tmp_path / "program.py").write_text(
        "import slurmsweep.agents.child\n"
        "import slurmsweep as wandb\n"
        "sweep_id: str = wandb.sweep({'method': 'grid'})\n"
        "wandb.agent(sweep_id, function=print, count=1)\n"
        "wandb.agent(sweep_id, count='one')\n"
        "count: int | None = wandb.Api().sweep(sweep_id).expected_run_count\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file=", "--cache-dir", str(tmp_path / "cache"), "program.py"]
    done = subprocess.run(
        [*command, "--follow-imports=silent", "--ignore-missing-imports"],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(repository)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert [line.split(": error")[0] for line in done.stdout.splitlines() if "error:" in line] == ["program.py:5"]


def _into_results():
    os.makedirs("results", exist_ok=True)
    os.chdir("results")


def _into_a_folder_that_is_then_removed():
    os.mkdir("scratch")
    os.chdir("scratch")
    os.rmdir(os.getcwd())


def _up_and_then_an_error():
    os.chdir("/")
    raise SystemExit(3)


def _as_a_script_with_arguments():
    os.umask(0o777)
    sys.argv[1:] = ["--lr", "1"]
    sys.argv = ["other.py"]


@pytest.mark.parametrize(
    "change",
    [_into_results, _into_a_folder_that_is_then_removed, _up_and_then_an_error, _as_a_script_with_arguments],
)
def test_folder_umask_and_arguments_are_put_back_after_each_trial(make_sweep, outcomes, tmp_path, change):
    def seen() -> tuple[str, int, list[str]]:
        umask = os.umask(0o022)
        os.umask(umask)
        return os.getcwd(), umask, list(sys.argv)

    starts, before = [], seen()

    def function():
        starts.append(seen())
        change()

    sweep = make_sweep((1, 2))
    slurmsweep.agent(sweep, function)

    assert starts == [before, before]
    assert seen() == before
    assert len(outcomes(sweep)) == 2


def test_a_program_finds_the_sweeps_it_made_from_every_folder(make_sweep, tmp_path, monkeypatch):
    sweep, other = make_sweep((1, 2)), make_sweep((5,))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    slurmsweep.agent(f"team/digits/{sweep}", train, count=1)

    assert slurmsweep.Api().sweep(sweep).runs[0].id == f"{sweep}-0"
    assert slurmsweep.Api().run(f"{sweep}-0").metric == 2
    assert slurmsweep.Sweep(other).status()["counts"]["pending"] == 1
    assert (
        slurmsweep.sweep({"method": "grid", "parameters": {"x": {"values": [1, 9]}}}, prior_runs=[f"{sweep}-0"])
        in os.listdir(tmp_path / "elsewhere" / "wandb")[0]
    )


def test_a_program_finds_a_sweep_that_it_opened_by_its_folder(make_sweep, tmp_path, monkeypatch):
    sweep = make_sweep((1,))
    from slurmsweep.api import naming

    monkeypatch.setattr(naming, "_known", {})
    slurmsweep.Api().sweep(os.path.join("wandb", f"sweep-{sweep}"))
    monkeypatch.chdir("/")

    assert slurmsweep.Sweep(sweep).id == sweep
    naming._known.clear()
    with pytest.raises(NotFoundError):
        slurmsweep.Sweep(sweep)


def test_a_function_is_not_called_where_a_computed_parameter_has_no_value(outcomes, monkeypatch):
    monkeypatch.setenv("WANDB_AGENT_DISABLE_FLAPPING", "true")
    called = []
    space = {"x": {"min": 0.0, "max": 1.0}, "kind": {"values": ["a", "b"]}, "y": {"values": [1, 2]}}
    ours = {"computed": {"z": "log(x - 0.5)"}, "conditions": {"y": {"kind": "a"}}}
    config = {"method": "random", "run_cap": 8, "parameters": space, "slurmsweep": ours}
    sweep = slurmsweep.sweep(config)

    slurmsweep.agent(sweep, lambda: called.append(dict(slurmsweep.init().config)))

    assert all(("y" in point) == (point["kind"] == "a") for point in called)
    assert all(point["x"] > 0.5 and "z" in point for point in called)
    states = [state for state, _ in outcomes(sweep).values()]
    assert (states.count("finished"), len(states)) == (len(called), 8)
    assert 0 < len(called) < 8
