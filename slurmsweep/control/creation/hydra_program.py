"""Tell whether a new sweep's program is one of Hydra's: macros then write its grammar, and its folder is looked at."""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from slurmsweep.control.creation.program import beginning_of, module_files
from slurmsweep.errors import Violation
from slurmsweep.sweepfile.command import FOR_HYDRA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.sweepfile.config import SweepConfig

#: A line that imports Hydra, or a package whose programs take its overrides.
_IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+|import[ \t]+(?:[^#\n]*,[ \t]*)?)hydra(?:_zen)?\b", re.MULTILINE)

#: Bytes of a program or of a file of its configuration that are looked at, and how many such files.
_MOST, _FILES = 1 << 20, 300

#: Where a program says that its configuration is, and where that often is.
_CONFIG_PATH = re.compile(rb"""config_path[ \t]*=[ \t]*["']([^"']+)["']""")
_CONFIG_PATHS = ("conf", "config", "configs")

#: A line that sets ``hydra.run.dir``, and what makes a folder that of one second only.
_FOLDER = re.compile(rb"^[ \t]*(?:dir|hydra\.run\.dir)[ \t]*:[ \t]*(\S.*)$", re.MULTILINE)
_BY_TIME = re.compile(rb"\$\{now:(?!.*\$\{(?:hydra\.job|oc\.env))")


def with_hydra(config: SweepConfig, workdir: str) -> SweepConfig:
    """Return the configuration; where its command writes for Hydra, its document says so from now on.

    That is where a macro is for Hydra alone, or a program takes overrides and imports Hydra. A file that says
    ``slurmsweep: {hydra: false}`` (or true) keeps its word; so do sweeps that were made before.
    """
    macros = {name for name in FOR_HYDRA if f"${{{name}}}" in (config.command or ())}
    if config.extensions.hydra is not None or not macros:
        return config
    if macros == {"args_no_hyphens"}:
        texts = (beginning_of(path, _MOST) for path in _programs(config, workdir))
        if not any(text and _IMPORT.search(text) for text in texts):
            return config
    ours = {**(config.document.get("slurmsweep") or {}), "hydra": True}
    document = {**config.document, "slurmsweep": ours}
    return config._replace(document=document, extensions=config.extensions._replace(hydra=True))


def _programs(config: SweepConfig, workdir: str) -> Iterator[str]:
    """Yield files that may be the program: as the command names it, as a module, or as a folder of one."""
    for word in (config.program, *(config.command or ())):
        if isinstance(word, str) and word and "$" not in word and not word.startswith("-"):
            for name in (word, f"{word}/__main__.py", *module_files(word)):
                yield os.path.join(workdir, name)


def warnings_of_folder(config: SweepConfig, workdir: str) -> list[Violation]:
    """Return a warning where trials that start in the same second would share the output folder that Hydra makes.

    Hydra names it by date and second (``hydra.run.dir``). A folder that the command, a parameter or the program's own
    configuration names is taken to be right, unless it is by time, too.
    """
    words = (*map(str, config.command or ()), *config.parameters)
    if not config.extensions.hydra or any("hydra.run.dir" in word for word in words):
        return []
    programs = [(path, text) for path in _programs(config, workdir) if (text := beginning_of(path, _MOST))]
    for path, text in programs:
        named = [os.fsdecode(name) for name in _CONFIG_PATH.findall(text)] or _CONFIG_PATHS
        folders = [Path(os.path.dirname(path), name) for name in named]
        files = islice((file for folder in folders for file in folder.rglob("*.yaml")), _FILES)
        said = [line for file in files for line in _FOLDER.findall(beginning_of(str(file), _MOST) or b"")]
        if any(not _BY_TIME.search(line) for line in said):
            return []
    problem = "trials that start in the same second share Hydra's output folder, and write over each other there"
    hint = 'add the element "hydra.run.dir=$${oc.env:SLURMSWEEP_CHECKPOINT_DIR}", or set it in the configuration'
    return [Violation("command", problem, hint)] if programs else []
