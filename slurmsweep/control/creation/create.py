"""A sweep file becomes a sweep on disk: read, check, find the program, write."""

from __future__ import annotations

import os
import re
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep import search
from slurmsweep.control import defaults
from slurmsweep.control.creation.code_selection import Selection, select
from slurmsweep.control.creation.code_snapshot import copied
from slurmsweep.control.creation.code_state import note_code_state
from slurmsweep.control.creation.hydra_program import warnings_of_folder, with_hydra
from slurmsweep.control.creation.program import beginning_of, find_program
from slurmsweep.control.creation.share import share
from slurmsweep.control.creation.start_check import check_start
from slurmsweep.errors import SweepFileError, UsageError, Violation
from slurmsweep.search import random
from slurmsweep.search.kept import has_room
from slurmsweep.state import files, projects
from slurmsweep.state.manifest import Manifest
from slurmsweep.state.naming import steps_back
from slurmsweep.state.paths import Layout, new_sweep_id, root_folder, sweep_folder
from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile import command
from slurmsweep.sweepfile.config import check, examine
from slurmsweep.sweepfile.findings import Findings
from slurmsweep.sweepfile.load import examine_file
from slurmsweep.sweepfile.shell_words import warn_of_shell_words
from slurmsweep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slurmsweep.state.function import Function
    from slurmsweep.sweepfile.config import Examined, SweepConfig


#: Of W&B's projects: characters at most, and those that no name has. wandb 0.31 refuses others in each ``init``; sweeps
#: that were made before may have them, because scripts without wandb run all the same.
_LONGEST_PROJECT, _NOT_IN_PROJECTS = 128, frozenset("/\\#?%:")

_WORD_FOR_NEWEST = "that is a word for the newest sweep, or one before it, so no command would find this one by it"

#: Bytes of a program that are searched for the name of a project.
_MOST_OF_PROGRAM = 1 << 20


class Draft(NamedTuple):
    """A checked sweep file with everything that is decided before anything is written.

    Attributes:
        source: the file as it was named.
        config: checked.
        warnings: what hosted W&B would warn of, or do silently.
        workdir: the folder the command will run in.
        function: what trials call in the place of a command.
        doubts: what would keep trials from starting, as far as this machine can tell.
        snapshot: what the copy of the code will hold from which trials run; None where they run from the folder.
    """

    source: str
    config: SweepConfig
    warnings: tuple[Violation, ...]
    workdir: str
    function: Function | None = None
    doubts: tuple[Violation, ...] = ()
    snapshot: Selection | None = None


def read_draft(
    source: str, function: str | None = None, names: Mapping[str, str] | None = None, *, snapshot: bool | None = None
) -> Draft:
    """Read and check a sweep file. Writes nothing.

    Args:
        source: path of the file.
        function: import path of what trials are to call; looked for here, then beside the file.
        names: the sweep's project, entity or name; they win over those of the file.
        snapshot: whether trials run from a copy of the code; None where the file says it.

    Raises:
        SweepFileError: every violation at once; a program that is not there is one, and a command that cannot start.
        UsageError: there is no such function; or a variable that agents read is wrong; or git cannot be asked about the
            code of which a copy is wanted.
    """
    examined = _with_base_point(examine_file(source))
    if function is None:
        draft = _checked_to_start(_with_code_copy(_draft(examined, names or {}), wanted=snapshot))
        return draft._replace(warnings=(*draft.warnings, *_without_project(draft)))
    checked = examined.checked()
    config = _named(checked.config, names or {}, source)
    from slurmsweep.control.creation.function import locate

    called = locate(function, (os.getcwd(), os.path.dirname(os.path.abspath(source))))
    named = [key for key, value in (("command", config.command), ("program", config.program)) if value]
    problem, hint = "is not run: trials call the function of --function", "remove it, or leave --function out"
    warnings = (*_without_program(checked.warnings), *(Violation(key, problem, hint) for key in named))
    draft = Draft(source, config, warnings, called.folder, called)
    return _checked_to_start(_with_code_copy(draft, wanted=snapshot))


