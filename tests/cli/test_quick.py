"""The command line that jobs run is read the same with and without argparse."""

from __future__ import annotations

import pytest

from slurmsweep.cli.parser import build_parser
from slurmsweep.cli.quick import agent_arguments


@pytest.mark.parametrize(
    "words",
    [["agent", "--count", "1", "abcd1234"], ["agent", "--count", "3", "--seats", "4", "/home/me/wandb/sweep-abcd1234"]],
)
def test_what_jobs_run_is_read_as_argparse_reads_it(words):
    assert vars(agent_arguments(words)) == vars(build_parser().parse_args(words))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["agent"],
        ["agent", "abcd1234"],
        ["agent", "--count", "1", "--seats", "0", "abcd1234"],
        ["agent", "--help"],
        ["agent", "-h"],
        ["agent", "--count", "0", "abcd1234"],
        ["agent", "--count", "-1", "abcd1234"],
        ["agent", "--count", "two", "abcd1234"],
        ["agent", "--count", "3", "--help"],
        ["agent", "--count=3", "abcd1234"],
        ["agent", "abcd1234", "--count", "3"],
        ["status", "abcd1234"],
    ],
)
def test_any_other_form_is_left_to_argparse(words):
    assert agent_arguments(words) is None
