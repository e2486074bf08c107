"""Gather what the live view shows of a sweep, moment by moment: only what is new, and only of what is on the screen.

The journal is read on each time. The queue is asked for all jobs in one call, every 15 s while something happens and
every 60 s while nothing does. Logs and histories are read of trials that are shown. Nothing is written or ordered.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep.backends.keys import JobRef
from slurmsweep.control.failures.groups import MOST_LOGS, FailureReader, failure_groups
from slurmsweep.control.jobs.supervisor_status import supervisor_status
from slurmsweep.control.jobs.waiting_reasons import waiting_reasons
from slurmsweep.control.snapshot import answered, look_without_scheduler, renewed
from slurmsweep.control.views.live_queue import LONGEST_QUEUE_PERIOD, QUEUE_PERIOD, QueueWatch
from slurmsweep.errors import NotFoundError, StateUnreadableError, UsageError
from slurmsweep.metrics.logged_values import LoggedValues
from slurmsweep.metrics.objective_values import Measuring
from slurmsweep.report.choice import chosen, condition, constants, fields
from slurmsweep.report.failures import failure_words
from slurmsweep.report.figures import counted
from slurmsweep.report.live import LiveState, Running
from slurmsweep.report.live_choice import KEYS, Page, Sort
from slurmsweep.report.next_step import next_step
from slurmsweep.report.summary import SweepSummary
from slurmsweep.report.tables import expected_words, params_text
from slurmsweep.report.terminal import labelled, printable, printable_lines
from slurmsweep.state import files, place
from slurmsweep.state.lifecycle import Standing, TrialState
from slurmsweep.state.supervisor_files import SupervisorFiles
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slurmsweep.control.round.retry_policy import RetryPlan
    from slurmsweep.control.session import Session
    from slurmsweep.control.snapshot import Snapshot
    from slurmsweep.report.failures import FailureGroup
    from slurmsweep.report.live_choice import LiveChoice
    from slurmsweep.report.summary import TrialRow


#: Seconds after which what is reckoned of all trials is reckoned again, though no record came.
_FACTS_LAST = 30.0

#: Seconds after a record in which nothing need run: one trial has ended, and the next one is about to start.
_PAUSE = 15.0


#: Running trials whose metrics are read at most: for an order by metric.
_MOST_READ = 200

#: Trials that have to end before the time left is told, and the width of its range in standard deviations (about 80 %).
_ENDS_TO_TELL, _DEVIATIONS = 5, 1.28

#: Points of a curve, best trials, and bytes of a log that are looked at.
_POINTS, _BEST, _LOG = 200, 20, 1 << 16

#: Finished trials among which those are found that no other one beats: it compares many pairs.
_MOST_WEIGHED = 20_000

#: What is in a condition, and in no part of a line that a person looks for.
_COMPARES = frozenset("=<>")

_OVER = (Standing.FINISHED, Standing.STOPPED, Standing.CANCELED)


class _Facts(NamedTuple):
    """What is reckoned of all trials, and when."""

    key: tuple[object, ...]
    at: float
    told: dict[str, Any]


class _Values:
    """The values of the metric of one running trial, read as they come."""

    def __init__(self, session: Session, attempt_id: AttemptId) -> None:
        config, layout = session.store.manifest.config, session.store.layout
        first = session.view.first_attempt(attempt_id.trial)
        self._measuring = Measuring(config, layout, attempt_id, first)
        self._logged = self._measuring.history  # read by it, where it needs the history, too
        if config.metric and not self._logged:
            self._logged = LoggedValues(config.metric, layout, attempt_id, first)

    def read(self, row: Running) -> Running:
        """Return the same trial with what it logged so far; unchanged where its files cannot be read now."""
        with suppress(OSError):
            measured = self._measuring.read()
            if self._logged and self._logged is not self._measuring.history:
                self._logged.read()
            values = self._logged.values if self._logged else ()
            value = measured.metric.value
            if value is None and measured.metric.steps:
                value = math.nan  # the last one was no finite number
            points = (
                [values[len(values) * (n + 1) // _POINTS - 1] for n in range(_POINTS)]
                if len(values) > _POINTS
                else values
            )
            trial = row.trial._replace(metric=value, metrics=measured.metrics)
            return row._replace(trial=trial, curve=tuple(points), steps=len(values) or measured.metric.steps)
        return row


class LiveView:
    """The gatherer of one live view.

    Args:
        session: of the sweep, for this view alone.
        name: of the sweep as the user wrote it.
        in_background: ask the scheduler in a thread, so that a screen follows keys while it does not answer.
        shortest: seconds between two questions to the queue after news; without news they become a minute.
        clock: returns the time, seconds since the epoch.
    """

    def __init__(
        self,
        session: Session,
        name: str,
        *,
        in_background: bool = False,
        shortest: float = QUEUE_PERIOD,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session, self._name, self._clock = session, name, clock
        self._queue = QueueWatch(session, shortest, in_background=in_background)
        self._snapshot: Snapshot | None = None
        self._values: dict[AttemptId, _Values] = {}
        self._rows: dict[AttemptId, TrialRow] = {}
        self._failures = FailureReader()
        self._asked: dict[str, float | None] = {}
        self._facts: _Facts | None = None
        self._rests_since: float | None = None
        self._sequence: int | None = None
        self._changed = 0.0  # when the last record was seen to come
        found = files.status_of(session.store.layout.folder)
        self._device = found.st_dev if found else None

    @property
    def sweep(self) -> str:
        """The sweep's id."""
        return self._session.store.manifest.sweep_id

    def gather(self, choice: LiveChoice, width: int, height: int) -> LiveState:
        """Return what is known now, as far as it is shown on a screen of that size.

        Raises:
            NotFoundError: the sweep was removed.
            StateUnreadableError: the journal could not be read the first time.
        """
        now, notes = self._clock(), []
        session = self._session
        try:
            session.refresh()
        except StateUnreadableError as error:
            folder = session.store.layout.folder
            if place.is_removed(folder, self._device):
                raise NotFoundError(f"sweep {self.sweep} was removed: {folder} is gone") from error
            if self._snapshot is None:
                raise
            notes.append(f"{error}: what is shown is older")
        snapshot, store = self._look(now), session.store
        summary = self.summary()
        notes += [self._queue.trouble] if self._queue.trouble else []
        if snapshot.view.damaged or snapshot.view.wrong:
            lines = len(snapshot.view.damaged) + len(snapshot.view.wrong)
            notes.append(
                f"{counted(lines, 'line of the journal is', 'lines of the journal are')} damaged: `slurmsweep check "
                f"{self._name}` says more"
            )
        running = self._running(summary, snapshot, now)
        rows, problem = self._ordered(running, choice, summary)
        notes += [problem] if problem else []
        at = choice.place([row.trial.number for row in rows])
        first = max(0, min(at - height // 2, len(rows) - height))
        state = LiveState(
            sweep=store.manifest.sweep_id,
            name=store.manifest.config.name or "",
            method=store.manifest.config.method,
            trials=store.manifest.trials,
            expected=expected_words(store.manifest),
            clock=time.strftime("%H:%M:%S", time.localtime(now)),
            running=tuple(map(self._with_values, rows[first : first + height])),
            order=tuple(row.trial.number for row in rows),
            first=first,
            nodes=Counter(row.trial.node for row in running if row.trial.node),
            queue=self._queue.told(summary, now),
            same=constants(store.manifest.config),
            notes=tuple(notes),
            **self._reckoned(summary, now),
        )
        if choice.page is Page.FIRST:
            return state
        return replace(state, page=tuple(self._page(choice, state, summary, width)))

    def summary(self) -> SweepSummary:
        """Return the sweep as it was gathered last."""
        store, snapshot = self._session.store, self._snapshot or look_without_scheduler(self._session)
        jobs, waiting = (snapshot.jobs, waiting_reasons(snapshot)) if self._queue.has_answer else (None, ())
        return SweepSummary(store.layout, store.manifest, snapshot.view, snapshot.ended, jobs, waiting)

    def _look(self, now: float) -> Snapshot:
        """Return the last answer of the queue with what the journal says by now; ask anew where that is due."""
        session = self._session
        before = self._snapshot or look_without_scheduler(session)
        if answer := self._queue.answer(now, session.view.head.sequence):
            asked, said = answer
            before = answered(session, asked, said)
        self._snapshot = renewed(before, session.view)
        return self._snapshot

    def _running(self, summary: SweepSummary, snapshot: Snapshot, now: float) -> list[Running]:
        """Return the trials that run, each as its claim and the queue tell."""
        found, rows = [], {}
        for number in summary.trials_in(TrialState.RUNNING):
            trial = snapshot.view.trials[number]
            current = trial.current
            if current is None:
                continue
            attempt_id = AttemptId(number, current.number)
            row = rows[attempt_id] = self._rows.get(attempt_id) or summary.trial(number)
            minutes = None
            if current.owner and current.owner.job:
                status = snapshot.answer.tasks.get(JobRef.of(current.owner, snapshot.answer.cluster))
                minutes = status.minutes if status else self._minutes_of(current.owner.job)
            elapsed = max(0.0, now - (current.claimed or now))
            found.append(Running(row, elapsed, minutes * 60 if minutes else None))
        self._rows = rows
        self._values = {attempt_id: values for attempt_id, values in self._values.items() if attempt_id in rows}
        return found

    def _minutes_of(self, job: str) -> float | None:
        """Return the minutes that a job was submitted with; None where that is not known."""
        if job not in self._asked:
            known = (s.asked for s in self._session.view.submissions.values() if s.job == job and s.asked)
            self._asked[job] = self._session.scheduler.asked(next(known, {})).time
        return self._asked[job]

    def _with_values(self, row: Running) -> Running:
        attempt_id = AttemptId(row.trial.number, row.trial.attempt)
        if attempt_id not in self._values:
            self._values[attempt_id] = _Values(self._session, attempt_id)
        return self._values[attempt_id].read(row)

    def _ordered(self, rows: list[Running], choice: LiveChoice, summary: SweepSummary) -> tuple[list[Running], str]:
        """Return the running trials that were chosen, in the chosen order; and what is wrong with the filter."""
        problem = ""
        if choice.where:
            try:
                rows = _filtered(rows, choice.where, summary)
            except (UsageError, ValueError) as error:
                problem = f"filter: {error}"
        metric = summary.manifest.config.metric
        if choice.sort is Sort.METRIC and metric:
            sign = -1 if metric.goal == "maximize" else 1
            rows = [*map(self._with_values, rows[:_MOST_READ]), *rows[_MOST_READ:]]
            values = {row.trial.number: row.trial.metric for row in rows}
            rows.sort(key=lambda row: sign * v if (v := values[row.trial.number]) is not None and v == v else math.inf)  # noqa: PLR0124 - not for NaN
        elif choice.sort is Sort.NODE:
            rows = sorted(rows, key=lambda row: (row.trial.node or "", row.trial.number))
        elif choice.sort is Sort.LIMIT:
            rows = sorted(rows, key=lambda row: (-(row.share or 0.0), -row.elapsed, row.trial.number))
        return rows, problem

    def _reckoned(self, summary: SweepSummary, now: float) -> dict[str, Any]:
        """Return what is reckoned of all trials, anew where a record or an answer came, or time went by."""
        sequence = summary.view.head.sequence
        if sequence != self._sequence:
            self._changed, self._sequence = now if self._sequence is not None else 0.0, sequence
        key = (sequence, len(summary.ended), tuple(sorted((summary.jobs or {}).items())), now - self._changed < _PAUSE)
        if self._facts is None or self._facts.key != key or now - self._facts.at > _FACTS_LAST:
            self._facts = _Facts(key, now, self._reckon(summary, now))
        told, age = dict(self._facts.told), now - self._facts.at
        for name in ("runs_for", "better", "failed"):
            told[name] = None if told[name] is None else told[name] + age
        if told["left"]:
            told["left"] = tuple(max(0.0, seconds - age) for seconds in told["left"])
        return told

    def _reckon(self, summary: SweepSummary, now: float) -> dict[str, Any]:
        view, config, standing = summary.view, summary.manifest.config, summary.state()
        goes_on = standing is Standing.IDLE and now - self._changed < _PAUSE
        counts, metric = summary.counts(), config.metric
        is_over = standing in _OVER and not counts[TrialState.RUNNING]
        failures = failure_groups(summary, self._failures)
        points = summary.ranked() if config.extensions.repeats else []
        best = tuple(points[:_BEST] if config.extensions.repeats else summary.ranked(_BEST))
        begun = view.trials.first_claim()
        rate, left = _rate(summary, begun, now)
        lasts = [ended for group in failures if (ended := summary.trial(group.trials[-1]).over_at) is not None]
        better = best[0].over_at if best else None
        weighed = bool(config.extensions.pareto) and counts[TrialState.FINISHED] <= _MOST_WEIGHED
        ended_badly = standing is Standing.FINISHED and summary.unfinished_count() and not view.reached
        return {
            "standing": str(Standing.RUNNING) if goes_on else summary.state_words(),
            "counts": summary.words(),
            "metric": metric.name if metric else "",
            "runs_for": None if begun is None else max(0.0, now - begun),
            "rate": rate,
            "left": left if (goes_on or standing is Standing.RUNNING) and not config.extensions.rungs else None,
            "best": best,
            "better": None if better is None else max(0.0, now - better),
            "front": len(summary.front().trials) if weighed else 0,
            "best_so_far": _best_so_far(summary, points),
            "failures": tuple(failures),
            "again": self._run_again(failures),
            "failed": max(0.0, now - max(lasts)) if lasts else None,
            "follows": "" if goes_on else next_step(summary, self._name) or "",
            "is_over": is_over,
            "rests": not (goes_on or is_over or counts[TrialState.RUNNING] or standing is Standing.RUNNING),
            "exit_code": int(bool(is_over and ended_badly)),
        }

    def _run_again(self, failures: Sequence[FailureGroup]) -> tuple[str, ...]:
        """Return for each group which of its trials run again without a person's word, as the retry policy decides.

        What the log of a trial says counts, of the first that did not finish; what was mended since does not.
        """
        supervision, view = SupervisorFiles(self._session.store.layout, self._session.store.access), self._session.view
        settings = supervision.settings()
        if settings is None or supervision.has_report() or not failures:
            return ("not run again by itself",) * len(failures)
        from slurmsweep.control.round.observe import ended_trial, finished_here
        from slurmsweep.control.round.retry_policy import decide_retries, retry_policy_of

        waiting = self._snapshot.waiting if self._snapshot else frozenset()
        named = [n for group in failures for n in group.trials[:MOST_LOGS]]
        trials = [trial for n in named if (trial := view.trials[n]).state.can_retry]
        known = {number: failure for (number, _), failure in self._failures.known.items()}
        ended = [ended_trial(trial, waiting, known.get(trial.number)) for trial in trials]
        plan = decide_retries(ended, retry_policy_of(settings), None, finished=finished_here(view))
        return tuple(_fate(group.trials[:MOST_LOGS], plan) for group in failures)

    def is_at_rest(self, state: LiveState) -> bool:
        """Return whether nothing has run or waited for 15 s, so that nothing happens before a person acts.

        One question to the scheduler a minute at most, where the sweep has a supervisor. Call it after each look.
        """
        now = self._clock()
        if not state.rests or self._rests_since is None:
            self._rests_since = now
        if now - self._rests_since < _PAUSE:
            return False
        supervisor = supervisor_status(self._session)
        if supervisor and not supervisor.is_over and supervisor.supervisors != ():
            self._rests_since = now + LONGEST_QUEUE_PERIOD - _PAUSE
            return False
        return True

    def _page(self, choice: LiveChoice, state: LiveState, summary: SweepSummary, width: int) -> Sequence[str]:
        """Return the lines of a page other than the first."""
        from slurmsweep.report.trial import trial_facts, trial_text  # loads what explains a search
        from slurmsweep.report.trials_table import trials_table

        number, lines = choice.shown(state.order), list[str]()
        if choice.page is Page.FAILURES:
            lines = [line for words in failure_words(state.failures, self._name) for line in labelled("", words, 0)]
        elif choice.page is Page.BEST and state.best:
            lines = trials_table(state.best, summary.manifest.config, width).split("\n")
        elif choice.page is Page.KEYS:
            lines = [line for key, words in KEYS for line in labelled(key, words, 14)]
        elif number is not None and choice.page in (Page.TRIAL, Page.LOG):
            try:
                if choice.page is Page.TRIAL:
                    return printable_lines(trial_text(trial_facts(summary, number, os.environ))).split("\n")
                lines = _end_of_log(summary.trial(number).log)
            except (NotFoundError, StateUnreadableError) as error:
                lines = [printable(str(error))]
        return lines or ["none yet"]


def _fate(trials: Sequence[int], plan: RetryPlan) -> str:
    """Return ``run again``, ``2 of 5 run again``, or why none of the trials does."""
    again = sum(number in plan.whys for number in trials)
    if again:
        return "run again" if again == len(trials) else f"{again} of {len(trials)} run again"
    why = next((plan.left[number] for number in trials if number in plan.left), "")
    return f"not run again: {why.partition(':')[0]}" if why else "not run again"


def _filtered(rows: list[Running], where: str, summary: SweepSummary) -> list[Running]:
    """Return the rows for which every word holds: a condition, or a part of the line. Raises UsageError, ValueError."""
    words = where.split()
    conditions = [condition(word) for word in words if _COMPARES.intersection(word)]
    parts = [word for word in words if not _COMPARES.intersection(word)]
    meeting = {trial.number for trial in chosen((r.trial for r in rows), fields(summary.manifest.config), conditions)}
    found = []
    for row in rows:
        trial = row.trial
        line = f"{trial.number} {trial.node} {trial.job} {params_text(trial.params)}"
        if trial.number in meeting and all(part in line for part in parts):
            found.append(row)
    return found


def _best_so_far(summary: SweepSummary, points: Sequence[TrialRow]) -> tuple[float, ...]:
    """Return the best metric up to each trial, or point that runs several times, by the time of its end.

    Args:
        summary: of the sweep.
        points: all that are done, where points run several times.
    """
    metric = summary.config.metric
    if metric is None:
        return ()
    if not summary.config.extensions.repeats:
        return tuple(summary.view.trials.best_so_far(largest=metric.goal == "maximize", most=_POINTS))
    ended = sorted((row.over_at or -math.inf, row.metric) for row in points if row.metric is not None)
    return tuple(accumulate((value for _, value in ended), max if metric.goal == "maximize" else min))


def _rate(summary: SweepSummary, begun: float | None, now: float) -> tuple[float | None, tuple[float, float] | None]:
    """Return how many trials end in an hour, and the seconds until all have ended, at least and at most.

    Of the last hour; where fewer than five ended in it, of as many hours as it takes. Ends are taken to come at random,
    so the range is that of four cases in five.
    """
    trials = summary.view.trials
    if begun is None or now <= begun or (last := trials.last_end()) is None:
        return None, None
    span, most = min(3600.0, now - begun), now - begun
    while now - span >= last and span < most:  # counting is a look at every trial
        span = min(2 * span, most)
    while (ends := trials.ended_since(now - span)) < _ENDS_TO_TELL and span < most:
        span = min(2 * span, most)
    if ends < _ENDS_TO_TELL:
        return None, None
    counts, rate = summary.counts(), ends / span
    open_ones = counts[TrialState.PENDING] + counts[TrialState.RUNNING]
    if summary.manifest.trials is None or not open_ones:
        return 3600 * rate, None
    spread = _DEVIATIONS / math.sqrt(ends)
    return 3600 * rate, (open_ones / rate / (1 + spread), open_ones / rate / (1 - spread))


def _end_of_log(path: str | None) -> list[str]:
    """Return the last lines of a log, without what a terminal would act upon."""
    if path is None or not (status := files.status_of(path)):
        return ["it has no log yet"]
    _, content = files.piece_of(path, max(0, status.st_size - _LOG), _LOG)
    text = content.decode("utf-8", "replace").replace("\t", "    ")
    lines = [printable(line.rstrip("\r").rpartition("\r")[2]) for line in text.rstrip("\n").split("\n")]
    return lines[1:] if status.st_size > _LOG else lines if status.st_size else ["its log is empty"]
