"""Trials that fail alike run again once the cause may be gone, for an error that may pass, or where a person insists."""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path

import pytest

import slurmsweep
from slurmsweep.control.round.decide import _nodes, decide
from slurmsweep.control.round.observe import observe
from slurmsweep.control.round.retry_policy import ResourceOverride, RetryPlan
from slurmsweep.control.session import Session
from slurmsweep.errors import SweepFileError
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.replay import SweepView
from slurmsweep.state.store import SweepStore
from slurmsweep.state.supervisor_files import SupervisorSettings
from slurmsweep.state.tail import AttemptId
from slurmsweep.state.trial import Attempt
from slurmsweep.supervisor.rounds import policy_of
from slurmsweep.sweepfile.config import check

TRACEBACK = """\
Traceback (most recent call last):
  File "{workdir}/train.py", line 3, in <module>
    from model import build
  File "{workdir}/model.py", line 2, in build
    raise KeyError("hidden")
{error}
"""


@pytest.fixture
def fail(tmp_path):
    """Return a sweep whose trials ended as their logs say; files written after that are newer than the failures."""

    def make(text, *, trials=4, finished=0, attempts=1, command=None, node=None, **params) -> SweepStore:
        parameters = {"x": {"values": list(range(trials + finished))}} | {k: {"value": v} for k, v in params.items()}
        document = {"method": "grid", "program": "train.py", "parameters": parameters}
        config = check(document | ({"command": command} if command else {}), "test").config
        total = trials + finished
        store = SweepStore.create(
            str(tmp_path), Manifest("abcd1234", config, total, str(tmp_path), "sweep.yaml", 0, "0")
        )
        for number, attempt in itertools.product(range(total), range(1, attempts + 1)):
            if number >= trials and attempt > 1:
                continue
            claim = store.claim(Owner("elsewhere", number, 1, "b", node=node))
            Path(store.layout.log(claim.attempt_id)).write_text(text.replace("{workdir}", str(tmp_path)))
            state = TrialState.FAILED if number < trials else TrialState.FINISHED
            store.finish(claim, Outcome(state, "exit 1" if number < trials else "", ended=2e9))
            if number < trials and attempt < attempts:
                with store.transaction() as transaction:
                    transaction.retry([AttemptId(number, attempt + 1)], "test")
        return store

    return make


@pytest.fixture
def later(tmp_path):
    """Wait until the file system's clock has gone on."""

    def wait() -> None:
        probe, deadline = tmp_path / "probe", time.monotonic() + 60
        probe.touch()
        first = probe.stat().st_ctime
        while probe.stat().st_ctime <= first:
            assert time.monotonic() < deadline
            probe.touch()
        probe.unlink()

    return wait


def plan_of(store, **how):
    return slurmsweep.Sweep(store.layout.folder, backend="local").resubmit(dry_run=True, **how)


def reasons(store, **how) -> set[str]:
    """Return why trials run again, without how they ended; where none does, the empty set."""
    return {why.partition("; ")[2] for why in plan_of(store, **how).plan.retry.whys.values()}


