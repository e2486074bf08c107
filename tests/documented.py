"""Find the commands that the pages show, so that tests can run every one of them.

A page shows commands in three forms: in a block marked `console`, where each follows a `$ `
(`tests/test_pages_run.py` follows these literally); in an indented block; and in a block that is marked as nothing, `sh`
or `bash`. :func:`commands` returns those of the last two.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent

#: All pages that users and developers read.
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md"), *ROOT.glob("benchmarks/*.md")]
)

#: The test that runs each page's commands, all that :func:`commands` returns of it. What it does not run it names, with
#: the reason.
RUN_BY: dict[str, str] = {
    "CONTRIBUTING.md": "tests/test_developer_pages.py",
    "README.md": "tests/cluster/test_readme.py",
    "benchmarks/README.md": "tests/test_search_benchmark.py",
    "docs/aws.md": "tests/aws/test_page.py",  # and test_page_by_hand.py, all that begin with `aws`
    "docs/coming-from-wandb.md": "tests/pages/test_local_pages.py",
    "docs/commands.md": "tests/cluster/test_readme.py",
    "docs/extensions.md": "tests/cluster/test_readme.py",
    "docs/failure.md": "tests/pages/test_local_pages.py",
    "docs/functions.md": "tests/cluster/test_readme.py",
    "docs/hosted.md": "tests/cluster/test_hosted_pages.py",
    "docs/importance.md": "tests/pages/test_local_pages.py",
    "docs/notifications.md": "tests/cluster/test_hosted_pages.py",
    "docs/on-your-cluster.md": "tests/cluster/test_pages.py",
    "docs/performance.md": "tests/test_benchmarks.py",
    "docs/report.md": "tests/pages/test_local_pages.py",
    "docs/rpc-budget.md": "tests/cluster/test_pages.py",
    "docs/search.md": "tests/test_search_benchmark.py",
    "docs/sharing.md": "tests/pages/test_local_pages.py",
    "docs/slurm-versions.md": "tests/test_developer_pages.py",
    "docs/templates.md": "tests/cluster/test_pages.py",
    "docs/troubleshooting.md": "tests/cluster/test_readme.py",
    "docs/tutorial.md": "tests/cluster/test_pages.py",
    "docs/walltime.md": "tests/cluster/test_walltime.py",
    "examples/any_program/README.md": "tests/test_examples.py",
    "examples/arguments/README.md": "tests/test_examples.py",
    "examples/bayes_in_parts/README.md": "tests/test_examples.py",
    "examples/best_of_run/README.md": "tests/test_examples.py",
    "examples/conditional/README.md": "tests/test_examples.py",
    "examples/digits/README.md": "tests/test_examples.py",
    "examples/function/README.md": "tests/test_examples.py",
    "examples/gpus/README.md": "tests/test_examples.py",
    "examples/hydra/README.md": "tests/frameworks/test_frameworks.py",
    "examples/lightning/README.md": "tests/frameworks/test_frameworks.py",
    "examples/more/README.md": "tests/test_examples.py",
    "examples/quickstart/README.md": "tests/test_examples.py",
    "examples/repeats/README.md": "tests/test_examples.py",
    "examples/sagemaker/README.md": "tests/aws/test_example_page.py",
    "examples/snapshot/README.md": "tests/test_examples.py",
    "examples/torchrun/README.md": "tests/frameworks/test_frameworks.py",
    "examples/transformers/README.md": "tests/frameworks/test_frameworks.py",
    "examples/two_stages/README.md": "tests/test_examples.py",
    "examples/wandb_offline/README.md": "tests/test_examples.py",
}

#: How a line begins that is a command: after assignments, a program and a word, so that `slurmsweep:` is none.
_COMMAND = re.compile(
    r"(?:\$ )?((?:[A-Z_]+=\S+ )*"
    r"(?:(?:slurmsweep|wandb|python3?|pip|aws|sbatch|git|make|setfacl|cd|mkdir|export) [^ =:]|\.venv/bin/python |"
    r"(?:scripts|tests)/[\w/-]+).*)"
)

#: Drawings of processes have arrows, and prose that follows a sign has no options.
_DRAWING = re.compile(r"<--|-->|^slurmsweep \w+ /")

#: Marks of blocks that hold commands. `console` blocks have their own test.
_SHELLS = ("", "sh", "bash")


class Command(NamedTuple):
    """One command of a page: in which line it begins, and what is typed, in one line and without its comment."""

    line: int
    text: str


def commands(page: Path) -> list[Command]:
    """Return the commands of a page in their order, but for those in `console` blocks."""
    found: list[Command] = []
    lines = iter(_blocks(page))
    for number, line in lines:
        match = _COMMAND.match(line)
        if not match or _DRAWING.search(line):
            continue
        text = match[1]
        while text.endswith("\\"):
            text = text[:-1].rstrip() + " " + next(lines)[1].strip()
        found.append(Command(number, re.sub(r"\s+#.*", "", text)))
    return found


def _blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line of the blocks that may hold commands."""
    mark: str | None = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.match(r"```(\w*)", line)
        if fence:
            mark = fence[1] if mark is None else None
        elif mark in _SHELLS or (mark is None and line.startswith("    ")):
            yield number, line.strip()
