"""Say of text that is no YAML where the mistake is, and what would be right.

PyYAML names the place where it could not go on. A quote or a bracket that is never closed, or a line without its colon,
stands before that place: it is named, too.
"""

from __future__ import annotations

import re

import yaml

from slurmsweep.errors import Violation

#: A part of PyYAML's words, and what is usually meant by what stands there.
_HINTS = (
    ("found character '\\t'", "YAML is indented with blanks: replace the tab"),
    ("unknown escape character", "in double quotes \\ begins an escape: write \\\\, or use single quotes"),
    ("while scanning an alias", "a text that begins with * needs quotes"),
    ("undefined alias", "a text that begins with * needs quotes"),
    ("cannot start any token", "a text that begins with this character needs quotes"),
    ("for the tag '!", "a text that begins with ! needs quotes"),
    ("expected the node content", "an entry is empty: write null, or remove its comma"),
    ("unhashable key", "keys are text"),
    ("expected <block end>", "its indentation, or its quotes, do not go with the lines above"),
)
#: Line breaks as YAML counts them.
_LINES = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

_CLOSING = {"flow sequence": ("[", "]"), "flow mapping": ("{", "}")}


def explain(error: yaml.MarkedYAMLError, text: str) -> Violation:
    """Return the mistake that made PyYAML refuse ``text``."""
    at, opened = error.problem_mark or error.context_mark, error.context_mark
    said = ", ".join(part for part in (error.context, error.problem) if part)
    if at is None:
        return Violation("", f"not YAML: {said}")
    if "single document" in said:
        rest = "".join(_LINES.split(text)[at.line :])
        hint = "one sweep to a file" if rest.strip("-. ") else "remove this line"
        return Violation("", "holds several YAML documents: --- begins another one", hint, at.line + 1)
    found = opened and (_never_closed(error, text, opened, at) or _without_colon(said, text, opened))
    if found:
        return found
    hint = _quotes_before(text, at) or _about_colons(said, text, at)
    hint = hint or next((hint for part, hint in _HINTS if part in said), "")
    return Violation("", f"not YAML: {said} at column {at.column + 1}", hint, at.line + 1)


def _never_closed(error: yaml.MarkedYAMLError, text: str, opened: yaml.Mark, at: yaml.Mark) -> Violation | None:
    context, problem = error.context or "", error.problem or ""
    if "quoted scalar" in context and ("end of stream" in problem or "document separator" in problem):
        what = f"not YAML: the quote at column {opened.column + 1} opens a text that is never closed"
        return Violation("", what, "close it, or remove this quote", opened.line + 1)
    opening, closing = next((pair for kind, pair in _CLOSING.items() if kind in context), ("", ""))
    if not opening:
        return None
    if text[max(0, at.index - 1) : at.index + 1] == "${":
        what = f"not YAML: a {{ at column {at.column + 1} between {opening} and {closing}"
        return Violation("", what, 'a text such as "${program}" needs quotes here', at.line + 1)
    if opened.line == at.line:
        return None
    what = f"not YAML: the {opening} at column {opened.column + 1} is not closed before line {at.line + 1}"
    return Violation("", what, f"close it with {closing}", opened.line + 1)


def _without_colon(said: str, text: str, opened: yaml.Mark) -> Violation | None:
    if "could not find expected ':'" not in said:
        return None
    hint = "a key has a colon and a blank behind it; further lines of a text are indented"
    if _LINES.split(text)[opened.line].lstrip().startswith("-"):
        hint = "an entry of a list has a blank behind its -"
    return Violation("", "not YAML: this line is no `key: value`", hint, opened.line + 1)


def _quotes_before(text: str, at: yaml.Mark) -> str:
    """Return a hint if a text in quotes ends right before the place, as it does in ``'it's here'``."""
    last = None
    try:
        for token in yaml.scan(text):
            if token.end_mark.index > at.index:
                break
            last = token
    except yaml.YAMLError:
        return ""
    if not isinstance(last, yaml.ScalarToken) or last.style not in ("'", '"') or last.end_mark.line != at.line:
        return ""
    start = last.start_mark
    where = f"opens at column {start.column + 1}" + (f" of line {start.line + 1}" if start.line != at.line else "")
    return f'before it ends a text whose quote {where}: close that text where it is to end, or quote it as "it\'s"'


def _about_colons(said: str, text: str, at: yaml.Mark) -> str:
    if "mapping values are not allowed" not in said:
        return ""
    lines = _LINES.split(text)
    if ": " in lines[at.line][: at.column]:
        return "a text with a colon and a blank in it needs quotes"
    above = next((number for number in range(at.line - 1, -1, -1) if lines[number].strip()), None)
    if above is None:
        return ""
    if ": " in lines[above]:
        return f"indent it like the key on line {above + 1}"
    return f"line {above + 1} is no `key: value`: write a colon, and a blank behind it"
