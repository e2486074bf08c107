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
        (["trials", "s", "--limit", "0"], "argument -n/--limit: '0' is not a whole number, 1 or more"),
        (["trials", "s", "--limit", "two"], "argument -n/--limit: 'two' is not a whole number, 1 or more"),
        (
            ["trials", "s", "--state", "dead"],
            "argument -s/--state: 'dead' is not a state of trials: there are crashed,",
        ),
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


@pytest.mark.parametrize("command", ["trials", "export", "rerun", "delete", "resubmit", "sync"])
@pytest.mark.parametrize("word", ["stopped early", "stopped_early", "Stopped-Early", "not needed", "cancelled"])
def test_words_for_killed_trials_are_answered_with_their_state(capsys, command, word):
    with pytest.raises(SystemExit) as exit_code:
        parse(command, "s", "--state", word)

    assert exit_code.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    plain = word.lower().replace("_", " ").replace("-", " ")
    assert f"{word!r} is not a state of trials: there are crashed, " in said
    assert said.endswith(f"; trials that were {plain} are among the killed")


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
    assert err.splitlines()[1] == f"slurmsweep: no sweeps in {tmp_path}: `slurmsweep run FILE` makes one"


@pytest.mark.parametrize(
    ("words", "explained"),
    [
        (["trials", "s", "--limit", str(2**63)], "is too large: write a whole number, 1 to 9007199254740992"),
        (["trials", "s", "--limit", "9" * 5000], "is not a whole number, 1 or more"),
        (["run", "s", "--jobs", "99999999999"], "'99999999999' is too large: write a whole number, 1 to 10000000"),
        (["submit", "s", "--count", "1000000000000"], "is too large"),
        (["submit", "s", "--mend-every", "9999999"], "is too large: write a whole number, 1 to 525600"),
        (["sync", "s", "--jobs", "1001"], "is too large: write a whole number, 1 to 1000"),
        (["agent", "s", "--seats", "5001"], "is too large"),
        (["agent", "--count", str(10**18), "s"], "is too large"),
        (["doctor", "--nodes", "10001"], "is too large"),
        (["plan", "f", "--limit", "1000001"], "is too large"),
        (["resubmit", "s", "--mem-factor", "1e300"], "no job gets so much; use 1 to 1000000"),
        (["resubmit", "s", "--time-factor", "inf"], "no job gets so much"),
        (["delete", "s", "--trials", "0-"], "'' is not a whole number"),
        (["delete", "s", "--trials", f"0-{10**30}"], "is too large"),
        (["delete", "s", "--trials", ""], "is not a whole number"),
    ],
)
def test_an_option_has_bounds_and_the_error_names_them(capsys, words, explained):
    with pytest.raises(SystemExit) as exit_code:
        main(words)

    assert exit_code.value.code == 2
    assert explained in capsys.readouterr().err


def test_a_long_range_is_a_range_and_no_list():
    args = parse("resubmit", "s", "--trials", "5,0-99999999999,100000000000-100000000001")

    assert len(args.trials) == 100_000_000_002
    assert 99_999_999_999 in args.trials
    assert 100_000_000_002 not in args.trials


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("delete", "abcd1234", "--trials", "0-99999999999"), 3, "was never run"),
        (("create", "--from", "abcd1234", "--trials", "0-99999999999"), 3, "there is no trial 3"),
        (
            ("resubmit", "abcd1234", "--trials", "0-99999999999", "--dry-run", "--backend", "local"),
            3,
            "there is no trial 3",
        ),
        (("sync", "abcd1234", "--trials", "0-99999999999", "--dry-run"), 0, ""),
        (("show", "abcd1234", "99999999999"), 3, "there is no trial"),
        (("logs", "abcd1234", "0", "--attempt", "99999999999"), 3, "has no log"),
        (("trials", "abcd1234", "--limit", str(2**53)), 0, ""),
        (("templates", "x" * 300), 2, "there is no job template"),
        (("templates", "/" + "x" * 300), 2, "there is no job template"),
        (("templates", "a\nb"), 2, "there is no job template"),
        (("templates", "../../array"), 2, "there is no job template"),
        (("templates", ""), 2, "there is no job template"),
        (("status", "x" * 300), 3, "is not a sweep"),
        (("status", "/" + "x" * 300), 5, "File name too long"),
        (("status", "a\nb"), 3, "is not a sweep"),
        (("status", ""), 3, "is not a sweep"),
        (("plan", "x" * 300 + ".yaml"), 2, "cannot be read: File name too long"),
        (("doctor", "x" * 300), 5, "File name too long"),
    ],
)
def test_odd_names_and_far_numbers_get_the_documented_code(make_store, slurmsweep, words, code, said):
    make_store(3)

    done = slurmsweep(*words)

    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr) < 1500
