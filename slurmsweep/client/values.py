"""Values as JSON can keep them, and warnings: what every part of the client needs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def plain(value: Any) -> Any:
    """A value as JSON can keep it: numpy scalars and tensors of one element by ``item()``, the rest by its text.

    NaN and infinity are written as Python's json does, ``NaN`` and ``Infinity``, which its reader takes back.
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
    """A mapping, or the attributes of an ``argparse.Namespace`` and the like; keys lose dashes, as in wandb."""
    given = dict(values) if hasattr(values, "keys") else dict(vars(values))
    return {str(name).strip("-"): value for name, value in given.items()}


def warn(message: str) -> None:
    """One line on stderr, as wandb's ``termwarn``; none with ``WANDB_SILENT``."""
    if os.environ.get("WANDB_SILENT", "").lower() not in ("true", "1"):
        print(f"slurmsweep: WARNING {message}", file=sys.stderr)
