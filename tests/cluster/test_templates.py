"""Every job template, run by a real Slurm: through slurmsweep submit, and by hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from typing import TYPE_CHECKING

import pytest
from cluster.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.cluster

#: Real programs for templates that are otherwise tried with stand-ins; tests themselves see none of these variables.
REAL_TORCHRUN = os.environ.get("SLURMSWEEP_TEST_TORCHRUN") or shutil.which("torchrun")
REAL_IMAGE = os.environ.get("SLURMSWEEP_TEST_IMAGE")

SCRIPT = "import sys; print('trained with', *sys.argv[1:])"

#: Ends when another trial has begun, so that two are there at the same time.
TWO_AT_ONCE = """
import glob, os, time
open(f"begun-{os.environ['SLURMSWEEP_TRIAL']}", "w").close()
while len(glob.glob("begun-*")) < 2: time.sleep(0.1)
"""

#: A trial that writes what it sees of its environment, and what the history then holds.
SHOWS = """
import json, os, sys
import slurmsweep
run = slurmsweep.init()
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_CPUS_PER_TASK")
seen = {name: os.environ.get(name) for name in names}
trial, attempt = os.environ["SLURMSWEEP_TRIAL"], os.environ["SLURMSWEEP_ATTEMPT"]
with open(f"seen-{trial}-{os.environ['RANK']}", "w") as file:
    json.dump(seen | {"x": run.config["x"], "node": os.environ["SLURMD_NODENAME"]}, file)
slurmsweep.log({"rank": int(os.environ["RANK"])})
"""


@pytest.fixture
def on_cluster(cluster, slurmsweep):
    """Return the command line with the cluster's environment."""
    return lambda *argv, **environ: slurmsweep(*argv, **cluster.environ, **environ)


@pytest.fixture
def create(on_cluster, write_sweep):
    """Create a sweep with ``trials`` points; its id."""

    def create(script, trials=2) -> str:
        done = on_cluster("create", str(write_sweep(script, f"  x: {{values: {list(range(1, trials + 1))}}}")))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return create


@pytest.fixture
def submit(on_cluster):
    """Submit a sweep through a template; the array's job id."""

    def submit(sweep, template, *options, **environ) -> str:
        done = on_cluster("submit", sweep, "--template", template, "--time", "5", *options, **environ)
        assert done.returncode == 0, done.stderr
        [job] = re.findall(r"submitted job (\d+):", done.stderr)
        return job

    return submit


@pytest.fixture
def by_hand(cluster, repository, tmp_path):
    """Run a template by sbatch alone, and wait for its end; exit code and output of the tasks."""

    def by_hand(template, sweep, *options, array="0-1", **environ) -> tuple[int, str]:
        script = repository / "job_templates" / f"{template}.sbatch"
        output = tmp_path / "by-hand"
        output.mkdir(exist_ok=True)
        command = ["sbatch", "--wait", f"--array={array}", f"--output={output}/%A_%a.out", *options, str(script), sweep]
        surroundings = os.environ | cluster.environ | {"SLURMSWEEP_PYTHON": sys.executable} | environ
        done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False)
        return done.returncode, "".join(path.read_text() for path in sorted(output.iterdir()))

    return by_hand


@pytest.fixture
def finished(on_cluster):
    """Wait until all trials of a sweep have finished; their logs."""

    def finished(sweep, trials=2) -> list[str]:
        wait_until(lambda: counts(on_cluster, sweep) == {"finished": trials})
        return [on_cluster("logs", sweep, str(number)).stdout for number in range(trials)]

    return finished


