"""``slurmsweep.Sweep``: a rehearsal plans what the same call then does, and leaves everything as it was."""

from __future__ import annotations

import os
import re

import pytest
from fake_backend import FakeBackend

import slurmsweep
from slurmsweep.api.summary import summary_now
from slurmsweep.backends import registry
from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm.waiting import explain
from slurmsweep.cli.launching import show_plan
from slurmsweep.control.creation.create import read_draft
from slurmsweep.control.round.events import Noticed, Planned, Progress
from slurmsweep.control.round.retry_policy import RetryPolicy
from slurmsweep.errors import UsageError
from slurmsweep.report.tables import status_text
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner

SCRIPT = "import slurmsweep\nrun = slurmsweep.init()\nrun.log({'loss': run.config.x})\n"


def tree(folder):
    """Every file with its bytes, every folder with none."""
    found = {}
    for place, folders, files in os.walk(folder):
        found |= {os.path.join(place, name): None for name in folders}
        for name in files:
            with open(os.path.join(place, name), "rb") as file:
                found[os.path.join(place, name)] = file.read()
    return found


@pytest.fixture
def scheduler(monkeypatch):
    """A scheduler in memory, which is the backend of every session."""
    backend = FakeBackend()
    monkeypatch.setattr(registry, "choose", lambda *_, **__: backend)
    monkeypatch.setattr(registry, "scheduler", lambda: backend)
    return backend


@pytest.fixture
def crashed(make_store):
    """A sweep of six trials: 0 finished, 1 crashed, 2 failed, and no job is left."""
    store = make_store(6)
    for number, (state, cause) in enumerate([("finished", ""), ("crashed", "node_fail"), ("failed", "exit 1")]):
        claim = store.claim(Owner("elsewhere", number, 1, "b"))
        store.finish(claim, Outcome(TrialState(state), cause, ended=1.0))
    return store


CALLS = pytest.mark.parametrize(
    ("call", "planned"),
    [
        (lambda sweep, **how: sweep.run(wait=False, **how), 4),
        # trial 1 was cut off: it is one of the two
        (lambda sweep, **how: sweep.run(count=2, wait=False, **how), 2),
        (lambda sweep, **how: sweep.submit(count=2, time="30", **how), 2),
        (lambda sweep, **how: sweep.submit(**how), 3),
        (lambda sweep, **how: sweep.resubmit(wait=False, **how), 5),
    ],
    ids=["run", "run-two", "submit-two", "submit", "resubmit"],
)


def test_a_local_sweep_runs_to_its_end(write_sweep):
    draft = read_draft(str(write_sweep(SCRIPT, extra="metric: {name: loss, goal: minimize}")))

    sweep = slurmsweep.Sweep.create(draft, backend="local")
    result = sweep.run()

    assert (result.waited, result.expected, result.submitted.trials) == (True, 3, 3)
    status = sweep.status()
    assert (status["state"], status["counts"]["finished"], status["best"]["metric"]) == ("finished", 3, 1.0)
    assert slurmsweep.Sweep(sweep.id).status() == status


@CALLS
def test_a_rehearsal_returns_the_plan_and_leaves_every_byte_as_it_was(crashed, scheduler, tmp_path, call, planned):
    before = tree(tmp_path)

    result = call(slurmsweep.Sweep(crashed.manifest.sweep_id), dry_run=True)

    assert result.plan.trials == planned
    assert (result.submitted.arrays, result.waited) == ((), False)
    assert tree(tmp_path) == before
    assert not scheduler.arrays


