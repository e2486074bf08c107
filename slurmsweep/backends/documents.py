"""Where the templates of jobs are, and those that are no batch scripts: documents of AWS and Linux, usable by hand."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from slurmsweep.errors import UsageError

#: The folders of all templates: in a checkout beside the package; in an installed wheel inside it.
PLACES = (Path(__file__).parents[2] / "job_templates", Path(__file__).parents[1] / "job_templates")

#: What each is for (JSON has no comments), and of which operation of AWS it is the input.
_KNOWN = {
    "batch.json": ("a job definition of AWS Batch", "batch", "RegisterJobDefinition"),
    "ecs.json": ("a task definition of Amazon ECS", "ecs", "RegisterTaskDefinition"),
    "sagemaker.json": ("a training job of Amazon SageMaker", "sagemaker", "CreateTrainingJob"),
    "ec2-user-data.yaml": ("cloud-config of machines of EC2: mounts the sweeps, and listens to a queue", "", ""),
    "slurmsweep-agent.service": ("the unit of systemd that listens to a queue of SQS, and ends in order", "", ""),
}


class JobDocument(NamedTuple):
    """A template that is no batch script.

    Attributes:
        name: of the file.
        path: of the file.
        description: what it is for.
        text: the whole file.
        checked: by what it was found to have no mistake; empty where nothing checked it.
    """

    name: str
    path: str
    description: str
    text: str
    checked: str = ""


def builtin_file(name: str) -> Path | None:
    """Return the path of a template of any kind that comes with slurmsweep; None without a file of that name."""
    return next((place / name for place in PLACES if os.path.isfile(place / name)), None)


def read_text(path: Path) -> str:
    """Return the text of a template of any kind, with its line ends. Raises UsageError where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"job template {path}: {error}") from error


def builtin_documents() -> list[str]:
    """Return the names of the documents that come with slurmsweep."""
    return [name for name in _KNOWN if builtin_file(name)]


def read_document(name: str) -> JobDocument:
    """Return one of :func:`builtin_documents`, also by its name without ``.json``, unchecked; its text as it is.

    Raises:
        UsageError: it cannot be read.
    """
    file = name if name in _KNOWN else f"{name}.json"
    path = builtin_file(file) or Path(file)
    return JobDocument(file, str(path), _KNOWN[file][0], read_text(path))


def load_document(name: str) -> JobDocument:
    """Return the same, checked where boto3 is here to do it. Raises UsageError, also where AWS's model refuses it."""
    document = read_document(name)
    _, service, operation = _KNOWN[document.name]
    if not operation:
        return document
    from slurmsweep.backends.aws import templates
    from slurmsweep.backends.aws.client import require_boto3

    with suppress(UsageError):
        require_boto3()
        document = document._replace(checked=f"AWS's model of {operation}")
    if document.checked:
        templates.load(document.path, service, operation)
    return document


def is_document(name: str) -> bool:
    """Return whether a name is that of such a template."""
    known = builtin_documents()
    return name in known or f"{name}.json" in known
