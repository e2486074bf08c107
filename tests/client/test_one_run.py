"""What a run keeps, and what it does when the disk, a fork or a second process comes in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture
def run_script(tmp_path):
    """Run a script in a folder of its own; with ``trial`` as a trial whose attempt's folder is ``tmp_path/a``."""

    def run(code, *, trial=False, **environ):
        (tmp_path / "cwd").mkdir(exist_ok=True)
        (tmp_path / "a").mkdir(exist_ok=True)
        in_trial = {"SLURMSWEEP_ATTEMPT_DIR": str(tmp_path / "a"), "SLURMSWEEP_SWEEP": str(tmp_path)} if trial else {}
        done = subprocess.run(
            [sys.executable, "-c", f"import os, sys, slurmsweep as wandb\n{code}"],
            env=os.environ | in_trial | environ, cwd=tmp_path / "cwd", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    return run


def rows(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_a_step_metric_is_logged_along_with_what_is_drawn_over_it(run_script, tmp_path):
    run_script(
        "wandb.init()\nwandb.define_metric('val/*', step_metric='epoch')\nwandb.define_metric('free', step_metric='epoch', step_sync=False)\n"
        "wandb.log({'val/loss': 0})\nwandb.log({'epoch': 5})\nwandb.log({'val/loss': 1})\nwandb.log({'free': 2})",
        trial=True,
    )

    logged = [{key: value for key, value in row.items() if key[0] != "_"} for row in rows(tmp_path / "a")[:-1]]
    assert logged == [{"val/loss": 0}, {"epoch": 5}, {"val/loss": 1, "epoch": 5}, {"free": 2}]


def test_best_is_by_goal_and_the_longest_beginning_counts(run_script):
    done = run_script(
        "run = wandb.init()\nrun.define_metric('a*', summary='best', goal='maximize')\nrun.define_metric('acc*', summary='min')\n"
        "[run.log({'a': v, 'acc': v}) for v in (1, 3, 2)]\nprint(run.summary)"
    )

    assert done.stdout.strip() == "{'a': {'best': 3}, 'acc': {'min': 1}}"


def test_without_a_sweep_a_named_folder_keeps_the_history(run_script, tmp_path):
    for n, (call, environ) in enumerate([("init()", {"WANDB_DIR": str(tmp_path / "0")}), ("init(dir='../1')", {})]):
        run_script(f"wandb.{call}\nwandb.log({{'x': 1}})", **environ)

        [folder] = (tmp_path / str(n) / "wandb").iterdir()
        assert folder.name.startswith("native-run-")
        assert rows(folder)[0]["x"] == 1


@pytest.mark.parametrize("how", ["init(mode='disabled')", "init(settings=wandb.Settings(mode='disabled'))", "init()"])
def test_a_disabled_run_keeps_nothing(run_script, tmp_path, how):
    environ = {"WANDB_MODE": "disabled"} if how == "init()" else {}
    done = run_script(
        f"run = wandb.{how}\nrun.log({{'x': 1}})\nrun.log_code()\nprint(run.disabled)", trial=True, **environ
    )

    assert done.stdout.strip() == "True"
    assert list((tmp_path / "a").iterdir()) == []


def test_defaults_come_from_files_under_those_of_the_script_under_the_sweep(run_script, tmp_path):
    from slurmsweep.agents import params_file

    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "config-defaults.yaml").write_text(
        "wandb_version: 1\na: {value: 1, desc: of no use}\nb: {value: 1}\nc: {value: 1}\nd: {value: {k: 1}}\n"
    )
    (tmp_path / "more.yaml").write_text("b: {value: 2}\nc: {value: 2}\n")
    (tmp_path / "given.yaml").write_text("c: {value: 3}\ne: {value: 3}\nf: {value: 3}\n")
    (tmp_path / "params.yaml").write_text(params_file.render({"e": 4, "d": {"j": 4}}))

    done = run_script(
        "print(dict(sorted(wandb.init(config='../given.yaml', config_exclude_keys=['f']).config.items())))",
        WANDB_CONFIG_PATHS=str(tmp_path / "more.yaml"),
        WANDB_SWEEP_PARAM_PATH=str(tmp_path / "params.yaml"),
    )

    assert done.stdout.strip() == "{'a': 1, 'b': 2, 'c': 3, 'd': {'j': 4, 'k': 1}, 'e': 4}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\n", "a: must be a mapping with `value`, as in `a: {value: 1}`"),
        ("- a\n", "must be a mapping of names"),
        ("a: [\n", "the configuration cannot be read from"),
    ],
)
def test_a_wrong_file_of_defaults_says_what_is_wrong(tmp_path, monkeypatch, text, problem):
    from slurmsweep.client import configuration
    from slurmsweep.errors import UsageError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "config-defaults.yaml").write_text(text)

    with pytest.raises(UsageError, match=r"config-defaults\.yaml") as caught:
        configuration.default_values()
    assert problem in str(caught.value)


