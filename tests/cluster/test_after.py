"""``--after`` on a real Slurm: jobs start when those of another sweep, or another job, have ended, however they end."""

from __future__ import annotations

import json
import re

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: Runs until a file is there.
SCRIPT = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.1)\n"

LIMIT = ("--time", "5", "--cpus-per-task", "1")


@pytest.fixture
def create(on_cluster, write_sweep):
    return lambda script=SCRIPT: on_cluster("create", str(write_sweep(script, "  x: {values: [1, 2]}"))).stdout.strip()


@pytest.fixture
def submit(on_cluster):
    """Submit a sweep; return the id of its array, and what was said."""

    def submit(sweep, *options) -> tuple[str, str]:
        done = on_cluster("submit", sweep, *LIMIT, *options)
        assert done.returncode == 0, done.stderr
        return re.search(r"submitted job (\d+)", done.stderr)[1], done.stderr

    return submit


@pytest.fixture
def submitted_job(slurm):
    """Submit a job that sleeps; return its id."""
    return lambda *options: slurm(
        "sbatch", "--parsable", "--output=/dev/null", "--time=5", *options, "--wrap=sleep 300"
    ).strip()


def finished(on_cluster, sweep) -> bool:
    return json.loads(on_cluster("status", sweep, "--json").stdout)["counts"].get("finished") == 2


def times(slurm, job, field) -> list[str]:
    return slurm("sacct", "-n", "-X", "-P", "-o", field, "-j", job).split()


def test_a_sweep_starts_when_all_jobs_of_another_have_ended(on_cluster, create, submit, slurm, tmp_path):
    first, second = create(), create()
    before, _ = submit(first)

    after, said = submit(second, "--after", first)

    assert f"these jobs start when all jobs of sweep {first} have ended, however they end: job {before}" in said
    wait_until(lambda: "Dependency" in on_cluster("status", second).stdout)
    wait_until(lambda: json.loads(on_cluster("status", first, "--json").stdout)["counts"].get("running") == 2)
    assert set(slurm("squeue", "-h", "-j", after, "-o", "%T").split()) == {"PENDING"}
    (tmp_path / "go").touch()
    wait_until(lambda: finished(on_cluster, second))
    wait_until(lambda: "Unknown" not in times(slurm, f"{before},{after}", "End"))
    assert min(times(slurm, after, "Start")) >= max(times(slurm, before, "End"))


def test_the_best_of_a_sweep_that_still_runs_is_not_known(on_cluster, create, submit, write_sweep, tmp_path):
    metric = "metric: {name: loss, goal: minimize}\n"
    script = "print('slurmsweep: {\"loss\": 1}', flush=True)\n" + SCRIPT
    file = str(write_sweep(script, "  x: {values: [1, 2]}", metric))
    first = on_cluster("create", file).stdout.strip()
    submit(first)
    fine = str(write_sweep(script, "  y: {values: [1]}", f"slurmsweep: {{base: {{sweep: {first}}}}}"))

    refused = on_cluster("create", fine)
    (tmp_path / "go").touch()
    wait_until(lambda: finished(on_cluster, first))
    made = on_cluster("create", fine)

    assert refused.returncode == 2
    assert f"sweep {first} still runs, so its best trial is not known yet" in refused.stderr
    assert made.returncode == 0, made.stderr


def test_a_job_that_is_cancelled_has_ended_too(on_cluster, create, submit, submitted_job, slurm, tmp_path):
    (tmp_path / "go").touch()
    sweep, jobs = create(), [submitted_job(), submitted_job("--begin=now+1hour")]

    submit(sweep, "--after", jobs[0], "--after", jobs[1])

    slurm("scancel", jobs[0])
    wait_until(lambda: jobs[0] not in slurm("squeue", "-h", "-o", "%i").split())
    assert json.loads(on_cluster("status", sweep, "--json").stdout)["counts"]["pending"] == 2
    slurm("scancel", jobs[1])
    wait_until(lambda: finished(on_cluster, sweep))


def test_what_has_ended_is_not_waited_for(on_cluster, create, submit, submitted_job, slurm, tmp_path):
    (tmp_path / "go").touch()
    first, second, job = create(), create(), submitted_job()
    submit(first, "--wait")
    slurm("scancel", job)
    wait_until(lambda: job not in slurm("squeue", "-h", "-o", "%i").split())

    done = on_cluster("submit", second, "--after", first, "--after", job, "--dry-run")

    assert f"no job of sweep {first} runs or waits" in done.stderr
    assert f"job {job} has ended already" in done.stderr
    assert "dependency" not in done.stdout


def test_what_cannot_be_waited_for_is_refused_before_anything_is_submitted(on_cluster, create, slurm):
    sweep, idle = create(), create()
    refused = {
        "none4567": "none4567",
        "4000000": "Slurm knows no such job",
        sweep: "cannot wait for itself",
        idle: "was not started",
    }
    before = slurm("squeue", "-h", "-o", "%i")

    for word, why in refused.items():
        done = on_cluster("submit", sweep, *LIMIT, "--after", word)
        assert done.returncode in (2, 3), done.stderr
        assert why in done.stderr

    assert slurm("squeue", "-h", "-o", "%i") == before
    assert json.loads(on_cluster("status", sweep, "--json").stdout)["state"] == "pending"


def test_a_sweep_that_mends_itself_cannot_be_waited_for_until_its_end(on_cluster, create, submit, slurm, tmp_path):
    first, second = create(), create()
    submit(first, "--mend")

    refused = on_cluster("submit", second, *LIMIT, "--after", first)

    assert refused.returncode == 2
    assert "that sweep mends itself" in refused.stderr
    on_cluster("cancel", first)


def test_own_dependencies_stay_and_a_supervisor_submits_nothing_earlier(
    on_cluster, create, submit, submitted_job, slurm, tmp_path
):
    sweep, job = create(), submitted_job()

    planned = on_cluster("submit", sweep, "--sbatch", "dependency=singleton", "--after", job, "--dry-run")
    unclear = on_cluster("submit", sweep, "--sbatch", "d=afterok:1?afterok:2", "--after", job, "--dry-run")
    submit(sweep, "--after", job, "--mend")

    assert f"#SBATCH --dependency=singleton,afterany:{job}" in planned.stdout
    assert (unclear.returncode, "of which one part is enough" in unclear.stderr) == (2, True)
    [settings] = tmp_path.glob(".slurmsweep/sweep-*/mend/settings.json")
    assert json.loads(settings.read_text())["options"]["dependency"] == f"afterany:{job}"
    on_cluster("cancel", sweep)
    slurm("scancel", job)


def test_run_makes_no_sweep_for_what_it_cannot_wait_for(on_cluster, write_sweep, tmp_path):
    done = on_cluster("run", str(write_sweep("")), "--backend", "slurm", "--no-wait", "--after", "none4567")

    assert done.returncode == 3, done.stderr
    assert not (tmp_path / "wandb").exists()
