"""What was asked for beside what was used, as people and programs see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.report.figures import counted, duration, figure
from slurmsweep.report.tables import plain_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The three rows: name, unit of the sums (none for memory, which is not used up).
_ROWS = (("time", "h"), ("cpu", "core-h"), ("memory", ""))


def efficiency_text(document: Mapping[str, Any]) -> str:
    """Return the document of ``efficiency --json`` as lines for people."""
    ended = f"{counted(document['attempts'], 'attempt')} of {counted(document['trials'], 'trial')} have ended"
    lines = [f"sweep {document['id']}: {ended}; accounting: {document['accounting']}"]
    if document["attempts"]:
        lines.append(plain_table([_row(document[name], name, unit) for name, unit in _ROWS]))
        lines += [line] if (line := one_line(document)) else []
        if lost := document["lost_core_hours"]:
            lines.append(f"{figure(lost)} core-hours were held by attempts that did not finish")
    lines += [f"-> {advice['option']}: {advice['why']}" for advice in document["advice"]]
    return "\n".join(lines)


def one_line(document: Mapping[str, Any]) -> str:
    """Return the sums of core-hours, which a run ends with; empty where Slurm was asked for nothing."""
    if not document["asked_core_hours"]:
        return ""
    hours = (document[name] for name in ("asked_core_hours", "held_core_hours", "used_core_hours"))
    asked, held, used = map(figure, hours)
    line = f"core-hours: {asked} asked, {held} held, {used} computed"
    if saved := document["saved_hours"]:
        line += f"; limits that differ asked {figure(saved)} h less than the longest for all"
    return line


def attempts_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one line an attempt, with what it used of what was asked for."""
    table = []
    for row in rows:
        held, computed = row["held_seconds"], row["cpu_seconds"]
        cpus = computed / held if held and computed is not None else None
        used = {
            "job": row["job"] or "",
            "time": _of(duration(held), each_text("time", row["asked_minutes"])),
            "CPUs": _of(figure(cpus), figure(row["asked_cpus"])),
            "MiB": _of(figure(row["max_rss_mib"]), figure(row["asked_mib"])),
        }
        table.append({name: row[name] for name in ("trial", "attempt", "state", "cause")} | used)
    return plain_table(table)


def each_text(resource: str, amount: float | None) -> str:
    """Return what one attempt asked for or used of ``time`` (minutes), ``cpu`` or ``memory`` (MiB); empty for None."""
    if amount is None or resource == "time":
        return duration(amount and 60 * amount)
    return f"{figure(amount)} {'CPU' if resource == 'cpu' else 'MiB'}"


def _row(resource: Mapping[str, Any], name: str, unit: str) -> dict[str, str]:
    """Return the row of one resource; its sums are left out for memory, and where nothing was asked for."""
    share = resource["share"]
    asked, used = (f"{figure(resource[key])} {unit}" if unit and share is not None else "" for key in ("asked", "used"))
    return {
        "": name,
        "asked": asked,
        "used": used,
        "share": "" if share is None else f"{figure(share * 100)} %",
        "each asked": each_text(name, resource["each_asked"]),
        "each used": each_text(name, resource["each_used"]),
        "most used": each_text(name, resource["most_used"]),
    }


def _of(used: str, asked: str) -> str:
    """Return ``10m 00s of 1h 00m``; only what is known of the two."""
    return " ".join([used] * bool(used) + [f"of {asked}"] * bool(asked))
