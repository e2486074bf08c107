"""What is run again, with what, and what is not: decided from facts, without a scheduler."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from slurmsweep.backends.slurm import queue
from slurmsweep.backends.slurm.queue import Answer, parse_sacct, parse_squeue
from slurmsweep.control.failures.log_end import read_failure
from slurmsweep.control.failures.passing import may_pass
from slurmsweep.control.round.end_reasons import doubtful_jobs, explained_ends
from slurmsweep.control.round.retry_policy import (
    EndedTrial,
    Node,
    ResourceOverride,
    RetryPolicy,
    decide_retries,
    nodes_to_avoid,
    with_learnt,
)
from slurmsweep.control.snapshot import judge
from slurmsweep.sizing.usage import Usage
from slurmsweep.sizing.walltime import Bounds
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.tail import AttemptId
from slurmsweep.state.trial import Attempt

BOUNDS = Bounds(60.0, 2048.0, 600.0, 16000.0, 60.0)
STATES = {"timeout": TrialState.CRASHED, "oom": TrialState.CRASHED, "exit 3": TrialState.FAILED}


def usage(number, attempt, cause, minutes=60.0, mib=2048.0) -> Usage:
    state = STATES.get(cause, TrialState.CRASHED)
    return Usage(number, attempt, state, cause, f"7_{number}", minutes, mib, 1.0, 50.0, 50.0, 1.0, 900.0)


def ended(number, *causes, signature="", error="", goes_on=False, **asked) -> EndedTrial:
    usages = [usage(number, n, cause, **asked) for n, cause in enumerate(causes, 1)]
    return EndedTrial(number, usages[-1].state, causes[-1], len(causes) + 1, usages, signature, goes_on, error=error)


def given(plan) -> dict:
    return {
        attempt_id.trial: (g.minutes, g.mib) for g, attempt_ids in plan.groups.items() for attempt_id in attempt_ids
    }


def test_out_of_time_gets_more_time_and_out_of_memory_more_memory():
    plan = decide_retries(
        [ended(0, "timeout"), ended(1, "oom"), ended(2, "exit 3"), ended(3, "node_fail")], RetryPolicy(), BOUNDS
    )

    assert given(plan) == {0: (120, None), 1: (None, 4096), 2: (None, None), 3: (None, None)}
    assert plan.whys[0] == "timeout with 120 min"


def test_what_was_given_once_is_not_taken_away_again():
    long = EndedTrial(0, TrialState.CRASHED, "node_fail", 3, [usage(0, 1, "timeout"), usage(0, 2, "node_fail", 120.0)])

    assert given(decide_retries([long], RetryPolicy(), BOUNDS)) == {0: (120, None)}


@pytest.mark.parametrize(("factor", "minutes"), [(1.5, 90), (20.0, 600)])
def test_factors_are_bounded_by_the_partition(factor, minutes):
    assert given(decide_retries([ended(0, "timeout")], RetryPolicy(time_factor=factor), BOUNDS)) == {0: (minutes, None)}


def test_who_had_all_that_the_partition_gives_is_not_run_again_for_nothing():
    trials = [ended(0, "timeout", minutes=600.0), ended(1, "oom", mib=16000.0)]

    plan = decide_retries(trials, RetryPolicy(), BOUNDS)

    assert plan.groups == {}
    assert "600 min" in plan.left[0]
    assert "16000 MiB" in plan.left[1]
    assert given(decide_retries(trials, RetryPolicy(force=True), BOUNDS)) == {0: (600, None), 1: (None, 16000)}


def test_what_a_person_asks_for_now_stands():
    plan = decide_retries(
        [ended(0, "timeout"), ended(1, "oom")], RetryPolicy(), BOUNDS, asks=frozenset({"time", "mem"})
    )

    assert given(plan) == {0: (None, None), 1: (None, None)}


def test_where_another_option_decides_the_memory_a_person_chooses_it():
    by_machine = replace(BOUNDS, memory_by="instance-type")
    trials = [ended(0, "oom"), ended(1, "timeout")]

    plan = decide_retries(trials, RetryPolicy(), by_machine)
    chosen = decide_retries(trials, RetryPolicy(), by_machine, asks=frozenset({"mem"}))

    assert given(plan) == {1: (120, None)}
    assert plan.left == {
        0: "a job has the memory that its instance-type gives: choose one with more by --aws instance-type="
    }
    assert given(chosen) == {0: (None, None), 1: (120, None)}


def test_without_a_known_memory_what_was_used_counts():
    unknown = Bounds(60.0, None, 600.0, None, 60.0)

    assert given(decide_retries([ended(0, "oom", mib=None)], RetryPolicy(), unknown)) == {0: (None, 1800)}


def test_three_trials_that_fail_alike_stop_and_say_so():
    words = [f"KeyError: 'layer{n}' (train.py, line 3)" for n in range(3)]
    trials = [ended(n, "exit 3", signature="train.py, line 3: KeyError: #", error=words[n]) for n in range(3)]
    trials.append(ended(3, "exit 3", signature="train.py, line 9: ValueError: #"))

    plan = decide_retries(trials, RetryPolicy(), BOUNDS)

    assert given(plan) == {3: (None, None)}
    assert plan.left == dict.fromkeys(range(3), plan.left[0])
    assert plan.left[0].startswith("fail alike: KeyError: 'layer0' (train.py, line 3); mend it")
    assert plan.left_words() == [f"not run again: trials 0, 1, 2 ({plan.left[0]})"]
    assert plan.refused == tuple(AttemptId(n, 2) for n in range(3))
    assert len(given(decide_retries(trials, RetryPolicy(force=True), BOUNDS))) == 4


def test_a_trial_whose_job_waits_to_go_on_is_left_to_it():
    plan = decide_retries([ended(0, "timeout", goes_on=True)], RetryPolicy(force=True), BOUNDS)

    assert (plan.groups, plan.left) == ({}, {0: "its job waits in the queue, and goes on with it"})


@pytest.mark.parametrize(
    ("rules", "chosen"),
    [
        (RetryPolicy(), [0, 1, 2]),
        (RetryPolicy(states=frozenset({TrialState.FAILED})), [2]),
        (RetryPolicy(causes=frozenset({"oom", "exit 3"})), [1, 2]),
        (RetryPolicy(trials=frozenset({0, 5})), [0]),
        (RetryPolicy(max_attempts=1), []),
    ],
)
def test_rules_choose(rules, chosen):
    plan = decide_retries([ended(0, "timeout"), ended(1, "oom"), ended(2, "exit 3")], rules, BOUNDS)

    assert sorted(given(plan)) == chosen
    assert plan.assigned is (rules.is_selective)


def test_the_plan_is_one_document():
    document = json.loads(json.dumps(decide_retries([ended(0, "timeout")], RetryPolicy(), BOUNDS).to_json()))

    assert document["groups"] == [{"trials": [0], "minutes": 120, "mib": None, "why": {"0": "timeout with 120 min"}}]


def test_nodes_that_fail_are_avoided_but_not_all_of_them():
    nodes = {"n1": Node(failures=1, bad=1, good=9), "n2": Node(bad=3), "n3": Node(bad=3, good=1), "n4": Node(bad=2)}

    assert nodes_to_avoid(nodes, 8) == (("n1", "n2"), "staying away from n1, n2")
    none, remark = nodes_to_avoid(nodes, 4)
    assert none == ()
    assert "2 of 4 nodes" in remark


TRACEBACK = """\
epoch 1
Traceback (most recent call last):
  File "/home/ada/train.py", line 30, in <module>
    main()
  File "/home/ada/train.py", line 12, in main
    raise ValueError(f"{size} is no size")
