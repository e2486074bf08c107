"""Coverage-guided fuzzing of the sweep file loader: no input may end in anything but a clear error.

Not part of the test run. It needs atheris (``pip install atheris``) and runs for as long as it is told:

    python tests/fuzz/fuzz_loader.py -max_total_time=600 FOLDER_FOR_NEW_INPUTS tests/data/wrong_sweeps

Whatever is accepted must also have a first and a last point, a command, and a frozen form that gives it back.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

import atheris

with atheris.instrument_imports():
    from slurmsweep import search
    from slurmsweep.errors import SweepFileError, UsageError
    from slurmsweep.sweepfile.command import build_argv
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.load import load

FILE = os.path.join(tempfile.mkdtemp(), "sweep.yaml")


def try_one(data: bytes) -> None:
    """Load one file; use it if it is accepted."""
    with open(FILE, "wb") as file:
        file.write(data)
    try:
        config = load(FILE).config
    except SweepFileError as error:
        str(error)
        return
    if (
        SweepConfig.from_json(json.loads(json.dumps(config.to_json(), allow_nan=False))) != config
        and b"nan" not in data.lower()
    ):
        raise AssertionError("the frozen form is another configuration")
    if config.method != "bayes":
        use(config)


def use(config: SweepConfig) -> None:
    """Use a configuration as ``plan`` and an agent do."""
    total = search.run_count(config)
    for number in {0, (total or 10) - 1} if total != 0 else ():
        try:
            params = search.parameters(config, number, "abcd1234")
            argv = build_argv(config.command, config.program, params, environ={}, own={"args_json_file": "/f"})
        except UsageError:
            return
        if not all(isinstance(element, str) for element in argv):
            raise AssertionError(argv)


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()