def draft_of(data: Any, source: str) -> Draft:
    """Check a configuration from Python, for trials that a function runs there: it may lack a program.

    Raises:
        SweepFileError: every violation at once; a program that is named and not there is one, and a command that cannot
            start another.
        UsageError: a variable that agents read is wrong.
    """
    draft = _draft(_with_base_point(examine(data, source)), {})
    if not draft.config.program:
        draft = draft._replace(warnings=_without_program(draft.warnings))
    if draft.config.program or draft.config.command:
        return _checked_to_start(_with_code_copy(draft, wanted=None))
    if draft.config.extensions.snapshot:
        hint = "name a program, or the import path of the function: `slurmsweep create FILE --function MODULE:NAME`"
        problem = "a function in your own process runs no copy"
        raise SweepFileError(source, [Violation("slurmsweep.snapshot", problem, hint)])
    return draft


def _with_base_point(examined: Examined) -> Examined:
    """Return the sweep file with what it takes from a trial of another sweep, and with what is wrong in ``aws:``."""
    if examined.config is None:
        return examined
    for name, value in examined.config.aws.items():  # all names are known, and a sweep keeps what is written here
        if why := defaults.refusal("aws", {name: value}):
            examined.findings.error(("aws", name), why)
    base = examined.config.extensions.base
    if base is None:
        return examined
    from slurmsweep.control.creation.base_point import with_base  # few sweeps have one

    return with_base(examined, base)


def _draft(examined: Examined, names: Mapping[str, str]) -> Draft:
    """Return the draft of an examined sweep file. Raises SweepFileError with every violation, the program's too."""
    workdir = os.getcwd()
    if examined.config is not None:
        workdir = find_program(examined.config, examined.source, examined.findings)
        project = names.get("project") or examined.config.project or ""
        if len(project) > _LONGEST_PROJECT or _NOT_IN_PROJECTS & set(project):
            hint = f"use at most {_LONGEST_PROJECT} characters, none of {' '.join(sorted(_NOT_IN_PROJECTS))}"
            problem = f"wandb refuses the name {project!r} in every trial"[:200]
            examined.findings.error(("project",), problem, hint)
    checked = examined.checked()
    config = with_hydra(_named(checked.config, names, examined.source), workdir)
    return Draft(examined.source, config, tuple(checked.warnings), workdir)


def _with_code_copy(draft: Draft, *, wanted: bool | None) -> Draft:
    """Return the draft with the files of which a copy is kept, where one is wanted. Raises as :func:`read_draft`."""
    config = draft.config
    if wanted is not None and wanted != (config.extensions.snapshot is not None):
        ours = {**(config.document.get("slurmsweep") or {}), "snapshot": wanted}
        config = check({**config.document, "slurmsweep": ours}, draft.source).config
        draft = draft._replace(config=config)
    if config.extensions.snapshot is None:
        return draft
    found = select(config, draft.workdir, draft.function)
    if not isinstance(found, Selection):
        raise SweepFileError(draft.source, found)
    return draft._replace(snapshot=found)


def _named(config: SweepConfig, names: Mapping[str, str], source: str) -> SweepConfig:
    """Return the configuration with another project, entity or name.

    Raises:
        SweepFileError: these are wrong.
        UsageError: the name is a word for another sweep.
    """
    if steps_back(names.get("name", "")) is not None:
        raise UsageError(f"--name {names['name']}: {_WORD_FOR_NEWEST}: give another name")
    return check(config.document | dict(names), source).config if names else config


def _without_project(draft: Draft) -> list[Violation]:
    """Return a warning where the program uses wandb, and neither it nor the sweep nor the user names a project."""
    config = draft.config
    if config.project or os.environ.get("WANDB_PROJECT") or not config.program:
        return []
    text = beginning_of(os.path.join(draft.workdir, config.program), _MOST_OF_PROGRAM) or b""
    if b"project" in text or not re.search(rb"import wandb|from wandb|WandbLogger", text):
        return []
    problem = "is named nowhere: wandb calls it 'uncategorized', and `sync` uploads the runs there"
    return [Violation("project", problem, "write project: NAME, or give --project NAME here or to `sync`")]


