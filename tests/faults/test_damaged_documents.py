"""No damage of a document ends in a traceback, costs more than itself, or lets a finished trial run again."""

from __future__ import annotations

import json
import random
import re
from contextlib import suppress
from pathlib import Path

import pytest
from faults.damage import COMMANDS, DOCUMENTED, copied, damage

from slurmsweep.agents.agent import Claims
from slurmsweep.agents.identity import this_process
from slurmsweep.errors import SlurmsweepError
from slurmsweep.state import view_cache
from slurmsweep.state.chosen import ChosenPoint
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim, Owner
from slurmsweep.state.store import SweepStore
from slurmsweep.state.submissions import SubmissionDocument, SubmissionFiles
from slurmsweep.state.supervisor_files import LastRound, SupervisorFiles, SupervisorSettings
from slurmsweep.state.tail import AttemptId

GONE = this_process({})._replace(pid=1, start=1)
FAR = Owner("far", 7, 7, "b", node="n1", cluster="lab", job="12", task=3)

TRIALS = 8
SWEEPS = {
    "grid": "method: grid\nparameters:\n  x: {values: [1, 2, 3, 4, 5, 6, 7, 8]}\n",
    "random": "method: random\nparameters:\n  x: {min: 0.0, max: 1.0}\n  y: {values: [a, b]}\n",
    "bayes": "method: bayes\nrun_cap: 8\nparameters:\n  x: {min: 0.0, max: 1.0}\n  y: {values: [a, b, [1]]}\n  n: {min: 1, max: 9}\n",
}
COMMON = """program: train.py
metric: {name: loss}
early_terminate: {type: hyperband, min_iter: 2}
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Return, by method, the root folder of a sweep with something of everything, and the id of the sweep."""
    return {method: _made(tmp_path_factory.mktemp(method), method) for method in SWEEPS}


