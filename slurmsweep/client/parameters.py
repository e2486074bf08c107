"""The parameters of this trial, from the file that the agent wrote."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from slurmsweep.errors import UsageError

#: A string, or a non-finite number outside of strings, in a parameters file.
_NON_FINITE = re.compile(r'"(?:[^"\\]|\\.)*"|-?\.(?:nan|inf)')
_WORDS = {".nan": "NaN", ".inf": "Infinity", "-.inf": "-Infinity"}


def swept_parameters() -> dict[str, Any]:
    """Return the parameters that the agent wrote; none outside a sweep. Raises UsageError if they cannot be read."""
    path = os.environ.get("WANDB_SWEEP_PARAM_PATH")
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            return parse_parameters(file.read())
    except (OSError, ValueError) as error:
        raise UsageError(f"the sweep's parameters cannot be read from {path}: {error}") from error


def parse_parameters(text: str) -> dict[str, Any]:
    """Return the names and values of a parameters file as the agent writes it. Raises ValueError for another form."""
    params = {}
    name = None
    for line in text.split("\n"):
        if line.startswith("  value: ") and name is not None:
            finite = _NON_FINITE.sub(lambda found: _WORDS.get(found[0], found[0]), line[len("  value: ") :])
            params[name] = json.loads(finite)
            name = None
        elif line and not line.startswith("wandb_version:"):
            if not line.endswith(":") or line[0] == " ":
                raise ValueError(f"not a line that slurmsweep writes: {line!r}")
            name = json.loads(line[:-1]) if line[0] == '"' else line[:-1]
    return params