ValueError: 17 is no size
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TRACEBACK, "train.py, line 12: ValueError: # is no size"),
        (TRACEBACK.replace("17", "1e-05").replace("ada", "bob"), "train.py, line 12: ValueError: # is no size"),
        ("KeyError: 'lr'\n", "KeyError: #"),
        ("one\nSegmentation fault (core dumped) at 0x7f00\n\n", "Segmentation fault (core dumped) at #"),
        ("", ""),
    ],
)
def test_equal_mistakes_complain_equally(text, expected):
    assert read_failure(text).signature == expected


# Why Slurm ended what an agent only saw being ended.

OWNER = Owner("far", 10, 1, "b", node="n1", cluster="lab", job="7", task=3)


def explained(store):
    view = store.replay()
    return explained_ends(view, queue.ask((), doubtful_jobs(view)))


def stopped(make_store, cause):
    store = make_store(2)
    claim = store.claim(OWNER)
    store.finish(claim, Outcome(TrialState.KILLED, cause, exit_code=143, metric=0.5, ended=1.0))
    return store


@pytest.mark.parametrize(
    ("sacct", "state", "cause"),
    [
        ("7_3|TIMEOUT|0:0|n1|None", TrialState.CRASHED, "timeout"),
        ("7_3|PREEMPTED|0:0|n1|None", TrialState.PREEMPTED, "preempted"),
        ("7_3|CANCELLED by 0|0:15|n1|None", TrialState.KILLED, "cancelled"),
        ("7_3|NODE_FAIL|0:0|n1|None", TrialState.CRASHED, "node_fail"),
        ("7_3|OUT_OF_MEMORY|0:125|n1|None", TrialState.CRASHED, "oom"),
    ],
)
def test_slurm_tells_why_an_agent_was_told_to_stop(make_store, monkeypatch, sacct, state, cause):
    store = stopped(make_store, "terminated")
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: Answer(dict(parse_sacct(sacct)), "used"))

    [(attempt_id, better)] = explained(store).items()

    assert attempt_id == AttemptId(0, 1)
    assert (better.state, better.cause, better.by, better.metric, better.exit_code) == (state, cause, "slurm", 0.5, 143)