def _made(root: Path, method: str) -> tuple[Path, str]:
    from slurmsweep.control.creation import create

    (root / "train.py").write_text("import slurmsweep\n")
    (root / "sweep.yaml").write_text(COMMON + SWEEPS[method])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        store = create.create(create.read_draft("sweep.yaml", None))
    ends = [
        Outcome(TrialState.FINISHED, exit_code=0, metric=0.5, seconds=3.0, cpu_seconds=2.5, max_rss_mb=90.5, ended=2e9),
        Outcome(TrialState.FAILED, "exit 3", exit_code=3, seconds=1.0, ended=2e9, no_metric="nothing was logged"),
        Outcome(TrialState.FINISHED, exit_code=0, metric=0.25, metrics={"loss": 0.25}, ended=2e9, lowest=0.25, highest=0.5),
        Outcome(TrialState.KILLED, "early_terminate", exit_code=0, metric=0.75, ended=2e9),
        None,
    ]  # fmt: skip
    for owner, end in zip([GONE, FAR, FAR, GONE, GONE], ends, strict=True):
        claims = Claims(store, {})
        claims.owner = owner
        claim = claims.next()
        (Path(store.layout.log(claim.attempt_id))).write_text("a line\n")
        rows = [{"_step": 0, "loss": 0.5, "acc": {"top": 0.1}}, {"_step": 1, "loss": 0.25, "_summary": {"loss": 0.25}}]
        Path(store.layout.history(claim.attempt_id)).write_text("".join(json.dumps(row) + "\n" for row in rows))
        store.record_bands(claim.attempt_id, [(2, 0.5)])
        if end:
            store.finish(claim, end)
    with store.transaction(store.reading()) as transaction:
        transaction.retry([AttemptId(1, 2)], "test")
    documents = SubmissionFiles(store.layout.submissions, store.access)
    documents.write(
        SubmissionDocument(
            "slurmsweep-a-1", "slurm", store.manifest.sweep_id, 5, 5, options={"time": "10"}, job="12", submitted=1e9
        )
    )
    supervisor = SupervisorFiles(store.layout, store.access)
    supervisor.ask_for(SupervisorSettings(options={"time": "5"}, rules={"max_attempts": 3}, learn={"time": True}))
    supervisor.take_round(GONE, lambda owner: False)
    supervisor.end_round(LastRound(1, said=("a line",), notes=("a note",)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view_cache, "_WORTH_KEEPING", 1)
        view_cache.read(store)
    return root, store.manifest.sweep_id


def ask(slurmsweep, words, sweep):
    """Return code, output and errors of a command; what it does not handle is raised here."""
    done = slurmsweep(*(sweep if word == "@" else word for word in words))
    assert done.returncode in DOCUMENTED, done
    assert "Traceback" not in done.stderr, done.stderr
    if "--json" in words and done.stdout:
        json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    return done


def asked(slurmsweep, sound, place, seed, commands):
    """Damage a copy of a sweep, and ask some commands; return what was done, and the answer of the check."""
    dice = random.Random(seed)
    method = dice.choice(sorted(sound))
    root, sweep = sound[method]
    folder = copied(root, place) / "wandb" / f"sweep-{sweep}"
    done = damage(folder, dice)
    chosen = dice.sample(COMMANDS, commands)
    for words in chosen:
        try:
            ask(slurmsweep, words, sweep)
        except BaseException as error:  # noqa: PERF203 - a note on the one that failed
            error.add_note(f"seed {seed}, {method}, {' '.join(words)}, after {done}")
            raise
    return method, sweep, folder, done


@pytest.mark.timeout(1200)
def test_every_command_answers_whatever_is_wrong_with_one_document(slurmsweep, sound, tmp_path, size):
    for seed in range(size.damages):
        asked(slurmsweep, sound, tmp_path, seed, commands=6)


@pytest.mark.timeout(1200)
def test_no_damage_lets_a_finished_trial_run_again(slurmsweep, sound, tmp_path, size):
    for seed in range(10_000, 10_000 + size.damages):
        method, sweep, folder, done = asked(slurmsweep, sound, tmp_path, seed, commands=0)
        if re.search(r"retry|\.q\b", done.what):
            continue  # what a retry gives back is a person's word
        ask(slurmsweep, ("reconcile", "@"), sweep)
        ask(slurmsweep, ("check", "@", "--repair"), sweep)

        again = set(claimed_until_nothing_is_left(folder)) & {0, 2}

        assert not again, f"seed {seed}, {method}: trial {again} runs again after {done}"


def claimed_until_nothing_is_left(folder) -> list[int]:
    """Return the trials that agents get from now on; none where the sweep cannot be opened."""
    numbers: list[int] = []
    with suppress(SlurmsweepError):
        store = SweepStore.open_to_run(str(folder))
        while len(numbers) < TRIALS and isinstance(claim := store.claim(FAR, _OnePoint()), Claim):
            numbers.append(claim.attempt_id.trial)
    return numbers


class _OnePoint:
    """A search that gives every trial the same point."""

    def choose(self, _attempt_id):
        return ChosenPoint({"x": 0.5, "y": "a", "n": 1})


@pytest.mark.timeout(600)
def test_the_check_names_each_line_of_the_journal_that_it_cannot_use(slurmsweep, sound, tmp_path, size):
    named = 0
    for seed in range(20_000, 20_000 + size.damages):
        _, sweep, folder, done = asked(slurmsweep, sound, tmp_path, seed, commands=0)
        if not (found := re.match(r"line (\d+),", done.what)) or found[1] == "1":
            continue  # without its first line it is no journal at all
        view, number = SweepStore.open(str(folder)).replay(), int(found[1])
        kinds = [number] if number in view.wrong or number in view.damaged else []
        told = ask(slurmsweep, ("check", "@"), sweep)
        assert all(f"journal line {line}: " in told.stdout and told.returncode == 1 for line in kinds), (seed, done)
        named += len(kinds)

    assert named > size.damages / 10
