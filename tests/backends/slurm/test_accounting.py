"""What sacct and sinfo print, as values. The lines are real, of Slurm 22.05 where nothing else is said."""

from __future__ import annotations

import pytest

from slurmsweep.backends.base import Account, Asked
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm.accounting import parse_accounts
from slurmsweep.backends.slurm.resources import asked, mebibytes, merge
from slurmsweep.backends.slurm.site import Partition, choose, parse_sinfo
from slurmsweep.errors import UsageError

SACCT = """\
35|COMPLETED|7|512M|2|8||00:08.205
35.batch|COMPLETED|||2|8|311.34M|00:08.205
37|COMPLETED|10|200M|2|5||00:00.013
37.batch|COMPLETED|||1|5|10.37M|00:00.009
37.0|COMPLETED|||2|5|1.62M|00:00.003
36_[0-3%1]|CANCELLED by 0|1440|100M|1|0||00:00:00
11_2|COMPLETED|60|64M|1|2||00:00.204
11_2.batch|COMPLETED|||1|2||00:00.204
"""


def test_a_job_has_the_memory_of_its_largest_step():
    found = parse_accounts(SACCT)

    assert found == {
        JobRef("35"): Account(7, 512, 2, 8, 311.34, 8.205),
        JobRef("37"): Account(10, 200, 2, 5, 10.37, 0.013),
        JobRef("11", 2): Account(60, 64, 1, 2, None, 0.204),
    }


@pytest.mark.parametrize(
    ("line", "account"),
    [
        ("5|RUNNING|UNLIMITED|16Gn|8|90061||1-01:01:01", Account(None, 16384, 8, 90061, None, 90061)),  # before 21.08
        ("5|RUNNING||16?|0|0||00:00:00", Account(None, None, 0, 0, None, 0)),  # slurmdbd has seen its start only
        ("5|TIMEOUT|5|64Mc|4|330||02:03:04", Account(5, 256, 4, 330, None, 7384)),
        ("5|FAILED|Partition_Limit|0|1|3||00:01.5", Account(None, None, 1, 3, None, 1.5)),
    ],
)
def test_other_forms_of_time_and_memory(line, account):
    assert parse_accounts(line) == {JobRef("5"): account}


SINFO = "main*|1-00:00:00|16000\nurgent|1:00:00|16000\nbig|infinite|64000\nbig|infinite|512000+\nnot a line\n"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, Partition("main", 1440, 16000)),
        ("urgent", Partition("urgent", 60, 16000)),
        ("big", Partition("big", None, 512000)),
        ("urgent,big", Partition("big,urgent", 60, 16000)),
        ("nope", Partition("nope", None, 0)),
    ],
)
def test_what_a_partition_gives_at_most(wanted, expected):
    assert choose(list(parse_sinfo(SINFO.splitlines())), wanted) == expected


@pytest.mark.parametrize(
    ("text", "size"),
    [("512", 512), ("4G", 4096), ("1.5g", 1536), ("2T", 2 * 1024**2), ("1024K", 1), ("0", None), ("all", None)],
)
def test_memory_in_mebibytes(text, size):
    assert mebibytes(text) == size


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Asked()),
        ({"time": "1:30:00", "mem": "4G", "cpus-per-task": "4"}, Asked(90, 4096, 4)),
        ({"time": "UNLIMITED", "mem-per-cpu": "100", "ntasks": "2", "cpus-per-task": "3"}, Asked(None, 600, 6)),
        ({"nodes": "2", "ntasks-per-node": "8", "mem": "1G"}, Asked(None, 2048, 16)),
        ({"mem": "0", "exclusive": True}, Asked()),
    ],
)
def test_what_options_ask_for(options, expected):
    assert asked(options) == expected


@pytest.mark.parametrize("text", ["auto", "4 G", "lots", "-1"])
def test_a_memory_that_is_none_is_refused_before_sbatch_is(text):
    with pytest.raises(UsageError, match="is not a memory; write MiB, or 4G"):
        merge(("the command line", {"mem": text}))