@pytest.mark.parametrize(
    "answer", ["7_3|FAILED|143:0|n1|None", "7_3|COMPLETED|0:0|n1|None", "7_3|RUNNING|0:0|n1|None", ""]
)
def test_what_slurm_does_not_explain_stays_as_the_agent_said(make_store, monkeypatch, answer):
    store = stopped(make_store, "terminated")
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: Answer(dict(parse_sacct(answer)), "used"))

    assert explained(store) == {}


def failed(make_store, owners=(OWNER,)):
    store = make_store(3)
    for owner in owners:
        store.finish(store.claim(owner), Outcome(TrialState.FAILED, "exit 1", exit_code=1, metric=0.5, ended=1.0))
    return store


def test_memory_that_lacked_is_the_cause_also_where_the_script_ended_by_itself(make_store, monkeypatch):
    """The kernel killed a worker of a DataLoader, and the script raised for it."""
    store = failed(make_store)
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: Answer(dict(parse_sacct("7_3|OUT_OF_MEMORY|0:125|n1|")), ""))

    [(attempt_id, better)] = explained(store).items()

    assert attempt_id == AttemptId(0, 1)
    assert (better.state, better.cause, better.by, better.metric, better.exit_code) == (
        TrialState.FAILED,
        "oom",
        "slurm",
        0.5,
        1,
    )


@pytest.mark.parametrize("word", ["FAILED|1:0", "TIMEOUT|0:0", "PREEMPTED|0:0", "CANCELLED by 0|0:15", "COMPLETED|0:0"])
def test_a_script_that_failed_by_itself_has_failed_whatever_else_slurm_says(make_store, monkeypatch, word):
    store = failed(make_store)
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: Answer(dict(parse_sacct(f"7_3|{word}|n1|")), "used"))

    assert explained(store) == {}


def test_the_memory_of_a_job_of_several_trials_is_blamed_on_none_of_them(make_store, monkeypatch):
    store = failed(make_store, (OWNER, OWNER._replace(pid=11)))
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: Answer(dict(parse_sacct("7_3|OUT_OF_MEMORY|0:125|n1|")), ""))

    assert doubtful_jobs(store.replay()) == set()
    assert explained(store) == {}


def test_what_failed_for_its_memory_gets_more_of_it():
    usage = Usage(0, 1, TrialState.FAILED, "oom", "7_3", 60, 2048, 1, 5, 5, 5, 1900)
    trial = EndedTrial(0, TrialState.FAILED, "oom", 2, (usage,))

    assert decide_retries([trial], RetryPolicy(), BOUNDS).whys == {0: "oom with 4096 MiB"}


def test_a_job_that_was_put_back_is_not_explained_yet(make_store, monkeypatch):
    """Squeue says PENDING while the newest row of sacct is PREEMPTED still: squeue's word stands."""
    store = stopped(make_store, "terminated")
    tasks = {**dict(parse_sacct("7_3|PREEMPTED|0:0|n1|None")), **dict(parse_squeue("7|3|9|PENDING|0||1|x\n"))}
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: Answer(tasks, "used"))

    assert explained(store) == {}


def test_an_end_that_needs_no_reason_asks_nobody(make_store):
    assert explained(stopped(make_store, "interrupted")) == {}


def test_nothing_is_concluded_from_accounting_that_does_not_answer():
    silent = Answer({}, "sacct: error: slurm_persist_conn_open: Connection refused")

    seen = judge(Attempt(1, token="t", owner=OWNER), silent)

    assert (seen.outcome, seen.witnessed) == (None, False)
    assert "Connection refused" in seen.note


def test_groups_of_the_same_need_are_one():
    plan = decide_retries([ended(n, "timeout") for n in range(4)], RetryPolicy(), BOUNDS)

    assert plan.groups == {ResourceOverride(120, None): tuple(AttemptId(n, 2) for n in range(4))}


