"""Every text by which sbatch was seen to refuse: a message that says which option to change, and a sweep as it was."""

from __future__ import annotations

import os
import shlex

import pytest
from submitting import submit

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.slurm import cluster, executor, limits
from slurmsweep.backends.slurm.limits import Room
from slurmsweep.backends.slurm.refusals import explain
from slurmsweep.errors import (
    JobLimitError,
    SchedulerError,
    SchedulerUnavailableError,
    SubmissionRefusedError,
    SubmissionUnknownError,
)
from slurmsweep.state.check import check

FAILED = "sbatch: error: Batch job submission failed: "
POLICY = FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
NODES = FAILED + "Requested node configuration is not available"

#: As Slurm 22.05 to 26.05 print them, the exit code, and what the message must name.
REFUSALS = {
    "partition": (
        "sbatch: error: invalid partition specified: nope\n" + FAILED + "Invalid partition name specified",
        1,
        "--partition",
    ),
    "account": (FAILED + "Invalid account or account/partition combination specified", 1, "--account"),
    "qos": (FAILED + "Invalid qos specification", 1, "--qos"),
    "time": ("sbatch: error: Invalid --time specification", 255, "--time"),
    "limit": (FAILED + "Requested time limit is invalid (missing or exceeds some limit)", 1, "--time"),
    "cpus": ("sbatch: error: CPU count per node can not be satisfied\n" + NODES, 1, "--cpus-per-task"),
    "memory": ("sbatch: error: Memory specification can not be satisfied\n" + NODES, 1, "--mem"),
    "configuration": (NODES, 1, "--gres"),
    "nodes": (FAILED + "More processors requested than permitted", 1, "--sbatch nodes"),
    "node count": (FAILED + "Node count specification invalid", 1, "--sbatch nodes"),
    "feature": (FAILED + "Invalid feature specification", 1, "--constraint"),
    "gres": ("sbatch: error: Invalid generic resource (gres) specification", 1, "--gres"),
    "node": (FAILED + "Invalid node name specified", 1, "--exclude"),
    "array": (FAILED + "Invalid job array specification", 1, "--count"),
    "user's jobs": ("sbatch: error: QOSMaxSubmitJobPerUserLimit\n" + POLICY, 1, "--count"),
    "account's jobs": ("sbatch: error: AssocMaxSubmitJobLimit\n" + POLICY, 1, "--count"),
    "policy": (POLICY, 1, "--count"),
    "all jobs": (
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
        + FAILED
        + "Resource temporarily unavailable",
        1,
        "--count",
    ),
    "all jobs, 26.05": (
        "sbatch: Slurm job queue full, sleeping and retrying\n" + FAILED + "MaxJobCount limit reached",
        1,
        "MaxJobCount",
    ),
    "queue full": (
        "sbatch: Slurm job queue full, sleeping and retrying\n" + FAILED + "Unable to create job record, try again",
        1,
        "submit later",
    ),
    "no jobs now": (
        "sbatch: error: Job creation temporarily disabled, retrying\n" + FAILED + "Requested nodes are busy",
        1,
        "submit later",
    ),
    "ports": (FAILED + "Required ports are in use", 1, "submit later"),
    "group's jobs": ("sbatch: error: AssocGrpSubmitJobsLimit\n" + POLICY, 1, "--count"),
    "QOS's jobs": ("sbatch: error: QOSGrpSubmitJobsLimit\n" + POLICY, 1, "--count"),
    "account's jobs in a QOS": ("sbatch: error: MaxSubmitJobsPerAccount\n" + POLICY, 1, "--count"),
    "cpus twice": (
        "sbatch: fatal: --cpus-per-task, --tres-per-task=cpu:#, and --cpus-per-gpu are mutually exclusive",
        1,
        "leave one of them out",
    ),
    "gpus twice": ("sbatch: fatal: --gpus-per-node and --gres=gpu are mutually exclusive.", 1, "leave one of them out"),
    "tasks twice": (
        "sbatch: fatal: --gpus-per-task is mutually exclusive with --ntasks-per-gpu and SLURM_NTASKS_PER_GPU",
        1,
        "leave one of them out",
    ),
    "per task twice": (
        "sbatch: fatal: You can not have --tres-per-task=cpu= and --cpus-per-task please use one or the other",
        1,
        "leave one of them out",
    ),
    "buffers": ("sbatch: error: Cannot specify both --burst-buffer and --bbf", 255, "leave one of them out"),
    "arbitrary": ("sbatch: error: --nodes is incompatible with --distribution=arbitrary", 1, "leave one of them out"),
    "gpus of no task": (
        "sbatch: error: Failed to validate job spec. --gpus-per-task used without either --gpus or -n/--ntasks is not "
        "allowed.\n" + FAILED + "Invalid generic resource (gres) specification",
        1,
        "--sbatch ntasks=1",
    ),
    "resources of no task": (
        "sbatch: error: Failed to validate job spec. --tres-per-task used without -n/--ntasks is not allowed.",
        1,
        "--sbatch ntasks=1",
    ),
    "reservation": (FAILED + "Requested reservation is invalid", 1, "--sbatch reservation"),
    "another's reservation": (FAILED + "Access denied to requested reservation", 1, "is not for you"),
    "later reservation": (FAILED + "Requested reservation not usable now", 1, "has begun"),
    "license": (FAILED + "Invalid license specification", 1, "--sbatch licenses"),
    "no license left": (FAILED + "Licenses currently unavailable", 1, "submit later"),
    "nice": ("sbatch: error: Invalid --nice value, out of range (+/- 2147483645)", 255, "--sbatch nice"),
    "mail": ("sbatch: error: Invalid --mail-type specification", 255, "TIME_LIMIT"),
    "any value": ("sbatch: error: Invalid --distribution specification", 255, "correct the value of --distribution"),
    "wckey": (FAILED + "Invalid wckey specification", 1, "--sbatch wckey"),
    "threshold": (FAILED + "Requested account has breached requested QOS usage threshold", 1, "--qos"),
    "groups": (FAILED + "User's group not permitted to use this partition", 1, "--partition"),
    "drained partition": (FAILED + "Required partition not available (inactive or drain)", 1, "--partition"),
    "no partition": (FAILED + "No partition specified or system default partition", 1, "--partition"),
    "site": (
        "sbatch: error: You must name a project.\nsbatch: error: See the wiki.\n" + FAILED + "Unspecified error",
        1,
        "a check of this site",
    ),
    "dependency": (FAILED + "Job dependency problem", 1, "--sbatch dependency"),
    "script": ("sbatch: error: Unable to open file /nowhere", 1, "--template"),
    "no script": (
        "sbatch: error: This does not look like a batch script.  The first\nsbatch: error: line must start with #! followed by the path to an interpreter.",
        1,
        "--template",
    ),
    "line ends": ("sbatch: error: Batch script contains DOS line breaks (\\r\\n)", 1, "--template"),
    "option": ("sbatch: unrecognized option '--prefer=x'\nTry \"sbatch --help\" for more information", 255, "--sbatch"),
    "test": ("allocation failure: Requested node configuration is not available", 1, "--mem"),
}

