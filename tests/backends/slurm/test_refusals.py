"""Every text by which sbatch was seen to refuse: a message that says which option to change, and a sweep as it was."""

from __future__ import annotations

import os
import shlex

import pytest
from submitting import submit

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.slurm import cluster
from slurmsweep.backends.slurm.refusals import explain
from slurmsweep.errors import SchedulerError, SchedulerUnavailableError, SubmissionRefusedError, SubmissionUnknownError
from slurmsweep.state.check import check

FAILED = "sbatch: error: Batch job submission failed: "
POLICY = FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
NODES = FAILED + "Requested node configuration is not available"

#: As Slurm 22.05 prints them, the exit code, and what the message must name.
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
