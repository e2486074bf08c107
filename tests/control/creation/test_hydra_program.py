"""Which sweeps get their arguments in Hydra's grammar: decided when a sweep is made, and kept with it."""

from __future__ import annotations

import json

import pytest

from slurmsweep.agents.attempt import prepare
from slurmsweep.control.creation.create import create, read_draft
from slurmsweep.errors import SweepFileError
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import SweepStore

NO_HYPHENS = 'command: [python, "${program}", "${args_no_hyphens}"]'
NULL = "  act: {value: null}\n  x: {values: [1, 2]}"


def argument(store: SweepStore) -> str:
    """Return the first parameter of the next trial, as its agent would pass it."""
    prepared = prepare(store, store.claim(Owner("here", 1, 1, "boot")), {})
    return next(word for word in prepared.argv if "act=" in word)


@pytest.mark.parametrize(
    ("script", "written"),
    [
        ("import hydra\n", "act=null"),
        ("from hydra.core.config_store import ConfigStore\n", "act=null"),
        ("import os, hydra  # both\n", "act=null"),
        ("try:\n    import hydra\nexcept ImportError:\n    raise\n", "act=null"),
        ("from hydra_zen import launch\n", "act=null"),
        ("# import hydra\n", "act=None"),
        ("from hydrant import water\nimport dehydra\n", "act=None"),
        ("print('import hydra')\n", "act=None"),
    ],
)
def test_a_program_that_imports_hydra_gets_its_grammar(write_sweep, monkeypatch, tmp_path, script, written):
    monkeypatch.chdir(tmp_path)
    store = create(read_draft(str(write_sweep(script, NULL, NO_HYPHENS))))

    assert argument(store) == written
    assert argument(SweepStore.open(store.layout.folder)) == written


@pytest.mark.parametrize(
    ("macro", "written"), [("args_append_hydra", "+act=null"), ("args_override_hydra", "++act=null")]
)
def test_macros_for_hydra_alone_always_write_its_grammar(write_sweep, monkeypatch, tmp_path, macro, written):
    monkeypatch.chdir(tmp_path)
    store = create(read_draft(str(write_sweep("", NULL, f'command: [python, "${{program}}", "${{{macro}}}"]'))))

    assert argument(store) == written


@pytest.mark.parametrize(("word", "written"), [("false", "+act=None"), ("true", "+act=null")])
def test_a_sweep_file_that_says_so_has_its_way(write_sweep, monkeypatch, tmp_path, word, written):
    monkeypatch.chdir(tmp_path)
    extra = f'command: [python, "${{program}}", "${{args_append_hydra}}"]\nslurmsweep: {{hydra: {word}}}'
    store = create(read_draft(str(write_sweep("import hydra\n", NULL, extra))))

    assert argument(store) == written
    assert store.manifest.config.document["slurmsweep"] == {"hydra": word == "true"}


