"""Commands of public sweep files: what is no macro is passed on as W&B's own agent does, and a slip is an error."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from slurmsweep.agents.params_file import render
from slurmsweep.client.parameters import parse_parameters
from slurmsweep.errors import SweepFileError
from slurmsweep.sweepfile.command import build_argv, check_command
from slurmsweep.sweepfile.config import check
from slurmsweep.sweepfile.findings import Findings

FOREIGN = [
    "PYTHONPATH=${PYTHONPATH}:./app", "run_${{wandb.run.name}}", "--dir=${hydra:runtime.cwd}/x", "x=${oc.env:HOME,${y}}",
    "--out=${program_dir}/x", "name=${now:%H}", "--n=${{ a }}-${{ b }}", "x=${}", "--regex=^a${",
]  # fmt: skip

#: Names that W&B's schema warns of.
NAMES = (
    "+model.head",
    "++a",
    "~x",
    "a/b",
    "^x",
    "x@y",
    "a b",
    "1x",
    ".inf",
    "-x",
    "é",
    'q"',
    "a:b",
    "",
    "y",
    "#c",
    "n\nl",
)


def checked(command, parameters=None):
    parameters = parameters or {"lr": {"value": 0.1}, "seed": {"value": 1}}
    return check({"method": "grid", "program": "t.py", "command": command, "parameters": parameters}, "test")


def refused(element) -> str:
    with pytest.raises(SweepFileError) as error:
        checked(["python", "${program}", element])
    return "\n".join(map(str, error.value.violations))


def argv(command, params):
    return build_argv(tuple(command), "t.py", params, environ=os.environ, own={"args_json_file": "f"})


@pytest.fixture
def wandb_argv(tmp_path, monkeypatch):
    """Return a function that returns what W&B's own agent would start."""
    wandb_agent = pytest.importorskip("wandb.wandb_agent")
    started = []
    monkeypatch.setattr(wandb_agent, "AgentProcess", lambda command, **_: started.append(command) or SimpleNamespace())
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, "kept by monkeypatch")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))

    def start(command, params):
        agent = wandb_agent.Agent.__new__(wandb_agent.Agent)
        agent.__dict__.update(
            _sweep_command=list(command), _in_jupyter=False, _function=None, _run_processes={}, _forward_signals=False
        )
        args = {name: {"value": value} for name, value in params.items()}
        agent._command_run({"run_id": "r", "program": "t.py", "args": args})
        return started.pop()

    return start


@pytest.mark.parametrize("element", FOREIGN)
def test_what_is_not_ours_inside_an_element_is_passed_on_and_named(element, wandb_argv):
    command = ["python", "${program}", element, "${args}"]

    warnings = [str(warning) for warning in checked(command).warnings]

    assert argv(command, {"lr": 0.1}) == wandb_argv(command, {"lr": 0.1})
    assert "${" in warnings[0]


@pytest.mark.parametrize(
    ("element", "text"),
    [
        ("$${lr}", "${lr}"),
        ("$${args}", "${args}"),
        ("$${envvar:NOT_SET}", "${envvar:NOT_SET}"),
        ("hydra.run.dir=$${oc.env:SLURMSWEEP_CHECKPOINT_DIR}", "hydra.run.dir=${oc.env:SLURMSWEEP_CHECKPOINT_DIR}"),
        ("$${a:${lr}}-${lr}", "${a:0.1}-0.1"),
        ("$$${lr}", "$${lr}"),
        ("$${", "${"),
    ],
)
def test_two_dollars_write_a_brace_that_is_no_macro(element, text):
    command = ["python", "${program}", element]

    assert checked(command).warnings == []
    assert argv(command, {"lr": 0.1})[2] == text


@pytest.mark.parametrize(
    "macro",
    ["${args}", "${args_no_hyphens}", "${args_no_equals}", "${args_no_boolean_flags}", "${args_json}", "${args_dict}"],
)
def test_unusual_names_are_a_warning_and_reach_the_trial_as_with_wandb(macro, wandb_argv):
    parameters = {name: {"value": value} for name, value in zip(NAMES, [True, False, "a", 1] * 9, strict=False)}
    params = {name: form["value"] for name, form in parameters.items()}
    command = ["${env}", "${interpreter}", "${program}", macro]

    warnings = checked(command, parameters).warnings

    assert [warning.path for warning in warnings] == [f"parameters.{name}" for name in NAMES if name != "y"]
    assert argv(command, params) == wandb_argv(command, params)


def test_unusual_names_survive_the_parameters_file():
    yaml = pytest.importorskip("yaml")
    params = {name: [name, 1] for name in NAMES}
    text = render(params)

    assert parse_parameters(text) == params
    read = yaml.safe_load(text)
    assert {name: entry["value"] for name, entry in read.items() if name != "wandb_version"} == params


@pytest.mark.parametrize(
    ("element", "meant"),
    [
        ("${progam}", "${program}"), ("x${progam}", "${program}"), ("--x=${arg}", "${args}"), ("${Args}", "${args}"),
        ("${args_no_hyphen}", "${args_no_hyphens}"), ("x=${intepreter}", "${interpreter}"), ("${LR}", "${lr}"),
        ("${envar:HOME}", "${envvar:HOME}"), ("--o=${env_var:HOME}/x", "${envvar:HOME}"), ("x=${envvar:}", "${envvar:NAME}"),
        ("${envvar: HOME}", "${envvar:HOME}"),
    ],
)  # fmt: skip
def test_a_near_miss_of_a_macro_is_an_error_wherever_it_stands(element, meant):
    assert f"is neither a macro nor a parameter (did you mean {meant}?)" in refused(element)


def test_an_unclosed_macro_is_an_error():
    for element in ("${args", "--lr=${lr", "x=${envvar:HOME"):
        assert "has a ${ without its } (close it)" in refused(element)


def test_a_whole_element_that_wandb_leaves_out_is_an_error(wandb_argv):
    for element in ("${HOME}", "${{wandb.run.name}}", "${hydra:runtime.cwd}", "${oc.env:HOME}"):
        assert "and W&B leaves such an element out (remove it" in refused(element)
        assert wandb_argv(["python", element], {}) == ["python"]
    assert "for an environment variable that is set write ${envvar:HOME}" in refused("${HOME}")
    assert "for an environment variable that is set write ${envvar:HOME}" in refused("${oc.env:HOME}")


def test_a_shell_expands_what_is_its_own_without_a_warning():
    for options in ("-c", "-lc", "-ec"):
        command = ["bash", options, "cd ${HOME} && run_${{x}} ${lr} $${y} ${HOME"]
        assert checked(command).warnings == []
        assert argv(command, {"lr": 1})[2] == "cd ${HOME} && run_${{x}} 1 ${y} ${HOME"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("element", ["x${" + "${a}" * 2000, "${" * 20_000, "x${" + "{a}" * 5000, "${a" * 5000 + "}"])
def test_many_braces_cost_no_time(element):
    findings = Findings()
    check_command(["python", element], ["lr"], ("command",), findings)

    assert {finding.path for finding in findings.violations + findings.warnings} == {"command.1"}
