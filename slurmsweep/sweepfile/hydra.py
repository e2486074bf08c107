"""Write parameters as overrides in Hydra's grammar, which takes ``None`` for a word and ``{'lr': 0.1}`` for a mistake.

Source: ``hydra/grammar/OverrideLexer.g4`` and ``OverrideParser.g4`` (1.3). Hydra's own parser reads each value back as
it was. Limits: in a mapping that stands in a list, a key such as ``1`` becomes a number; ``${...}`` in a text is for
OmegaConf, which puts in what it names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: One name of a dotted path, and a whole path.
_NAME = r"(?:[A-Za-z_$][A-Za-z0-9_$-]*|0|[1-9][0-9]*)"
_SEGMENT, _PATH = re.compile(_NAME), re.compile(rf"{_NAME}(?:\.{_NAME})*")

#: Texts that need no quotes: no number and no sign of the grammar. A word for something else is none of them.
_BARE = re.compile(r"(?!(?:true|false|null|inf|nan)\Z)[a-z_/][a-z0-9_/.%@+-]*", re.IGNORECASE | re.ASCII)

#: Backslashes that the lexer would take together with a quote, or with the end of the text.
_BEFORE_QUOTE = re.compile(r"(\\+)(?='|\Z)")

#: What a key of a mapping may hold, which has no quotes: as it is, and behind a backslash.
_KEY = re.compile(r"[A-Za-z0-9_/\\+.$%*@?|()\[\]{}:=, \t-]+")
_ESCAPED = re.compile(r"[\\()\[\]{}:=, \t]")


def overrides(params: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return an argument for each parameter, nested ones by their dotted paths: ``opt.lr=0.01``.

    ``prefix`` is Hydra's: ``+`` adds to the configuration, ``++`` adds or overrides. Raises UsageError for a key that
    Hydra's grammar cannot write.
    """
    return [f"{prefix}{path}={_value(value)}" for name in params for path, value in _leaves(name, params[name])]


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a parameter, or its parts: what is no name for a path stays together as a mapping."""
    if not isinstance(value, dict) or not value or not _PATH.fullmatch(path):
        yield path, value
        return
    together = {}
    for name, part in value.items():
        if _SEGMENT.fullmatch(name):
            yield from _leaves(f"{path}.{name}", part)
        else:
            together[name] = part
    if together:
        yield path, together


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        if _BARE.fullmatch(value):
            return value
        # in quotes backslashes count only where they end before a quote, and are doubled there
        doubled = _BEFORE_QUOTE.sub(r"\1\1", value).replace("'", "\\'")
        return f"'{doubled}'"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_key(name)}:{_value(item)}" for name, item in value.items()) + "}"
    return f"{value}"


def _key(name: str) -> str:
    if not _KEY.fullmatch(name):
        raise UsageError(
            f"{name!r} is a key that Hydra's grammar cannot write: name it otherwise, or use ${{args_json}}"
        )
    return _ESCAPED.sub(r"\\\g<0>", name)
