"""Every place that knows jobs of a sweep, as one backend: each is asked about the jobs whose keys name it.

A sweep may have jobs in several places: on Slurm during the week, and in a service before a deadline. The key of a job
names its cluster, and with it the service (:func:`.keys.service_in`); a key without one is Slurm's.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING

from slurmsweep.backends.base import Ability, Answer, JobRestarts
from slurmsweep.backends.keys import service_in
from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.errors import SchedulerError, SchedulerUnavailableError, SlurmsweepError
from slurmsweep.state.owner import service_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from slurmsweep.backends.base import Account, Backend
    from slurmsweep.backends.keys import JobRef


class Schedulers(SlurmBackend):
    """Slurm, and the services that keys name: for looking at jobs and for orders to them. It submits to Slurm alone.

    Args:
        service: returns the backend of a service by its word.
    """

    def __init__(self, service: Callable[[str], Backend]) -> None:
        self._service = service

    def find(self, name: str, cluster: str) -> str:
        """Return the key of the jobs with that name, from the service of that cluster, else from Slurm."""
        word = service_of(cluster)
        return self._service(word).find(name, cluster) if word else super().find(name, cluster)

    def poll(self, jobs: Iterable[str], wanted: Collection[JobRef] = ()) -> Answer:
        """Ask each place about its jobs: what accounting says of the question is Slurm's.

        Raises SchedulerUnavailableError where a place did not answer, in words that are known, or cannot be asked from
        here: nothing is concluded from the others then, whose jobs may be those that matter.
        """
        asked = by_place(jobs)
        refs: defaultdict[str, list[JobRef]] = defaultdict(list)
        for ref in wanted:
            refs[service_in(ref.job)].append(ref)
        with _nothing_known():
            answer = super().poll(asked.pop("", ()), refs.pop("", ()))
            for word in sorted(asked.keys() | refs.keys()):
                said = self._service(word).poll(asked.get(word, ()), refs[word])
                answer = answer._replace(tasks={**answer.tasks, **said.tasks}, cut=answer.cut | said.cut)
        return answer

    def accounts(self, jobs: Collection[str]) -> tuple[Mapping[JobRef, Account], str]:
        """Return what each place knows of its jobs, and what became of the question to Slurm, or else to the others."""
        asked = by_place(jobs)
        known, said = super().accounts(asked.pop("", ()))
        for word, keys in sorted(asked.items()):
            more, answer = self._service(word).accounts(keys)
            known, said = {**known, **more}, answer if said in ("not needed", "used") else said
        return known, said

    def restarts(self, jobs: Collection[str]) -> JobRestarts:
        """Return how starts of these jobs ended that did not complete, of all places together."""
        asked = by_place(jobs)
        slurm = asked.pop("", ())
        total = super().restarts(slurm) if slurm else JobRestarts()
        for word, keys in sorted(asked.items()):
            more = self._service(word).restarts(keys)
            ends = {end: total.ends.get(end, 0) + more.ends.get(end, 0) for end in [*total.ends, *more.ends]}
            total = JobRestarts(ends, total.accounting if slurm else more.accounting)
        return total

    def last_words(self, ref: JobRef, lines: int = 5) -> tuple[str, ...]:
        """Return the last lines that a job wrote, where its place has them."""
        word = service_in(ref.job)
        return self._service(word).last_words(ref, lines) if word else ()

    def cancel(self, targets: Collection[str], *, only_waiting: bool = False) -> None:
        """Cancel jobs, each in its place. Raises the first error when all places have been asked."""
        problem: SchedulerError | None = None
        for word, keys in sorted(by_place(targets).items()):
            try:
                with _nothing_known(but=SchedulerError):
                    if word:
                        self._service(word).cancel(keys, only_waiting=only_waiting)
                    else:
                        super().cancel(keys, only_waiting=only_waiting)
            except SchedulerError as error:  # noqa: PERF203 - a few places
                problem = problem or error
        if problem:
            raise problem

    def endable(self, jobs: Collection[str]) -> tuple[str, ...]:
        """Return the jobs that can be ended, each by what its place can do."""
        return tuple(key for key in jobs if self._place(key) is self or self._place(key).endable((key,)))

    def holdable(self, jobs: Collection[str]) -> tuple[str, ...]:
        """Return the jobs of places that can hold jobs."""
        return tuple(key for key in jobs if Ability.HOLD in self._place(key).abilities)

    def change(self, job: str, tasks: Iterable[int], words: list[str]) -> list[str]:
        """Change elements of an array of Slurm; a service changes no job that waits, and the answer says so."""
        if word := service_in(job):
            return [f"{word} changes no job that waits: `cancel` it, and submit again"]
        return super().change(job, tasks, words)

    def _place(self, key: str) -> Backend:
        word = service_in(key)
        return self._service(word) if word else self


@contextmanager
def _nothing_known(but: type[SlurmsweepError] = SchedulerUnavailableError) -> Iterator[None]:
    """Turn any error of a place into SchedulerUnavailableError, ``but`` errors of one kind, which pass as they are.

    So nothing is concluded where a service uses a word that is not known here, or where boto3 is not installed.
    """
    try:
        yield
    except but:
        raise
    except SlurmsweepError as error:
        raise SchedulerUnavailableError(str(error)) from error


def by_place(jobs: Iterable[str]) -> dict[str, list[str]]:
    """Return job keys (or targets) by the word of their service; those of Slurm under the empty word."""
    found: dict[str, list[str]] = {}
    for key in jobs:
        found.setdefault(service_in(key), []).append(key)
    return found
