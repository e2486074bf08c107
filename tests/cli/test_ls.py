"""The list of sweeps: from where it is found, in which order, and what one sweep that cannot be read costs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from slurmsweep.agents.identity import this_process
from slurmsweep.control.views import sweep_list
from slurmsweep.report.figures import date_text, size_text
from slurmsweep.state import files, projects
from slurmsweep.state.paths import TRIALS_PER_SHARD

WIDTH = 80


@pytest.fixture
def two(make_store):
    """Return two sweeps, the second one newer, by the files' times."""
    stores = [make_store(3, sweep_id="zzzz0001"), make_store(5, sweep_id="aaaa0002")]
    for seconds, store in enumerate(stores, 1_000_000):
        os.utime(store.layout.manifest, (seconds, seconds))
    return stores


def listed(slurmsweep, *words, **where):
    done = slurmsweep("ls", *words, "--json", **where)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_newest_sweep_comes_first(two, slurmsweep):
    assert [row["id"] for row in listed(slurmsweep)] == ["aaaa0002", "zzzz0001"]


def test_a_row_has_stable_fields(slurmsweep, write_sweep, tmp_path):
    file = write_sweep("import sys; sys.exit('2' in sys.argv[1])", extra="name: mnist")
    slurmsweep("run", str(file), "--backend", "local")

    [row] = listed(slurmsweep)

    folder = tmp_path / ".slurmsweep" / f"sweep-{row['id']}"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert row.pop("created") <= row.pop("changed")
    assert row == {
        "id": row["id"],
        "name": "mnist",
        "state": "finished",
        "canary": False,
        "method": "grid",
        "trials": 3,
        "finished": 2,
        "stopped_early": 0,
        "ended_otherwise": 1,
        "running": 0,
        "started": 3,
        "bytes": size,
        "bytes_are_estimated": False,
        "source": str(file),
        "folder": str(folder),
        "error": None,
    }


def test_a5_progress_date_and_size_are_shown_in_the_width_of_a_terminal(slurmsweep, write_sweep):
    extra = "name: a name that has far more letters than a table has room for, and goes on"
    slurmsweep("run", str(write_sweep("pass", extra=extra)), "--backend", "local")
    [row] = listed(slurmsweep)

    lines = slurmsweep("ls").stdout.splitlines()

    assert max(map(len, lines)) <= WIDTH
    assert lines[0].split() == ["sweep", "state", "done", "made", "size", "name", "file"]
    assert lines[2].startswith(f"{row['id']}  finished  3/3")
    assert size_text(row["bytes"]) in lines[2]
    assert date_text(row["created"]) in lines[2]


def test_a5_a_date_is_whole_where_all_columns_are_filled(make_store, slurmsweep, write_sweep, tmp_path):
    """A failure and a sweep that cannot be read make the table wider than a terminal."""
    file = write_sweep("import sys; sys.exit('2' in sys.argv[1])", extra="name: mnist")
    slurmsweep("run", str(file.rename(tmp_path / "learning-rates.yaml")), "--backend", "local")
    [row] = listed(slurmsweep)
    Path(make_store(3, sweep_id="zzzz0001").layout.manifest).write_text("{")

    lines = slurmsweep("ls").stdout.splitlines()

    assert max(map(len, lines)) <= WIDTH
    assert lines[0].split() == ["sweep", "state", "done", "failed", "made", "size", "name", "file"]
    [shown] = [line for line in lines if line.startswith(row["id"])]
    assert f"  {date_text(row['created'])}  " in shown
    assert shown.split()[-2:] == ["mnist", "learning-…"]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1 << 30, "1.0 GiB"), (5 << 50, "5120 TiB")]
)
def test_sizes_are_written_in_one_way(size, text):
    assert size_text(size) == text


