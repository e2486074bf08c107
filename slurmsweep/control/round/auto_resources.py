"""Tell whether something is to be learnt, without loading what learns: most submissions ask for what they want."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from slurmsweep.backends import registry
from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.sizing.walltime import AutoSizing

#: What stands for "learn it" in the place of a time or a memory.
AUTO = "auto"


def what_to_learn(wish: SubmitOptions, canaries: int | None = None) -> tuple[SubmitOptions, AutoSizing | None]:
    """Return the wish without ``auto``, and what that asks to learn; None where nothing is ``auto``.

    Raises:
        UsageError: ``canaries`` are given, and nothing is to be learnt from them.
    """
    options = dict(wish.options or {})
    auto = [name for name, value in options.items() if str(value).lower() == AUTO]
    long_names = {name: registry.scheduler().long_name(name) for name in options} if auto else {}
    learnt = {long_names[name] for name in auto} & {"time", "mem"}
    if not learnt:
        if canaries is not None:
            raise UsageError("--canaries stands with --time auto or --mem auto: say what to learn from them")
        return wish, None
    from slurmsweep.sizing.walltime import AutoSizing

    kept = {name: value for name, value in options.items() if long_names[name] not in learnt}
    return replace(wish, options=kept), AutoSizing("time" in learnt, "mem" in learnt, canaries)
