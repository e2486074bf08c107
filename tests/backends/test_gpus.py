"""``--gpus`` on this machine: each trial has its own, also when agents are killed, and mistakes are refused."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from slurmsweep.agents.identity import process_start
from slurmsweep.backends import gpu_list
from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.local import LocalBackend
from slurmsweep.errors import UsageError

#: Holds each of its GPUs by a file that is made exclusively: a second trial on one of them fails. It holds it in a
#: program behind a shell, in a session of its own, as torchrun's are: a kill of the agent does not reach that one.
HOLDING = """
import os, subprocess, sys, time
HOLD = '''
import os, sys, time
def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(","):
    file = f"held-{gpu}"
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        holder = open(file + ".pid").read()
        if alive(holder):
            open("clash", "a").write(f"{gpu} {holder}\\\\n")
            sys.exit(3)
    open(file + ".pid", "w").write(str(os.getpid()))
with open("had", "a") as had:
    had.write(f"{os.environ['SLURMSWEEP_SEAT']} {os.environ['CUDA_VISIBLE_DEVICES']}\\\\n")
time.sleep(HOW_LONG)
for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(","):
    os.remove(f"held-{gpu}")
'''
KILLS = KILLED
number = int(os.environ["SLURMSWEEP_TRIAL"])
HOLD = HOLD.replace("HOW_LONG", "600" if number in KILLS else "0.2")
holder = subprocess.Popen([sys.executable, "-c", HOLD], start_new_session=True)
if number in KILLS:
    while str(holder.pid) not in [open(f).read() for f in os.listdir() if f.endswith(".pid")]:
        time.sleep(0.02)
        assert holder.poll() is None
    os.kill(os.getppid(), 9)
    time.sleep(600)
