"""Convert YAML text to plain values and the line of every key, and back: the only home of YAML.

This is YAML 1.1 as PyYAML reads it, because W&B's client does (``yes`` is true, ``010`` is 8, ``12:30`` is 750),
except:

- ``1e-5``, ``3e6``, ``1.5e3``, ``-.5`` are floats as in YAML 1.2. PyYAML makes them strings; W&B's client writes them
  again without quotes and its server reads floats, so the user of hosted W&B gets a float.
- Dates stay strings, because JSON has no dates.
- In the ``slurm:`` section ``1:30:00`` and ``0123`` stay as written, because Slurm reads them and not YAML.
- A repeated key is an error. PyYAML silently takes the last.
- Aliases that expand to far more than the written text are an error (300 bytes can mean five million values).
- Tags for values that JSON cannot hold (``!!set``, ``!!binary``, ``!!omap``) are errors.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml
from yaml.reader import ReaderError

from slurmsweep.errors import SweepFileError, Violation

if TYPE_CHECKING:
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


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2 floats, without dates, and only with types of JSON."""


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
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(r"[-+]?(?:(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+|\.[0-9][0-9_]*)$"),
    list("-+.0123456789"),
)
_Loader.yaml_constructors = {
    tag: constructor for tag, constructor in yaml.SafeLoader.yaml_constructors.items() if tag not in _NOT_JSON
}
_Loader.add_constructor(f"{_TAG}str", _text)
_Loader.add_constructor(f"{_TAG}timestamp", _text)


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
        raise SweepFileError(source, [_violation(error)]) from error
    except RecursionError as error:
        raise SweepFileError(source, [Violation("", "nested too deeply, or an alias inside its own value")]) from error
    except (ValueError, OverflowError) as error:
        raise SweepFileError(source, [Violation("", f"a value cannot be read: {error}")]) from error


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper that quotes each text that :func:`load` would not read as text."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def dump(document: dict[str, Any]) -> str:
    """Return the text of a sweep file with that content; :func:`load` returns the content."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _load(text: str, source: str) -> tuple[Any, dict[Path, int]]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            empty = Violation("", "the file is empty", "a sweep file needs method and parameters")
            raise SweepFileError(source, [empty])
        sizes: dict[int, int] = {}
        expanded = _size(node, sizes)  # nothing is expanded for that
        if expanded > max(_SMALL, _MAX_EXPANSION * len(sizes)):
            problem = f"its aliases expand to {expanded:,} values"
            raise SweepFileError(source, [Violation("", problem, "write out what is meant, or use a distribution")])
        lines = _lines(node, source)
        _keep_slurm_as_written(node)
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


def _violation(error: yaml.MarkedYAMLError) -> Violation:
    mark = error.problem_mark or error.context_mark
    column = f" at column {mark.column + 1}" if mark else ""
    said = ", ".join(part for part in (error.context, error.problem) if part)
    hint = "one sweep to a file" if "single document" in said else ""
    return Violation("", f"not YAML: {said}{column}", hint, line=mark.line + 1 if mark else None)


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
        raise SweepFileError(source, sorted(twice, key=lambda violation: violation.line or 0))
    return lines


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


def _keep_slurm_as_written(root: yaml.Node) -> None:
    """Turn numbers of the ``slurm:`` section that YAML would change (``1:30:00`` to 5400) into text."""
    for key, section in _children(root):
        if key != "slurm":
            continue
        for _, value in _children(section):
            is_number = value.tag in (f"{_TAG}int", f"{_TAG}float") and isinstance(value, yaml.ScalarNode)
            if is_number and not _AS_WRITTEN.fullmatch(value.value):
                value.tag = f"{_TAG}str"