def test_what_was_learnt_stands_in_the_place_of_the_factors_and_the_other_one_stays():
    plan = decide_retries([ended(0, "timeout"), ended(1, "oom"), ended(2, "exit 3")], RetryPolicy(), BOUNDS)
    learnt = {0: ResourceOverride(90), 1: ResourceOverride(12), 2: ResourceOverride(12)}

    now = with_learnt(plan, learnt, ["time: 0.95 quantile"])

    assert given(now) == {0: (90, None), 1: (12, 4096), 2: (12, None)}
    assert now.whys == {0: "timeout with 90 min", 1: "oom with 12 min and 4096 MiB", 2: "exit 3 with 12 min"}
    assert now.remarks == ("time: 0.95 quantile",)
    assert [g.minutes for g in now.groups] == [12, 12, 90]


GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "/home/ada/train.py", line 8, in <module>
  |     raise ExceptionGroup("many", errors)
  | ExceptionGroup: many (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/home/ada/data.py", line 5, in load
    |     get(3)
    | ConnectionResetError: [Errno 104] reset
    +---------------- 2 ----------------
    | Traceback (most recent call last):
    |   File "/home/ada/data.py", line 5, in load
    |     get(4)
    | ConnectionResetError: [Errno 104] reset
    +------------------------------------
"""
CHAIN = """\
Traceback (most recent call last):
  File "/home/ada/data.py", line 2, in load
    raise ConnectionResetError(104, "reset")
ConnectionResetError: [Errno 104] reset

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/home/ada/train.py", line 4, in <module>
    raise RuntimeError("cannot load") from error
RuntimeError: cannot load
wandb: Find logs at: wandb/offline-run-1/logs
srun: error: n1: task 0: Exited with exit code 1
"""
WORKER = """\
Traceback (most recent call last):
  File "/home/ada/train.py", line 4, in <module>
  File "/venv/lib/python3.11/site-packages/torch/_utils.py", line 794, in reraise
    raise exception
TimeoutError: Caught TimeoutError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/torch/utils/data/_utils/worker.py", line 374, in _worker_loop
  File "/home/ada/data.py", line 9, in __getitem__
TimeoutError: 3

"""
RANKS = """\
[rank1]: Traceback (most recent call last):
[rank0]: Traceback (most recent call last):
[rank1]:   File "/home/ada/train.py", line 3, in <module>
[rank0]:   File "/home/ada/train.py", line 7, in <module>
[rank1]:     raise KeyError("hidden")
[rank0]: RuntimeError: [1] is setting up NCCL communicator ... Connection reset by peer
[rank1]: KeyError: 'hidden'
E1129 08:09:26 failed (exitcode: 1) local_rank: 0 (pid: 17895) of binary: /venv/bin/python
Traceback (most recent call last):
  File "/venv/bin/torchrun", line 8, in <module>
    sys.exit(main())
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
"""
BOX = """\
╭───────────────────── Traceback (most recent call last) ──────────────────────╮
│ /home/ada/a/very/long/path/to/the/project/of/the/paper/of/this/year/exper    │
│ iments/train.py:5 in helper                                                  │
│                                                                              │
│ ❱ 5 │   raise ConnectionResetError(104, "reset")                             │
╰──────────────────────────────────────────────────────────────────────────────╯
ConnectionResetError: [Errno 104] reset
"""
EARLIER = TRACEBACK.replace("ValueError", "ConnectionError") + "epoch 2\n" + TRACEBACK


@pytest.mark.parametrize(
    ("text", "signature", "passing", "files"),
    [
        (GROUP, "data.py, line 5: ConnectionResetError: [Errno #] reset", True, ["train.py", "data.py"]),
        (CHAIN, "train.py, line 4: RuntimeError: cannot load", True, ["data.py", "train.py"]),
        (WORKER, "data.py, line 9: TimeoutError: #", True, ["train.py", "_utils.py", "worker.py", "data.py"]),
        (RANKS, "train.py, line 3: KeyError: #", False, ["train.py"]),
        (BOX, "train.py, line 5: ConnectionResetError: [Errno #] reset", True, ["train.py"]),
        (EARLIER, "train.py, line 12: ValueError: # is no size", False, ["train.py"]),
        ("curl: (28) Connection timed out after 30001 ms\n", "curl: (#) Connection timed out after # ms", True, []),
        ("run.sh: line 3: foo: command not found\n", "run.sh: line #: foo: command not found", False, []),
    ],
    ids=["group", "chain", "worker", "ranks", "box", "earlier", "curl", "shell"],
)
def test_tracebacks_of_every_shape_are_read(text, signature, passing, files):
    failure = read_failure(text)

    assert (failure.signature, may_pass(failure)) == (signature, passing)
    assert [path.rpartition("/")[2] for path in failure.files] == files
