"""Numbers and amounts as words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import slurmsweep
from slurmsweep.report.figures import counted, numbers_text


@pytest.mark.parametrize(("number", "text"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials")])
def test_one_trial_is_not_several(number, text):
    assert counted(number, "trial") == text


def test_a_long_list_of_numbers_is_cut_and_says_how_many_more():
    assert numbers_text([3, 7, 8], 3) == "3, 7, 8"
    assert numbers_text(range(14), 3) == "0, 1, 2 and 11 more"


#: Expressions before a plural that are never 1, or stand for a total: 20 of 500, the largest, a name.
NEVER_ONE = {
    "len(front.trials)", "len(one.unsynced)", "len(found)", "known.elsewhere", "len(trials)", "_TRIALS", "len(failed)",
    "total", "array.agents", "SUPPORTED_AGENTS", "sum(counts.values())", "number", "_FRUITLESS", "finished", "n",
    "plan.trials", "seen.max_array_size", "seen.submit_limit", "seen.max_job_count", "figure(state.rate)", "failed",
    "len(refused)", "pending", "len(sweeps)", "self.jobs", "len(sums.alone)", "wanted", "environ[TRIALS]",
    "self.sweep_id", "tail.next_trial", "tail.sequence", "self._in_a_row", "self._failed", "MOST_TRIALS", "places",
    "before[0].width", "failures['trials']", "document['trials']", "len(dealt)", "-(-agents // gpus)", "agents",
}  # fmt: skip

NOUNS = re.compile(
    r" (?:(?:more|open|finished) )?(?:trials|jobs|sweeps|rows|lines|attempts|agents|records|rounds|arrays)\b"
)


def counts_before_plurals(source: str):
    """Yield the expressions of f-strings behind which the plural of a noun stands whatever their value is."""
    for text in ast.walk(ast.parse(source)):
        for value, after in zip(text.values, text.values[1:], strict=False) if isinstance(text, ast.JoinedStr) else ():
            if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant) and NOUNS.match(after.value):
                yield ast.unparse(value.value)


def test_no_message_says_1_trials():
    """Counts that may be 1 are written by ``counted``."""
    found = {
        f"{path.name}: {expression}"
        for path in Path(slurmsweep.__file__).parent.rglob("*.py")
        for expression in counts_before_plurals(path.read_text())
        if expression not in NEVER_ONE
    }

    assert found == set()
    assert list(counts_before_plurals("f'{len(them)} more trials run'")) == ["len(them)"]
    assert [counted(n, "trial waits", "trials wait") for n in (1, 2)] == ["1 trial waits", "2 trials wait"]
