"""Numbers reach the script as hosted W&B hands them over, and stay as they are written where W&B's server is not asked."""

from __future__ import annotations

import json

import pytest
import yaml

from slurmsweep import search
from slurmsweep.errors import SweepFileError
from slurmsweep.sweepfile import yaml12
from slurmsweep.sweepfile.config import SweepConfig, check
from slurmsweep.sweepfile.space import Continuous, IntUniform


def of_values(text: str) -> list:
    return yaml12.load(f"parameters: {{x: {{values: [{text}]}}}}", "test")[0]["parameters"]["x"]["values"]


def same(value, expected) -> bool:
    return value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000), ("+1e3", 1000), ("-1e3", -1000), ("12E2", 1200), ("10e-1", 1), ("1e20", 10**20), ("0e5", 0),
        ("1e21", 1e21), ("15e-1", 1.5), ("1.0e3", 1000.0), ("1.e3", 1000.0), ("1000.0", 1000.0), ("!!float 1e3", 1000.0),
        ("1e400", "1e400"), ("-1e400", "-1e400"), ("1e999999999", "1e999999999"), ("4.0", 4.0), ("0.5e3", 500.0),
    ],
)  # fmt: skip
def test_a_whole_number_without_a_dot_is_an_integer(text, value):
    assert same(of_values(text)[0], value)


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("1e3", 1000), ("1.5e3", 1500.0), (".5e3", 500.0), ("-.5", -0.5), ("-0.5e3", -500.0),
        # PyYAML reads these as numbers, or W&B's client sees the 0, so they keep their quotes on the way
        ("1.5", "1.5"), ("1.0e-5", "1.0e-5"), ("10", "10"), ("true", "true"), ("0e5", "0e5"), ("0.5e3", "0.5e3"),
        ("1_000", "1_000"), ("12:30", "12:30"), ("1e400", "1e400"), ("1e-5x", "1e-5x"), ("1e", "1e"),
    ],
)  # fmt: skip
def test_a_text_is_a_number_where_wandbs_client_drops_its_quotes(quote, text, value):
    assert same(of_values(f"{quote}{text}{quote}")[0], value)
    # the client's own words: `NonOctalStringDumper` in wandb/apis/public/sweeps.py
    keeps = text[0] == "0" or yaml.safe_dump(text).strip()[0] in "'\""
    assert keeps == isinstance(value, str) or text in ("1e400", "1e-5x", "1e")


def test_a_tag_makes_text_of_a_number():
    assert of_values("!!str 1e-5, !!str 1e3") == ["1e-5", "1e3"]


def test_numbers_are_read_at_every_depth_and_beside_text():
    assert of_values("adam, [1e3, {a: '1e-5'}], 1e-2") == ["adam", [1000, {"a": 1e-5}], 0.01]


def test_what_goes_to_no_server_stays_as_written():
    text = "name: 1e5\nproject: '1e-5'\nprogram: 12e4\ncommand: [--lr, 1e-5, '1e3', 10]\nslurm: {mem: 1e3, time: 1:30:00}\n"

    assert yaml12.load(text, "test")[0] == {
        "name": "1e5",
        "project": "1e-5",
        "program": "12e4",
        "command": ["--lr", "1e-5", "1e3", 10],
        "slurm": {"mem": "1e3", "time": "1:30:00"},
    }


@pytest.mark.parametrize(
    ("form", "parameter"),
    [
        ("{min: 1e0, max: 1e3}", Continuous("uniform", 1.0, 1000.0)),
        ("{min: 1, max: 1e3}", Continuous("uniform", 1, 1000.0)),
        ("{min: '1e-5', max: 1e-1}", Continuous("uniform", 1e-5, 0.1)),
        ("{distribution: int_uniform, min: 1e1, max: 1e3}", IntUniform(10, 1000)),
        ("{distribution: q_uniform, min: 1e2, max: 1e3, q: 1e2}", Continuous("uniform", 100, 1000, 100)),
    ],
)
def test_bounds_with_an_exponent_leave_a_range_continuous_unless_the_file_says_else(form, parameter):
    for text in (f"{{x: {form}}}", f"{{x: {{<<: {form}}}}}"):
        data = yaml12.load(f"{{program: t.py, method: random, parameters: {text}}}", "test")[0]
        assert repr(check(data, "test").config.parameters["x"]) == repr(parameter)
    nested = yaml12.load(f"{{method: random, parameters: {{o: {{parameters: {{x: {form}}}}}}}}}", "test")[0]
    assert repr(check(nested, "test").config.parameters["o"].parameters["x"]) == repr(parameter)


