"""Call one function, named by its import path, as the whole of a trial's process.

A program of its own (``call_function.py package.module:train``), run by its path with the interpreter of the trial,
which need not have slurmsweep: standard library only. The module is first looked for in the current folder, as for a
script in it. If there is nothing to call, the program says so in one line and ends with exit code 2; an exception of
the function ends the process as it would end a script.
"""

from __future__ import annotations

import importlib
import os
import sys

#: Exit code of wrong usage: the trial's function is not there.
_USAGE = 2


def main(argv: list[str]) -> int:
    """Import the module and call the function without arguments; its return value is ignored."""
    module, colon, name = argv[0].partition(":") if len(argv) == 1 else ("", "", "")
    if not (module and colon and name):
        return _fail(f"name one function as package.module:function, not {' '.join(argv)!r}")
    # the current folder replaces this script's, whose modules would hide others of the same names
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [os.getcwd(), *(entry for entry in sys.path if os.path.realpath(entry or ".") != here)]
    sys.argv = argv  # as a script sees its own name, and no arguments: the parameters are in the run's configuration
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there; what it imports is not
        return _fail(f"{error}: looked in {os.getcwd()} and on the path of {sys.executable}")
    function = found
    for part in name.split("."):
        if not hasattr(function, part):
            return _fail(f"{module} ({getattr(found, '__file__', None)}) has no {name!r}")
        function = getattr(function, part)
    if not callable(function):
        return _fail(f"{argv[0]} is {type(function).__name__!r} and cannot be called")
    result = function()
    if hasattr(result, "__await__"):
        if hasattr(result, "close"):
            result.close()  # else Python warns, too
        return _fail(f"{argv[0]} is asynchronous, and nothing of it has run: name a function that runs it")
    return 0


def _fail(message: str) -> int:
    print(f"slurmsweep: {message}", file=sys.stderr)
    return _USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
