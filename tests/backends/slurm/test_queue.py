"""What squeue and sacct print, understood. Lines are real outputs of Slurm 22.05."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmsweep.backends.base import Answer
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm import queue
from slurmsweep.backends.slurm.jobstates import WORDS, meaning, outcome
from slurmsweep.backends.slurm.queue import arrays_cut, parse_sacct, parse_squeue
from slurmsweep.backends.slurm.site import parse_sinfo
from slurmsweep.errors import SchedulerError, SchedulerUnavailableError
from slurmsweep.state.lifecycle import TrialState

SQUEUE = """\
1|0|2|COMPLETED|0|n1|0|wrap
1|1|1|FAILED|256|n1|0|slurmsweep-b9p3bbht-ebcc31cb
19|7|26|FAILED|9|n1|0|x
30|N/A|30|RUNNING|0|n2|0|x
31|4|31|PENDING|0||0|x
"""

SACCT = """\
12|CANCELLED by 0|0:0|n2|None
19_7|FAILED|3:0|n1|None
19_8|FAILED|0:11|n1|None
1206_[0-2,5%2]|CANCELLED by 0|0:0|None assigned|None
32_0|TIMEOUT|0:0|n1|None
33_0|NODE_FAIL|1:0|n3|None
34|OUT_OF_MEMORY|0:125|n1|None
"""


def test_squeue_lines_become_reports():
    reports = dict(parse_squeue(SQUEUE))

    assert {ref: (report.word, report.alive, report.cause) for ref, report in reports.items()} == {
        JobRef("1", 0): ("COMPLETED", False, ""),
        JobRef("1", 1): ("FAILED", False, "exit 1"),
        JobRef("19", 7): ("FAILED", False, "signal 9"),
        JobRef("30"): ("RUNNING", True, ""),
        JobRef("31", 4): ("PENDING", True, ""),
    }


def test_sacct_lines_become_reports_and_ranges_are_spelt_out():
    reports = dict(parse_sacct(SACCT))

    assert {ref: (str(report.state), report.cause) for ref, report in reports.items()} == {
        JobRef("12"): ("killed", "cancelled"),
        JobRef("19", 7): ("failed", "exit 3"),
        JobRef("19", 8): ("crashed", "signal 11"),
        **{JobRef("1206", n): ("killed", "cancelled") for n in (0, 1, 2, 5)},
        JobRef("32", 0): ("crashed", "timeout"),
        JobRef("33", 0): ("crashed", "node_fail"),
        JobRef("34"): ("crashed", "oom"),
    }
    assert reports[JobRef("1206", 0)].node == ""


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("5_[1-23:2]", range(1, 24, 2)),
        ("5_[0-40:10%3]", range(0, 41, 10)),
        ("5_[3-9:2%1]", range(3, 10, 2)),
        ("5_[1-4,9,12-20:4]", [1, 2, 3, 4, 9, 12, 16, 20]),
        ("5_[7]", [7]),
        ("5_[0-0]", [0]),
        ("5_7", [7]),
    ],
)
def test_lists_of_elements_are_spelt_out(name, elements):
    assert [ref for ref, _ in parse_sacct(f"{name}|CANCELLED by 1000|0:0|None assigned|None")] == [
        JobRef("5", n) for n in elements
    ]


def test_an_element_with_a_line_of_its_own_is_not_what_a_list_says():
    """A real one: 12 elements failed, the others were cancelled; sacct 24.11 prints their list last."""
    failed = [f"5226_{n}|FAILED|1:0|n1|None" for n in range(0, 24, 2)]
    lines = "\n".join([*failed, "5226_[0-23]|CANCELLED by 1000|0:0|None assigned|None"])

    states = {ref.task: str(report.state) for ref, report in parse_sacct(lines)}

    assert states == {n: "killed" if n % 2 else "failed" for n in range(24)}


#: As sacct cuts a list where SLURM_BITSTR_LEN does not forbid it, and what is certain of it.
CUT = [
    ("5077_[1,4,9-12,17,23,26-29,33,36,39,42,45,49,51-...]", {1, 4, *range(9, 13), 17, 23, *range(26, 30), 33, 36, 39, 42, 45, 49}),
    ("5077_[0,2,4,6,8,1...]", {0, 2, 4, 6, 8}),
    ("5077_[3-...%4]", set()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "certain"), CUT)
def test_a_list_that_was_cut_is_not_taken_for_complete(scheduler, name, certain):
    scheduler("squeue")
    scheduler("sacct", stdout=f"{name}|CANCELLED by 1000|0:0|None assigned|None\n5077_60|FAILED|3:0|n1|None\n")

    answer = queue.ask(["5077"], {JobRef("5077", n) for n in range(90)})

    assert {ref.task for ref in answer.tasks} == certain | {60}
    assert answer.cut == {"5077"}
    assert [n for n in range(90) if not answer.lags(JobRef("5077", n))] == sorted(certain | {60})
    assert not answer.lags(JobRef("5078", 1))


def test_nothing_is_concluded_of_elements_that_a_list_does_not_name():
    from slurmsweep.control.snapshot import judge
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.trial import Attempt

    known = dict(parse_sacct("5077_[1,4,9-...]|CANCELLED by 0|0:0|None assigned|None"))
    answer = Answer(known, "used", "lab", cut=frozenset({"5077"}))
    attempt = Attempt(1, "token", Owner("far", 1, 1, "b", cluster="lab", job="5077", task=60))

    seen = judge(attempt, answer)

    assert (seen.outcome, seen.witnessed) == (None, False)
    assert seen.note == "accounting knows array 5077, and does not name its element 60"


def test_slurms_programs_are_told_to_name_all_elements(scheduler, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_BITSTR_LEN", "20")
    for program in ("squeue", "sacct"):
        (tmp_path / program).write_text(f"#!/bin/sh\nenv > {tmp_path}/{program}.env\n")
        (tmp_path / program).chmod(0o755)

    queue.ask(["1"], {JobRef("1", 1)})

    for program in ("squeue", "sacct"):
        assert "SLURM_BITSTR_LEN=0\n" in (tmp_path / f"{program}.env").read_text()


@pytest.mark.parametrize(
    ("status", "cause", "code"),
    [
        ("15:0", "exit 15 or 143", None),  # up to 25.05
        ("143:0", "exit 143", 143),  # 25.11
        ("9:0", "exit 9 or 137", None),
        ("127:0", "exit 127 or 255", None),
        ("0:0", "exit 0 or 128", None),
        ("1:0", "exit 1", 1),
        ("2:0", "exit 2", 2),
        ("126:0", "exit 126", 126),
        ("255:0", "exit 255", 255),
    ],
)
def test_an_exit_code_that_accounting_may_have_made_smaller_is_not_said_for_certain(status, cause, code):
    [(_, report)] = parse_sacct(f"19_7|FAILED|{status}|n1|None")

    assert (str(report.state), report.cause, report.exit_code) == ("failed", cause, code)


@pytest.mark.parametrize("status", ["143:0", "36608"])
def test_the_queue_says_the_exit_code_as_it_was(status):
    """With a colon since 23.02; a raw wait status before."""
    [(_, report)] = parse_squeue(f"1|1|1|FAILED|{status}|n1|0|x")

    assert (report.cause, report.exit_code) == ("exit 143", 143)


@pytest.mark.parametrize(
    ("word", "reason", "is_one"),
    [
        ("PENDING", "launch failed requeued held", True),
        ("PENDING", "launch_failed_requeued_held", True),
        ("PENDING", "(launch failed requeued held)", True),
        ("PENDING", "user env retrieval failed requeued held", True),
        ("REQUEUE_HOLD", "launch failure limit exceeded requeued held", True),
        ("REQUEUE_HOLD", "JobHoldMaxRequeue", True),
        ("REQUEUE_HOLD", "job requeued in held state", False),
        ("SPECIAL_EXIT", "job requeued in special exit state", False),
        ("PENDING", "JobHeldUser", False),
        ("RUNNING", "launch failed requeued held", False),
    ],
)
def test_a_job_that_a_node_could_not_start_is_told_from_one_that_a_person_holds(word, reason, is_one):
    tasks = dict(parse_squeue(f"31|4|31|{word}|0||1|x|{reason}|"))

    assert queue.failed_launches(tasks) == ([JobRef("31", 4)] if is_one else [])


@pytest.mark.parametrize("word", WORDS)
def test_every_word_is_alive_or_has_an_end(word):
    said = meaning(word)

    assert said.alive == (said.state is None)
    assert said.state is None or said.state.has_ended()


def test_additions_to_a_word_are_understood():
    assert meaning("CANCELLED by 1000").state is TrialState.KILLED
    assert meaning("CANCELLED+").state is TrialState.KILLED


def test_a_word_nobody_knows_raises():
    with pytest.raises(SchedulerError, match="does not know"):
        meaning("ZOMBIFIED")


def test_how_a_job_failed_tells_failed_from_crashed():
    assert outcome("FAILED", 3, 0) == (TrialState.FAILED, "exit 3")
    assert outcome("FAILED", 0, 9) == (TrialState.CRASHED, "signal 9")
    assert outcome("COMPLETED", 0, 0) == (TrialState.FINISHED, "")


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    """Programs on PATH that answer as told: for answers a real Slurm cannot be brought to give at will."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def says(program, stdout="", stderr="", code=0) -> None:
        file = tmp_path / program
        text = f"#!/bin/sh\necho \"$@\" >> {tmp_path}/{program}.calls\ncat <<'E'\n{stdout}E\ncat >&2 <<'E'\n{stderr}E\nexit {code}\n"
        file.write_text(text)
        file.chmod(0o755)

    says.calls = lambda program: len((tmp_path / f"{program}.calls").read_text().splitlines())
    return says


