"""Files of the supervisor of a sweep: what was asked for, which process held which round, what came of the last."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from slurmsweep.state import files
from slurmsweep.state.fields import Fields, document, flag, maybe, number, rows, text, whole
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import MOST_JOBS, OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.state.files import Access
    from slurmsweep.state.paths import Layout

#: Minutes between two rounds: a year.
MOST_MINUTES = 525_600

_ROUND = re.compile(r"round-(\d+)\.json")


@dataclass(frozen=True)
class SupervisorSettings:
    """The settings of a supervisor; every round reads them again.

    Attributes:
        template: name or path of the job template of what is submitted later.
        options: sbatch options of that, as on the command line.
        width: jobs of an array at a time.
        goal: trials in all where the search has no end; None for all there are.
        supervisor: sbatch options of the supervisor's own job.
        every: minutes after which a round is held although no array has ended.
        rules: what is run again: the fields of the resubmission's rules that were given.
        learn: what is learnt instead of asked (the fields of :class:`slurmsweep.sizing.walltime.AutoSizing`); empty for
            nothing.
    """

    template: str = ""
    options: dict[str, str] = field(default_factory=dict)
    width: int | None = None
    goal: int | None = None
    supervisor: dict[str, str] = field(default_factory=dict)
    every: int = 60
    rules: dict[str, Any] = field(default_factory=dict)
    learn: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LastRound:
    """The result of a round.

    Attributes:
        number: 1..
        is_over: nothing is left to do: there will be no other round by itself.
        said: lines for people.
        trouble: what kept it from doing its work; empty where nothing did.
        notes: what the report will say of this round and all before it.
    """

    number: int
    is_over: bool = False
    said: tuple[str, ...] = ()
    trouble: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreviousSettings:
    """The settings and reports of a supervisor before it was asked for anew.

    Attributes:
        files: content of its settings, which are the first, and its reports, by path; None where there was no file.
    """

    files: dict[str, bytes | None]

    @property
    def mended_itself(self) -> bool:
        """Whether the sweep had a supervisor before."""
        return next(iter(self.files.values())) is not None


class SupervisorFiles:
    """The files of one sweep.

    Args:
        layout: where they are.
        access: of the files.
    """

    def __init__(self, layout: Layout, access: Access) -> None:
        self._layout, self._access = layout, access

    def settings(self) -> SupervisorSettings | None:
        """Return what was asked for; None where the sweep has no supervisor. Raises StateUnreadableError."""
        known = files.read_document(self._layout.mend_settings, _SETTINGS, _REMEDY)
        return None if known is None else SupervisorSettings(**known)

    def ask_for(self, settings: SupervisorSettings) -> PreviousSettings:
        """Enable the supervisor with these settings; return what there was before. Raises StateError."""
        files.ensure_folder(self._layout.mend, self._access)
        reports = (self._layout.report_text, self._layout.report_json)
        paths = (self._layout.mend_settings, *reports)
        before = PreviousSettings({path: files.read_plain_file(path) for path in paths})
        self.change(settings)
        for report in reports:
            files.remove_file(report)  # it will not be the last word
        return before

    def undo(self, before: PreviousSettings) -> None:
        """Restore what there was before :meth:`ask_for`. Raises StateUnwritableError."""
        for path, content in before.files.items():
            if content is None:
                files.remove_file(path)
            else:
                files.replace(path, content, self._access)

    def change(self, settings: SupervisorSettings) -> None:
        """Change the settings, for all that is submitted later. Raises StateUnwritableError."""
        files.replace(self._layout.mend_settings, document(asdict(settings), indent=1), self._access)

    def take_round(self, me: Owner, lives: Callable[[Owner], bool]) -> int | Owner:
        """Take the next round for this process alone; return its number, or the owner that holds one now.

        Two that find no living holder at the same moment make the same name, and one of them does not get it. A holder
        that cannot be asked counts as gone: a round held twice costs jobs that find nothing to do, and no trial.

        Args:
            me: this process.
            lives: whether a holder is still at it.

        Raises:
            StateError: the files could not be read or written.
        """
        files.ensure_folder(self._layout.mend, self._access)
        rounds = filter(None, map(_ROUND.fullmatch, files.names_in(self._layout.mend)))
        newest = max((int(found[1]) for found in rounds), default=0)
        last = self.last()
        if newest and not (last and last.number >= newest):
            holder = self._holder(newest)
            if not holder.same_job(me) and lives(holder):
                return holder
        try:
            files.write_once(self._layout.mend_round(newest + 1), document(me.to_json(), indent=1), self._access)
        except FileExistsError:
            return self._holder(newest + 1)
        return newest + 1

    def _holder(self, number: int) -> Owner:
        found = files.read_document(self._layout.mend_round(number), Owner.from_json, _REMEDY)
        return found or Owner("", 0, 0, "")

    def last(self) -> LastRound | None:
        """Return what came of the last round that ended; None before the first. Raises StateUnreadableError."""
        known = files.read_document(self._layout.mend_last, _LAST, _REMEDY)
        return None if known is None else LastRound(**{"number": 0, **known})

    def end_round(self, ended: LastRound) -> None:
        """Record what came of a round. Raises StateUnwritableError."""
        files.replace(self._layout.mend_last, document(asdict(ended), indent=1), self._access)

    def write_report(self, text: str, report: dict[str, Any]) -> None:
        """Write what happened, for people and for programs. Raises StateUnwritableError."""
        files.replace(self._layout.report_json, document(report, indent=1), self._access)
        files.replace(self._layout.report_text, (text + "\n").encode("utf-8", "surrogateescape"), self._access)

    def has_report(self) -> bool:
        """Return whether the report on the end of the sweep was written."""
        return files.is_file(self._layout.report_text)


_REMEDY = "remove it and ask for mending again"
_SETTINGS = Fields(
    {},
    {
        "template": text,
        **dict.fromkeys(("options", "supervisor"), OPTIONS),
        "width": maybe(whole(0, MOST_JOBS)),
        "goal": maybe(whole()),
        "every": whole(1, MOST_MINUTES),
        "rules": Fields(
            {}, {"max_attempts": maybe(whole(1)), **dict.fromkeys(("time_factor", "mem_factor"), number(1, 1e9))}
        ),
        "learn": Fields({}, {**dict.fromkeys(("time", "mem"), flag), "canaries": maybe(whole(1, MOST_JOBS))}),
    },
)
_LAST = Fields({}, {"number": whole(), "is_over": flag, "trouble": text, "said": rows(text), "notes": rows(text)})
