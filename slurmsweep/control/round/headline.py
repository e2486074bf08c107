"""Say first what a command that starts trials does not do of what it was asked, and why. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from slurmsweep.report.figures import counted
from slurmsweep.state.lifecycle import TrialState, counts_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slurmsweep.control.round.decide import Plan, Policy, Situation

#: What each command does with trials, in the two forms of the first line.
_WORDS = {"run": ("start", "started"), "submit": ("submit", "submitted"), "resubmit": ("run again", "run again")}

#: Trials that are named by their numbers, at most.
_NAMED = 12


@dataclass(frozen=True)
class Headline:
    """The first line of a command.

    Attributes:
        text: empty where everything that was asked for is started.
        is_met: the command does what it was asked, or there was nothing to do; False for exit code 1.
    """

    text: str = ""
    is_met: bool = True


def headline(situation: Situation, policy: Policy, plan: Plan, command: str, *, is_rehearsal: bool) -> Headline:
    """Return what a command is to say first.

    Args:
        situation: of the sweep.
        policy: of the command.
        plan: what was decided.
        command: ``run``, ``submit`` or ``resubmit``.
        is_rehearsal: nothing is done.
    """
    infinitive, done = _WORDS[command]
    if situation.view.word is not None and (situation.view.reached or not policy.reopen):
        was_asked = command == "resubmit" and any(policy.retry.chooses(t) for t in situation.ended if policy.retry)
        return Headline(f"nothing to start: {plan.nothing}", not was_asked)
    unmet, left = _unmet(situation, policy, plan)
    if plan.batches:
        if not unmet:
            return Headline()
        count, verb = (f"{plan.trials} trials", "are") if plan.trials > 1 else ("1 trial", "is")
        verb = "would be" if is_rehearsal else verb
        again = sum(len(batch.again) for batch in plan.batches)
        some = f"{count} {verb} {done}, and {left} not"
        if command == "resubmit" and not again:
            some = f"{count} {verb} started, and {left} not run again"
        elif command == "resubmit" and again < plan.trials:
            some = f"{count} {verb} started, {again} of them again, and {left} not"
        return Headline(f"{some}: {'; '.join(unmet)}", is_met=False)
    if plan.wave and plan.wave.left:
        return Headline()  # they wait for what others show: the reasons of the wave say so
    if unmet:
        begin = "nothing would be" if is_rehearsal else "nothing was"
        return Headline(f"{begin} {done}: {'; '.join(unmet)}", is_met=False)
    counts = situation.view.counts()
    left = sum(counts.get(s, 0) for s in TrialState if s.can_retry) - len(situation.view.trials.stopped_early())
    unfinished = left > 0 and command != "resubmit"
    hint = "; `slurmsweep resubmit` runs again what did not finish" if unfinished else ""
    return Headline(f"nothing to {infinitive}: {_state_words(situation, policy, plan)}{hint}", not unfinished)


def _unmet(situation: Situation, policy: Policy, plan: Plan) -> tuple[list[str], int]:
    """Return why trials that were asked for are not run, and how many they are."""
    reasons = Counter(plan.retry.left[attempt_id.trial].partition(":")[0] for attempt_id in plan.retry.refused)
    words = [
        f"{n} trials {reason}" if n > 1 else f"1 trial {reason.replace('fail ', 'fails ', 1)}"
        for reason, n in reasons.items()
    ]
    named, trials = (policy.retry and policy.retry.trials) or (), situation.view.trials
    known = [n for n in trials if n in named] if named else []
    runs = [n for n in known if trials[n].state is TrialState.RUNNING]
    waiting = len(named) - len(known)
    words += [f"{_named(runs, len(runs))} {'runs' if len(runs) == 1 else 'run'}"] if runs else []
    if waiting:
        told = _named((n for n in named if n not in trials), waiting)
        words.append(f"{told} never ran: `slurmsweep submit` starts new trials")
    return words, len(plan.retry.refused) + len(runs) + waiting


def _state_words(situation: Situation, policy: Policy, plan: Plan) -> str:
    """Return ``all 15 trials finished``, or how many trials are in which state."""
    view, retry = situation.view, policy.retry
    counts = Counter({state: n for state, n in view.counts().items() if n})
    if situation.trials is not None:
        counts[TrialState.PENDING] += situation.trials - sum(counts.values())
    by_word = counts_in_words(counts, len(view.trials.stopped_early()), len(view.trials.not_needed()))
    if set(by_word) == {TrialState.FINISHED.value}:
        finished = counts[TrialState.FINISHED]
        text = "the trial finished" if finished == 1 else f"all {finished} trials finished"
    else:
        text = ", ".join(f"{n} {word}" for word, n in by_word.items()) or "no trial was started yet"
    if situation.snapshot.queued:
        text += f"; {counted(situation.snapshot.queued, 'job waits', 'jobs wait')} in the queue"
    if retry is None or retry.plain:
        return text
    if retry.trials:
        ended = "has finished or waits" if len(retry.trials) == 1 else "have finished or wait"
        return f"{_named(retry.trials, len(retry.trials))} {ended} for a job; of all trials {text}"
    if retry.is_selective and not plan.retry.left:
        return f"no trial ended so; of all trials {text}"
    return text


def _named(numbers: Iterable[int], count: int) -> str:
    """Return ``trials 0, 3 ...``: the first ones, of a range that may be as long as it likes."""
    shown = ", ".join(map(str, sorted(islice(numbers, _NAMED)))) + (" ..." if count > _NAMED else "")
    return f"trial{'s' if count > 1 else ''} {shown}"
