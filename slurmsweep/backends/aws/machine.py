"""The machine of EC2 that this process is on, by its instance metadata service (IMDSv2).

Source: Amazon EC2 User Guide, "Use the Instance Metadata Service to access instance metadata" and "Spot Instance
interruption notices". The variables are those of the AWS SDKs: ``AWS_EC2_METADATA_SERVICE_ENDPOINT`` and
``AWS_EC2_METADATA_DISABLED``.
"""

from __future__ import annotations

import json
import os
import re
import urllib.request
from contextlib import suppress
from http import HTTPStatus
from urllib.error import HTTPError

from slurmsweep.agents.place import JOB_ID, REGION
from slurmsweep.backends.queues import Machine
from slurmsweep.errors import UsageError

_ENDPOINT, _DISABLED = "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_DISABLED"
_DEFAULT = "http://169.254.169.254"

#: Seconds that a token holds, and those that a request may take: the service is on the machine itself.
_TOKEN_SECONDS, _TIMEOUT = 21600, 2


class Named(Machine):
    """A machine by the names that a user gave. Nothing announces its end."""

    def __init__(self, instance: str, region: str) -> None:
        self.instance, self.region = instance, region

    def notice(self) -> str:
        """Return nothing."""
        return ""


class Ec2Machine(Machine):
    """A machine of EC2.

    Args:
        endpoint: of its metadata service.

    Raises:
        OSError: it does not answer.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint, self._token = endpoint.rstrip("/"), ""
        self.instance = self._get("instance-id")
        self.region = self._get("placement/region")

    def notice(self) -> str:
        """Return ``terminate at 2026-11-29T22:00:00Z`` of a Spot machine that AWS takes back in about two minutes."""
        try:
            said = json.loads(self._get("spot/instance-action") or "{}")
        except (OSError, ValueError):  # asked again seconds later
            return ""
        if not isinstance(said, dict) or not said.get("action"):
            return ""
        return f"{said['action']} at {said.get('time', 'an unknown time')}"

    def _get(self, path: str) -> str:
        """Return a value; empty where there is none. A token that has run out is replaced once."""
        for _ in range(2):
            if not self._token:
                lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
                self._token = self._ask("PUT", "/latest/api/token", lifetime)
            try:
                return self._ask("GET", f"/latest/meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})
            except HTTPError as error:
                if error.code == HTTPStatus.NOT_FOUND:
                    return ""
                if error.code != HTTPStatus.UNAUTHORIZED:
                    raise
                self._token = ""
        return ""

    def _ask(self, method: str, path: str, headers: dict[str, str]) -> str:
        request = urllib.request.Request(f"{self._endpoint}{path}", method=method, headers=headers)  # noqa: S310 - http
        # no proxy: the address is the machine's own
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=_TIMEOUT) as answer:
            text: str = answer.read(1 << 16).decode("utf-8", "replace")
        return text.strip()


def this_machine(instance: str = "", region: str = "") -> Machine:
    """Return this machine; see :func:`slurmsweep.backends.registry.this_machine`."""
    machine: Machine = Named(instance, region)
    is_asked = os.environ.get(_DISABLED, "").lower() != "true"
    if is_asked and not (instance and region):
        with suppress(OSError, ValueError):  # no machine of EC2, or one whose service is closed to this process
            machine = Ec2Machine(os.environ.get(_ENDPOINT) or _DEFAULT)
            machine.instance, machine.region = instance or machine.instance, region or machine.region
    if not re.fullmatch(JOB_ID, machine.instance) or not re.fullmatch(REGION, machine.region):
        said = f"{machine.instance!a} in {machine.region!a}" if machine.instance or machine.region else "no answer"
        raise UsageError(
            f"which machine of EC2 this is cannot be told (its metadata service: {said}): name it by --instance ID and "
            "--region NAME. In a container the service answers where its hop limit is 2: `aws ec2 "
            "modify-instance-metadata-options --http-put-response-hop-limit 2`"
        )
    return machine
