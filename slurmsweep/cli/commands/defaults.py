"""The ``defaults`` command."""

from __future__ import annotations

import argparse
import os

from slurmsweep.backends import registry
from slurmsweep.backends.base import JobSource, SubmitOptions
from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json, print_text
from slurmsweep.control import defaults
from slurmsweep.report.fitting import READABLE, last_part, text_width
from slurmsweep.report.tables import plain_table
from slurmsweep.report.terminal import printable, width
from slurmsweep.sweepfile.findings import written

HELP = "show what user and project ask of all sweeps, and which file says it"
EXAMPLES = (
    ("defaults", "for the sweep files of this folder"),
    ("defaults ../other --json", "for those of another folder, for programs"),
)
EXIT_CODES = {2: "wrong usage, or a file of defaults is wrong", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``defaults``."""
    parser.add_argument("folder", nargs="?", default=os.curdir, metavar="FOLDER", help="of sweep files (default: here)")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """Show each default with its file; return the exit code."""
    documents, slurm = defaults.read(args.folder), registry.scheduler()
    rows = defaults.rows_of(documents)
    source = JobSource("", "", "", os.path.abspath(args.folder), defaults=documents)
    variables = slurm.inherited(slurm.options(defaults.filled(SubmitOptions(), documents, slurm), source))
    if args.json:
        files = {"user": defaults.user_file(), "project": defaults.project_file(args.folder)}
        print_json({"files": files, "defaults": rows, "variables": list(variables)})
        return 0
    for line in variables:
        note(line)
    if rows:
        shown = [
            {"default": row["name"], "value": written(row["value"]), "file": printable(row["file"])} for row in rows
        ]
        beside = sum(max(len(name), *(text_width(row[name]) for row in shown)) + 2 for name in ("default", "value"))
        for row in shown:  # where a path has no room its end says which file it is
            row["file"] = last_part(row["file"], max(READABLE, width() - beside))
        print_text(plain_table(shown))
    else:
        note(f"no defaults: write {defaults.user_file()}, or {defaults.PROJECT_FILE} beside your sweep files")
    return 0
