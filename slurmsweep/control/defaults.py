"""What a user or a project asks of all sweeps: which files say it, what may stand in them, and where each value counts.

A sweep keeps the defaults that it was made with, in ``sweep.json``, one document a file: the user's first, then the
project's. So a supervisor, ``resubmit`` and another login node ask for what the first submission asked for.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slurmsweep.backends import gpu_list, registry
from slurmsweep.backends.base import DEFAULT_TEMPLATE, Ability, SubmitOptions
from slurmsweep.errors import DefaultsFileError, SweepFileError, UsageError
from slurmsweep.state import files
from slurmsweep.sweepfile.findings import Findings, nearest, shown, suggest
from slurmsweep.sweepfile.secrets import is_secret
from slurmsweep.sweepfile.sections import JOB_SECTIONS, read_count, read_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slurmsweep.backends.base import Backend

    #: The checked content of a file, with its path under ``file``.
    Document = Mapping[str, Any]

#: Of a project: in the folder of its sweep files, or above it, up to the root of the repository.
PROJECT_FILE = ".slurmsweep.yaml"

KEYS = ("slurm", "aws", "template", "width", "jobs", "gpus", "backend", "setup")

_SECRET = re.compile(r"(\w+)=\S")


def user_file() -> str:
    """Return the path of the user's file, which need not be there."""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(folder, "slurmsweep", "config.yaml")


def project_file(folder: str) -> str | None:
    """Return the nearest file of a project, from the folder of a sweep file upwards; None where there is none.

    It is looked for up to the root of the repository (``.git``); outside of one in the folder alone. A folder above
    that is another owner's is not looked into, because the lines of ``setup`` are run.
    """
    here = start = os.path.abspath(folder)
    found: str | None = None
    while (status := files.status_of(here)) and (first := files.status_of(start)) and status.st_uid == first.st_uid:
        path = os.path.join(here, PROJECT_FILE)
        found = found or (path if os.path.lexists(path) else None)
        if os.path.lexists(os.path.join(here, ".git")):
            return found
        here, below = os.path.dirname(here), here
        if here == below:
            break
    own = os.path.join(start, PROJECT_FILE)
    return own if os.path.lexists(own) else None


def read(folder: str) -> tuple[Document, ...]:
    """Return the defaults for sweep files in a folder, those that win last.

    Raises DefaultsFileError with every mistake of a file.
    """
    project = project_file(folder)
    return tuple(_read(path) for path in (user_file(), project) if path and os.path.lexists(path))


def filled(wish: SubmitOptions, documents: Sequence[Document], backend: Backend) -> SubmitOptions:
    """Return a wish with the template, the number at a time and the GPUs of this machine that defaults give.

    Where the wish says them itself it stands. Jobs of a service are made of no script: its part of the defaults,
    ``aws:``, is added by its backend.

    Options of sbatch and the lines of ``setup`` are added by the backend (:class:`JobSource`), below the sweep file's.
    """
    known = {key: value for document in documents for key, value in document.items()}
    template, width = DEFAULT_TEMPLATE, known.get("width")
    if not backend.has_scripts:
        return wish
    if Ability.LIMIT in backend.abilities:
        template = known.get("template", template)
    if Ability.OUTLIVE not in backend.abilities:
        width = known.get("jobs")
        wish = replace(wish, options={**({"gpus": known["gpus"]} if "gpus" in known else {}), **(wish.options or {})})
    return replace(wish, template=wish.template or template, width=width if wish.width is None else wish.width)


def backend_of(documents: Sequence[Document]) -> str:
    """Return the backend of a sweep that was not started yet and for which none is named; empty to look for one."""
    known = [document["backend"] for document in documents if "backend" in document]
    return "" if known[-1:] == [registry.AUTO] else "".join(known[-1:])


