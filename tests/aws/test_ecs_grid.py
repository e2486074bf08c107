"""A grid on Amazon ECS with all that may go wrong: after `resubmit` each trial has finished once."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# What each trial does at its first start; later ones, and others, just finish. The task is told to the test.
SCRIPT = """
import os, signal, sys, time
x = int(sys.argv[1].partition("=")[2])
said = os.path.join(os.environ["MARKS"], f"{x}")
if x in (3, 7, 5, 9, 11) and not os.path.exists(said):
    with open(said + ".part", "w") as file:
        file.write(os.environ["ECS_CONTAINER_METADATA_URI_V4"].rpartition("/")[2])
    os.rename(said + ".part", said)
    time.sleep(600)
"""
AWS = """
aws:
  cluster: sweeps
  region: eu-west-1
  image: me/sweeps:1
  subnets: subnet-1
  efs: fs-0123456789abcdef0:/shared
  time: "1"
"""
LOST, KILLED, OOM, SLOW = (3, 7), 5, 9, 11


def task_of(marks: Path, x: int) -> str:
    """Return the task that runs a trial, once its script says so."""
    deadline = time.monotonic() + 120
    while not (marks / f"{x}").exists():
        assert time.monotonic() < deadline, f"trial with x={x} did not start"
        time.sleep(0.05)
    return (marks / f"{x}").read_text()


def trials(slurmsweep) -> dict[int, tuple[str, str, int]]:
    """Return state, cause and number of attempts by x."""
    rows = json.loads(slurmsweep("trials", "last", "--json").stdout)
    return {row["params"]["x"]: (row["state"], row["cause"], row["attempt"]) for row in rows}


def all_stopped(ecs) -> None:
    for task in list(ecs.tasks):
        ecs.wait_for(task, "STOPPED")


def test_a_grid_finishes_once_whatever_becomes_of_its_tasks_and_of_the_requests(
    ecs, cloud, slurmsweep, write_sweep, tmp_path
):
    marks = tmp_path / "marks"
    marks.mkdir()
    cloud.machines.environ["MARKS"] = str(marks)
    cloud.machines.slots = 6
    cloud.logs.begin("/ecs/slurmsweep", "made before")
    command = "command: [python, '${program}', '${args_no_hyphens}']"
    write_sweep(SCRIPT, f"  x: {{values: {list(range(24))}}}", extra=command + AWS)
    slurmsweep("create", "sweep.yaml")

    ecs.lose_answers(1, "RunTask")
    ecs.throttle(3, "RunTask")
    ecs.placement_failures.append("RESOURCE:MEMORY")
    submitted = slurmsweep("submit", "last", "--backend", "ecs")
    assert (submitted.returncode, submitted.stderr.count("24 trials")) == (0, 1), submitted.stderr
    assert len(ecs.tasks) == 24

    hosts = [ecs.lose_host(task_of(marks, x)) for x in LOST]
    ecs.kill_container(task_of(marks, KILLED))
    ecs.oom(task_of(marks, OOM))
    task_of(marks, SLOW)
    all_stopped(ecs)

    assert len(set(hosts)) == 2
    reconciled = slurmsweep("reconcile", "last")
    assert reconciled.returncode == 0, reconciled.stderr
    finished = ("finished", "", 1)
    expected = dict.fromkeys(range(24), finished) | {
        3: ("preempted", "preempted", 1),
        7: ("preempted", "preempted", 1),
        KILLED: ("crashed", "signal 9", 1),
        OOM: ("crashed", "oom", 1),
        SLOW: ("crashed", "timeout", 1),
    }
    assert trials(slurmsweep) == expected

    again = slurmsweep("resubmit", "last")
    assert again.returncode == 0, again.stderr
    all_stopped(ecs)

    again_done = dict.fromkeys((*LOST, KILLED, OOM, SLOW), ("finished", "", 2))
    assert trials(slurmsweep) == expected | again_done
    checked = slurmsweep("check", "last")
    assert (checked.returncode, "none lost, none doubled" in checked.stdout) == (0, True), checked.stdout
    no_task_was_started_twice(ecs)
    limits = [environment(task).get("SLURMSWEEP_TIME_LIMIT_SECONDS") for task in ecs.tasks.values()]
    assert Counter(limits) == {"60": 28, "120": 1}
    assert Counter(task.overrides["memory"] for task in ecs.tasks.values()) == {"2048": 28, "4096": 1}


def environment(task) -> dict[str, str]:
    return {pair["name"]: pair["value"] for pair in task.overrides["containerOverrides"][0]["environment"]}


def no_task_was_started_twice(ecs) -> None:
    """Each token is of one request, and there are as many tasks as trials were asked for."""
    by_token: dict[str, set[str]] = {}
    for asked in ecs.asked("RunTask"):
        by_token.setdefault(asked["clientToken"], set()).add(json.dumps(asked, sort_keys=True))
    assert all(len(requests) == 1 for requests in by_token.values()), by_token
    assert len(ecs.tasks) == 24 + 5
    faults = [request.fault for request in ecs.requests if request.operation == "RunTask"]
    assert faults[:5] == ["lost", "throttled", "throttled", "throttled", ""]