def test_of_a_sweep_with_many_files_some_trials_stand_for_all(make_store, slurmsweep, monkeypatch):
    """Each look costs a question to the file server: four thousand for a list, however many files there are."""
    monkeypatch.setattr(sweep_list, "_LOOKS", 100)
    store = make_store(300)
    for _ in range(40):
        claim = store.claim(this_process({}))
        Path(store.layout.log(claim.attempt_id)).write_bytes(b"x" * 100)
        Path(store.layout.owner(claim.attempt_id)).write_bytes(b"")
    rest = sum(Path(path).stat().st_size for path in (store.layout.journal, store.layout.manifest))

    [row] = listed(slurmsweep)

    assert (row["bytes"], row["bytes_are_estimated"]) == (rest + 40 * 100, True)
    assert "~" in slurmsweep("ls").stdout


def test_a_search_without_an_end_has_no_number_of_trials_and_says_how_many_were_started(make_store, slurmsweep):
    store = make_store(None)
    for _ in range(2):
        store.claim(this_process({}))

    [row] = listed(slurmsweep)

    assert (row["trials"], row["started"]) == (None, 2)


def test_a_removal_that_was_broken_off_is_named(two, slurmsweep, tmp_path):
    rest = tmp_path / ".slurmsweep" / ".removed-zzzz0001"
    os.rename(two[0].layout.folder, rest)
    (tmp_path / "wandb" / "sweep-zzzz0001").unlink()

    done, rows = slurmsweep("ls"), listed(slurmsweep)

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "slurmsweep: the removal of sweep zzzz0001 was broken off: `slurmsweep rm zzzz0001` removes the rest"
    ]
    assert [(row["id"], row["state"], row["error"]) for row in rows] == [
        ("aaaa0002", "pending", None),
        ("zzzz0001", "half removed", None),
    ]
    assert rows[1]["folder"] == str(rest)
    assert slurmsweep("rm", "zzzz0001", "--yes").returncode == 0
    assert [row["id"] for row in listed(slurmsweep)] == ["aaaa0002"]


@pytest.mark.parametrize("command", ["run", "resubmit"])
def test_a_project_is_known_from_the_first_trials_that_are_started_in_it(make_store, slurmsweep, tmp_path, command):
    """The sweep was made by another user, or this user's list was deleted."""
    make_store(1)
    (tmp_path / "train.py").write_text("pass")
    assert projects.projects() == []

    slurmsweep(command, "abcd1234", "--backend", "local", "--dry-run")
    assert projects.projects() == []
    slurmsweep(command, "abcd1234", "--backend", "local")

    assert projects.projects() == [str(tmp_path)]


def test_a5_a_damaged_sweep_costs_its_own_line(two, slurmsweep):
    Path(two[0].layout.manifest).write_text("{")

    done, document = slurmsweep("ls"), json.loads(slurmsweep("ls", "--json").stdout)

    assert done.returncode == 5
    assert [line.split()[:2] for line in done.stdout.splitlines()[2:]] == [
        ["zzzz0001", "unreadable"],  # what was written last
        ["aaaa0002", "pending"],
    ]
    assert done.stderr.count("\n") == 1
    assert "sweep zzzz0001: " in done.stderr
    assert [bool(row["error"]) for row in document] == [True, False]
    assert "sweep.json is damaged" in document[0]["error"]


def test_another_users_private_sweep_is_no_damage(make_store, open_folder, as_user):
    stores = [make_store(3, open_folder, sweep_id=sweep) for sweep in ("aaaa0001", "bbbb0002")]
    for path in [open_folder, *open_folder.rglob("*")]:
        shutil.chown(path, 4711 if "bbbb" in str(path) else 4242)
    for folder in (".slurmsweep", "wandb"):
        os.chmod(open_folder / folder, 0o755)
    for seconds, store in enumerate(stores, 1_000_000):
        os.utime(store.layout.manifest, (seconds, seconds))

    done = as_user(4242, "ls")

    assert done.returncode == 0, done.stderr
    assert sorted(line.split()[:2] for line in done.stdout.splitlines()[2:]) == [
        ["aaaa0001", "pending"],
        ["bbbb0002", "unreadable"],
    ]