def test_the_sweeps_project_and_id_come_before_the_scripts(run_script):
    done = run_script(
        "run = wandb.init(project='p2', entity='e', id='mine', name='shown')\nprint(run.project, run.id, run.name, run.sweep_id, run.resumed)",
        WANDB_SWEEP_ID="abcd1234", WANDB_RUN_ID="abcd1234-7", WANDB_PROJECT="p1", SLURMSWEEP_ATTEMPT="2",
    )  # fmt: skip

    assert done.stdout.strip() == "p1 abcd1234-7 shown abcd1234 True"
    assert "Ignoring project 'p2' when running a sweep." in done.stderr


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("init(reinit='create_new')", "a trial has one run at a time"),
        ("init(mode='onlin')", "use one of online, offline, disabled"),
        ("init(config_include_keys=['a'], config_exclude_keys=['b'])", "not both"),
        ("init().save('x', policy='now and then')", "use live, end or now"),
        ("init().define_metric('x', goal='up')", "use minimize or maximize"),
        ("Image", "import wandb"),
    ],
)
def test_what_cannot_be_meant_is_said(run_script, call, problem):
    done = run_script(f"try: wandb.{call}\nexcept (wandb.Error, AttributeError) as error: print(error)")

    assert problem in done.stdout


def test_finish_makes_place_for_the_next_run_and_keeps_the_exit_code(run_script, tmp_path):
    code = (
        "with wandb.init() as run: run.log({'x': 1})\n"
        "assert wandb.run is None\n"
        "try:\n with wandb.init() as run:\n  run.log({'x': 2}); sys.exit(7)\nexcept SystemExit: pass\n"
        "wandb.init(); wandb.finish(3)\nwandb.init()"
    )
    run_script(code, trial=True)

    ends = [row.get("_exit_code") for row in rows(tmp_path / "a") if "_summary" in row]
    assert ends == [0, 7, 3, None]


def test_an_exception_that_ends_the_script_is_in_the_history(tmp_path):
    code = "import slurmsweep; slurmsweep.init(dir='.'); slurmsweep.log({'x': 1}); 1/0"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True)

    [folder] = (tmp_path / "wandb").iterdir()
    assert rows(folder)[-1] == {"_summary": {"x": 1}, "_exit_code": 1}


def test_a_second_process_of_a_trial_and_a_forked_one_log_nothing(run_script, tmp_path):
    code = (
        "import subprocess\nwandb.init()\nwandb.log({'x': 1})\n"
        "child = 'import slurmsweep; slurmsweep.init(); slurmsweep.log(dict(x=2))'\n"
        "print(subprocess.run([sys.executable, '-c', child], check=True, capture_output=True, text=True).stderr)\n"
        "if os.fork() == 0:\n wandb.log({'x': 3})\n wandb.log({'x': 4})\n wandb.finish()\n os._exit(0)\n"
        "os.wait()\nwandb.log({'x': 5})"
    )
    done = run_script(code, trial=True)

    assert [row.get("x") for row in rows(tmp_path / "a")] == [1, 5, None]
    assert "another process of this trial writes" in done.stdout
    assert done.stderr.count("a forked process logs") == 1


def test_a_forked_process_that_lives_on_does_not_keep_the_file(run_script, tmp_path):
    code = (
        "import time, signal\nwandb.init()\nchild = os.fork()\nif child == 0:\n time.sleep(100)\n os._exit(0)\n"
        "wandb.finish()\nwandb.init()\nwandb.log({'x': 1})\nos.kill(child, signal.SIGKILL)"
    )
    done = run_script(code, trial=True)

    assert [row.get("x") for row in rows(tmp_path / "a")] == [None, 1, None]
    assert done.stderr == ""


def test_rows_after_a_torn_line_are_whole(run_script, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "history.jsonl").write_text('{"x": 1}\n{"x": 2, "lo')
    run_script("wandb.init()\nwandb.log({'x': 3})", trial=True)

    lines = (tmp_path / "a" / "history.jsonl").read_text().splitlines()
    assert lines[:2] == ['{"x": 1}', '{"x": 2, "lo']
    assert json.loads(lines[2])["x"] == 3