def counts(on_cluster, sweep) -> dict:
    done = on_cluster("status", sweep, "--json")
    assert done.returncode == 0, done.stderr
    return {state: n for state, n in json.loads(done.stdout)["counts"].items() if n}


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_gpu_gives_each_trial_one_gpu_and_its_log_says_which(create, submit, by_hand, finished):
    sweep = create(f"{SCRIPT}\n{TWO_AT_ONCE}", trials=3)
    submit(sweep, "gpu", "--count", "2", "--sbatch", "nodelist=n1", "--cpus-per-task", "1")
    code, _ = by_hand("gpu", sweep, "--nodelist=n1", array="0-0")

    logs = finished(sweep, trials=3)

    assert code == 0
    assert [log.splitlines()[1] for log in logs] == [f"trained with --x={x}" for x in (1, 2, 3)]
    first = [log.splitlines()[0] for log in logs]
    assert set(first[:2]) == {"CUDA_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=1"}
    assert re.fullmatch(r"CUDA_VISIBLE_DEVICES=[01]", first[2])


def test_venv_runs_trials_by_the_python_of_the_environment(create, submit, by_hand, finished, tmp_path):
    sweep = create("import sys; print(sys.prefix)", trials=2)
    venv.create(tmp_path / "my env", symlinks=True)
    submit(sweep, "venv", "--count", "1", SLURMSWEEP_VENV=str(tmp_path / "my env"))
    code, _ = by_hand("venv", sweep, array="0-0", SLURMSWEEP_VENV=str(tmp_path / "my env"))

    assert code == 0
    assert finished(sweep) == [f"{tmp_path}/my env\n"] * 2


#: Stands in for conda: it knows one environment, and activates it as the real hook does, by a shell function.
CONDA = r"""#!/bin/sh
[ "$*" = "shell.bash hook" ] || exit 9
echo 'conda() { [ "$1 $2" = "activate mine" ] || { echo "EnvironmentNameNotFound: $2" >&2; return 1; }'
echo 'export CONDA_DEFAULT_ENV=$2; }'
"""


def test_conda_activates_the_environment_of_a_stand_in(create, submit, by_hand, finished, tmp_path):
    sweep = create("import os; print(os.environ['CONDA_DEFAULT_ENV'])")
    conda = str(program(tmp_path / "bin" / "conda", CONDA))
    submit(sweep, "conda", "--count", "1", SLURMSWEEP_CONDA_ENV="mine", CONDA_EXE=conda)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    code, _ = by_hand("conda", sweep, array="0-0", SLURMSWEEP_CONDA_ENV="mine", PATH=path)

    assert code == 0
    assert finished(sweep) == ["mine\n"] * 2


@pytest.fixture
def modulepath(tmp_path) -> dict[str, str]:
    """Two modules of the real Environment Modules; where that is not installed, of a stand-in for its function."""
    folder = tmp_path / "modulefiles"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / name).write_text(f"#%Module\nsetenv LOADED_{name.upper()} yes\n")
    if os.path.isfile("/usr/share/modules/init/bash"):
        return {"MODULEPATH": str(folder)}
    init = folder.parent / "init"
    init.mkdir()
    (init / "bash").write_text(
        'module() { shift; for name; do [ -e "$MODULEPATH/$name" ] || return 1; export LOADED_${name^^}=yes; done; }\n'
    )
    return {"MODULEPATH": str(folder), "MODULESHOME": str(tmp_path)}


def test_modules_are_loaded_before_the_trial(create, submit, by_hand, finished, modulepath):
    sweep = create("import os; print(os.environ['LOADED_ONE'], os.environ['LOADED_TWO'])")
    submit(sweep, "modules", "--count", "1", SLURMSWEEP_MODULES="one two", **modulepath)
    code, _ = by_hand("modules", sweep, array="0-0", SLURMSWEEP_MODULES="one two", **modulepath)

    assert code == 0
    assert finished(sweep) == ["yes yes\n"] * 2


#: Stands in for Apptainer: it says so, shows how it was called, and runs the command outside any container.
APPTAINER = r"""#!/bin/bash
echo "stand-in apptainer:$(printf ' <%s>' "$@")"
while [ "$1" != image.sif ]; do shift; done
shift
exec "$@"
"""


