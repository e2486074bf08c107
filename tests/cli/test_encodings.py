"""What a terminal cannot show is escaped, and trials get what the sweep file says, in every locale."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

#: Each with the encoding of what is printed.
LOCALES = {
    "ascii output": ({"PYTHONIOENCODING": "ascii"}, "ascii"),
    "latin-1 output": ({"PYTHONIOENCODING": "latin-1"}, "latin-1"),
    "ascii locale": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "ascii"),
    "utf-8": ({"LC_ALL": "C.UTF-8"}, "utf-8"),
}

SWEEP = """
program: train.py
method: grid
name: "größe"
project: "Köln"
metric: {name: verlust_ø, goal: minimize}
parameters: {city: {values: [Köln, 京都]}}
"""

SCRIPT = """
import json, os, sys
import slurmsweep
run = slurmsweep.init()
slurmsweep.log({"verlust_ø": 1.5})
seen = sys.argv[1], os.environ["WANDB_PROJECT"], run.config.city
got = [word.encode("utf-8", "surrogateescape").decode() for word in seen]
with open(os.path.join(os.environ["SLURMSWEEP_ATTEMPT_DIR"], "got.json"), "w", encoding="utf-8") as file:
    json.dump(got, file)
"""


@pytest.fixture
def tell(tmp_path):
    """Run a command in a folder and a locale; return its exit code and the text that it printed on each stream."""

    def run(folder: bytes, environ: dict[str, str], encoding: str, *argv: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "slurmsweep", *argv]
        done = subprocess.run(command, cwd=folder, env=os.environ | environ, capture_output=True, check=False)
        return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)

    return run


@pytest.fixture
def sweep_in(tmp_path):
    """Make a folder of that name with a script and a sweep file."""

    def make(name: bytes) -> bytes:
        folder = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(folder)
        for file, text in ((b"train.py", SCRIPT), (b"sweep.yaml", SWEEP)):
            with open(os.path.join(folder, file), "w", encoding="utf-8") as stream:
                stream.write(text)
        return folder

    return make


def newest(folder: bytes) -> str:
    [name] = os.listdir(os.path.join(folder, b"wandb"))
    return name.decode().removeprefix("sweep-")


@pytest.mark.parametrize("folder", [b"plain", "größe-京".encode(), b"gr\xf6\xdfe", b"a\x1b[31mb"], ids=repr)
@pytest.mark.parametrize("locale", LOCALES)
def test_every_command_shows_what_it_can_and_trials_get_utf8(tell, sweep_in, locale, folder):
    environ, encoding = LOCALES[locale]
    place = sweep_in(folder)
    code, out, err = tell(place, environ, encoding, "run", "sweep.yaml", "--backend", "local")

    assert code == 0, err
    assert ("京都" if encoding == "utf-8" else r"\u4eac\u90fd") in out
    assert ("Köln" if encoding != "ascii" else r"K\xf6ln") in out
    sweep = newest(place)
    attempt = os.path.join(place, b"wandb", f"sweep-{sweep}/trials/0".encode())
    for trial, city in enumerate(["Köln", "京都"]):
        with open(os.path.join(attempt, f"{trial}/1/got.json".encode()), encoding="utf-8") as file:
            assert json.load(file) == [f"--city={city}", "Köln", city]
    for command in (["status"], ["trials"], ["show", "1"], ["best"], ["check"], ["logs", "0"], ["importance"]):
        code, out, err = tell(place, environ, encoding, command[0], sweep, *command[1:])
        assert (code, "Traceback" in err) == (0, False), err
        assert "\x1b" not in out + err
    for command in (["plan", "--backend", "local"], ["create"]):  # no batch script can name each of these folders
        code, out, err = tell(place, environ, encoding, *command, "sweep.yaml")
        assert (code, "Traceback" in err) == (0, False), err
        assert "\x1b" not in out + err


@pytest.mark.parametrize("locale", LOCALES)
def test_documents_are_the_same_in_every_locale(tell, sweep_in, locale):
    environ, encoding = LOCALES[locale]
    code, out, err = tell(sweep_in(b"place"), environ, encoding, "plan", "sweep.yaml", "--json")

    assert code == 0, err
    assert [row["params"]["city"] for row in json.loads(out)["trials"]] == ["Köln", "京都"]


def test_a_wrong_file_is_named_with_escapes(tell, sweep_in):
    place = sweep_in(b"place")
    with open(os.path.join(place, b"sweep.yaml"), "a", encoding="utf-8") as file:
        file.write("metric: größe\n")
    code, _, err = tell(place, {"PYTHONIOENCODING": "ascii"}, "ascii", "plan", "sweep.yaml")

    assert code == 2
    assert "Traceback" not in err
    code, _, err = tell(place, {"PYTHONIOENCODING": "ascii"}, "ascii", "plan", "größe.yaml")
    assert (code, r"gr\xf6\xdfe.yaml" in err) == (2, True)


def test_a_folder_that_a_batch_script_cannot_name_is_refused_before_a_sweep_is_made(tell, sweep_in, tmp_path):
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\necho 1\n")
    sbatch.chmod(0o755)
    environ = {"PATH": f"{sbatch.parent}:{os.environ['PATH']}"}
    for name in (b"gr\xf6\xdfe", b"two\nlines"):
        place = sweep_in(name)
        code, _, err = tell(place, environ, "utf-8", "run", "sweep.yaml", "--backend", "slurm", "--no-wait")

        assert (code, "rename the folder" in err) == (2, True)
        assert not os.path.exists(os.path.join(place, b"wandb"))


def test_half_a_character_from_python_is_refused_with_its_place(tmp_path, monkeypatch):
    import slurmsweep
    from slurmsweep.errors import SweepFileError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SweepFileError, match=r"parameters.a.values.1: holds a NUL character or half of a surrogate"):
        slurmsweep.sweep({"method": "grid", "parameters": {"a": {"values": ["é", "\ud800"]}}})
    assert not (tmp_path / "wandb").exists()