def write(path: Path, text="x: 1\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_fails_alike_is_refused_and_nothing_else_is_known(fail, later):
    store = fail(TRACEBACK.replace("{error}", "KeyError: 'hidden'"))
    later()

    result = plan_of(store)

    assert result.plan.batches == ()
    assert result.headline.text == "nothing would be run again: 4 trials fail alike"
    assert not result.headline.is_met


@pytest.mark.parametrize(
    "text",
    [
        "FileNotFoundError: [Errno 2] No such file or directory: 'a\0b'",
        "~\0name/x: not found",
        "env: ~\0name/prog: No such file",
        "q\0z: command not found",
        "No module named a\0.b",
        TRACEBACK.replace("model.py", "mo\0del.py").replace("{workdir}", "~\0").replace("{error}", "KeyError: 'n\0'"),
    ],
)
def test_a_log_with_a_nul_character_is_read_as_any_other(fail, text):
    assert plan_of(fail(text)).headline.text == "nothing would be run again: 4 trials fail alike"


@pytest.mark.parametrize(
    "name", ["model.py", "train.py", "helpers/data.py", "conf/model/base.yaml", "params.json", "fit.R"]
)
def test_a_file_of_the_project_that_was_changed_since_is_a_mend(fail, later, tmp_path, name):
    store = fail(TRACEBACK.replace("{error}", "KeyError: 'hidden'"))
    later()
    write(tmp_path / name)

    assert reasons(store) == {f"{name} has changed"}


@pytest.mark.parametrize("name", ["wandb/run/files/config.yaml", ".git/config.toml", "sweep.yaml", "train.log"])
def test_files_that_no_person_wrote_into_the_project_are_none(fail, later, tmp_path, name):
    store = fail(TRACEBACK.replace("{error}", "KeyError: 'hidden'"))
    later()
    write(tmp_path / name)

    assert reasons(store) == set()


def test_a_module_that_was_mended_while_others_still_failed_is_a_mend_for_those_that_had_begun(
    fail, later, tmp_path, monkeypatch
):
    write(tmp_path / "model.py")
    store = fail(TRACEBACK.replace("{error}", "KeyError: 'hidden'"))
    for number in range(4):  # each ended only now, and began before the mend
        later()
        write(tmp_path / "model.py")
        os.utime(store.layout.outcome((number, 1)))

    assert reasons(store) == {"model.py has changed"}


def test_an_old_file_that_was_moved_or_linked_into_place_is_a_mend(fail, later, tmp_path):
    write(tmp_path / "elsewhere" / "good.txt")
    os.utime(tmp_path / "elsewhere" / "good.txt", (1e9, 1e9))
    store = fail(TRACEBACK.replace("{error}", "KeyError: 'hidden'"))
    later()
    (tmp_path / "model.py").symlink_to(tmp_path / "elsewhere" / "good.txt")

    assert reasons(store) == {"model.py has changed"}


@pytest.mark.parametrize(
    ("command", "params", "name"),
    [
        (["python", "${program}", "--config=${cfg}"], {"cfg": "settings.txt"}, "settings.txt"),
        (["bash", "-c", "source ./env.txt && python train.py"], {}, "./env.txt"),
        (["./build/train", "--cfg", "a.bin"], {}, "a.bin"),
        (["python", "-m", "pkg.train", "${args}"], {}, "pkg/train.py"),
    ],
)
def test_a_file_that_the_command_names_is_a_mend(fail, later, tmp_path, command, params, name):
    write(tmp_path / "build" / "train", "#!/bin/sh\n")
    (tmp_path / "build" / "train").chmod(0o700)
    store = fail("terminate called after throwing an instance of 'std::out_of_range'\n", command=command, **params)
    later()
    write(tmp_path / name)

    assert reasons(store) == {f"{os.path.normpath(name)} has changed"}


@pytest.mark.parametrize(
    ("error", "made", "reason"),
    [
        ("FileNotFoundError: [Errno 2] No such file or directory: '{workdir}/data/x.csv'", "data/x.csv", "data/x.csv"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'x.npz'", "x.npz", "x.npz"),
        ("RuntimeError: could not open {workdir}/data/x.bin", "data/x.bin", "data/x.bin"),
    ],
)
def test_a_file_that_was_missing_and_is_there_now_is_a_mend(fail, later, tmp_path, error, made, reason):
    hidden = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    write(hidden / "file")
    store = fail(TRACEBACK.replace("{error}", error))
    later()
    (tmp_path / made).parent.mkdir(exist_ok=True)
    os.link(hidden / "file", tmp_path / made)

    assert [why.endswith((f"{reason} is there now", f"{reason} has changed")) for why in reasons(store)] == [True]


def test_a_program_that_can_be_started_now_is_a_mend(fail, tmp_path, monkeypatch):
    store = fail("slurmsweep: cannot start 'my-trainer': No such file or directory\n", command=["my-trainer"])
    with pytest.raises(SweepFileError, match="there is no program 'my-trainer'"):
        reasons(store)
    write(tmp_path / "bin" / "my-trainer", "#!/bin/sh\n")
    (tmp_path / "bin" / "my-trainer").chmod(0o755)
    os.utime(tmp_path / "bin" / "my-trainer", (1e9, 1e9))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)

    assert reasons(store) == {"my-trainer can be started now"}


@pytest.mark.parametrize(
    "text", ["run.sh: line 3: my-tool: command not found\n", "/usr/bin/env: 'my-tool': No such file or directory\n"]
)
def test_a_shells_words_for_a_program_that_is_there_now(fail, tmp_path, monkeypatch, text):
    store = fail(text)
    write(tmp_path / "bin" / "my-tool")
    (tmp_path / "bin" / "my-tool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)

    assert reasons(store) == {"my-tool can be started now"}


def test_a_module_that_was_installed_since_is_a_mend(fail, later, tmp_path, monkeypatch):
    error = "ModuleNotFoundError: No module named 'einops.layers'"
    store = fail(TRACEBACK.replace("{error}", error))
    assert reasons(store) == set()
    folder = tmp_path.parent / f"{tmp_path.name}-extra"
    write(folder / "einops" / "__init__.py", "raise RuntimeError('nothing is imported')")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert reasons(store) == set()  # the package is there, and its part is not
    write(folder / "einops" / "layers.py", "")

    assert reasons(store) == {"the module einops.layers is there now"}


@pytest.mark.parametrize("is_named", [True, False], ids=["traceback", "environment"])
def test_packages_of_the_traceback_or_of_the_environment_that_were_changed_are_a_mend(
    fail, later, tmp_path, monkeypatch, is_named
):
    venv = tmp_path.parent / f"{tmp_path.name}-venv"
    packages = venv / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    write(venv / "pyvenv.cfg")
    write(packages / "lib.py")
    frame = f'  File "{packages}/lib.py", line 1, in f\n' if is_named else ""
    if not is_named:
        monkeypatch.setenv("VIRTUAL_ENV", str(venv))
    store = fail(TRACEBACK.replace("{error}", f"{frame}AttributeError: module 'numpy' has no attribute 'float'"))
    later()
    assert reasons(store) == set()
    write(packages / "numpy" / "__init__.py")

    assert reasons(store) == {f"the packages in {packages} have changed"}


def test_a_variable_that_was_missing_and_is_set_now_is_a_mend_for_a_person_alone(fail, monkeypatch):
    frames = '  File "<frozen os>", line 679, in __getitem__\n'
    store = fail(TRACEBACK.replace("{error}", f"{frames}KeyError: 'DATA_ROOT'"))
    assert reasons(store) == set()
    monkeypatch.setenv("DATA_ROOT", "/data")

    assert reasons(store) == {"DATA_ROOT is set now"}
    assert round_plan(store).left[0].startswith("fail alike")


def test_a_shell_says_it_in_its_own_words(fail, monkeypatch):
    store = fail("run.sh: line 2: DATA_ROOT: unbound variable\n")
    monkeypatch.setenv("DATA_ROOT", "/data")

    assert reasons(store) == {"DATA_ROOT is set now"}


def round_plan(store):
    """Return what a supervisor would run again."""
    session = Session(store, "local").rehearsal()
    policy = policy_of(SupervisorSettings(), session)
    return decide(observe(session, policy, lambda event: None), policy).retry


def test_given_twice_resubmit_runs_what_it_refused_and_a_supervisor_does_not(fail):
    store = fail(TRACEBACK.replace("{error}", "KeyError: 'hidden'"))
    sweep = slurmsweep.Sweep(store.layout.folder, backend="local")
    assert reasons(store) == set()  # a rehearsal is no first time

    first = sweep.resubmit()

    assert (first.submitted.trials, first.headline.is_met) == (0, False)
    assert first.headline.text == "nothing was run again: 4 trials fail alike"
    assert round_plan(store).groups == {}
    assert reasons(store) == {"asked for once more"}
    second = sweep.resubmit()
    assert (second.submitted.trials, second.headline.is_met) == (4, True)
    assert sweep.status()["counts"]["failed"] == 4  # there is no train.py
    assert sweep.resubmit().submitted.trials == 0


def test_a_damaged_note_of_what_was_refused_refuses_once_more(fail):
    store = fail(TRACEBACK.replace("{error}", "KeyError: 'hidden'"))
    Path(store.layout.refused).write_text('{"torn')

    assert reasons(store) == set()


ERRORS_THAT_PASS = [
    "ConnectionResetError: [Errno 104] Connection reset by peer",
    "requests.exceptions.ConnectionError: ('Connection aborted.', RemoteDisconnected('Remote end closed'))",
    "requests.exceptions.HTTPError: 503 Server Error: Service Unavailable for url: https://hub/x",
    "huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://hub/x",
    "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
    "OSError: [Errno 116] Stale file handle: '/data/x'",
    "OSError: [Errno 5] Input/output error",
    "TimeoutError",
    "filelock._error.Timeout: The file lock '/home/u/x.lock' could not be acquired.",
    "sqlite3.OperationalError: database is locked",
    "torch.distributed.DistBackendError: NCCL error in: x.cpp:12, unhandled system error, NCCL version 2.19",
    "RuntimeError: [/pytorch/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]:123",
    "RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
    "RuntimeError: CUDA error: uncorrectable ECC error encountered",
    'grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with:\n\tstatus = StatusCode.UNAVAILABLE\n\tdetails = "failed to connect to all addresses"',
    "wandb.errors.errors.CommError: Run initialization has timed out after 90.0 sec.",
    "BrokenPipeError: [Errno 32] Broken pipe",
    "ssl.SSLEOFError: EOF occurred in violation of protocol (_ssl.c:1007)",
    "botocore.exceptions.EndpointConnectionError: Could not connect to the endpoint URL",
]


@pytest.mark.parametrize("error", ERRORS_THAT_PASS)
def test_an_error_that_may_pass_is_tried_twice_more_also_by_a_supervisor(fail, error):
    store = fail(TRACEBACK.replace("{error}", error), attempts=2)

    assert reasons(store) == {"such an error may pass"}
    assert len(round_plan(store).attempt_ids) == 4


def test_an_error_that_may_pass_and_did_not_is_refused_the_third_time(fail):
    store = fail(TRACEBACK.replace("{error}", ERRORS_THAT_PASS[0]), attempts=3)

    result = plan_of(store)

    assert result.plan.batches == ()
    assert result.headline.text == "nothing would be run again: 4 trials fail alike 3 times"


@pytest.mark.parametrize(
    "error",
    [
        "TypeError: __init__() got an unexpected keyword argument 'timeout'",
        "KeyError: 'connection'",
        "ValueError: timeout must be positive",
        "OSError: [Errno 28] No space left on device",
        "requests.exceptions.HTTPError: 404 Client Error: Not Found for url: https://hub/x",
        "requests.exceptions.SSLError: certificate verify failed: CERTIFICATE_VERIFY_FAILED",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (503x4 and 429x4)",
        "AssertionError: Torch not compiled with CUDA enabled",
        "ModuleNotFoundError: No module named 'requests.timeout'",
    ],
)
def test_a_mistake_is_none_that_passes_whatever_its_words(fail, error):
    assert reasons(fail(TRACEBACK.replace("{error}", error))) == set()


def test_what_most_trials_do_not_share_is_tried_twice_more(fail):
    store = fail(TRACEBACK.replace("{error}", "ValueError: 3"), trials=3, finished=4)

    assert reasons(store) == {"most trials finish"}


def test_what_as_many_trials_share_as_finish_is_a_mistake(fail):
    assert reasons(fail(TRACEBACK.replace("{error}", "ValueError: 3"), trials=4, finished=4)) == set()


def test_a_machine_that_is_blamed_is_avoided():
    view = SweepView()
    trial = view.trial(0)
    trial.attempts[1] = Attempt(1, "t", Owner("h", 1, 1, "b", node="n7"), outcome=Outcome(TrialState.FAILED, "exit 1"))
    again = RetryPlan({ResourceOverride(): (AttemptId(0, 2),)})

    assert not _nodes(view, again, ())["n7"].is_suspect()
    assert _nodes(view, again, {AttemptId(0, 2)})["n7"].is_suspect()