def test_a_squeue_that_fails_is_no_empty_queue(scheduler):
    scheduler("squeue", stderr="slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", code=1)

    with pytest.raises(SchedulerUnavailableError, match="Unable to contact slurm controller"):
        queue.ask(["1"])


def test_without_squeue_nothing_is_concluded(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SchedulerUnavailableError, match="no squeue"):
        queue.ask(["1"])


def test_a_forgotten_job_is_no_error_and_sacct_is_asked_once(scheduler):
    scheduler("squeue", stderr="slurm_load_jobs error: Invalid job id specified\n", code=1)
    scheduler("sacct", stdout="19_7|FAILED|9:0|n1|None\n")

    answer = queue.ask(["20"], {JobRef("19", 7)})

    assert answer.tasks[JobRef("19", 7)].source == "sacct"
    assert answer.accounting == "used"
    assert (scheduler.calls("squeue"), scheduler.calls("sacct")) == (1, 1)


def test_live_jobs_need_no_accounting(scheduler):
    scheduler("squeue", stdout="30|N/A|30|RUNNING|0|n2|0|x\n")

    assert queue.ask([], {JobRef("30")}).accounting == "not needed"


def test_squeues_word_stands_over_a_lagging_sacct(scheduler):
    scheduler("squeue", stdout="30|0|30|PENDING|0||1|x\n31|0|31|COMPLETED|0|n1|0|x\n")
    scheduler("sacct", stdout="30_0|PREEMPTED|0:0|n1|None\n31_0|RUNNING|0:0|n1|None\n")

    tasks = queue.ask([], {JobRef("30", 0), JobRef("31", 0), JobRef("31", 1)}).tasks

    assert tasks[JobRef("30", 0)].alive
    assert tasks[JobRef("31", 0)].state is TrialState.FINISHED


