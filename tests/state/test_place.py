"""The sweep's folder lies where a line that clears ``wandb/`` does not reach it, and is found from everywhere."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slurmsweep.backends.wandb_hosted.folder import HostedFolder, HostedSweep
from slurmsweep.errors import NotFoundError
from slurmsweep.state import files, manifest, paths

#: What stands in scripts, Makefiles and READMEs.
CLEARING = [
    "rm -rf wandb",
    "rm -rf wandb/",
    "rm -rf wandb/*",
    "rm -rf ./wandb/sweep-*",
    "find wandb -mindepth 1 -delete",
    f"{sys.executable} -c 'import shutil; shutil.rmtree(\"wandb\", ignore_errors=True)'",
    "git init -q . && git add train.py sweep.yaml && git clean -q -fd",
]


def states(slurmsweep, sweep) -> list[str]:
    return [trial["state"] for trial in json.loads(slurmsweep("trials", sweep, "--json").stdout)]


@pytest.mark.parametrize("line", CLEARING)
def test_a_script_that_clears_wandb_clears_no_sweep(slurmsweep, write_sweep, line):
    script = f"import os\nassert os.path.isdir('wandb')\nos.system({line!r})\n"

    done = slurmsweep("run", str(write_sweep(script)), "--backend", "local", "--json")

    assert done.returncode == 0, done.stderr
    sweep = json.loads(done.stdout)["id"]
    assert states(slurmsweep, sweep) == ["finished"] * 3
    assert slurmsweep("check", sweep).returncode == 0


@pytest.mark.parametrize("line", [line for line in CLEARING if "git" not in line])
def test_a_sweep_whose_wandb_is_a_link_to_scratch_survives_it(slurmsweep, write_sweep, tmp_path, line):
    (tmp_path / "scratch" / "large").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "wandb").symlink_to(tmp_path / "scratch" / "large")
    sweep = slurmsweep("create", str(write_sweep("pass")), WANDB_DIR=str(tmp_path / "home")).stdout.strip()

    subprocess.run(line, shell=True, cwd=tmp_path / "home", check=False, stderr=subprocess.DEVNULL)

    done = slurmsweep("run", sweep, "--backend", "local", cwd=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scratch" / ".slurmsweep" / f"sweep-{sweep}" / "sweep.json").is_file()
    assert slurmsweep("status", str(tmp_path / "home" / "wandb" / f"sweep-{sweep}")).returncode == 0


def test_where_the_folder_above_the_target_is_another_users_the_state_is_in_the_target(make_store, tmp_path):
    if os.geteuid():
        pytest.skip("only root gives a folder to another user")
    (tmp_path / "theirs" / "mine").mkdir(parents=True)
    os.chown(tmp_path / "theirs", 4242, -1)
    (tmp_path / "wandb").symlink_to("theirs/mine")

    store = make_store(3)

    assert store.layout.folder == str(tmp_path / "theirs" / "mine" / ".slurmsweep" / "sweep-abcd1234")
    os.unlink(tmp_path / "wandb")
    assert paths.find("abcd1234", str(tmp_path)) == store.layout


def test_the_folder_is_beside_wandb_with_a_link_in_it_and_git_sees_neither(make_store, tmp_path):
    store = make_store(3)

    assert store.layout.folder == str(tmp_path / ".slurmsweep" / "sweep-abcd1234")
    assert os.readlink(tmp_path / "wandb" / "sweep-abcd1234") == "../.slurmsweep/sweep-abcd1234"
    assert (tmp_path / ".slurmsweep" / ".gitignore").read_text() == "*\n"
    make_store(3, sweep_id="abcd1235")
    assert paths.sweep_ids(str(tmp_path)) == ["abcd1234", "abcd1235"]


@pytest.mark.parametrize("name", ["abcd1234", "wandb/sweep-abcd1234", "./.slurmsweep/sweep-abcd1234/", "via/link"])
def test_the_id_the_link_and_the_folder_are_one_sweep_by_its_own_path(make_store, tmp_path, monkeypatch, name):
    store = make_store(3)
    (tmp_path / "via").mkdir()
    (tmp_path / "via" / "link").symlink_to(tmp_path / "wandb" / "sweep-abcd1234")
    monkeypatch.chdir(tmp_path)

    assert paths.find(name) == store.layout


def test_a_project_that_is_moved_takes_its_sweeps_along(make_store, tmp_path):
    make_store(3, tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new")

    expected = paths.Layout(str(tmp_path / "new" / ".slurmsweep" / "sweep-abcd1234"))
    assert paths.find("abcd1234", str(tmp_path / "new")) == expected
    assert paths.find(str(tmp_path / "new" / "wandb" / "sweep-abcd1234")) == expected


def test_links_above_the_sweeps_own_folder_stay_as_the_user_names_them(make_store, tmp_path):
    make_store(3, tmp_path / "node7" / "project")
    (tmp_path / "shared").symlink_to("node7")

    found = paths.find(str(tmp_path / "shared" / "project" / "wandb" / "sweep-abcd1234"))
    assert found.folder == str(tmp_path / "shared" / "project" / ".slurmsweep" / "sweep-abcd1234")


def test_a_sweep_that_was_made_in_wandb_goes_on_there(make_store, slurmsweep, tmp_path):
    (tmp_path / "train.py").write_text("")
    make_store(3)
    os.unlink(tmp_path / "wandb" / "sweep-abcd1234")
    shutil.move(tmp_path / ".slurmsweep" / "sweep-abcd1234", tmp_path / "wandb" / "sweep-abcd1234")
    make_store(3, sweep_id="abcd1235")

    assert {row["id"] for row in json.loads(slurmsweep("ls", "--json").stdout)} == {"abcd1234", "abcd1235"}
    done = slurmsweep("run", "abcd1234", "--backend", "local")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "wandb" / "sweep-abcd1234" / "trials" / "0" / "2" / "1" / "outcome.json").is_file()
    assert sorted(os.listdir(tmp_path / ".slurmsweep")) == [".gitignore", "sweep-abcd1235"]


def test_a_missing_or_wrong_link_is_made_by_commands_that_write_alone(make_store, slurmsweep, tmp_path):
    store = make_store(3)
    link = tmp_path / "wandb" / "sweep-abcd1234"
    shutil.rmtree(tmp_path / "wandb")
    for command in ("status", "trials", "check", "ls", "best"):
        slurmsweep(command, *(["abcd1234"] if command != "ls" else []))
    assert not (tmp_path / "wandb").exists()

    assert slurmsweep("pause", "abcd1234").returncode == 0
    assert os.path.samefile(link, store.layout.folder)
    link.unlink()
    link.symlink_to("../nowhere/sweep-abcd1234")  # as after `wandb` was moved alone
    assert slurmsweep("resume", "abcd1234").returncode == 0
    assert os.readlink(link) == "../.slurmsweep/sweep-abcd1234"


def test_a_filesystem_without_links_has_sweeps_too(make_store, slurmsweep, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    make_store(3)

    assert os.listdir(tmp_path / "wandb") == []
    assert slurmsweep("pause", "abcd1234").returncode == 0
    assert slurmsweep("status", "abcd1234").returncode == 0


def test_a_sweep_of_which_only_the_link_is_left_is_said_to_be_removed(make_store, slurmsweep, tmp_path):
    store = make_store(3)
    shutil.rmtree(store.layout.folder)

    for name in ("abcd1234", str(tmp_path / "wandb" / "sweep-abcd1234")):
        done = slurmsweep("status", name)
        assert done.returncode == 3
        assert f"was removed: {tmp_path}/wandb/sweep-abcd1234 is a link to {store.layout.folder}" in done.stderr
    assert slurmsweep("ls").returncode == 0


@pytest.mark.parametrize(("module", "call"), [(os, "symlink"), (manifest, "write"), (files, "write_once")])
def test_a_creation_that_is_broken_off_leaves_nothing_that_counts(make_store, tmp_path, monkeypatch, module, call):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, call, interrupt)
        make_store(3)

    assert paths.sweep_ids(str(tmp_path)) == []
    with pytest.raises(NotFoundError):
        paths.find("abcd1234", str(tmp_path))


def test_wandb_dir_may_begin_with_the_home(slurmsweep, write_sweep, tmp_path):
    (tmp_path / "me" / "runs").mkdir(parents=True)

    done = slurmsweep("create", str(write_sweep("pass")), WANDB_DIR="~/runs", HOME=str(tmp_path / "me"))

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "me" / "runs" / ".slurmsweep" / f"sweep-{done.stdout.strip()}").is_dir()
    assert not (tmp_path / "~").exists()


def test_the_submissions_of_a_hosted_sweep_follow_the_same_rule(tmp_path):
    sweep = HostedSweep("team", "project", "wbyz9876")
    folder = HostedFolder(sweep, str(tmp_path))
    folder.make()

    assert folder.path == str(tmp_path / ".slurmsweep" / "cloud-wbyz9876")
    assert Path(folder.jobs).is_dir()
    assert os.readlink(tmp_path / "wandb" / "cloud-wbyz9876") == "../.slurmsweep/cloud-wbyz9876"
    shutil.rmtree(tmp_path / "wandb")
    assert HostedFolder(sweep, str(tmp_path)).path == folder.path

    old = tmp_path / "before" / "wandb" / "cloud-wbyz9876"
    old.mkdir(parents=True)
    assert HostedFolder(sweep, str(tmp_path / "before")).path == str(old)
