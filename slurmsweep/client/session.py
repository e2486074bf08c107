"""The run of this process: one at a time, from ``init`` to ``finish`` or the end of the script."""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from slurmsweep.client.configuration import Config, default_values, merged, read_values
from slurmsweep.client.parameters import swept_parameters
from slurmsweep.client.training_run import Identity, Place, Run, split_tags
from slurmsweep.client.values import as_mapping, warn
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MODES = ("online", "offline", "disabled", "shared", "dryrun")
_REINIT = (None, True, False, "default", "return_previous", "finish_previous")


class Settings:
    """Settings for :func:`init` by wandb's names: those of its arguments, but ``run_id`` for ``id``, and so on.

    Other settings of wandb are accepted and have no effect, because there is no server.
    """

    def __init__(self, **named: Any) -> None:
        self.__dict__.update(named)


#: Of each part of an identity: its environment variable, and its name among wandb's settings.
_NAMES = {
    "project": ("WANDB_PROJECT", "project"),
    "entity": ("WANDB_ENTITY", "entity"),
    "id": ("WANDB_RUN_ID", "run_id"),
    "name": ("WANDB_NAME", "run_name"),
    "notes": ("WANDB_NOTES", "run_notes"),
    "tags": ("WANDB_TAGS", "run_tags"),
    "group": ("WANDB_RUN_GROUP", "run_group"),
    "job_type": ("WANDB_JOB_TYPE", "run_job_type"),
}

#: The run of this process; None before :func:`init` and after :func:`finish`.
_current: Run | None = None


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - wandb's name
    id: str | None = None,  # noqa: A002 - wandb's name
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    config: Any = None,
    config_exclude_keys: Iterable[str] | None = None,
    config_include_keys: Iterable[str] | None = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    force: bool | None = None,
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    save_code: bool | None = None,
    tensorboard: bool | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    anonymous: Any = None,
) -> Run:
    """Begin the run of this process; a drop-in for ``wandb.init`` in sweeps.

    Parameters of the sweep override ``config``, which overrides ``config-defaults.yaml``; mappings are merged. In a
    sweep the id, project and entity are those of the sweep. Outside a sweep nothing is written, unless the script or
    ``WANDB_DIR`` names a folder.

    Args:
        entity: the entity of the run.
        project: the project of the run.
        dir: outside a sweep: the folder for ``wandb/<run>``, as ``WANDB_DIR``.
        id: the id of the run outside a sweep.
        name: the name shown to users.
        notes: the notes of the run.
        tags: the tags of the run.
        config: defaults: a mapping, an ``argparse.Namespace``, or the path of a YAML file (``name: {value: ...}``).
        config_exclude_keys: names of ``config`` that are left out.
        config_include_keys: the only names of ``config`` that are used.
        allow_val_change: no effect here; see :meth:`Config.update`.
        group: the group of the run.
        job_type: the job type of the run.
        mode: ``disabled`` writes nothing, also in a sweep; all other modes are offline.
        force: no effect here.
        reinit: by default an unfinished run is returned, as in wandb; True or ``finish_previous`` finishes it first.
        resume: no effect here: all attempts of a trial are one run, which goes on.
        resume_from: no effect here.
        fork_from: no effect here.
        save_code: no effect here; see :func:`log_code`.
        tensorboard: no effect here.
        sync_tensorboard: no effect here.
        monitor_gym: no effect here.
        settings: the same arguments by the names of W&B's settings; an argument overrides its setting.
        anonymous: no effect here.

    Raises:
        UsageError: the parameters of the sweep or a file of defaults cannot be read, or an argument is not valid.
    """
    global _current
    if reinit == "create_new":
        raise UsageError("init(reinit='create_new'): a trial has one run at a time; use 'finish_previous'")
    if reinit not in _REINIT:
        raise UsageError(f"init(reinit={reinit!r}): use True, False, 'return_previous' or 'finish_previous'")
    if reinit in (True, "finish_previous"):
        finish()
    if _current is not None:
        warn("init() was called while a run is active: it is returned. reinit='finish_previous' makes a new one.")
        return _current
    more = as_mapping(settings or {})
    given = read_values(config, config_exclude_keys, config_include_keys)
    identity = _identity(
        more, project=project, entity=entity, id=id, name=name, notes=notes, tags=tags, group=group, job_type=job_type
    )
    place = _place(identity, dir or more.get("root_dir"), mode or more.get("mode"))
    _current = Run(Config(swept_parameters(), merged(default_values(), given)), identity, place, _forget)
    return _current


def finish(exit_code: int | None = None, quiet: bool | None = None) -> None:
    """End the current run, if there is one."""
    if _current is not None:
        _current.finish(exit_code, quiet)


def current() -> Run:
    """Return the run of this process. Raises UsageError before :func:`init`."""
    if _current is None:
        raise UsageError("call slurmsweep.init() first")
    return _current


def active() -> Run | None:
    """Return the run of this process, or None."""
    return _current


def _forget(run: Run) -> None:
    global _current
    if _current is run:
        _current = None


@atexit.register
def _finish_at_exit() -> None:
    """Finish the run, with exit code 1 after an exception; the code of ``sys.exit`` cannot be known here."""
    finish(1 if getattr(sys, "last_value", None) is not None and not hasattr(sys, "ps1") else None)


def _identity(settings: Mapping[str, Any], **named: Any) -> Identity:
    """Return the identity of a run by the arguments that name its parts, else by settings, else by the environment.

    Project, entity and id of a sweep override the script's, with wandb's warnings.
    """
    environ = os.environ
    sweep = environ.get("WANDB_SWEEP_ID")
    found: dict[str, Any] = {}
    for word, (variable, setting) in _NAMES.items():
        given = named[word] or settings.get(setting)
        if sweep and word in ("project", "entity", "id") and given and given != environ.get(variable):
            warn(f"Ignoring {word} {given!r} when running a sweep.")
            given = None
        found[word] = given or environ.get(variable)
    run_id = found["id"]
    if not run_id:
        import secrets  # only scripts outside of a sweep need it

        run_id = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(8))
    return Identity(
        id=run_id,
        name=found["name"] or run_id,
        project=found["project"],
        entity=found["entity"],
        group=found["group"] or "",
        job_type=found["job_type"] or "",
        tags=split_tags(found["tags"]),
        notes=found["notes"],
        sweep_id=sweep,
        resumed=(environ.get("SLURMSWEEP_ATTEMPT") or "1") != (environ.get("SLURMSWEEP_FIRST_ATTEMPT") or "1"),
    )


def _place(identity: Identity, folder: str | os.PathLike[str] | None, mode: str | None) -> Place:
    mode = mode or os.environ.get("WANDB_MODE") or "offline"
    if mode not in _MODES:
        raise UsageError(f"mode {mode!r}: use one of {', '.join(_MODES)}")
    disabled = mode == "disabled"
    attempt = os.environ.get("SLURMSWEEP_ATTEMPT_DIR")
    if attempt:
        return Place(attempt, os.environ.get("SLURMSWEEP_SWEEP"), keeps_history=True, disabled=disabled)
    named = os.fspath(folder) if folder else os.environ.get("WANDB_DIR")
    begun = time.strftime("%Y%m%d_%H%M%S")
    made = os.path.join(
        os.path.abspath(os.path.expanduser(named or os.getcwd())), "wandb", f"native-run-{begun}-{identity.id}"
    )
    return Place(made, None, keeps_history=bool(named), disabled=disabled)
