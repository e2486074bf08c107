"""The commands of AWS's own command line in docs/aws.md are typed, at the stand-ins: templates of slurmsweep by hand."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from aws.queueing import wait_until
from documented import ROOT
from following import Shell, following, sections

PAGE = ROOT / "docs" / "aws.md"

#: What a user puts into a copy of a template; `FOLDER` and the sweep are the test's.
OWN = {
    "IMAGE": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/me:1",
    "FILESYSTEM": "fs-0123456789abcdef0",
    "REGION": "eu-west-1",
    "ACCOUNT": "123456789012",
    "ROLE": "jobs",
    "BUCKET": "my-bucket",
}


@pytest.fixture
def by_hand(tmp_path, slurmsweep, monkeypatch):
    """Make a sweep of five trials, and a function that follows a section; how many trials have finished after it."""
    program = shutil.which("aws") or shutil.which(ROOT / ".venv-aws" / "bin" / "aws")
    if program is None:
        pytest.skip("no aws: scripts/setup-aws installs it")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "aws").symlink_to(program)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "train.py").write_text("print('trained')\n")
    (tmp_path / "sweep.yaml").write_text(
        "{program: train.py, method: grid, parameters: {x: {values: [1, 2, 3, 4, 5]}}}"
    )
    sweep = f"{tmp_path}/.slurmsweep/sweep-{slurmsweep('create', 'sweep.yaml').stdout.strip()}"

    def follow(title: str, template: str, in_template: str, trials: int) -> None:
        text = slurmsweep("templates", template).stdout
        for word, own in (OWN | {"/FOLDER": str(tmp_path), f'"{in_template}"': f'"{sweep}"'}).items():
            text = text.replace(word, own)
        (tmp_path / f"{template}.json").write_text(text)
        shown = [command for command in sections(PAGE)[title] if command.text.startswith("aws ")]
        assert shown
        shell = Shell(tmp_path, {}, {"/shared/me/.slurmsweep/sweep-abcd1234": sweep})
        with following(shown, shell) as typed:
            for _ in shown:
                typed("aws ")

        def finished() -> int:
            return json.loads(slurmsweep("status", sweep, "--json").stdout)["counts"]["finished"]

        wait_until(lambda: finished() == trials, f"{trials} trials finish")

    return follow


def test_batch(by_hand, batch):
    batch.add_queue("spot", "machines")
    by_hand("Batch", "batch", "ENTITY/PROJECT/SWEEP", 5)
    [array] = [job for job in batch.jobs.values() if job.parent is None]
    assert batch.wait_for(array.job_id, "SUCCEEDED").name == "by-hand"


def test_ecs(by_hand, ecs, cloud):
    by_hand("ECS", "ecs", "ENTITY/PROJECT/SWEEP", 5)
    assert "/ecs/slurmsweep" in cloud.logs.events
    assert {ecs.wait_for(task, "STOPPED").exit_code for task in list(ecs.tasks)} == {0}
    assert len(ecs.tasks) == 5


def test_sagemaker(by_hand, sagemaker):
    by_hand("SageMaker", "sagemaker", "SWEEP", 1)
    assert sagemaker.wait_for("slurmsweep-by-hand-1", "Completed").request["RoleArn"].endswith("123456789012:role/jobs")
