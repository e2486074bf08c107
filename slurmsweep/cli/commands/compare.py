"""The ``compare`` command."""

from __future__ import annotations

import argparse
import sys

from slurmsweep.cli import options
from slurmsweep.cli.naming import sweep_of
from slurmsweep.cli.output import note, print_json, print_text
from slurmsweep.cli.sweeps import summarize
from slurmsweep.control.compare import compared
from slurmsweep.control.session import Session
from slurmsweep.errors import UsageError
from slurmsweep.report.page.comparison import comparison_document, comparison_markdown, comparison_page, comparison_text
from slurmsweep.report.page.formats import format_of, refuse_other_files
from slurmsweep.report.page.web import document_of
from slurmsweep.report.terminal import printable_lines
from slurmsweep.state import files

HELP = "compare two sweeps or more: what differs, the best of each, and which got there sooner"
EXAMPLES = (
    ("compare last k3v9", "two sweeps side by side"),
    ("compare last k3v9 -o compare.html", "as a page"),
)
EXIT_CODES = {3: "", 5: ""}

_FORMATS = ("text", "html", "md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``compare``."""
    parser.add_argument("sweeps", metavar="SWEEP", nargs="+", help="two sweeps or more, named as for other commands")
    parser.add_argument(
        *options.flags("--output"), metavar="FILE", help="write a page, such as compare.html or compare.md"
    )
    parser.add_argument("--format", choices=_FORMATS, help="default: by the name of FILE, else text")
    parser.add_argument("--force", action="store_true", help="write over a file that is no report, too")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Compare sweeps; return the exit code."""
    names = list(dict.fromkeys(sweep_of(word) for word in args.sweeps))
    if len(names) < 2:
        raise UsageError("name two sweeps or more to compare")
    kind = args.format or format_of(args.output, ("html", "md", "text"), "text")
    if args.output and not args.force:
        refuse_other_files(args.output)
    found = [compared(summarize(Session.open(name))[0]) for name in names]
    if args.json:
        print_json(comparison_document(found))
        return 0
    text = printable_lines(comparison_text(found)) if kind == "text" else comparison_markdown(found)
    made = text.encode("utf-8", "backslashreplace")
    if kind == "html":
        made = document_of(" and ".join(one.title for one in found), comparison_page(found))
    if args.output and args.output != "-":
        files.write_where_named(args.output, made)
        note(f"{args.output}: {len(found)} sweeps")
    elif kind == "text":
        print_text(text)
    else:
        sys.stdout.buffer.write(made)
    return 0
