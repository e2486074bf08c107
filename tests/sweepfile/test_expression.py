"""Expressions compute what Python would, and nothing else that Python can say is one."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.errors import SweepFileError
from slurmsweep.sweepfile.config import SweepConfig, check
from slurmsweep.sweepfile.expression import DEEPEST, LONGEST, ExpressionError, NoValueError, parse

VALUES = {"a": 2.0, "b": 3.0, "c": -0.5, "val.loss": 5.0, "val/loss": 7.0, "größe": 11.0, "min": 13.0, "a b": 17.0}


def value(text: str) -> float:
    return parse(text).value(VALUES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.3*a + 0.2*b", 0.3 * 2 + 0.2 * 3),
        ("  a\n + b\t", 5.0),
        ("-a**2", -4.0),
        ("2**-a", 0.25),
        ("b // a + b % a", 2.0),
        ("c // a", -1.0),
        ("(a + b) / -c", 10.0),
        ("1_000 * a + 1e-3", 2000.001),
        ("9007199254740993 * a", 2.0 * 2**53),
        ("val.loss", 5.0),
        ("val . loss", 5.0),
        ("val / b if a < b else 0", None),
        ("`val/loss` * 2", 14.0),
        ("`a b`-`größe`", 6.0),
        ("größe + `a`", 13.0),
        ("min(min, a)", 2.0),
        ("max(a, b, 7) - min(a, b)", 5.0),
        ("mean(a, b)", 2.5),
        ("abs(c) + sqrt(a + a) + floor(c) + ceil(c)", 1.5),
        ("exp(log(a)) + log2(a) + log10(100*a/a) + log1p(c + 0.5)", 5.0),
        ("a if a < b else b", 2.0),
        ("1 if a < b < 3 else 2", 2.0),
        ("1 if a == 2 and not b != 3 or a > 1e9 else 2", 1.0),
        ("a - (10 if b >= 3 else 0)", -8.0),
        ("+".join("a" * DEEPEST), 2.0 * DEEPEST),
    ],
)
def test_a_value_is_what_the_words_mean(text, expected):
    if expected is None:
        assert parse(text).names == ("a", "b", "val")
    else:
        assert value(text) == pytest.approx(expected, rel=1e-15)


def test_names_are_those_of_the_text_each_once():
    assert parse("b*`val/loss` + val.loss + b - min(min, 1)").names == ("b", "val/loss", "val.loss", "min")


numbers = st.floats(0.001, 1e6).map(repr)
sums = st.recursive(
    st.sampled_from(["a", "b"]) | numbers,
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "%", "//", "**"]), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
    max_leaves=12,
)


@given(sums, st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_arithmetic_is_pythons(text, a, b):
    text = f"{text} + 0*a + 0*b"
    try:
        expected = eval(text, {"__builtins__": {}}, {"a": a, "b": b})
    except (OverflowError, TypeError, ZeroDivisionError):  # of complex numbers on the way
        expected = math.nan
    try:
        found = parse(text).value({"a": a, "b": b})
    except NoValueError:
        # Python may also have gone through an infinity on its way, or through complex numbers
        return
    assert found == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1/(a - 2)", "division by zero at character 1: '1/(a - 2)' of 1, 0"),
        ("b + a % 0", "division by zero at character 5: 'a % 0' of 2, 0"),
        ("0**c", "division by zero at character 1: '0**c' of 0, -0.5"),
        ("log(c)", "outside of what is defined at character 1: 'log' of -0.5"),
        ("a + sqrt(c)", "outside of what is defined at character 5: 'sqrt' of -0.5"),
        ("c**0.5", "outside of what is defined at character 1: 'c**0.5' of -0.5, 0.5"),
        ("exp(a*1000)", "a number too large at character 1: 'exp' of 2000"),
        ("1/(1e308*a*10)", "a number too large at character 4: '1e308*a' of 1e+308, 2"),
        ("9.9**9.9**9.9**9.9 + a", "a number too large at character 6: '9.9**9.9**9.9' of 9.9, 7.19099e+09"),
        ("(1e9*a)**1e9", "a number too large at character 1: '(1e9*a)**1e9' of 2e+09, 1e+09"),
    ],
)
def test_what_has_no_finite_value_says_why_and_where(text, why):
    with pytest.raises(NoValueError) as error:
        value(text)

    assert str(error.value) == why


def test_only_the_branch_that_is_taken_is_computed():
    assert value("0 if a == 2 else 1/(a - 2)") == 0.0


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 1, "is empty"),
        (" \n ", 1, "is empty"),
        ("2 ** 10", 1, "names no metric"),
        ("a +", 4, "ends too early"),
        ("a + )", 5, "not understood from ')'"),
        ("a) + (b", 2, "not understood from ') + (b'"),
        (" a) + (b", 3, "not understood"),
        ("a b", 3, "not understood from 'b'"),
        ("0,3*a", 1, "a comma parts two values"),
        ("`größe` + foo(a)", 11, "'foo' is not a function"),
        ("a.upper()", 1, "'a.upper' is not a function"),
        ("`abs`(a)", 2, "'abs' is not a function"),
        ("(a + b).real", 1, "'(a + b).real' is not a name"),
        ("`a`.real", 2, "is not a name"),
        ("a`b`", 3, "not understood"),
        ("a[0]", 2, "'[' has no meaning here"),
        ("lambda: a", 7, "':' has no meaning here"),
        ("a := 1", 3, "':' has no meaning here"),
        ("'a' * 3", 1, '"\'" has no meaning here'),
        ("a # b", 3, "'#' has no meaning here"),
        ("a ^ 2", 3, "'^' has no meaning here"),
        ("a \\\n+ b", 3, "has no meaning here"),
        ("\ud800*a", 1, "has no meaning here"),
        ("a*\x00", 3, "has no meaning here"),
        ("`a", 1, "this backtick has no partner"),
        ("a + ``", 5, "the name in backticks is empty"),
        ("True*a", 1, "True is not a number"),
        ("1j*a", 1, "1j is not a number"),
        ("1e999*a", 1, "is a number too large for a float"),
        ("a*" + "9" * 1500, 3, "is a number too large for a float"),
        ("a < b", 1, "is a condition"),
        ("not a", 1, "is a condition"),
        ("a and b", 1, "is a condition"),
        ("a if b else 1", 6, "'b' is not a condition"),
        ("a if a is b else 1", 6, "'a is b' is not a condition"),
        ("a if a in b else 1", 6, "'a in b' is not a condition"),
        ("min(a)", 1, "min takes two numbers or more, not 1"),
        ("abs(a, b)", 1, "abs takes one number, not 2"),
        ("abs(x=a)", 3, "not understood"),
        ("max(*a)", 1, "max takes numbers only"),
        ("(yield a)", 2, "'yield a' has no meaning here"),
        ("-" * 1900 + "a", DEEPEST + 1, "nested more than 100 levels"),
        ("+".join("a" * (DEEPEST + 1)), 1, "nested more than 100 levels"),
        ("a if " + "not " * 300 + "a < b else b", 402, "nested more than 100 levels"),
        ("a" * (LONGEST + 1), LONGEST + 1, "has 2001 characters, more than 2000"),
    ],
)
def test_anything_else_is_wrong_at_its_place(text, position, words):
    with pytest.raises(ExpressionError) as error:
        parse(text)

    [fault, *_] = error.value.faults
    if "abs(x" not in text:  # Python places it at the name or at what follows
        assert (fault.position, words in fault.problem) == (position, True), fault
    assert len(error.value.faults) == 1 or text == "a[0]"


def test_parentheses_without_end_are_an_error():
    with pytest.raises(ExpressionError):
        parse("(" * 900 + "a" + ")" * 900)


def test_everything_that_is_wrong_is_said():
    with pytest.raises(ExpressionError) as error:
        parse("foo(a) + bar(b) * True")

    assert [fault.position for fault in error.value.faults] == [1, 10, 19]


@given(st.text(alphabet="ab1.0+-*/%(), <>=!`'\"_\n[]{}:;#@é²if else", max_size=40) | st.text(max_size=20))
def test_no_text_does_anything_but_compute_or_fail_clearly(text):
    faults, found, why = [], 1.0, "at character"
    try:
        expression = parse(text)
        found = expression.value(dict.fromkeys(expression.names, 1.5))
    except ExpressionError as error:
        faults = error.faults
    except NoValueError as error:
        why = str(error)

    assert math.isfinite(found)
    assert "at character" in why
    assert all(1 <= fault.position <= len(text) + 1 for fault in faults)


def config(**keys):
    return check({"method": "grid", "program": "t.py", "parameters": {"x": {"values": [1, 2]}}, **keys}, "x").config


def test_an_expression_computes_the_metric_of_the_file():
    found = config(
        metric={"name": "total", "goal": "maximize", "target": 3}, slurmsweep={"metric": {"expression": "a + b"}}
    )

    assert (found.metric.name, found.metric.goal, found.metric.target) == ("total", "maximize", 3)
    assert found.metric.expression == "a + b"
    assert SweepConfig.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_without_a_metric_in_the_file_the_expression_is_the_metric():
    found = config(slurmsweep={"metric": {"name": "total", "goal": "maximize", "expression": "a"}})
    plain = config(slurmsweep={"metric": {"name": "total", "expression": "a"}})

    assert (found.metric.name, found.metric.goal, plain.metric.goal) == ("total", "maximize", "minimize")


def test_what_needs_a_metric_takes_a_computed_one():
    bands = {"type": "hyperband", "min_iter": 3}
    found = config(early_terminate=bands, slurmsweep={"metric": {"name": "total", "expression": "a"}})

    assert (found.early_terminate.min_iter, found.metric.expression) == (3, "a")
    with pytest.raises(SweepFileError, match="needs a metric"):
        config(early_terminate=bands)


def test_a_pareto_view_is_a_list_or_names_with_goals():
    short = config(slurmsweep={"pareto": {"acc": "maximize", "latency": "minimize"}})
    long = config(slurmsweep={"pareto": [{"name": "acc", "goal": "maximize"}, {"name": "latency"}]})

    assert short.extensions.pareto == long.extensions.pareto
    assert [(one.name, one.goal) for one in short.extensions.pareto] == [("acc", "maximize"), ("latency", "minimize")]


def test_the_sweeps_metric_in_a_pareto_view_has_its_goal_and_its_expression():
    found = config(
        metric={"name": "total", "goal": "maximize"},
        slurmsweep={
            "metric": {"expression": "a + b"},
            "pareto": [{"name": "total"}, {"name": "a", "expression": "a/b"}],
        },
    )

    [total, other] = found.extensions.pareto
    assert (total.goal, total.expression) == ("maximize", "a + b")
    assert (other.goal, other.expression) == ("minimize", "a/b")
