"""Sweeps that real users of one machine share: who reads, who runs, and what others find of what was written later."""

from __future__ import annotations

import grp
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ALICE, BOB, EVE = 42001, 42002, 42003
LAB = 42010

SWEEP = """command: [/usr/bin/python3, train.py, "${args}"]
method: grid
parameters: {x: {values: [0, 1, 2, 3]}}
"""
#: A script that knows nothing of slurmsweep, and so nothing of modes.
SCRIPT = "import os; open(os.environ['SLURMSWEEP_CHECKPOINT_DIR'] + '/last', 'w').write('weights'); print('trained')"


@pytest.fixture
def project(open_folder, as_user):
    """Return a folder of Alice's for the group of the lab, with a sweep file that anyone could run."""
    (open_folder / "train.py").write_text(SCRIPT)
    (open_folder / "sweep.yaml").write_text(SWEEP)
    for path in (open_folder, *open_folder.iterdir()):
        os.chown(path, ALICE, LAB)
    os.chmod(open_folder, 0o750)
    for path in (open_folder / "train.py", open_folder / "sweep.yaml"):
        os.chmod(path, 0o640)
    return open_folder


@pytest.fixture
def alice(as_user, project):
    return lambda *argv, **more: as_user(ALICE, *argv, groups=str(LAB), **more)


@pytest.fixture
def bob(as_user, project):
    return lambda *argv, **more: as_user(BOB, *argv, groups=str(LAB), **more)


