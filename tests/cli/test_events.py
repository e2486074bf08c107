"""What a command says while it waits."""

from __future__ import annotations

import pytest

from slurmsweep.cli.events import EventPrinter
from slurmsweep.control.round.events import Progress
from slurmsweep.state.lifecycle import TrialState


@pytest.mark.parametrize(
    ("finished", "failed", "line"),
    [
        (2, 0, "2/2 trials: 2 finished"),
        (9, 1, "2/2 trials: in the whole sweep 1 failed, 9 finished"),  # 8 had ended before
    ],
)
def test_a8_progress_counts_what_the_command_started_and_names_the_sweeps_counts_as_such(
    capsys, finished, failed, line
):
    printer = EventPrinter()
    printer.close()  # nothing is held back any more
    counts = {state: n for state, n in ((TrialState.FINISHED, finished), (TrialState.FAILED, failed)) if n}

    printer(Progress(2, 2, counts))

    assert capsys.readouterr().err.splitlines() == [line]
