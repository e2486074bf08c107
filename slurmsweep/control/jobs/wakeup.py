"""The jobs that wake the supervisor of a sweep: two tiny jobs that wait in the scheduler, and no daemon anywhere.

One starts when an array of the sweep has ended, or when the round before it has (also where that round was killed); the
other one starts by the clock, for whatever does not end. Each is found by its name, so nothing is kept about them.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slurmsweep.backends.base import JobSource, SubmitOptions, WakeupJob, When
from slurmsweep.control.defaults import filled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.backends.base import Options
    from slurmsweep.control.session import Session
    from slurmsweep.state.supervisor_files import SupervisorSettings

#: What a supervisor asks for unless its own options say otherwise.
_NEEDS = {"time": "10", "cpus-per-task": "1", "ntasks": "1", "nodes": "1", "mem": "512M"}

#: Of the sweep's own options: where its supervisor may run, and who pays.
_SHARED = ("account", "partition", "qos", "reservation", "clusters", "wckey")

#: Seconds after a round that was killed before the next one takes over.
_TAKE_OVER = 30


@dataclass(frozen=True)
class WakeupJobs:
    """The two jobs of one sweep.

    The two are looked for once; what is set afterwards is remembered. One that started meanwhile cannot be changed, and
    another takes its place.

    Attributes:
        session: of the sweep.
        settings: what was asked for.
        me: id of the job that this process runs in, if it is a supervisor; None for a person's command.
    """

    session: Session
    settings: SupervisorSettings
    me: str | None = None
    _set_before: dict[str, When] = field(default_factory=dict)
    _found: list[WakeupJob] = field(default_factory=list)

    def watch_over_me(self) -> None:
        """Queue the next supervisor first, so that a round that is killed is followed by another.

        Both jobs have their places before trials take what a limit leaves.

        Raises:
            SchedulerError: neither job could be had.
        """
        self._look()
        self._set(self.clock_name, When(seconds=self.settings.every * 60))
        mine = When((self.me,), _TAKE_OVER) if self.me else When(seconds=self.settings.every * 60)
        self._set(self.wake_name, mine)

    def wake_after(self, arrays: Sequence[str], minutes: int | None = None) -> None:
        """Let the next round begin when one of these arrays has ended, or after so many minutes.

        Raises:
            SchedulerError: neither job could be had, or the scheduler could not be asked.
        """
        self._look()
        self._set(self.clock_name, When(seconds=(minutes or self.settings.every) * 60))
        if arrays:
            self._set(self.wake_name, When(tuple(arrays)))
        else:
            self._cancel(self.wake_name)

    def leave_to_the_clock(self) -> None:
        """Start no round right away after trouble: it would meet the same trouble. The clock brings the next one."""
        self._look()
        self._cancel(self.wake_name)

    def stop(self) -> None:
        """Cancel both jobs: there will be no other round."""
        self._look()
        self._cancel(self.wake_name, self.clock_name)

    def alive(self) -> list[WakeupJob]:
        """Return those that wait or run, this process's own job too. Raises SchedulerUnavailableError."""
        cluster = str(self._options().get("clusters") or "")
        return self.session.scheduler.find_later((self.wake_name, self.clock_name), cluster)

    @property
    def wake_name(self) -> str:
        """Name of the job that waits for arrays."""
        return f"slurmsweep-{self.session.store.manifest.sweep_id}-mend"

    @property
    def clock_name(self) -> str:
        """Name of the job that waits for a time."""
        return f"slurmsweep-{self.session.store.manifest.sweep_id}-clock"

    def _look(self) -> None:
        """Find those that wait, unless that is known: not this process's own job, and none that has begun."""
        if not self._set_before:
            self._found[:] = [job for job in self.alive() if job.waits and job.job != self.me]

    def _set(self, name: str, when: When) -> None:
        """Let one job of that name wait until ``when``: where two chains of supervisors met, one of them ends here."""
        if self._set_before.get(name) == when:
            return  # but for the seconds since
        scheduler = self.session.scheduler
        waiting = [job for job in self._found if job.name == name]
        scheduler.cancel([job.job for job in waiting[1:]])
        self._found[:] = [job for job in self._found if job not in waiting[1:]]
        if not (waiting and scheduler.move_later(waiting[0].job, when)):
            folder = shlex.quote(self.session.store.layout.folder)
            body = f"exec {shlex.quote(sys.executable)} -m slurmsweep mend {folder}"
            job = scheduler.submit_later(name, body, self._options(), when)
            self._found[:] = [other for other in self._found if other.name != name]
            self._found.append(WakeupJob(job, name, waits=True))
        self._set_before[name] = when

    def _cancel(self, *names: str) -> None:
        self.session.scheduler.cancel([job.job for job in self._found if job.name in names])
        self._found[:] = [job for job in self._found if job.name not in names]
        for name in names:
            self._set_before.pop(name, None)

    def _options(self) -> Options:
        store, scheduler = self.session.store, self.session.scheduler
        of_trials = scheduler.options(wish_of(self.settings, self.session), JobSource.of(store))
        shared = {name: of_trials[name] for name in _SHARED if name in of_trials}
        return {
            **scheduler.over(scheduler.normalized(shared | _NEEDS), scheduler.normalized(self.settings.supervisor)),
            "requeue": True,
            "open-mode": "append",
            "output": store.layout.mend_log("%j").replace("%", "%%").replace("%%j", "%j"),
            "chdir": store.manifest.workdir,
        }


class NoWakeupJobs(WakeupJobs):
    """In the place of these jobs where the sweep's backend cannot wake: a person, or cron, holds each round."""

    def watch_over_me(self) -> None:
        """Queue nothing."""

    def wake_after(self, arrays: Sequence[str], minutes: int | None = None) -> None:
        """Queue nothing."""

    def leave_to_the_clock(self) -> None:
        """Queue nothing."""

    def stop(self) -> None:
        """Cancel nothing."""

    def alive(self) -> list[WakeupJob]:
        """Return none."""
        return []


def wish_of(settings: SupervisorSettings, session: Session) -> SubmitOptions:
    """Return what jobs ask for that a supervisor submits."""
    wish = SubmitOptions(settings.template, settings.options, settings.width)
    return filled(wish, session.store.manifest.defaults, session.backend)
