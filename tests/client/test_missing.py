"""Every public name of the real wandb works in the native client, or says which package has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import slurmsweep
from slurmsweep.client.missing import OF_MODULE, OF_RUN

wandb = pytest.importorskip("wandb")

SENTENCE = "slurmsweep keeps numbers and texts, no {}: `import wandb` has it, "


def public(names) -> list[str]:
    return [name for name in names if not name.startswith("_") and name != "annotations"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with slurmsweep.init(dir=tmp_path_factory.mktemp("run")) as run:
        yield run


def is_explained(owner, name: str) -> bool:
    """Return whether the name is missing, with the sentence; fail where it is missing in another way."""
    try:
        getattr(owner, name)
    except AttributeError as error:
        assert str(error).startswith(SENTENCE.format(name))  # noqa: PT017 - hasattr must stay False
        return True
    return False


@pytest.mark.parametrize("name", sorted({*public(dir(wandb)), *public(wandb.__all__)} - {"agents", "api", "errors"}))
def test_each_name_of_the_module_is_there_or_explained(name, run):
    assert is_explained(slurmsweep, name) == (name in OF_MODULE)


@pytest.mark.parametrize("name", public(dir(wandb.Run)))
def test_each_name_of_a_run_is_there_or_explained(name, run):
    assert is_explained(run, name) == (name in OF_RUN)


@pytest.mark.parametrize("name", ["plot", "log_artifact", "Table", "keras"])
def test_a_from_import_gives_the_same_sentence(name):
    done = subprocess.run(
        [sys.executable, "-c", f"from slurmsweep import {name}"], capture_output=True, text=True, check=False
    )

    assert done.stderr.splitlines()[-1].startswith("ImportError: " + SENTENCE.format(name))


def test_other_names_are_not_taken_for_wandbs():
    with pytest.raises(AttributeError, match=r"module 'slurmsweep' has no attribute 'lgo'"):
        slurmsweep.lgo  # noqa: B018 - its error is what counts
    with slurmsweep.init() as run, pytest.raises(AttributeError, match="'Run' object has no attribute 'lgo'"):
        run.lgo  # noqa: B018 - the same
    assert not hasattr(slurmsweep, "plot")


def test_calls_that_do_nothing_in_wandb_do_nothing_here(run):
    assert slurmsweep.require("core") is None
    assert slurmsweep.termsetup(None, None) is None
    assert run.pin_config_keys(["lr"]) is None
    assert run.display() is False
    assert (run.sweep_url, run.project_url, run.get_url()) == (None, None, None)


def test_the_path_of_a_run_has_entity_and_project_where_they_are_known():
    slurmsweep.finish()
    with slurmsweep.init(entity="team", project="digits", id="k3") as run:
        assert run.path == "team/digits/k3"


def test_every_part_of_the_package_is_known_as_such():
    folder = Path(slurmsweep.__file__).parent
    parts = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}

    assert {name for name in parts if not name.startswith("__")} == slurmsweep._PARTS