def _checked_to_start(draft: Draft) -> Draft:
    """Return the draft with what may keep its trials from starting, and with warnings about its command.

    Raises:
        SweepFileError: what certainly keeps them.
        UsageError: a variable that agents read is wrong.
    """
    config = draft.function.called_by(draft.config) if draft.function else draft.config
    found = check_start(config, draft.workdir, os.environ)
    if found.errors:
        raise SweepFileError(draft.source, list(found.errors))
    findings = Findings()
    if steps_back(config.name or "") is not None:
        findings.warn(("name",), f"{config.name!r}: {_WORD_FOR_NEWEST}", "write another name, or give --name NAME")
    warn_of_shell_words([str(element) for element in draft.config.command or ()], ("command",), findings)
    warnings = (*draft.warnings, *findings.warnings, *warnings_of_folder(draft.config, draft.workdir))
    return draft._replace(warnings=warnings, doubts=found.doubts)


def _without_program(warnings: Iterable[Violation]) -> tuple[Violation, ...]:
    """Return the warnings without those about the program: a function needs no program."""
    return tuple(warning for warning in warnings if warning.path != "program")


def create(
    draft: Draft, *, access: files.Access = files.PRIVATE, canary: bool = False, needs_program: bool = True
) -> SweepStore:
    """Write a new sweep below :func:`root_folder`.

    Args:
        draft: what to write.
        access: for whom it is; other users are those of the group of that folder.
        canary: it is one trial of a plan.
        needs_program: its trials run a command; else they may be run by a function, which is named later.

    Raises:
        SweepFileError: its trials could not be run: there is no program, or no search of that method yet.
        StateUnwritableError: there is no new sweep.
    """
    refuse_what_cannot_run(draft, needs_program=needs_program and draft.function is None)
    root, what = root_folder(), manifest_of(draft, new_sweep_id())._replace(canary=canary)
    folder = sweep_folder(root, what.sweep_id)
    with copied(draft.snapshot, folder, access) as code:
        if code:
            what = what._replace(snapshot=code.what, workdir=code.what.workdir(Layout(folder))).calling(what.function)
        store = SweepStore.create(root, what, access, code)
    if access is not files.PRIVATE:
        share(store, access)  # of the project's group, though `.slurmsweep` may be of another one
    projects.remember(root)
    note_code_state(store)
    return store


def manifest_of(draft: Draft, sweep_id: str) -> Manifest:
    """Return what the draft would be as a sweep with that id, with the defaults of now. Raises DefaultsFileError."""
    return Manifest(
        sweep_id=sweep_id,
        config=draft.config,
        trials=search.run_count(draft.config),
        workdir=draft.workdir,
        source=os.path.abspath(draft.source),
        created=round(time.time(), 3),
        version=__version__,
        defaults=defaults.read(os.path.dirname(os.path.abspath(draft.source))),
        snapshot=draft.snapshot.what if draft.snapshot else None,
    ).calling(draft.function)


def refuse_what_cannot_run(draft: Draft, *, needs_program: bool) -> None:
    """Refuse a draft of which no sweep may be made. Raises SweepFileError."""
    config = draft.config
    violations = []
    if config.method == "bayes" and find_spec("numpy") is None:
        hint = "`pip install 'slurmsweep[bayes]'`, here and where the jobs run; or use random"
        violations.append(Violation("method", "bayes needs numpy, which is not installed", hint))
    if config.method == "bayes" and not has_room(config):
        problem = "are too many for bayes: a trial's record has no room for the values of all"
        violations.append(Violation("parameters", problem, "make some of them constants, or use random"))
    if needs_program and config.program is None and command.needs_program(config.command):
        hint = "name the training script, or a Python function by --function package.module:function"
        violations.append(Violation("program", "is missing: the command cannot be run", hint))
    if search.run_count(config) == 0 or not _can_be_drawn(config):
        violations.append(Violation("slurmsweep.exclude", "leaves no point at all", "exclude less"))
    if config.extensions.computed:
        from slurmsweep.search.without_value import why_without_value  # few sweeps have computed parameters

        violations += why_without_value(config)
    if violations:
        raise SweepFileError(draft.source, violations)


def _can_be_drawn(config: SweepConfig) -> bool:
    """Return whether a search without a list has points left to draw: asked here, so that no trial fails on it."""
    try:
        return config.method == "grid" or bool(random.point(config, 0, "any"))
    except UsageError:
        return False
