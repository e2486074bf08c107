"""Say what each field of a document on disk may hold, and take a document's fields by that.

A *kind* is a function from a JSON value to the value that the program uses; it raises :class:`WrongFieldError` for what
the field cannot hold. A class on disk names its kinds once, in a :class:`Fields`, and its ``from_json`` takes what that
gives. So no document, however it came to be as it is, brings a value into the program that the program does not expect.
Fields that a newer version added are left out. Agents read documents too: nothing is imported for it.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import Enum

    Kind = Callable[[Any], Any]

#: Whole numbers on disk are below this one: those of any kernel, scheduler and array fit.
LARGEST = 2**63

#: Attempts of one trial. A job that Slurm requeued every minute would need two years for as many.
MOST_ATTEMPTS = 1_000_000

#: Seconds since the epoch of the year 9999, the last one that a calendar of Python knows.
LATEST = 253_000_000_000

_LONGEST_SHOWN = 40

T = TypeVar("T")


class WrongFieldError(ValueError):
    """Raised for a value that its field cannot hold: ``o.pid: "x" is not a whole number from 0 to ...``.

    Attributes:
        problem: what is wrong, and what would be right.
        path: of the field in its document; empty for the document as a whole.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem, path)
        self.problem, self.path = problem, path

    def below(self, name: str | int) -> WrongFieldError:
        """Return the same error as of the document around it, which has the value under ``name``."""
        return WrongFieldError(self.problem, f"{name}.{self.path}" if self.path else str(name))

    def __str__(self) -> str:
        """Return ``path: problem``."""
        return f"{self.path}: {self.problem}" if self.path else self.problem


def shown(value: Any) -> str:
    """Return a value of a document for a message, in a few words."""
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a larger number"
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _is_not(value: Any, right: str) -> WrongFieldError:
    return WrongFieldError(f"{shown(value)} is not {right}")


def text(value: Any) -> str:
    """Take text without NUL, which no path and no command line can carry."""
    if not isinstance(value, str) or "\0" in value:
        raise _is_not(value, "text")
    return value


def path(value: Any) -> str:
    """Take an absolute path."""
    if not text(value).startswith("/"):
        raise _is_not(value, "an absolute path")
    return str(value)


def flag(value: Any) -> bool:
    """Take true or false."""
    if not isinstance(value, bool):
        raise _is_not(value, "true or false")
    return value


def whole(least: int = 0, most: int = LARGEST - 1) -> Kind:
    """Return the kind of whole numbers within these bounds."""

    def take(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise _is_not(value, f"a whole number from {least} to {most}")
        return value

    return take


def number(least: float = -sys.float_info.max, most: float = sys.float_info.max) -> Kind:
    """Return the kind of finite numbers within these bounds."""
    bounds = "a finite number" if most == sys.float_info.max else f"a number from {least:g} to {most:g}"

    def take(value: Any) -> float:
        if type(value) not in (int, float) or not least <= value <= most:
            raise _is_not(value, bounds)
        return value  # type: ignore[no-any-return]  # an int or a float

    return take


def maybe(kind: Kind) -> Kind:
    """Return the kind of values that may be null."""
    return lambda value: None if value is None else kind(value)


def one_of(enum: type[Enum]) -> Kind:
    """Return the kind of the words of an enumeration."""

    def take(value: Any) -> Enum:
        try:
            return enum(value)
        except ValueError:
            raise _is_not(value, f"one of {', '.join(str(one.value) for one in enum)}") from None

    return take


def anything(value: Any) -> Any:
    """Take any value: one that is looked at where it is used."""
    return value


def rows(kind: Kind) -> Kind:
    """Return the kind of lists whose entries are of that kind, as tuples."""

    def take(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _is_not(value, "a list")
        return tuple(_take(kind, entry, place) for place, entry in enumerate(value))

    return take


def row(into: Callable[..., T], *kinds: Kind) -> Callable[[Any], T]:
    """Return the kind of lists with one entry for each of these kinds, which are the arguments of ``into``."""

    def take(value: Any) -> T:
        if not isinstance(value, list) or len(value) != len(kinds):
            raise _is_not(value, f"a list of {len(kinds)}")
        return into(*(_take(kind, entry, place) for place, (kind, entry) in enumerate(zip(kinds, value, strict=True))))

    return take


def mapping(kind: Kind, names: Kind = text) -> Kind:
    """Return the kind of mappings from names to values of that kind."""

    def take(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise _is_not(value, "a mapping")
        return {_take(names, name, name): _take(kind, entry, name) for name, entry in value.items()}

    return take


class Fields:
    """The kinds of a document's fields.

    Args:
        needed: those that must be there.
        optional: those that may be missing.
    """

    def __init__(self, needed: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None) -> None:
        self._needed = needed
        self._kinds = {**needed, **(optional or {})}

    def __call__(self, document: Any) -> dict[str, Any]:
        """Return the known fields that a document has. Raises WrongFieldError."""
        if not isinstance(document, dict):
            raise _is_not(document, "a mapping")
        for name in self._needed:
            if name not in document:
                raise WrongFieldError("is missing", name)
        return {name: _take(kind, document[name], name) for name, kind in self._kinds.items() if name in document}


def _take(kind: Kind, value: Any, name: str | int) -> Any:
    """Return what a kind makes of the value that has this name, or place, in the document around it."""
    try:
        return kind(value)
    except WrongFieldError as error:
        raise error.below(name) from None


def document(value: Any, indent: int | None = None) -> bytes:
    """Return the content of a JSON file, which :func:`parsed` reads."""
    return json.dumps(value, indent=indent).encode() + b"\n"


def parsed(content: bytes | str) -> Any:
    """Return the value of strict JSON text. Raises WrongFieldError for any other, also for NaN and infinity."""
    try:
        return json.loads(content, parse_constant=refuse_constant)
    except WrongFieldError:
        raise
    except UnicodeDecodeError:
        raise WrongFieldError("holds bytes that are no UTF-8 text") from None
    except RecursionError:
        raise WrongFieldError("is nested too deeply") from None
    except ValueError as error:  # no JSON, or an integer of thousands of digits
        raise WrongFieldError(f"is no JSON: {error}") from None


def refuse_constant(word: str) -> float:
    """Raise WrongFieldError for NaN and the infinities, which Python's reader of JSON takes and no other one does."""
    raise WrongFieldError(f"{word} is no number of JSON")
