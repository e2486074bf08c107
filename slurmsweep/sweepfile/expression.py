"""Compute an expression over logged metrics, ``0.3*a + 0.2*b``: parsed by Python's grammar, computed without ``eval``.

An expression consists of numbers, names, ``+ - * / // % **``, a few functions, and ``x if a < b else y``. Every number
is a float, so that no power takes long or much memory; :mod:`.exact_expression` computes with parameters, and keeps
integers. Any other syntax is an error when the sweep file is read.

A name that is one word, or words joined by dots, is written as it is (``loss``, ``val.loss``); any other name is
written in backticks (```val/loss```).
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slurmsweep.sweepfile.findings import Findings, Path

    Number = Callable[[Mapping[str, Any]], float]
    Operand = Callable[[Mapping[str, Any]], Any]
    Condition = Callable[[Mapping[str, Any]], bool]

#: The most characters and levels of nesting; beyond them Python's own limits would end the program.
LONGEST, DEEPEST = 2000, 100


def _nothing(_: Mapping[str, float]) -> float:
    """Take the place of a wrong part; never called, because an expression with faults is refused."""
    return math.nan


#: Each function with the least and the largest number of its arguments (None: no limit).
FUNCTIONS: dict[str, tuple[Callable[..., float], int, int | None]] = {
    "abs": (abs, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "exp": (math.exp, 1, 1),
    "floor": (math.floor, 1, 1),
    "log": (math.log, 1, 1),
    "log10": (math.log10, 1, 1),
    "log1p": (math.log1p, 1, 1),
    "log2": (math.log2, 1, 1),
    "max": (max, 2, None),
    "mean": (lambda *values: math.fsum(values) / len(values), 2, None),
    "min": (min, 2, None),
    "sqrt": (math.sqrt, 1, 1),
}

OPERATIONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}

_SYMBOLS = frozenset("+-*/%(),.<>=!")
_BACKTICKS_HINT = "a name that is not one word stands in backticks: `val/loss`"
_KNOWN_HINT = "known are numbers, names, + - * / // % **, x if a < b else y, and " + ", ".join(FUNCTIONS)
_SYMBOL_HINTS = {"^": "a power is **", **dict.fromkeys("`'\"[", _BACKTICKS_HINT)}


@dataclass(frozen=True)
class Fault:
    """One mistake in an expression, at the 1-based position of its first character; the hint says what is right."""

    position: int
    problem: str
    hint: str = ""


class ExpressionError(ValueError):
    """Raised for a text that is not an expression; ``faults`` are its mistakes from left to right."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(faults, key=lambda fault: fault.position)
        super().__init__("; ".join(f"character {fault.position}: {fault.problem}" for fault in self.faults))


class NoValueError(ArithmeticError):
    """Raised if an expression has no finite value for the given numbers; the message says why."""


@dataclass(frozen=True)
class Expression:
    """A checked expression; ``names`` are the metrics it uses, each once, in the order of the text."""

    names: tuple[str, ...]
    _compute: Number

    def value(self, values: Mapping[str, Any]) -> float:
        """Compute the expression from a finite number for each of :attr:`names`; a float, unless the reader says else.

        Raises NoValueError: a division by zero, an overflow, or an argument outside the domain of a function.
        """
        return self._compute(values)


def parse(text: str, reading: type[Reader] | None = None) -> Expression:
    """Parse an expression over metrics, or what ``reading`` reads. Raises ExpressionError with every mistake in it."""
    if len(text) > LONGEST:
        raise ExpressionError([Fault(LONGEST + 1, f"has {len(text)} characters, more than {LONGEST}")])
    kind = reading or Reader
    quoted, plain = _without_backticks(text, kind.quoted_text)
    reader = kind(text, plain, quoted)
    compute = reader.number(_tree(text, plain))
    if not reader.faults and not reader.names:
        reader.faults.append(Fault(1, *kind.nameless))
    if reader.faults:
        raise ExpressionError(reader.faults)
    return Expression(tuple(reader.names), compute)


def checked(
    text: str, path: Path, findings: Findings, parsed: Callable[[str], Expression] = parse
) -> Expression | None:
    """Return an expression of a sweep file; None, and its mistakes in ``findings``, where it is wrong."""
    try:
        return parsed(text)
    except ExpressionError as error:
        for fault in error.faults:
            findings.error(path, f"character {fault.position}: {fault.problem}", fault.hint)
        return None


