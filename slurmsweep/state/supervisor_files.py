"""What a sweep that mends itself keeps on disk: what was asked for, who mends in which round, what came of the last."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from slurmsweep.errors import StateUnreadableError
from slurmsweep.state import files as durable
from slurmsweep.state.owner import Owner
from slurmsweep.state.plainfile import read_plain_file, reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from slurmsweep.state.files import Access
    from slurmsweep.state.paths import Layout

_ROUND = re.compile(r"round-(\d+)\.json")


@dataclass(frozen=True)
class SupervisorSettings:
    """What was asked for; every round reads it again.

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

    template: str = "array"
    options: dict[str, str] = field(default_factory=dict)
    width: int | None = None
    goal: int | None = None
    supervisor: dict[str, str] = field(default_factory=dict)
    every: int = 60
    rules: dict[str, Any] = field(default_factory=dict)
    learn: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LastRound:
    """What came of a round.

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
    """What a sweep had of mending before it was asked for anew.

    Attributes:
        files: content of its settings, which are the first, and its reports, by path; None where there was no file.
    """

    files: dict[str, bytes | None]

    @property
    def mended_itself(self) -> bool:
        """Whether it did so before."""
        return next(iter(self.files.values())) is not None


class SupervisorFiles:
    """The files of one sweep.

    Args:
        place: where they are.
        access: who may use them.
    """

    def __init__(self, place: Layout, access: Access) -> None:
        self._place, self._access = place, access

    def settings(self) -> SupervisorSettings | None:
        """What was asked for; None where the sweep does not mend itself. Raises StateUnreadableError."""
        document = _read(self._place.mend_settings)
        if document is None:
            return None
        return SupervisorSettings(
            **{key: document[key] for key in SupervisorSettings.__dataclass_fields__ if key in document}
        )

    def ask_for(self, settings: SupervisorSettings) -> PreviousSettings:
        """From now on the sweep mends itself so; what there was before. Raises StateError."""
        durable.ensure_folder(self._place.mend, self._access)
        reports = (self._place.report_text, self._place.report_json)
        before = PreviousSettings({path: read_plain_file(path) for path in (self._place.mend_settings, *reports)})
        self.change(settings)
        for report in reports:
            durable.remove_file(report)  # it will not be the last word
        return before

    def undo(self, before: PreviousSettings) -> None:
        """What was asked for last was refused. Raises StateUnwritableError."""
        for path, content in before.files.items():
            if content is None:
                durable.remove_file(path)
            else:
                durable.replace(path, content, self._access)

    def change(self, settings: SupervisorSettings) -> None:
        """Whatever is submitted later is submitted so. Raises StateUnwritableError."""
        durable.replace(self._place.mend_settings, _bytes(asdict(settings)), self._access)

    def take_round(self, me: Owner, lives: Callable[[Owner], bool]) -> int | Owner:
        """The number of the round that this process alone holds from now on; or who holds one at this moment.

        Two that find no living holder at the same moment make the same name, and one of them does not get it. A holder
        that cannot be asked counts as gone: a round held twice costs jobs that find nothing to do, and no trial.

        Args:
            me: this process.
            lives: whether a holder is still at it.

        Raises:
            StateError: the files could not be read or written.
        """
        durable.ensure_folder(self._place.mend, self._access)
        newest = self._newest()
        last = self.last()
        if newest and not (last and last.number >= newest):
            document = _read(self._place.mend_round(newest)) or {}
            holder = Owner.from_json(document)
            if not holder.same_job(me) and lives(holder):
                return holder
        try:
            durable.write_once(self._place.mend_round(newest + 1), _bytes(me.to_json()), self._access)
        except FileExistsError:
            return Owner.from_json(_read(self._place.mend_round(newest + 1)) or {})
        return newest + 1

    def last(self) -> LastRound | None:
        """What came of the last round that came to an end; None before the first. Raises StateUnreadableError."""
        document = _read(self._place.mend_last)
        if document is None:
            return None
        known = {key: document[key] for key in LastRound.__dataclass_fields__ if key in document}
        lines = {name: tuple(known.get(name, ())) for name in ("said", "notes")}
        return LastRound(**{"number": 0, **known, **lines})

    def end_round(self, what: LastRound) -> None:
        """Say what came of it. Raises StateUnwritableError."""
        durable.replace(self._place.mend_last, _bytes(asdict(what)), self._access)

    def write_report(self, text: str, document: dict[str, Any]) -> None:
        """What happened, for people and for programs. Raises StateUnwritableError."""
        durable.replace(self._place.report_json, _bytes(document), self._access)
        durable.replace(self._place.report_text, (text + "\n").encode("utf-8", "surrogateescape"), self._access)

    def has_report(self) -> bool:
        """Whether the sweep's end was written."""
        return os.path.isfile(self._place.report_text)

    def _newest(self) -> int:
        """Number of the newest round; 0 before the first."""
        with reading(self._place.mend):
            names = os.listdir(self._place.mend)
        return max((int(found[1]) for name in names if (found := _ROUND.fullmatch(name))), default=0)


def _bytes(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def _read(path: str) -> dict[str, Any] | None:
    data = read_plain_file(path)
    if data is None:
        return None
    try:
        document = json.loads(data)
    except ValueError as error:
        raise StateUnreadableError(f"{path} is damaged: {error}; remove it and ask for mending again") from error
    if not isinstance(document, dict):
        raise StateUnreadableError(f"{path} is damaged: remove it and ask for mending again")
    return document
