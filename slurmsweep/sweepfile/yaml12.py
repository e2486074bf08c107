"""Convert YAML text to plain values and the line of every key, and back: the only home of YAML.

This is YAML 1.1 as PyYAML reads it, because W&B's client does (``yes`` is true, ``010`` is 8, ``12:30`` is 750),
except:

- ``1e-5``, ``1.5e3``, ``-.5`` are floats as in YAML 1.2, and ``3e6``, whole and without a dot, is the integer 3000000.
  PyYAML makes them strings; W&B's client writes them again without quotes, its server reads numbers, and hands whole
  ones to the script as integers. So the user of hosted W&B gets these numbers.
- In quotes they are the same numbers, because that client drops the quotes; but text that begins with 0 keeps its
  quotes there and stays text here. ``!!str 1e-5`` is text.
- A number that no float can hold, ``1e400``, stays text, as on that server.
- As bounds that leave the distribution open, ``{min: 1e0, max: 1e2}``, they are floats: the range is continuous.
- What is text for W&B's client and goes to no server stays as written: ``command``, ``program``, ``name`` and such.
- Dates stay strings, because JSON has no dates.
- In the ``slurm:`` section ``1:30:00`` and ``0123`` stay as written, too, because Slurm reads them and not YAML.
- A repeated key is an error. PyYAML silently takes the last.
- Aliases that expand to far more than the written text are an error (300 bytes can mean five million values).
- Tags for values that JSON cannot hold (``!!set``, ``!!binary``, ``!!omap``) are errors.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import yaml
from yaml.reader import ReaderError

from slurmsweep.errors import SweepFileError, Violation
from slurmsweep.sweepfile.sections import JOB_SECTIONS
from slurmsweep.sweepfile.yaml_errors import explain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slurmsweep.sweepfile.findings import Path

#: The largest sweep file: a list of so many values belongs in a distribution or a script.
MAX_BYTES = 1024 * 1024

#: The most values after expansion of aliases, as a multiple of the written ones; and how many are always allowed.
_MAX_EXPANSION = 20
_SMALL = 10_000

_TAG = "tag:yaml.org,2002:"
_NOT_JSON = tuple(f"{_TAG}{kind}" for kind in ("binary", "set", "omap", "pairs"))

#: Numbers that YAML does not change: ``30``, ``-1.5``, but not ``0123`` or ``1:30``.
_AS_WRITTEN = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")

#: Numbers of YAML 1.2 that PyYAML takes for text; ``0.5e-3`` is one for both.
_NUMBER = re.compile(r"[-+]?(?:(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+|\.[0-9][0-9_]*)")

#: The tags of these numbers until :func:`_settle_numbers` has decided what they are: plain ones, and those in quotes.
_PLAIN, _QUOTED = "!number", "!number-in-quotes"

#: Sections whose text is never a number.
_TEXTS = ("command", "program", "name", "description", "project", "entity", "job", "image_uri", *JOB_SECTIONS)

#: From this size on, JSON as Go writes it has an exponent also for whole numbers, so they stay floats.
_LARGEST_WHOLE = 1e21

#: The most characters of a number. Reading ``1:1:1:...`` costs the square of its length.
_LONGEST_NUMBER = 4000


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2 numbers, without dates, and only with types of JSON."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        """Return the tag of a node that has none of its own."""
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        if kind is not yaml.ScalarNode or tag != f"{_TAG}str" or not _is_number(value):
            return tag
        if implicit[0]:
            return _PLAIN
        resolved = super().resolve(kind, value, (True, False))  # type: ignore[no-untyped-call]
        keeps_quotes = value.startswith("0") or resolved != tag
        return tag if keeps_quotes else _QUOTED


def _is_number(text: str) -> bool:
    """Return whether a text that PyYAML takes for text is a number of YAML 1.2 that a float can hold."""
    return bool(_NUMBER.fullmatch(text)) and math.isfinite(float(text.replace("_", "")))


def _text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    r"""Return a scalar as text, and join the two escapes that JSON writes above U+FFFF (``\ud83d\ude00``)."""
    value = str(loader.construct_scalar(node))
    try:
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError as error:
        problem = "half of a surrogate pair is no character"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: constructor for tag, constructor in yaml.SafeLoader.yaml_constructors.items() if tag not in _NOT_JSON
}
_Loader.add_constructor(f"{_TAG}str", _text)
_Loader.add_constructor(f"{_TAG}timestamp", _text)


def _number(_: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    """Return a number of YAML 1.2: an integer if it is written without a dot and is whole."""
    text = node.value.replace("_", "")
    value = float(text)
    if "." in text or not value.is_integer() or abs(value) >= _LARGEST_WHOLE:
        return value
    return int(Decimal(text)) if value else 0


def _bounded(construct: Callable[[Any, yaml.ScalarNode], float]) -> Callable[[Any, yaml.ScalarNode], float]:
    """Return a constructor that refuses numbers of very many digits, and says where they are."""

    def constructed(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
        if len(str(node.value)) > _LONGEST_NUMBER:
            problem = f"a number of {len(node.value):,} characters"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return construct(loader, node)

    return constructed


_Loader.add_constructor(f"{_TAG}int", _bounded(yaml.SafeLoader.construct_yaml_int))
_Loader.add_constructor(f"{_TAG}float", _bounded(yaml.SafeLoader.construct_yaml_float))
for _tag in (_PLAIN, _QUOTED):
    _Loader.add_constructor(_tag, _bounded(_number))


def load(text: str, source: str) -> tuple[Any, dict[Path, int]]:
    """Return the value of one YAML document (JSON is YAML), and the 1-based line of each key path.

    A path is such as ``("parameters", "lr", "min")``. Raises SweepFileError, which names ``source``: not YAML, several
    documents, a repeated key, nesting too deep, or an alias bomb.
    """
    try:
        return _load(_without_json_tabs(text), source)
    except ReaderError as error:
        code = error.character if isinstance(error.character, int) else ord(error.character)
        problem = f"not YAML: the character U+{code:04X} is not allowed"
        line = text.count("\n", 0, error.position) + 1
        raise SweepFileError(source, [Violation("", problem, "write it as an escape in quotes", line)]) from error
    except yaml.MarkedYAMLError as error:
        raise SweepFileError(source, [explain(error, text)]) from error
    except RecursionError as error:
        raise SweepFileError(source, [Violation("", "nested too deeply, or an alias inside its own value")]) from error
    except (ValueError, OverflowError) as error:
        raise SweepFileError(source, [Violation("", f"a value cannot be read: {error}")]) from error


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which writes each text so that :func:`load` reads it as text."""

    def process_tag(self) -> None:
        """Write the tag where :func:`load` would take the text for a number, quotes or not."""
        event = self.event
        if isinstance(event, yaml.ScalarEvent) and event.tag == f"{_TAG}str" and _is_number(event.value):
            event.implicit = (False, False)
        super().process_tag()


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def dump(document: dict[str, Any]) -> str:
    """Return the text of a sweep file with that content; :func:`load` returns the content."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _load(text: str, source: str) -> tuple[Any, dict[Path, int]]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, {}
        sizes: dict[int, int] = {}
        expanded = _size(node, sizes)  # nothing is expanded for that
        if expanded > max(_SMALL, _MAX_EXPANSION * len(sizes)):
            problem = f"its aliases expand to {expanded:,} values"
            raise SweepFileError(source, [Violation("", problem, "write out what is meant, or use a distribution")])
        lines = _lines(node, source)
        _settle_numbers(node)
        return loader.construct_document(node), lines
    finally:
        loader.dispose()


def _without_json_tabs(text: str) -> str:
    """Replace tabs in JSON, which may be indented with them, unlike YAML; its strings contain none."""
    if "\t" not in text or not text.lstrip().startswith("{"):
        return text
    try:
        json.loads(text)
    except ValueError:
        return text
    return text.replace("\t", " ")


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return the number of values that a node stands for with its aliases expanded; note it in ``sizes``."""
    if id(node) not in sizes:
        children = [child for _, child in _children(node)]
        sizes[id(node)] = 1 + sum(_size(child, sizes) for child in children)
    return sizes[id(node)]


