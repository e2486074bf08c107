"""The README's commands, and those of other pages that start jobs, as their readers give them on a real Slurm."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import yaml
from cluster.waiting import wait_until
from documented import ROOT
from fake_wandb import serving

import slurmsweep

pytestmark = pytest.mark.cluster

#: Shows its GPUs and logs its point.
SCRIPT = """
import os
import slurmsweep

run = slurmsweep.init()
print("GPUs", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
run.log({"loss": run.config.x})
"""

WAITS = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.1)\n"

#: Points without order, of which there may be more.
RANDOM = "program: train.py\nmethod: random\nrun_cap: 6\nmetric: {name: loss}\nparameters: {x: {min: 1, max: 9}}\n"

GRID = "method: grid\nmetric: {name: loss}\nparameters: {x: {values: [1, 2, 3, 4]}}\n"


@pytest.fixture
def follow(cluster, follow_in, tmp_path):
    """Follow a page in the test's folder, where Slurm is found."""
    return lambda page, environ=None, **options: follow_in(
        ROOT / page, tmp_path, environ=cluster.environ | (environ or {}), defaults="", **options
    )


@pytest.fixture
def create(on_cluster, tmp_path):
    """Create a sweep of the text; its id."""

    def create(text: str) -> str:
        (tmp_path / "made.yaml").write_text(text)
        done = on_cluster("create", "made.yaml")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return create


@pytest.fixture
def finished(on_cluster):
    """Wait until all of a sweep's trials have finished, and none of its jobs is left."""

    def wait(sweep: str, trials: int) -> None:
        def done() -> bool:
            status = json.loads(on_cluster("status", sweep, "--json").stdout)
            return status["counts"]["finished"] == trials and not any(status["jobs"].values())

        wait_until(done, f"the {trials} trials of {sweep}", 400)

    return wait


@pytest.fixture
def coarse(create, on_cluster, tmp_path):
    """Submit a sweep named coarse, whose jobs end when the file `go` is there; fine is another one. The ids of both."""
    (tmp_path / "waits.py").write_text(WAITS)
    ids = [
        create(f"name: {name}\nprogram: waits.py\nmethod: grid\nparameters: {{x: {{values: [1, 2]}}}}\n")
        for name in ("coarse", "fine")
    ]
    done = on_cluster("submit", "coarse", "--time", "5")
    assert done.returncode == 0, done.stderr
    return ids


def gpus_of(folder, sweep) -> set[str]:
    return {log.read_text() for log in folder.glob(f".slurmsweep/sweep-{sweep}/trials/0/*/1/output.log")}


def test_the_readme(follow, create, finished, on_cluster, slurm, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT + "raise SystemExit(3)\n")
    (tmp_path / "sweep.yaml").write_text(RANDOM)
    shutil.copytree(ROOT / "job_templates", tmp_path / "job_templates")
    by_hand = create("command: ['true']\nmethod: grid\nparameters: {x: {min: 1, max: 24}}\n")
    not_run = {
        "scripts/quickstart": "it installs: tests/test_pages_run.py runs what it runs then",
        "pip install /path/to/this/checkout": "scripts/setup has done it, from the internet",
    }
    failing = {"slurmsweep run sweep.yaml --time 30 --mem 4G": 1}
    said = {}

    with serving([{"x": 1}] * 2) as server:
        environ = server.environ() | {"SLURMSWEEP_STAGGER": "1"}
        # the second `plan` of the page, of a file with mistakes, is tests/test_pages_run.py's
        steps = follow("README.md", environ, words={"SWEEP": by_hand}, not_run=not_run, exit_codes=failing)
        for step in steps:
            said[step.command] = step.printed
            match step.command.split():
                case ["slurmsweep", "status"]:
                    (tmp_path / "train.py").write_text(SCRIPT)  # it is mended
                case ["slurmsweep", "resubmit", "last"] | ["slurmsweep", "run", *_, "auto"]:
                    finished("last", 6)
                case ["sbatch", *_]:
                    finished(by_hand, 24)
                case _:
                    pass
            if step.command == "slurmsweep run sweep.yaml --time auto":
                mends = create(RANDOM)
            if step.command == "slurmsweep submit last --mend":
                finished(mends, 6)
                wait_until((tmp_path / f".slurmsweep/sweep-{mends}/report.txt").exists, "the supervisor's end")
            if step.command.startswith("slurmsweep submit team/"):
                [hosted] = re.findall(r"submitted job (\d+)", step.printed)
                elements = slurm("squeue", "-h", "-r", "-j", hosted, "-o", "%i").split()
                wait_until(lambda: len(server.runs) == 2, "two runs of agents of W&B")
                slurm("scancel", hosted)
                wait_until(lambda: not slurm("squeue", "-h", "-j", hosted), "their end")  # noqa: B023

    assert len(elements) == 40
    assert "#SBATCH --array=0-5" in said["slurmsweep plan sweep.yaml"]
    assert "6 failed" in said["slurmsweep run sweep.yaml --time 30 --mem 4G"]
    assert "exit 3" in said["slurmsweep status"]
    assert "submitted job" in said["slurmsweep resubmit last"]
    [page] = tmp_path.glob("report-*.html")
    assert page.name in said["slurmsweep report"]
    assert "quantile" in said["slurmsweep run sweep.yaml --time auto"]
    status = json.loads(on_cluster("status", mends, "--json").stdout)
    assert (status["expected_run_count"], status["counts"]["pending"]) == (56, 50)
    assert "56 trials now" in said["slurmsweep extend last --count 50"]
    assert re.search(r"^time +\S", said["slurmsweep efficiency last"], re.MULTILINE)


def test_the_page_of_commands(follow, create, coarse, finished, on_cluster, slurm, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "sweep.yaml").write_text("program: train.py\n" + GRID)
    other = slurm("sbatch", "--parsable", "--output=/dev/null", "--time=5", "--wrap=sleep 300").strip()
    ids = dict(zip(("coarse", "fine"), coarse, strict=True))

    here, after, later = follow("docs/commands.md", words={"123456": other, "abcd1234": ids["coarse"]})

    assert gpus_of(tmp_path, here.sweep) == {f"GPUs {n}\n" for n in range(4)}
    assert f"these jobs start when all jobs of sweep {ids['coarse']} have ended" in after.printed
    assert other in later.printed
    assert f"these jobs start when all jobs of sweep {ids['coarse']} have ended" in later.printed
    assert json.loads(on_cluster("status", later.sweep, "--json").stdout)["counts"]["pending"] == 4
    (tmp_path / "go").touch()
    finished(ids["fine"], 2)
    assert json.loads(on_cluster("status", later.sweep, "--json").stdout)["counts"]["pending"] == 4
    slurm("scancel", other)
    finished(later.sweep, 4)


def test_the_page_of_extensions(follow, create, coarse, finished, on_cluster, tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "sweep.yaml").write_text("program: train.py\n" + GRID)
    (tmp_path / "wider.yaml").write_text("program: train.py\n" + GRID.replace("4]", "4, 5, 6]"))
    before = create(RANDOM.replace("{min: 1, max: 9}", "{values: [1]}"))
    assert on_cluster("run", before, "--backend", "local", "--jobs", "2").returncode == 0

    here, planned, wider, extended, after, kept = follow("docs/extensions.md", words={"abcd1234": before})

    assert gpus_of(tmp_path, here.sweep) == {f"GPUs {n}\n" for n in range(4)}
    assert before in planned.printed
    assert "will not be run again: 1" in wider.printed
    assert "56 trials now" in extended.printed
    assert json.loads(on_cluster("status", before, "--json").stdout)["expected_run_count"] == 56
    assert f"these jobs start when all jobs of sweep {coarse[0]} have ended" in after.printed
    assert (tmp_path / ".slurmsweep" / f"sweep-{kept.sweep}" / "source" / "train.py").read_text() == SCRIPT
    (tmp_path / "go").touch()
    finished(wider.sweep, 6)  # one of them taken over
    finished(coarse[1], 2)


def test_the_page_of_functions(follow, finished, on_cluster, monkeypatch, tmp_path):
    function = "import slurmsweep\n\ndef {}():\n    slurmsweep.log({{'loss': slurmsweep.init().config.x}})\n"
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "module.py").write_text(function.format("train"))
    (tmp_path / "train.py").write_text(function.format("main"))
    (tmp_path / "sweep.yaml").write_text(GRID)
    monkeypatch.chdir(tmp_path)
    waiting = slurmsweep.sweep(yaml.safe_load(GRID))  # as the page does above: without a program

    ran, created, submitted, agent = follow("docs/functions.md", words={"k3v9x2ab": waiting})

    assert "4 finished" in ran.printed
    kept = tmp_path / ".slurmsweep" / f"sweep-{created.sweep}" / "function.json"
    assert "train:main" in kept.read_text()
    assert "submitted job" in submitted.printed
    assert agent.command.endswith("k3v9x2ab")
    finished(waiting, 4)
    trials = json.loads(on_cluster("trials", waiting, "--json").stdout)
    assert {(trial["metric"], trial["attempt"]) for trial in trials} == {(n, 1) for n in (1, 2, 3, 4)}


def test_what_a_report_of_a_fault_needs(follow, create, on_cluster, tmp_path):
    sweep = create("command: ['true']\nmethod: grid\nparameters: {x: {values: [1, 2]}}\n")
    assert on_cluster("run", sweep, "--backend", "local").returncode == 0

    checked, status, fitness = follow("docs/troubleshooting.md", words={"SWEEP": sweep})

    assert "2 trials, 2 attempts: every trial once" in checked.printed
    assert json.loads(status.printed)["counts"]["finished"] == 2
    assert re.search(r"^good +slurm", fitness.printed, re.MULTILINE)
