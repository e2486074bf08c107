"""What is accepted, what it means, and what is only warned of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from slurmsweep import search
from slurmsweep.errors import SweepFileError, UsageError
from slurmsweep.sweepfile import yaml12
from slurmsweep.sweepfile.command import build_argv, json_text, needs_json_file
from slurmsweep.sweepfile.config import SweepConfig, check
from slurmsweep.sweepfile.findings import Findings, suggest
from slurmsweep.sweepfile.space import Categorical, Constant, Continuous, IntUniform, Nested, read_parameter

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "wandb_vectors.json").read_text())["vectors"]

#: Where we answer differently from the real packages on purpose: docs/wandb-differences.md has the reasons.
STRICTER = {"val-nested-minmax-reversed"}

#: What W&B warns of and runs, and is warned of here, too.
WARNED = {vector["id"] for vector in VECTORS if vector["id"].startswith("val-pname-")}


def vectors(kind) -> list:
    return [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == kind]


def sweep(parameters=None, method="random", **more) -> dict:
    return {"method": method, "program": "t.py", "parameters": parameters or {"x": {"values": [1, 2]}}, **more}


def read(form):
    findings = Findings()
    parameter = read_parameter(form, ("x",), findings)
    assert findings.violations == []
    return parameter


def warnings(data) -> list[str]:
    return [str(warning) for warning in check(data, "test").warnings]


@pytest.mark.parametrize("vector", vectors("validate"))
def test_configurations_are_judged_as_wandb_judges_them(vector):
    data = vector["config"]
    if isinstance(data, dict):
        data = {"program": "t.py", **data}
    if not vector["expect"]["valid"] and vector["id"] in WARNED:
        assert "unusual name" in warnings(data)[0]
    elif not vector["expect"]["valid"] or vector["id"] in STRICTER:
        with pytest.raises(SweepFileError):
            check(data, "test")
    else:
        assert check(data, "test").config.method == data["method"]


@pytest.mark.parametrize("vector", vectors("next_run_error"))
def test_what_the_engine_refuses_at_the_first_run_is_refused_when_read(vector):
    with pytest.raises(SweepFileError):
        check({"program": "t.py", **vector["config"]}, "test")


#: W&B's names of forms, and the distribution each is here.
FORMS = {
    "param_categorical": Categorical, "param_categorical_w_probabilities": Categorical, "param_int_uniform": IntUniform,
    "param_single_value": Constant, "param_dict": Nested,
}  # fmt: skip


@pytest.mark.parametrize("vector", vectors("infer_parameter"))
def test_forms_are_inferred_as_wandb_infers_them(vector):
    parameter = read(vector["parameter"])
    filled = vector["expect"]["config"]

    assert isinstance(parameter, FORMS.get(vector["expect"]["type"], Continuous))
    if isinstance(parameter, Continuous):
        assert filled["distribution"].removeprefix("q_") == parameter.kind
        assert filled.get("q") == parameter.q
        assert [filled[key] for key in ("min", "max") if key in filled] == [parameter.first, parameter.second]


@pytest.mark.parametrize("vector", vectors("render"))
def test_commands_are_rendered_as_wandb_renders_them(vector):
    config = check(sweep(**({"command": vector["command"]} if vector["command"] else {})), "test").config

    argv = build_argv(
        config.command, config.program, vector["args"], environ=vector["env"], own={"args_json_file": "config.json"}
    )

    assert argv == [element.replace("train.py", "t.py") for element in vector["expect"]["argv"]]


@pytest.mark.parametrize(
    ("form", "parameter"),
    [
        ({"value": None}, Constant(None)),
        ({"value": [1, {"a": 2}]}, Constant([1, {"a": 2}])),
        ({"values": [1, "a", None]}, Categorical((1, "a", None))),
        ({"values": ["a", "b"], "probabilities": [0.25, 0.75]}, Categorical(("a", "b"), (0.25, 0.75))),
        ({"min": 1, "max": 4}, IntUniform(1, 4)),
        ({"min": 0, "max": 0.1}, Continuous("uniform", 0, 0.1)),
        ({"min": 0, "max": 1, "distribution": "uniform"}, Continuous("uniform", 0, 1)),
        ({"distribution": "q_uniform", "min": 0, "max": 10}, Continuous("uniform", 0, 10, 1.0)),
        ({"distribution": "normal"}, Continuous("normal", 0.0, 1.0)),
        ({"distribution": "q_log_normal", "mu": 1, "sigma": 2, "q": 3}, Continuous("log_normal", 1, 2, 3)),
        ({"distribution": "beta"}, Continuous("beta", 1.0, 1.0)),
        ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1}, Continuous("log_uniform_values", 1e-5, 1)),
        ({"parameters": {"lr": {"value": 1}}}, Nested({"lr": Constant(1)})),
    ],
)
def test_every_form_of_a_parameter_is_inferred(form, parameter):
    assert read(form) == parameter


def test_deprecated_distributions_warn_and_keep_their_meaning():
    data = sweep({"lr": {"distribution": "log_uniform", "min": -5, "max": 0}})

    assert "exponents of e" in warnings(data)[0]
    assert check(data, "test").config.parameters["lr"] == Continuous("log_uniform", -5, 0)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"distribution": "q_log_uniform_values", "min": 1e-5, "max": 3e-3}, "has one value only, 0"),
        ({"distribution": "q_uniform", "min": 8, "max": 11, "q": 10}, "has one value only, 10"),
        ({"distribution": "q_log_uniform_values", "min": 32, "max": 256, "q": 8}, ""),
        ({"distribution": "q_uniform", "min": 0, "max": 1e308, "q": 1e-300}, ""),
        ({"distribution": "q_log_uniform", "min": 0, "max": 0.1, "q": 0.01}, "exponents of e"),
    ],
)
def test_steps_that_leave_one_value_only_are_a_warning(form, told):
    found = warnings(sweep({"lr": form}))

    assert told in found[0] if told else not found
    assert len(found) == bool(told)


def test_an_unknown_key_is_a_warning_and_a_misplaced_parameter_is_named():
    assert warnings(sweep(zzz=1)) == ["zzz: 'zzz' is not a key of a sweep file: ignored (remove it)"]
    assert "move it below parameters" in warnings(sweep(dropout={"values": [0.1]}))[0]


def test_keys_for_wandbs_own_services_are_said_to_have_no_effect():
    assert warnings(sweep(controller={"type": "local"})) == [
        "controller: has no effect here (it tells W&B's own services what to do)"
    ]


def test_a_configuration_survives_its_frozen_form():
    data = sweep(
        {"lr": {"min": 1e-5, "max": 0.1}, "o": {"parameters": {"n": {"values": ["adam", None, float("inf")]}}}},
        metric={"name": "loss", "goal": "maximize"},
        run_cap=5,
        command=["python", "${program}", 3, None, True],
        slurm={"time": 30},
    )
    config = check(data, "test").config

    again = SweepConfig.from_json(json.loads(json.dumps(config.to_json())))

    assert again == config


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("3e6", 3_000_000), ("1.5e3", 1500.0), ("1E5", 100_000), ("-2e-3", -0.002), (".5e1", 5.0), ("1.e2", 100.0),
        ("'1e-5'", 1e-5), ("1.0", 1.0), ("10", 10), ("yes", True), ("off", False), ("None", "None"), ("~", None),
        ("2020-01-01", "2020-01-01"), ("1e", "1e"), ("e5", "e5"), (".inf", float("inf")), ("010", 8), ("0x1f", 31),
    ],
)  # fmt: skip
def test_yaml_values_are_what_hosted_wandb_makes_of_them(text, value):
    loaded, _ = yaml12.load(f"x: {text}", "test")

    assert loaded["x"] == value
    assert type(loaded["x"]) is type(value)


@pytest.mark.parametrize("vector", vectors("yaml_load"))
def test_yaml_files_are_read_as_pyyaml_reads_them_but_for_floats(vector):
    if "raised" in vector["expect"]:
        with pytest.raises(SweepFileError):
            yaml12.load(vector["text"], "test")
    elif vector["id"] == "yaml-3":
        assert yaml12.load(vector["text"], "test")[0] == {"a": {"min": 1e-5, "max": 1e-1}}
    else:
        assert yaml12.load(vector["text"], "test")[0] == vector["expect"]["parsed"]


def test_json_is_a_sweep_file_too():
    assert yaml12.load(json.dumps(sweep()), "test")[0] == sweep()


def test_every_key_has_its_line():
    _, lines = yaml12.load("a:\n  b:\n    c: 1\nd: 2\n", "test")

    assert lines == {("a",): 1, ("a", "b"): 2, ("a", "b", "c"): 3, ("d",): 4}


def test_merge_keys_and_small_aliases_work():
    text = "base: &base {values: [1, 2]}\nx: {<<: *base, q: 1}\ny: *base\n"

    assert yaml12.load(text, "test")[0] == yaml.safe_load(text)


def argv_of(command, params, forms=None) -> list[str]:
    parameters = {name: {"value": value} for name, value in params.items()} | (forms or {})
    config = check(sweep(parameters, command=command), "test").config
    return build_argv(config.command, config.program, params, environ={}, own={"args_json_file": "/a/b.json"})


def test_a_parameters_name_gives_its_value_alone_and_inside():
    params = {"lr": 0.1, "opt": {"name": "adam"}, "batch.size": 4}
    forms = {"opt": {"parameters": {"name": {"value": "adam"}}}}

    assert argv_of(["run", "${lr}", "--x=${lr}/${opt.name}", "${batch.size}"], params, forms=forms) == [
        "run",
        "0.1",
        "--x=0.1/adam",
        "4",
    ]


def test_a_value_that_looks_like_a_macro_is_not_expanded_again():
    assert argv_of(["run", "${a}", "${args}"], {"a": "${envvar:HOME}"}) == [
        "run",
        "${envvar:HOME}",
        "--a=${envvar:HOME}",
    ]


def test_shell_text_may_have_variables_of_its_own():
    assert argv_of(["bash", "-c", "cd ${HOME} && run ${lr}"], {"lr": 1})[2] == "cd ${HOME} && run 1"


def test_the_file_of_args_json_file_is_asked_for_only_where_it_is_used():
    with_file = check(sweep(command=["python", "${program}", "${args_json_file}"]), "test").config

    assert needs_json_file(with_file.command)
    assert not needs_json_file(check(sweep(), "test").config.command)
    assert (
        build_argv(with_file.command, with_file.program, {"x": 1}, environ={}, own={"args_json_file": "/f"})[2] == "/f"
    )
    assert json_text({"x": 1, "y": "é"}) == '{"x": 1, "y": "\\u00e9"}'


def test_an_unset_variable_is_named():
    with pytest.raises(UsageError, match="NOWHERE is not set"):
        argv_of(["python", "--out=${envvar:NOWHERE}"], {"x": 1})


def test_a_file_without_a_program_is_planned_with_a_warning():
    without_program = {"method": "grid", "parameters": {"x": {"value": 1}}}

    assert warnings(without_program) == ["program: is missing: the command cannot be run (name the training script)"]


def test_a_million_values_are_checked_at_once():
    config = check(sweep({"x": {"values": list(range(1_000_000))}}, method="grid"), "test").config

    assert len(config.parameters["x"].values) == 1_000_000


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"parameters": {"x": {"min": 0, "max": 10**400, "distribution": "uniform"}}}, "parameters.x.max"),
        ({"parameters": {"x": {"values": [1, 2], "probabilities": [10**400, 1]}}}, "parameters.x.probabilities"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 3, "s": 1, "eta": 10**400}}, "early_terminate.eta"),
        ({"slurmsweep": {"linked": [[["x"], {"y": 1}]]}}, "slurmsweep.linked.0"),
    ],
)
def test_a_number_beyond_all_floats_or_a_nested_name_is_a_violation(change, path):
    document = sweep(**({"method": "random", "metric": {"name": "loss"}} | change))

    with pytest.raises(SweepFileError) as error:
        check(document, "test")

    assert path in [violation.path for violation in error.value.violations]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"Hyperparameter": {"epochs": 50}}, "Hyperparameter: 'Hyperparameter' is not a key of a sweep file: ignored (parameters is there, too: remove Hyperparameter)"),
        ({"metric": {"name": "loss"}, "metrics": [{"name": "a"}, {"name": "b"}]}, "ignored (metric is there, too: remove metrics)"),
        ({"Method": "bayes"}, "ignored (method is there, too: remove Method)"),
        ({"count": 10}, "ignored (for a number of trials write run_cap: 10)"),
        ({"n_trials": 10}, "write run_cap: 10"),
        ({"num-agents": 4}, "trials at a time are --width in Slurm, and --jobs elsewhere"),
        ({"launch": {"queue": "q"}}, "'launch' is not a key of a sweep file: ignored"),
        ({"scheduler": {"num_workers": 8}}, "scheduler: has no effect here: it is for W&B Launch (num_workers,"),
        ({"scheduler": {"job": "e/p/j:v1", "resource": "local-process"}}, "it is for W&B Launch"),
        ({"scheduler": {"engine": "wandb", "num_workers": 2}}, "grid, random and bayes need no scheduler"),
        ({"job": "e/p/j:v1"}, "job: has no effect here"),
        ({"metric": {"name": "loss", "Name": "x"}}, "metric.Name: 'Name' is not a key of metric: ignored (name is there, too: remove Name)"),
        ({"metric": {"name": "loss", "unit": "nats"}}, "ignored (known are name,"),
        (
            {"metric": {"name": "loss"}, "early_terminate": {"type": "hyperband", "min_iter": 3, "Type": "x"}},
            "early_terminate.Type: 'Type' is not a key of early_terminate: ignored (type is there, too: remove Type)",
        ),
    ],
)  # fmt: skip
def test_what_wandb_warns_of_and_runs_is_a_warning(more, told):
    assert [told in text for text in warnings(sweep(**more))] == [True]


def test_ten_thousand_parameters_are_one_grid():
    constants = check(sweep({f"p{i}": {"value": i} for i in range(10_000)}, method="grid"), "test").config
    assert search.run_count(constants) == 1
    assert len(search.parameters(constants, 0, "s")) == 10_000

    exclude = [{"p3": 1, "p1900": 0}, {"p5": 0}]
    names = {f"p{i}": {"values": [0, 1]} if i in (3, 5, 1900) else {"value": 0} for i in range(2000)}
    excluded = check(sweep(names, method="grid", slurmsweep={"exclude": exclude}), "test").config
    made = [search.parameters(excluded, number, "s") for number in range(search.run_count(excluded))]
    assert [(one["p1900"], one["p3"], one["p5"]) for one in made] == [(0, 0, 1), (1, 0, 1), (1, 1, 1)]
    assert [search.number_of(excluded, one, "s") for one in made] == [0, 1, 2]


@pytest.mark.parametrize("name", ["--lr", "-lr"])
def test_a_name_with_the_hyphens_of_an_option_is_told_who_writes_them(name):
    [told] = warnings({"program": "t.py", "method": "grid", "parameters": {name: {"value": 1}}})
    assert "(write lr: the macros of the command write the hyphens)" in told


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("max", ("minimize", "maximize"), "did you mean 'maximize'?"),
        ("Minimum", ("minimize", "maximize"), "did you mean 'minimize'?"),
        ("m", ("minimize", "maximize"), "known are minimize, maximize"),
        ("uni", ("uniform_values", "universal"), "known are uniform_values, universal"),
        ("minutes", ("min", "mu"), "known are min, mu"),
    ],
)
def test_a_short_form_gets_the_word_it_is_short_for(word, known, hint):
    assert suggest(word, known) == hint
