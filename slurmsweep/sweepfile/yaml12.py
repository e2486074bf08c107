"""YAML text to plain values and the line of every key: the only reader of YAML.

YAML 1.1 as PyYAML reads it, because that is what W&B's client does, with these differences:

- ``1e-5``, ``3e6``, ``1.5e3`` are floats as in YAML 1.2. PyYAML makes them strings, and hosted W&B turns those back
into
  floats on its server, so a float is what the user gets there.
- Dates stay strings: they cannot be passed on as JSON.
- A key given twice is an error. PyYAML silently takes the last.
- Aliases that expand to far more than what was written are an error (300 bytes can mean five million values).
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from slurmsweep.errors import SweepFileError, Violation

Path = tuple[Any, ...]

#: A sweep file larger than this is a mistake; lists of that many values belong into a distribution or a script.
MAX_BYTES = 16 * 1024 * 1024

#: Values after expansion of aliases, as a multiple of what was written; small files may always have this many.
_MAX_EXPANSION = 20
_SMALL = 10_000

_MERGE = "tag:yaml.org,2002:merge"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_FLOAT = "tag:yaml.org,2002:float"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2 floats and without dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def load(text: str, source: str) -> tuple[Any, dict[Path, int]]:
    """Read one YAML document (JSON is YAML).

    Args:
        text: of the file.
        source: its name, for messages.

    Returns:
        The value, and the 1-based line of each key path, ``("parameters", "lr", "min")``.

    Raises:
        SweepFileError: not YAML, more than one document, a key twice, too deep, or an alias bomb.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise SweepFileError(
                source, [Violation("", "the file is empty", "a sweep file needs method and parameters")]
            )
        _refuse_bombs(node, source)
        lines: dict[Path, int] = {}
        _refuse_duplicates(node, source, lines)
        return loader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        raise SweepFileError(source, [_violation(error)]) from error
    except yaml.YAMLError as error:
        raise SweepFileError(source, [Violation("", f"not YAML: {error}")]) from error
    except RecursionError as error:
        raise SweepFileError(source, [Violation("", "nested too deeply, or an alias inside its own value")]) from error
    except (ValueError, OverflowError) as error:
        raise SweepFileError(source, [Violation("", f"a value cannot be read: {error}")]) from error
    finally:
        loader.dispose()


def _violation(error: yaml.MarkedYAMLError) -> Violation:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    column = f" at column {mark.column + 1}" if mark else ""
    context = f" {error.context}" if error.context else ""
    return Violation("", f"not YAML{column}: {error.problem}{context}", line=line)


def _refuse_bombs(root: yaml.Node, source: str) -> None:
    """Compare the number of values after expansion with the number written, without expanding anything."""
    sizes: dict[int, int] = {}
    expanded = _size(root, sizes)
    if expanded > max(_SMALL, _MAX_EXPANSION * len(sizes)):
        problem = f"its aliases expand to {expanded:,} values"
        raise SweepFileError(source, [Violation("", problem, "write out what is meant, or use a distribution")])


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    if id(node) not in sizes:
        children = _children(node)
        sizes[id(node)] = 1 + sum(_size(child, sizes) for child in children)
    return sizes[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _refuse_duplicates(root: yaml.Node, source: str, lines: dict[Path, int]) -> None:
    """Note the line of every key; raise for all keys that stand twice in one mapping."""
    twice: list[Violation] = []
    waiting: list[tuple[Path, yaml.Node]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            # values of a parameter are reported by the line of their list: a million lines would help nobody
            continue
        if not isinstance(node, yaml.MappingNode):
            continue
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen and key.tag != _MERGE:
                where = ".".join((*map(str, path), name))
                twice.append(Violation(where, f"this key is there twice, first on line {seen[name]}", line=line))
            seen.setdefault(name, line)
            lines[(*path, name)] = line
            waiting.append(((*path, name), value))
    if twice:
        raise SweepFileError(source, sorted(twice, key=lambda violation: violation.line or 0))