def test_apptainer_runs_the_trials_command_and_not_the_agent_inside(create, submit, by_hand, finished, tmp_path):
    sweep = create(SCRIPT)
    folder = tmp_path / ".slurmsweep" / f"sweep-{sweep}"
    program(tmp_path / "bin" / "apptainer", APPTAINER)
    environ = {"SLURMSWEEP_IMAGE": "image.sif", "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    submit(sweep, "apptainer", "--count", "1", **environ)
    code, _ = by_hand("apptainer", sweep, array="0-0", **environ)

    logs = finished(sweep)

    assert code == 0
    bound = {re.findall(r"<--bind> <(.*?)>", log)[1] for log in logs}
    assert bound == {str(folder), str(tmp_path)}  # by hand the sweep's id says nothing of its folder
    for x, log in enumerate(logs, 1):
        options = rf"<--bind> <{tmp_path}> <--bind> <\S+> <--pwd> <{tmp_path}>"
        command = f"</usr/bin/env> <python> <train.py> <--x={x}>"
        called, trained = log.splitlines()
        assert re.fullmatch(f"stand-in apptainer: <exec> {options} <image.sif> {command}", called)
        assert trained == f"trained with --x={x}"


@pytest.mark.parametrize(
    ("template", "environ", "words"),
    [
        ("venv", {}, "SLURMSWEEP_VENV='' is no virtual environment"),
        ("venv", {"SLURMSWEEP_VENV": "/nowhere"}, "SLURMSWEEP_VENV='/nowhere' is no virtual environment"),
        ("conda", {}, "SLURMSWEEP_CONDA_ENV is not set"),
        ("conda", {"SLURMSWEEP_CONDA_ENV": "x", "CONDA_EXE": "/nowhere"}, "there is no conda on"),
        ("modules", {}, "SLURMSWEEP_MODULES is not set"),
        ("torchrun", {"SLURMSWEEP_TORCHRUN": "/nowhere"}, "there is no /nowhere on"),
        ("apptainer", {}, "SLURMSWEEP_IMAGE is not set"),
        ("apptainer", {"SLURMSWEEP_IMAGE": "x", "PATH": "/nowhere"}, "there is neither apptainer nor singularity"),
    ],
)
def test_a_template_says_what_it_misses(repository, template, environ, words):
    script = repository / "job_templates" / f"{template}.sbatch"

    done = subprocess.run(
        [shutil.which("bash"), script, "sweep"], env=os.environ | environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert f"{template}.sbatch: " in done.stderr
    assert words in done.stderr


def test_multi_node_gives_all_ranks_of_a_trial_its_parameters_and_rank_0_the_record(
    create, submit, by_hand, finished, tmp_path
):
    sweep = create(SHOWS)
    submit(sweep, "multi_node", "--count", "1", "--cpus-per-task", "2")
    code, _ = by_hand("multi_node", sweep, array="0-0")

    finished(sweep)

    assert code == 0
    for trial in (0, 1):
        ranks = [json.loads((tmp_path / f"seen-{trial}-{rank}").read_text()) for rank in (0, 1)]
        assert [rank["x"] for rank in ranks] == [trial + 1] * 2
        assert [(rank["RANK"], rank["LOCAL_RANK"], rank["WORLD_SIZE"]) for rank in ranks] == [
            ("0", "0", "2"),
            ("1", "0", "2"),
        ]
        assert ranks[0]["node"] != ranks[1]["node"]
        assert [rank["MASTER_ADDR"] for rank in ranks] == [ranks[0]["node"]] * 2
        assert [int(rank["MASTER_PORT"]) for rank in ranks] == [15000 + int(ranks[0]["SLURM_JOB_ID"]) % 15000] * 2
        [history] = (tmp_path / "wandb" / f"sweep-{sweep}").glob(f"trials/0/{trial}/1/history.jsonl")
        rows = [json.loads(line) for line in history.read_text().splitlines()]
        assert [row["rank"] for row in rows if "rank" in row] == [0]


#: Rank 0 saves for longer than Slurm lets processes live that it kills (KillWait=3); the others just end.
WAITS = """
import os, signal, sys, time
def leave(number, frame):
    time.sleep(5)
    open("saved", "w").write(signal.Signals(number).name)
    sys.exit(128 + number)
if os.environ["RANK"] == "0":
    signal.signal(signal.SIGTERM, leave)
open(f"pid-{os.environ['RANK']}", "w").write(str(os.getpid()))
while True: time.sleep(0.1)
"""


def pids(folder) -> list[int]:
    files = [folder / "pid-0", folder / "pid-1"]
    return [int(file.read_text()) for file in files if file.exists() and file.read_text()]


def test_multi_node_is_stopped_with_all_its_ranks_and_rank_0_has_time_to_save(
    cluster, on_cluster, create, submit, tmp_path
):
    sweep = create(WAITS, trials=1)
    job = submit(sweep, "multi_node")
    ranks = wait_until(lambda: len(pids(tmp_path)) == 2 and pids(tmp_path))

    # as at a time limit: to the batch script alone, which the agent has replaced
    command = ["scancel", "--batch", "--signal=USR1", f"{job}_0"]
    subprocess.run(command, env=os.environ | cluster.environ, check=True)

    wait_until(lambda: counts(on_cluster, sweep) == {"crashed": 1})
    [trial] = json.loads(on_cluster("trials", sweep, "--json").stdout)
    assert trial["cause"] == "timeout"
    assert (trial["exit_code"], (tmp_path / "saved").read_text()) == (143, "SIGTERM")
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in ranks))