def test_a_full_disk_ends_no_training(run_script, tmp_path):
    """A limit on the size of files stands for the disk: both end a write in the middle of a row."""
    code = (
        "import resource\nwandb.init()\nresource.setrlimit(resource.RLIMIT_FSIZE, (150, resource.RLIM_INFINITY))\n"
        "for x in range(9): wandb.log({'x': x})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "wandb.log({'x': 'again'})"
    )
    done = run_script(code, trial=True)

    assert done.stderr.count("logged values are lost") == 1
    lines = (tmp_path / "a" / "history.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["x"] == 0
    assert json.loads(lines[-2])["x"] == "again"


def test_threads_log_whole_rows(run_script, tmp_path):
    code = (
        "from concurrent.futures import ThreadPoolExecutor\nwandb.init()\n"
        "with ThreadPoolExecutor(8) as pool: list(pool.map(lambda x: wandb.log({'x': x}), range(500)))"
    )
    run_script(code, trial=True)

    logged = rows(tmp_path / "a")[:-1]
    assert sorted(row["x"] for row in logged) == list(range(500))
    assert [row["_step"] for row in logged] == list(range(500))


def test_code_is_one_archive_for_all_trials_that_ran_the_same(run_script, tmp_path):
    (tmp_path / "cwd" / "pkg").mkdir(parents=True)
    (tmp_path / "cwd" / "venv" / "lib").mkdir(parents=True)
    (tmp_path / "cwd" / "wandb").mkdir()
    for name, text in {
        "train.py": "1", "pkg/net.py": "2", "data.csv": "no", "requirements.txt": "torch", "venv/pyvenv.cfg": "",
        "venv/lib/x.py": "no", "wandb/y.py": "no",
    }.items():  # fmt: skip
        (tmp_path / "cwd" / name).write_text(text)

    paths = [run_script("wandb.init()\nprint(wandb.run.log_code())", trial=True).stdout.strip() for _ in range(2)]
    (tmp_path / "cwd" / "train.py").write_text("changed")
    changed = run_script("wandb.init()\nprint(wandb.run.log_code())", trial=True).stdout.strip()

    assert paths[0] == paths[1] != changed
    assert sorted(os.listdir(tmp_path / "code")) == sorted(map(os.path.basename, [paths[0], changed]))
    with zipfile.ZipFile(paths[0]) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "pkg/net.py": b"2", "requirements.txt": b"torch", "train.py": b"1",
        }  # fmt: skip
    named = [row["_code"] for row in rows(tmp_path / "a") if "_code" in row]
    assert os.path.normpath(tmp_path / "a" / named[0]) == paths[0]


def test_code_is_what_the_script_says_it_is(run_script, tmp_path):
    (tmp_path / "cwd").mkdir()
    for name in ("a.py", "b.ipynb", "c.py"):
        (tmp_path / "cwd" / name).write_text(name)
    code = (
        "run = wandb.init()\nchosen = lambda path: path.endswith(('.py', '.ipynb'))\n"
        "print(run.log_code('.', 'my code/1', include_fn=chosen, exclude_fn=lambda path, root: os.path.relpath(path, root) == 'c.py'))\n"
        "print(run.log_code('.', include_fn=lambda path: False))"
    )
    path, none = run_script(code, trial=True).stdout.split()

    assert os.path.basename(path).startswith("my-code-1-")
    assert sorted(zipfile.ZipFile(path).namelist()) == ["a.py", "b.ipynb"]
    assert none == "None"


def test_saved_files_are_copied_with_their_folders_and_again_at_the_end(run_script, tmp_path):
    code = (
        "run = wandb.init()\nos.makedirs('out/deep')\n"
        "for name in ('out/a.txt', 'out/deep/b.txt', 'out/now.txt'): open(name, 'w').write('early')\n"
        "run.save('out/a.txt')\nrun.save('out/now.txt', policy='now')\n"
        "run.save(os.path.abspath('out/deep/b.txt'), base_path=os.path.abspath('out'))\n"
        "assert run.save('nothing*') == []\n"
        "inside = os.path.join(run.dir, 'made.txt'); open(inside, 'w').write('here'); assert run.save(inside) == [inside]\n"
        "for name in ('out/a.txt', 'out/now.txt'): open(name, 'w').write('late, longer')"
    )
    run_script(code, trial=True)

    files = tmp_path / "a" / "files"
    kept = {str(path.relative_to(files)): path.read_text() for path in files.rglob("*") if path.is_file()}
    assert kept == {"out/a.txt": "late, longer", "out/now.txt": "early", "deep/b.txt": "early", "made.txt": "here"}


