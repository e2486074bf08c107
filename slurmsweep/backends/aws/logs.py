"""What a job wrote, from CloudWatch Logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slurmsweep.backends.aws.client import Client

#: Where jobs of Batch write where their definition says nothing else, and where training jobs of SageMaker do.
BATCH_GROUP, SAGEMAKER_GROUP = "/aws/batch/job", "/aws/sagemaker/TrainingJobs"


def tail(logs: Client, group: str, stream: str, lines: int) -> tuple[str, ...]:
    """Return the last lines of a stream, the oldest first; none where it has none (yet). Raises as :meth:`Client.ask`.

    Lines appear some seconds after they were written.
    """
    answer = logs.ask("get_log_events", logGroupName=group, logStreamName=stream, limit=lines, startFromHead=False)
    return tuple(event["message"].rstrip("\n") for event in answer["events"][-lines:])


def newest_stream(logs: Client, group: str, beginning: str) -> str:
    """Return the stream of the last start of a job whose streams begin so; empty where it has none (yet).

    Names of streams end with the moment of the start. Raises as :meth:`Client.ask`.
    """
    streams = logs.pages("describe_log_streams", "logStreams", logGroupName=group, logStreamNamePrefix=beginning)
    return max((one["logStreamName"] for one in streams), default="")
