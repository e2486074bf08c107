"""The ``compare`` command."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from slurmsweep.cli import options
from slurmsweep.cli.naming import sweep_of
from slurmsweep.cli.output import note, print_json, print_text, refuse_on_terminal
from slurmsweep.cli.sweeps import summarize
from slurmsweep.control.session import Session
from slurmsweep.control.views.compare import compared
from slurmsweep.errors import UsageError
from slurmsweep.report.page.comparison import comparison_document, comparison_markdown, comparison_page, comparison_text
from slurmsweep.report.page.formats import FORMATS, PICTURES, format_of, refuse_other_files
from slurmsweep.report.page.web import document_of
from slurmsweep.report.terminal import printable_lines
from slurmsweep.state import files

if TYPE_CHECKING:
    from slurmsweep.report.page.comparison import ComparedSweep

HELP = "compare two sweeps or more: what differs, the best of each, and which got there sooner"
EXAMPLES = (
    ("compare last k3v9", "two sweeps side by side"),
    ("compare last k3v9 -o compare.html", "as a page"),
)
EXIT_CODES = {3: "", 5: ""}

_FORMATS = ("text", *FORMATS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``compare``."""
    parser.add_argument("sweeps", metavar="SWEEP", nargs="+", help="two sweeps or more, named as for other commands")
    options.add(parser, "--output", help="write a page or a picture: compare.html, .md, .svg, .png")
    parser.add_argument("--format", choices=_FORMATS, help="default: by the name of FILE, else text")
    options.add(parser, "--force", help="write over a file that is no report, too")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Compare sweeps; return the exit code."""
    names = list(dict.fromkeys(sweep_of(word) for word in args.sweeps))
    if len(names) < 2:
        raise UsageError("name two sweeps or more to compare")
    kind = args.format or format_of(args.output, _FORMATS, "text")
    if args.output in (None, "-"):
        refuse_on_terminal(kind)
    elif not args.force:
        refuse_other_files(args.output)
    found = [compared(summarize(Session.open(name))[0]) for name in names]
    if args.json:
        print_json(comparison_document(found))
        return 0
    if args.output and args.output != "-":
        files.write_where_named(args.output, _made(found, kind))
        note(f"{args.output}: {len(found)} sweeps")
    elif kind == "text":
        print_text(printable_lines(comparison_text(found)))
    else:
        sys.stdout.buffer.write(_made(found, kind))
    return 0


def _made(found: list[ComparedSweep], kind: str) -> bytes:
    if kind == "html":
        return document_of(" and ".join(one.title for one in found), comparison_page(found))
    if kind in PICTURES:
        from slurmsweep.report.page.plots import draw_comparison  # an extra, which a table needs not

        return draw_comparison(found, kind)
    text = printable_lines(comparison_text(found)) if kind == "text" else comparison_markdown(found)
    return text.encode("utf-8", "backslashreplace")
