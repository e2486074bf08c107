"""Stand-ins for two questions of STS and IAM: who asks, and is there such a role. They cannot show any permission."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from aws.standin.model import RefusedError
from aws.standin.service import ACCOUNT, Service


class Sts(Service):
    """Says who asks."""

    name = "sts"
    throttled = ("Throttling", 400)

    def get_caller_identity(self, _asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with a user that is no one's."""
        return {
            "UserId": "AIDASTANDIN000000000",
            "Account": ACCOUNT,
            "Arn": f"arn:aws:iam::{ACCOUNT}:user/tester",
        }


class Iam(Service):
    """Knows roles.

    Attributes:
        roles: their names.
    """

    name = "iam"
    throttled = ("Throttling", 400)

    def __init__(self) -> None:
        super().__init__()
        self.roles = {"slurmsweep-job", "slurmsweep-execution"}

    def get_role(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer with a role of this name."""
        name = asked["RoleName"]
        if name not in self.roles:
            raise RefusedError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
        role = {
            "Path": "/",
            "RoleName": name,
            "RoleId": "AROASTANDIN000000000",
            "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
            "CreateDate": datetime(2026, 1, 1, tzinfo=timezone.utc),
        }
        return {"Role": role}
