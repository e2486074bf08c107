"""A user's mistake gets one clear message and the documented exit code, and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

SWEEP = "program: train.py\nmethod: grid\nparameters:\n  x: {values: [1, 2]}\n"


@pytest.fixture
def files(tmp_path):
    """Return a training script, and a function that writes the sweep file."""
    (tmp_path / "train.py").write_text("pass")

    def write(text) -> str:
        (tmp_path / "sweep.yaml").write_text(text)
        return "sweep.yaml"

    return write


@pytest.fixture
def full_disk(tmp_path):
    """Return a filesystem of 256 KiB; yields its folder and a function that fills it and one that makes room."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small filesystem is not permitted here")

    def fill() -> None:
        with open(folder / "filler", "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 512):
                    pass
            except OSError:
                pass

    yield folder, fill, (folder / "filler").unlink
    subprocess.run(["umount", str(folder)], check=True)


def assert_is_clear(done, code, *words) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method: [grid\n", ["sweep.yaml", "line"]),
        (SWEEP.replace("grid", "gird"), ["method", "gird", "grid"]),
        (SWEEP.replace("values", "valeus"), ["parameters.x", "valeus", "values"]),
        (SWEEP + "metrik: {name: loss}\n", ["metrik", "metric"]),
        (SWEEP.replace("{values: [1, 2]}", "{values: []}"), ["parameters.x"]),
        (SWEEP.replace("train.py", "trian.py"), ["program", "trian.py"]),
        (SWEEP.replace("grid", "gird").replace("values", "valeus"), ["gird", "valeus"]),
        ("", ["sweep.yaml"]),
        ("- a\n- b\n", ["sweep.yaml"]),
    ],
    ids=["bad-yaml", "method", "key", "near-miss", "no-values", "no-program", "all-at-once", "empty", "list"],
)
@pytest.mark.parametrize("command", ["create", "plan", "run"])
def test_a_wrong_sweep_file_is_explained_and_nothing_is_made(slurmsweep, files, tmp_path, command, text, words):
    done = slurmsweep(command, files(text))

    assert_is_clear(done, 2, *words)
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method: grid\nparameters: {x: {value: 1}}\n", ["program", "is missing"]),
        (
            "program: train.py\nmethod: grid\nparameters: {x: {values: [1]}}\nslurmsweep: {exclude: [{x: 1}]}\n",
            ["slurmsweep.exclude", "no point at all"],
        ),
    ],
    ids=["no-program", "all-excluded"],
)
def test_what_cannot_run_is_refused_by_its_plan_too_and_nothing_is_made(slurmsweep, files, tmp_path, text, words):
    file = files(text)

    for command in ("plan", "create", "run"):
        assert_is_clear(slurmsweep(command, file), 2, *words)
    assert not (tmp_path / "wandb").exists()


def test_a_sweep_file_that_is_not_there(slurmsweep):
    assert_is_clear(slurmsweep("create", "nothere.yaml"), 2, "nothere.yaml")


@pytest.mark.parametrize("command", ["status", "trials", "best", "check", "agent", "resubmit", "cancel"])
def test_an_unknown_sweep(slurmsweep, command):
    assert_is_clear(slurmsweep(command, "zzzzzzzz"), 3, "no sweep zzzzzzzz")


def test_an_unknown_trial(slurmsweep, files):
    sweep = slurmsweep("create", files(SWEEP)).stdout.strip()

    assert_is_clear(slurmsweep("logs", sweep, "99"), 3, "trials 0 to 1", "99")
    assert_is_clear(slurmsweep("logs", sweep, "1"), 3, "no log")


def test_without_sbatch_the_slurm_backend_says_what_to_do(slurmsweep, files, tmp_path):
    sweep = slurmsweep("create", files(SWEEP)).stdout.strip()
    nowhere = str(tmp_path / "empty")

    for argv in (("submit", sweep), ("run", "sweep.yaml", "--backend", "slurm")):
        assert_is_clear(slurmsweep(*argv, PATH=nowhere), 4, "no sbatch", "--backend local")
    assert len(list((tmp_path / "wandb").iterdir())) == 1


def test_a_folder_that_is_not_writable(slurmsweep, files, tmp_path):
    files(SWEEP)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    root = "/sys" if os.geteuid() == 0 else str(locked)  # root writes everywhere but into the kernel's own tree

    assert_is_clear(slurmsweep("create", "sweep.yaml", WANDB_DIR=root), 5, root, "WANDB_DIR")


def test_a_file_in_the_place_of_the_folder(slurmsweep, files, tmp_path):
    files(SWEEP)
    (tmp_path / "wandb").write_text("I was here first")

    assert_is_clear(slurmsweep("create", "sweep.yaml"), 5, "wandb")
    assert (tmp_path / "wandb").read_text() == "I was here first"


def test_a_full_disk_while_claiming_costs_no_trial(slurmsweep, files, full_disk):
    folder, fill, make_room = full_disk
    sweep = slurmsweep("create", files(SWEEP), WANDB_DIR=str(folder)).stdout.strip()
    journal = folder / "wandb" / f"sweep-{sweep}" / "journal.log"
    fill()
    before = journal.read_bytes()

    done = slurmsweep("agent", sweep, WANDB_DIR=str(folder))

    assert_is_clear(done, 5, "No space left", "free some space")
    status = json.loads(slurmsweep("status", sweep, "--json", WANDB_DIR=str(folder)).stdout)
    assert status["counts"]["pending"] == 2
    assert journal.read_bytes().startswith(before)
    make_room()
    assert slurmsweep("agent", "--count", "2", sweep, WANDB_DIR=str(folder)).returncode == 0
    assert slurmsweep("check", sweep, WANDB_DIR=str(folder)).returncode == 0


def test_an_endless_search_needs_a_count(slurmsweep, files):
    done = slurmsweep("run", files(SWEEP.replace("grid", "random")), "--backend", "local")

    assert_is_clear(done, 2, "random search has no end", "--count", "run_cap")


def test_a_sweep_of_a_newer_version_is_refused(slurmsweep, files, tmp_path):
    sweep = slurmsweep("create", files(SWEEP)).stdout.strip()
    manifest = tmp_path / "wandb" / f"sweep-{sweep}" / "sweep.json"
    manifest.write_text(manifest.read_text().replace('"version": 2,', '"version": 3,'))

    assert_is_clear(slurmsweep("status", sweep), 5, "newer slurmsweep")


def test_a_word_that_is_no_state(slurmsweep, files):
    sweep = slurmsweep("create", files(SWEEP)).stdout.strip()

    assert_is_clear(slurmsweep("trials", sweep, "--state", "dead"), 2, "dead", "crashed")


def test_a_reader_that_goes_away_is_no_error(repository, slurmsweep, files, tmp_path):
    files(SWEEP.replace("[1, 2]", str(list(range(5000)))))
    shell = f"{os.sys.executable} -m slurmsweep plan sweep.yaml --json | head -1"

    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout == "{\n"
    assert "Error" not in done.stderr
