"""The end of a sweep by its target or its number of trials: what commands do then, and which jobs are cancelled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_backend import FakeBackend
from submitting import on_backend

import slurmsweep as package
from slurmsweep.agents.slurm_requests import cancel_waiting, requeue
from slurmsweep.api.sweep import Sweep
from slurmsweep.backends import registry
from slurmsweep.backends.keys import JobRef
from slurmsweep.control.jobs import orders
from slurmsweep.control.round.events import Reconciled
from slurmsweep.control.round.reconcile import reconcile
from slurmsweep.control.round.retry_policy import RetryPolicy
from slurmsweep.control.session import Session
from slurmsweep.errors import SchedulerUnavailableError, UsageError
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import SweepStore
from slurmsweep.state.supervisor_files import SupervisorFiles, SupervisorSettings
from slurmsweep.supervisor import rounds
from slurmsweep.sweepfile.config import check

METRIC = {"name": "loss", "target": 0.1}
REACHED = Outcome(TrialState.FINISHED, exit_code=0, metric=0.05, ended=1.0)
FAILED = Outcome(TrialState.FAILED, "exit 3", exit_code=3, ended=1.0)
WORDS = "the sweep is finished: trial {} reached the target (loss {} <= {})"


@pytest.fixture
def store(tmp_path):
    content = {"method": "random", "program": "train.py", "run_cap": 20, "metric": METRIC}
    config = check({**content, "parameters": {"x": {"min": 0.0, "max": 1.0}}}, "test").config
    (tmp_path / "train.py").touch()
    return SweepStore.create(str(tmp_path), Manifest("abcd1234", config, 20, str(tmp_path), "test.yaml", 0.0, "0"))


@pytest.fixture
def backend():
    return FakeBackend()


def sweep_of(store, backend, told=None) -> Sweep:
    return Sweep(on_backend(store, backend), tell=(lambda event: None) if told is None else told.append)


def start(store, backend, job, tasks):
    backend.start(job, tasks)
    return [store.claim(Owner("n1", 1, 1, "b", node="n1", job=job, task=task)) for task in tasks]


def alive(backend) -> list[str]:
    return [str(ref) for ref, status in backend.tasks.items() if status.alive]


def test_reconciling_cancels_jobs_that_wait_and_leaves_alone_what_runs_or_goes_on(store, backend):
    sweep_of(store, backend).submit()
    [job] = backend.arrays
    claims = start(store, backend, job, range(4))
    backend.tasks[JobRef(job, 0)] = backend.tasks[JobRef(job, 19)]  # put back with its trial
    store.finish(claims[2], REACHED)
    backend.end(job, tasks=[2])

    told: list = []
    done = sweep_of(store, backend, told).run(wait=False)

    assert done.plan.nothing == f"{WORDS.format(2, 0.05, 0.1)}; `slurmsweep resume` lifts that"
    assert [event.result.cancelled for event in told if isinstance(event, Reconciled)] == [(f"{job}_[4-19]",)]
    assert alive(backend) == [f"{job}_0", f"{job}_1", f"{job}_3"]
    assert reconcile(on_backend(store, backend)).cancelled == ()


def test_jobs_of_a_users_own_script_are_left_alone(store, backend):
    sweep_of(store, backend).submit(count=2)
    [job] = backend.arrays
    backend.tasks |= {JobRef("9", task): backend.tasks[JobRef(job, 0)] for task in range(3)}
    [claim] = start(store, backend, "9", [0])
    [other] = start(store, backend, "9", [1])
    store.finish(claim, REACHED)
    backend.end("9", tasks=[0])

    reconcile(on_backend(store, backend))

    assert alive(backend) == ["9_1", "9_2"]
    assert other.attempt_id.trial == 1


def test_a_dry_run_cancels_nothing(store, backend, monkeypatch):
    sweep_of(store, backend).submit()
    store.finish(start(store, backend, backend.arrays[0], [0])[0], REACHED)
    monkeypatch.setattr(registry, "scheduler", lambda: backend)
    monkeypatch.setattr(registry, "choose", lambda *_, **__: backend)

    done = Sweep(Session(store), tell=lambda event: None).run(dry_run=True, wait=False)

    assert done.plan.nothing.startswith(WORDS.format(0, 0.05, 0.1))
    assert len(alive(backend)) == 20


def test_a_scheduler_that_does_not_answer_the_order_hinders_nothing(store, backend, monkeypatch):
    sweep_of(store, backend).submit()
    store.finish(start(store, backend, backend.arrays[0], [0])[0], REACHED)

    def refuse(targets, *, only_waiting=False):
        raise SchedulerUnavailableError(f"scancel {targets} {only_waiting}: no answer")

    monkeypatch.setattr(backend, "cancel", refuse)

    assert reconcile(on_backend(store, backend)).cancelled == ()
    assert len(alive(backend)) == 20


def test_no_command_but_resume_starts_trials_again(store, backend):
    store.finish(store.claim(Owner("n1", 1, 1, "b")), FAILED)
    store.finish(store.claim(Owner("n1", 1, 1, "b")), REACHED)
    sweep = sweep_of(store, backend)

    for again in (sweep.run(wait=False), sweep.resubmit(), sweep.resubmit(RetryPolicy(trials=frozenset({0})))):
        assert again.plan.nothing.startswith(WORDS.format(1, 0.05, 0.1))
    with pytest.raises(UsageError, match=r"trial 1 reached the target \(loss 0.05 <= 0.1\): `slurmsweep resume"):
        sweep.submit()
    for order in (sweep.pause, sweep.stop):
        with pytest.raises(UsageError, match="is finished: trial 1 reached the target"):
            order()
    assert backend.arrays == []

    assert sweep.resume().without_job == 18
    assert sweep.resubmit().submitted.trials == 19


def test_a_target_reached_while_jobs_are_handed_over_is_not_lifted(store, backend, monkeypatch):
    running = store.claim(Owner("n1", 1, 1, "b"))
    orders.pause(on_backend(store, backend))
    submit = backend.submit

    def reach_first(request, part, **kwargs):
        store.finish(running, REACHED)
        return submit(request, part, **kwargs)

    monkeypatch.setattr(backend, "submit", reach_first)

    done = sweep_of(store, backend).run(wait=False)

    assert (done.submitted.trials, backend.arrays) == (0, [])
    assert store.replay().reached.trial == 0


def test_waiting_ends_when_the_last_one_that_runs_has_ended_and_cancels_the_rest(store, backend):
    def begin():
        claims.extend(start(store, backend, backend.arrays[0], range(3)))

    def reach():
        store.finish(claims[1], REACHED)
        backend.end(backend.arrays[0], tasks=[1])

    def finish():
        waiting.append(len(alive(backend)))
        for task in (0, 2):
            store.finish(claims[task], REACHED)
            backend.end(backend.arrays[0], tasks=[task])

    claims: list = []
    waiting: list[int] = []
    backend.meanwhile = [begin, reach, finish]

    sweep_of(store, backend).run()

    assert waiting == [2]
    assert alive(backend) == []
    assert store.replay().counts() == {TrialState.FINISHED: 3}


def test_a_round_cancels_what_waits_retries_nothing_and_is_the_last_one_when_nothing_runs(store, backend, monkeypatch):
    settings = SupervisorSettings()
    sweep_of(store, backend).submit(supervisor=settings, count=6)
    [job] = backend.arrays
    claims = start(store, backend, job, range(3))
    store.finish(claims[0], FAILED)
    store.finish(claims[1], REACHED)
    backend.end(job, "FAILED", tasks=[0], code=3)
    backend.end(job, tasks=[1])
    said: list[str] = []

    first = rounds.mend(on_backend(store, backend), settings, said.append)

    assert f"cancelled, because no trial is left for them: jobs {job}_[3-5]" in said
    assert (first.is_over, alive(backend), backend.arrays) == (False, [f"{job}_2"], [job])

    store.finish(claims[2], Outcome(TrialState.FINISHED, exit_code=0, metric=7.0, ended=1.0))
    backend.end(job, tasks=[2])
    last = rounds.mend(on_backend(store, backend), settings, said.append)

    assert last.is_over
    assert backend.waiting() == {}
    report = SupervisorFiles(store.layout, store.access)
    assert report.has_report()
    text = Path(store.layout.report_text).read_text()
    assert text.startswith("sweep abcd1234: finished: trial 1 reached the target (loss 0.05 <= 0.1)")


def test_a_supervisor_is_not_begun_for_a_sweep_that_has_reached_its_target(store, backend):
    store.finish(store.claim(Owner("n1", 1, 1, "b")), REACHED)

    done = sweep_of(store, backend).run(wait=False, supervisor=SupervisorSettings())

    assert (done.has_supervisor, backend.later) == (False, {})


# run_cap


def test_no_more_jobs_are_submitted_than_run_cap_leaves(store, backend):
    claims = [store.claim(Owner("n1", 1, 1, "b")) for _ in range(15)]
    assert len(claims) == 15

    done = sweep_of(store, backend).submit(count=50)

    assert done.submitted.trials == 5
    assert len(backend.tasks) == 5


def test_jobs_that_wait_for_more_trials_than_run_cap_has_are_cancelled(store, backend):
    sweep_of(store, backend).submit()
    elsewhere = [store.claim(Owner("n2", 1, 1, "b")) for _ in range(18)]
    [job] = backend.arrays
    start(store, backend, job, range(2))
    assert len(elsewhere) == 18

    done = reconcile(on_backend(store, backend))

    assert done.cancelled == (f"{job}_[2-19]",)
    assert alive(backend) == [f"{job}_0", f"{job}_1"]


def test_jobs_that_wait_for_trials_which_are_left_stay(store, backend):
    sweep_of(store, backend).submit()
    elsewhere = [store.claim(Owner("n2", 1, 1, "b")) for _ in range(19)]

    assert reconcile(on_backend(store, backend)).cancelled == ()
    assert len(alive(backend)) == len(elsewhere) + 1


# The agent's own request


@pytest.fixture
def played(tmp_path, monkeypatch):
    """Put squeue and scancel on the PATH: the one answers with the lines that are given, both note what they are asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("squeue", "scancel"):
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n')
        (folder / name).chmod(0o755)
    with open(folder / "squeue", "a", encoding="utf-8") as file:
        file.write(f"cat {folder}/queue\n")
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def queue(*lines: str) -> Path:
        (folder / "queue").write_text("".join(f"{line}\n" for line in lines))
        return folder / "calls"

    return queue


