"""Fixtures for all tests: sweeps in temporary folders, and the command line as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from following import Shell, follow
from hypothesis import HealthCheck, settings

from slurmsweep.cli.main import main
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile.config import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TextIO

    from following import Followed

# Nothing is timed in tests: a busy machine is no failure. The same examples in every run, so that a failure is of the
# change that was made; `--hypothesis-profile=explore` tries others, and many of them.
settings.register_profile("slurmsweep", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
settings.register_profile("explore", settings.get_profile("slurmsweep"), derandomize=False, max_examples=2000)
settings.load_profile("slurmsweep")

REPOSITORY = Path(__file__).parent.parent

#: Commands that only read, and commands that change the sweep alone: fixtures run them in the process of the tests,
#: where they cost a hundredth of the CPU time. Others start trials, are sent signals, or load what a user wrote.
READING = ("status", "trials", "show", "logs", "best", "importance", "check", "ls", "efficiency", "plan", "templates")
CHANGING = (
    "create",
    "pause",
    "resume",
    "stop",
    "cancel",
    "delete",
    "rerun",
    "set",
    "share",
    "rm",
    "clean",
    "reconcile",
    "submit",
)

#: Commands that with ``--dry-run`` start nothing either.
REHEARSING = ("run", "resubmit", "sync")

#: Options with which even these load a user's module, or wait for jobs.
_OWN_PROCESS = ("--function", "--wait")

#: An interpreter that all users may run: that of the tests may be in a user's home.
_PYTHON_OF_ALL = "/usr/bin/python3"

#: Variables that Python itself reads when it starts.
_OF_PYTHON = ("PYTHON", "LC_", "LANG", "TZ")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No sweep, job or W&B setting of the surroundings reaches a test, and none writes into the user's home."""
    clean = _environment(tmp_path)
    for name in os.environ.keys() - clean.keys():
        monkeypatch.delenv(name)
    for name, value in clean.items():
        if os.environ.get(name) != value:
            monkeypatch.setenv(name, value)


def _environment(folder: Path) -> dict[str, str]:
    ours = ("WANDB_", "SLURMSWEEP_", "SLURM_", "AWS_BATCH_", "TRAINING_JOB_", "ECS_CONTAINER_METADATA_URI")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours) or name == "SLURM_CONF"}
    # as in an activated virtual environment: `python` is the one with slurmsweep in it
    clean["PATH"] = os.path.dirname(sys.executable) + os.pathsep + clean["PATH"]
    clean["XDG_CONFIG_HOME"] = str(folder / "config")  # no defaults of the user who runs the tests
    for word in ("CACHE", "CONFIG", "DATA"):
        clean[f"WANDB_{word}_DIR"] = str(folder / f"wandb-{word.lower()}")
    clean["XDG_STATE_HOME"] = str(folder / "state-of-the-user")
    return clean


@pytest.fixture
def repository() -> Path:
    """Return the checkout."""
    return REPOSITORY


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., SweepStore]:
    """Return a new sweep with that many points, by default of a grid; ``trials=None`` is a search without an end."""

    def make(
        trials: int | None = 24, root: Path = tmp_path, sweep_id: str = "abcd1234", method: str = "grid"
    ) -> SweepStore:
        method = "random" if trials is None else method
        parameters = {"x": {"min": 0, "max": max(1, (trials or 2) - 1)}}
        document: dict[str, Any] = {"method": method, "program": "train.py", "parameters": parameters}
        if method == "bayes":
            parameters["y"] = {"values": ["a", "b"]}
            document |= {"metric": {"name": "loss"}, "slurmsweep": {"conditions": {"y": {"x": 0}}}}
        config = check(document, "test").config
        return SweepStore.create(str(root), Manifest(sweep_id, config, trials, str(root), "test.yaml", 0.0, "0"))

    return make