sys.exit(holder.wait())
"""


def script(killed=()) -> str:
    return HOLDING.replace("KILLED", repr(tuple(killed)))


def had(tmp_path) -> list[str]:
    return (tmp_path / "had").read_text().splitlines()


def test_each_trial_has_gpus_of_its_own_and_its_place(slurmsweep, write_sweep, tmp_path):
    file = write_sweep(script(), "  x: {values: [1, 2, 3, 4, 5, 6, 7, 8]}")

    done = slurmsweep("run", str(file), "--backend", "local", "--jobs", "3", "--gpus", "0-3,6,9")

    assert done.returncode == 0, done.stderr
    assert "GPUs 0,1 | 2,3 | 6,9: the 3 trials at a time have one part each" in done.stderr
    assert set(had(tmp_path)) == {"0 0,1", "1 2,3", "2 6,9"}
    assert len(had(tmp_path)) == 8
    assert not (tmp_path / "clash").exists()


def test_a_gpu_is_free_again_only_when_all_processes_of_a_killed_trial_are_gone(slurmsweep, write_sweep, tmp_path):
    file = write_sweep(script(killed=(0, 2)), "  x: {values: [1, 2, 3, 4, 5, 6]}")

    done = slurmsweep("run", str(file), "--backend", "local", "--jobs", "2", "--gpus", "4,5")

    counts = Counter(trial["state"] for trial in json.loads(slurmsweep("trials", "last", "--json").stdout))
    assert counts == {"finished": 4, "crashed": 2}, done.stderr
    assert not (tmp_path / "clash").exists()
    assert Counter(line.split()[1] for line in had(tmp_path)).keys() == {"4", "5"}
    assert [process_start(int(file.read_text())) for file in tmp_path.glob("held-*.pid")] == [None, None]


def test_a_sweep_goes_on_with_the_gpus_that_are_named_then(slurmsweep, write_sweep, tmp_path):
    file = write_sweep(script(), "  x: {values: [1, 2, 3, 4]}")
    slurmsweep("run", str(file), "--backend", "local", "--jobs", "2", "--gpus", "0,1", "--count", "2")

    done = slurmsweep("run", "last", "--backend", "local", "--gpus", "7")

    assert done.returncode == 0, done.stderr
    assert Counter(had(tmp_path)) == {"0 0": 1, "1 1": 1, "0 7": 2}


def test_defaults_name_the_gpus_and_the_command_line_wins(slurmsweep, write_sweep, tmp_path):
    (tmp_path / ".slurmsweep.yaml").write_text("jobs: 2\ngpus: 0-3\n")
    file = write_sweep(script(), "  x: {values: [1, 2]}")
    planned = slurmsweep("plan", str(file), "--backend", "local")
    assert "GPUs 0,1 | 2,3" in planned.stderr

    done = slurmsweep("run", str(file), "--backend", "local", "--gpus", "8,9")

    assert done.returncode == 0, done.stderr
    assert set(had(tmp_path)) == {"0 8", "1 9"}


def test_wrong_gpus_among_the_defaults_are_named_by_file_and_line(slurmsweep, write_sweep, tmp_path):
    (tmp_path / ".slurmsweep.yaml").write_text("jobs: 2\ngpus: three\n")

    done = slurmsweep("plan", str(write_sweep("")), "--backend", "local")

    assert (done.returncode, "line 2, gpus" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("gpus", "places", "words"),
    [
        ("0-2", 4, "need a GPU each: use --jobs 3"),
        ("0,1", 4, "--gpus 0,0,1,1"),
        ("0-7", 3, "cannot be dealt out evenly to 3 trials at a time: use --jobs 2, or name 6 GPUs"),
        ("0,0,1,1", 2, "one trial would get GPU 0 twice"),
        ("3-0", 1, "'3-0' names no GPU"),
        ("0,,1", 1, "'' names no GPU"),
        ("volta:2", 1, "'volta:2' names no GPU"),
        ("", 1, "'' names no GPU"),
    ],
)
def test_what_cannot_be_dealt_is_refused_with_what_would_be_right(gpus, places, words):
    with pytest.raises(UsageError, match="--gpus") as caught:
        gpu_list.deal(gpus, places)

    assert words in str(caught.value)


def test_run_and_plan_refuse_the_same_and_no_sweep_is_made(slurmsweep, write_sweep, tmp_path):
    file = str(write_sweep(""))
    said = [
        slurmsweep(command, file, "--backend", "local", "--jobs", "2", "--gpus", "0") for command in ("plan", "run")
    ]

    assert [done.returncode for done in said] == [2, 2]
    assert said[0].stderr == said[1].stderr
    assert not (tmp_path / "wandb").exists()


def test_sharing_is_said_where_it_was_asked_for():
    [words] = LocalBackend().check(SubmitOptions(options={"gpus": "0,0,1,1"}, width=4))

    assert words.endswith("trials share 0, 1")


def test_python_names_them_as_the_command_line_does():
    [words] = LocalBackend().check(SubmitOptions(options={"G": "GPU-8f-1,GPU-9a-2"}, width=2))

    assert words.startswith("GPUs GPU-8f-1 | GPU-9a-2:")


def test_slurm_is_told_how_many_and_refuses_a_list(slurmsweep, write_sweep):
    file = str(write_sweep(""))
    asked = slurmsweep("plan", file, "--backend", "slurm", "--gpus", "2", "--template", "packed")
    refused = slurmsweep("plan", file, "--backend", "slurm", "--gpus", "0-3")

    assert "#SBATCH --gpus=2" in asked.stdout
    assert (
        "the GPUs of a job (2) are dealt out to its 4 trials, fewer than trials: up to 2 trials share one"
        in asked.stderr
    )
    assert refused.returncode == 2
    assert "Slurm chooses the GPUs of a job itself" in refused.stderr


def test_a_trial_outside_of_a_job_has_no_variable_of_gpus_that_was_not_asked_for(slurmsweep, write_sweep, tmp_path):
    file = write_sweep("import os\nopen('seen', 'w').write(repr({n for n in os.environ if 'VISIBLE' in n}))")

    slurmsweep("run", str(file), "--backend", "local")

    assert (tmp_path / "seen").read_text() == "set()"
