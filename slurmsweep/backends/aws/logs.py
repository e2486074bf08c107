"""What a job wrote, from CloudWatch Logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.backends.aws.client import Client

#: Where jobs of Batch write where their definition says nothing else.
BATCH_GROUP = "/aws/batch/job"


def tail(logs: Client, group: str, stream: str, lines: int) -> Sequence[str]:
    """Return the last lines of a stream, the oldest first; none where it has none (yet). Raises as :meth:`Client.ask`.

    Lines appear some seconds after they were written.
    """
    answer = logs.ask("get_log_events", logGroupName=group, logStreamName=stream, limit=lines, startFromHead=False)
    return [event["message"].rstrip("\n") for event in answer["events"]][-lines:]
