"""Job templates for AWS: the input of one of its own operations, as a JSON file that works by hand too.

``aws batch register-job-definition --cli-input-json file://batch.json`` takes the same file. What is wrong in one is
said before anything is sent, by the model of the service that botocore has, with the path of the key.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from botocore.model import ServiceModel

#: In a checkout beside the package; in an installed wheel inside it.
_PLACES = (Path(__file__).parents[3] / "job_templates", Path(__file__).parents[2] / "job_templates")
_SUFFIX = ".json"


class Document(NamedTuple):
    """A template that was read.

    Attributes:
        name: or absolute path by which it can be read again.
        path: of the file.
        content: the input of an operation.
        text: the whole file.
    """

    name: str
    path: str
    content: dict[str, Any]
    text: str


def digest(content: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits that are equal for equal content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def load(name_or_path: str, service: str, operation: str) -> Document:
    """Read a template: a built-in one by name, any other by its path.

    Args:
        name_or_path: ``batch``, or ``./mine.json``.
        service: by boto3's name.
        operation: of which the file is the input, such as ``RegisterJobDefinition``.

    Raises:
        UsageError: there is no such template, it is no JSON, or AWS's model refuses it; each mistake with its path.
    """
    path = _find(name_or_path)
    try:
        text = path.read_bytes().decode("utf-8")
        content = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"job template {path}: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"job template {path}: it must be one JSON object, the input of {operation}")
    check(content, service, operation, f"job template {path}")
    name = os.path.abspath(name_or_path) if _is_path(name_or_path) else name_or_path
    return Document(name, str(path), content, text)


def check(content: dict[str, Any], service: str, operation: str, where: str) -> None:
    """Refuse what AWS's model refuses as the input of an operation. No request is sent.

    Raises:
        UsageError: a line for each mistake, with its path; it begins with ``where``. Or botocore is not installed.
    """
    from slurmsweep.backends.aws.client import require_boto3

    require_boto3()
    from botocore.validate import ParamValidator

    shape = _model(service).operation_model(operation).input_shape
    if shape is None:
        raise UsageError(f"{where}: {operation} has no input")
    found = ParamValidator().validate(content, shape)
    if found.has_errors():
        lines = found.generate_report().splitlines()
        raise UsageError("\n".join([f"{where} is no input of {operation}:", *(f"  - {line}" for line in lines)]))


@cache
def _model(service: str) -> ServiceModel:
    """Return AWS's model of a service: reading one takes up to a second, and a command checks several documents."""
    from botocore.session import get_session

    return get_session().get_service_model(service)


def _is_path(name_or_path: str) -> bool:
    return os.sep in name_or_path or name_or_path.endswith(_SUFFIX)


def _find(name_or_path: str) -> Path:
    if _is_path(name_or_path):
        if not os.path.isfile(name_or_path):
            raise UsageError(f"there is no job template {name_or_path}")
        return Path(name_or_path)
    for place in _PLACES:
        path = place / f"{name_or_path}{_SUFFIX}"
        if path.is_file():
            return path
    known = sorted({path.stem for place in _PLACES if place.is_dir() for path in place.glob(f"*{_SUFFIX}")})
    raise UsageError(
        f"there is no job template {name_or_path!r} for AWS: built in are {', '.join(known)}; or give a path"
    )
