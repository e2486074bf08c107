"""Macros that W&B does not have: arguments in other forms, and the place of a trial."""

from __future__ import annotations

import argparse
import json

import pytest

from slurmsweep.errors import SweepFileError
from slurmsweep.state.paths import Layout
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.command import MACROS, PLACES, build_argv
from slurmsweep.sweepfile.config import check

PARAMS = {
    "amp": True,
    "bias": False,
    "layers": [64, 32],
    "lr": -1e-05,
    "name": "a b",
    "none": None,
    "opt": {"betas": [0.9, 0.99], "lr": 0.1, "deep": {"nesterov": False, "empty": {}}},
}


def checked(element, before="-x", names=("lr",)):
    parameters = {name: {"values": [1, 2]} for name in names}
    command = ["python", "${program}", before, element]
    return check({"method": "grid", "program": "t.py", "command": command, "parameters": parameters}, "test")


def refused(element, before="-x") -> str:
    with pytest.raises(SweepFileError) as error:
        checked(element, before)
    return "\n".join(map(str, error.value.violations))


def argv(element, params=None, own=None):
    own = {"args_json_file": "f"} if own is None else own
    return build_argv((element,), "t.py", PARAMS if params is None else params, environ={}, own=own)


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ("${args:words}", ["--amp=True", "--bias=False", "--layers", "64", "32", "--lr=-1e-05", "--name=a b", "--none=None",
                           "--opt={'betas': [0.9, 0.99], 'lr': 0.1, 'deep': {'nesterov': False, 'empty': {}}}"]),
        ("${args:flags}", ["--amp", "--no-bias", "--layers=[64, 32]", "--lr=-1e-05", "--name=a b", "--none=None",
                           "--opt={'betas': [0.9, 0.99], 'lr': 0.1, 'deep': {'nesterov': False, 'empty': {}}}"]),
        ("${args:dotted}", ["--amp=True", "--bias=False", "--layers=[64, 32]", "--lr=-1e-05", "--name=a b", "--none=None",
                            "--opt.betas=[0.9, 0.99]", "--opt.lr=0.1", "--opt.deep.nesterov=False", "--opt.deep.empty={}"]),
        ("${args:flags, dotted,words}", ["--amp", "--no-bias", "--layers", "64", "32", "--lr=-1e-05", "--name=a b",
                                         "--none=None", "--opt.betas", "0.9", "0.99", "--opt.lr=0.1",
                                         "--no-opt.deep.nesterov", "--opt.deep.empty={}"]),
    ],
)  # fmt: skip
def test_arguments_have_the_forms_that_are_asked_for(element, expected):
    checked(element)

    assert argv(element) == expected


def test_argparse_reads_back_what_the_trial_has():
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", nargs="*", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--name")
    parser.add_argument("--opt.lr", type=float)
    for flag in ("--amp", "--bias", "--opt.nesterov"):
        parser.add_argument(flag, action=argparse.BooleanOptionalAction)
    params = {
        "amp": True,
        "bias": False,
        "layers": [],
        "lr": -1e-5,
        "name": "--no-x",
        "opt": {"lr": 0.5, "nesterov": False},
    }

    read = vars(parser.parse_args(argv("${args:words,flags,dotted}", params)))

    opt = {"lr": read.pop("opt.lr"), "nesterov": read.pop("opt.nesterov")}
    assert read | {"opt": opt} == params


def test_wandb_leaves_out_an_element_with_such_a_macro():
    sweeps = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    known = sweeps.create_sweep_command_args({"args": {"lr": {"value": 1}}})

    assert not any(name.startswith("args:") or name in PLACES for name in known)
    assert not any(name.startswith("args:") or name in PLACES for name in MACROS)


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ("${args:word}", "'word' is no form of arguments (did you mean 'words'?)"),
        ("${args:words,nested}", "'nested' is no form of arguments (known are words, flags, dotted)"),
        ("${args:}", "'' is no form of arguments (known are words, flags, dotted)"),
        ("${args_words}", "(did you mean ${args:words}?)"),
        ("${args_flags}", "(did you mean ${args:flags}?)"),
        ("${arg:dotted}", "(did you mean ${args:dotted}?)"),
        ("--x=${args:words}", "stands inside '--x=${args:words}', where it is not expanded (give it an element of its own"),
        ("${trail}", "(did you mean ${trial}?)"),
        ("${trialdir}", "(did you mean ${trial_dir}?)"),
        ("--out=${trial_dri}/x", "(did you mean ${trial_dir}?)"),
        ("--out=${atempt_dir}", "(did you mean ${attempt_dir}?)"),
    ],
)  # fmt: skip
def test_a_slip_is_an_error(element, said):
    assert said in refused(element)


def test_the_remedy_is_no_repetition_of_what_is_wrong():
    assert '["--x", "${args:words}"]' in refused("--x ${args:words}")
    assert refused("--x=${args:words}").rstrip().endswith("(give it an element of its own)")


def test_what_is_anothers_inside_of_text_stays_a_warning():
    [warning] = checked("--out=${trials}/x").warnings
    assert "is passed on as it is" in str(warning)
    assert "did you mean ${trial}?" in str(warning)
    assert checked("--x=${trial_id}").warnings


def test_a_shell_keeps_its_own_variables():
    text = "args=$1; echo ${args:-none} ${args:0:2} ${HOME} $${trial} ${trial}"

    assert checked(text, "-c").warnings == []
    assert argv(text, own={"args_json_file": "f", "trial": "7"}) == [
        "args=$1; echo ${args:-none} ${args:0:2} ${HOME} ${trial} 7"
    ]
    assert "stands inside" in refused("python t.py ${args:words}", "-c")


@pytest.mark.parametrize("text", ["for trial in a b; do echo ${trial}", "trial=1; echo ${trial}", "cd a&&read trial"])
def test_a_shell_text_that_sets_a_variable_with_the_name_of_a_macro_is_warned_of(text):
    used = f"{text}; echo ${{trial}}"
    [warning] = checked(used, "-c").warnings
    assert "the shell text sets 'trial'" in str(warning)
    assert "write $${trial}" in str(warning)
    assert checked(used.replace("${", "$${"), "-c").warnings == []
    assert checked(used, "-c", names=("trial",)).warnings == []
    assert checked("--trial=${trial}; my_trial=${trial}; echo for trials in ${trial}", "-c").warnings == []


def test_a_place_is_put_in_anywhere_and_a_parameter_of_its_name_comes_first(tmp_path):
    own = Layout(str(tmp_path / "sweep-abcd1234")).own_macros(AttemptId(1007, 3))
    folder = f"{tmp_path}/sweep-abcd1234/trials/1/1007"

    assert argv("--out=${trial_dir}", own=own) == [f"--out={folder}/checkpoints"]
    assert argv("${attempt_dir}", own=own) == [f"{folder}/3/files"]
    assert argv("seed-${trial}-$${trial}", own=own) == ["seed-1007-${trial}"]
    assert argv("${trial}", {"trial": "x"}, own) == ["x"]
    assert checked("${trial}", names=["trial"]).warnings == []
    assert json.dumps(argv("${args}", own=own))
