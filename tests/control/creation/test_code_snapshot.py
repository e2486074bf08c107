"""A sweep that keeps a copy of the code: what is copied, and what its trials run, whatever becomes of the folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys

import pytest

from slurmsweep.control.creation import code_selection
from slurmsweep.sweepfile.load import load

SCRIPT = "import helper, os\nprint('ran', helper.VERSION, os.getcwd())\n"
KEEPING = "slurmsweep: {{snapshot: {}}}"


def git(folder, *words: str) -> str:
    name = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "protocol.file.allow=always")
    return subprocess.run(["git", "-C", folder, *name, *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def project(write_sweep, tmp_path):
    """Make a sweep file with this value of ``snapshot``, and a program with a module, in a repository."""

    def make(wanted: str = "true", *, repository: bool = True):
        file = write_sweep(SCRIPT, "  x: {values: [1, 2]}", KEEPING.format(wanted))
        (tmp_path / "helper.py").write_text("VERSION = 1\n")
        if repository:
            git(tmp_path, "init", "-q")
            git(tmp_path, "add", "-A")
            git(tmp_path, "commit", "-qm", "first")
        return file

    return make


@pytest.fixture
def copy_of(tmp_path):
    return lambda sweep: tmp_path / ".slurmsweep" / f"sweep-{sweep}" / "source"


def files_in(copy) -> list[str]:
    return sorted(
        str(path.relative_to(copy)) for path in copy.rglob("*") if not path.is_dir() and path.suffix != ".pyc"
    )


def create(slurmsweep, file, *words: str) -> str:
    done = slurmsweep("create", str(file), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def logs(slurmsweep, sweep: str, trial: int = 0) -> str:
    return slurmsweep("logs", sweep, str(trial)).stdout


@pytest.mark.parametrize("repository", [True, False])
def test_trials_run_the_code_as_it_was_also_when_they_run_again(slurmsweep, project, copy_of, tmp_path, repository):
    sweep = create(slurmsweep, project(repository=repository))
    (tmp_path / "helper.py").write_text("VERSION = 2\n")

    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
    (tmp_path / "helper.py").unlink()
    (tmp_path / "train.py").unlink()
    assert slurmsweep("rerun", sweep, "--trials", "0").returncode == 0
    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0

    assert logs(slurmsweep, sweep) == logs(slurmsweep, sweep, 1) == f"ran 1 {copy_of(sweep)}\n"
    assert slurmsweep("check", sweep).returncode == 0


def test_wandb_is_told_the_commit_of_the_copy(slurmsweep, project, tmp_path):
    file = project()
    (tmp_path / "helper.py").write_text("import os\nVERSION = os.environ['WANDB_GIT_COMMIT']\n")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    sweep = create(slurmsweep, file)
    git(tmp_path, "commit", "-qam", "second")

    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
    assert logs(slurmsweep, sweep).startswith(f"ran {commit} ")


def test_git_says_what_is_copied(slurmsweep, project, copy_of, tmp_path):
    file = project()
    (tmp_path / ".gitignore").write_text("data/\n*.log\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.csv").write_text("x")
    (tmp_path / "helper.py").write_text("VERSION = 7\n")
    (tmp_path / "new.py").touch()
    (tmp_path / ".env").write_text("TOKEN=1")
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "debug.txt").touch()
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)

    done = slurmsweep("create", str(file))
    copy = copy_of(done.stdout.strip())

    assert files_in(copy) == [".env", ".gitignore", "helper.py", "new.py", "sweep.yaml", "tool", "train.py"]
    assert (copy / "helper.py").read_text() == "VERSION = 7\n"
    assert stat.S_IMODE((copy / "tool").stat().st_mode) == 0o500
    assert stat.S_IMODE((copy / "new.py").stat().st_mode) == 0o400
    assert "not copied, because git ignores it: data/" in done.stderr
    assert "files that git does not know: .env, .gitignore, new.py, tool" in done.stderr
    assert "warning: what may be secret is copied, too: .env" in done.stderr
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert f"commit {commit[:12]} and what has changed since" in done.stderr
    document = json.loads((copy.parent / "sweep.json").read_text())["snapshot"]
    assert (document["commit"], document["changed"], document["files"]) == (commit, True, 7)


def test_a_program_below_the_top_of_its_repository_runs_in_the_same_place_of_the_copy(slurmsweep, tmp_path):
    source = tmp_path / "src"
    source.mkdir()
    (tmp_path / "common.txt").write_text("shared\n")
    (source / "train.py").write_text(
        "import os\nprint(open('../common.txt').read(), open('../data/x').read(), os.environ['SLURMSWEEP_WORKDIR'])\n"
    )
    (source / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nparameters: {x: {value: 1}}\nslurmsweep: {snapshot: {link: [../data]}}\n"
    )
    (tmp_path / ".gitignore").write_text("data\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("linked")
    git(tmp_path, "init", "-q")

    done = slurmsweep("run", "src/sweep.yaml", "--backend", "local", "--json")
    assert done.returncode == 0, done.stderr
    (tmp_path / "common.txt").unlink()

    sweep = json.loads(done.stdout)["id"]
    assert logs(slurmsweep, sweep) == f"shared\n linked {source}\n"
    assert (tmp_path / ".slurmsweep" / f"sweep-{sweep}" / "source" / "data").is_symlink()


def test_submodules_worktrees_and_links(slurmsweep, project, copy_of, tmp_path):
    file = project()
    inner = tmp_path.parent / f"{tmp_path.name}-inner"
    inner.mkdir()
    (inner / "lib.py").write_text("V = 1\n")
    git(inner, "init", "-q")
    git(inner, "add", "-A")
    git(inner, "commit", "-qm", "inner")
    git(tmp_path, "submodule", "add", "-q", str(inner), "third")
    (tmp_path / "third" / "lib.py").write_text("V = 2\n")
    (tmp_path / "near").symlink_to("helper.py")
    (tmp_path / "far").symlink_to("../elsewhere")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "second")
    tree = tmp_path / "tree"
    git(tmp_path, "worktree", "add", "-q", str(tree))

    done = slurmsweep("create", str(file))
    copy = copy_of(done.stdout.strip())
    assert (copy / "third" / "lib.py").read_text() == "V = 2\n"
    assert os.readlink(copy / "near") == "helper.py"
    assert os.readlink(copy / "far") == str(tmp_path.parent / "elsewhere")
    assert "links that lead out of it stay links to what is there: far" in done.stderr

    done = slurmsweep("create", "sweep.yaml", cwd=tree)
    assert (tree / ".slurmsweep" / f"sweep-{done.stdout.strip()}" / "source" / "helper.py").exists()


def test_nothing_is_written_through_a_link_into_the_original(slurmsweep, project, copy_of, tmp_path):
    elsewhere = tmp_path.parent / f"{tmp_path.name}-scratch"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link.csv").symlink_to("../../other.csv")
    (tmp_path / "data" / "table.csv").touch()
    file = project()
    os.rename(tmp_path / "data", elsewhere)
    (tmp_path / "data").symlink_to(f"../{elsewhere.name}")

    copy = copy_of(create(slurmsweep, file))  # git still knows data/table.csv and data/link.csv
    assert os.readlink(copy / "data") == str(elsewhere)
    assert os.readlink(elsewhere / "link.csv") == "../../other.csv"
    assert slurmsweep("check", copy.parent.name.removeprefix("sweep-")).returncode == 0

    for wanted in ("{link: [data/link.csv]}", "{link: [results, results/x]}"):
        (tmp_path / "results" / "x").mkdir(parents=True, exist_ok=True)
        other = tmp_path / "other.yaml"
        other.write_text(file.read_text().replace("snapshot: true", f"snapshot: {wanted}"))
        done = slurmsweep("plan", str(other))
        assert (done.returncode, "is below another link" in done.stderr) == (2, True), done.stderr
    assert os.readlink(elsewhere / "link.csv") == "../../other.csv"


def test_rules_leave_files_out_and_the_program_may_not_be_one(slurmsweep, project, copy_of, tmp_path):
    file = project("{exclude: [results, '*.bin']}", repository=False)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.py").touch()
    (tmp_path / "b.bin").touch()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").touch()
    assert files_in(copy_of(create(slurmsweep, file))) == ["helper.py", "sweep.yaml", "train.py"]

    done = slurmsweep("create", str(project("{exclude: ['*.py'], link: [nothing]}", repository=False)))
    assert done.returncode == 2
    assert "program 'train.py' is not copied" in done.stderr
    assert f"there is nothing at {tmp_path / 'nothing'}" in done.stderr


@pytest.mark.parametrize("wanted", ["1", "[a]", "{excluded: [a]}", "{exclude: a}", "{link: [/data]}", "{link: ['..']}"])
def test_wrong_rules_are_refused_with_their_place(slurmsweep, project, wanted):
    done = slurmsweep("create", str(project(wanted, repository=False)))
    assert (done.returncode, "slurmsweep.snapshot" in done.stderr) == (2, True)


def test_what_is_too_large_is_refused_with_the_largest(slurmsweep, project, tmp_path):
    file = project()
    (tmp_path / "weights").mkdir()
    with open(tmp_path / "weights" / "last.ckpt", "wb") as big:
        big.truncate(300 << 20)

    for command in ("create", "plan", "run"):
        done = slurmsweep(command, str(file))
        assert done.returncode == 2
        assert "most is in weights/ (300 MiB)" in done.stderr
        assert "name it in .gitignore, or write slurmsweep: {snapshot: {exclude: [weights]}}" in done.stderr
    assert not (tmp_path / ".slurmsweep").exists()
    shutil.rmtree(tmp_path / ".git")
    assert ".gitignore" not in slurmsweep("create", str(file)).stderr


def test_what_is_left_out_is_not_looked_at(project, tmp_path, monkeypatch):
    config = load(str(project("{exclude: [data, '*.bin'], link: [big]}", repository=False))).config
    monkeypatch.setattr(code_selection, "_MOST_ENTRIES", 3)
    for folder in ("data", "big", "."):
        (tmp_path / folder).mkdir(exist_ok=True)
        for number in range(5):
            (tmp_path / folder / f"{number}.bin").touch()

    selection = code_selection.select(config, str(tmp_path), None)
    assert isinstance(selection, code_selection.Selection)
    assert selection.names == ("helper.py", "sweep.yaml", "train.py")


@pytest.mark.parametrize("name", ["closed.py", "closed"])
def test_what_cannot_be_read_is_refused_by_plan_too_and_may_be_left_out(project, tmp_path, name):
    # root reads everything, as long as it is allowed to
    bound = [] if os.geteuid() else ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    closed, file = tmp_path / name, project(repository=False)
    closed.touch() if closed.suffix else closed.mkdir()
    closed.chmod(0)
    try:
        for command in ("plan", "create"):
            argv = [*bound, sys.executable, "-m", "slurmsweep", command, str(file)]
            done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert (done.returncode, f"{closed} cannot be read" in done.stderr) == (2, True), done.stderr
            assert not (tmp_path / ".slurmsweep").exists()
        project(f"{{exclude: [{name}]}}", repository=False)
        assert subprocess.run(argv, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    finally:
        closed.chmod(0o700)


def test_lines_fit_a_folder_without_git_and_a_repository_without_a_commit(slurmsweep, project, tmp_path):
    file = project(repository=False)
    (tmp_path / ".env").touch()
    told = slurmsweep("create", str(file)).stderr
    assert "no repository of git" in told
    assert "may be secret is copied, too: .env; leave it out: slurmsweep: {snapshot: {exclude:" in told
    assert "git does not know" not in told

    git(tmp_path, "init", "-q")
    told = slurmsweep("create", str(file)).stderr
    assert "a repository without a commit" in told
    assert "may be secret is copied, too: .env; name it in .gitignore" in told


def test_the_option_wins_over_the_file(slurmsweep, project, copy_of):
    assert copy_of(create(slurmsweep, project("false"), "--snapshot")).is_dir()
    assert not copy_of(create(slurmsweep, project("true", repository=False), "--no-snapshot")).exists()


def test_check_names_a_file_of_the_copy_that_was_changed(slurmsweep, project, copy_of):
    sweep = create(slurmsweep, project())
    copy = copy_of(sweep)
    (copy / "helper.py").chmod(0o600)
    (copy / "helper.py").write_text("VERSION = 9\n")
    (copy / "train.py").unlink()
    (copy / "outputs.txt").write_text("what a trial wrote")

    done = slurmsweep("check", sweep, "--json")
    found = {finding["subject"]: finding["problem"] for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert found == {"code helper.py": "the copy has changed", "code train.py": "the copy is gone"}

    (copy.parent / "source.json").write_text("{}")
    assert "source.json is not what was written" in slurmsweep("check", sweep).stdout


def test_a_moved_project_runs_its_copy_and_takes_no_other_folder(slurmsweep, project, tmp_path):
    sweep = create(slurmsweep, project(repository=False))
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    os.rename(tmp_path, moved)
    tmp_path.mkdir()

    done = slurmsweep("run", sweep, "--workdir", ".", cwd=moved)
    assert (done.returncode, "its own copy of the code" in done.stderr) == (2, True)
    assert slurmsweep("run", sweep, "--backend", "local", cwd=moved).returncode == 0
    assert slurmsweep("logs", sweep, "0", cwd=moved).stdout == f"ran 1 {moved}/.slurmsweep/sweep-{sweep}/source\n"
    assert f"{tmp_path} differs from it by now: helper.py, " in slurmsweep("check", sweep, cwd=moved).stderr
    shutil.rmtree(tmp_path)
    told = slurmsweep("check", sweep, cwd=moved).stderr
    tmp_path.mkdir()
    assert f"{tmp_path} is gone, or cannot be looked at" in told


def test_a_function_is_called_from_the_copy(slurmsweep, project, copy_of, tmp_path):
    file = project()
    (tmp_path / "work.py").write_text("import helper\ndef go():\n    print('called', helper.VERSION, __file__)\n")
    sweep = create(slurmsweep, file, "--function", "work:go")
    (tmp_path / "work.py").unlink()

    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
    assert logs(slurmsweep, sweep) == f"called 1 {copy_of(sweep)}/work.py\n"

    done = slurmsweep("create", str(file), "--function", "json:dumps")
    assert (done.returncode, "is not copied" in done.stderr) == (2, True)


def test_a_shared_sweep_has_a_copy_that_its_group_reads_and_rm_takes_it_away(slurmsweep, project, copy_of):
    sweep = create(slurmsweep, project(), "--shared=read")
    copy = copy_of(sweep)
    assert stat.S_IMODE((copy / "helper.py").stat().st_mode) == 0o440
    assert stat.S_IMODE(copy.stat().st_mode) == 0o2750

    assert slurmsweep("rm", sweep, "--yes").returncode == 0
    assert not copy.parent.exists()


def test_plan_says_what_would_be_copied_and_writes_nothing(slurmsweep, project, tmp_path):
    document = json.loads(slurmsweep("plan", str(project()), "--json", "--backend", "slurm").stdout)

    assert {"root": str(tmp_path), "files": 3, "changed": False}.items() <= document["snapshot"].items()
    assert document["workdir"].endswith("/source")
    assert f"#SBATCH --chdir={document['workdir']}" in document["sbatch"]
    assert not (tmp_path / ".slurmsweep").exists()


def test_an_editable_package_of_the_project_is_warned_of(slurmsweep, project, tmp_path):
    done = slurmsweep("create", str(project()), PYTHONPATH=str(tmp_path / "lib"))
    assert f"imports go to the original through PYTHONPATH ({tmp_path / 'lib'})" in done.stderr


KILLED = """
import os, signal, sys
from slurmsweep.cli.main import main
from slurmsweep.control.creation import code_snapshot
from slurmsweep.state import files
if {name!r} == "copy_read_only":
    files = code_snapshot
left, {name} = [int(sys.argv[1])], files.{name}
def dying(*args, **named):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return {name}(*args, **named)
files.{name} = dying
main(["create", "sweep.yaml"])
"""


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("copy_read_only", 0),
        ("copy_read_only", 2),
        ("sync_folder", 0),
        ("move", 0),
        ("write_once", 1),
        ("write_once", 2),
    ],
)
def test_a_copy_whose_maker_was_killed_is_no_sweep_and_goes_with_the_next(slurmsweep, project, tmp_path, name, place):
    project()
    done = subprocess.run([sys.executable, "-c", KILLED.format(name=name), str(place)], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    state = tmp_path / ".slurmsweep"
    assert [path for path in state.iterdir() if path.name.startswith(".copying-")]

    assert json.loads(slurmsweep("ls", "--json").stdout) == []
    sweep = create(slurmsweep, "sweep.yaml")
    assert {path.name for path in state.iterdir()} == {".gitignore", f"sweep-{sweep}"}
    assert [path.name for path in (tmp_path / "wandb").iterdir()] == [f"sweep-{sweep}"]
    assert slurmsweep("check", sweep).returncode == 0
    assert [one["id"] for one in json.loads(slurmsweep("ls", "--json").stdout)] == [sweep]
