"""Ask the machine of a job of AWS what its variables do not say: a task of ECS, or one of several machines.

No proxy is used and no redirection followed: these addresses are of the machine's own link. Nothing here is a request
to AWS, and none needs a key. Loaded only in jobs of AWS.

Sources: Amazon ECS Developer Guide, "Amazon ECS task metadata endpoint version 4"; Amazon SageMaker Developer Guide,
"How Amazon SageMaker Provides Training Information".
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import SchedulerUnavailableError, UsageError
from slurmsweep.state.assignment import ECS_URI

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds for each step of a question, and those between tries: the answer comes from the machine itself.
_TIMEOUT = 2.0
_AGAIN = (0.2, 1.0)

#: More bytes than a true answer has.
_MOST = 1024 * 1024

#: Where SageMaker puts its files, and the variable by which its own containers are told another folder.
_SAGEMAKER, _SAGEMAKER_BASE = "/opt/ml", "SAGEMAKER_BASE_DIR"


def ecs_task(environ: Mapping[str, str]) -> Any:
    """Return what ECS says of the task in which this process runs, after at most three tries.

    Raises:
        SchedulerUnavailableError: nothing answered with status 200, or the answer is no JSON.
        UsageError: the variable holds no address.
    """
    import http.client  # with ssl and email, which jobs of Batch and SageMaker do without
    from urllib.parse import urlsplit

    address, what = environ.get(ECS_URI, "").rstrip("/") + "/task", f"this task's metadata ({ECS_URI})"
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:
        raise UsageError(f"cannot read {what}: {address!r} is no address: {error}") from error
    if parts.scheme != "http" or not host or not address.isascii() or not address.isprintable():
        raise UsageError(f"cannot read {what}: {address!r} is no address that begins with http://")
    for delay in (*_AGAIN, None):
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
        try:
            connection.request("GET", parts.path)
            answer = connection.getresponse()
            body = answer.read(_MOST + 1)
            if answer.status == http.client.OK and len(body) <= _MOST:
                break
            problem = f"status {answer.status}" if len(body) <= _MOST else f"more than {_MOST} bytes"
        except (OSError, http.client.HTTPException) as error:
            problem = f"{error}" or type(error).__name__
        finally:
            connection.close()
        if delay is not None:
            time.sleep(delay)
    else:
        raise SchedulerUnavailableError(f"cannot read {what} from {address}: {problem}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SchedulerUnavailableError(f"what {address} answered is no JSON: {error}") from error


def sagemaker_machines(environ: Mapping[str, str]) -> Any:
    """Return what SageMaker says of the machines of a training job (``resourceconfig.json``); None without that file.

    Raises:
        UsageError: the file cannot be read, or is no JSON.
    """
    path = os.path.join(environ.get(_SAGEMAKER_BASE) or _SAGEMAKER, "input", "config", "resourceconfig.json")
    try:
        with open(path, encoding="utf-8") as file:
            return json.loads(file.read(_MOST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read {path}, which names the machines of a training job: {error}") from error
