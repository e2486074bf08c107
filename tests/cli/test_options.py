"""Values of options are read once, and a wrong one is refused with what would be right."""

from __future__ import annotations

import pytest

from slurmsweep.cli.main import main
from slurmsweep.cli.parser import build_parser
from slurmsweep.state.lifecycle import TrialState


def parse(*words):
    return build_parser(words[0]).parse_args(words)


@pytest.mark.parametrize(
    ("words", "explained"),
    [
        (["trials", "s", "--limit", "0"], "argument --limit: '0' is not a whole number, 1 or more"),
        (["trials", "s", "--limit", "two"], "argument --limit: 'two' is not a whole number, 1 or more"),
        (["logs", "s", "-1"], "-1"),
        (["trials", "s", "--state", "dead"], "argument --state: 'dead' is not a state of trials: there are crashed,"),
        (["delete", "s", "--trials", "0-x"], "argument --trials: 'x' is not a whole number, 0 or more"),
        (["delete", "s", "--trials", "7-3"], "argument --trials: '7-3' names no number"),
        (["resubmit", "s", "--mem-factor", "0.5"], "argument --mem-factor: 0.5: less than before"),
        (["resubmit", "s", "--time-factor", "nan"], "argument --time-factor: nan: less than before"),
        (["submit", "s", "--sbatch", "=x"], "argument --sbatch: '=x': write NAME=VALUE"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(capsys, words, explained):
    with pytest.raises(SystemExit) as exit_code:
        parse(*words)

    assert exit_code.value.code == 2
    assert explained in capsys.readouterr().err


def test_values_come_as_what_they_mean():
    args = parse("resubmit", "s", "--state", "failed", "--state", "crashed", "--trials", "7-9,0,8", "--mem-factor", "1")

    assert args.state == [TrialState.FAILED, TrialState.CRASHED]
    assert list(args.trials) == [0, 7, 8, 9]
    assert (args.time_factor, args.mem_factor) == (2.0, 1.0)


def test_flags_and_other_sbatch_options_are_pairs_of_name_and_value():
    words = ["--cpus-per-task", "2", "--mem", "4G", "--sbatch=--requeue", "--sbatch", "comment=a=b"]
    args = parse("submit", "s", *words)

    assert args.resources == [("cpus-per-task", "2"), ("mem", "4G")]
    assert args.sbatch == [("requeue", ""), ("comment", "a=b")]


def test_one_process_may_run_several_commands(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    codes = [main(["status", "zzzzzzzz"]), main(["ls", "--json"]), main(["ls"]), main(["--version"])]

    assert codes == [3, 0, 0, 0]
    out, err = capsys.readouterr()
    assert out.startswith("[]\nslurmsweep ")
    assert err.splitlines()[1] == f"slurmsweep: no sweeps in {tmp_path}/wandb"
