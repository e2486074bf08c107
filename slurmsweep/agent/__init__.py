"""What runs on a compute node: claim a trial, run its command, record the outcome.

The name has a second meaning: ``slurmsweep.agent(sweep_id, function=train)`` is ``wandb.agent``. Python binds
``slurmsweep.agent`` to this package as soon as anything imports a module of it, so no function of that name in
``slurmsweep`` could stay; instead this package itself can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **named: Any) -> None:
        """Run trials of a sweep from Python: :func:`slurmsweep.functions.agent.agent`."""
        from slurmsweep.functions.agent import agent

        agent(*args, **named)


sys.modules[__name__].__class__ = _CallablePackage