def _without_backticks(text: str, quoted_text: str) -> tuple[dict[int, str], str]:
    """Replace names in backticks by words of the same length, so that Python can parse the text.

    What matches ``quoted_text`` stays as it is. Returns the names by the index of their first character, and the text
    on one line. Raises ExpressionError for characters without a meaning.
    """
    quoted: dict[int, str] = {}
    faults: list[Fault] = []
    pieces = re.split(f"(`[^`]*`{quoted_text})", text)
    start = 0
    for number, piece in enumerate(pieces):
        if number % 2 and piece[0] == "`":
            quoted[start + 1] = piece[1:-1]
            pieces[number] = f" {'_' * (len(piece) - 2)} "
            if len(piece) == 2:
                faults.append(Fault(start + 1, "the name in backticks is empty", _BACKTICKS_HINT))
        elif number % 2 == 0:
            for char in dict.fromkeys(piece):
                if not (char in _SYMBOLS or char.isspace() or f"_{char}".isidentifier()):
                    problem = "this backtick has no partner" if char == "`" else f"{char!r} has no meaning here"
                    hint = _SYMBOL_HINTS.get(char, _KNOWN_HINT)
                    faults.append(Fault(start + piece.index(char) + 1, problem, hint))
            pieces[number] = re.sub(r"\s", " ", piece)
        start += len(piece)
    if faults:
        raise ExpressionError(faults)
    return quoted, "".join(pieces)


