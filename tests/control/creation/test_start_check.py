"""A command that cannot start is refused before a sweep is made; what only a node can tell is a warning."""

from __future__ import annotations

import json
import os

import pytest

from slurmsweep.control.creation.start_check import check_start, refuse_wrong_variables
from slurmsweep.errors import UsageError
from slurmsweep.sweepfile.config import check

FILES = {
    "go.sh": b"#!/bin/sh\nexit 0\n",
    "two words.sh": b"#!/bin/sh\nexit 0\n",
    "split.py": b"#!/usr/bin/env -S python -u\n",
    "plain": b"\x7fELF\0\0",
    "text.sh": b"echo hello\n",
    "bom.sh": b"\xef\xbb\xbf#!/bin/sh\n",
    "empty": b"",
    "dos.sh": b"#!/bin/sh\r\nexit 0\r\n",
    "moved.py": b"#!/old/venv/bin/python\n",
    "newer.py": b"#!/usr/bin/env python3.99\n",
    "words.py": b"#!/usr/bin/env python -u\n",
    "relative.py": b"#!python\n",
}


@pytest.fixture
def workdir(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    for name in ("train.py", "locked.sh"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o644)
    (tmp_path / "folder").mkdir()
    return tmp_path


def found(workdir, command, environ=None, **parameters) -> tuple[list[str], list[str]]:
    """Return errors and doubts about a command."""
    data = {
        "program": "train.py",
        "method": "grid",
        "command": command,
        "parameters": parameters or {"a": {"value": 1}},
    }
    seen = check_start(check(data, "test").config, str(workdir), os.environ if environ is None else environ)
    return [str(one) for one in seen.errors], [str(one) for one in seen.doubts]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["nice -n 5", "python"], 'no program \'nice -n 5\', with a blank in its name (split it: ["nice", "-n", "5"])'),
        (["cd sub && python", "${program}"], r'let a shell read it: [bash, -c, "cd sub && python \"$@\"", bash, ...]'),
        (["source env.sh; python", "x"], r'[bash, -c, "source env.sh; python \"$@\"", bash, ...]'),
        (["python a.py | tee", "log"], r'[bash, -c, "python a.py | tee \"$@\"", bash, ...]'),
        (["accelerate launch", "${program}"], 'split it: ["accelerate", "launch"]'),
        (["${env}", "python -u", "${program}"], 'split it: ["python", "-u"]'),
        (["timeout", "-k", "5", "1h", "torchrun --x"], 'split it: ["torchrun", "--x"]'),
        (["${args}"], "begins with the arguments (put ${env}, ${interpreter}, ${program} before them)"),
        (["${args_no_boolean_flags}"], "begins with the arguments"),
        (["${args_json_file}"], "begins with the arguments"),
        (["--lr=1", "python"], "begins with the option '--lr=1'"),
        (["A=1", "python"], "begins with the variable 'A=1' (put env before it: [env, \"A=1\", ...])"),
        (["", "python"], "begins with an empty element"),
        (["./locked.sh"], "'./locked.sh' is not executable (`chmod +x ./locked.sh`, or put bash before it)"),
        (["./train.py"], "put ${interpreter} before it"),
        (["go.sh"], "write ./go.sh"),
        (["${program}", "${args}"], "write ./train.py"),
        (["two words.sh"], "write ./two words.sh"),
        (["./text.sh"], "'./text.sh' is a text whose first line names no interpreter"),
        (["./bom.sh"], "first line names no interpreter"),
        (["./empty"], "first line names no interpreter"),
        (["./dos.sh"], "has DOS line ends"),
        (["./words.py"], "write #!/usr/bin/env -S python -u"),
        (["./folder"], "'./folder' is a folder, not a program"),
        (["~/bin/run"], "write ${envvar:HOME}"),
        (["source", "venv/bin/activate"], "'source' is a word of the shell"),
    ],
)
def test_what_is_wrong_everywhere_is_an_error(workdir, command, words):
    errors, doubts = found(workdir, command)

    assert doubts == []
    [error] = errors
    assert words in error


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["python3.99", "${program}"], "there is no program 'python3.99' on the PATH here"),
        (["nice", "-n", "5", "nopython"], "'nopython'"),
        (["${env}", "A=1", "nopython"], "'nopython'"),
        (["nohup", "nice", "nopython"], "'nopython'"),
        (["./missing.sh"], "there is no program './missing.sh' in "),
        (["/opt/none/python"], "there is no program '/opt/none/python' here"),
        (["./moved.py"], "'./moved.py' needs the interpreter '/old/venv/bin/python'"),
        (["./newer.py"], "needs the interpreter 'python3.99'"),
        (["./relative.py"], "needs the interpreter './python'"),
        (
            ["python", "${program}", "${envvar:NOT_SET_HERE}"],
            "command.2: the environment variable NOT_SET_HERE is not set",
        ),
    ],
)
def test_what_a_node_may_have_is_a_doubt(workdir, command, words):
    errors, doubts = found(workdir, command)

    assert errors == []
    [doubt] = doubts
    assert words in doubt


@pytest.mark.parametrize(
    "command",
    [
        ["${env}", "${interpreter}", "${program}", "${args}"],
        ["./go.sh", "${args}"],
        ["./two words.sh"],
        ["./split.py"],
        ["./plain"],
        ["nice", "-n", "5", "python", "${program}"],
        ["nice", "-5", "python"],
        ["timeout", "--signal", "INT", "1h", "python"],
        ["env", "-u", "A", "B=1", "python"],
        ["env", "-i", "nopython"],
        ["bash", "-c", "cd x && nopython"],
        ["srun", "-n", "2", "nopython"] if os.path.exists("/usr/bin/srun") else ["sh", "x"],
    ],
)
def test_what_can_start_is_left_alone(workdir, command):
    assert found(workdir, command) == ([], [])


