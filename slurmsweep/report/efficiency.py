"""Asked beside used, as people and programs see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.report import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Of the three rows: name, unit of the sums (memory has none: it is not spent), unit of one attempt.
_ROWS = (("time", "h", "min"), ("cpu", "core-h", "CPU"), ("memory", "", "MiB"))


def efficiency_text(document: Mapping[str, Any]) -> str:
    """The document of ``efficiency --json`` as lines for people."""
    counted = f"{document['attempts']} attempts of {document['trials']} trials have ended"
    lines = [f"sweep {document['id']}: {counted}; accounting: {document['accounting']}"]
    if document["attempts"]:
        lines += [tables.plain_table([_row(document, *row) for row in _ROWS]), *_sums(document)]
    lines += [f"-> {advice['option']}: {advice['why']}" for advice in document["advice"]]
    return "\n".join(lines)


def one_line(document: Mapping[str, Any]) -> str:
    """What a run ends with; empty where nothing was asked of Slurm."""
    if not document["asked_core_hours"]:
        return ""
    hours = (document[name] for name in ("asked_core_hours", "held_core_hours", "used_core_hours"))
    asked, held, used = (tables.figure(value) for value in hours)
    return f"core-hours: {asked} asked, {held} held, {used} computed{_saved(document)}"


def attempts_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line an attempt."""
    return tables.plain_table(
        [
            {
                "trial": row["trial"],
                "attempt": row["attempt"],
                "state": row["state"],
                "cause": row["cause"],
                "job": row["job"] or "",
                "min asked": tables.figure(row["asked_minutes"]),
                "min held": tables.figure(_per(row["held_seconds"], 60)),
                "CPUs asked": tables.figure(row["asked_cpus"]),
                "CPUs used": tables.figure(_per(row["cpu_seconds"], row["held_seconds"])),
                "MiB asked": tables.figure(row["asked_mib"]),
                "MiB used": tables.figure(row["max_rss_mib"]),
            }
            for row in rows
        ]
    )


def _row(document: Mapping[str, Any], name: str, unit: str, each: str) -> dict[str, str]:
    resource = document[name]
    share = resource["share"]
    summed = unit and share is not None
    return {
        "": name,
        "asked": _with_unit(resource["asked"], unit) if summed else "",
        "used": _with_unit(resource["used"], unit) if summed else "",
        "share": "" if share is None else f"{tables.figure(share * 100)} %",
        "each asked": _with_unit(resource["each_asked"], each),
        "each used": _with_unit(resource["each_used"], each),
        "most used": _with_unit(resource["most_used"], each),
    }


def _sums(document: Mapping[str, Any]) -> list[str]:
    lines = [one_line(document)] if document["asked_core_hours"] else []
    if document["lost_core_hours"]:
        lines.append(
            f"{tables.figure(document['lost_core_hours'])} core-hours were held by attempts that did not finish"
        )
    return lines


def _saved(document: Mapping[str, Any]) -> str:
    saved = document["saved_hours"]
    return f"; limits that differ asked {tables.figure(saved)} h less than the longest for all" if saved else ""


def _with_unit(value: float | None, unit: str) -> str:
    return "" if value is None else f"{tables.figure(value)} {unit}"


def _per(value: float | None, divisor: float | None) -> float | None:
    return value / divisor if value is not None and divisor else None