def documents(folder: Path, *names: str) -> str:
    folder.mkdir()
    for name in names:
        (folder / f"{name}.json").touch()
    return str(folder)


def test_an_agent_cancels_what_never_started_of_the_submissions_of_its_sweep(played, tmp_path):
    folder = documents(tmp_path / "submissions", "slurmsweep-abcd1234-01", "slurmsweep-abcd1234-02")
    calls = played(
        "101|4|0|slurmsweep-abcd1234-01",
        "101|5|0|slurmsweep-abcd1234-01",
        "101|6|1|slurmsweep-abcd1234-01",
        "101|9|0|slurmsweep-abcd1234-01",
        "102|N/A|0|slurmsweep-abcd1234-02",
        "103|0|0|slurmsweep-another-01",
    )

    assert cancel_waiting(folder) == "waiting jobs cancelled: 101_[4-5,9], 102"

    asked, cancelled = calls.read_text().splitlines()
    assert "--name=slurmsweep-abcd1234-01,slurmsweep-abcd1234-02" in asked
    assert cancelled == "scancel --state=PENDING 101_[4-5,9] 102"


def test_an_agent_with_nothing_to_cancel_calls_no_scancel(played, tmp_path):
    calls = played()
    folder = documents(tmp_path / "submissions", "slurmsweep-abcd1234-01")

    assert cancel_waiting(folder) == "waiting jobs cancelled: none"
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["squeue"]
    assert cancel_waiting(str(tmp_path / "none")) == "no jobs were submitted for the sweep"


