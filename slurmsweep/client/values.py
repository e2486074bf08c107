"""Conversion of values for JSON, and warnings, for all parts of the client."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: numpy scalars and tensors of one element by ``item()``, others as text.

    NaN and infinity stay: Python's json writes ``NaN`` and ``Infinity``, and reads them, too.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    try:
        item = value.item()
    except (AttributeError, ValueError, RuntimeError, TypeError):
        return f"{type(value).__name__}: {value}"
    return item if isinstance(item, (bool, int, float, str)) else str(item)


def as_mapping(values: Any) -> Mapping[str, Any]:
    """Return a mapping, or the attributes of an ``argparse.Namespace`` and the like; keys lose dashes, as in wandb."""
    given = dict(values) if hasattr(values, "keys") else dict(vars(values))
    return {str(name).strip("-"): value for name, value in given.items()}


def warn(message: str) -> None:
    """Print a warning on stderr as wandb's ``termwarn``, unless ``WANDB_SILENT`` is set."""
    if os.environ.get("WANDB_SILENT", "").lower() not in ("true", "1"):
        print(f"slurmsweep: WARNING {message}", file=sys.stderr)