def create(who, *options, **more) -> tuple[str, str]:
    done = who("create", "sweep.yaml", *options, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def unlike(folder: Path, access: int) -> list[str]:
    """Name what the group may not do with as much as it should, or what belongs to another group."""
    found = []
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        wanted = access & ~0o10 if stat.S_ISREG(status.st_mode) else access
        if stat.S_ISLNK(status.st_mode):
            continue
        if status.st_mode & 0o070 & wanted != wanted or status.st_gid != LAB:
            found.append(f"{path} {oct(status.st_mode)} {status.st_gid}")
    return found


def test_who_can_read_a_sweep_is_said_when_it_is_made(alice, project):
    for options, said in (
        ([], "; only you can read it (`slurmsweep share {}` opens it to a group)\n"),
        (["--shared=read"], f"; group {LAB} can read it\n"),
        (["--shared"], f"; group {LAB} can read, run and change it\n"),
    ):
        sweep, stderr = create(alice, *options)
        assert stderr.endswith(said.format(sweep)), stderr


def test_a_folder_that_keeps_the_group_out_is_said_with_it(alice, project):
    os.chmod(project, 0o700)

    assert create(alice, "--shared")[1].endswith(f"once `chmod g+x {project}` lets them get there\n")


def test_a_colleague_neither_reads_nor_runs_a_private_sweep(alice, bob):
    sweep, _ = create(alice)

    assert bob("status", sweep).returncode in (3, 5)
    assert bob("run", sweep, "--backend", "local").returncode in (3, 5)


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("later", [False, True])
def test_a_sweep_to_read_is_read_by_the_group_and_by_no_other_and_run_by_its_owner(
    alice, bob, as_user, project, umask, later
):
    sweep, _ = create(alice, *([] if later else ["--shared=read"]), umask=umask)
    if later:
        assert alice("run", sweep, "--count", "1", "--backend", "local", umask=umask).returncode == 0
        assert alice("share", sweep, umask=umask).stderr == f"slurmsweep: sweep {sweep}: group {LAB} can read it\n"
    done = alice("run", sweep, "--backend", "local", umask=umask)
    assert done.returncode == 0, done.stderr
    folder = project / ".slurmsweep" / f"sweep-{sweep}"

    seen = bob("trials", sweep, umask=umask)
    assert (seen.returncode, seen.stdout.count("finished")) == (0, 4), seen.stderr
    assert bob("logs", sweep, "3").stdout == "trained\n"
    assert unlike(folder, 0o050) == []
    assert [path for path in folder.rglob("*") if path.lstat().st_mode & 0o020 and not path.is_symlink()] == []
    refused = bob("resubmit", sweep, "--backend", "local")
    assert (refused.returncode, f"belongs to user {ALICE}" in refused.stderr) == (5, True)
    assert as_user(EVE, "status", str(folder)).returncode in (3, 5)
    assert bob("share", sweep, "--write").returncode == 5


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_agents_of_two_users_run_one_sweep_and_each_continues_the_others_trials(alice, bob, project, umask):
    sweep, _ = create(alice, "--shared", umask=umask)
    folder = str(project / ".slurmsweep" / f"sweep-{sweep}")
    for who in (alice, bob, alice, bob):
        done = who("agent", folder, "--count", "1", umask=umask)
        assert done.returncode == 0, done.stderr

    owners = {path.stat().st_uid for path in Path(folder).glob("trials/*/*/1/outcome.json")}
    assert owners == {ALICE, BOB}
    assert unlike(Path(folder), 0o070) == []
    assert bob("check", sweep).returncode == 0
    for who in (alice, bob):  # each runs all again, also what the other one ran, in the other's folders
        assert who("delete", sweep, "--trials", "0-3", umask=umask).returncode == 0
        done = who("run", sweep, "--backend", "local", umask=umask)
        assert done.returncode == 0, done.stderr
    assert unlike(Path(folder), 0o070) == []
    assert alice("check", sweep).returncode == 0


def test_sharing_with_write_and_taking_it_back(alice, bob, project):
    sweep, _ = create(alice)
    assert alice("run", sweep, "--count", "1", "--backend", "local").returncode == 0
    assert alice("share", sweep, "--write").returncode == 0
    assert bob("run", sweep, "--backend", "local").returncode == 0
    folder = project / ".slurmsweep" / f"sweep-{sweep}"

    done = alice("share", sweep, "--off")

    assert (done.returncode, done.stderr.count("files of other users keep their modes")) == (0, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert bob("status", sweep).returncode in (3, 5)
    assert alice("trials", sweep).stdout.count("finished") == 4
    mine = [path for path in folder.rglob("*") if path.lstat().st_uid == ALICE and not path.is_symlink()]
    assert [path for path in mine if path.lstat().st_mode & 0o077] == []


def test_a_trial_that_runs_while_its_sweep_is_shared_leaves_what_the_group_can_read(alice, bob, project):
    (project / "train.py").write_text(
        "import os, time\nopen('started', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
    )
    sweep, _ = create(alice)
    folder = project / ".slurmsweep" / f"sweep-{sweep}"
    environment = {
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[3]), *(path for path in sys.path if path.endswith("site-packages"))]
        )
    }
    who = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", f"--groups={LAB}"]
    agent = subprocess.Popen(
        [*who, "/usr/bin/python3", "-m", "slurmsweep", "agent", str(folder), "--count", "2"],
        cwd=project,
        env=environment | {"PATH": "/usr/bin:/bin"},
        umask=0o077,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (project / "started").exists():
            assert agent.poll() is None
        assert alice("share", sweep, "--write").returncode == 0
        (project / "go").touch()
        assert agent.wait(120) == 0
    finally:
        agent.kill()

    assert unlike(folder, 0o070) == []
    assert bob("status", sweep).returncode == 0


def test_only_the_owner_shares(alice, bob):
    sweep, _ = create(alice, "--shared")

    done = bob("share", sweep, "--off")

    assert (done.returncode, f"belongs to user {ALICE}, who alone can share it" in done.stderr) == (2, True)


def test_a_group_of_which_the_owner_is_no_member_is_an_error_and_nothing_is_opened(as_user, alice, project):
    sweep, _ = create(alice)
    folder = project / ".slurmsweep" / f"sweep-{sweep}"

    done = as_user(ALICE, "share", sweep)  # without the group

    assert (done.returncode, "you may not write there" in done.stderr) == (5, True)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(not shutil.which("setfacl"), reason="setfacl is not installed")
def test_an_access_list_lets_one_more_user_read_what_is_written_later(alice, as_user, project):
    sweep, _ = create(alice, "--shared=read")
    folder = project / ".slurmsweep" / f"sweep-{sweep}"
    subprocess.run(["setfacl", "-m", f"u:{EVE}:x", project, project / ".slurmsweep"], check=True)
    subprocess.run(["setfacl", "-R", "-m", f"u:{EVE}:rX,d:u:{EVE}:rX", folder], check=True)

    assert alice("run", sweep, "--backend", "local").returncode == 0

    assert as_user(EVE, "trials", str(folder)).stdout.count("finished") == 4


def test_a_new_sweep_is_shared_by_the_command_that_runs_it(alice, bob, project):
    done = alice("run", "sweep.yaml", "--backend", "local", "--shared=read", umask=0o077)

    assert done.returncode == 0, done.stderr
    assert bob("trials").stdout.count("finished") == 4


def test_the_group_is_named(tmp_path):
    from slurmsweep.state.access import group_name

    assert group_name(0) == grp.getgrgid(0).gr_name
    assert group_name(LAB) == str(LAB)
