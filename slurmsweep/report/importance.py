"""The document of ``importance`` as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.report.figures import counted
from slurmsweep.report.fitting import shortened
from slurmsweep.report.tables import plain_table
from slurmsweep.report.terminal import paragraph, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Characters of a name, of a value, and of the bar of all differences.
_NAME, _VALUE, _BAR = 22, 16, 16

#: An importance whose range begins below this may be none: its bar is drawn in dots, and no value is the best.
TELLING = 0.02

#: Findings about failures, and interactions, that are shown.
_SHOWN = 10


def importance_text(document: Mapping[str, Any]) -> str:
    """Return which parameters mattered, how sure that is, and with which values trials fail."""
    metric = "" if document["metric"] is None else f" for {printable(document['metric'])} ({document['goal']})"
    among = f", among {document['among']}" if document["among"] else ""
    lines = paragraph(
        f"sweep {document['sweep']}: what mattered{metric}, {counted(document['trials'], 'trial')}{among}"
    )
    if document["unclear"]:
        lines += paragraph(printable(document["unclear"]))
    if document["parameters"]:
        lines += ["", plain_table([_row(one, document) for one in document["parameters"]]), ""]
        lines += _explanation(document)
    if document["same"]:
        lines += paragraph(f"no difference between these trials in: {', '.join(map(printable, document['same']))}")
    return "\n".join([*lines, *_failure_lines(document["failures"])])


def _row(one: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, str]:
    is_telling = one["low"] >= TELLING
    everywhere = all(other["trials"] == document["trials"] for other in document["parameters"])
    return {
        "parameter": _short(one["parameter"], _NAME),
        **({} if everywhere else {"trials": f"in {one['trials']} of {document['trials']}"}),
        "importance": f"{one['importance']:4.2f} {('#' if is_telling else '.') * round(_BAR * one['importance'])}",
        "range": f"{one['low']:.2f}-{one['high']:.2f}",
        "better": (is_telling and one["better"]) or "",
        "best": _short(one["best"], _VALUE) if is_telling else "",
    }


def _explanation(document: Mapping[str, Any]) -> list[str]:
    lines = []
    for one in document["interactions"][:_SHOWN]:
        a, b = (printable(name) for name in one["parameters"])
        share, reach = f"{one['importance']:.2f}", f"{one['low']:.2f}-{one['high']:.2f}"
        lines += paragraph(f"{a} and {b} only together: {share} (range {reach})")
    if document["explained"] is not None:
        share = max(0, round(100 * document["explained"]))
        rest = "the rest is noise, or more than this model sees"
        lines += paragraph(f"{share} % of the differences between trials is explained; {rest}")
    else:
        lacking = "numpy is missing: what parameters only do together is not seen"
        lines += paragraph(f"{lacking}; `pip install 'slurmsweep[bayes]'`")
    told = f"importance: {document['method']}; range over {document['resamples']} resamples of the trials, 10 % to 90 %"
    return [*lines, *paragraph(told)]


def _failure_lines(failures: Mapping[str, Any]) -> list[str]:
    if not failures["failed"]:
        return []
    causes = ", ".join(f"{count} {printable(cause)}" for cause, count in failures["causes"].items())
    lines = ["", *paragraph(f"{counted(failures['failed'], 'trial')} without a value: {causes}")]
    for one in failures["findings"][:_SHOWN]:
        word = "" if one["values"].startswith(("at ", "absent")) else "= "
        where = f"{_short(one['parameter'], _NAME)} {word}{_short(one['values'], _VALUE)}"
        inside = f"{one['failed']} of {one['trials']} {printable(one['cause'])}"
        elsewhere = f"{one['elsewhere_failed']} of {one['elsewhere_trials']} elsewhere"
        having = one["trials"] + one["elsewhere_trials"]
        if having < failures["trials"]:
            elsewhere += f", in the {having} of {failures['trials']} trials that have it"
        lines += paragraph(f"{where}: {inside}, {elsewhere}; p {one['p']:.1g}, {one['test']}", "  ")
    end = "no parameter shows evidence that its values make trials fail"
    if failures["findings"]:
        end = f"each cause by itself; p is times the number of tests, {failures['tests']}"
    return [*lines, *paragraph(end)]


def _short(text: str, widest: int) -> str:
    return shortened(printable(text), widest)