def test_a_path_without_python_is_no_doubt(workdir):
    data = {"program": "train.py", "method": "grid", "parameters": {"a": {"value": 1}}}
    config = check(data, "test").config

    # an interpreter's own folder is at the end of a trial's PATH
    assert check_start(config, str(workdir), {"PATH": "/usr/bin"}) == ((), ())


def test_behind_words_of_a_job_template_only_these_are_looked_at(workdir):
    wrapped = os.environ | {"SLURMSWEEP_WRAP": "env A=1"}

    assert found(workdir, ["in-a-container", "${args}"], wrapped) == ([], [])
    [doubt] = found(workdir, ["python"], os.environ | {"SLURMSWEEP_WRAP": "apptainer-3 exec x.sif"})[1]
    assert "apptainer-3" in doubt


@pytest.mark.parametrize("macro", ["${args}", "${args_no_equals}", "${args_json}", "text=${text}"])
def test_an_argument_that_linux_does_not_take_is_an_error_with_the_way_out(workdir, macro):
    text = {"values": ["short", "x" * 140_000]}
    [error] = found(workdir, ["python", "${program}", macro], text=text)[0]

    assert "bytes, and Linux takes 131071 (pass the parameters by a file: ${args_json_file}" in error
    assert found(workdir, ["python", "${program}", "${args_json_file}"], text=text) == ([], [])
    assert found(workdir, ["python", "${program}", macro], text={"values": ["x" * 131_000]}) == ([], [])


def test_arguments_that_are_too_many_together_are_a_doubt(workdir):
    parameters = {f"p{n}": {"values": ["é" * 60_000]} for n in range(os.sysconf("SC_ARG_MAX") // 120_000 + 1)}

    [doubt] = found(workdir, ["python", "${program}", "${args}"], **parameters)[1]
    assert "arguments and variables have" in doubt


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLURMSWEEP_STOP_SIGNAL", "NOPE"),
        ("SLURMSWEEP_EARLY_TERMINATE_SECONDS", "soon"),
        ("SLURMSWEEP_REQUEUE", "often"),
        ("SLURMSWEEP_WRAP", "srun 'a"),
        ("WANDB_MODE", "ofline"),
    ],
)
def test_a_variable_that_agents_read_is_refused_before_a_sweep_is_made(write_sweep, slurmsweep, tmp_path, name, value):
    with pytest.raises(UsageError, match=name):
        refuse_wrong_variables({name: value})
    write_sweep("")
    for command in (["plan"], ["create"], ["run", "--backend", "local"]):
        done = slurmsweep(command[0], "sweep.yaml", *command[1:], **{name: value})
        assert (done.returncode, name in done.stderr) == (2, True)
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize("command", [["nice -n 5", "python"], ["go"], ["${args}"]])
def test_no_command_makes_a_sweep_that_cannot_start(write_sweep, slurmsweep, tmp_path, command):
    write_sweep("", extra=f"command: {json.dumps(command)}")
    (tmp_path / "go").write_text("")

    for words in (["plan"], ["create"], ["run", "--backend", "local"], ["run", "--backend", "local", "--dry-run"]):
        done = slurmsweep(words[0], "sweep.yaml", *words[1:])
        assert (done.returncode, "command" in done.stderr, "Traceback" in done.stderr) == (2, True, False)
    assert not (tmp_path / "wandb").exists()


def test_a_doubt_is_a_warning_for_create_and_an_error_where_trials_run_here(write_sweep, slurmsweep, tmp_path):
    write_sweep("", extra='command: [python3.99, "${program}", "${envvar:NOT_SET_HERE}"]')

    planned = slurmsweep("plan", "sweep.yaml", "--json")
    assert planned.returncode == 0
    document = json.loads(planned.stdout)
    assert document["trials"][0]["argv"] == ["python3.99", "train.py", "${envvar:NOT_SET_HERE}"]
    assert "command.2: the environment variable NOT_SET_HERE is not set (export it first)" in document["warnings"]
    assert slurmsweep("run", "sweep.yaml", "--backend", "local").returncode == 2
    assert not (tmp_path / "wandb").exists()
    made = slurmsweep("create", "sweep.yaml", NOT_SET_HERE="x")
    assert (made.returncode, "'python3.99' on the PATH here" in made.stderr) == (0, True)
    refused = slurmsweep("run", made.stdout.strip(), "--backend", "local", NOT_SET_HERE="x")
    assert (refused.returncode, "'python3.99' on the PATH here" in refused.stderr) == (2, True)
    assert slurmsweep("plan", "sweep.yaml", "--strict").returncode == 2


def test_python_programs_are_told_too(tmp_path, monkeypatch):
    import slurmsweep
    from slurmsweep.errors import SweepFileError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("")
    config = {"program": "train.py", "method": "grid", "parameters": {"a": {"value": 1}}}
    with pytest.raises(SweepFileError, match="split it"):
        slurmsweep.sweep({**config, "command": ["python -u", "${program}"]})
    sweep = slurmsweep.sweep({**config, "command": ["python3.99", "${program}"]})
    with pytest.raises(SweepFileError, match=r"python3\.99"):
        slurmsweep.Sweep(sweep, backend="local").run()
