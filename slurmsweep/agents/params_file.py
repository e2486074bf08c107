"""Write the parameters file that wandb reads (``WANDB_SWEEP_PARAM_PATH``), without a YAML library.

Shape: ``wandb.sdk.lib.config_util.save_config_file_from_dict``. Each value is written so that it is read back exactly
as YAML 1.1 (by wandb) and, except for non-finite numbers, as JSON (by the native client).
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Characters that may stand raw in a double-quoted YAML string: printable ones (YAML 1.1, c-printable), without the
#: line breaks that YAML folds (U+0085, U+2028, U+2029) and the byte order mark. As text: compiling it takes as
#: long as half the start of Python, and few values need it.
_MUST_ESCAPE = "[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"

#: Words that YAML 1.1 takes for a boolean or for null, in upper or lower case.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def render(params: Mapping[str, Any]) -> str:
    """Return the text of the file."""
    entries = []
    for name, value in params.items():
        key = name if _is_plain(name) else _string(name)
        entries.append(f"{key}:\n  value: {_flow(value)}\n")
    return "wandb_version: 1" + ("\n\n" + "".join(entries) if entries else "")


def _is_plain(name: str) -> bool:
    """Return whether YAML reads a name as text without quotes: W&B warns of other names, and passes them on."""
    is_word = name.isascii() and name.replace(".", "_").replace("-", "_").isidentifier()
    return is_word and name[0] not in ".-" and name.lower() not in _WORDS


def _flow(value: Any) -> str:
    """Write a value in the form that YAML 1.1 and JSON share."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_string(str(key))}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _string(value)
    return json.dumps(value)


def _float(value: float) -> str:
    """Write ``1.0e-05``: without the dot YAML 1.1 would read a string."""
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    digits, e, exponent = repr(value).partition("e")
    return f"{digits}.0{e}{exponent}" if e and "." not in digits else f"{digits}{e}{exponent}"


def _string(value: str) -> str:
    quoted = json.dumps(value, ensure_ascii=False)
    if quoted.isascii() and quoted.isprintable():
        return quoted
    import re

    return re.sub(_MUST_ESCAPE, lambda found: f"\\u{ord(found[0]):04x}", quoted)