def test_an_element_forgotten_among_living_ones_is_asked_of_sacct(scheduler):
    scheduler("squeue", stdout="30|1|31|RUNNING|0|n1|0|x\n")
    scheduler("sacct", stdout="30_0|OUT_OF_MEMORY|0:125|n1|None\n30_1|RUNNING|0:0|n1|None\n")

    tasks = queue.ask(["30"], {JobRef("30", 0), JobRef("30", 1)}).tasks

    assert (tasks[JobRef("30", 0)].cause, tasks[JobRef("30", 1)].source) == ("oom", "squeue")


def test_where_no_end_is_asked_for_sacct_is_left_alone(scheduler):
    scheduler("squeue")

    assert queue.ask(["30", "31"]).accounting == "not needed"


@pytest.mark.parametrize(
    ("stderr", "accounting"),
    [
        ("Slurm accounting storage is disabled\n", "off"),
        (
            "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection\n",
            "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection",
        ),
    ],
)
def test_accounting_that_is_off_or_down_is_said_so(scheduler, stderr, accounting):
    scheduler("squeue")
    scheduler("sacct", stderr=stderr, code=1)

    answer = queue.ask(["30"], {JobRef("30")})

    assert (dict(answer.tasks), answer.accounting) == ({}, accounting)


def test_cancelling_what_is_over_is_no_error(scheduler):
    scheduler("scancel", stderr="scancel: error: Kill job error on job id 14: Invalid job id specified\n", code=1)
    queue.cancel(["14"])
    scheduler("scancel", stderr="scancel: error: Kill job error on job id 14: Access/permission denied\n", code=210)
    with pytest.raises(SchedulerUnavailableError, match="Access/permission denied"):
        queue.cancel(["14"])


