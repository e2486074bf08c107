"""Tell whether a new sweep's program is one of Hydra's, so that the macros for Hydra write its grammar."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from slurmsweep.control.program import beginning_of, module_files
from slurmsweep.sweepfile.command import FOR_HYDRA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.sweepfile.config import SweepConfig

#: A line that imports Hydra, or a package whose programs take its overrides.
_IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+|import[ \t]+(?:[^#\n]*,[ \t]*)?)hydra(?:_zen)?\b", re.MULTILINE)

#: Bytes of a program that are looked at.
_MOST = 1 << 20


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