def _children(node: yaml.Node) -> list[tuple[Any, yaml.Node]]:
    """Return the values below a node, each with its key or position; a key that is no scalar counts as a value."""
    if isinstance(node, yaml.MappingNode):
        keys = [(None, key) for key, _ in node.value if not isinstance(key, yaml.ScalarNode)]
        return [*keys, *((str(key.value), value) for key, value in node.value if isinstance(key, yaml.ScalarNode))]
    return list(enumerate(node.value)) if isinstance(node, yaml.SequenceNode) else []


def _merged(node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
    """Yield the keys and values of a mapping, those that it merges (``<<: *base``) first; nothing for another node."""
    children = _children(node) if isinstance(node, yaml.MappingNode) else []
    for _, base in (child for child in children if child[0] == "<<"):
        for one in base.value if isinstance(base, yaml.SequenceNode) else [base]:
            yield from _merged(one)
    yield from (child for child in children if child[0] != "<<")


def _lines(root: yaml.Node, source: str) -> dict[Path, int]:
    """Return the line of every key and of each entry of ``command``. Raises SweepFileError for all repeated keys."""
    lines: dict[Path, int] = {}
    twice: list[Violation] = []
    waiting: list[tuple[Path, yaml.Node]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            _note_keys(node, path, lines, twice)
        for key, child in _children(node):
            if path == ("command",):
                lines[(*path, key)] = child.start_mark.line + 1
            if not isinstance(child, yaml.ScalarNode):
                waiting.append(((*path, key), child))
    if twice:
        further = _further_sweeps(root, {violation.path for violation in twice})
        told = [violation for violation in twice if not further or "." in violation.path]
        raise SweepFileError(source, sorted([*further, *told], key=lambda violation: violation.line or 0))
    return lines


def _further_sweeps(root: yaml.Node, twice: set[str]) -> list[Violation]:
    """Return where a file that holds several sweeps begins the second one, the third one ...; else nothing.

    Two keys of the top level that are there again are no slip any more.
    """
    keys = [key for key, _ in root.value if isinstance(key, yaml.ScalarNode)] if isinstance(root.value, list) else []
    if len(twice & {str(key.value) for key in keys}) < 2:
        return []
    further: list[Violation] = []
    seen: set[str] = set()
    for key in keys:
        name = str(key.value)
        if name in seen:
            problem = f"holds more than one sweep: {name} begins another one here"
            further.append(Violation("", problem, "one sweep to a file: split it", key.start_mark.line + 1))
            seen = set()
        seen.add(name)
    return further


def _note_keys(node: yaml.MappingNode, path: Path, lines: dict[Path, int], twice: list[Violation]) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen and key.tag != f"{_TAG}merge":
            where = ".".join(map(str, (*path, name)))
            twice.append(Violation(where, f"this key is there twice, first on line {seen[name]}", line=line))
        seen.setdefault(name, line)
        lines.setdefault((*path, name), line)


def _settle_numbers(root: yaml.Node) -> None:
    """Give each number its tag: text in sections of text, floats as bounds of an open range, else a number.

    In the ``slurm:`` and ``aws:`` sections also numbers that YAML 1.1 would change (``1:30:00`` to 5400) become text.
    """
    for key, section in _children(root):
        if key in _TEXTS:
            for _, value in [(key, section), *_children(section)]:
                is_changed = value.tag in (f"{_TAG}int", f"{_TAG}float") and not _AS_WRITTEN.fullmatch(value.value)
                if value.tag in (_PLAIN, _QUOTED) or (key in JOB_SECTIONS and is_changed):
                    value.tag = f"{_TAG}str"
        elif key == "parameters":
            _settle_bounds(section)


def _settle_bounds(parameters: yaml.Node) -> None:
    for _, parameter in _merged(parameters):
        form = dict(_merged(parameter))
        if "parameters" in form:
            _settle_bounds(form["parameters"])
        elif "distribution" not in form:
            for bound in (form[key] for key in ("min", "max") if key in form):
                if bound.tag in (_PLAIN, _QUOTED):
                    bound.tag = f"{_TAG}float"