def test_a_sweep_made_before_goes_on_as_it_was(write_sweep, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    store = create(read_draft(str(write_sweep("import hydra\n", NULL, NO_HYPHENS))))
    manifest = tmp_path / "wandb" / f"sweep-{store.manifest.sweep_id}" / "sweep.json"
    document = json.loads(manifest.read_text())
    del document["config"]["slurmsweep"]
    manifest.chmod(0o600)
    manifest.write_text(json.dumps(document))

    assert argument(SweepStore.open(store.layout.folder)) == "act=None"


@pytest.mark.parametrize(
    "command", ['[python, -m, "${program}", "${args_no_hyphens}"]', '[python, train.py, "${args_no_hyphens}"]']
)
def test_the_program_is_found_as_a_module_and_in_the_command(write_sweep, monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)
    file = write_sweep("import hydra\n", NULL, f"command: {command}")
    file.write_text(file.read_text().replace("program: train.py", "program: train"))

    assert argument(create(read_draft(str(file)))) == "act=null"


def test_another_word_than_true_and_false_is_refused(write_sweep):
    with pytest.raises(SweepFileError, match=r"slurmsweep.hydra: must be true or false, not 'auto'"):
        read_draft(str(write_sweep("", extra="slurmsweep: {hydra: auto}")))


def test_plan_shows_what_trials_get_and_says_what_cannot_be_written(write_sweep, slurmsweep):
    nested = "  opt: {parameters: {lr: {values: [0.01]}, act: {value: null}}}\n  name: {value: a b}"
    write_sweep("import hydra\n", nested, NO_HYPHENS)
    [row] = json.loads(slurmsweep("plan", "sweep.yaml", "--json").stdout)["trials"]
    assert row["argv"][2:] == ["name='a b'", "opt.act=null", "opt.lr=0.01"]

    write_sweep("import hydra\n", "  x: {values: [[{größe: 1}]]}", NO_HYPHENS)
    done = slurmsweep("plan", "sweep.yaml")
    assert (done.returncode, "is a key that Hydra's grammar cannot write" in done.stderr) == (2, True)


def test_hydra_itself_reads_what_the_sweep_file_says(write_sweep, slurmsweep, tmp_path):
    pytest.importorskip("hydra", reason="hydra-core is not installed")
    (tmp_path / "config.yaml").write_text("act: relu\nopt: {lr: 0.1, name: sgd}\nname: n\nsizes: [1]\nfree: {}\n")
    script = (
        "import json, os, hydra\nfrom omegaconf import OmegaConf\n"
        '@hydra.main(version_base=None, config_path=".", config_name="config")\n'
        "def main(cfg):\n    print(json.dumps(OmegaConf.to_container(cfg)))\nmain()\n"
    )
    values = (
        "  act: {value: null}\n  opt: {parameters: {lr: {value: 1e-05}, name: {value: !!str 1e-5}}}\n"
        "  name: {value: \"it's, \\\\\"}\n  sizes: {value: [1, null, 'true', [x y]]}\n  free: {value: {a: {b c: [1]}}}"
    )
    extra = 'command: [python, "${program}", hydra.run.dir=., hydra.output_subdir=null, "${args_override_hydra}"]'
    write_sweep(script, values, extra)
    done = slurmsweep("run", "sweep.yaml", "--backend", "local")
    assert done.returncode == 0, done.stderr

    [folder] = (tmp_path / "wandb").glob("sweep-*")
    assert json.loads((folder / "trials/0/0/1/output.log").read_text().splitlines()[0]) == {
        "act": None,
        "opt": {"lr": 1e-05, "name": "1e-5"},
        "name": "it's, \\",
        "sizes": [1, None, "true", ["x y"]],
        "free": {"a": {"b c": [1]}},
    }


WARNED = "share Hydra's output folder"
MAIN = "import hydra\n@hydra.main(config_path='settings')\ndef main(cfg): ...\n"


@pytest.mark.parametrize(
    ("command", "configuration", "is_warned"),
    [
        ('"${args_no_hyphens}"', "x: 1", True),
        ('"${args_no_hyphens}"', "hydra:\n  run:\n    dir: out/${now:%H-%M-%S}", True),
        ('"${args_no_hyphens}"', "hydra:\n  run:\n    dir: out/${now:%H-%M-%S}-${hydra.job.override_dirname}", False),
        ('"${args_no_hyphens}"', "hydra:\n  run:\n    dir: ${oc.env:SLURMSWEEP_CHECKPOINT_DIR}", False),
        ('"${args_no_hyphens}"', "hydra.run.dir: out/${x}", False),
        ('"${args_no_hyphens}", "hydra.run.dir=$${oc.env:SLURMSWEEP_CHECKPOINT_DIR}"', "x: 1", False),
        ('"${args}"', "x: 1", False),
    ],
)
def test_a_folder_that_trials_of_one_second_would_share_is_warned_of(
    write_sweep, slurmsweep, tmp_path, command, configuration, is_warned
):
    (tmp_path / "settings").mkdir()
    (tmp_path / "settings" / "config.yaml").write_text(configuration)
    sweep = write_sweep(MAIN, extra=f'command: [python, "${{program}}", {command}]')

    for words in (("plan", str(sweep)), ("create", str(sweep))):
        done = slurmsweep(*words)
        assert done.returncode == 0, done.stderr
        assert (WARNED in done.stdout + done.stderr) is is_warned


def test_a_program_without_hydra_is_not_warned_of(write_sweep, slurmsweep):
    sweep = write_sweep("print(1)\n", extra='command: [python, "${program}", "${args_no_hyphens}"]')

    assert WARNED not in slurmsweep("create", str(sweep)).stderr
