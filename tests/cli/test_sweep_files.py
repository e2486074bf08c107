"""Sweep files of the public kind, from the file to the trial, by the command line."""

from __future__ import annotations

import json

SCRIPT = """
import json, os, sys
import slurmsweep
arguments = json.load(open(sys.argv[-1]))
with slurmsweep.init() as run:
    print("SEEN", json.dumps([sys.argv[1:-1], arguments, dict(run.config)]))
"""


def seen(slurmsweep, tmp_path, text: str) -> list:
    """Run a sweep file with one trial; return its arguments, its args.json and the native client's configuration."""
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "sweep.yaml").write_text(text)
    done = slurmsweep("run", "sweep.yaml", "--backend", "local")
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "wandb").glob("sweep-*")
    log = (folder / "trials" / "0" / "0" / "1" / "output.log").read_text()
    return json.loads(next(line for line in log.splitlines() if line.startswith("SEEN"))[5:])


def test_a_whole_number_is_an_integer_wherever_a_script_looks(slurmsweep, tmp_path):
    command = "command: ['${interpreter}', '${program}', '${args}', '${args_json_file}']"
    parameters = "{steps: {value: 1e3}, lr: {value: '1e-5'}, o: {parameters: {n: {values: [3e6]}}}, r: {value: 4.0}}"

    arguments, document, config = seen(
        slurmsweep, tmp_path, f"program: train.py\nmethod: grid\n{command}\nparameters: {parameters}\n"
    )

    assert sorted(arguments) == ["--lr=1e-05", "--o={'n': 3000000}", "--r=4.0", "--steps=1000"]
    assert repr(sorted(document.items())) == "[('lr', 1e-05), ('o', {'n': 3000000}), ('r', 4.0), ('steps', 1000)]"
    assert repr(config) == repr(document)


def test_unusual_names_reach_a_script_as_they_are_written(slurmsweep, tmp_path):
    command = "command: ['${interpreter}', '${program}', 'n=${{x}}', '${args_no_hyphens}', '${args_json_file}']"
    parameters = "{+model.head: {value: a}, a/b: {value: 1}, ^x: {value: true}, 'a b': {value: 2}, 1x: {value: null}}"

    arguments, document, config = seen(
        slurmsweep, tmp_path, f"program: train.py\nmethod: grid\n{command}\nparameters: {parameters}\n"
    )

    assert sorted(arguments) == ["+model.head=a", "1x=None", "^x=True", "a b=2", "a/b=1", "n=${{x}}"]
    assert config == document == {"+model.head": "a", "1x": None, "^x": True, "a b": 2, "a/b": 1}


def test_every_mistake_is_said_at_once_and_nothing_is_written(slurmsweep, tmp_path):
    (tmp_path / "sweep.yaml").write_text("program: nowhere.py\nmethod: gird\nparameters:\n  lr: {valeus: [1]}\n")

    for command in ("plan", "create", "run"):
        done = slurmsweep(command, "sweep.yaml")
        assert done.returncode == 2
        assert [line.split(":")[0] for line in done.stderr.splitlines()[1:]] == [
            "  - line 1, program",
            "  - line 2, method",
            "  - line 4, parameters.lr.valeus",
        ]
    assert not (tmp_path / "wandb").exists()
