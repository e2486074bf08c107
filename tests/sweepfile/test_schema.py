"""The JSON schema for editors says what the checker says, where a schema can tell."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from slurmsweep.errors import SweepFileError
from slurmsweep.sweepfile import (
    base,
    config,
    expression,
    extensions,
    objectives,
    repeats,
    rungs,
    sections,
    snapshot,
    space,
    yaml12,
)

TESTS = Path(__file__).parent.parent
SCHEMA = json.loads(Path(config.__file__).with_name("schema.json").read_text())
VECTORS = json.loads((TESTS / "data" / "wandb_vectors.json").read_text())["vectors"]
EXAMPLES = sorted(TESTS.parent.glob("examples/*/*.yaml"))

#: Wrong files that are no YAML, or not such as JSON can hold.
UNREADABLE = {
    "alias-bomb", "bad-yaml", "block-scalar-dedented", "brace-never-closed", "bracket-never-closed", "colon-in-text",
    "colon-without-blank", "control-character", "dash-without-blank", "document-mark-at-the-end", "duplicate-key",
    "empty", "escape-of-a-path", "key-between-indentations", "key-indented", "line-without-colon",
    "macro-in-brackets", "number-too-long", "python-tag", "quote-closed-too-early", "quote-closed-too-late",
    "quote-never-closed", "quote-too-many", "tab-indent", "text-with-a-star", "text-with-an-at", "three-sweeps",
    "two-documents", "two-sweeps", "two-sweeps-and-a-slip",
}  # fmt: skip

#: Wrong files whose mistake no schema can tell: it lies between keys, or in the text of a value.
BEYOND = {
    "bayes-of-constants", "bayes-without-metric", "continuous-in-grid", "early-terminate-no-metric",
    "exclude-unknown-value", "expression-call", "expression-constant", "expression-no-name",
    "expression-other-metric", "expression-quotes", "expression-torn", "expression-wrong-parts", "grid-too-large",
    "integer-too-long", "linked-of-other-lengths", "linked-range", "linked-unknown", "macro-inside",
    "macro-near-miss-inside", "macro-of-another-program", "macro-unclosed", "macro-unknown", "macro-upper-case",
    "min-above-max", "min-is-max", "misspelt-goal", "overflowing", "parameter-in-metric", "pareto-other-goal",
    "pareto-twice", "probabilities-in-grid", "probabilities-sum", "probabilities-too-few", "run-cap-too-large",
    "macro-of-a-place", "rungs-descending", "shuffled-random", "slurm-newline",
}  # fmt: skip


def is_valid(data) -> bool:
    return jsonschema.Draft7Validator(SCHEMA).is_valid(data)


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_the_examples_are_valid(file):
    assert is_valid(yaml12.load(file.read_text(), "x")[0])


WRONG = sorted((TESTS / "data" / "wrong_sweeps").glob("*.yaml"))


@pytest.mark.parametrize("file", [f for f in WRONG if f.stem not in UNREADABLE], ids=lambda file: file.stem)
def test_wrong_files_are_invalid_where_a_schema_can_tell(file):
    assert is_valid(yaml12.load(file.read_text(), "x")[0]) == (file.stem in BEYOND)


def test_there_is_a_file_for_every_name():
    assert {file.stem for file in WRONG} >= BEYOND | UNREADABLE


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == "validate"])
def test_what_the_checker_takes_the_schema_takes(vector):
    try:
        config.check(vector["config"], "x")
    except SweepFileError:
        return
    assert is_valid(vector["config"])


def test_words_and_keys_are_those_of_the_code():
    properties = SCHEMA["properties"]
    forms = SCHEMA["definitions"]["parameter"]["anyOf"]

    assert set(properties) == set(config._KNOWN)
    assert properties["method"]["enum"] == list(config.METHODS)
    assert properties["metric"]["properties"]["goal"]["enum"] == list(sections.GOALS)
    assert properties["slurmsweep"]["properties"]["order"]["enum"] == list(extensions.ORDERS)
    ours = properties["slurmsweep"]["properties"]
    assert set(ours) == set(extensions._KEYS)
    assert set(ours["metric"]["properties"]) == set(objectives._KEYS)
    assert set(ours["rungs"]["properties"]) == set(rungs._KEYS)
    assert set(ours["base"]["properties"]) == set(base._KEYS)
    assert set(ours["snapshot"]["anyOf"][1]["properties"]) == set(snapshot._KEYS)
    assert set(ours["repeats"]["properties"]) == set(repeats._KEYS)
    assert ours["repeats"]["properties"]["metric"]["enum"] == list(repeats.COMBINATIONS)
    assert ours["repeats"]["properties"]["count"]["maximum"] == repeats.MOST
    assert ours["metric"]["properties"]["goal"]["enum"] == list(sections.GOALS)
    assert ours["metric"]["properties"]["expression"]["maxLength"] == expression.LONGEST
    assert ours["computed"]["additionalProperties"]["maxLength"] == expression.LONGEST
    assert ours["metric"]["properties"]["name"]["maxLength"] == objectives.LONGEST_NAME
    for form in ours["pareto"]["anyOf"]:
        bounds = {form.get("minItems", form.get("minProperties")), form.get("maxItems", form.get("maxProperties"))}
        assert bounds == {objectives.FEWEST, objectives.MOST}
    assert {word for form in forms for word in form["properties"].get("distribution", {}).get("enum", [])} == set(
        space.DISTRIBUTIONS
    )
    assert {key for form in forms for key in form["properties"]} == set(space.KEYS)
