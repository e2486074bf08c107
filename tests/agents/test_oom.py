"""What the kernel's counters say, where they are in a container, and which ends they explain.

The counters are files written here: `tests/containers` reads those of the kernel, in real containers.
"""

from __future__ import annotations

import pytest

from slurmsweep.agents import oom
from slurmsweep.agents.oom import MemoryKills, killed
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner

HYBRID = "9:name=systemd:/docker/f00\n4:memory:/docker/f00\n0::/docker/f00\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
V2 = "low 0\nhigh 0\nmax 61\noom 2\noom_kill 3\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("own", "files", "count"),
    [
        pytest.param(HYBRID, {"memory/memory.oom_control": V1}, 3, id="version 1, mounted from the container on"),
        pytest.param(
            "4:cpu,memory:/job\n",
            {"memory/job/memory.oom_control": V1, "memory/memory.oom_control": "oom_kill 99\n"},
            3,
            id="version 1, mounted from above: the own one counts",
        ),
        pytest.param("0::/\n", {"memory.events": V2}, 3, id="version 2, in a namespace of its own"),
        pytest.param("0::/ecs/task/f00\n", {"ecs/task/f00/memory.events": V2}, 3, id="version 2, in the host's"),
        pytest.param("0::/ecs/f00\n", {"memory.events": V2}, 3, id="version 2, mounted from the container on"),
        pytest.param(HYBRID, {"memory/memory.oom_control": "oom_kill_disable 0\n"}, None, id="an old kernel"),
        pytest.param("0::/\n", {}, None, id="no cgroups are shown"),
        pytest.param("4:memory\nnonsense\n\n", {}, None, id="lines of a strange kernel"),
        pytest.param(None, {}, None, id="no /proc"),
    ],
)
def test_the_counter_is_found(tmp_path, own, files, count):
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text)
    if own is not None:
        (tmp_path / "own").write_text(own)

    assert killed(str(tmp_path / "cgroup"), str(tmp_path / "own")) == count


def owner(cluster: str | None) -> Owner:
    return Owner("host", 1, 1, "boot", cluster=cluster, job="job")


CRASHED = Outcome(TrialState.CRASHED, "signal 9", 137)


@pytest.mark.parametrize(
    ("outcome", "cause"),
    [
        (CRASHED, "oom"),
        (Outcome(TrialState.FAILED, "exit 137", 137), "oom"),
        (Outcome(TrialState.FINISHED, "", 0), ""),
        (Outcome(TrialState.KILLED, "terminated", 143), "terminated"),
        (Outcome(TrialState.CRASHED, "timeout", 143), "timeout"),
        (Outcome(TrialState.KILLED, "early_terminate", 0), "early_terminate"),
        (Outcome(TrialState.PREEMPTED, "preempted", 1), "preempted"),
    ],
)
def test_a_kill_explains_a_bad_end_and_no_other(monkeypatch, outcome, cause):
    counts = iter([3, 4])
    monkeypatch.setattr(oom, "killed", lambda: next(counts))

    judged = MemoryKills(owner("batch:eu-west-1"), is_alone=True).judged(outcome)

    assert judged == outcome._replace(cause=cause)


@pytest.mark.parametrize(
    ("cluster", "counts"),
    [
        ("batch:eu-west-1", [3, 3]),
        ("ecs:eu-west-1/lab", [3, None]),
        ("sagemaker:eu-west-1", [None, 4]),
        ("ec2:eu-west-1", [3, 4]),
        ("lab", [3, 4]),
        (None, [3, 4]),
    ],
)
def test_without_a_kill_in_a_container_of_its_own_the_agent_says_what_it_saw(monkeypatch, cluster, counts):
    given = iter(counts)
    monkeypatch.setattr(oom, "killed", lambda: next(given))

    assert MemoryKills(owner(cluster), is_alone=True).judged(CRASHED) == CRASHED


@pytest.mark.parametrize(("said", "cause"), [("signal 9", "oom"), ("signal 11", "signal 11"), ("exit 1", "exit 1")])
def test_beside_other_trials_a_kill_explains_a_kill_alone(monkeypatch, said, cause):
    counts = iter([3, 4])
    monkeypatch.setattr(oom, "killed", lambda: next(counts))

    judged = MemoryKills(owner("batch:eu-west-1"), is_alone=False).judged(Outcome(TrialState.CRASHED, said, 1))

    assert judged.cause == cause
