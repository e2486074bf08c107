"""Fixtures for tests of what runs on AWS: the stand-ins of ``aws/standin``, and an environment that cannot reach AWS."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from aws.queueing import moto_services
from aws.standin.cloud import Cloud
from aws.standin.imds import Imds
from botocore.config import Config
from botocore.loaders import create_loader

#: Reads the models of services once for all tests: SageMaker's takes a second.
_LOADER = create_loader()

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from aws.standin.batch import Batch
    from aws.standin.ecs import Ecs
    from aws.standin.sagemaker import SageMaker


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _clean_environment: None) -> Iterator[Cloud]:
    """Return stand-ins of all services, which boto3 and the product find; a wrong answer of theirs fails the test.

    Jobs run in the test's folder, as many as ``cloud.machines.slots`` at a time, with PATH and HOME as all that they
    have of this environment. Add to ``cloud.machines.environ`` what an image would bring.
    """
    for name in list(os.environ):
        if name.startswith(("AWS_", "ECS_", "SM_", "TRAINING_JOB_")):
            monkeypatch.delenv(name)
    with closing(Cloud(tmp_path, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)})) as made:
        for name, value in made.environ().items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """Return the address of moto's services."""
    with moto_services() as address:
        yield address


@pytest.fixture
def batch(cloud: Cloud) -> Batch:
    """Return the stand-in for AWS Batch; it has a queue ``sweeps``."""
    return cloud.batch


@pytest.fixture
def ecs(cloud: Cloud) -> Ecs:
    """Return the stand-in for Amazon ECS; it has clusters ``default`` and ``sweeps``."""
    return cloud.ecs


@pytest.fixture
def sagemaker(cloud: Cloud) -> SageMaker:
    """Return the stand-in for SageMaker's training jobs."""
    return cloud.sagemaker


@pytest.fixture
def imds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _clean_environment: None) -> Iterator[Imds]:
    """Return the metadata service of an EC2 instance, which boto3 and the product find."""
    if "cloud" in request.fixturenames:
        request.getfixturevalue("cloud")  # it turns metadata off, so it must come first
    with closing(Imds()) as made:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", made.url)
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
        yield made


@pytest.fixture
def client(cloud: Cloud) -> Iterator[Callable[..., Any]]:
    """Return a maker of boto3 clients for the stand-ins; each request is sent once unless a ``retries`` is given."""
    made: list[Any] = []

    def make(service: str, check: bool = True, **retries: Any) -> Any:  # noqa: FBT001, FBT002
        config = Config(retries=retries or {"total_max_attempts": 1}, parameter_validation=check)
        session = botocore.session.Session()
        session.register_component("data_loader", _LOADER)
        made.append(boto3.Session(botocore_session=session).client(service, config=config))
        return made[-1]

    yield make
    for each in made:
        each.close()