def test_a_rank_that_fails_ends_the_others_and_the_trial(on_cluster, create, submit, tmp_path):
    sweep = create("import os, sys, time; os.environ['RANK'] == '1' and sys.exit(3); time.sleep(300)", trials=1)
    submit(sweep, "multi_node")

    wait_until(lambda: counts(on_cluster, sweep) == {"failed": 1})
    [trial] = json.loads(on_cluster("trials", sweep, "--json").stdout)
    assert trial["state"] == "failed"
    assert "task 1: Exited with exit code 3" in on_cluster("logs", sweep, "0").stdout


def test_a_killed_agent_of_several_nodes_leaves_no_rank_behind(cluster, create, submit, tmp_path):
    sweep = create(WAITS, trials=1)
    submit(sweep, "multi_node")
    ranks = wait_until(lambda: len(pids(tmp_path)) == 2 and pids(tmp_path))
    [owner] = (tmp_path / "wandb" / f"sweep-{sweep}").glob("trials/0/0/1/owner")

    os.kill(json.loads(owner.read_text())["owner"]["pid"], 9)

    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in ranks))


#: Stands in for torchrun where there is none: it starts the processes of one node, and notes what it was asked.
TORCHRUN = """\
#!/bin/bash
echo "$*" >>torchrun-called
for word; do
    case $word in
        --nnodes=*) nodes=${word#*=} ;;
        --nproc-per-node=*) processes=${word#*=} ;;
        --no-python) shift; break ;;
    esac
    shift
done
export WORLD_SIZE=$((nodes * processes)) MASTER_ADDR=unknown MASTER_PORT=0
code=0
for LOCAL_RANK in $(seq 0 $((processes - 1))); do
    export LOCAL_RANK RANK=$((SLURM_NODEID * processes + LOCAL_RANK))
    "$@" || code=1
done
exit $code
"""


