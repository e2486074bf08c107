"""Waves of trials whose time and memory are learnt: gather what is known, decide by :mod:`walltime`, carry it out.

Supervisors and people call the same two functions; doing so twice, or at once, submits nothing twice that matters: an
attempt is run by whoever makes its folder first.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from slurmsweep import search
from slurmsweep.backends.slurm import accounting, executor, partitions
from slurmsweep.backends.slurm.resources import asked
from slurmsweep.control.start import agents_wanted
from slurmsweep.control.submit import JobBatch, job_options, may_be_given_back, send
from slurmsweep.sizing.usage import Ledger
from slurmsweep.sizing.walltime import AutoSizing, Bounds, SizingInput
from slurmsweep.state.assignment import slots_of
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.tail import AttemptId

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from slurmsweep.backends.base import SubmitOptions
    from slurmsweep.backends.slurm.fit_limits import Submitted
    from slurmsweep.backends.slurm.queue import JobRef
    from slurmsweep.control.snapshot import Snapshot
    from slurmsweep.sizing.walltime import Group, Wave
    from slurmsweep.state.replay import SweepView
    from slurmsweep.state.store import SweepStore

#: Ended trials that are looked at: evenly from all that ended in the same way.
_MOST_HISTORY = 500


def gather(  # noqa: PLR0913, PLR0917 - all that there is to know
    store: SweepStore,
    snapshot: Snapshot,
    wishes: SubmitOptions,
    wish: AutoSizing,
    count: int | None = None,
    again: Sequence[AttemptId] = (),
) -> SizingInput:
    """All that the next wave rests on: the journal, scripts of waiting arrays, one sinfo call, for memory one sacct.

    Args:
        store: of the sweep.
        snapshot: of :func:`observe.look`, just made.
        wishes: without what is to be learnt.
        wish: what is to be learnt.
        count: open trials to consider; None for all.
        again: next attempts of trials that ended, which are open as well; those that are not any more are left out.

    Raises:
        UsageError: the search has no end and there is no ``count``; an option is wrong.
        SchedulerUnavailableError: Slurm did not answer.
    """
    view, config = snapshot.view, store.manifest.config
    given_back = [attempt_id for attempt_id in again if may_be_given_back(view, attempt_id)]
    wanted = agents_wanted(store, view, count) + (len(given_back) if count is None else 0)
    open_slots = list(islice(chain(given_back, _open(store, view, wanted, snapshot.unclaimed)), wanted))
    jobs = {s.job for s in view.submissions.values() if s.job}
    accounts = accounting.accounts(jobs)[0] if wish.mem else {}
    ended, begun = (
        _worth_looking_at(view, snapshot),
        [attempt_id.trial for attempt_id in open_slots if attempt_id.attempt > 1],
    )
    ledger = Ledger(view, snapshot.ended, accounts, asked, among=[n for n in {*ended, *begun} if n in view.trials])
    return SizingInput(
        point=lambda number: search.parameters(config, number, store.manifest.sweep_id),
        open=open_slots,
        live=sum(snapshot.jobs.values()),
        history=[usages for number in ended if (usages := ledger.of(number))],
        own={number: ledger.of(number) for number in begun},
        bounds=bounds_of(store, wishes),
    )


def carry_out(
    store: SweepStore, wave: Wave, wishes: SubmitOptions, again: Collection[AttemptId] = (), *, takes_up: bool = False
) -> Iterator[tuple[Group, Submitted]]:
    """Submit the groups of a wave as one goes over them: one array for each, or more under Slurm's limits.

    Of their attempts those in ``again`` are given back with their jobs. What was submitted before an error stays, and
    the next wave counts with it. A ``width`` is shared by the groups, by
    their sizes, each at least 1: Slurm knows no limit over several arrays.

    Raises: as :func:`submit.submit`.
    """
    ended, trials = set(again), sum(len(group.attempt_ids) for group in wave.groups)
    for group in wave.groups:
        asked_for = _with(wishes, group, len(group.attempt_ids) / trials)
        given_back = tuple(attempt_id for attempt_id in group.attempt_ids if attempt_id in ended)
        errand = JobBatch(asked_for, len(group.attempt_ids), group.attempt_ids, given_back)
        for array in send(store, errand, takes_up=takes_up).arrays:
            yield group, array


def _with(wishes: SubmitOptions, group: Group, share: float) -> SubmitOptions:
    options = dict(wishes.options or {})
    if group.minutes is not None:
        options["time"] = str(group.minutes)
    if group.mib is not None:
        # sbatch takes one of the three
        options |= {"mem": f"{group.mib}M", "mem-per-cpu": False, "mem-per-gpu": False}
    width = None if wishes.width is None else max(1, int(wishes.width * share))
    return replace(wishes, options=options, width=width)


def _open(store: SweepStore, view: SweepView, wanted: int, unclaimed: Iterable[JobRef]) -> Iterator[AttemptId]:
    """Attempts that nobody claimed and no waiting job is for: those given back first, then new ones, by number."""
    named, unnamed = _assigned(store, unclaimed)
    end = store.manifest.trials
    if end is None:
        end = view.head.next_trial + wanted + unnamed + len(named) + len(view.trials)  # as many are free below it
    first = (AttemptId(number, 1) for number in view.trials.unknown_below(end))
    free = (attempt_id for part in (view.waiting(), first) for attempt_id in part if attempt_id not in named)
    # a job that was submitted for no certain trial takes the next one there is
    return islice(free, unnamed, None)


def _assigned(store: SweepStore, unclaimed: Iterable[JobRef]) -> tuple[set[AttemptId], int]:
    """The attempts that waiting jobs are for, by their scripts; and the number of those for none in particular.

    A script that is gone tells nothing: its jobs count as for none in particular.
    """
    scripts: dict[str, list[AttemptId]] = {}
    named: set[AttemptId] = set()
    unnamed = 0
    for ref in unclaimed:
        if ref.job not in scripts:
            scripts[ref.job] = _slots_in_script(store, ref.job)
        attempt_ids = scripts[ref.job]
        if ref.task is not None and ref.task < len(attempt_ids):
            named.add(attempt_ids[ref.task])
        else:
            unnamed += 1
    return named, unnamed


def _slots_in_script(store: SweepStore, job: str) -> list[AttemptId]:
    path = os.path.join(store.layout.jobs, f"{job}_submission.sh")
    try:
        with open(path, encoding="utf-8") as file:
            return slots_of(file.read())
    except (FileNotFoundError, UnicodeDecodeError):
        return []


def _worth_looking_at(view: SweepView, snapshot: Snapshot) -> list[int]:
    """Trials that ended, evenly from those that finished, crashed, and failed; and those whose end is not recorded."""
    states = (TrialState.FINISHED, TrialState.CRASHED, TrialState.FAILED, TrialState.PENDING)
    chosen = {attempt_id.trial for attempt_id in snapshot.ended}
    for state in states:
        numbers = list(view.trials.in_state(state))
        chosen.update(numbers[:: -(-len(numbers) // _MOST_HISTORY) or 1])
    return sorted(chosen)


def bounds_of(store: SweepStore, wishes: SubmitOptions, survey: partitions.Survey | None = None) -> Bounds:
    """What is asked without learning, and the limits of the partition. One sinfo call, unless somebody made it.

    Raises: as :func:`gather`.
    """
    options = job_options(wishes, store.manifest.config)
    partition = (survey or partitions.survey()).most(_text(options, "partition"))
    each = asked({"time": executor.DEFAULT_TIME, **options})
    warning = executor.warning_seconds(options)
    return Bounds(each.time, each.mem, partition.minutes, partition.mebibytes or None, warning)


def _text(options: Mapping[str, str | bool], name: str) -> str | None:
    value = options.get(name)
    return value if isinstance(value, str) else None