def test_what_is_made_in_a_shared_sweep_is_shared(run_script, tmp_path):
    (tmp_path / "a").mkdir()
    for folder in (tmp_path, tmp_path / "a"):
        folder.chmod(0o2770)
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "x.py").write_text("1")
    run_script("os.umask(0o077)\nrun = wandb.init()\nrun.log_code()\nrun.save('x.py')", trial=True)

    modes = {oct(os.stat(tmp_path / name).st_mode & 0o7777) for name in ("code", "a/files")}
    files = [*(tmp_path / "code").iterdir(), tmp_path / "a" / "files" / "x.py", tmp_path / "a" / "history.jsonl"]
    assert modes == {"0o2770"}
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o660"}


def test_alerts_are_in_the_log_and_the_history(run_script, tmp_path):
    done = run_script("wandb.init()\nwandb.alert('Low accuracy', 'below 0.1', level=wandb.AlertLevel.WARN)", trial=True)

    assert "ALERT WARN Low accuracy: below 0.1" in done.stderr
    assert rows(tmp_path / "a")[0]["_alert"]["title"] == "Low accuracy"


@pytest.fixture
def second_attempt(run_script, tmp_path, monkeypatch):
    """Run a script as attempt 2 of a trial whose first attempt wrote these rows; return its own rows."""

    def second_attempt(before, script) -> list[dict]:
        (tmp_path / "1").mkdir()
        (tmp_path / "2").mkdir()
        (tmp_path / "1" / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in before) + '{"torn')
        environ = {"SWEEP": tmp_path, "ATTEMPT_DIR": tmp_path / "2", "ATTEMPT": 2, "FIRST_ATTEMPT": 1}
        for name, value in environ.items():
            monkeypatch.setenv(f"SLURMSWEEP_{name}", str(value))
        run_script(f"run = wandb.init()\n{script}")
        return rows(tmp_path / "2")

    return second_attempt


BEFORE = [
    {"_define": {"name": "loss", "summary": ["min", "mean"], "goal": None}},
    {"loss": 3, "_step": 0},
    {"loss": 1, "acc": 0.5, "_step": 1},
]


def test_a_later_attempt_goes_on_with_steps_and_summary(second_attempt):
    *logged, last = second_attempt(BEFORE, "run.log({'loss': 2})\nrun.log({'loss': 2})")

    assert [(row["_step"], row["_attempt_step"]) for row in logged] == [(2, 0), (3, 1)]
    assert last["_summary"] == {"loss": {"min": 1, "mean": 2.0}, "acc": 0.5}


def test_what_a_script_sets_in_the_summary_is_written_at_once_and_goes_on(second_attempt):
    before = [*BEFORE, {"_summary_set": {"best_epoch": 7}}, {"_summary_set": {"acc": 0.9}}]
    script = "run.summary['note'] = 'x'\nrun.summary.update({'a': 1, 'b': 2})\nrun.log({'acc': 0.1})\nos._exit(0)"

    told = second_attempt(before, "import os\n" + script)

    assert told[:3] == [{"_summary_set": {"note": "x"}}, {"_summary_set": {"a": 1}}, {"_summary_set": {"b": 2}}]
    assert [row["acc"] for row in told[3:]] == [0.1]


def test_a_later_attempt_may_begin_with_an_earlier_step(second_attempt):
    script = "run.log({'loss': 9}, step=1)\nrun.log({'loss': 8}, step=0)\nrun.log({'loss': 7}, step=2)\n"

    *logged, last = second_attempt(BEFORE, script)

    assert [(row["_step"], row["loss"]) for row in logged] == [(1, 9), (2, 7)]
    assert all("_attempt_step" not in row for row in logged)
    assert last["_summary"]["loss"]["min"] == 1


def test_after_an_attempt_that_diverged_the_next_one_has_extremes_again(second_attempt):
    diverged = [*BEFORE, {"loss": float("nan"), "_step": 2}]

    *_, last = second_attempt(diverged, "run.log({'loss': 2})")

    assert last["_summary"]["loss"]["min"] == 2
