"""A stand-in for CloudWatch Logs: what jobs of the other stand-ins write, read as from AWS.

It cannot show delays, retention, or pages cut by their size in bytes.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from aws.standin.model import RefusedError
from aws.standin.service import ACCOUNT, REGION, Service, page


class Event(NamedTuple):
    """One line of output, and when it arrived, in milliseconds."""

    timestamp: int
    message: str


class Logs(Service):
    """Groups and streams, each a list of events.

    Attributes:
        events: by group and stream.
        page_size: events an answer at most, 10,000 at AWS.
    """

    name = "logs"
    invalid = ("InvalidParameterException", 400)

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, dict[str, list[Event]]] = {"/aws/batch/job": {}, "/aws/sagemaker/TrainingJobs": {}}
        self.page_size = 10_000

    def begin(self, group: str, stream: str) -> None:
        """Make a stream, and its group where there is none."""
        with self.lock:
            self.events.setdefault(group, {}).setdefault(stream, [])

    def write(self, group: str, stream: str, line: str) -> None:
        """Add a line to a stream."""
        with self.lock:
            self.events[group][stream].append(Event(int(time.time() * 1000), line))

    def text(self, group: str, stream: str) -> str:
        """Return all that a stream has, for tests."""
        with self.lock:
            return "".join(f"{event.message}\n" for event in self.events[group][stream])

    def create_log_group(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Make a group."""
        if asked["logGroupName"] in self.events:
            raise RefusedError("ResourceAlreadyExistsException", "The specified log group already exists")
        self.events[asked["logGroupName"]] = {}
        return {}

    def describe_log_groups(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with the groups whose names begin so."""
        names = sorted(name for name in self.events if name.startswith(asked.get("logGroupNamePrefix", "")))
        found, following = page(names, asked.get("nextToken"), asked.get("limit", 50))
        groups = [
            {"logGroupName": name, "arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*", "creationTime": 0}
            for name in found
        ]
        return {"logGroups": groups, "nextToken": following}

    def describe_log_streams(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with the streams of a group whose names begin so."""
        streams = self._streams(asked["logGroupName"])
        names = sorted(name for name in streams if name.startswith(asked.get("logStreamNamePrefix", "")))
        found, following = page(names, asked.get("nextToken"), asked.get("limit", 50))
        return {"logStreams": [{"logStreamName": name} for name in found], "nextToken": following}

    def get_log_events(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with one page. A token that comes back as it went says that there is no more."""
        stream = self._streams(asked["logGroupName"]).get(asked["logStreamName"])
        if stream is None:
            raise RefusedError("ResourceNotFoundException", "The specified log stream does not exist.")
        since, until = asked.get("startTime", 0), asked.get("endTime", float("inf"))
        events = [event for event in stream if since <= event.timestamp < until]
        size = min(asked.get("limit", self.page_size), self.page_size)
        first, last = self._range(asked.get("nextToken"), bool(asked.get("startFromHead")), size, len(events))
        arrived = int(time.time() * 1000)
        return {
            "events": [{**event._asdict(), "ingestionTime": arrived} for event in events[first:last]],
            "nextForwardToken": f"f/{last}",
            "nextBackwardToken": f"b/{first}",
        }

    @staticmethod
    def _range(token: str | None, from_head: bool, size: int, number: int) -> tuple[int, int]:  # noqa: FBT001
        if token is None:
            return (0, min(size, number)) if from_head else (max(0, number - size), number)
        way, _, place = token.partition("/")
        if way not in {"f", "b"} or not place.isdigit():
            raise RefusedError("InvalidParameterException", "The specified nextToken is invalid.")
        if way == "f":
            return int(place), min(int(place) + size, number)
        return max(0, int(place) - size), int(place)

    def _streams(self, group: str) -> dict[str, list[Event]]:
        if group not in self.events:
            raise RefusedError("ResourceNotFoundException", "The specified log group does not exist.")
        return self.events[group]
