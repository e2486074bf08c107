"""What the definitions of Batch and ECS have in common: image, kept secrets, filesystem and user of a container."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.aws import options as aws_options
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slurmsweep.backends.base import JobRequest

#: In the built-in templates: what a person has to say.
_IMAGE, _FILESYSTEM = "IMAGE", "FILESYSTEM"

#: The tag of a definition that says from which content it was registered, and that of a job with its sweep.
DIGEST_TAG, SWEEP_TAG = "slurmsweep-digest", "slurmsweep-sweep"


def sweep_of(request: JobRequest) -> str:
    """Return the value of :data:`SWEEP_TAG`: the sweep's id."""
    return request.source.name.removeprefix("slurmsweep-")


def named_values(variables: Mapping[str, str]) -> list[dict[str, str]]:
    """Return environment variables as a container's overrides have them."""
    return [{"name": name, "value": value} for name, value in variables.items()]


def fill(container: dict[str, Any], volumes_in: dict[str, Any], request: JobRequest, where: str) -> None:
    """Change a template's container as the options of a request say.

    Args:
        container: of the template.
        volumes_in: the part of the template that has ``volumes``.
        request: for whose jobs the definition is.
        where: the template, for people.

    Raises:
        UsageError: no image is named.
    """
    options = request.options
    if image := options.get("image"):
        container["image"] = str(image)
    if container.get("image", _IMAGE) == _IMAGE:
        raise UsageError(
            f"{where}: no container image is named; say --image URI, or `aws: {{image: URI}}` in the sweep file or "
            "your defaults: one with slurmsweep and your program"
        )
    if kept := aws_options.secrets(options):
        listed = {one["name"]: one for one in container.get("secrets", ())}
        listed |= {name: {"name": name, "valueFrom": source} for name, source in kept.items()}
        container["secrets"] = list(listed.values())
    if os.path.isabs(request.source.argument) and os.geteuid():
        # the root of an image may not run another user's sweep, and files of root would be closed to this user
        container.setdefault("user", f"{os.geteuid()}:{os.getegid()}")
    _mount(container, volumes_in, aws_options.filesystem(options))


def _mount(container: dict[str, Any], volumes_in: dict[str, Any], filesystem: tuple[str, str] | None) -> None:
    """Mount a filesystem of EFS where the template has a place for one; without one the template's own place goes."""
    volumes, points = copy.deepcopy(volumes_in.get("volumes", [])), container.get("mountPoints", [])
    free = next((v for v in volumes if v.get("efsVolumeConfiguration", {}).get("fileSystemId") == _FILESYSTEM), None)
    if filesystem is None:
        if free:
            volumes_in["volumes"] = [volume for volume in volumes if volume is not free]
            container["mountPoints"] = [one for one in points if one.get("sourceVolume") != free["name"]]
        return
    name, folder = filesystem
    if free is None:
        free = {"name": "slurmsweep", "efsVolumeConfiguration": {"transitEncryption": "ENABLED"}}
        volumes.append(free)
    free["efsVolumeConfiguration"]["fileSystemId"] = name
    point = {"sourceVolume": free["name"], "containerPath": folder, "readOnly": False}
    volumes_in["volumes"] = volumes
    container["mountPoints"] = [*(one for one in points if one.get("sourceVolume") != free["name"]), point]


def doubts(container: Mapping[str, Any], request: JobRequest, job: str, kept: str) -> Iterator[str]:
    """Yield what a container most likely lacks: W&B's key, or the folder of the sweep.

    Args:
        container: of the definition of a request.
        request: for whose jobs the definition is.
        job: the service's word for a job.
        kept: by what the service names a kept secret, for people.
    """
    folder = request.source.argument
    if os.path.isabs(folder):
        yield from _unmounted(folder, container, job)
    elif not any(one["name"] == "WANDB_API_KEY" for one in container.get("secrets", ())):
        yield f"no secret gives {job}s WANDB_API_KEY: --aws secret=WANDB_API_KEY=<{kept} of the kept key>"


def _unmounted(folder: str, container: Mapping[str, Any], job: str) -> Iterator[str]:
    """Yield in words that a container will not find a sweep's folder, where no mount of it has that folder.

    The folder is compared as text, since links of this machine are not there.
    """
    mounts = [str(one.get("containerPath", "")) for one in container.get("mountPoints", ())]
    if any(f"{folder}/".startswith(f"{mount.rstrip('/')}/") for mount in mounts):
        return
    mounted = f"nothing but {', '.join(mounts)}" if mounts else "no filesystem"
    yield (
        f"the {job} definition mounts {mounted}, and {job}s need {folder}: --aws efs=fs-0123:/FOLDER, with the folder "
        "that the filesystem has here, too; or --template with volumes of your own"
    )
