"""Options of sbatch in variables of the user's shell or site (``SBATCH_PARTITION``): they are wishes, the weakest ones.

sbatch itself lets them win over the lines of a script, so that a time limit that was asked for would not count. Here
they stand below the template, and what counts of them stands in the script, in the journal and in ``plan``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.backends.slurm.resources import KNOWN, OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Variables that are not named after their option (sbatch(1), "INPUT ENVIRONMENT VARIABLES").
_OPTIONS = {
    "ARRAY_INX": "array", "TIMELIMIT": "time", "MEM_PER_NODE": "mem", "REQ_SWITCH": "switches",
    "SEGMENT_SIZE": "segment", "CPU_FREQ_REQ": "cpu-freq", "BURST_BUFFER": "bb",
}  # fmt: skip

#: Options without a value: that the variable is there is all that counts.
_FLAGS = frozenset(
    {"no-requeue", "overcommit", "requeue", "spread-job", "use-min-nodes", "spread-segments", "consolidate-segments"}
)

#: Options whose value is optional, and the values that mean something.
_MODES = {"exclusive": ("user", "mcs", "topo"), "no-kill": ("off",), "oversubscribe": ("user",)}

#: Left to sbatch as it is: which variables jobs inherit may name secrets, and stands in no script.
_UNTOUCHED = frozenset({"export"})


def wishes(environ: Mapping[str, str]) -> dict[str, str | bool]:
    """Return the options that variables ask for, by long name."""
    found: dict[str, str | bool] = {}
    for name, option in _named(environ):
        if option in KNOWN:
            found[option] = _value(option, environ[name])
    return found


def removed(environ: Mapping[str, str]) -> list[str]:
    """Return the variables that sbatch must not see: those of :func:`wishes`, and of what slurmsweep sets itself."""
    return [name for name, _ in _named(environ)]


def words(environ: Mapping[str, str], options: Mapping[str, str | bool]) -> list[str]:
    """Return a line for each variable, for people: whether it counts among the merged ``options``."""
    said = []
    for name, option in _named(environ):
        wish = _value(option, environ[name])
        if option in KNOWN and options.get(option) == wish:
            said.append(f"{name} of your environment counts: --{option}{'' if wish is True else f' {wish}'}")
        elif option in KNOWN:
            instead = f": --{option} {options[option]} is set" if option in options else " beside what is set"
            said.append(f"{name} of your environment does not count{instead}")
    return said


def _named(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the variables with the options that they set, where we know the option; at most one names a cluster."""
    found = []
    for name in sorted(environ):
        short = name.removeprefix("SBATCH_")
        option = _OPTIONS.get(short, short.lower().replace("_", "-"))
        if short != name and environ[name] and option in KNOWN | OURS.keys() and option not in _UNTOUCHED:
            found.append((name, option))
    # inside a job it is that job's
    if environ.get("SLURM_CLUSTERS") and "SLURM_JOB_ID" not in environ and not environ.get("SBATCH_CLUSTERS"):
        found.append(("SLURM_CLUSTERS", "clusters"))
    return found


def _value(option: str, text: str) -> str | bool:
    modes = _MODES.get(option)
    return True if option in _FLAGS or (modes and text not in modes) else text
