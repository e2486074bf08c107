"""The formats of a report, by name; and what a report may be written over."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slurmsweep.errors import UsageError
from slurmsweep.report.page.content import MARK
from slurmsweep.state import files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slurmsweep.report.page.content import ReportContent

#: What can be drawn as a picture.
PLOTS = ("history", "parallel", "importance", "slices", "timeline")

#: Bytes of the beginning of a file in which its maker is named.
_BEGINNING = 4096


#: Pages, and pictures of one plot each.
PICTURES = ("svg", "png")
FORMATS = ("html", "md", *PICTURES)


def made(content: ReportContent, kind: str, plot: str) -> bytes:
    """Return a report in one of the formats. Raises UsageError as :func:`slurmsweep.report.page.plots.draw` says."""
    if kind == "html":
        from slurmsweep.report.page.web import page

        return page(content)
    if kind == "md":
        from slurmsweep.report.page.markdown import markdown

        return markdown(content).encode("utf-8", "backslashreplace")
    from slurmsweep.report.page.plots import draw

    return draw(content, plot, kind)


def format_of(output: str | None, known: Sequence[str], default: str) -> str:
    """Return the format that a file's name says, or the default where no file is named. Raises UsageError."""
    ending = os.path.splitext(output or "")[1].removeprefix(".").lower()
    ending = {"htm": "html", "markdown": "md"}.get(ending, ending)
    if output not in (None, "-") and ending not in known:
        raise UsageError(f"{output}: what format is it to be? Add --format, one of {', '.join(known)}")
    return ending if output not in (None, "-") else default


def refuse_other_files(path: str) -> None:
    """Raise UsageError where a plain file has that name that is no report: a slip must not cost a user's file."""
    beginning = files.piece_of(path, 0, _BEGINNING)[1] if files.is_file(path) else b""
    if beginning and MARK.encode() not in beginning:
        raise UsageError(f"{path} is there and is no report of slurmsweep: name another file, or add --force")
