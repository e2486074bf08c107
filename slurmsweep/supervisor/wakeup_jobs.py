"""What wakes the supervisor of a sweep that mends itself: two tiny jobs that wait in Slurm, and no daemon anywhere.

One starts when an array of the sweep has ended, or when the round that it follows has (however: killed, too); the other
by the clock, for whatever does not end. Each is found by its name, so nothing needs to be kept about them.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slurmsweep.backends.base import WakeupJob, When
from slurmsweep.backends.slurm import changes, queue
from slurmsweep.backends.slurm import wakeup as alarms
from slurmsweep.backends.slurm.resources import merge
from slurmsweep.errors import SubmissionRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slurmsweep.state.store import SweepStore
    from slurmsweep.state.supervisor_files import SupervisorSettings

#: What a supervisor needs unless somebody says otherwise.
_NEEDS = {"time": "10", "cpus-per-task": "1", "ntasks": "1", "nodes": "1", "mem": "512M"}

#: Of the sweep's own options: where its supervisor may run, and who pays.
_SHARED = ("account", "partition", "qos", "reservation", "clusters", "wckey")

#: Seconds after a round that was killed before the next one takes over.
_TAKE_OVER = 30


@dataclass(frozen=True)
class WakeupJobs:
    """The two jobs of one sweep.

    Attributes:
        store: of the sweep.
        settings: what was asked for.
        options: sbatch options of the sweep's trials.
        me: id of the Slurm job this process runs in, if it is a supervisor; None for a person's command.

    The two are looked for once; what is set afterwards is remembered. One that started meanwhile cannot be changed, and
    another takes its place.
    """

    store: SweepStore
    settings: SupervisorSettings
    options: Mapping[str, str | bool]
    me: str | None = None
    _set_before: dict[str, When] = field(default_factory=dict)
    _found: list[WakeupJob] = field(default_factory=list)

    def watch_over_me(self) -> None:
        """Before anything else is done: whatever becomes of this process, somebody goes on.

        Both jobs have their places before trials take what a limit leaves.

        Raises:
            SchedulerError: neither job could be had.
        """
        others = self._others()
        self._set(others, self.clock_name, When(seconds=self.settings.every * 60))
        mine = When((self.me,), _TAKE_OVER) if self.me else When(seconds=self.settings.every * 60)
        self._set(others, self.wake_name, mine)

    def wake_after(self, arrays: Sequence[str], minutes: int | None = None) -> None:
        """The next round begins when one of these arrays has ended, or after so many minutes.

        Raises:
            SchedulerError: neither job could be had, or Slurm could not be asked.
        """
        others = self._others()
        self._set(others, self.clock_name, When(seconds=(minutes or self.settings.every) * 60))
        if arrays:
            self._set(others, self.wake_name, When(tuple(arrays)))
        else:
            self._cancel(others, self.wake_name)

    def leave_to_the_clock(self) -> None:
        """After trouble: no round right away, which would meet the same trouble; the clock brings the next."""
        self._cancel(self._others(), self.wake_name)

    def stop(self) -> None:
        """There will be no other round."""
        self._cancel(self._others(), self.wake_name, self.clock_name)

    def alive(self) -> list[WakeupJob]:
        """Those that wait or run, this process's own job too. Raises SchedulerUnavailableError."""
        return alarms.find((self.wake_name, self.clock_name))

    @property
    def wake_name(self) -> str:
        """Of the job that waits for arrays."""
        return f"slurmsweep-{self.store.manifest.sweep_id}-mend"

    @property
    def clock_name(self) -> str:
        """Of the job that waits for a time."""
        return f"slurmsweep-{self.store.manifest.sweep_id}-clock"

    def _others(self) -> list[WakeupJob]:
        """That wait: not this process's own job, and none that has begun."""
        if not self._set_before:
            self._found[:] = [alarm for alarm in self.alive() if alarm.waits and alarm.job != self.me]
        return list(self._found)

    def _set(self, others: list[WakeupJob], name: str, when: When) -> None:
        """One job of that name waits, until ``when``: where two chains of supervisors met, one of them ends here."""
        if self._set_before.get(name) == when:
            return  # but for the seconds since
        waiting = [alarm for alarm in others if alarm.name == name]
        queue.cancel([alarm.job for alarm in waiting[1:]])
        words = alarms.changes_of(when)
        self._found[:] = [alarm for alarm in self._found if alarm not in waiting[1:]]
        if not (waiting and changes.change_job(waiting[0].job, words)):
            job = alarms.submit(name, self._body(), self._options(), when)
            self._found[:] = [alarm for alarm in self._found if alarm.name != name]
            self._found.append(WakeupJob(job, name, waits=True))
        self._set_before[name] = when

    def _cancel(self, others: list[WakeupJob], *names: str) -> None:
        queue.cancel([alarm.job for alarm in others if alarm.name in names])
        self._found[:] = [alarm for alarm in self._found if alarm.name not in names]
        for name in names:
            self._set_before.pop(name, None)

    def _body(self) -> str:
        return f"exec {shlex.quote(sys.executable)} -m slurmsweep mend {shlex.quote(self.store.layout.folder)}"

    def _options(self) -> dict[str, str | bool]:
        shared = {name: self.options[name] for name in _SHARED if name in self.options}
        wanted = merge({}, shared, _NEEDS) | merge({}, {}, self.settings.supervisor)
        return {
            **wanted,
            "requeue": True,
            "open-mode": "append",
            "output": self.store.layout.mend_log("%j").replace("%", "%%").replace("%%j", "%j"),
            "chdir": self.store.manifest.workdir,
        }


def explain_refusal(error: SubmissionRefusedError, sweep: str) -> SubmissionRefusedError:
    """What it means that a supervisor could not submit."""
    return SubmissionRefusedError(
        f"the supervisor may not submit jobs from this node: {error}. A sweep mends itself only where compute nodes "
        f"may do so (AllocNodes of the partition); elsewhere run `slurmsweep mend {sweep}` on a login node at times"
    )
