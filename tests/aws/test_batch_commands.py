"""Commands on sweeps whose jobs are of AWS Batch: what they say and do there that is otherwise than on Slurm."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

SWEEP = """\
program: train.py
method: grid
parameters: {x: {values: [1, 2, 3, 4, 5, 6]}}
aws: {queue: sweeps, image: "me/image:1"}
"""
BATCH = ("--backend", "batch")


@pytest.fixture
def project(tmp_path):
    """Return a folder with a sweep file; its trials last until there is a file ``end``."""
    Path(tmp_path, "s.yaml").write_text(SWEEP)
    program = (
        "import os, time\nopen('started', 'a').write('x')\nwhile not os.path.exists('end'):\n    time.sleep(0.05)\n"
    )
    Path(tmp_path, "train.py").write_text(program)
    return tmp_path


@pytest.fixture
def do(project, slurmsweep):
    """Run a command that succeeds, and return what it says: its output and its notes."""

    def run(*words: str) -> str:
        said = slurmsweep(*words)
        assert said.returncode == 0, said.stderr
        return said.stdout + said.stderr

    return run


def children(batch, status: str) -> list[str]:
    return [job.job_id for job in batch.jobs.values() if job.status == status and not job.children]


def started(project, number: int) -> None:
    deadline, mark = time.monotonic() + 60, Path(project, "started")
    while not mark.exists() or mark.stat().st_size < number:
        assert time.monotonic() < deadline, f"{number} trials have not started"
        time.sleep(0.05)


def parent(batch) -> str:
    return [job.job_id for job in batch.jobs.values() if job.parent is None][-1]


def test_what_waits_and_runs_is_shown_in_the_words_of_batch(project, cloud, batch, do):
    do("run", "s.yaml", *BATCH, "--no-wait")
    started(project, 2)
    shown = json.loads(do("status", "--json").partition("\nslurmsweep: ")[0])
    assert shown["jobs"] == {"running": 2, "runnable": 4}
    assert "Slurm" not in do("status")
    rows = json.loads(do("trials", "--json"))
    array = parent(batch)
    assert {row["job"] for row in rows if row["state"] == "running"} <= {f"{array}_{index}" for index in range(6)}
    Path(project, "end").touch()
    batch.wait_for(array, "SUCCEEDED")
    assert json.loads(do("status", "--json"))["counts"]["finished"] == 6


def test_a_sweep_goes_on_where_it_was_submitted_before_and_auto_never_begins_there(project, cloud, batch, do):
    cloud.machines.slots = 0
    do("run", "s.yaml", *BATCH, "--count", "2", "--no-wait")
    do("run", "last", "--no-wait")
    assert [request.get("arrayProperties") for request in batch.asked("SubmitJob")] == [{"size": 2}, {"size": 4}]
    assert "6 jobs wait in the queue" in do("run", "last", "--dry-run")
    assert "AWS Batch" not in do("run", "s.yaml", "--backend", "auto", "--dry-run")  # a new one


def test_an_array_that_cannot_start_ends_the_waiting_and_is_told_with_its_reason(project, cloud, batch, do, slurmsweep):
    batch.start_failures = ["CannotPullContainerError: pull access denied for me/image"] * 24
    said = slurmsweep("run", "s.yaml", *BATCH)
    assert said.returncode == 1
    why = (
        f"6 jobs ({parent(batch)}_0@batch:eu-west-1 ...) ended without a trial: AWS Batch says FAILED: Task failed to "
        "start: CannotPullContainerError: pull access denied for me/image"
    )
    assert why in said.stderr
    assert why in do("status")
    assert why in do("trials")
    # a later array of which a job took a trial: the earlier one is of no interest any more
    Path(project, "end").touch()
    do("run", "last")
    assert "without a trial" not in do("status")


def test_what_jobs_wrote_is_told_that_ended_before_they_took_a_trial(project, cloud, batch, do, slurmsweep):
    folder = Path(project, "bin")
    folder.mkdir()
    Path(folder, "slurmsweep").write_text("#!/bin/bash\necho no such sweep here\nexit 3\n")
    Path(folder, "slurmsweep").chmod(0o755)
    cloud.machines.environ["PATH"] = f"{folder}:{cloud.machines.environ['PATH']}"
    do("run", "s.yaml", *BATCH, "--no-wait")
    batch.wait_for(parent(batch), "FAILED")
    said = do("status")
    assert "ended without a trial: AWS Batch says FAILED: Essential container in task exited" in said
    assert "no such sweep here" in said


def test_cancel_ends_what_runs_and_what_waits(project, cloud, batch, do):
    do("run", "s.yaml", *BATCH, "--no-wait")
    started(project, 2)
    assert f"told to end: job {parent(batch)}@batch:eu-west-1" in do("cancel", "last")
    batch.wait_for(parent(batch), "FAILED")
    assert len(batch.asked("TerminateJob")) == 1
    do("reconcile", "last")
    rows = json.loads(do("trials", "--json"))
    assert [(row["state"], row["cause"]) for row in rows[:2]] == [("killed", "cancelled")] * 2
    assert {row["state"] for row in rows[2:]} == {"pending"}


def test_pause_says_what_cannot_be_held_and_stop_cancels_what_waits(project, cloud, batch, do):
    do("run", "s.yaml", *BATCH, "--no-wait")
    started(project, 2)
    key = f"{parent(batch)}@batch:eu-west-1"
    said = do("pause", "last")
    assert f"job {key} cannot be held: what starts of it during the pause ends at once" in said
    do("resume", "last")
    assert f"waiting part cancelled: job {key}" in do("stop", "last")
    Path(project, "end").touch()
    batch.wait_for(parent(batch), "FAILED")
    assert (len(children(batch, "SUCCEEDED")), len(children(batch, "FAILED"))) == (2, 4)
    assert json.loads(do("status", "--json"))["state"] == "stopped"


def test_a_round_is_held_by_hand_and_no_supervisor_is_promised(project, cloud, batch, do, slurmsweep):
    refused = slurmsweep("run", "s.yaml", *BATCH, "--mend")
    assert refused.returncode == 2
    assert (
        "--mend: AWS Batch wakes no supervisor; let cron, or a schedule of EventBridge, run `slurmsweep mend SWEEP`"
        in (refused.stderr)
    )
    assert batch.requests == []

    do("run", "s.yaml", *BATCH, "--no-wait", "--retries", "1")
    started(project, 2)
    lost = children(batch, "RUNNING")[0]
    batch.lose_host(lost)
    batch.wait_for(lost, "FAILED")
    said = do("mend", "last")
    assert "to be run again: trials" in said
    assert "the next round: `slurmsweep mend " in said
    assert len(batch.asked("SubmitJob")) == 2
    Path(project, "end").touch()
    batch.wait_for(parent(batch), "SUCCEEDED")
    assert "the report is" in do("mend", "last")
    assert json.loads(do("status", "--json"))["counts"]["finished"] == 6


def test_agents_of_a_sweep_that_wandb_holds_are_submitted_and_shown(project, cloud, batch, do):
    cloud.machines.slots = 0
    words = ("team/project/abcdefgh", "--queue", "sweeps", "--image", "me/image:1")
    assert "no secret gives jobs WANDB_API_KEY" in do("submit", *words, *BATCH, "--count", "3", "--dry-run")
    assert batch.asked("SubmitJob") == []
    said = do("submit", *words, *BATCH, "--count", "3")
    assert "no secret gives jobs WANDB_API_KEY" in said
    assert "CloudWatch Logs, group /aws/batch/job" in said
    request = batch.asked("SubmitJob")[0]
    assert (request["parameters"], request["arrayProperties"]) == ({"sweep": "team/project/abcdefgh"}, {"size": 3})
    status = do("status", words[0])
    assert "jobs: 3 RUNNABLE" in status
    assert "Slurm" not in said + status
    secret = ("--aws", "secret=WANDB_API_KEY=team/wandb")
    assert "no secret" not in do("submit", *words, *secret, "--count", "1")  # on Batch again
    assert len(batch.asked("SubmitJob")) == 2


def test_the_command_that_status_names_has_what_the_sweep_file_lacks(project, cloud, batch, do, slurmsweep):
    Path(project, "s.yaml").write_text(SWEEP.partition("aws:")[0])
    Path(project, "train.py").write_text("raise SystemExit(3)\n")
    given = ("--queue", "sweeps", "--image", "me/image:1", "--mem", "1G", "-t", "10")
    assert slurmsweep("run", "s.yaml", *BATCH, *given).returncode == 1
    said = " ".join(do("status").split())
    named = said.partition("`slurmsweep resubmit")[2].partition("`")[0].split()
    assert named[1:] == ["--aws", "image=me/image:1", "--aws", "queue=sweeps"]
    assert slurmsweep("resubmit", "last", *named[1:], "--force", "--dry-run").returncode == 0


def test_efficiency_and_plan_know_what_jobs_ask_for(project, cloud, batch, do):
    Path(project, "end").touch()
    do("run", "s.yaml", *BATCH, "--mem", "1G", "-t", "10")
    document = json.loads(do("efficiency", "--json").partition("\nslurmsweep: ")[0])
    assert document["accounting"] == "used"
    plan = do("plan", "s.yaml", *BATCH)
    assert "6 jobs in 1 array" in plan
    assert "requests:\n# AWS Batch: RegisterJobDefinition" in plan


def test_the_doctor_looks_at_each_thing_that_jobs_need(project, cloud, batch, do, slurmsweep):
    role = "arn:aws:iam::123456789012:role/slurmsweep-job"
    words = ("doctor", *BATCH, "--image", "me/image:1", "--role", role, "--json")
    said = json.loads(do(*words, "--queue", "sweeps"))
    seen = {one["subject"]: (one["fitness"], one["why"]) for one in said}
    assert seen["identity"] == ("good", "account 123456789012, region eu-west-1")
    assert seen["queue"] == ("good", "sweeps is ENABLED and VALID")
    assert seen["compute"][0] == "good"
    assert seen["definition"] == ("good", "the first submission makes it")
    assert seen["logs"] == ("good", "log group /aws/batch/job")
    assert seen["jobRoleArn"] == ("good", "there is a role slurmsweep-job")
    assert "slurm" not in seen

    said = slurmsweep(*words[:-3], "--role", f"{role}s", "--json", "--queue", "nothing")
    bad = {one["subject"]: one["why"] for one in json.loads(said.stdout) if one["fitness"] == "bad"}
    assert said.returncode == 1
    assert set(bad) == {"queue", "jobRoleArn"}
    assert bad["queue"] == "there is no queue nothing in eu-west-1"

    cloud.sts.refuse(
        2, code="ExpiredToken", message="The security token included in the request is expired", status=403
    )
    said = slurmsweep(*words, "--queue", "sweeps")
    bad = {one["subject"]: one["why"] for one in json.loads(said.stdout) if one["fitness"] == "bad"}
    assert list(bad) == ["identity"]
    assert "ExpiredToken" in bad["identity"]


def test_without_a_region_nothing_is_left_behind(project, cloud, slurmsweep, monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    said = slurmsweep("run", "s.yaml", *BATCH)
    assert said.returncode == 2
    assert "no region of AWS is named: say --region eu-west-1" in said.stderr
    assert not list(project.glob(".slurmsweep/sweep-*"))


def test_where_batch_does_not_answer_the_journal_is_shown_and_nothing_is_concluded(
    project, cloud, batch, do, slurmsweep
):
    do("run", "s.yaml", *BATCH, "--no-wait")
    started(project, 2)
    batch.refuse(1000, code="AccessDeniedException", status=403)
    said = slurmsweep("status", "--json")
    assert said.returncode == 0
    assert "AccessDeniedException" in said.stderr
    assert (json.loads(said.stdout)["counts"]["running"], json.loads(said.stdout)["jobs"]) == (2, {})
    for words in (("reconcile", "last"), ("resubmit", "last"), ("stop", "last")):
        said = slurmsweep(*words)
        assert (said.returncode, "AccessDeniedException" in said.stderr) == (4, True)
    batch.heal()
    assert json.loads(do("status", "--json"))["counts"]["running"] == 2


def test_trials_that_went_wrong_on_nodes_of_slurm_run_again_on_batch(project, cloud, batch, do, slurmsweep):
    """Nodes are avoided on Slurm alone; a job that ended elsewhere is never asked of Batch."""
    from slurmsweep.state.lifecycle import TrialState
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.store import SweepStore

    do("create", "s.yaml")
    [folder] = project.glob(".slurmsweep/sweep-*")
    store = SweepStore.open_to_run(str(folder))
    for task in range(6):
        owner = Owner("host", 1, 1, "boot", node="n1", job="7", task=task)
        store.finish(store.claim(owner), Outcome(TrialState.CRASHED, "node_fail", by="reconcile"))
    Path(project, "end").touch()
    do("resubmit", "last", *BATCH, "--wait")
    assert json.loads(do("status", "--json"))["counts"]["finished"] == 6
    assert {job for request in batch.asked("DescribeJobs") for job in request["jobs"]} <= {parent(batch)}
    assert [request["arrayProperties"] for request in batch.asked("SubmitJob")] == [{"size": 6}]