@CALLS
def test_what_a_rehearsal_plans_is_what_the_same_call_applies(crashed, scheduler, call, planned):
    rehearsed = call(slurmsweep.Sweep(crashed.manifest.sweep_id), dry_run=True).plan
    told = []
    result = call(slurmsweep.Sweep(crashed.manifest.sweep_id, tell=told.append))

    assert rehearsed.batches
    assert [event.plan.batches for event in told if isinstance(event, Planned)] == [rehearsed.batches]
    assert result.plan.batches == rehearsed.batches
    sent = [(request.trials, request.attempt_ids) for request in scheduler.requests.values()]
    assert sent == [(batch.trials, batch.attempt_ids) for batch in rehearsed.batches]
    assert result.submitted.trials == planned
    assert [array.job for array in result.submitted.arrays] == scheduler.arrays


def test_a_rehearsal_of_a_sweep_that_has_jobs_counts_them(crashed, scheduler):
    sweep = slurmsweep.Sweep(crashed.manifest.sweep_id)
    sweep.submit(count=2)

    assert sweep.submit(dry_run=True).plan.trials == 1
    assert len(scheduler.arrays) == 1


def test_a_rehearsal_says_by_its_exit_code_that_nothing_can_be_learnt_as_the_same_call_does(make_store, scheduler):
    store = make_store(6)
    for number in range(2):
        claim = store.claim(Owner("elsewhere", number, 1, "b"))
        store.finish(claim, Outcome(TrialState.FAILED, "exit 1", exit_code=1, seconds=1.0, ended=1.0))
    sweep = slurmsweep.Sweep(store.manifest.sweep_id)

    rehearsed, done = (sweep.run(wait=False, time="auto", dry_run=only) for only in (True, False))

    assert (rehearsed.is_stuck, rehearsed.plan.trials) == (done.is_stuck, done.plan.trials) == (True, 0)
    assert show_plan(sweep, rehearsed, as_json=True) == 1
    assert not scheduler.arrays