def test_whole_steps_reach_the_script_as_integers():
    text = "{method: grid, program: t.py, parameters: {x: {distribution: q_uniform, min: 1e2, max: 4e2, q: 1e2}}}"
    config = check(yaml12.load(text, "test")[0], "test").config

    assert [str(search.parameters(config, number, "s")["x"]) for number in range(3)] == ["100", "200", "300"]


def test_what_is_written_is_read_again_with_the_same_types():
    document = {
        "x": ["1e-5", "1e3", ".5", "1.5", "yes", "1e400", "0e5", "12:30", "010", 1000, 1000.0, 1e-5, 1e22, None]
    }

    again = yaml12.load(yaml12.dump(document), "test")[0]

    assert [same(*pair) for pair in zip(again["x"], document["x"], strict=True)] == [True] * len(document["x"])


def test_python_and_sweeps_of_before_keep_their_own_values():
    data = {"method": "grid", "program": "t.py", "parameters": {"x": {"values": ["1e-5", 1000.0]}}}
    config = check(data, "test").config
    frozen = SweepConfig.from_json(json.loads(json.dumps(config.to_json())))

    assert [str(search.parameters(frozen, number, "s")["x"]) for number in (0, 1)] == ["1e-5", "1000.0"]


@pytest.mark.parametrize(
    ("values", "kept", "told"),
    [
        ("[1, 1.0, 1e0]", ["1"], "1.0, 1: there already"),
        ("[1.0, 1, 2]", ["1.0", "2"], "1: there already"),
        ("[a, b, a]", ["a", "b"], "'a': there already"),
        ("[[1], [1], [1.0]]", ["[1]", "[1.0]"], "[1]: there already"),
        ("[1e3, 1000, '1e3', true, 1]", ["1000", "True", "1"], "1000, 1000: there already"),
    ],
)
def test_of_equal_values_the_first_stays_as_it_is_written_and_a_note_says_so(values, kept, told):
    text = f"{{method: grid, program: t.py, parameters: {{x: {{values: {values}}}}}}}"
    config, warnings = check(*[yaml12.load(text, "test")[0], "test"])

    points = [str(search.parameters(config, number, "s")["x"]) for number in range(search.run_count(config))]

    assert points == kept
    assert [told in str(warning) for warning in warnings] == [True]


def test_an_exclusion_names_a_value_in_any_of_its_forms():
    text = "{method: grid, program: t.py, parameters: {x: {values: [1000.0, 2]}}, slurmsweep: {exclude: [{x: 1e3}]}}"
    config = check(yaml12.load(text, "test")[0], "test").config

    assert [search.parameters(config, number, "s") for number in range(search.run_count(config))] == [{"x": 2}]


def test_nothing_is_noted_where_equal_values_are_linked_or_drawn():
    parameters = "{x: {values: [1, 1]}, y: {values: [a, b]}}"
    for more in ("method: grid, slurmsweep: {linked: [[x, y]]}", "method: random"):
        data = yaml12.load(f"{{program: t.py, parameters: {parameters}, {more}}}", "test")[0]
        assert check(data, "test").warnings == []


@pytest.mark.parametrize(
    "number", ["0x" + "f" * 5000, "9" * 5000, "0b" + "1" * 20_000, "1" + ":1" * 100_000, "1" * 5000 + ".5"]
)
def test_a_number_of_thousands_of_digits_is_an_error_at_its_line(number):
    with pytest.raises(SweepFileError, match=r"line 2: not YAML: a number of [0-9,]+ characters"):
        yaml12.load(f"parameters:\n  x: {{value: {number}}}\n", "test")


def test_a_number_that_only_its_digits_make_too_long_is_an_error_in_files_and_in_python():
    for value in (yaml12.load("x: 0x" + "f" * 3900, "test")[0]["x"], 10**5000):
        with pytest.raises(SweepFileError, match=r"parameters\.x\.values\.1: is an integer of thousands of digits"):
            check({"method": "grid", "program": "t.py", "parameters": {"x": {"values": [1, value]}}}, "test")
