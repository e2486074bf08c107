"""The commands that pages for a cluster show, typed in their order, do there what the pages promise."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import suppress

import pytest
from cluster.waiting import wait_until
from documented import ROOT, commands
from test_pages_run import steps

pytestmark = pytest.mark.cluster

DOCS = ROOT / "docs"

#: Commands of the tutorial that make an environment and a folder: the reader of these tests has both.
SET_UP = [
    "python3 -m venv ~/sweeps && . ~/sweeps/bin/activate",
    "pip install /path/to/this/checkout",
    "mkdir ~/line && cd ~/line",
]

#: Says what its job has given it.
SCRIPT = """
import json, os
print(json.dumps({"nice": os.nice(0), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", "").replace(",", " ").split()}))
"""
SWEEP_FILE = "program: train.py\nmethod: grid\nparameters: {{x: {{min: 1, max: {}}}}}\n"


@pytest.fixture
def site(slurm):
    """Let the cluster have what the pages name: the partitions `gpu` and `short`, and the account `proj123`."""
    partitions = ("gpu", "short")
    for name in partitions:
        slurm("scontrol", "create", f"PartitionName={name}", "Nodes=n[1-4]", "MaxTime=1-0", "DefMemPerCPU=64")
    slurm("sacctmgr", "-iQ", "add", "account", "proj123")
    slurm("sacctmgr", "-iQ", "add", "user", "root", "account=proj123")

    def known() -> bool:
        command = ["sbatch", "--test-only", "--partition=gpu", "--account=proj123", "--qos=normal", "--wrap=true"]
        return subprocess.run(command, env=os.environ, capture_output=True, check=False).returncode == 0

    wait_until(known, "slurmctld to know the account")
    yield
    wait_until(lambda: not slurm("squeue", "-h", f"--partition={','.join(partitions)}"), "the end of the jobs")
    slurm("sacctmgr", "-iQ", "delete", "user", "root", "account=proj123")
    slurm("sacctmgr", "-iQ", "delete", "account", "proj123")
    for name in partitions:
        slurm("scontrol", "delete", f"PartitionName={name}")


@pytest.fixture(autouse=True)
def _clients_see(cluster, monkeypatch):
    """Slurm's programs and slurmsweep see the cluster, as in a reader's shell."""
    for name, value in cluster.environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def folder(tmp_path):
    """Return a reader's project: a script, a sweep file of two trials, the templates, and an own one."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "job_templates", project / "job_templates")
    shutil.copy(project / "job_templates" / "array.sbatch", project / "mine.sbatch")
    (project / "train.py").write_text(SCRIPT)
    (project / "sweep.yaml").write_text(SWEEP_FILE.format(2))
    return project


@pytest.fixture
def typed(folder):
    """Type a line into a shell in the project, and see that it ends with 0; what it printed on both streams."""

    def typed(line: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"
        return done

    return typed


@pytest.fixture
def new_sweep(typed, folder):
    """Create a sweep of so many trials; its id."""

    def new_sweep(trials: int) -> str:
        (folder / "sweep.yaml").write_text(SWEEP_FILE.format(trials))
        return typed("slurmsweep create sweep.yaml").stdout.strip()

    return new_sweep


@pytest.fixture
def finished(typed):
    """Wait until all trials of a sweep have finished; the job id of each."""

    def finished(sweep: str, trials: int) -> list[str]:
        def all_finished() -> bool:
            counts = json.loads(typed(f"slurmsweep status {sweep} --json").stdout)["counts"]
            assert not counts["failed"] + counts["crashed"], counts
            return counts["finished"] == trials

        wait_until(all_finished, f"the {trials} trials of {sweep}")
        return [trial["job"] for trial in json.loads(typed(f"slurmsweep trials {sweep} --json").stdout)]

    return finished


@pytest.fixture
def told(typed):
    """Return what a trial's script said of its job: the last line of the trial's log."""
    return lambda sweep, trial: json.loads(typed(f"slurmsweep logs {sweep} {trial}").stdout.splitlines()[-1])


def in_accounting(slurm, job: str, fields: str, expected: set[str]) -> bool:
    """Return whether these are the different rows of a job's elements, once accounting has all of them."""

    def rows() -> set[str]:
        return set(slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", fields).splitlines())

    with suppress(AssertionError):  # a row is half written at first
        wait_until(lambda: rows() == expected, f"{expected}", 60)
    assert rows() == expected
    return True


def subjects(printed: str) -> dict[str, str]:
    """Return what the doctor found, by what it looked at: a line begins with its judgement."""
    return {subject: fitness for fitness, subject in re.findall(r"^(good|warn|bad) +([\w ]+):", printed, re.MULTILINE)}


def test_the_commands_of_your_cluster_do_what_the_page_says(site, slurm, typed, told):
    shown = [command.text for command in commands(DOCS / "on-your-cluster.md")]
    assert len(shown) == 5

    here, on_nodes, plan, canary, run = map(typed, shown)

    assert {"lock", "space", "limits", "accounting"} <= subjects(here.stdout).keys()
    assert "clock" not in subjects(here.stdout)
    assert {"lock", "space", "limits", "accounting", "clock", "python on n1", "python on n2"} <= subjects(
        on_nodes.stdout
    ).keys()
    assert "bad" not in {*subjects(here.stdout).values(), *subjects(on_nodes.stdout).values()}
    for said in (plan.stdout, canary.stdout):
        assert "2 jobs in 1 array" in said
        assert re.search(r"start\s+at\s+20\d\d-", said), said
    assert "canary: finished" not in plan.stdout
    assert "canary: finished" in canary.stdout
    assert "2 finished" in run.stdout + run.stderr
    [job] = re.findall(r"submitted job (\d+):", run.stderr)
    assert in_accounting(slurm, job, "Partition,Account,QOS,TimelimitRaw,ReqMem", {"gpu|proj123|normal|60|8G"})
    assert [len(told("last", trial)["gpus"]) for trial in (0, 1)] == [1, 1]


def test_the_options_of_your_cluster_may_stand_in_the_sweep_file(site, slurm, folder, typed):
    text = (DOCS / "on-your-cluster.md").read_text()
    [section] = re.findall(r"^    slurm:\n(?:      .+\n)+", text, re.MULTILINE)
    (folder / "sweep.yaml").write_text(SWEEP_FILE.format(2) + re.sub("^    ", "", section, flags=re.MULTILINE))

    run = typed("slurmsweep run sweep.yaml")

    [job] = re.findall(r"submitted job (\d+):", run.stderr)
    assert in_accounting(slurm, job, "Partition,Account,TimelimitRaw", {"gpu|proj123|60"})


def test_the_commands_of_templates_do_what_the_page_says(slurm, folder, typed, told, new_sweep, finished):
    shown = [command.text for command in commands(DOCS / "templates.md")]
    by_hand, plain, more, own, listed, checked, wrapped = shown

    def of_a_new_sweep(line: str, trials: int = 2) -> tuple[str, list[str]]:
        """Type a line about a new sweep; its id, and the jobs that ran its trials."""
        assert line.split().count("SWEEP") == 1, line
        sweep = new_sweep(trials)
        typed(re.sub(r"\bSWEEP\b", sweep, line))
        return sweep, finished(sweep, trials)

    sweep, jobs = of_a_new_sweep(by_hand, 24)
    assert len({job.split("_")[0] for job in jobs}) == 1
    assert sorted(int(job.split("_")[1]) for job in jobs) == list(range(24))
    assert len(told(sweep, 23)["gpus"]) == 1
    usual = told(sweep, 0)["nice"]

    sweep, jobs = of_a_new_sweep(plain)
    assert in_accounting(slurm, jobs[0].split("_")[0], "AllocCPUS", {"4"})
    names = slurm("squeue", "-h", "-t", "all", "-j", jobs[0].split("_")[0], "-o", "%j").split()
    assert {name.rpartition("-")[0] for name in names} == {f"slurmsweep-{sweep}"}
    assert typed(f"slurmsweep logs {sweep} 0").stdout.startswith("CUDA_VISIBLE_DEVICES=")
    outputs = folder / "wandb" / f"sweep-{sweep}" / "jobs"
    assert outputs.is_dir()
    assert list(outputs.glob("*.out")) == []  # those of trials that finished are removed

    sweep, jobs = of_a_new_sweep(more)
    assert in_accounting(slurm, jobs[0].split("_")[0], "AllocCPUS", {"8"})
    assert [len(told(sweep, trial)["gpus"]) for trial in (0, 1)] == [2, 2]

    _, jobs = of_a_new_sweep(own)
    assert len({job.split("_")[0] for job in jobs}) == 1

    names = re.findall(r"^\| `(\w+)` \| one trial", (DOCS / "templates.md").read_text(), re.MULTILINE)
    assert len(names) >= 9
    assert set(names) <= {line.split()[0] for line in typed(listed).stdout.splitlines()}
    assert typed(checked).stdout == (folder / "mine.sbatch").read_text()

    sweep = new_sweep(2)
    typed(f"{wrapped}; slurmsweep submit {sweep}")
    finished(sweep, 2)
    assert told(sweep, 0)["nice"] == usual + 5


def test_the_tutorial_ends_on_a_cluster_as_it_says(site, slurm, folder, typed):
    page = DOCS / "tutorial.md"
    shown = [command.text for command in commands(page)]
    assert shown[:-1] == SET_UP
    for kind, what, text in steps(page.read_text()):
        if kind == "file":
            (folder / what).write_text(text)
        elif what.startswith("sed "):  # the mistake in the script is mended before the last section
            typed(what)

    run = typed(shown[-1])

    assert "9 finished" in run.stdout + run.stderr
    [job] = re.findall(r"submitted job (\d+):", run.stderr)
    rows = {f"{job}_{n}|short|10|1G" for n in range(9)}
    assert in_accounting(slurm, job, "JobID,Partition,TimelimitRaw,ReqMem", rows)


#: What the page's columns on a round are called in the answer of sdiag. The others depend on Slurm's version.
COLUMNS = {"sbatch": "submit_batch_job", "scontrol update": "update_job", "scancel": "kill_job"}


def table_below(page: str, command: str) -> list[dict[str, str]]:
    """Return the rows of the first table after a command, each by the names of the columns."""
    rows = []
    for line in page[page.index(f"    {command}\n") :].splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def test_the_commands_of_the_rpc_budget_make_its_tables(typed, folder):
    page = (DOCS / "rpc-budget.md").read_text()
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    mend, ways = [command.text for command in commands(DOCS / "rpc-budget.md")]
    here = ("SLURM_CONF=... ", "")  # the tests' environment has it

    rounds = typed(mend.replace(*here)).stdout.splitlines()
    compared = typed(ways.replace(*here).replace("rpcs.py 200", "rpcs.py 4")).stdout

    table = table_below(page, mend)
    assert [line.partition(":")[0] for line in rounds] == [
        "a quiet round",
        "a round that runs three trials again",
        "the last round",
    ]
    for said, row in zip(rounds, table, strict=True):
        total, kinds = re.fullmatch(r".+: (\d+) RPCs \((.+)\)", said).groups()
        assert int(total) == sum(map(int, re.findall(r"(\d+) \w", kinds)))
        assert {column for column, kind in COLUMNS.items() if f" {kind}" in kinds} == {
            column for column in COLUMNS if row[column]
        }, said
    begun = [line for line in compared.splitlines() if " RPCs (" in line]
    titles = ["sbatch --array", "slurmsweep run ", "slurmsweep run, packed", "submitit map_array", "loop of sbatch"]
    assert [line.startswith(title) for line, title in zip(begun, titles, strict=True)] == [True] * 5
    assert len(table_below(page, ways)) == 5
    for line in begun:
        assert re.search(r"\d+ RPCs \([\d.]+\) +[\d.]+ s \([\d.]+\) +login node +\d+ ms CPU", line), line