def test_the_rehearsal_of_a_sweep_file_writes_nothing(write_sweep, slurmsweep, tmp_path):
    file = str(write_sweep(SCRIPT))
    before = tree(tmp_path)

    done = slurmsweep("run", file, "--dry-run", "--json", "--backend", "local")

    assert done.returncode == 0, done.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("call", "arguments", "said"),
    [
        ("run", {"count": -1}, "count=-1: give a whole number, 1 or more"),
        ("run", {"count": 0}, "count=0"),
        ("run", {"count": "3"}, "count='3'"),
        ("run", {"count": 2.5}, "count=2.5"),
        ("run", {"width": 0}, "width=0"),
        ("run", {"wish": {"time": "3"}}, "a SubmitOptions, or options by name"),
        ("resubmit", {"retry": 3}, "a RetryPolicy says which"),
        ("run", {"nonsense": "x"}, "'nonsense' is not an option of sbatch"),
        ("run", {"backend": "local"}, "'backend' is not an argument of this call: write Sweep(id, backend=...)"),
        ("resubmit", {"states": "failed"}, "'states' is not an option of sbatch"),
        ("run", {"array": "1-3"}, "array is set by slurmsweep"),
        ("run", {"mem": "bogus"}, "bogus"),
        ("submit", {}, "--no-wait"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_wrong_argument_is_refused_and_changes_nothing(crashed, call, arguments, said, dry_run):
    before = tree(crashed.layout.folder)
    sweep = slurmsweep.Sweep(crashed.layout.folder, backend="local")

    with pytest.raises(UsageError, match=re.escape(said)):
        getattr(sweep, call)(**arguments, dry_run=dry_run)

    assert tree(crashed.layout.folder) == before


def test_a_misspelt_option_is_told_without_the_command_line(crashed):
    with pytest.raises(UsageError, match=r"^'tiem' is not an option of sbatch; did you mean time"):
        slurmsweep.Sweep(crashed.layout.folder, backend="local").run(tiem="30")


def test_a_sweep_shows_its_id_and_its_folder(crashed):
    folder = crashed.layout.folder

    assert repr(slurmsweep.Sweep(folder)) == f"<Sweep {folder[-8:]} in {folder}>"


def test_a_notice_is_a_warning_unless_events_are_taken(crashed, caplog):
    slurmsweep.Sweep(crashed.layout.folder, backend="local").run(time="30", mem="auto", dry_run=True)

    assert [record.getMessage() for record in caplog.records] == [
        "the local backend does not limit trials: --time is ignored",
        "the local backend does not limit trials: no time and no memory is learnt",
    ]


@pytest.mark.usefixtures("scheduler")
def test_named_options_win_and_auto_learns(crashed):
    sweep = slurmsweep.Sweep(crashed.layout.folder)

    assert sweep.run(time="auto", dry_run=True).plan.wave is not None
    wish = SubmitOptions(options={"mem": "1G"}, width=3)
    [batch] = sweep.submit(wish, mem="2G", cpus_per_task=2, width=8, dry_run=True).plan.batches
    assert (batch.wish.options, batch.wish.width) == ({"mem": "2G", "cpus-per-task": "2"}, 8)


def test_progress_counts_what_runs_again(write_sweep, monkeypatch):
    monkeypatch.setenv("FAILS", "1")
    script = f"import os, sys\n{SCRIPT}sys.exit(int(os.environ['FAILS']))\n"
    sweep = slurmsweep.Sweep.create(read_draft(str(write_sweep(script))), backend="local")
    sweep.run()
    events = []
    sweep.tell = events.append
    monkeypatch.setenv("FAILS", "0")

    assert sweep.resubmit(RetryPolicy(force=True)).expected == 3

    told = [(event.ended, event.total) for event in events if isinstance(event, Progress)]
    assert (told[0], told[-1]) == ((0, 3), (3, 3))


@pytest.mark.parametrize(("wait", "said"), [(False, ["send", "poll"]), (True, ["send"])])
def test_jobs_that_were_just_submitted_are_asked_about_once_unless_they_are_waited_for(
    scheduler, make_store, wait, said
):
    told: list[object] = []
    sweep = slurmsweep.Sweep(make_store(3).layout.folder, tell=told.append)

    def let_wait(request, send=scheduler.send):
        job = send(request)
        for task in range(request.tasks):
            stuck = scheduler.tasks[JobRef(job, task)]._replace(reason="BadConstraints", wait=explain("BadConstraints"))
            scheduler.tasks[JobRef(job, task)] = stuck
        return job

    scheduler.send = let_wait
    sweep.submit(time="30", wait=wait)

    assert scheduler.said == said
    stuck = [event.text for event in told if isinstance(event, Noticed) and "BadConstraints" in event.text]
    assert [text.partition(" (")[0] for text in stuck] == ["3 jobs"] * (not wait)


def test_the_status_of_a_sweep_says_why_its_jobs_wait(scheduler, make_store):
    store = make_store(3)
    sweep = slurmsweep.Sweep(store.layout.folder)
    sweep.submit(time="30")

    [waiting] = sweep.status()["waiting"]

    assert (waiting["reason"], waiting["jobs"], waiting["is_stuck"]) == ("Priority", 3, False)
    assert waiting["help"] == "with less time they may fit into a gap: `slurmsweep set abcd1234 --time MINUTES`"
    shown = status_text(summary_now(sweep.session)[0], (), "S").splitlines()
    assert [line for line in shown if line.startswith("  waits")] == [
        f"  waits   3 jobs ({scheduler.arrays[0]}_0 ...) wait: jobs of higher priority come first"
    ]


def test_a_report_without_an_answer_of_the_scheduler_counts_a_submitted_sweep_as_running(scheduler, make_store):
    told: list[object] = []
    sweep = slurmsweep.Sweep(make_store(3).layout.folder, tell=told.append)
    sweep.submit()
    assert b"running as of " in sweep.report(format="md")
    told.clear()
    scheduler.silent = 2  # what jobs get at most, and what became of these

    report = sweep.report(format="md")

    assert b"running as of " in report
    assert ["shown as the journal last knew them" in event.text for event in told] == [True]