def test_the_users_own_formats_do_not_reach_squeue(scheduler, tmp_path, monkeypatch):
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    (tmp_path / "squeue").write_text(f"#!/bin/sh\nenv > {tmp_path}/seen\n")
    (tmp_path / "squeue").chmod(0o755)
    scheduler("sacct")
    queue.ask(["1"])

    seen = (tmp_path / "seen").read_text()
    assert "SQUEUE_FORMAT" not in seen
    assert "LC_ALL=C" in seen


@pytest.mark.parametrize(
    ("limit", "used", "cause"),
    [
        ("10:00", "10:21", "timeout"),
        ("1:00", "0:41", "timeout"),  # its end was moved, and the limit rounded up (a real one)
        ("10:00", "8:31", "timeout"),
        ("10:00", "0:23", "cut short"),
        ("1-00:00:00", "23:50:00", "cut short"),
        ("UNLIMITED", "0:23", "timeout"),
        ("INVALID", "0:23", "timeout"),
        ("", "", "timeout"),
    ],
)
def test_a_timeout_with_time_left_is_no_time_limit(limit, used, cause):
    line = f"70|0|70|TIMEOUT|9|n2|0|x|None|{limit}|{used}|lab|"

    [(_, report)] = parse_squeue(line)

    assert (report.cause, report.state) == (cause, TrialState.CRASHED if cause == "timeout" else TrialState.PREEMPTED)


@pytest.mark.parametrize(
    ("fields", "cause"), [("10|23", "cut short"), ("1|41", "timeout"), ("UNLIMITED|9", "timeout"), ("|0", "timeout")]
)
def test_accounting_tells_the_same(fields, cause):
    [(_, report)] = parse_sacct(f"70_0|TIMEOUT|0:0|n2|None|{fields}|lab")

    assert report.cause == cause


def test_an_array_that_accounting_has_not_taken_apart_says_nothing_of_its_elements():
    answer = Answer(dict(parse_sacct("94|COMPLETED|0:0|n1|None||0|lab")), "used")

    assert answer.lags(JobRef("94", 0))
    assert not answer.lags(JobRef("94"))
    assert not answer.lags(JobRef("95", 0))
    whole = Answer(dict(parse_sacct("94|COMPLETED|0:0|n1|None||0|lab\n94_0|FAILED|1:0|n1|None")), "used")
    assert not whole.lags(JobRef("94", 0))


LINE = "30|N/A|30|PENDING|0:0||0|slurmsweep-ab12cd34-1f|{}|10:00|0:00|c1|main|N/A|(null)|\n"


@pytest.mark.parametrize(
    "reason", ["Priority", "Reservation a|b was deleted", "|", "||||||||||||", "a|FAILED|1:0|n9|0|name|None|1:00|0:00"]
)
def test_a_reason_with_the_character_between_fields_shifts_none(reason):
    [(ref, status)] = parse_squeue(LINE.format(reason))

    assert (ref, status.word, status.reason) == (JobRef("30"), "PENDING", reason)
    assert (status.name, status.minutes, status.partition) == ("slurmsweep-ab12cd34-1f", 10.0, "main")


def test_an_answer_that_was_cut_is_none(monkeypatch):
    """Its last jobs would count as gone."""
    monkeypatch.setattr(queue, "answer", lambda *_, **__: LINE.format("Priority")[:-30])

    with pytest.raises(SchedulerUnavailableError, match="ends in the middle of a line"):
        queue.ask({"30"})


#: What stands in answers of Slurm's programs, and what does not.
ODD = st.lists(
    st.sampled_from(
        ["|", "|", "19", "FAILED", "0:9", "a:b", ":", "1-00:00:00", "[0-3%2]", "_", "\n", "²", "٣", "1_[3-1:0]"]
    )
    | st.text(max_size=4),
    max_size=60,
).map("".join)


@given(ODD)
def test_no_answer_is_too_odd(text):
    arrays_cut(text)
    list(parse_sinfo(text.splitlines()))
    for parse in (parse_squeue, parse_sacct):
        with suppress(SchedulerError):  # a word for a state that is not known: nothing is concluded
            list(parse(text))
