"""What ``conditions`` and ``computed`` may say, and what is said of mistakes in them."""

from __future__ import annotations

import pytest

from slurmsweep.errors import SweepFileError
from slurmsweep.sweepfile.exact_expression import parse_exact
from slurmsweep.sweepfile.expression import ExpressionError, NoValueError
from slurmsweep.sweepfile.load import load

FILE = """\
method: random
program: t.py
parameters:
  optimizer: {values: [sgd, adam]}
  momentum: {min: 0.0, max: 1.0}
  nesterov: {values: [true, false]}
  width: {min: 4, max: 8}
  net: {parameters: {norm: {values: [batch, none]}, depth: {values: [1, 2]}}}
slurmsweep:
"""


def read(tmp_path, text):
    path = tmp_path / "sweep.yaml"
    path.write_text(FILE + text)
    return load(str(path)).config.extensions


def test_conditions_stand_behind_those_they_need(tmp_path):
    ours = read(tmp_path, "  conditions: {nesterov: {net.depth: 2}, net: {optimizer: [sgd, adam], width: 4}}\n")

    net = ((("optimizer",), ("sgd", "adam")), (("width",), (4,)))
    rules = dict(ours.conditions)
    assert rules == {("net", "norm"): net, ("net", "depth"): net, ("nesterov",): ((("net", "depth"), (2,)),)}
    assert list(rules).index(("net", "depth")) < list(rules).index(("nesterov",))


def test_a_rule_takes_the_values_that_points_have(tmp_path):
    more = "  one: {value: 1}\n  odd: {values: [.nan, 1]}\nslurmsweep:\n  exclude: [{odd: .nan}]\n"
    path = tmp_path / "sweep.yaml"
    path.write_text(FILE.replace("slurmsweep:\n", more))
    assert load(str(path)).config.extensions.exclude

    path.write_text(path.read_text() + "  conditions: {width: {one: true}}\n")
    with pytest.raises(SweepFileError, match="true is not one of its values, so width would never exist"):
        load(str(path))


def test_computed_ones_stand_behind_those_they_use_and_in_a_group_that_is_there(tmp_path):
    ours = read(tmp_path, "  computed: {a.b: net.wide + 1, net.wide: 2 * width}\n  conditions: {a.b: {width: 5}}\n")

    assert [one.path for one in ours.computed] == [("net", "wide"), ("a.b",)]
    assert ours.computed[1].uses == (("net.wide", ("net", "wide")),)
    assert (ours.conditions, ours.computed[1].rule) == ((), ((("width",), (5,)),))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("conditions: {momntum: {optimizer: sgd}}", ["line 10", "'momntum' is not a parameter", "'momentum'"]),
        ("conditions: {momentum: {optimizr: sgd}}", ["line 10", "'optimizr' is not a parameter", "'optimizer'"]),
        ("conditions: {momentum: {optimizer: sdg}}", ["'sdg' is not one of its values", "momentum would never exist"]),
        ("conditions: {nesterov: {momentum: 0.5}}", ["no list of values", "discrete"]),
        ("conditions: {nesterov: {hid: 4}}\n  computed: {hid: 2*width}", ["hid is computed", "computed from"]),
        ("conditions: {net: {net.depth: 1}}", ["net.depth -> net.depth", "break the circle"]),
        ("conditions: {net: {nesterov: true}, nesterov: {net.depth: 1}}", ["depends on itself", "net.depth"]),
        ("conditions: {net: {width: 5}, net.depth: {width: 6}}", ["net.depth would never exist", "one condition"]),
        ("conditions: {net.depth: {width: []}}", ["net.depth would never exist", "no value of width"]),
        ("conditions: [momentum]", ["must give a mapping", "{momentum: {optimizer: sgd}}"]),
        ("linked: [[nesterov, optimizer]]\n  conditions: {nesterov: {width: 5}}", ["linked", "the same condition"]),
        ("exclude: [{hid: 4}]\n  computed: {hid: 2*width}", ["hid is computed", "computed from"]),
        ("computed: {a: b + 1, b: a * 2}", ["line 10", "a -> b -> a", "break the circle"]),
        ("computed: {a: 2 * a}", ["a -> a"]),
        ("computed: {width: 2 * nesterov}", ["width stands under parameters, too", "remove it"]),
        ("computed: {net: 2 * width}", ["net stands under parameters, too"]),
        ("computed: {net.depth: 2 * width}", ["net.depth stands under parameters, too"]),
        ("computed: {hid: 4}", ["must be an expression, not 4", "write hid: {value: 4} under parameters"]),
        ("computed: {hid: 4 * widht}", ["'widht' is not a parameter", "'width'"]),
        ("computed: {hid: 4 *}", ["character 4", "ends too early"]),
        ("computed: {hid: 1 + 2}", ["names no parameter", "under parameters"]),
        ("computed: {1hid: 4 * width}", ["'1hid' is no name"]),
        ("computed: [hid]", ["must be a mapping"]),
    ],
)
def test_mistakes_name_place_and_remedy(tmp_path, text, told):
    with pytest.raises(SweepFileError) as caught:
        read(tmp_path, f"  {text}\n")

    assert all(part in str(caught.value) for part in told), str(caught.value)
    assert "line " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4 * width", 128),
        ("width / 2", 16.0),
        ("width // 3 + width % 5 - -1", 13),
        ("2 ** 10 * width ** 0", 1024),
        ("width ** -1", 0.03125),
        ("floor(width / 3)", 10),
        ("max(width, 3) * abs(-2)", 64),
        ("0.9 if optimizer == 'sgd' else 0", 0.9),
        ('2 if optimizer != "it\'s" else 0', 2),
        ("2 * width if deep and not optimizer == width else 1", 64),
        ("`lambda` + a.b", 7),
    ],
)
def test_integers_stay_integers_and_texts_compare(text, value):
    values = {"width": 32, "optimizer": "sgd", "deep": True, "lambda": 3, "a.b": 4}

    computed = parse_exact(text).value(values)

    assert (computed, type(computed)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("width % (width - 32)", "division by zero"),
        ("2 ** (100 * width)", "too large"),
        ("(0 - 9) ** (10 ** 9 * width)", "too large"),
        ("log(width - 32)", "outside"),
        ("optimizer * 2", "optimizer is 'sgd', which is no number"),
        ("1 if optimizer < 3 else 2", "no number"),
        ("deep + 1", "deep is true, which is no number"),
        ("1 if width else 2", "width is 32, neither true nor false"),
    ],
)
def test_what_has_no_value_says_why(text, why):
    with pytest.raises(NoValueError, match=why):
        parse_exact(text).value({"width": 32, "optimizer": "sgd", "deep": True})


@pytest.mark.parametrize("text", ["'a'", "width + 'a'", "f'{a}' + width", "1 if 'a\\n' == a else 2", "a if 'x' else 1"])
def test_texts_are_for_comparisons(text):
    with pytest.raises(ExpressionError):
        parse_exact(text)