#: Nothing was refused: there was no answer.
SILENCES = {
    "down": (FAILED + "Unable to contact slurm controller (connect failure)", SchedulerUnavailableError),
    "too many questions": (FAILED + "Rate limit exceeded, please retry later", SchedulerUnavailableError),
    "standby": (FAILED + "Slurm backup controller in standby mode", SchedulerUnavailableError),
    "not set up": (
        "sbatch: error: fetch_config: DNS SRV lookup failed\nsbatch: fatal: Could not establish a configuration source",
        SchedulerUnavailableError,
    ),
    "hung": (FAILED + "Socket timed out on send/recv operation", SubmissionUnknownError),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_names_the_option_to_change(name):
    text, _, option = REFUSALS[name]

    error = explain(text)

    assert isinstance(error, SubmissionRefusedError)
    assert option in str(error)
    assert "sbatch: error" not in str(error)
    assert "man sbatch" not in str(error)


#: Texts that are about now, and not about what was asked for: what fits is submitted, and the rest waits.
FULL = [name for name in REFUSALS if name in ("queue full", "no jobs now", "ports") or "jobs" in name]


@pytest.mark.parametrize("name", REFUSALS)
def test_only_a_full_cluster_account_or_qos_is_asked_again_for_fewer(name):
    error = explain(REFUSALS[name][0])

    assert isinstance(error, JobLimitError) == (name in FULL)


@pytest.mark.parametrize("name", FULL)
def test_where_it_is_full_some_jobs_are_submitted_and_the_rest_waits(make_store, monkeypatch, name):
    taken, free = [], 20

    def submit_some(request):
        if sum(taken) + request.tasks > free:
            raise explain(REFUSALS[name][0])
        taken.append(request.tasks)
        return str(100 + len(taken))

    monkeypatch.setattr(executor, "submit", submit_some)
    monkeypatch.setattr(limits, "max_array_size", lambda cluster="": 1001)
    monkeypatch.setattr(limits, "room", lambda options: Room())
    monkeypatch.setattr(limits, "free_in_cluster", lambda cluster="": free)

    handed = submit(make_store(30), 30, SubmitOptions())

    # a full cluster takes two minutes to refuse, so that it is asked once more, for half of what it should take
    fits = 10 if name.startswith("all jobs") or name in ("queue full", "no jobs now", "ports") else 20
    assert (sum(taken), handed.kept_back) == (fits, 30 - fits)
    assert REFUSALS[name][2] in handed.why


@pytest.fixture
def sbatch_says(tmp_path, monkeypatch):
    """Stand-ins for Slurm's programs: an sbatch that says the text and ends with the code; the others know no job."""

    def sbatch_says(text, code) -> None:
        programs = {
            "sbatch": f"printf '%s\\n' {shlex.quote(text)} >&2; exit {code}",
            "scontrol": "echo 'MaxArraySize = 1001'",
            "squeue": "true",
            "sacct": "true",
            "sdiag": "exit 1",  # a real one, where Slurm is installed, looks for its configuration for a minute
        }
        (tmp_path / "bin").mkdir()
        for name, body in programs.items():
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / "bin" / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))  # which is not there
        cluster.asked_configuration.cache_clear()

    yield sbatch_says
    cluster.asked_configuration.cache_clear()


