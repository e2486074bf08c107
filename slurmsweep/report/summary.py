"""State to rows: what a person or a program is shown of a sweep, before it becomes a table or JSON."""

from __future__ import annotations

from collections import Counter
from heapq import merge
from itertools import islice
from operator import mul
from typing import TYPE_CHECKING, Any, NamedTuple

from slurmsweep import search
from slurmsweep.report.figures import numbers_text, value_text
from slurmsweep.report.pareto import non_dominated
from slurmsweep.search.repeats import without_run
from slurmsweep.state.lifecycle import Standing, SweepState, TrialState, counts_in_words
from slurmsweep.state.outcome import NOT_NEEDED, STOPPED_EARLY, Outcome
from slurmsweep.state.tail import AttemptId, in_words
from slurmsweep.state.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.learning.points import PointValues
    from slurmsweep.report.failures import FailureGroup
    from slurmsweep.report.waiting import WaitingReason
    from slurmsweep.state.manifest import Manifest
    from slurmsweep.state.paths import Layout
    from slurmsweep.state.replay import SweepView
    from slurmsweep.sweepfile.config import SweepConfig

#: Trials of which the Pareto front is taken at once.
_WEIGHED_AT_ONCE = 65536

#: Words for the trials of which nothing more is wanted.
DONE_WORDS = ("finished", "stopped early", "not needed")

#: Words for the trials among which one is the best: see :meth:`TrialIndex.ranked`.
RANKED_WORDS = ("finished", "stopped early")

#: Trials named of those that lack a number.
_NAMED = 6


class Runs(NamedTuple):
    """The runs of a point, where each point runs several times.

    Attributes:
        trials: their numbers.
        done: how many ended with a value.
        not_needed: how many a race left out.
        over_at: about when the last of them ended; None where one has no such time. Not in documents.
    """

    trials: tuple[int, ...]
    done: int
    not_needed: int
    over_at: float | None = None

    @property
    def words(self) -> str:
        """``4 of 5 runs``, with those that are not needed."""
        left = f", {self.not_needed} not needed" if self.not_needed else ""
        return f"{self.done} of {len(self.trials)}{left}"


class TrialRow(NamedTuple):
    """One trial as it is shown, or one point that runs several times; the keys of ``trials --json``.

    A point has the number of its first trial, what all of its runs say together, and nothing that only one has.

    Attributes:
        number: 0.. in the sweep.
        state: of the newest attempt, or pending.
        cause: beside the state; empty for a trial that runs or finished.
        attempt: number of the newest attempt; 0 before the first.
        params: the point.
        metric: final value of the sweep's metric, of a trial that runs the one so far; None where there is none.
        metrics: those of the sweep's Pareto view, by name; None where there are none.
        job: ``123_4``; None outside Slurm.
        node: machine of the newest attempt.
        started: wall-clock time of the claim, seconds since the epoch; None where another sweep ran it.
        seconds: that the command ran.
        cpu_seconds: of all its processes.
        max_rss_mb: memory of its largest process, in MiB.
        exit_code: what the agent exited with.
        log: path of the newest attempt's log; None before the first, and where another sweep ran it.
        origin: ``<sweep>/<trial>`` where it was run, if that was another sweep.
        no_metric: of a trial that has ended, why its metric, or others of the Pareto view, have no value.
        error: of a trial that failed, the last words of its log where they were read.
        point: of the trial, where points run several times.
        spread: of a point, the standard deviation between its runs.
        runs: of a point; None of a trial.
    """

    number: int
    state: TrialState
    cause: str
    attempt: int
    params: dict[str, Any]
    metric: float | None = None
    metrics: Mapping[str, float] | None = None
    job: str | None = None
    node: str | None = None
    started: float | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    max_rss_mb: float | None = None
    exit_code: int | None = None
    log: str | None = None
    origin: str | None = None
    no_metric: str | None = None
    error: str | None = None
    point: int | None = None
    spread: float | None = None
    runs: Runs | None = None

    @property
    def state_words(self) -> str:
        """The state; of a trial that was stopped early, or never needed, that it was."""
        return {STOPPED_EARLY: "stopped early", NOT_NEEDED: "not needed"}.get(self.cause, self.state.value)

    @property
    def is_ranked(self) -> bool:
        """The trial may be the best: it finished or was stopped early. The value of a killed one does not count."""
        return self.state_words in RANKED_WORDS

    @property
    def name(self) -> str:
        """``trial 7``, or ``point 3 (trials 15, 16, 17)``."""
        if self.runs is None:
            return f"trial {self.number}"
        return f"point {self.point} (trials {numbers_text(self.runs.trials, _NAMED)})"

    @property
    def kind(self) -> str:
        """``trial``, or ``point`` of one that runs several times."""
        return "trial" if self.runs is None else "point"

    @property
    def shown_number(self) -> int | None:
        """The number of the trial, or of the point."""
        return self.number if self.runs is None else self.point

    @property
    def metric_text(self) -> str:
        """The metric as people read it, of a point with its spread; empty without one."""
        spread = "" if self.spread is None else f" \u00b1 {self.spread:.2g}"
        return "" if self.metric is None else f"{value_text(self.metric)}{spread}"

    @property
    def over_at(self) -> float | None:
        """About when the trial, or the last run of the point, ended, seconds since the epoch; None where not known."""
        if self.runs is not None:
            return self.runs.over_at
        is_known = self.started is not None and self.seconds is not None
        return (self.started or 0.0) + (self.seconds or 0.0) if is_known else None

    def to_json(self) -> dict[str, Any]:
        """Return the document of one trial."""
        runs = self.runs and {key: value for key, value in self.runs._asdict().items() if key != "over_at"}
        data = self._asdict() | {"state": self.state.value, "runs": runs}
        return {key: value for key, value in data.items() if key not in _OF_POINTS or value is not None}


