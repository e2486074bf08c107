"""``python -m slurmsweep``, and the ``slurmsweep`` command: one process from a command line to an exit code."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

from slurmsweep.cli.main import main

#: New objects after which Python looks for garbage; its own 700 looks a hundred times while modules are loaded, which
#: stay. No command loads half as many, and in a long one garbage in circles waits for some 10 MB to come together.
_LOOK_FOR_GARBAGE_AFTER = 100_000


def run() -> NoReturn:
    """Run the command line and end the process.

    Without taking the interpreter apart, which costs an agent as much CPU time as the start of Python: the kernel takes
    the memory back as it is, and nothing of ours is left for the end. Not where wandb was loaded: it has things to do
    then.
    """
    gc.set_threshold(_LOOK_FOR_GARBAGE_AFTER)
    code = main()
    if "wandb" in sys.modules:
        sys.exit(code)
    with suppress(OSError):  # said to nobody: what the command did is done
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
