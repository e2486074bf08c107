"""What Amazon ECS says of a task: the table is total, and what is in none of its rows is shown or refused."""

from __future__ import annotations

import pytest
from botocore.session import get_session

from slurmsweep.backends.aws import ecs_words
from slurmsweep.backends.aws.ecs_words import ecs_task
from slurmsweep.errors import SchedulerError

ENDED = "Essential container in task exited"
HOST = "Host EC2 (instance i-0123456789abcdef0) terminated."


def test_every_code_of_the_model_is_in_the_table():
    model = get_session().get_service_model("ecs").shape_for("TaskStopCode").enum

    assert set(ecs_words._CODES) == set(model)


@pytest.mark.parametrize(
    ("status", "alive", "waits"),
    [
        ("PROVISIONING", True, True),
        ("PENDING", True, True),
        ("ACTIVATING", True, False),
        ("RUNNING", True, False),
        ("DEACTIVATING", True, False),
        ("STOPPING", True, False),
        ("DEPROVISIONING", True, False),
        ("STOPPED", False, False),
        ("DELETED", False, False),
    ],
)
def test_a_task_waits_until_its_containers_start_and_lives_until_it_has_stopped(status, alive, waits):
    said = ecs_task(status, "UserInitiated" if status == "RUNNING" else "")

    assert (said.alive, said.waits) == (alive, waits)


@pytest.mark.parametrize(
    ("code", "reason", "container", "exit_code", "state", "cause"),
    [
        ("EssentialContainerExited", ENDED, "", 0, "finished", ""),
        ("EssentialContainerExited", ENDED, "", 3, "failed", "exit 3"),
        ("EssentialContainerExited", ENDED, "", 137, "crashed", "signal 9"),
        ("EssentialContainerExited", ENDED, "", 143, "crashed", "signal 15"),
        ("EssentialContainerExited", ENDED, "", None, "crashed", "lost"),
        (
            "EssentialContainerExited",
            ENDED,
            "OutOfMemoryError: Container killed due to memory usage",
            137,
            "crashed",
            "oom",
        ),
        ("EssentialContainerExited", ENDED, "OutOfMemoryError: Container killed", 2, "crashed", "oom"),
        ("EssentialContainerExited", ENDED, "DockerTimeoutError: Could not start", None, "crashed", "cannot start"),
        ("EssentialContainerExited", ENDED, "a word of tomorrow", None, "crashed", "a word of tomorrow"),
        ("TaskFailedToStart", "CannotPullContainerError: pull image: ...", "", None, "crashed", "cannot start"),
        ("TaskFailedToStart", "ResourceInitializationError: unable to pull", "", None, "crashed", "cannot start"),
        ("TaskFailedToStart", "Capacity is unavailable at this time.", "", None, "crashed", "no capacity"),
        ("TaskFailedToStart", "a word of tomorrow", "", None, "crashed", "cannot start"),
        ("UserInitiated", "slurmsweep cancel", "", 143, "killed", "cancelled"),
        ("UserInitiated", "Task stopped by user", "", 143, "killed", "cancelled"),
        ("ServiceSchedulerInitiated", "Scaling activity", "", 143, "killed", "cancelled"),
        ("SpotInterruption", "Your Spot Task was interrupted.", "", 143, "preempted", "preempted"),
        ("TerminationNotice", HOST, "", None, "preempted", "preempted"),
        ("TerminationNotice", "a word of tomorrow", "", None, "preempted", "preempted"),
        ("InfrastructureHealth", "unhealthy", "", None, "crashed", "node_fail"),
        ("", HOST, "", None, "preempted", "preempted"),
        ("", "", "", 3, "failed", "exit 3"),
        ("", "a word of tomorrow", "", None, "crashed", "a word of tomorrow"),
        ("", "", "", None, "crashed", "lost"),
    ],
)
def test_codes_texts_and_exit_codes_say_how_a_task_ended(code, reason, container, exit_code, state, cause):
    said = ecs_task("STOPPED", code, reason, container, exit_code)

    assert (said.alive, said.state.value, said.cause) == (False, state, cause)


def test_nothing_is_concluded_from_a_state_or_a_code_that_is_in_no_table():
    with pytest.raises(SchedulerError, match="calls a job 'RESTING'"):
        ecs_task("RESTING")
    with pytest.raises(SchedulerError, match="with the code 'Moon'"):
        ecs_task("STOPPED", "Moon", "it is full")
