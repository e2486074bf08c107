"""The meaning of SageMaker's words for a training job: one total table. A status that is not in it raises.

Reasons of failures are texts for people: they are matched by their beginning alone, and one that is unknown is shown as
it stands.

Sources: DescribeTrainingJob in the model of botocore 1.44 (TrainingJobStatus, SecondaryStatus, FailureReason); the
failure file of sagemaker-training 5.1.4; texts that were seen in public issues.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from slurmsweep.backends.aws import words
from slurmsweep.backends.aws.client import TITLES
from slurmsweep.backends.base import Wait
from slurmsweep.state.lifecycle import TrialState

SOURCE = TITLES["sagemaker"]


class JobMeaning(NamedTuple):
    """The meaning of what SageMaker says of one training job.

    Attributes:
        word: SageMaker's own that says most.
        said: of the job and its trial.
        exit_code: of the script, or the container; None where it is not told.
        reason: in SageMaker's words; empty where ``word`` says it all.
        wait: what that means for a job that waits.
    """

    word: str
    said: words.Said
    exit_code: int | None = None
    reason: str = ""
    wait: Wait | None = None


#: Of ``InProgress``, ``Stopped`` and ``Failed`` another word says more.
_STATUSES = {
    "InProgress": words.RUNNING,
    "Stopping": words.RUNNING,
    "Completed": words.over(TrialState.FINISHED),
    "Failed": words.LOST,
    "Stopped": words.CANCELLED,
    "Deleting": words.LOST,  # it has ended, and nothing more is told of its trial
}

#: Why jobs that are InProgress have no container yet, or none again. With any other word it runs, or is being ended.
_WAITING = {
    "Pending": Wait("SageMaker has no machine of that type free", "--aws instance-type=TYPE names another one"),
    "Starting": Wait("their machines are started"),
    "LaunchingMLInstances": Wait("their machines are started"),
    "PreparingTrainingStack": Wait("their machines are made ready"),
    "Downloading": Wait("their data is fetched"),
    "DownloadingTrainingImage": Wait("their image is fetched"),
    "Interrupted": Wait("Spot took the machine: SageMaker starts the same job again, which goes on with its trial"),
    "Restarting": Wait("SageMaker starts the same job again, which goes on with its trial"),
}

#: Why jobs were stopped. One that waited too long for a Spot machine claimed nothing, or lost the machine that it had.
_STOPPED = {
    "Stopped": words.CANCELLED,
    "MaxRuntimeExceeded": words.TIMED_OUT,
    "MaxWaitTimeExceeded": words.PREEMPTED,
}
_NO_CAPACITY = "no Spot machine was free for as long as the job might wait"

#: The first row that fits counts. For want of a machine a job never claimed a trial, or its Spot machine was taken.
_REASONS = (
    words.Row("CapacityError", words.PREEMPTED),
    words.Row("InternalServerError", words.NODE_FAIL),
    words.Row("ClientError: Please use an instance type with more memory", words.OUT_OF_MEMORY),
    words.Row("ClientError", words.NEVER_STARTED),
    words.Row("AlgorithmError: InstallRequirementsError", words.NEVER_STARTED),  # the toolkit's, before the script
)

#: Of the script (the training toolkit itself always exits with 1), else of the container.
_EXIT_CODES = (
    re.compile(r"ExecuteUserScriptError:?\s*ExitCode:? (-?\d{1,9})\b", re.IGNORECASE),
    re.compile(r"exit code:? (-?\d{1,9})\b", re.IGNORECASE),
)

#: Characters of a reason that are kept.
_SHOWN = 300


def training_job(status: str, secondary: str, failure_reason: str = "") -> JobMeaning:
    """Return what SageMaker says of a job: TrainingJobStatus, SecondaryStatus, FailureReason (empty where not told).

    An unknown SecondaryStatus of a job that lives is shown as it is.

    Raises:
        SchedulerError: the status is not known, or why a job was stopped: nothing is concluded.
    """
    said = words.looked_up(_STATUSES, status, SOURCE)
    if status == "InProgress":
        wait = _WAITING.get(secondary)
        if wait:
            return JobMeaning(secondary, words.WAITING, reason=secondary, wait=wait)
        return JobMeaning(secondary or status, said)
    if status == "Stopped":
        said = words.looked_up(_STOPPED, secondary, SOURCE)
        return JobMeaning(secondary, said, reason=_NO_CAPACITY if said is words.PREEMPTED else "")
    if status == "Failed":
        return _failed(" ".join(failure_reason.split())[:_SHOWN])
    return JobMeaning(status, said)


def _failed(reason: str) -> JobMeaning:
    """Return how a trial ended whose job failed for a reason, in one line."""
    known = words.by_reason(_REASONS, reason)
    if known:
        return JobMeaning("Failed", known, reason=reason)
    code = next((int(found[1]) for pattern in _EXIT_CODES if (found := pattern.search(reason))), None)
    if not code:  # a job that failed did not end well, whatever a text says of a 0
        return JobMeaning("Failed", words.over(TrialState.CRASHED, reason or words.LOST.cause), reason=reason)
    code = 128 - code if code < 0 else code  # the toolkit writes signals as Python does
    return JobMeaning("Failed", words.by_exit_code(code), code, reason)
