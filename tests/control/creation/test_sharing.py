"""Sweeps of a group, sweeps of strangers, secrets: who may see and change what."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from slurmsweep.errors import StateUnreadableError
from slurmsweep.state import files as guard
from slurmsweep.state.store import SweepStore

SECRET = "sesame-0123456789"


def modes(folder) -> set[tuple[bool, int]]:
    """Whether it is a folder, and its mode, of everything below and of the folder itself."""
    paths = [folder, *folder.rglob("*")]
    return {(path.is_dir(), stat.S_IMODE(path.lstat().st_mode)) for path in paths}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_a_sweep_is_its_owners_alone_whatever_the_umask(slurmsweep, write_sweep, tmp_path, umask):
    before = os.umask(umask)
    try:
        assert slurmsweep("run", str(write_sweep("pass")), "--backend", "local").returncode == 0
    finally:
        os.umask(before)
    folder = tmp_path / ".slurmsweep"

    assert modes(folder) == {(True, 0o700), (False, 0o600)}


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a9_a_shared_sweep_is_for_the_group_whatever_the_umask(slurmsweep, write_sweep, tmp_path, umask):
    group = os.getgid() if os.geteuid() else 12345
    if os.geteuid() == 0:
        os.chown(tmp_path, -1, group)
    script = "import slurmsweep\nslurmsweep.init()\nslurmsweep.log({'a': 1})\n"
    before = os.umask(umask)
    try:
        sweep = slurmsweep("create", str(write_sweep(script)), "--shared").stdout.strip()
        assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
        assert slurmsweep("resubmit", sweep, "--backend", "local").returncode == 0
    finally:
        os.umask(before)
    folder = tmp_path / ".slurmsweep"

    assert modes(folder) == {(True, 0o2770), (False, 0o660)}
    assert {path.stat().st_gid for path in [folder, *folder.rglob("*")]} == {group}


def test_a_folder_above_that_keeps_the_group_out_is_named(slurmsweep, write_sweep, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)

    done = slurmsweep("create", str(write_sweep("pass")), "--shared", WANDB_DIR=str(tmp_path / "closed"))

    assert f"chmod g+x {tmp_path / 'closed'}" in done.stderr


@pytest.mark.parametrize("command", ["status", "agent", "trials", "check"])
def test_a_sweep_that_everybody_can_write_to_is_refused(slurmsweep, make_store, command):
    store = make_store(3)
    os.chmod(store.layout.folder, 0o777)

    done = slurmsweep(command, store.layout.folder)

    assert (done.returncode, "writable by every user" in done.stderr) == (5, True)


def test_a_strangers_sweep_is_not_run_as_this_user(make_store, monkeypatch):
    store = make_store(3)
    monkeypatch.setattr(guard.os, "geteuid", lambda: os.getuid() + 4711)

    with pytest.raises(StateUnreadableError, match="belongs to user 4242"):
        guard.refuse_strangers_sweep(store.layout.folder, 4242, shared=False)
    guard.refuse_strangers_sweep(store.layout.folder, 4242, shared=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
@pytest.mark.parametrize("command", ["agent", "resubmit", "cancel", "run"])
def test_commands_that_act_refuse_another_users_sweep(slurmsweep, make_store, command):
    store = make_store(3)
    os.chown(store.layout.folder, 4242, -1)

    done = slurmsweep(command, store.layout.folder)

    assert (done.returncode, "belongs to user 4242" in done.stderr) == (5, True)
    assert slurmsweep("status", store.layout.folder).returncode == 0


@pytest.mark.parametrize(
    ("name", "code"),
    [("sweep.json", 5), ("journal.log", 5), ("trials/0/0/1/outcome.json", 1)],  # the last costs its trial only
)
def test_links_in_the_place_of_files_are_not_followed(make_store, slurmsweep, tmp_path, name, code):
    store = make_store(3)
    target = tmp_path / "target"
    target.write_text("{}")
    path = Path(store.layout.folder, name)
    if name.startswith("trials"):
        store.claim(__import__("slurmsweep.agents.identity", fromlist=["x"]).this_process({}))
    path.unlink(missing_ok=True)
    path.symlink_to(target)

    done = slurmsweep("check", store.layout.folder)

    assert (done.returncode, str(path) in done.stdout + done.stderr) == (code, True)
    assert target.read_text() == "{}"


@pytest.mark.parametrize("name", ["../../etc", "a/../b", "abcd124", "ABCD1234", "abcd1234x", ""])
def test_names_cannot_leave_the_folder(slurmsweep, make_store, name):
    make_store(3)

    assert slurmsweep("status", name).returncode == 3


def test_a_secret_of_the_environment_is_in_no_plan_script_journal_or_report(slurmsweep, tmp_path):
    (tmp_path / "train.py").write_text("import sys; assert sys.argv[1] == 'sesame-0123456789'")
    (tmp_path / "sweep.yaml").write_text(
        "method: grid\nprogram: train.py\nparameters: {x: {values: [1]}}\n"
        "command: [python, '${program}', '${envvar:MY_API_KEY}', '${args}']\n"
    )
    said = slurmsweep("plan", "sweep.yaml", MY_API_KEY=SECRET)
    done = slurmsweep("run", "sweep.yaml", "--backend", "local", MY_API_KEY=SECRET)

    assert (said.returncode, done.returncode) == (0, 0)
    assert "***" in said.stdout
    assert SECRET not in said.stdout + said.stderr + done.stdout + done.stderr
    files = [path for path in (tmp_path / ".slurmsweep").rglob("*") if path.is_file()]
    assert [path for path in files if SECRET in path.read_text(errors="replace")] == []


def test_a_secret_in_an_option_of_sbatch_is_refused(slurmsweep, write_sweep):
    done = slurmsweep("plan", str(write_sweep("pass")), "--sbatch", f"export=ALL,HF_TOKEN={SECRET}")

    assert (done.returncode, "HF_TOKEN" in done.stderr, SECRET in done.stderr) == (2, True, False)


def test_a_swept_secret_is_warned_of(slurmsweep, write_sweep):
    done = slurmsweep(
        "plan", str(write_sweep("pass", parameters="  OPENAI_API_KEY: {value: x}\n  max_token: {value: 3}"))
    )

    assert "OPENAI_API_KEY: looks like a secret" in done.stderr
    assert "max_token" not in done.stderr


def test_store_modes_follow_the_sweep(make_store):
    assert SweepStore.open(make_store(3).layout.folder).access.file == 0o600
