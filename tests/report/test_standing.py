"""What a sweep is doing is said truly: nothing runs that does not, and nothing has finished that is open."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slurmsweep.report.next_step import next_step
from slurmsweep.report.summary import SweepSummary
from slurmsweep.state import refusals
from slurmsweep.state.lifecycle import Standing, SweepState, TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import STOPPED_EARLY, Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.store import SweepStore
from slurmsweep.state.submissions import SubmissionDocument, SubmissionFiles
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.config import check

ME = Owner("h", 1, 1, "b")
DONE, FAILED = Outcome(TrialState.FINISHED), Outcome(TrialState.FAILED, "exit 1", exit_code=1)
CUT, EARLY = Outcome(TrialState.KILLED, "interrupted"), Outcome(TrialState.KILLED, STOPPED_EARLY)


@pytest.fixture
def told(make_store):
    """Make a sweep of three trials with these ends and order; return what is told of it, and the next step."""

    def tell(ends=(), running=0, order=None, jobs=None, submitted=None, trials=3):
        store = make_store(trials)
        for end in ends:
            store.finish(store.claim(ME), end)
        for _ in range(running):
            store.claim(ME)
        with store.transaction() as transaction:
            if submitted:
                transaction.submit(SubmitRecord("slurmsweep-abcd1234-x", 3, "7", *submitted))
            if order:
                transaction.order(order)
        summary = SweepSummary(store.layout, store.manifest, store.replay(), {}, jobs)
        return summary.state(), next_step(summary, "abcd1234")

    return tell


RESUME = "`slurmsweep resume abcd1234` lets new trials start again"
MORE = "`slurmsweep resubmit abcd1234` gives more to those that lacked time or memory"
LOOK = "`slurmsweep logs abcd1234 0` shows why"
MENDED = "once that is mended, `slurmsweep resubmit abcd1234` runs"
ONE = "`slurmsweep run abcd1234` starts the open trial"
START = "`slurmsweep run abcd1234` starts the {} open trials"


@pytest.mark.parametrize(
    ("sweep", "standing", "following"),
    [
        ({}, Standing.PENDING, START.format(3)),
        ({"jobs": {"pending": 3}}, Standing.RUNNING, None),
        ({"running": 1, "jobs": {}}, Standing.RUNNING, None),
        ({"ends": [DONE], "jobs": {}}, Standing.IDLE, START.format(2)),
        ({"ends": [DONE, DONE], "jobs": {}}, Standing.IDLE, ONE),
        (
            {"ends": [DONE, FAILED], "jobs": {}},
            Standing.IDLE,
            f"{ONE}, `slurmsweep resubmit abcd1234` runs the trial again that did not finish",
        ),
        (
            {"ends": [FAILED], "jobs": {}},
            Standing.IDLE,
            f"{LOOK} the trial failed that ended; {MENDED} it again and starts the 2 open trials",
        ),
        (
            {"ends": [FAILED, FAILED], "jobs": {}},
            Standing.IDLE,
            f"{LOOK} all 2 trials failed that ended; {MENDED} them again and starts the open trial",
        ),
        (
            {"ends": [FAILED], "jobs": {}, "trials": None},
            Standing.IDLE,
            f"{LOOK} the trial failed that ended; {MENDED} it again; `slurmsweep run abcd1234` starts more trials",
        ),
        ({"ends": [DONE, CUT], "jobs": {}}, Standing.IDLE, f"{ONE}, and the one again that was cut off"),
        (
            {"ends": [DONE, CUT, CUT], "jobs": {}, "trials": 5},
            Standing.IDLE,
            f"{START.format(2)}, and the 2 again that were cut off",
        ),
        (
            {"ends": [DONE, CUT, FAILED], "jobs": {}, "trials": 4},
            Standing.IDLE,
            f"{ONE}, and the one again that was cut off; `slurmsweep resubmit abcd1234` runs these and the one that failed",
        ),
        (
            {"ends": [DONE, Outcome(TrialState.CRASHED, "timeout")], "jobs": {}},
            Standing.IDLE,
            f"{ONE}, and the one again that was cut off; {MORE}",
        ),
        ({"ends": [DONE, EARLY], "jobs": {}}, Standing.IDLE, ONE),
        ({"ends": [DONE], "order": SweepState.PAUSED, "jobs": {}}, Standing.PAUSED, RESUME),
        ({"ends": [DONE], "order": SweepState.FINISHED, "jobs": {}}, Standing.STOPPED, RESUME),
        ({"ends": [DONE], "order": SweepState.CANCELED, "jobs": {}}, Standing.CANCELED, RESUME),
        ({"ends": [DONE] * 3, "order": SweepState.CANCELED, "jobs": {}}, Standing.CANCELED, None),
        ({"ends": [DONE] * 3, "order": SweepState.FINISHED, "jobs": {}}, Standing.FINISHED, None),
        ({"ends": [DONE] * 3, "order": SweepState.PAUSED, "jobs": {}}, Standing.FINISHED, None),
        ({"ends": [DONE] * 3}, Standing.FINISHED, None),
        (
            {"ends": [DONE, FAILED, FAILED]},
            Standing.FINISHED,
            "`slurmsweep resubmit abcd1234` runs the 2 trials again that did not finish",
        ),
        ({"ends": [DONE], "trials": None, "jobs": {}}, Standing.IDLE, "`slurmsweep run abcd1234` starts more trials"),
    ],
)
def test_a3_a_sweep_is_what_it_does(told, sweep, standing, following):
    assert told(**sweep) == (standing, following)


@pytest.mark.parametrize("ends", [[DONE, CUT, CUT], [DONE, CUT, EARLY], [DONE, CUT, FAILED], [DONE, EARLY]])
def test_what_is_said_to_start_is_what_a_rehearsal_of_it_starts(slurmsweep, make_store, ends):
    store = make_store(8)
    Path(store.manifest.workdir, "train.py").write_text("pass")
    for end in ends:
        store.finish(store.claim(ME), end)

    following = next_step(SweepSummary(store.layout, store.manifest, store.replay(), {}, {}), store.layout.folder)
    command = re.match("`slurmsweep (.*?)` starts the ([0-9]+) open trials(?:, and the ([0-9]+|one) again)?", following)
    words, opened, again = command.groups("0")
    started = slurmsweep(*words.split(), "--backend", "local", "--dry-run").stderr

    assert f"{int(opened) + (1 if again == 'one' else int(again))} trials would start" in started


def test_the_next_command_runs_as_many_trials_at_a_time_as_before(make_store):
    store = make_store(3)
    for end in (DONE, FAILED):
        store.finish(store.claim(ME), end)
    documents = SubmissionFiles(store.layout.submissions, store.access)

    def following(width: int | None, backend: str = "local") -> str | None:
        documents.write(SubmissionDocument("slurmsweep-abcd1234-x", backend, "abcd1234", 3, 3, width=width))
        return next_step(SweepSummary(store.layout, store.manifest, store.replay(), {}), "abcd1234")

    assert following(4) == (
        "`slurmsweep run abcd1234 --jobs 4` starts the open trial, "
        "`slurmsweep resubmit abcd1234 --jobs 4` runs the trial again that did not finish"
    )
    assert "--jobs" not in (following(1) or "")
    assert "`slurmsweep resubmit abcd1234 --width 1`" in (following(1, "slurm") or "")
    assert "--width" not in (following(None, "slurm") or "")


def test_the_next_command_for_a_project_that_was_moved_names_its_folder(make_store):
    store = make_store(3)
    for end in (DONE, FAILED):
        store.finish(store.claim(ME), end)
    moved = store.manifest._replace(workdir="/nowhere/project")

    assert next_step(SweepSummary(store.layout, moved, store.replay(), {}), "abcd1234") == (
        "`slurmsweep run abcd1234 --workdir FOLDER` starts the open trial, "
        "`slurmsweep resubmit abcd1234 --workdir FOLDER` runs the trial again that did not finish; "
        "FOLDER is where /nowhere/project is now"
    )


def test_what_was_just_refused_is_not_advised_again(make_store):
    store = make_store(3)
    for _ in range(3):
        store.finish(store.claim(ME), FAILED)
    refusals.write(store.layout, [AttemptId(number, 2) for number in (0, 1, 2)], store.access)

    def following() -> str | None:
        return next_step(SweepSummary(store.layout, store.manifest, store.replay(), {}), "abcd1234")

    assert following() == (
        "`slurmsweep logs abcd1234 0` shows why 3 trials fail alike; once that is mended, "
        "`slurmsweep resubmit abcd1234` runs them, and --force as they are"
    )
    refusals.write(store.layout, [AttemptId(1, 2)], store.access)
    assert following() == (
        "`slurmsweep logs abcd1234 1` shows why 1 trial fails alike; once that is mended, "
        "`slurmsweep resubmit abcd1234` runs it, and --force as it is"
    )
    refusals.write(store.layout, [], store.access)
    assert following() == "`slurmsweep resubmit abcd1234` runs the 3 trials again that did not finish"


def test_a_submitted_sweep_whose_scheduler_does_not_answer_counts_as_running(told):
    assert told(ends=[DONE], submitted=({"time": "30"}, "array", {"time": "30"})) == (Standing.RUNNING, None)


def test_the_next_command_has_the_options_of_the_newest_submission(told):
    asked = {"time": "30", "partition": "gpu"}
    _, following = told(ends=[DONE], jobs={}, submitted=(asked, "my gpu.sbatch", asked))
    options = "--template 'my gpu.sbatch' --sbatch partition=gpu --sbatch time=30"
    assert following == f"`slurmsweep run abcd1234 {options}` starts the 2 open trials"


@pytest.mark.parametrize(
    ("minutes", "submissions", "options"),
    [
        ([], [({"time": "10"}, [])], " --sbatch time=90"),
        ([], [({"partition": "gpu", "time": "10"}, []), ({"time": "30"}, [(0, 2)])], " --sbatch time=90"),
        ([], [({"time": "30", "qos": "low"}, [(0, 2)])], " --sbatch qos=low"),
        ([], [({"time": "UNLIMITED"}, [])], " --sbatch time=UNLIMITED"),
        ([], [({"qos": "low"}, [])], " --sbatch qos=low"),
        ([5, 10, 20], [({"time": "5"}, [])], ""),
    ],
)
def test_the_next_command_for_trials_in_parts_has_the_time_of_a_whole_one(tmp_path, minutes, submissions, options):
    document = {
        "method": "grid",
        "program": "x.py",
        "metric": {"name": "loss"},
        "parameters": {"x": {"values": list(range(9))}},
        "slurmsweep": {"rungs": {"steps": [1, 3, 9], **({"minutes": minutes} if minutes else {})}},
    }
    manifest = Manifest("abcd1234", check(document, "t").config, 9, str(tmp_path), "t.yaml", 0.0, "0")
    store = SweepStore.create(str(tmp_path), manifest)
    store.finish(store.claim(ME), FAILED)
    store.finish(store.claim(ME), DONE)  # where every trial failed, the first step is to look why
    with store.transaction() as transaction:
        for number, (wishes, again) in enumerate(submissions):
            name = f"slurmsweep-abcd1234-{number}"
            transaction.retry([AttemptId(*one) for one in again], "resubmit", array=name) if again else None
            transaction.submit(SubmitRecord(name, 3, str(number + 7), wishes, "array", wishes))

    following = next_step(SweepSummary(store.layout, manifest, store.replay(), {}, {}), "abcd1234")

    assert (following or "").partition(" starts ")[0] == f"`slurmsweep run abcd1234{options}`"


@pytest.mark.parametrize(
    ("standing", "word"), [(Standing.IDLE, "running"), (Standing.STOPPED, "finished"), (Standing.PAUSED, "paused")]
)
def test_programs_that_use_the_look_alike_get_words_of_wandb(standing, word):
    assert standing.for_wandb().value == word


def test_status_says_it_in_the_document_and_in_the_lines(slurmsweep, write_sweep):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()
    assert slurmsweep("agent", sweep).returncode == 0
    shown = slurmsweep("status", sweep).stdout

    assert "  state   idle\n" in shown
    assert f"  next    `slurmsweep run {sweep}` starts the 2 open trials" in shown
    assert '"state": "idle"' in slurmsweep("status", sweep, "--json").stdout
