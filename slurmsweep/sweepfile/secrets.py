"""Recognise secrets by name, so that plans, scripts, records and messages do not show their values.

Limit: a secret under an ordinary name, or one that a training script prints itself, is not recognised.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: In capitals, as environment variables are written: a parameter ``max_token`` is no secret.
_NAME = re.compile(r"\w*(?:_KEY|_TOKEN|_SECRET|PASSWORD|PASSWD)\w*")

SHOWN = "***"

#: A value behind a name in a text: ``WANDB_API_KEY=1234``, ``"HF_TOKEN": "hf_1234"``, ``DB_PASSWORD: 1234``.
_IN_TEXT = re.compile(rf"""({_NAME.pattern}["']?\s*[=:]\s*["']?)[^\s"']+""")


def is_secret(name: str) -> bool:
    """Return whether a variable of that name holds a secret: ``WANDB_API_KEY``, ``HF_TOKEN``, ``DB_PASSWORD``."""
    return bool(_NAME.fullmatch(name))


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with ``***`` for the value of each secret, for commands that are shown."""
    return {name: SHOWN if is_secret(name) else value for name, value in environ.items()}


def masked(text: str) -> str:
    """Return a text, such as the end of a log, with ``***`` for each value that stands behind the name of a secret."""
    return _IN_TEXT.sub(rf"\g<1>{SHOWN}", text)
