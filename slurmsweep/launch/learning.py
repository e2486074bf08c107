"""Whether something is to be learnt: most submissions ask for what they want, and load nothing of the learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.slurm.resources import normal_name

if TYPE_CHECKING:
    from slurmsweep.launch.submit import Wishes
    from slurmsweep.learn.walltime import Learn

#: What stands for "learn it" in the place of a time or a memory.
AUTO = "auto"


def what_to_learn(wishes: Wishes, canaries: int | None = None) -> tuple[Wishes, Learn | None]:
    """The wishes without ``auto``, and what that asks to learn; None where nothing is ``auto``.

    Raises:
        UsageError: ``canaries`` are given, and nothing is to be learnt from them.
    """
    options = dict(wishes.options or {})
    learnt = {normal_name(name) for name, value in options.items() if str(value).lower() == AUTO} & {"time", "mem"}
    if not learnt:
        if canaries is not None:
            raise UsageError("--canaries stands with --time auto or --mem auto: say what to learn from them")
        return wishes, None
    from slurmsweep.learn.walltime import Learn

    kept = {name: value for name, value in options.items() if normal_name(name) not in learnt}
    return wishes._replace(options=kept), Learn("time" in learnt, "mem" in learnt, canaries)
