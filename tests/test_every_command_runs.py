"""Each command that a page shows is run by a test, which takes the command from the page."""

from __future__ import annotations

import pytest
from documented import PAGES, ROOT, RUN_BY, commands

#: What takes commands from pages. A test that has neither runs what it says itself, and not what the page says.
READERS = ("commands(", "follow_in")

#: Commands, and what looks like them.
PAGE = """Text, slurmsweep status

    slurmsweep plan sweep.yaml    # which writes nothing
    cd here && make all
    slurmsweep run / submit  --->  Slurm
    slurmsweep run sweep.yaml --time 5 \\
        --mem 1G
    slurmsweep: {"loss": 1}
    NAME=value python train.py

```console
$ slurmsweep best
```

```yaml
    slurmsweep ls
```

```sh
pip install it
```
"""

WITH_COMMANDS = [str(page.relative_to(ROOT)) for page in PAGES if commands(page)]


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_a_page_with_commands_has_a_test_that_runs_them(page):
    assert page in RUN_BY, f"{page} shows commands: {[text for _, text in commands(ROOT / page)]}"


@pytest.mark.parametrize("page", RUN_BY)
def test_the_test_of_a_page_reads_the_page(page):
    assert page in WITH_COMMANDS, f"{page} shows no commands"
    test = ROOT / RUN_BY[page]
    text = test.read_text()
    names = (page, page.removeprefix("docs/"), *page.split("/")[1:2])  # whole, below docs/, or the example's folder
    assert any(reader in text for reader in READERS), f"{test.name} takes no commands from pages"
    assert any(f'"{name}"' in text for name in names), f"{test.name} does not name {page}"


def test_commands_are_found_without_their_comments_and_outputs(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)

    assert [tuple(command) for command in commands(page)] == [
        (3, "slurmsweep plan sweep.yaml"),
        (4, "cd here && make all"),
        (6, "slurmsweep run sweep.yaml --time 5 --mem 1G"),
        (9, "NAME=value python train.py"),
        (20, "pip install it"),
    ]
