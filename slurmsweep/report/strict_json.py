"""Make documents strict JSON, which has no NaN and no infinity: other programs than Python refuse these."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def strict(value: Any, instead: Callable[[float], str | None] = lambda _: None) -> Any:
    """Return the same document with something else in the place of each NaN and infinity: by default null."""
    if isinstance(value, float) and not math.isfinite(value):
        return instead(value)
    if isinstance(value, dict):
        return {str(name): strict(one, instead) for name, one in value.items()}
    return [strict(one, instead) for one in value] if isinstance(value, (list, tuple)) else value


def in_words(value: float) -> str:
    """Return the text that W&B has for a number that JSON does not have."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
