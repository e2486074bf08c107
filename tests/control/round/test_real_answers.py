"""What is concluded from what a real Slurm said (22.05, ``tests/data/slurm``), with accounting, without, and later.

Each case is what squeue and sacct printed of one array at one moment: while it was preempted, when its node failed ...
"""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmsweep.backends.slurm.queue import Answer, parse_sacct, parse_squeue
from slurmsweep.control.snapshot import judge
from slurmsweep.state.owner import Owner
from slurmsweep.state.trial import Attempt

SAID = Path(__file__).parents[2] / "data" / "slurm"

ALIVE = None
LOST = ("crashed", "lost", False)  # and it must be missed twice

#: Of the agent of element 0, somewhere else: with both programs' answers; with squeue's alone, as without accounting;
#: with sacct's alone, as after MinJobAge.
CASES = {
    "just_submitted": (ALIVE, ALIVE, LOST),
    "held_array": (ALIVE, ALIVE, ALIVE),
    "running": (ALIVE, ALIVE, ALIVE),
    "being_cancelled": (ALIVE, ALIVE, ("killed", "cancelled", True)),
    "cancelled": (("killed", "cancelled", True),) * 3,
    "never_started": (("killed", "cancelled", True),) * 3,
    "exit_3": (("failed", "exit 3", True),) * 3,
    "signal_9": (("crashed", "signal 9", True),) * 3,
    "completed": (("crashed", "lost", True),) * 3,
    "out_of_memory": (("crashed", "oom", True),) * 3,
    "time_limit": (("crashed", "timeout", True),) * 3,
    "preempted_for_good": (("preempted", "preempted", True),) * 3,
    "node_fail_for_good": (("crashed", "node_fail", True),) * 3,
    # sacct's newest row is of the incarnation that ended, while squeue says that the job waits: not over
    "preempted_put_back": (ALIVE, ALIVE, ("preempted", "preempted", True)),
    "node_fail_put_back": (ALIVE, ALIVE, ("crashed", "node_fail", True)),
    "requeued_at_once": (ALIVE, ALIVE, ALIVE),
    "requeued_waiting": (ALIVE, ALIVE, ALIVE),
    "unknown_job": (LOST, LOST, LOST),
    # the end of its time was moved to within its first minute: Slurm's limit is rounded up, and it is one
    "time_limit_moved": (("crashed", "timeout", True),) * 3,
    # accounting has one of four elements, under the array's own id: of element 0 it says nothing yet
    "array_not_split_yet": (("crashed", "lost", True), ("crashed", "lost", True), ALIVE),
}


def said(case: str, program: str) -> str:
    return (SAID / f"{case}.{program}.txt").read_text()


def job(case: str) -> str:
    first = (said(case, "squeue") + said(case, "sacct")).partition("|")[0]
    return first if first.isdecimal() else "999999"


def concluded(case: str, *programs: str) -> tuple[str, str, bool] | None:
    parsers = {"sacct": parse_sacct, "squeue": parse_squeue}
    tasks = {ref: report for name in programs for ref, report in parsers[name](said(case, name))}
    owner = Owner("far", 10, 1, "b", cluster="slurmsweeplab", job=job(case), task=0)
    seen = judge(Attempt(1, token="t", owner=owner), Answer(tasks, "used"))
    return (str(seen.outcome.state), seen.outcome.cause, seen.final) if seen.outcome else None


@pytest.mark.parametrize("case", CASES)
def test_real_answers_are_understood(case):
    # squeue's word stands where both have one, as in queue.ask
    assert (concluded(case, "sacct", "squeue"), concluded(case, "squeue"), concluded(case, "sacct")) == CASES[case]


def test_every_answer_that_is_kept_is_in_the_table():
    assert {path.name.partition(".")[0] for path in SAID.glob("*.txt")} == set(CASES)


@pytest.mark.parametrize("case", ["held_array", "never_started"])
def test_elements_that_never_started_are_spelt_out_from_either_program(case):
    for program, parse in (("squeue", parse_squeue), ("sacct", parse_sacct)):
        assert sorted(ref.task for ref, _ in parse(said(case, program))) == [0, 1, 2, 3], program
