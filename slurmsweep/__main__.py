"""``python -m slurmsweep``, and the ``slurmsweep`` command: one process from a command line to an exit code."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

from slurmsweep.cli.main import main
from slurmsweep.cli.output import OUTPUT_ENCODING

#: New objects after which Python looks for garbage. With its own 700 it looks a hundred times while modules are loaded,
#: and they stay. No command loads half as many; a long one collects some 10 MB of garbage between two looks.
_GARBAGE_THRESHOLD = 100_000


def run() -> NoReturn:
    """Run the command line and end the process, without the interpreter's own clean-up.

    Both measures save CPU time of every agent: ``docs/decisions/0025-start-up-measured.md``. The clean-up would free
    objects one by one that the kernel takes back as a whole; no command leaves anything to be done at exit. Where wandb
    was loaded Python ends as usual, because wandb has work to do then.
    """
    _open_closed_streams()
    if sys.getfilesystemencoding() != "utf-8":
        # again, with UTF-8 for arguments, variables and file names: a locale may know few characters; what is printed
        # stays in the locale's encoding, which the terminal has
        shown = sys.stdout.encoding
        options = ["-X", "utf8", "-X", f"{OUTPUT_ENCODING}={shown}"]
        os.execv(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]])  # noqa: S606 - no shell is the point
    gc.set_threshold(_GARBAGE_THRESHOLD)
    code = main()
    if "wandb" in sys.modules:
        sys.exit(code)
    with suppress(OSError):  # the reader of the output is gone: the command has done its work
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed (``>&-``, some daemons).

    Otherwise the next file that is opened has its number, such as the journal, and a program that is started prints
    there.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None and os.open(os.devnull, os.O_RDWR) == number:  # the lowest that is free
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


if __name__ == "__main__":
    run()
