"""Expressions over parameters, ``4 * width``: as those over metrics (:mod:`.expression`), with integers and texts.

Integers stay integers in ``+ - * // % **``, ``abs``, ``ceil``, ``floor``, ``max`` and ``min``; ``/`` and all else give
floats. Every number fits in a float, so that no power takes long or much memory. Texts in quotes, and parameters that
are texts, can be compared by ``==`` and ``!=`` (``0.9 if optimizer == 'sgd' else 0.99``), and a parameter that is true
or false can stand as a condition (``2 * width if bidirectional else width``). What comes out is a number.
"""

from __future__ import annotations

import ast
import math
import operator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from slurmsweep.sweepfile.expression import COMPARISONS, Expression, NoValueError, Reader, parse
from slurmsweep.sweepfile.findings import shown
from slurmsweep.sweepfile.plain import identity, is_finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.sweepfile.expression import Condition, Number, Operand

#: The bits of the largest float: an integer of more is refused before it is computed.
_MOST_BITS = 1024


@lru_cache(maxsize=4096)
def parse_exact(text: str) -> Expression:
    """Parse an expression over parameters; its ``names`` are those it uses. Raises ExpressionError."""
    return parse(text, ExactReader)


class ExactReader(Reader):
    """Reads the language of this module."""

    quoted_text = r"""|'[^'\\]*'|"[^"\\]*\""""
    nameless = ("names no parameter", "write its value under parameters")

    def operation(self, kind: type[ast.AST]) -> Callable[..., Any] | None:
        """Return the function of an arithmetic sign; powers of integers are bounded before they are computed."""
        return _power if kind is ast.Pow else super().operation(kind)

    def comparison(self, kind: type[ast.cmpop]) -> Callable[[Any, Any], bool]:
        """Return a comparison: of any two values whether they are the same, of numbers also their order."""
        compare = COMPARISONS[kind]
        if kind in (ast.Eq, ast.NotEq):
            return lambda one, other: compare(identity(one), identity(other))
        return lambda one, other: compare(_number(one), _number(other))

    def constant(self, value: float) -> float:
        """Return a number as written; an integer stays one. Raises OverflowError if it is too large."""
        return self.result(value)

    def result(self, value: Any) -> float:
        """Return what an operation gave: an integer as it is, if a float could hold it. Raises as its base."""
        number = super().result(value)
        return value if type(value) is int else number

    def named(self, name: str) -> Number:
        """Return the function that takes the number of a parameter."""
        return lambda values: _number(values[name], name)

    def operand(self, node: ast.expr) -> Operand:
        """Return the function for one side of a comparison, which may be a text or any parameter."""
        if isinstance(node, ast.Constant) and isinstance(text := node.value, str):
            return lambda _: text
        if isinstance(node, (ast.Name, ast.Attribute)):
            return operator.itemgetter(self.name(node))
        return self.number(node)

    def truth(self, node: ast.Name | ast.Attribute) -> Condition:
        """Return the function for a parameter that is true or false."""
        name = self.name(node)
        return lambda values: _truth(values[name], name)


def _number(value: Any, name: str = "") -> float:
    if is_finite(value):
        return value  # type: ignore[no-any-return]  # just seen
    raise NoValueError(f"{name or 'one side of a comparison'} is {shown(value)}, which is no number"[:200])


def _truth(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    raise NoValueError(f"{name} is {shown(value)}, neither true nor false"[:200])


def _power(base: float, exponent: float) -> Any:
    if type(base) is int and type(exponent) is int and abs(base) > 1:
        bits = exponent * math.log2(abs(base))
        if bits > _MOST_BITS:
            raise OverflowError
    return base**exponent