@pytest.mark.parametrize("below", ["src/deep", "wandb", "wandb/sweep-aaaa0002", ".slurmsweep/sweep-zzzz0001/trials"])
def test_sweeps_are_found_from_any_folder_of_the_project(two, slurmsweep, tmp_path, below):
    (tmp_path / "src" / "deep").mkdir(parents=True)

    done = slurmsweep("ls", cwd=tmp_path / below)

    assert [line[:8] for line in done.stdout.splitlines()[3:]] == ["aaaa0002", "zzzz0001"]
    assert done.stdout.splitlines()[0] == str(tmp_path)
    assert "sweep aaaa0002" in slurmsweep("status", cwd=tmp_path / below).stdout
    assert slurmsweep("status", "zzzz", cwd=tmp_path / below).returncode == 0


def test_sweeps_above_a_folder_that_every_user_may_write_to_are_not_found(two, slurmsweep, tmp_path):
    """As in /tmp: any user may have made them."""
    (tmp_path / "mine").mkdir()
    os.chmod(tmp_path, 0o1777)

    assert slurmsweep("status", cwd=tmp_path / "mine").returncode == 3
    assert slurmsweep("status", "aaaa0002", cwd=tmp_path / "mine").returncode == 3
    assert slurmsweep("status", "aaaa0002").returncode == 0


def test_a_folder_that_is_named_is_the_only_one(two, slurmsweep, tmp_path):
    (tmp_path / "other").mkdir()

    assert slurmsweep("status", WANDB_DIR=str(tmp_path / "other")).returncode == 3


def test_a_canary_is_marked(slurmsweep, write_sweep):
    slurmsweep("plan", str(write_sweep("pass")), "--canary", "--backend", "local")

    assert [(row["canary"], row["trials"]) for row in listed(slurmsweep)] == [(True, 1)]
    assert slurmsweep("ls").stdout.splitlines()[2].split()[-2:] == ["canary", "sweep.yaml"]


def test_all_projects_of_a_user_are_listed(slurmsweep, write_sweep, tmp_path):
    file, made = str(write_sweep("pass")), {}
    for name in ("one", "two", "gone"):
        (tmp_path / name).mkdir()
        made[name] = slurmsweep("create", file, cwd=tmp_path / name).stdout.strip()
    shutil.rmtree(tmp_path / "gone")
    (tmp_path / "elsewhere").mkdir()

    done = slurmsweep("ls", "--all", cwd=tmp_path / "elsewhere")

    assert {row["id"] for row in listed(slurmsweep, "--all", cwd=tmp_path / "elsewhere")} == {made["one"], made["two"]}
    assert [line for line in done.stdout.splitlines() if line.startswith("/")] == [
        str(tmp_path / name) for name in ("two", "one")
    ]


def test_the_list_of_projects_has_each_once_the_newest_last(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for root in ("/a", "/b", "/a", "/a", "/new\nline"):
        projects.remember(root)

    assert (tmp_path / "slurmsweep" / "projects").read_text() == "/b\n/a\n"
    assert projects.projects() == ["/b", "/a"]


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null/state"])
def test_a_home_that_cannot_be_written_to_stops_no_sweep(slurmsweep, write_sweep, home):
    done = slurmsweep("run", str(write_sweep("pass")), "--backend", "local", XDG_STATE_HOME=home, HOME=home)

    assert done.returncode == 0, done.stderr
    assert home not in done.stderr
    assert len(listed(slurmsweep, "--all", XDG_STATE_HOME=home)) == 1


def test_agents_do_not_write_the_list(slurmsweep_process, make_store, tmp_path):
    (tmp_path / "train.py").write_text("")
    store = make_store(1)

    assert slurmsweep_process("agent", store.layout.folder).returncode == 0
    assert not files.status_of(str(tmp_path / "state-of-the-user"))


def test_a_trial_is_measured_whole_in_its_shard(make_store):
    store = make_store(2 * TRIALS_PER_SHARD)
    folder = Path(store.layout.trial(TRIALS_PER_SHARD))
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last").write_bytes(b"x" * 7)
    (folder / "link").symlink_to(store.layout.manifest)

    found = files.measure(str(folder))

    assert found == files.FolderSize(7 + (folder / "link").lstat().st_size, 3)
    assert files.measure(str(folder), 2).entries == 2
    assert not files.measure(str(folder), 2).is_whole
    assert files.measure(str(folder), without=str(folder / "checkpoints")).entries == 1