def test_a_node_without_slurms_programs_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = documents(tmp_path / "submissions", "slurmsweep-abcd1234-01")

    words = cancel_waiting(folder)

    assert words == "waiting jobs will start and find nothing to do: there is no squeue on this node"


@pytest.mark.parametrize("count", [1, 5000])
def test_a_call_that_the_system_refuses_is_said_and_ends_no_agent(tmp_path, monkeypatch, count):
    for name in ("squeue", "scontrol"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755 if count > 1 else 0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = documents(tmp_path / "submissions", *(f"slurmsweep-abcd1234-{number:032}" for number in range(count)))
    why = "Argument list too long" if count > 1 else "Permission denied"

    assert cancel_waiting(folder) == f"waiting jobs will start and find nothing to do: squeue cannot be run: {why}"
    assert requeue("1" * 10**6 if count > 1 else "7") == f"scontrol cannot be run: {why}"


def test_slurms_own_words_are_said_where_it_refuses(tmp_path, monkeypatch):
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact' >&2; exit 1\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    folder = documents(tmp_path / "submissions", "slurmsweep-abcd1234-01")

    assert cancel_waiting(folder).endswith("find nothing to do: squeue: slurm_load_jobs error: Unable to contact")


# Whole runs on this machine

#: The third of eight reaches the target once all eight run; the others end when that is in the journal.
EIGHT = """
import glob, os, time, slurmsweep
run = slurmsweep.init()
trial = int(os.environ["WANDB_RUN_ID"].rpartition("-")[2])
open(f"began-{trial}", "w").close()
deadline = time.monotonic() + 100
[journal] = glob.glob("wandb/sweep-*/journal.log")
if trial == 2:
    while len(glob.glob("began-*")) < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
else:
    while b'"reached":' not in open(journal, "rb").read() and time.monotonic() < deadline:
        time.sleep(0.02)
run.log({"acc": 0.95 if trial == 2 else 0.1})
run.finish()
open(f"ended-{trial}", "w").close()
"""


@pytest.mark.parametrize("method", ["grid", "random"])
def test_of_eight_at_a_time_those_that_run_go_on_and_no_new_one_starts(slurmsweep, write_sweep, tmp_path, method):
    parameters = "  x: {min: 1, max: 40}" if method == "grid" else "  x: {min: 0.0, max: 1.0}"
    metric = "metric: {name: acc, goal: maximize, target: 0.9}\nrun_cap: 40"

    done = slurmsweep("run", str(write_sweep(EIGHT, parameters, metric, method)), "--backend", "local", "--jobs", "8")

    assert done.returncode == 0, done.stderr
    assert sorted(int(path.name[6:]) for path in tmp_path.glob("began-*")) == list(range(8))
    assert len(list(tmp_path.glob("ended-*"))) == 8
    assert "finished: trial 2 reached the target (acc 0.95 >= 0.9)" in done.stdout
    [sweep] = [path.name.removeprefix("sweep-") for path in (tmp_path / "wandb").iterdir()]
    status = json.loads(slurmsweep("status", sweep, "--json").stdout)
    assert (status["state"], status["target_reached"]) == ("finished", {"trial": 2, "value": 0.95})
    assert {state: n for state, n in status["counts"].items() if n} == {"finished": 8, "pending": 32}
    assert "trial 2 reached the target" in slurmsweep("trials", sweep).stderr
    again = slurmsweep("run", sweep, "--backend", "local")
    assert (again.returncode, "nothing to start: the sweep is finished: trial 2 reached" in again.stderr) == (0, True)
    assert slurmsweep("check", sweep).returncode == 0


LOGS = "import slurmsweep\nrun = slurmsweep.init()\nrun.log({'a': run.config['x'], 'b': 1})\n"


def test_a_computed_metric_has_a_target_too(slurmsweep, write_sweep, tmp_path):
    extra = "metric: {name: total, goal: maximize, target: 4}\nslurmsweep: {metric: {expression: 2*a + b}}"

    done = slurmsweep("run", str(write_sweep(LOGS, "  x: {values: [1, 2, 3]}", extra)), "--backend", "local")

    assert done.returncode == 0, done.stderr
    assert "finished: trial 1 reached the target (total 5 >= 4)" in done.stdout


def test_the_summary_that_a_script_chose_is_what_reaches_it(slurmsweep, write_sweep):
    script = (
        "import slurmsweep\nrun = slurmsweep.init()\nrun.define_metric('loss', summary='min')\n"
        "for value in (5, run.config['x'], 9):\n    run.log({'loss': value})\n"
    )
    extra = "metric: {name: loss, target: 2}"

    done = slurmsweep("run", str(write_sweep(script, "  x: {values: [3, 2, 1]}", extra)), "--backend", "local")

    assert "finished: trial 1 reached the target (loss 2 <= 2)" in done.stdout


def test_functions_end_by_a_target_and_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sweep = package.sweep({"method": "grid", "metric": METRIC, "parameters": {"x": {"values": [3, 2, 0.1, 0.05, 7]}}})
    ran = []

    def train() -> None:
        with package.init() as run:
            ran.append(run.config["x"])
            run.log({"loss": run.config["x"]})

    package.agent(sweep, function=train)

    assert ran == [3, 2, 0.1]
    said = capsys.readouterr().err
    assert f"{WORDS.format(2, 0.1, 0.1)}: no new trials" in said
    assert f"nothing left to do: {WORDS.format(2, 0.1, 0.1)}" in said


def test_an_agent_killed_after_it_wrote_the_outcome_ends_the_sweep_by_the_next_command(
    slurmsweep, write_sweep, tmp_path
):
    script = "import slurmsweep\nrun = slurmsweep.init()\nrun.log({'loss': 0})\n"
    sweep = slurmsweep("create", str(write_sweep(script, extra="metric: {name: loss, target: 0.1}"))).stdout.strip()
    code = (
        "import os, signal, sys\n"
        "from slurmsweep.state.store import SweepStore\n"
        "write = SweepStore.write_outcome\n"
        "def write_and_die(*args):\n"
        "    write(*args)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "SweepStore.write_outcome = write_and_die\n"
        "from slurmsweep.cli.main import main\n"
        "main(['agent', sys.argv[1]])\n"
    )
    died = subprocess.run([sys.executable, "-c", code, sweep], cwd=tmp_path, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL
    store = SweepStore.open(str(next((tmp_path / "wandb").iterdir())))
    assert (store.replay().word, store.replay().counts()) == (None, {TrialState.RUNNING: 1})

    done = slurmsweep("resubmit", sweep, "--backend", "local")

    assert "nothing to start: the sweep is finished: trial 0 reached the target (loss 0 <= 0.1)" in done.stderr
    assert store.replay().counts() == {TrialState.FINISHED: 1}


def test_points_known_from_another_sweep_count_and_that_is_said(slurmsweep, write_sweep):
    script = "import slurmsweep\nrun = slurmsweep.init()\nrun.log({'loss': run.config['x']})\n"
    first = slurmsweep(
        "create", str(write_sweep(script, "  x: {values: [1, 2]}", "metric: {name: loss}"))
    ).stdout.strip()
    slurmsweep("run", first, "--backend", "local")
    file = write_sweep(script, "  x: {values: [1, 2, 3]}", "metric: {name: loss, target: 1}")

    done = slurmsweep("create", str(file), "--prior", first)

    sweep = done.stdout.strip()
    assert f"sweep {sweep} is finished: trial 0 reached the target (loss 1 <= 1), as it was run before." in done.stderr
    assert "nothing to start" in slurmsweep("run", sweep, "--backend", "local").stderr
    slurmsweep("resume", sweep)
    assert "3 finished" in slurmsweep("run", sweep, "--backend", "local").stdout


def test_a_sweep_without_a_target_never_ends_by_one(make_store):
    store = make_store(3)
    store.finish(store.claim(Owner("n1", 1, 1, "b")), REACHED)

    assert (Session(store).view.word, Session(store).view.reached) == (None, None)
