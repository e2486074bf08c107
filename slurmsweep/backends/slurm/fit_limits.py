"""Submit as many jobs as Slurm takes: arrays under its limits on their size and on the number of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.backends.base import SubmitResult
from slurmsweep.backends.slurm import limits
from slurmsweep.errors import JobLimitError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slurmsweep.backends.base import Submitted


def hand_over(
    count: int,
    largest: int,
    options: Mapping[str, str | bool],
    part: Callable[[int, int], Submitted | None],
    *,
    was_refused: bool,
) -> SubmitResult:
    """Submit ``count`` jobs in arrays of at most ``largest``: all that fit.

    Mostly all fit, so Slurm is asked for limits only where it refused an array of this sweep before, or where more than
    one array is wanted.

    Args:
        count: 1 or more.
        largest: size of an array that Slurm takes here.
        options: of the jobs.
        part: submits the jobs from a position on, so many; returns None where there was nothing left to submit. Raises
            JobLimitError where Slurm does not take them.
        was_refused: Slurm refused an array of this sweep before.
    """
    if count > largest or was_refused:
        return _hand_over_parts(count, largest, options, part)
    try:
        array = part(0, count)
    except JobLimitError as refusal:
        return _hand_over_parts(count, largest, options, part, refusal)
    return SubmitResult((array,) if array else ())


def _hand_over_parts(
    count: int,
    largest: int,
    options: Mapping[str, str | bool],
    part: Callable[[int, int], Submitted | None],
    refusal: JobLimitError | None = None,
) -> SubmitResult:
    """Submit as many jobs as limits leave room for. Args as :func:`hand_over`, and the refusal of all at once.

    Slurm takes an array whole or not at all. So where a limit cannot be read, what is left is halved until it fits:
    log2(count) refusals find the limit to the job.
    """
    room = limits.room(options)
    if room.jobs == 0:
        raise JobLimitError(f"Slurm takes no more jobs now: {room.why}; submit later") from refusal
    fits, why = count, ""
    if room.jobs is not None and room.jobs < count:
        fits, why, refusal = room.jobs, room.why, None
    elif refusal:
        fits, why = _may_still_fit(count, refusal, is_first=True), str(refusal)
    arrays: list[Submitted] = []
    done = 0
    while done < fits:
        left = fits - done
        if refusal and not refusal.cluster_is_full:  # all that is known is that more do not fit
            left = (left + 1) // 2
        tasks = min(largest, left)
        try:
            array = part(done, tasks)
            arrays += [array] if array else []
            done += tasks
        except JobLimitError as error:
            fits = done + _may_still_fit(tasks, error, is_first=refusal is None)
            why, refusal = str(error), error
    if refusal and not arrays:
        raise refusal
    return SubmitResult(tuple(arrays), count - done, why)


def _may_still_fit(refused: int, error: JobLimitError, *, is_first: bool) -> int:
    """Return an upper bound of the jobs that a limit leaves room for, after Slurm refused so many.

    A full cluster takes two minutes to refuse, so it is asked once more, for well below what it should take.
    """
    if not error.cluster_is_full:
        return refused - 1
    return min(refused - 1, (limits.free_in_cluster() or 0) // 2) if is_first else 0
