"""What the words of AWS Batch mean for a job and its trial."""

from __future__ import annotations

import pytest
from aws.standin.model import service_model

from slurmsweep.backends.aws import batch_words, words
from slurmsweep.errors import SchedulerError
from slurmsweep.state.lifecycle import TrialState


def test_the_table_has_exactly_the_states_of_the_model():
    known = service_model("batch").shape_for("JobStatus").enum
    assert {*batch_words.LIVE, *batch_words.OVER} == set(known)
    assert batch_words.LIVE == ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
    waiting = {word for word in batch_words.LIVE if batch_words.batch_job(word).waits}
    assert waiting == {"SUBMITTED", "PENDING", "RUNNABLE"}


@pytest.mark.parametrize("word", ["", "PAUSED", "failed"])
def test_a_state_that_is_not_in_the_table_raises(word):
    with pytest.raises(SchedulerError) as caught:
        batch_words.batch_job(word)
    assert str(caught.value) == (
        f"AWS Batch calls a job {word!r}, which this slurmsweep does not know: nothing was concluded from it"
    )


EXITED = "Essential container in task exited"
LOST = "Host EC2 (instance i-0123456789abcdef0) terminated."


@pytest.mark.parametrize(
    ("said", "state", "cause"),
    [
        (("SUCCEEDED", EXITED, "", 0), "finished", ""),
        (("FAILED", EXITED, "", 3), "failed", "exit 3"),
        (("FAILED", EXITED, "", 137), "crashed", "signal 9"),
        (("FAILED", EXITED, "", 143), "crashed", "signal 15"),
        (("FAILED", EXITED, "", 255), "failed", "exit 255"),
        (("FAILED", EXITED, "OutOfMemoryError: Container killed due to memory usage", 137), "crashed", "oom"),
        # a script that notices the death of its worker ends with a code of its own
        (("FAILED", EXITED, "OutOfMemoryError: Container killed due to memory usage", 2), "crashed", "oom"),
        (("FAILED", LOST, "", None), "preempted", "preempted"),
        (("FAILED", LOST, "", 143), "preempted", "preempted"),
        (("FAILED", "Your Spot Task was interrupted.", "", None), "preempted", "preempted"),
        (("FAILED", "Job attempt duration exceeded timeout", "", 143), "crashed", "timeout"),
        (("FAILED", "Task failed to start", "CannotPullContainerError: denied", None), "crashed", "cannot start"),
        (("FAILED", "CannotPullContainerError: manifest unknown", "", None), "crashed", "cannot start"),
        (("FAILED", "slurmsweep cancel", "", 143), "killed", "cancelled"),
        (("FAILED", "words that are new", "", None), "crashed", "lost"),
        (("FAILED", "", "", 0), "crashed", "lost"),
    ],
)
def test_an_end_has_a_state_and_a_cause(said, state, cause):
    found = batch_words.batch_job(*said)
    assert (found.alive, found.waits, found.state, found.cause) == (False, False, TrialState(state), cause)


def test_a_job_that_was_ended_by_order_is_cancelled_whatever_the_reason_that_was_given():
    found = batch_words.batch_job("FAILED", "wrong data", "", 143, by_order=True)
    assert (found.state, found.cause) == (TrialState.KILLED, "cancelled")


@pytest.mark.parametrize(
    ("reason", "is_stuck"),
    [
        ("CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested", False),
        ("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue", True),
        ("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement is higher", True),
        ("MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS - Batch service role has a permission issue.", True),
        ("MISCONFIGURATION:ANYTHING_NEW", True),
        ("ACTION_REQUIRED - CE(s) associated with the job queue", True),
        ("UNDETERMINED - Batch job is blocked, root cause is undetermined.", False),
    ],
)
def test_a_reason_to_wait_is_known_by_how_it_begins(reason, is_stuck):
    wait = batch_words.wait_for(reason)
    assert wait
    assert (wait.is_stuck, bool(wait.why)) == (is_stuck, True)


def test_an_unknown_reason_to_wait_means_nothing():
    assert batch_words.wait_for("QUOTA:SOMETHING") is None


def test_the_instance_is_read_from_the_reason():
    assert words.instance_in("", LOST) == "i-0123456789abcdef0"
    assert words.instance_in(EXITED) == ""
