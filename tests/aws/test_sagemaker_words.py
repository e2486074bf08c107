"""What SageMaker says of a training job has one meaning each; what is unknown is shown as it stands, or raises."""

from __future__ import annotations

import pytest

from slurmsweep.backends.aws import templates
from slurmsweep.backends.aws.sagemaker_words import training_job
from slurmsweep.errors import SchedulerError
from slurmsweep.state.lifecycle import TrialState

#: What the real training toolkit (5.1.4) leaves in its failure file, and what SageMaker makes of it.
TOOLKIT = (
    'AlgorithmError: ExecuteUserScriptError:\nExitCode {}\nErrorMessage ""\nCommand "python entry.py", exit code: 1'
)


def words_of(operation: str, member: str) -> list[str]:
    from botocore.session import get_session

    model = get_session().get_service_model("sagemaker")
    return model.operation_model(operation).output_shape.members[member].enum


@pytest.mark.parametrize(
    ("reason", "state", "cause", "exit_code"),
    [
        ("AlgorithmError: , exit code: 3", TrialState.FAILED, "exit 3", 3),
        ("AlgorithmError: Exit Code: 139", TrialState.CRASHED, "signal 11", 139),
        ("AlgorithmError: , exit code: 137", TrialState.CRASHED, "signal 9", 137),
        (TOOLKIT.format(7), TrialState.FAILED, "exit 7", 7),
        (TOOLKIT.format(-9), TrialState.CRASHED, "signal 9", 137),
        ("AlgorithmError: InstallRequirementsError:\nExitCode 1", TrialState.CRASHED, "cannot start", None),
        ("CapacityError: Unable to provision requested ML compute capacity.", TrialState.PREEMPTED, "preempted", None),
        ("InternalServerError: We encountered an internal error.", TrialState.CRASHED, "node_fail", None),
        ("ClientError: Please use an instance type with more memory, or", TrialState.CRASHED, "oom", None),
        ("ClientError: Cannot pull the image", TrialState.CRASHED, "cannot start", None),
        ("A reason of\n the future", TrialState.CRASHED, "A reason of the future", None),
        ("AlgorithmError: , exit code: 0", TrialState.CRASHED, "AlgorithmError: , exit code: 0", None),
        ("", TrialState.CRASHED, "lost", None),
        ("the word CapacityError is not at the beginning", TrialState.CRASHED, None, None),
    ],
)
def test_a_failed_job_has_failed_for_its_reason(reason, state, cause, exit_code):
    found = training_job("Failed", "Failed", reason)

    assert (found.word, found.said.alive, found.said.state) == ("Failed", False, state)
    assert (found.said.cause, found.exit_code) == (reason if cause is None else cause, exit_code)
    assert found.reason == " ".join(reason.split())


@pytest.mark.parametrize(
    ("secondary", "state", "cause"),
    [
        ("Stopped", TrialState.KILLED, "cancelled"),
        ("MaxRuntimeExceeded", TrialState.CRASHED, "timeout"),
        ("MaxWaitTimeExceeded", TrialState.PREEMPTED, "preempted"),
    ],
)
def test_a_stopped_job_says_by_its_second_word_why(secondary, state, cause):
    found = training_job("Stopped", secondary)

    assert (found.word, found.said.alive, found.said.state, found.said.cause) == (secondary, False, state, cause)


def test_a_job_without_a_machine_waits_and_says_why():
    for secondary in ("Pending", "Starting", "LaunchingMLInstances", "DownloadingTrainingImage"):
        found = training_job("InProgress", secondary)
        assert (found.said.alive, found.said.waits, found.reason) == (True, True, secondary)
        assert found.wait is not None


def test_a_job_that_spot_interrupted_waits_to_go_on_and_is_not_over():
    found = training_job("InProgress", "Interrupted")

    assert (found.said.alive, found.said.waits, found.said.state) == (True, True, None)
    assert "Spot" in found.wait.why


@pytest.mark.parametrize("secondary", ["Training", "Uploading", "Updating", "Stopping", "MaxRuntimeExceeded"])
def test_a_job_in_progress_with_a_container_lives_and_waits_for_nothing(secondary):
    found = training_job("InProgress", secondary)

    assert (found.word, found.said.alive, found.said.waits) == (secondary, True, False)


def test_a_job_that_is_being_stopped_lives_until_it_is_stopped():
    assert training_job("Stopping", "Stopping").said.alive


def test_a_completed_job_says_that_the_agent_ended_well():
    assert training_job("Completed", "Completed").said.state is TrialState.FINISHED


def test_of_a_job_that_is_being_deleted_nothing_is_known_any_more():
    assert training_job("Deleting", "").said.cause == "lost"


def test_every_status_of_the_services_model_has_a_meaning():
    for status in words_of("DescribeTrainingJob", "TrainingJobStatus"):
        secondary = "Stopped" if status == "Stopped" else ""
        assert training_job(status, secondary).word


def test_every_second_word_of_the_services_model_is_known_of_jobs_in_progress_and_unknown_ones_are_shown():
    for secondary in words_of("DescribeTrainingJob", "SecondaryStatus"):
        assert training_job("InProgress", secondary).word == secondary
    assert training_job("InProgress", "Hovering").word == "Hovering"
    assert training_job("InProgress", "").word == "InProgress"


@pytest.mark.parametrize(("status", "secondary"), [("Paused", "Training"), ("Stopped", "NoMoney"), ("Stopped", "")])
def test_nothing_is_concluded_from_an_unknown_word(status, secondary):
    with pytest.raises(SchedulerError, match="does not know: nothing was concluded"):
        training_job(status, secondary)


def test_the_built_in_template_is_an_input_of_create_training_job():
    template = templates.load("sagemaker", "sagemaker", "CreateTrainingJob")

    assert template.content["AlgorithmSpecification"]["ContainerArguments"][-1] == "SWEEP"