@pytest.mark.parametrize("name", [*REFUSALS, *SILENCES])
def test_a_sweep_stays_as_it_was_whatever_sbatch_says(sbatch_says, make_store, name):
    store = make_store(3)
    text, code = REFUSALS[name][:2] if name in REFUSALS else (SILENCES[name][0], 1)
    sbatch_says(text, code)

    with pytest.raises(SchedulerError) as caught:
        submit(store, 3, SubmitOptions())

    assert caught.value.exit_code == 4
    assert isinstance(caught.value, (SILENCES[name][1] if name in SILENCES else SubmissionRefusedError))
    view = store.replay()
    assert view.counts() == {}
    # who was refused has no job (a limit on jobs is asked again for fewer, each time under a name of its own); where no
    # answer came the name is looked for before anything else is submitted
    assert {submission.job for submission in view.submissions.values()} == {None if name == "hung" else ""}
    assert os.listdir(store.layout.jobs) == []
    assert check(store).findings == ()


def test_a_plan_that_gets_no_answer_does_not_say_that_jobs_may_exist(sbatch_says, slurmsweep, write_sweep):
    sbatch_says("allocation failure: Socket timed out on send/recv operation", 1)
    write_sweep("pass")

    planned = slurmsweep("plan", "sweep.yaml", "--backend", "slurm")

    assert (planned.returncode, "may exist" in planned.stdout) == (0, False)
    assert "Slurm did not answer: allocation failure: Socket timed out" in planned.stderr