@pytest.mark.parametrize("kind", ["stand-in", "real"])
def test_torchrun_gives_all_processes_of_a_trial_its_parameters(create, submit, finished, tmp_path, kind):
    if kind == "real" and not REAL_TORCHRUN:
        pytest.skip("there is no torchrun here: put it on the PATH, or name it by SLURMSWEEP_TEST_TORCHRUN")
    torchrun = REAL_TORCHRUN if kind == "real" else str(program(tmp_path / "bin" / "torchrun", TORCHRUN))
    sweep = create(SHOWS, trials=1)

    # the nodes of this cluster are names that no resolver knows, all of one machine
    host = {"SLURMSWEEP_RDZV_HOST": "127.0.0.1"} if kind == "real" else {}
    submit(sweep, "torchrun", SLURMSWEEP_TORCHRUN=torchrun, SLURMSWEEP_NPROC="2", **host)
    finished(sweep, 1)

    ranks = [json.loads((tmp_path / f"seen-0-{rank}").read_text()) for rank in range(4)]
    assert [(r["LOCAL_RANK"], r["WORLD_SIZE"], r["x"]) for r in ranks] == [(str(n % 2), "4", 1) for n in range(4)]
    assert len({rank["node"] for rank in ranks}) == 2
    assert [ranks[0]["node"], ranks[2]["node"]] == [ranks[1]["node"], ranks[3]["node"]]
    [history] = (tmp_path / "wandb" / f"sweep-{sweep}").glob("trials/0/0/1/history.jsonl")
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    assert [row["rank"] for row in rows if "rank" in row] == [0]
    if kind == "stand-in":
        job = int(ranks[0]["SLURM_JOB_ID"])
        endpoint = f"{ranks[0]['node']}:{15000 + job % 15000}"
        asked = f"--nnodes=2 --nproc-per-node=2 --max-restarts=0 --rdzv-backend=c10d --rdzv-endpoint={endpoint}"
        calls = (tmp_path / "torchrun-called").read_text().splitlines()
        assert len(calls) == 2
        assert all(call.startswith(f"{asked} --rdzv-id={job} --no-python /usr/bin/env python") for call in calls)


def test_conda_activates_an_environment_of_the_real_one(create, submit, finished, on_cluster, tmp_path):
    conda = os.environ.get("CONDA_EXE") or shutil.which("conda")
    if not conda:
        pytest.skip("there is no conda here: put it on the PATH, or name it by CONDA_EXE")
    subprocess.run([conda, "create", "--yes", "--offline", "--prefix", tmp_path / "env"], check=True)
    sweep = create("import os; print('prefix', os.environ['CONDA_PREFIX'])", trials=1)

    submit(sweep, "conda", SLURMSWEEP_CONDA_ENV=str(tmp_path / "env"), CONDA_EXE=conda)

    finished(sweep, 1)
    assert f"prefix {tmp_path / 'env'}" in on_cluster("logs", sweep, "0").stdout


def test_apptainer_runs_the_command_in_a_real_image(create, submit, finished, on_cluster):
    if not (shutil.which("apptainer") or shutil.which("singularity")) or not REAL_IMAGE:
        pytest.skip("there is no apptainer here, or SLURMSWEEP_TEST_IMAGE names no image with a python in it")
    sweep = create("import os; print('inside', os.environ['APPTAINER_CONTAINER'])", trials=1)

    submit(sweep, "apptainer", SLURMSWEEP_IMAGE=REAL_IMAGE)

    finished(sweep, 1)
    assert "inside " in on_cluster("logs", sweep, "0").stdout


#: Trials that wait for the file ``go``, and save a checkpoint when they are asked to stop.
PACKED = """
import os, signal, sys, time
checkpoint = os.path.join(os.environ["SLURMSWEEP_CHECKPOINT_DIR"], "checkpoint")
def leave(number, frame):
    open(checkpoint, "w").write(sys.argv[1])
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, leave)
print("goes on", open(checkpoint).read() if os.path.exists(checkpoint) else "from nothing", flush=True)
while not os.path.exists("go"): time.sleep(0.1)
"""


def owners(on_cluster, sweep) -> list[tuple[str, int]]:
    trials = json.loads(on_cluster("trials", sweep, "--json").stdout)
    return [(trial["job"], trial["attempt"]) for trial in trials]


