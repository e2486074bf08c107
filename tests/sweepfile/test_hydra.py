"""What is written for Hydra is what Hydra reads."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmsweep.errors import UsageError
from slurmsweep.sweepfile.hydra import overrides

hydra = pytest.importorskip("hydra", reason="hydra-core is not installed")
from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: E402 - it may not be there
from omegaconf import OmegaConf  # noqa: E402 - the same

PARSER = OverridesParser.create()

#: Characters and words that mean something to Hydra, to Python, or to a shell.
SIGNS = st.text(st.sampled_from("'\"\\ab1.,:=()[]{}$ \t\n~^&#;|<>!?*@/%+-_éК京"), max_size=12)
_WORDS = (
    "null NULL none None true True FALSE inf -inf +Inf nan NaN 1 -1 +1 007 1_000 1e5 1e-5 .5 5. 0x1f 1.5.2 '' \"\" ??? "
    "a,b a=b [1,2] {a:1} glob(*) choice(a,b) range(1,3) ${x} $x ~a +a ++a \\ \\\\ \\' a\\ 'a' sgd resnet/50 ./x ../x "
    "http://host:80/a?b=c C:\\dir it's 2024-01-01 12:30 yes no on off ~ - = : @ % * | / /data/x.csv a-b a_b -a --a"
)
WORDS = st.sampled_from(_WORDS.split())
TEXTS = st.one_of(WORDS, SIGNS, st.text(max_size=8).filter(lambda text: text.isprintable()))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(-(2**80), 2**80), st.floats(), TEXTS)
NAMES = st.from_regex(r"\A[a-z_][a-z0-9_]{0,5}\Z")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


def same(read: Any, meant: Any) -> bool:
    """Return whether two values and their types are equal; NaN equals NaN."""
    if isinstance(meant, dict):
        return isinstance(read, dict) and list(read) == list(meant) and all(same(read[k], meant[k]) for k in meant)
    if isinstance(meant, list):
        return isinstance(read, list) and len(read) == len(meant) and all(map(same, read, meant))
    if isinstance(meant, float) and math.isnan(meant):
        return isinstance(read, float) and math.isnan(read)
    return type(read) is type(meant) and read == meant


@settings(max_examples=600)
@given(
    st.lists(SCALARS | VALUES.filter(lambda value: not isinstance(value, dict)), max_size=4),
    st.sampled_from(["", "+", "++"]),
)
def test_every_value_comes_back_as_it_was(values, prefix):
    written = overrides({f"p{n}": value for n, value in enumerate(values)}, prefix)
    read = PARSER.parse_overrides(written)

    assert [one.get_key_element() for one in read] == [f"{prefix}p{n}" for n in range(len(values))]
    assert [one.value() for one, value in zip(read, values, strict=True) if not same(one.value(), value)] == []


@settings(max_examples=300)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_nested_parameters_arrive_whole_in_the_configuration(params):
    config = OmegaConf.create({})
    for one in PARSER.parse_overrides(overrides(params)):
        assert not isinstance(one.value(), dict) or not one.value()
        if "${" in f"{one.value()}":
            return  # OmegaConf puts in what it names
        OmegaConf.update(config, one.key_or_group, one.value(), merge=True, force_add=True)

    read = OmegaConf.to_container(config, resolve=False)
    assert [name for name in params if not same_in_any_order(read[name], params[name])] == []


def same_in_any_order(read: Any, meant: Any) -> bool:
    if isinstance(meant, dict) and isinstance(read, dict):
        return read.keys() == meant.keys() and all(same_in_any_order(read[k], meant[k]) for k in meant)
    return same(read, meant)


@settings(max_examples=300)
@given(st.text(st.sampled_from("ab\\()[]{}:=, /+.$%*@?|-_"), min_size=1, max_size=8), SCALARS)
def test_keys_without_a_path_are_written_with_escapes(key, value):
    key = f"k{key}k"  # outer blanks are dropped by the grammar, and a key that is a number is a number
    [one] = PARSER.parse_overrides(overrides({"p": [{key: value}]}))

    assert same(one.value(), [{key: value}])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "p=null"),
        (True, "p=True"),
        (0.01, "p=0.01"),
        (1e-05, "p=1e-05"),
        ("gelu", "p=gelu"),
        ("resnet/50", "p=resnet/50"),
        ("null", "p='null'"),
        ("1e-5", "p='1e-5'"),
        ("10", "p='10'"),
        ("", "p=''"),
        ("it's", r"p='it\'s'"),
        ("C:\\dir\\", "p='C:\\dir\\\\'"),
        ("a, b", "p='a, b'"),
        ([1, "a b", None], "p=[1,'a b',null]"),
        ({}, "p={}"),
        ([{"a": 1}], "p=[{a:1}]"),
        (float("inf"), "p=inf"),
    ],
)
def test_values_look_as_a_user_of_hydra_would_write_them(value, text):
    assert overrides({"p": value}) == [text]


def test_nested_parameters_are_dotted_paths_and_what_is_no_path_stays_together():
    params = {"opt": {"lr": 0.1, "net": {"act": None, "two words": 1}}, "model/head@x": "vit", "+new": 1}

    assert overrides(params) == [
        "opt.lr=0.1",
        "opt.net.act=null",
        r"opt.net={two\ words:1}",
        "model/head@x=vit",
        "+new=1",
    ]
    assert overrides({"opt": {"lr": 0.1}}, "++") == ["++opt.lr=0.1"]


@pytest.mark.parametrize("key", ["it's", "größe", "", "a\nb"])
def test_a_key_that_the_grammar_cannot_write_is_said(key):
    with pytest.raises(UsageError, match="is a key that Hydra's grammar cannot write"):
        overrides({"p": [{key: 1}]})
