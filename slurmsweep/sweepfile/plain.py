"""Conversion of a sweep file's content to plain JSON values before it is checked, and to its frozen form and back."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slurmsweep.sweepfile.findings import Findings, Path

#: The deepest nesting; more is a mistake or an attack, and would reach Python's recursion limit elsewhere.
DEEPEST = 100

#: Python writes no integer of more than 4,300 decimal digits.
_MOST_BITS = 14_000

_SCALARS = frozenset((str, int, float, bool, type(None)))
_ESCAPED = re.compile(r"\$+float")


def plain(value: Any, path: Path, findings: Findings, depth: int = 0) -> Any:
    """Return a copy of ``value`` made of dict, list, str, int, float, bool and None only.

    Keys of mappings become strings as ``json.dumps`` makes them (1 is ``"1"``, true is ``"true"``, null is ``"null"``);
    tuples become lists; subclasses of numbers (``numpy.float64``) become plain numbers. Values that JSON cannot hold
    are reported to ``findings``. NaN and infinities stay as they are, see :func:`packed`.
    """
    if depth > DEEPEST:
        findings.error(path[:3], f"is nested more than {DEEPEST} levels deep")
        return None
    if isinstance(value, dict):
        return _plain_mapping(value, path, findings, depth)
    if isinstance(value, (list, tuple)):
        # a list may have a million entries: only entries that are not plain yet cost a call
        return [
            item
            if type(item) in _SCALARS and not _is_impossible(item)
            else plain(item, (*path, i), findings, depth + 1)
            for i, item in enumerate(value)
        ]
    return _plain_scalar(value, path, findings)


def _plain_mapping(value: dict[Any, Any], path: Path, findings: Findings, depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, (str, bool, int, float, type(None))) or _is_impossible(key):
            findings.error(path, f"has a {type(key).__name__} as a key, which JSON cannot hold", "keys are text")
            continue
        name = str(key) if isinstance(key, str) else json.dumps(key)
        if name in result:
            findings.error((*path, name), "this key is there twice", f"JSON writes {key!r} as {name!r}")
        else:
            result[name] = plain(item, (*path, name), findings, depth + 1)
    return result


def _plain_scalar(value: Any, path: Path, findings: Findings) -> Any:
    if _is_impossible(value):
        text = "holds a NUL character or half of a surrogate pair"
        what = text if isinstance(value, str) else "is an integer of thousands of digits"
        findings.error(path, f"{what}, which no command line can carry")
        return None
    if type(value) in _SCALARS:
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    problem = f"is a {type(value).__name__}, which JSON cannot hold"
    findings.error(path, problem, "use text, numbers, lists and mappings")
    return None


def _is_impossible(value: Any) -> bool:
    """Return whether no command line can carry a value; bytes of file names that are not UTF-8 may be passed."""
    if isinstance(value, int):
        return value.bit_length() > _MOST_BITS
    if not isinstance(value, str) or (value.isascii() and "\0" not in value):
        return False
    try:
        return b"\0" in value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return True


def is_number(value: Any) -> bool:
    """Return whether a value is an integer or a float; a bool is not, though Python derives it from int."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Return whether a value is a number that a float can hold: no NaN, no infinity, no integer beyond all floats."""
    return is_number(value) and abs(value) <= sys.float_info.max


def packed(value: Any) -> Any:
    """Return the value with ``{"$float": "nan"}`` for every NaN and infinity, so that any JSON parser accepts it.

    A mapping that looks like that by chance gets one more ``$``. :func:`unpacked` returns the value exactly.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, list):
        return [packed(item) for item in value]
    if isinstance(value, dict):
        return {f"${key}" if _ESCAPED.fullmatch(key) else key: packed(item) for key, item in value.items()}
    return value


def unpacked(value: Any) -> Any:
    """Return the value that :func:`packed` was given."""
    if isinstance(value, list):
        return [unpacked(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"$float"}:
            return float(value["$float"])
        return {key[1:] if _ESCAPED.fullmatch(key) else key: unpacked(item) for key, item in value.items()}
    return value


def identity(value: Any) -> Any:
    """Return a key that is equal for values that W&B takes for the same (``yaml_hash`` in ``sweeps/grid_search.py``).

    1, True and "1" differ; 1 and 1.0 do not, nor do mappings with another order of keys.
    """
    if isinstance(value, float) and value.is_integer():
        return ("int", int(value))
    return _exact(value)


def _exact(value: Any) -> Any:
    if isinstance(value, dict):
        return ("dict", tuple(sorted((key, _exact(item)) for key, item in value.items())))
    if isinstance(value, list):
        return ("list", tuple(_exact(item) for item in value))
    if isinstance(value, float):
        return ("float", repr(value))
    return (type(value).__name__, value)