#: Keys that only sweeps have whose points run several times.
_OF_POINTS = ("point", "spread", "runs")


class Front(NamedTuple):
    """Finished trials that no other one beats in all of two or three metrics.

    Attributes:
        trials: of which none is as good as another in each metric and better in one; equal ones are all here.
        left_out: how many finished trials lack one of the metrics, and so cannot be weighed.
    """

    trials: tuple[TrialRow, ...]
    left_out: int


class Unmeasured(NamedTuple):
    """Finished trials that lack a number the sweep asks for, for the same reason.

    Attributes:
        why: the reason.
        trials: how many.
        first: numbers of the first few.
    """

    why: str
    trials: int
    first: tuple[int, ...]


class SweepSummary(NamedTuple):
    """A sweep as it is shown.

    Attributes:
        layout: where its files are.
        manifest: its configuration.
        view: the journal's state.
        ended: ends that the journal does not have yet but witnesses know: shown, not written.
        jobs: number of live jobs by the scheduler's word; None where it was not asked or did not answer.
        waiting: why jobs wait.
    """

    layout: Layout
    manifest: Manifest
    view: SweepView
    ended: Mapping[AttemptId, Outcome]
    jobs: Mapping[str, int] | None = None
    waiting: Sequence[WaitingReason] = ()

    def trials(self, limit: int | None = None, states: Collection[TrialState] = ()) -> Iterator[TrialRow]:
        """Yield trials by number: all of a finite sweep; those that were ever claimed otherwise.

        Args:
            limit: at most so many.
            states: only those in one of these; all where it is empty.
        """
        every = self.view.trials if self.manifest.trials is None else range(self.manifest.trials)
        for number in islice(self._numbers_in(states) if states else every, limit):
            yield self.trial(number)

    def points(self, limit: int | None = None, states: Collection[TrialState] = ()) -> Iterator[TrialRow]:
        """Yield what is judged: the points where each runs several times, else the trials; as :meth:`trials` does."""
        numbers = self.manifest.numbering
        if numbers is None:
            yield from self.trials(limit, states)
            return
        from slurmsweep.learning.points import point_values

        known, valued = (numbers.of(number)[0] for number in self.view.trials), point_values(self.config, self.view)
        total = self.manifest.trials
        every = sorted(set(known)) if total is None else range(total // numbers.runs)
        rows = (self._point(point, valued.get(point)) for point in every)
        yield from islice((row for row in rows if not states or row.state in states), limit)

    def point(self, number: int) -> TrialRow:
        """Return one point of a sweep whose points run several times."""
        from slurmsweep.learning.points import point_values

        return self._point(number, point_values(self.config, self.view).get(number))

    def _point(self, point: int, valued: PointValues | None) -> TrialRow:
        """Return one point that runs several times."""
        numbers, repeats, metric = self.manifest.numbering, self.config.extensions.repeats, self.config.metric
        if numbers is None or repeats is None:
            raise ValueError("the points of this sweep are its trials")
        rows = [self.trial(number) for number in numbers.trials(point)]
        ran = [row for row in rows if row.cause != NOT_NEEDED]
        values = list(valued.values.values()) if valued else []
        ends = [row.over_at for row in ran]
        over_at = max((end for end in ends if end is not None), default=None) if None not in ends else None
        runs = Runs(tuple(numbers.trials(point)), len(values), len(rows) - len(ran), over_at)
        told = next(
            (row for row in ran if row.state.can_retry and row.cause != STOPPED_EARLY), ran[0] if ran else rows[0]
        )
        for state in (TrialState.RUNNING, TrialState.PENDING):
            told = next((row for row in ran if row.state is state), told)
        is_over = len(values) == len(ran)
        shown = next((row.params for row in rows if row.params), {})
        metrics: dict[str, float] = {}
        for one in self.config.extensions.pareto:
            each = [row.metrics[one.name] for row in rows if row.metrics and one.name in row.metrics]
            metrics |= {one.name: repeats.worth(each, one.goal)} if len(each) == len(rows) else {}
        return TrialRow(
            number=numbers.number(point, 0),
            state=TrialState.KILLED if is_over and runs.not_needed else told.state,
            cause=NOT_NEEDED if is_over and runs.not_needed else told.cause,
            attempt=max(row.attempt for row in rows),
            params=without_run(shown, repeats),
            metric=repeats.worth(values, metric.goal) if metric and values and is_over else None,
            metrics=metrics if metrics and len(values) == len(rows) else None,
            started=min((row.started for row in rows if row.started is not None), default=None),
            seconds=sum(row.seconds for row in rows if row.seconds is not None) if values else None,
            cpu_seconds=sum(row.cpu_seconds for row in rows if row.cpu_seconds is not None) if values else None,
            max_rss_mb=max((row.max_rss_mb for row in rows if row.max_rss_mb is not None), default=None),
            exit_code=told.exit_code,
            log=told.log if told.state.can_retry else None,
            no_metric=next((row.no_metric for row in rows if row.no_metric), None),
            point=point,
            spread=valued.spread if valued else None,
            runs=runs,
        )

    @property
    def config(self) -> SweepConfig:
        """What the sweep file says."""
        return self.manifest.config

    def trials_in(self, state: TrialState) -> Iterable[int]:
        """Return the trials in one state by number, without making an object of each."""
        return self._numbers_in((state,))

    def trial(self, number: int) -> TrialRow:
        """Return one trial, known to the journal or not."""
        numbers = self.manifest.numbering
        point = numbers.of(number)[0] if numbers else None
        trial = self.view.trials.get(number) or Trial(number)
        current = trial.current
        params = search.parameters(self.config, number, self.manifest.sweep_id, self.view.kept(number))
        if current is None:
            return TrialRow(number, trial.state, trial.cause, 0, params, point=point)
        attempt_id = AttemptId(number, current.number)
        known = self.ended.get(attempt_id, current.outcome)
        if trial.state is TrialState.PENDING:  # to be run again: what it had before is no result of the sweep
            known = None
        outcome, owner = known or Outcome(trial.state), current.owner
        return TrialRow(
            number=number,
            state=outcome.state if trial.state is TrialState.RUNNING else trial.state,
            cause=outcome.cause,
            attempt=current.number,
            params=params,
            metric=outcome.metric,
            metrics=outcome.metrics,
            job=owner.job_name if owner else None,
            node=(owner.node or owner.host) if owner else None,
            started=None if outcome.origin else current.claimed,
            seconds=outcome.seconds,
            cpu_seconds=outcome.cpu_seconds,
            max_rss_mb=outcome.max_rss_mb,
            exit_code=outcome.exit_code,
            log=None if outcome.origin else self.layout.log(attempt_id),
            origin=outcome.origin,
            no_metric=outcome.no_metric,
            point=point,
        )

    def unfinished(self) -> Iterator[TrialRow]:
        """Yield by number the trials that ended and did not finish, without those that were stopped early."""
        return (self.trial(number) for number, _, _ in self.ways_to_fail())

    def ways_to_fail(self) -> Iterator[tuple[int, TrialState, str]]:
        """Yield number, state and cause of :meth:`unfinished`, without making an object of each trial."""
        states, seen = {state for state in TrialState if state.can_retry}, self._seen_to_end()
        known = self.view.trials.ways_to_end(states)
        if seen:
            ended = sorted((number, end.state, end.cause) for number, end in seen.items() if end.state in states)
            known = merge((way for way in known if way[0] not in seen), ended)
        return (way for way in known if way[2] not in (STOPPED_EARLY, NOT_NEEDED))

    def unfinished_count(self) -> int:
        """Return how many trials :meth:`unfinished` yields, without looking at each."""
        return sum(n for state, n in self.counts().items() if state.can_retry) - self.stopped_early()

    def stopped_early(self) -> int:
        """Return how many trials their agents stopped because others were better, or left out for that reason."""
        seen = self._seen_to_end().values()
        return len(self.view.trials.stopped_early()) + sum(outcome.cause == STOPPED_EARLY for outcome in seen)

    def words(self) -> dict[str, int]:
        """Return :meth:`counts` by word for people, without zeros."""
        not_needed = len(self.view.trials.not_needed()) if self.config.extensions.repeats else 0
        return counts_in_words(self.counts(), self.stopped_early(), not_needed)

    def stopped_early_document(self) -> dict[str, int]:
        """Return ``{"stopped_early": 3}`` for a document, or ``not_needed``; nothing where the sweep does neither."""
        repeats = self.config.extensions.repeats
        if repeats and repeats.race is not None:
            return {"not_needed": len(self.view.trials.not_needed())}
        return {"stopped_early": self.stopped_early()} if self.config.early_terminate else {}

    def points_document(self) -> dict[str, Any]:
        """Return ``points`` for a document: how many there are, and how many are done; nothing without repeats."""
        numbers, total = self.manifest.numbering, self.manifest.trials
        if numbers is None:
            return {}
        states = Counter(row.state_words for row in self.points())
        count = None if total is None else total // numbers.runs
        return {"points": {"expected": count, "runs_each": numbers.runs, "counts": dict(states)}}

    def counts(self) -> dict[TrialState, int]:
        """Return the number of trials by state, pending ones too where their number is known."""
        counts = dict.fromkeys(TrialState, 0) | self.view.counts()
        for outcome in self._seen_to_end().values():
            counts[TrialState.RUNNING] -= 1
            counts[outcome.state] += 1
        if self.manifest.trials is not None:
            counts[TrialState.PENDING] += max(0, self.manifest.trials - len(self.view.trials))
        return counts

    def state_words(self) -> str:
        """Return :meth:`state` in words, with the trial that reached the target where one did."""
        return in_words(self.state(), self.view.reached, self.config.metric)

    def state(self) -> Standing:
        """Return what the sweep is doing.

        Where the scheduler was not asked, a sweep that was submitted and has open trials counts as running. A sweep
        with rungs has not finished while trials may go on.
        """
        counts, word = self.counts(), self.view.word
        is_open = counts[TrialState.PENDING] or counts[TrialState.RUNNING] or self.manifest.trials is None
        if self.view.reached or (self.view.trials and not is_open and not self.may_go_on()):
            return Standing.CANCELED if word is SweepState.CANCELED else Standing.FINISHED
        if word is not None:
            return Standing.of_order(word)
        may_wait = bool(self.view.submissions) if self.jobs is None else sum(self.jobs.values()) > 0
        if counts[TrialState.RUNNING] or may_wait:
            return Standing.RUNNING
        return Standing.IDLE if self.view.trials else Standing.PENDING

    def may_go_on(self) -> int:
        """Return how many trials may go on to their next rung and have not been started for it."""
        if self.config.extensions.rungs is None:
            return 0
        from slurmsweep.learning.rungs import promotions  # few sweeps have rungs

        return len(promotions(self.config, self.view))

    def best(self) -> TrialRow | None:
        """Return the trial of :meth:`ranked` with the best metric; None without a metric, or before the first value."""
        metric = self.config.metric
        if self.config.extensions.repeats:
            return next(iter(self.ranked(1)), None)
        number = self.view.trials.best(largest=metric.goal == "maximize") if metric else None
        return None if number is None else self.trial(number)

    def ranked(self, most: int | None = None) -> list[TrialRow]:
        """Return the finished trials with a value of the metric, best first; at most ``most`` of them.

        Where points run several times they are returned: those of which every run has a value.

        Those that were stopped early are among them with their last value, as in W&B.
        """
        metric = self.config.metric
        if metric is None:
            return []
        if self.config.extensions.repeats:
            from slurmsweep.learning.points import ranked_points

            return [self._point(one.number, one) for one in ranked_points(self.config, self.view)[:most]]
        return [self.trial(n) for n in self.view.trials.ranked(largest=metric.goal == "maximize", most=most)]

    def front(self) -> Front:
        """Return the finished trials that no other one beats in the sweep's Pareto view; empty where it has none.

        The one that is best in the first metric comes first.
        """
        objectives = self.config.extensions.pareto
        names = [objective.name for objective in objectives]
        signs = [-1.0 if objective.goal == "maximize" else 1.0 for objective in objectives]
        rows: dict[int, TrialRow] = {}
        measured: Iterable[tuple[int, Sequence[float]]] = self.view.trials.points(names)
        finished = self.counts()[TrialState.FINISHED]
        if self.config.extensions.repeats:
            rows = {row.number: row for row in self.points()}
            finished = sum(row.state is TrialState.FINISHED for row in rows.values())
            valued = ((number, row.metrics) for number, row in rows.items() if row.metrics)
            measured = ((number, [own[name] for name in names]) for number, own in valued if own.keys() >= set(names))
        left: dict[int, tuple[float, ...]] = {}
        count, bound = 0, _WEIGHED_AT_ONCE
        for count, (number, values) in enumerate(measured, 1):  # noqa: B007 - used below
            left[number] = tuple(map(mul, signs, values))
            if len(left) >= bound:  # a million trials need not be in memory: what is beaten once stays so
                left = {number: left[number] for number in non_dominated(left)}
                bound = 2 * len(left) + _WEIGHED_AT_ONCE
        best = sorted(non_dominated(left), key=lambda number: (left[number], number))
        return Front(tuple(rows.get(number) or self.trial(number) for number in best), finished - count)

    def unmeasured(self, *, of_metric: bool = False) -> list[Unmeasured]:
        """Return finished trials that lack a number the sweep asks for, by reason, the most frequent first.

        Args:
            of_metric: only those without the sweep's metric itself.
        """
        found: dict[str, list[int]] = {}
        for number, why in self.view.trials.unmeasured(of_metric=of_metric):
            found.setdefault(why, []).append(number)
        rows = [Unmeasured(why, len(numbers), tuple(numbers[:_NAMED])) for why, numbers in found.items()]
        return sorted(rows, key=lambda row: (-row.trials, row.first))

    def _numbers_in(self, states: Collection[TrialState]) -> Iterable[int]:
        """Return the trials in these states by number, without making an object of every trial of a large sweep."""
        trials, seen = self.view.trials, self._seen_to_end()
        found: list[Iterable[int]] = [trials.in_state(state) for state in states]
        found = [(number for number in merge(*found) if number not in seen)]
        found.append(sorted(number for number, outcome in seen.items() if outcome.state in states))
        if TrialState.PENDING in states and self.manifest.trials is not None:
            found.append(trials.unknown_below(self.manifest.trials))
        return merge(*found)

    def has_unrecorded_ends(self) -> bool:
        """Return whether a trial that runs by the journal was seen to have ended: ``reconcile`` records that."""
        return bool(self._seen_to_end())

    def _seen_to_end(self) -> dict[int, Outcome]:
        """Return the trials that run as far as the journal knows and that witnesses saw end, with how they did."""
        seen = {}
        for attempt_id, outcome in self.ended.items():
            trial = self.view.trials.get(attempt_id.trial)
            current = trial.current if trial and trial.state is TrialState.RUNNING else None
            if current and current.number == attempt_id.attempt:
                seen[attempt_id.trial] = outcome
        return seen


def status_document(summary: SweepSummary, failures: Sequence[FailureGroup]) -> dict[str, Any]:
    """Return the document of ``status --json``."""
    best = summary.best()
    return {
        "id": summary.manifest.sweep_id,
        "name": summary.config.name,
        "state": summary.state().value,
        "method": summary.config.method,
        "expected_run_count": summary.manifest.trials,
        "counts": {state.value: n for state, n in summary.counts().items()},
        **summary.stopped_early_document(),
        **summary.points_document(),
        "jobs": dict(summary.jobs or {}),
        "waiting": [reason.to_json(summary.manifest.sweep_id) for reason in summary.waiting],
        "best": best.to_json() if best else None,
        "unmeasured": [row._asdict() for row in summary.unmeasured()],
        "failures": [group.to_json() for group in failures],
        "folder": summary.layout.folder,
        **target_document(summary),
        **({"may_go_on": summary.may_go_on()} if summary.config.extensions.rungs else {}),
    }


def target_document(summary: SweepSummary) -> dict[str, Any]:
    """Return which trial reached the target of a sweep that ended by it, as ``target_reached``; else nothing."""
    reached = summary.view.reached
    return {"target_reached": reached._asdict()} if reached else {}
