"""Slurm for agents of a sweep that W&B's server holds: few at a time, and none of them for a certain trial."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from slurmsweep.backends.base import Ability, Backend, SubmitResult
from slurmsweep.backends.keys import parts_of
from slurmsweep.backends.slurm import limits
from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.backends.slurm.cluster import target

if TYPE_CHECKING:
    from slurmsweep.backends.base import JobRequest, JobSource, SubmitOptions, SubmitPart, Submitted
    from slurmsweep.state.tail import AttemptId

#: Jobs at a time by default: below the about 20 parallel agents that W&B supports for a sweep, with room for agents on
#: other machines.
DEFAULT_WIDTH = 16
SUPPORTED_AGENTS = 20


class HostedBackend(SlurmBackend):
    """Slurm, with arrays that wait for each other so that the width holds for all of them together.

    The source's argument is W&B's name of the sweep. There is no journal: W&B decides which trial an agent runs.
    """

    name: ClassVar[str] = "wandb"
    abilities: ClassVar[frozenset[Ability]] = frozenset({Ability.OUTLIVE, Ability.LIMIT, Ability.HOLD, Ability.CHANGE})

    # a supervisor reads the journal, which such a sweep does not have
    submit_later, find_later, move_later = Backend.submit_later, Backend.find_later, Backend.move_later

    _previous = ""  # id of the array of the submission under way; the next one waits for its end

    def request(
        self, source: JobSource, trials: int, wish: SubmitOptions, attempt_ids: tuple[AttemptId, ...] = ()
    ) -> JobRequest:
        """Return the request for one job a trial, 16 at a time unless another width is wished."""
        if attempt_ids:
            self.require(Ability.ASSIGN, "different time or memory for each trial")
        request = super().request(source, trials, replace(wish, width=wish.width or DEFAULT_WIDTH))
        return replace(request, tasks=trials, agents=None)

    def submit(self, request: JobRequest, part: SubmitPart, *, was_refused: bool = False) -> SubmitResult:
        """Split a request by MaxArraySize alone; each array waits for the one before. Raises as the base's."""
        del was_refused
        arrays: list[Submitted] = []
        self._previous, first = "", 0
        for tasks in limits.split(request.tasks, limits.max_array_size(target(request.options))):
            array = part(first, tasks)
            first += tasks
            if array:
                arrays.append(array)
                self._previous = parts_of(array.job)[0]  # all of them are on one cluster
        return SubmitResult(tuple(arrays))

    def send(self, request: JobRequest) -> str:
        """Submit an array that starts when the one before in this submission has ended, however; return its id."""
        if self._previous:
            wished = [str(request.options["dependency"])] if request.options.get("dependency") else []
            dependency = ",".join([*wished, f"afterany:{self._previous}"])
            request = replace(request, options={**request.options, "dependency": dependency})
        return super().send(request)
