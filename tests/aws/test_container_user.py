"""As which user the container of a job runs: the one whose sweep it is, whatever its image says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slurmsweep.backends.aws.batch import BatchBackend
from slurmsweep.backends.aws.ecs import EcsBackend
from slurmsweep.backends.base import JobSource, SubmitOptions

ROOT = Path(__file__).parents[2]
GIVEN = {"image": "me:1", "queue": "q", "region": "eu-west-1"}
ECS = {"image": "me:1", "cluster": "c", "subnets": "subnet-0a1b", "region": "eu-west-1"}


def user_of(backend, options, argument, template=""):
    source = JobSource("slurmsweep-abcd1234", argument, "/shared/jobs", "/shared")
    request = backend.request(source, 2, SubmitOptions(template, options))
    content = backend.requests(request)[0][1]
    container = content.get("containerProperties") or content["containerDefinitions"][0]
    return container.get("user")


@pytest.fixture
def ordinary(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.getegid", lambda: 100)


@pytest.mark.parametrize(("backend", "options"), [(BatchBackend, GIVEN), (EcsBackend, ECS)])
def test_a_sweep_in_a_folder_runs_as_the_user_who_submits_it(backend, options, ordinary):
    assert user_of(backend(), options, "/shared/.slurmsweep/sweep-abcd1234") == "1000:100"


@pytest.mark.parametrize(("backend", "options"), [(BatchBackend, GIVEN), (EcsBackend, ECS)])
def test_a_sweep_that_wandb_hosts_runs_as_the_image_says(backend, options, ordinary):
    assert user_of(backend(), options, "team/project/abcd1234") is None


def test_a_sweep_of_root_runs_as_the_image_says(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)

    assert user_of(BatchBackend(), GIVEN, "/shared/.slurmsweep/sweep-abcd1234") is None


def test_the_user_of_a_template_stands(ordinary, tmp_path):
    content = json.loads((ROOT / "job_templates" / "batch.json").read_text())
    content["containerProperties"]["user"] = "4711"
    template = tmp_path / "mine.json"
    template.write_text(json.dumps(content))

    assert user_of(BatchBackend(), GIVEN, "/shared/.slurmsweep/sweep-abcd1234", str(template)) == "4711"