def rows_of(documents: Sequence[Document]) -> list[dict[str, Any]]:
    """Return each value with the file that it comes from, and whether a later file says another one."""
    found: dict[str, dict[str, Any]] = {}
    for document in documents:
        flat = {key: value for key, value in document.items() if key not in ("file", *JOB_SECTIONS)}
        for section in JOB_SECTIONS:
            flat |= {f"{section}.{name}": value for name, value in document.get(section, {}).items()}
        for name, value in flat.items():
            hidden = [found[name]["file"]] if name in found else []
            found[name] = {"name": name, "value": value, "file": document["file"], "instead_of": hidden}
    return [found[name] for name in sorted(found)]


def _read(path: str) -> Document:
    from slurmsweep.sweepfile.load import read_yaml  # loads yaml

    try:
        data, lines = read_yaml(path)
    except SweepFileError as error:
        raise DefaultsFileError(path, error.violations) from error
    findings = Findings(lines)
    if data is None:
        return {"file": path}
    if not isinstance(data, dict):
        findings.error((), f"holds {shown(data)}", f"it is a mapping: {', '.join(KEYS)}")
        raise DefaultsFileError(path, findings.violations)
    document = {"file": path, **{key: value for key, value in data.items() if value is not None}}
    _check(document, findings)
    if findings.violations:
        raise DefaultsFileError(path, findings.violations)
    return document


def _check(document: dict[str, Any], findings: Findings) -> None:
    """Report what is wrong; make the path of a template absolute."""
    for key in [key for key in document if key not in {"file", *KEYS}]:
        named = {str(key): "1"}
        # a near miss first: what sbatch has no name for may be an option of a newer one
        is_near = nearest(key, KEYS)
        is_of_sbatch = not is_near and not refusal("slurm", named) and not registry.scheduler().strangers(named)
        hint = "an option of sbatch stands below slurm:" if is_of_sbatch else suggest(key, KEYS)
        findings.error((key,), f"{shown(key)} is no default", hint)
    for section in JOB_SECTIONS:
        for name, value in read_jobs(section, document.get(section), findings).items():
            if why := refusal(section, {name: value}):
                findings.error((section, name), why)
    for key in {"width", "jobs"} & document.keys():
        read_count(document[key], (key,), findings)
    _check_gpus(document, findings)
    word = document.get("backend", registry.AUTO)
    if word not in registry.WORDS:
        findings.error(("backend",), f"{shown(word)} is no backend", suggest(word, registry.WORDS))
    _check_setup(document.get("setup", []), findings)
    if "template" in document:
        name = os.path.expanduser(str(document["template"]))
        if os.sep in name or name.endswith(".sbatch"):
            name = os.path.join(os.path.dirname(document["file"]), name)
        document["template"] = name
        try:
            registry.scheduler().check(SubmitOptions(name))
        except UsageError as error:
            findings.error(("template",), str(error))


def _check_gpus(document: dict[str, Any], findings: Findings) -> None:
    """Report GPUs that are none; make text of a number."""
    if "gpus" in document:
        document["gpus"] = str(document["gpus"])
        try:
            gpu_list.read(document["gpus"])
        except UsageError as error:
            findings.error(("gpus",), str(error).partition(": ")[2])


def refusal(section: str, options: Mapping[str, Any]) -> str:
    """Return what is wrong with an option of a section; empty for nothing."""
    try:
        registry.of_section(section).normalized(options)
    except UsageError as error:
        return str(error).partition(": ")[2]
    return ""


def _check_setup(lines: Any, findings: Findings) -> None:
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        findings.error(("setup",), "must be a list of lines of shell", "such as [module load cuda]")
        return
    for place, line in enumerate(lines):
        named = next((name for name in _SECRET.findall(line) if is_secret(name)), None)
        if named:
            hint = "set it in your shell before you submit, and jobs inherit it"
            findings.error(("setup", place), f"gives the value of {named}, which would stand in batch scripts", hint)
        elif not line.isprintable():
            findings.error(("setup", place), "holds a control character", "write one line of shell")
