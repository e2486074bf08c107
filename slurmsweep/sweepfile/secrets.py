"""Which names belong to secrets, and what is shown instead of their values in plans, scripts, records and messages.

By name alone: a secret under an innocent name, or one that a training script prints itself, is not recognised.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: As environment variables are spelled: a parameter ``max_token`` is none.
_NAME = re.compile(r"\w*(_KEY|_TOKEN|_SECRET|PASSWORD|PASSWD)\w*")

SHOWN = "***"


def is_secret(name: str) -> bool:
    """Whether a variable of that name holds a secret: ``WANDB_API_KEY``, ``HF_TOKEN``, ``DB_PASSWORD``."""
    return bool(_NAME.fullmatch(name))


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The same variables, ``***`` for the value of a secret: to show commands with."""
    return {name: SHOWN if is_secret(name) else value for name, value in environ.items()}
