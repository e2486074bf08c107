"""What is next for a sweep whose trials call a function of the user's own program: each step that is named works."""

from __future__ import annotations

import re
import shlex

import pytest

import slurmsweep as wandb
from slurmsweep.state.store import SweepStore


def next_of(slurmsweep, sweep: str) -> str:
    """Return the words after ``next``, which are wrapped, as one line."""
    return " ".join(slurmsweep("status", sweep).stdout.partition("  next ")[2].split())


def fails_once(failed: set[int], end: type[BaseException] = ValueError):
    """Return a function whose trials with these values of ``x`` end by an exception the first time."""

    def train() -> None:
        with wandb.init() as run:
            if run.config.x in failed:
                failed.remove(run.config.x)
                raise end("no")
            run.log({"loss": run.config.x})

    return train


def test_open_trials_are_started_by_the_call_in_python(slurmsweep, make_sweep):
    sweep = make_sweep()

    assert (
        next_of(slurmsweep, sweep) == f'`slurmsweep.agent("{sweep}", function=...)` in Python starts the 3 open trials'
    )


@pytest.mark.parametrize(("end", "state"), [(ValueError, "failed"), (KeyboardInterrupt, "killed")])
def test_trials_that_ended_are_taken_back_by_the_words_that_status_says(slurmsweep, make_sweep, end, state):
    sweep, train = make_sweep((1, 2)), fails_once({1}, end)
    wandb.agent(sweep, function=train)
    if state == "killed":  # Ctrl-C ended the agent, too
        wandb.agent(sweep, function=train)

    said = next_of(slurmsweep, sweep)
    call = f'`slurmsweep.agent("{sweep}", function=...)` in Python'
    assert said == (
        f"`slurmsweep delete {sweep} --state {state}` takes the trial back that did not finish, and then {call} runs it"
    )
    taken = slurmsweep(*shlex.split(re.findall("`slurmsweep (.*?)`", said)[0]))
    assert taken.stderr.splitlines()[-1] == f"slurmsweep: {call} starts them"
    wandb.agent(sweep, function=train)
    assert {str(trial.state) for _, trial in SweepStore.open(sweep).replay().trials.items()} == {"finished"}


def test_an_open_trial_and_one_that_failed_are_both_told(slurmsweep, make_sweep):
    sweep = make_sweep((1, 2))
    wandb.agent(sweep, function=fails_once({1}), count=1)

    assert next_of(slurmsweep, sweep) == (
        f'`slurmsweep.agent("{sweep}", function=...)` in Python starts the open trial, `slurmsweep delete {sweep} '
        "--state failed` takes the trial back that did not finish, and then the same call runs it"
    )


def test_a_trial_whose_agent_was_killed_is_recorded_first(slurmsweep, make_sweep, python):
    sweep = make_sweep((1,))
    code = "import os, slurmsweep; slurmsweep.agent({!r}, function=lambda: os.kill(os.getpid(), 9))"
    python(code.format(sweep)).wait()

    said = next_of(slurmsweep, sweep)
    assert said.startswith(f"`slurmsweep reconcile {sweep}`, then `slurmsweep delete {sweep} --state crashed`")
    for words in re.findall("`slurmsweep (.*?)`", said)[:2]:
        slurmsweep(*shlex.split(words))
    assert next_of(slurmsweep, sweep).endswith("in Python starts the open trial")


@pytest.mark.parametrize("words", [["delete", "--trials", "0"], ["resume"]])
def test_other_commands_name_the_call_too(slurmsweep, make_sweep, words):
    sweep = make_sweep((1,))
    if words == ["resume"]:
        slurmsweep("pause", sweep)

    said = slurmsweep(words[0], sweep, *words[1:]).stderr

    assert f'`slurmsweep.agent("{sweep}", function=...)` in Python starts ' in said
    assert "slurmsweep run" not in said