def test_packed_runs_as_many_trials_a_job_as_it_says_and_leaves_no_output(
    on_cluster, create, submit, by_hand, finished, tmp_path
):
    sweep = create(SCRIPT, trials=9)
    job = submit(sweep, "packed", "--count", "5", "--cpus-per-task", "1")
    wait_until(lambda: counts(on_cluster, sweep) == {"finished": 5, "pending": 4})
    code, output = by_hand("packed", sweep, array="0-1", SLURMSWEEP_AGENTS="2")

    logs = finished(sweep, trials=9)

    assert (code, output) == (0, "")
    assert logs == [f"trained with --x={x}\n" for x in range(1, 10)]
    jobs = [name for name, _ in owners(on_cluster, sweep)]
    assert {name.split("_")[0] for name in jobs[:5]} == {job}
    assert sorted(jobs.count(name) for name in set(jobs)) == [1, 2, 2, 4]
    wait_until(lambda: not list((tmp_path / "wandb" / f"sweep-{sweep}" / "jobs").glob("*.out")))
    assert on_cluster("check", sweep).returncode == 0


def test_a_run_of_packed_jobs_is_over_when_its_trials_are_also_where_a_seat_stays_empty(on_cluster, write_sweep):
    file = str(write_sweep(SCRIPT, "  x: {min: 1, max: 5}"))

    done = on_cluster("run", file, "--backend", "slurm", "--template", "packed", "--cpus-per-task", "1", "--time", "5")

    assert done.returncode == 0, done.stderr
    assert "2 jobs with up to 4 trials each" in done.stderr
    assert "5/5 trials: 5 finished" in done.stderr


def test_a_requeued_packed_job_goes_on_with_the_trial_of_each_seat(
    cluster, on_cluster, create, submit, finished, tmp_path
):
    sweep = create(PACKED, trials=3)
    job = submit(sweep, "packed", "--cpus-per-task", "1", SLURMSWEEP_AGENTS="3")
    wait_until(lambda: counts(on_cluster, sweep) == {"running": 3})
    logs = list((tmp_path / "wandb" / f"sweep-{sweep}").glob("trials/0/*/1/output.log"))
    wait_until(lambda: all(log.read_text() for log in logs))
    before = owners(on_cluster, sweep)

    subprocess.run(["scontrol", "requeue", f"{job}_0"], env=os.environ | cluster.environ, check=True)
    wait_until(lambda: owners(on_cluster, sweep) == [(f"{job}_0", 2)] * 3)
    (tmp_path / "go").touch()

    logs = finished(sweep, trials=3)
    assert before == [(f"{job}_0", 1)] * 3
    assert owners(on_cluster, sweep) == [(f"{job}_0", 2)] * 3
    assert logs == [f"goes on --x={x}\n" for x in (1, 2, 3)]


def test_slurms_warning_reaches_every_trial_of_a_packed_job(cluster, on_cluster, create, submit, tmp_path):
    sweep = create(PACKED, trials=3)
    job = submit(sweep, "packed", "--cpus-per-task", "1")
    wait_until(lambda: counts(on_cluster, sweep) == {"running": 3})
    logs = list((tmp_path / "wandb" / f"sweep-{sweep}").glob("trials/0/*/1/output.log"))
    wait_until(lambda: all(log.read_text() for log in logs))

    command = ["scancel", "--batch", "--signal=USR1", f"{job}_0"]
    subprocess.run(command, env=os.environ | cluster.environ, check=True)

    wait_until(lambda: counts(on_cluster, sweep) == {"crashed": 3})
    trials = json.loads(on_cluster("trials", sweep, "--json").stdout)
    assert [(trial["cause"], trial["exit_code"]) for trial in trials] == [("timeout", 143)] * 3
    saved = sorted((tmp_path / "wandb" / f"sweep-{sweep}").glob("trials/0/*/checkpoints/checkpoint"))
    assert [path.read_text() for path in saved] == ["--x=1", "--x=2", "--x=3"]