def _tree(text: str, plain: str) -> ast.expr:
    """Return Python's syntax tree of the plain text without leading space. Raises ExpressionError if it has none."""
    if not plain.strip():
        raise ExpressionError([Fault(1, "is empty", "such as 0.3*a + 0.2*b")])
    leading = len(plain) - len(plain.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of a number that touches a word: `1if`
            return ast.parse(plain[leading:], mode="eval").body
    except SyntaxError as error:
        index = leading + error.offset - 1 if error.offset else len(plain)  # at the end Python says 0
    except (ValueError, MemoryError, RecursionError):
        raise ExpressionError([Fault(1, "cannot be read, or is nested too deep", _KNOWN_HINT)]) from None
    rest = text[index:].strip()
    problem = f"not understood from {rest[:20]!r} on" if rest else "ends too early"
    raise ExpressionError([Fault(min(index, len(text.rstrip())) + 1, problem, _KNOWN_HINT)])


class Reader:
    """Converts a syntax tree into functions, and collects the mistakes.

    Attributes:
        quoted_text: a pattern that is added to that of names in backticks, for languages with texts.
        nameless: the mistake of an expression without any name, and what to say of it.
    """

    quoted_text = ""
    nameless = ("names no metric", "it would be the same for every trial")

    def __init__(self, text: str, plain: str, quoted: Mapping[int, str]) -> None:
        self.faults: list[Fault] = []
        self.names: dict[str, None] = {}
        self._text = text
        self._leading = len(plain) - len(plain.lstrip())
        self._bytes = plain.lstrip().encode("utf-8", "surrogatepass")
        self._quoted = quoted
        self._depth = 0

    def number(self, node: ast.expr) -> Number:
        """Return the function that computes the number of a node."""
        with self._one_level_deeper() as is_too_deep:
            if is_too_deep:
                return self._too_deep(node)
            match node:
                case ast.Constant():
                    read = self._constant(node)
                case ast.Name() | ast.Attribute():
                    read = self.named(self.name(node))
                case ast.UnaryOp() | ast.BinOp() if operation := self.operation(type(node.op)):
                    parts = [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]
                    read = self._computed(node, operation, parts)
                case ast.Call():
                    read = self._call(node)
                case ast.IfExp():
                    read = self._choice(node)
                case _:
                    read = self._no_number(node)
            return read

    def operation(self, kind: type[ast.AST]) -> Callable[..., Any] | None:
        """Return the function of an arithmetic sign; None if it has no meaning."""
        return OPERATIONS.get(kind)

    def comparison(self, kind: type[ast.cmpop]) -> Callable[[Any, Any], bool]:
        """Return the function of a sign of :data:`COMPARISONS`."""
        return COMPARISONS[kind]

    def constant(self, value: float) -> float:
        """Return a number as written. Raises OverflowError if it is too large."""
        return float(value)

    def result(self, value: Any) -> float:
        """Return what an operation gave, as a finite number. Raises OverflowError or TypeError if it is none."""
        number = float(value)
        if not math.isfinite(number):
            raise OverflowError
        return number

    def named(self, name: str) -> Number:
        """Return the function that takes the number of a name."""
        return operator.itemgetter(name)

    def operand(self, node: ast.expr) -> Operand:
        """Return the function for one side of a comparison."""
        return self.number(node)

    def truth(self, node: ast.Name | ast.Attribute) -> Condition | None:
        """Return the function for a name that stands as a condition; None if it cannot."""
        del node
        return None

    def _no_number(self, node: ast.expr) -> Number:
        if isinstance(node, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
            return self._fault(node, "is a condition, and a number is needed", "write x if a < b else y")
        if isinstance(node, ast.Tuple):
            return self._fault(node, "a comma parts two values, and one is needed", "a decimal point is a point: 0.3")
        return self._fault(node, f"{self._source(node)!r} has no meaning here"[:200], _KNOWN_HINT)

    def _constant(self, node: ast.Constant) -> Number:
        if type(node.value) not in (int, float):
            return self._fault(node, f"{self._source(node)} is not a number", _BACKTICKS_HINT)
        try:
            value = self.constant(node.value)  # type: ignore[arg-type]  # one of the two
        except OverflowError:
            value = math.inf
        if math.isinf(value):
            return self._fault(node, "is a number too large for a float")
        return lambda _: value

    def name(self, node: ast.Name | ast.Attribute) -> str:
        """Return the name that a node stands for; what is none is a mistake."""
        start, source = self._start(node), self._source(node)
        name = self._quoted.get(start) if isinstance(node, ast.Name) else None
        if name is None:
            name = re.sub(r"\s", "", source)
            if not all(part.isidentifier() for part in name.split(".")):
                self._fault(node, f"{source!r} is not a name"[:200], _BACKTICKS_HINT)
        self.names[name] = None
        return name

    def _call(self, node: ast.Call) -> Number:
        name = node.func.id if isinstance(node.func, ast.Name) and self._start(node.func) not in self._quoted else None
        if name not in FUNCTIONS:
            problem = f"{self._source(node.func)!r} is not a function"[:200]
            return self._fault(node.func, problem, f"known are {', '.join(FUNCTIONS)}")
        function, least, most = FUNCTIONS[name]
        count = len(node.args)
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            return self._fault(node, f"{name} takes numbers only", f"such as {name}(a{', b' * (least > 1)})")
        if count < least or (most is not None and count > most):
            wanted = "one number" if most == 1 else "two numbers or more"
            return self._fault(node, f"{name} takes {wanted}, not {count}")
        return self._computed(node, function, node.args, name)

    def _computed(self, node: ast.expr, function: Callable[..., Any], parts: list[ast.expr], name: str = "") -> Number:
        """Return the function for an operation; its error names the position and the numbers."""
        numbers = [self.number(part) for part in parts]
        position = self._start(node) + 1
        what = name or self._source(node)

        def compute(values: Mapping[str, Any]) -> float:
            arguments = [number(values) for number in numbers]
            try:
                return self.result(function(*arguments))
            except (ArithmeticError, TypeError, ValueError) as error:
                of = ", ".join(f"{argument:g}" for argument in arguments)
                raise NoValueError(f"{_WHY[type(error)]} at character {position}: {what[:40]!r} of {of}") from error

        return compute

    def _choice(self, node: ast.IfExp) -> Number:
        condition, then, otherwise = self.condition(node.test), self.number(node.body), self.number(node.orelse)
        return lambda values: then(values) if condition(values) else otherwise(values)

    def condition(self, node: ast.expr) -> Condition:
        """Return the function that tells whether the condition of a node holds."""
        with self._one_level_deeper() as is_too_deep:
            if is_too_deep:
                self._too_deep(node)
            elif isinstance(node, ast.BoolOp):
                parts = [self.condition(part) for part in node.values]
                combine = all if isinstance(node.op, ast.And) else any
                return lambda values: combine(part(values) for part in parts)
            elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
                part = self.condition(node.operand)
                return lambda values: not part(values)
            elif isinstance(node, ast.Compare) and all(type(op) in COMPARISONS for op in node.ops):
                numbers = [self.operand(part) for part in (node.left, *node.comparators)]
                compare = [self.comparison(type(op)) for op in node.ops]

                def holds(values: Mapping[str, Any]) -> bool:
                    seen = [number(values) for number in numbers]
                    return all(one(seen[at], seen[at + 1]) for at, one in enumerate(compare))

                return holds
            elif isinstance(node, (ast.Name, ast.Attribute)) and (truth := self.truth(node)):
                return truth
            else:
                self._fault(node, f"{self._source(node)!r} is not a condition"[:200], "compare by < <= > >= == !=")
            return lambda _: False

    @contextmanager
    def _one_level_deeper(self) -> Iterator[bool]:
        """Count a level of nesting; yield whether it is one too many."""
        self._depth += 1
        yield self._depth > DEEPEST
        self._depth -= 1

    def _too_deep(self, node: ast.expr) -> Number:
        problem = f"is nested more than {DEEPEST} levels deep"
        if any(fault.problem == problem for fault in self.faults):
            return _nothing
        return self._fault(node, problem, "log parts of it by the script, or use fewer terms")

    def _fault(self, node: ast.expr, problem: str, hint: str = "") -> Number:
        self.faults.append(Fault(self._start(node) + 1, problem, hint))
        return _nothing

    def _start(self, node: ast.expr) -> int:
        """Return the index of a node's first character; Python itself counts bytes of UTF-8."""
        return self._index(node.col_offset)

    def _source(self, node: ast.expr) -> str:
        """Return the text of a node as written."""
        return self._text[self._start(node) : self._index(node.end_col_offset or 0)]

    def _index(self, offset: int) -> int:
        return self._leading + len(self._bytes[:offset].decode("utf-8", "surrogatepass"))


#: Reasons for the exceptions that Python raises; TypeError: a negative number to a fractional power is complex.
_WHY: dict[type[Exception], str] = {
    ZeroDivisionError: "division by zero",
    OverflowError: "a number too large",
    ValueError: "outside of what is defined",
    TypeError: "outside of what is defined",
}