@pytest.fixture
def slurmsweep(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line; its current folder is the test's. READING and CHANGING commands get no process."""

    def run(*argv: str, cwd: Path = tmp_path, **environ: str) -> subprocess.CompletedProcess[str]:
        return _command_line(argv, cwd, os.environ | environ)

    return run


@pytest.fixture
def slurmsweep_process(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process of its own, for what only a process has: its end, permissions, modules."""

    def run(*argv: str, cwd: Path = tmp_path, **environ: str) -> subprocess.CompletedProcess[str]:
        return _own_process(argv, cwd, os.environ | environ)

    return run


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that other users can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="slurmsweep-test-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def as_user(open_folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line as another real user of this machine, by number, in :func:`open_folder`."""
    if os.geteuid() != 0:
        pytest.skip("only root can act as other users")
    libraries = os.pathsep.join([str(REPOSITORY), *(path for path in sys.path if path.endswith("site-packages"))])

    def run(
        user: int, *argv: str, group: int | None = None, groups: str = "", umask: int = 0o022, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        who = ["setpriv", f"--reuid={user}", f"--regid={group or user}"]
        who.append(f"--groups={groups}" if groups else "--clear-groups")
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": libraries, "HOME": str(open_folder)}
        return subprocess.run(
            [*who, _PYTHON_OF_ALL, "-m", "slurmsweep", *argv],
            cwd=open_folder,
            env=env | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            umask=umask,
        )

    known = run(4242, "--version")
    if known.returncode:
        pytest.skip(f"other users cannot run {_PYTHON_OF_ALL} with this checkout: {known.stderr[-200:]}")
    return run


@pytest.fixture
def start_agent() -> Callable[[SweepStore, str], subprocess.Popen[bytes]]:
    """Start an agent on a sweep's first trial, for a test to kill; returns once the trial's log has the word."""

    def start(store: SweepStore, word: str) -> subprocess.Popen[bytes]:
        agent = subprocess.Popen(
            [sys.executable, "-m", "slurmsweep", "agent", store.layout.folder], stderr=subprocess.DEVNULL
        )
        log, deadline = Path(store.layout.log((0, 1))), time.monotonic() + 120
        while not (log.exists() and word in log.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return agent

    return start


@pytest.fixture(scope="session")
def run_in(slurmsweep_in) -> Callable[..., str]:
    """Run a grid here, in a folder of its own, for what all tests of a module look at; the sweep's id."""

    def run(folder: Path, script: str, keys: str, values: list[int], *options: str, code: int = 0) -> str:
        (folder / "train.py").write_text(script)
        (folder / "sweep.yaml").write_text(
            f"program: train.py\nmethod: grid\n{keys}\nparameters: {{x: {{values: {values}}}}}\n"
        )
        done = slurmsweep_in(folder, "run", "sweep.yaml", "--backend", "local", *options, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)["id"]

    return run


@pytest.fixture(scope="session")
def slurmsweep_in() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a folder, for what all tests of a module look at."""

    def run(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
        return _command_line(argv, folder, _environment(folder))

    return run


@pytest.fixture(scope="session")
def follow_in() -> Callable[..., Iterator[Followed]]:
    """Follow a page (:func:`following.follow`) in a folder; by the user's defaults all runs on this machine."""

    def run(
        page: Path,
        folder: Path,
        *,
        environ: Mapping[str, str] | None = None,
        words: dict[str, str] | None = None,
        defaults: str = "backend: local\njobs: 2\n",
        **options: Any,
    ) -> Iterator[Followed]:
        surroundings = _environment(folder) | {"COLUMNS": "120", "HOME": str(folder)} | (environ or {})
        file = Path(surroundings["XDG_CONFIG_HOME"], "slurmsweep", "config.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(defaults)
        return follow(page, Shell(folder, surroundings, {} if words is None else words), **options)

    return run


def _command_line(argv: Sequence[str], folder: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    changed = {name for name, value in environ.items() if os.environ.get(name) != value}
    own = (
        not argv
        or not (argv[0] in (*READING, *CHANGING) or (argv[0] in REHEARSING and "--dry-run" in argv))
        or any(word in _OWN_PROCESS for word in argv)
        or any(name.startswith(_OF_PYTHON) for name in changed)
        or threading.active_count() > 1  # the current folder is one for all threads
    )
    return _own_process(argv, folder, environ) if own else _in_process(argv, folder, environ)


def _own_process(argv: Sequence[str], folder: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slurmsweep", *argv],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def _in_process(argv: Sequence[str], folder: Path, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Return the same without a process; what the command line does not handle is raised here."""
    with _stream(1) as out, _stream(2) as err:
        with _surroundings(folder, environ), redirect_stdout(out), redirect_stderr(err):
            try:
                code = main([str(word) for word in argv])
            except SystemExit as end:  # argparse
                code = end.code
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read())
    if code == 128 + signal.SIGINT:  # the command took what was for the tests: they are to end
        raise KeyboardInterrupt
    return subprocess.CompletedProcess([sys.executable, "-m", "slurmsweep", *argv], code, *texts)


@contextmanager
def _stream(descriptor: int) -> Iterator[TextIO]:
    """Return a file in place of that descriptor, which programs that the command starts write to as well."""
    kept = os.dup(descriptor)
    try:
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            os.dup2(file.fileno(), descriptor)
            yield file
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


@contextmanager
def _surroundings(folder: Path, environ: Mapping[str, str]) -> Iterator[None]:
    """Return the current folder, the environment and the empty stdin of a process, until the end of the block."""
    before, variables, stdin = os.getcwd(), dict(os.environ), sys.stdin
    _forget()
    with open(os.devnull, encoding="utf-8") as nothing:
        try:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environ)
            sys.stdin = nothing
            yield
        finally:
            sys.stdin = stdin
            os.environ.clear()
            os.environ.update(variables)
            os.chdir(before)
            _forget()


def _forget() -> None:
    """Empty what the package looks up once per process, such as the name of the cluster."""
    for name, module in list(sys.modules.items()):
        if name.startswith("slurmsweep."):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


@pytest.fixture
def write_sweep(tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep file and its training script; returns the sweep file."""

    def write(script: str, parameters: str = "  x: {values: [1, 2, 3]}", extra: str = "", method: str = "grid") -> Path:
        (tmp_path / "train.py").write_text(script)
        file = tmp_path / "sweep.yaml"
        file.write_text(f"program: train.py\nmethod: {method}\n{extra}\nparameters:\n{parameters}\n")
        return file

    return write
