"""What only a shell would understand in a command is warned of, with what to write instead."""

from __future__ import annotations

import pytest

from slurmsweep.sweepfile.findings import Findings
from slurmsweep.sweepfile.shell_words import warn_of_shell_words


def warnings(*elements: str) -> list[str]:
    findings = Findings()
    warn_of_shell_words(elements, ("command",), findings)
    return [str(warning) for warning in findings.warnings]


@pytest.mark.parametrize(
    ("element", "problem", "hint"),
    [
        (
            "--data $HOME/data",
            "is one argument with a blank in it, and $HOME stays",
            '["--data", "${envvar:HOME}/data"]',
        ),
        ("--data=$HOME/data", "$HOME in '--data=$HOME/data' stays as it is", '"--data=${envvar:HOME}/data"'),
        ("$SCRATCH", "$SCRATCH in '$SCRATCH' stays as it is", '"${envvar:SCRATCH}"'),
        ("a:$A:$B", "$A in 'a:$A:$B' stays", '"a:${envvar:A}:${envvar:B}"'),
        ("--epochs 3", "'--epochs 3' is one argument with a blank in it: no", '["--epochs", "3"]'),
        ("-m train", "'-m train' is one argument", '["-m", "train"]'),
        ("~/data", "the ~ of '~/data' stays", '"${envvar:HOME}/data"'),
        ("&&", "'&&' is an argument like any other", "bash, -c"),
        (">", "'>' is an argument like any other", "bash, -c"),
        ("2>&1", "'2>&1' is an argument like any other", "bash, -c"),
    ],
)
def test_each_kind_is_named_with_its_place_and_its_right_form(element, problem, hint):
    [warning] = warnings("python", "train.py", element)

    assert warning.startswith("command.2: ")
    assert problem in warning
    assert hint in warning


@pytest.mark.parametrize(
    "elements",
    [
        ("bash", "-c", "cd $HOME && python train.py > log"),
        ("bash", "-lc", "source x; python $0", "$1"),
        (
            "python",
            "train.py",
            "--note=two words",
            "costs 5 $",
            "price$",
            "a > b",
            "${args}",
            "${envvar:HOME}/x",
            "--lr=${lr}",
        ),
        ("python", "-u", "my script.py", "-", "--", "a&&b"),
    ],
)
def test_what_a_shell_reads_and_plain_texts_are_left_alone(elements):
    assert warnings(*elements) == []


def test_plan_and_create_say_it_and_strict_refuses_it(slurmsweep, write_sweep):
    write_sweep("", extra='command: [python, "${program}", "--data $HOME/data"]')

    for command in ("plan", "create"):
        done = slurmsweep(command, "sweep.yaml")
        assert (done.returncode, '"${envvar:HOME}/data"' in done.stderr) == (0, True)
    assert slurmsweep("plan", "sweep.yaml", "--strict").returncode == 2
