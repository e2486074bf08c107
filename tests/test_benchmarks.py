"""Benchmarks run with their smallest sizes, and print what the pages show: rows and columns, not figures.

`benchmarks/search.py` has tests of its own (`test_search_benchmark.py`); what needs a cluster is run by
`cluster/test_pages.py`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from documented import ROOT, RUN_BY, commands

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = ROOT / "docs" / "performance.md"

#: The command of a page that pytest runs by itself: the module of tests compares the page's table.
A_TEST = "scripts/test tests/state/test_claim_cost.py"

#: By the command of the page: the words of its smallest form, and patterns of the lines that it prints, in their order.
SMALLEST: dict[str, tuple[list[str], list[str]]] = {
    "python benchmarks/agent_overhead.py": (
        ["1", "1"],
        [
            r"agent around a trivial script / the bare script: [\d.]+ times",
            r"CPU time: bare script \d+ ms, agent around it \d+ ms",
            r"wandb agent around it / the bare script: [\d.]+ times",
            r"wall time added by wandb agent / wall time added by slurmsweep's: \d+ times",
            r"modules imported by the agent: \d+, by python alone: \d+",
        ],
    ),
    "python benchmarks/log_calls.py": (
        ["100"],
        [
            "100 calls of log, three values each; rows kept: 100 native, 100 wandb",
            r"time of a call, wandb / native: [\d.]+ times",
            r"CPU of all processes, wandb / native: [\d.]+ times",
            r"memory of native: [\d.]+ MiB after a tenth of the calls, [\d.]+ MiB after all",
            r"memory of wandb: [\d.]+ MiB after a tenth of the calls, [\d.]+ MiB after all",
            r"bytes on disk: \d+ a call native, \d+ a call wandb",
        ],
    ),
    "python benchmarks/herd.py 256": (
        ["6"],
        [
            "6 processes want the lock at once",
            r"slurmsweep, as an array +[\d.]+ tries each, \d+ at most;",
            r"slurmsweep, alone +[\d.]+ tries each, \d+ at most;",
            r"FileLock, 50 ms poll +[\d.]+ tries each, \d+ at most;",
        ],
    ),
    # optuna is compared where it is installed
    "pip install optuna && python benchmarks/claims.py": (
        ["8", "2"],
        [
            "8 trials by 2 claimers",
            r"slurmsweep +0 points twice, +0 never$",
            r"SQLite +0 points twice, +0 never; slurmsweep makes +[\d.]+ times as many trials a second",
        ],
    ),
    "python benchmarks/scale.py": (
        ["1100"],
        [
            "1,100 trials, half of them done",
            r"claim and finish +[\d.]+ s, +[\d.]+ times as long; +\d+ MiB; [+-][\d,]+ bytes read",
            r"status, the first time +[\d.]+ s",
            r"status, nothing changed +[\d.]+ s",
            r"trials --limit 20 +[\d.]+ s",
            r"best --top 5 +[\d.]+ s",
            r"give back all that failed +[\d.]+ s",
            r"claim and finish, a retry +[\d.]+ s",
        ],
    ),
    "python benchmarks/looking.py": (
        ["120"],
        [
            r"ls: \d+ ms of CPU",
            r" +120 trials  status the first time +\d+ ms of CPU, +[\d.]+ times; +[\d.]+ s; +\d+ MiB; [\d,]+ bytes read",
            r" +120 trials  status nothing changed +\d+ ms of CPU",
            r" +120 trials  watch  the first time +\d+ ms of CPU",
            r" +120 trials  report the first time +\d+ ms of CPU",
        ],
    ),
    "python benchmarks/run_files.py": (
        ["1", "20"],
        [
            r"20 steps, \d+ KiB; keys of the summary that differ: 0",
            r"  our first look [\d.]+ s, inspect [\d.e+]+ times as long",
            r"  each further look, with nothing new: inspect [\d.e+]+ times as long",
            r"a look of ours: no process, [1-9] modules that an agent has not loaded, once",
            r"a look of inspect: a process of a \d+ MiB program",
        ],
    ),
    "python benchmarks/pareto.py": (
        ["100"],
        [
            "100 points",
            r"2 metrics, at random .* times as long as sorting .* every pair takes [\d,]+ times as long",
            r"2 metrics, all in the front .* times as long as sorting .* every pair takes [\d,]+ times as long",
            r"3 metrics, at random .* times as long as sorting",
            r"3 metrics, all in the front .* times as long as sorting",
            r"a trial with 0 further metrics: \d+ bytes",
            r"a trial with 2 further metrics: \d+ bytes",
            r"a trial with 3 further metrics: \d+ bytes",
        ],
    ),
}

#: The same of benchmarks that `benchmarks/README.md` lists, and whose figures are on no page.
LISTED: dict[str, tuple[list[str], list[str]]] = {
    "report.py": (["5"], [r" trials  page MB   CPU s    MiB", r" +5 +[\d.]+ +[\d.]+ +\d+"]),
    "house.py": ([], [r"functions +\d+", r"docstrings that violate D401 +\d+", r"path of run: files/climbs/returns"]),
    "reconcile.py": (
        ["50", "--repeats", "1", "--only", "reconcile"],
        [
            r"50 trials that ended",
            r"reconcile, after status +CPU s +locked +MiB read +locked",
            r"  this checkout +[\d.]+",
        ],
    ),
    "beside.py": (
        [str(ROOT), "--repeats", "1"],
        [
            "an agent around a trivial script, median of 1",
            r"  wall +[\d.]+ s, the other +[\d.]+ s, ratio [\d.]+",
            r"  modules imported: (\d+), the other \1$",
        ],
    ),
    "search_memory.py": (
        ["12"],
        [r"ten trials: \d+ MiB", r" +12 trials, nothing kept ", " +what is chosen is the same"],
    ),
}

#: Where the other scripts that the list names are run.
RUN_ELSEWHERE = {
    "search.py": "test_search_benchmark.py",
    "rpcs.py": "cluster/test_pages.py",
    "mend_rpcs.py": "cluster/test_pages.py",
}


@pytest.fixture
def printed() -> Callable[..., list[str]]:
    """Run a program of the checkout, which has to end with 0; the lines of its standard output."""

    def printed(*argv: str) -> list[str]:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
        return done.stdout.splitlines()

    return printed


def assert_in_order(patterns: list[str], lines: list[str]) -> None:
    """Each pattern matches the beginning of a line below that of the pattern before."""
    rest = iter(lines)
    for pattern in patterns:
        assert any(re.match(pattern, line) for line in rest), f"no line like {pattern}\n" + "\n".join(lines)


def test_every_command_of_the_page_on_performance_is_here():
    assert {command.text for command in commands(PAGE)} == {A_TEST, *SMALLEST}
    assert (ROOT / A_TEST.rsplit(maxsplit=1)[-1]).is_file()


@pytest.mark.parametrize("command", SMALLEST, ids=lambda command: re.search(r"(\w+)\.py", command)[1])
def test_a_benchmark_of_the_page_on_performance_prints_what_the_page_shows(command, printed):
    words, patterns = SMALLEST[command]
    script = command.split("python ")[-1].split()[0]

    assert_in_order(patterns, printed(sys.executable, script, *words))


@pytest.mark.parametrize("script", LISTED)
def test_a_listed_benchmark_prints_its_table(script, printed):
    words, patterns = LISTED[script]

    assert_in_order(patterns, printed(sys.executable, f"benchmarks/{script}", *words))


def test_every_script_that_can_be_started_is_listed_and_run():
    listed = re.findall(
        r"^- `python benchmarks/(\w+\.py)", (ROOT / "benchmarks" / "README.md").read_text(), re.MULTILINE
    )
    programs = {
        path.name for path in (ROOT / "benchmarks").glob("*.py") if '\nif __name__ == "__main__":' in path.read_text()
    }
    on_the_page = {re.search(r"(\w+\.py)", command)[1] for command in SMALLEST}

    assert len(listed) == len(set(listed))
    assert set(listed) == on_the_page | LISTED.keys() | RUN_ELSEWHERE.keys()
    assert programs - set(listed) == {"search_engines.py"}  # the process of an engine, which search.py starts
    for script, test in RUN_ELSEWHERE.items():
        pages = [page for page, name in RUN_BY.items() if name == f"tests/{test}"]
        assert any(f"benchmarks/{script}" in command.text for page in pages for command in commands(ROOT / page)), (
            script
        )
