"""What the agent writes, wandb and the native client read back exactly."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from wandb.sdk.lib.config_util import dict_from_config_file

from slurmsweep.agents.params_file import render
from slurmsweep.client.parameters import parse_parameters

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)

AWKWARD = [
    1e-05, 1e22, 5e-324, 1.7976931348623157e308, -0.0, 2**53 + 1, -(10**30), True, None, "1e-5", "yes", "null", "~", "010",
    "12:30", "", " ", "- a", "a: b", "# no", "it's \"q\"", "\\", "\n\t\r", "\x00\x1b\x7f", "\x85\u2028\u2029", "\ufeff",
    "größe", "日本", "🎉", "\ud7ff\ue000\uffff", [1, [2.5, None]], {"a b": {"c": 1e-7}}, [], {}, "x" * 5000,
]  # fmt: skip


def same(left, right) -> bool:
    """Equal in value and type; NaN equals NaN, and 0.0 is not -0.0."""
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or (
            left == right and math.copysign(1, left) == math.copysign(1, right)
        )
    return type(left) is type(right) and left == right


def read_as_yaml(text) -> dict:
    document = yaml.safe_load(text)
    assert document.pop("wandb_version") == 1
    return {name: entry["value"] for name, entry in document.items()}


@pytest.mark.parametrize(
    "value", [*AWKWARD, float("nan"), float("inf"), -float("inf"), [float("nan"), ".inf"]], ids=ascii
)
def test_an_awkward_value_survives(value):
    text = render({"x": value})

    assert same(read_as_yaml(text), {"x": value})
    assert same(parse_parameters(text), {"x": value})


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_parameters_survive(params):
    text = render(params)

    assert same(read_as_yaml(text), params)
    assert same(parse_parameters(text), params)


@pytest.mark.parametrize(
    "name", ["yes", "No", "on", "OFF", "true", "null", "Null", "y", "n", "none", "e1", "_1", "a.b-c"]
)
def test_a_name_that_yaml_would_take_for_something_else_survives(name):
    text = render({name: 1, "other": 2})

    assert same(read_as_yaml(text), {name: 1, "other": 2})
    assert same(parse_parameters(text), {name: 1, "other": 2})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # wandb leaves its file open
def test_wandbs_own_reader_takes_it(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(render({"lr": 1e-5, "opt": {"name": "adam"}}))

    assert dict_from_config_file(str(file)) == {"lr": 1e-5, "opt": {"name": "adam"}}


def test_without_parameters_the_file_is_wandbs():
    assert render({}) == "wandb_version: 1"
