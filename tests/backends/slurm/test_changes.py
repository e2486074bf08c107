"""Options of sbatch as scontrol takes them afterwards."""

from __future__ import annotations

import pytest

from slurmsweep.backends.slurm import changes, commands
from slurmsweep.backends.slurm.changes import assignments, change, ranges
from slurmsweep.errors import UsageError


def test_options_become_scontrols_own_words():
    options = {"time": "45", "partition": "long", "nice": "100", "mem": "2G", "mem-per-cpu": "512", "exclude": "n[1-2]"}

    assert assignments(options, 32) == [
        "ArrayTaskThrottle=32",
        "TimeLimit=45",
        "Partition=long",
        "Nice=100",
        "MinMemoryNode=2048",
        "MinMemoryCPU=512",
        "ExcNodeList=n[1-2]",
    ]


def test_what_is_fixed_is_refused_with_what_is_not():
    with pytest.raises(UsageError, match=r"--ntasks cannot be changed.*--partition"):
        assignments({"ntasks": "2"}, None)
    with pytest.raises(UsageError, match="512M or 4G"):
        assignments({"mem": "much"}, None)


def test_elements_are_named_in_ranges():
    assert ranges([7, 0, 1, 2, 5, 2]) == "0-2,5,7"


@pytest.mark.parametrize(
    ("said", "problems"),
    [
        ("9_2: Job is no longer pending execution\n9_3-5: No error\n", []),
        ("9_3: Job has already finished\n", []),
        ("9_2: Job is no longer pending execution\n9_3-5: Invalid partition name specified\n", ["partition"]),
        ("9_0-1: Access/permission denied\n", ["operator"]),
        ("slurm_update error: Unable to contact slurm controller (connect failure)\n", ["Unable to contact"]),
    ],
)
def test_an_element_that_started_meanwhile_is_no_problem_and_a_refusal_is(monkeypatch, tmp_path, said, problems):
    program = tmp_path / "scontrol"
    program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}END\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    found = change("9", [2, 3, 4, 5], ["Partition=nope"])

    assert len(found) == len(problems)
    assert all(word in text for word, text in zip(problems, found, strict=True))


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        (["ArrayTaskThrottle=5"], ["update jobid=9 ArrayTaskThrottle=5"]),
        (["TimeLimit=7"], ["update jobid=9_[2-4] TimeLimit=7"]),
        (
            ["ArrayTaskThrottle=0", "TimeLimit=7", "Nice=1"],
            ["update jobid=9 ArrayTaskThrottle=0", "update jobid=9_[2-4] TimeLimit=7 Nice=1"],
        ),
    ],
)
@pytest.mark.parametrize(("key", "before"), [("9", ""), ("9@other", "-M other ")])
def test_the_width_is_changed_on_the_array_by_a_call_of_its_own(monkeypatch, tmp_path, words, calls, key, before):
    """Slurm 23.11 refuses the width of some elements, and with it all else in that call."""
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert change(key, [2, 3, 4], words) == []

    assert (tmp_path / "calls").read_text().splitlines() == [before + call for call in calls]


def test_a_refused_width_leaves_the_other_changes_and_is_said(monkeypatch, tmp_path):
    program = tmp_path / "scontrol"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *Throttle*) echo "Requested operation not supported" >&2; exit 1;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert change("9", [2], ["ArrayTaskThrottle=5", "TimeLimit=7"]) == ["Requested operation not supported"]


def test_of_several_arrays_each_is_changed_whatever_becomes_of_the_others(monkeypatch, tmp_path):
    """The first array's width is refused, the second one's scontrol hangs, the third one's does as it is told."""
    program = tmp_path / "scontrol"
    program.write_text(
        '#!/bin/sh\ncase "$2 $3" in\n*=7*Throttle*) echo "Access/permission denied" >&2; exit 1;;\n'
        "*=8*) while :; do :; done;;\nesac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(commands, "_TIMEOUT", 0.3)

    found = [change(job, [0, 1], ["ArrayTaskThrottle=5", "TimeLimit=7"]) for job in ("7", "8", "9")]

    assert [len(problems) for problems in found] == [1, 2, 0]
    assert "operator" in found[0][0]
    assert found[1] == ["scontrol did not answer within 0.3 s"] * 2


def test_every_option_that_can_be_changed_is_one_of_sbatch():
    from slurmsweep.backends.slurm.resources import KNOWN

    assert set(changes._NAMES) <= KNOWN
