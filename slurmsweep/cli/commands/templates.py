"""The ``templates`` command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.documents import builtin_documents, is_document, load_document, read_document
from slurmsweep.backends.slurm.template import builtin_templates, load_template
from slurmsweep.cli import options
from slurmsweep.cli.output import note, print_json, print_text
from slurmsweep.report.terminal import printable, wrapped
from slurmsweep.report.terminal import width as columns

if TYPE_CHECKING:
    from slurmsweep.backends.documents import JobDocument
    from slurmsweep.backends.slurm.template import Template

HELP = "list the job templates, or check one and print it"
EXAMPLES = (
    ("templates", "the names, and what each is for"),
    ("templates array", "check one and print it, to be copied"),
)
EXIT_CODES: dict[int, str] = {}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``templates``."""
    parser.add_argument("template", nargs="?", metavar="NAME|PATH", help="of a built-in template, or of your own")
    options.add(parser, "--json")


def run(args: argparse.Namespace) -> int:
    """List the built-in templates, or check and print one; return the exit code."""
    if args.template is None:
        known: list[Template | JobDocument] = [
            *map(load_template, builtin_templates()),
            *map(read_document, builtin_documents()),
        ]
        if args.json:
            print_json([_row(template) for template in known])
            return 0
        left = max(len(template.name) for template in known)
        for template in known:
            text = printable(template.description)
            print_text("\n".join(wrapped(text, columns(), f"{template.name:{left}}  ", " " * (left + 2))))
            print_text(f"{'':{left}}  {template.path}")
        return 0
    chosen: Template | JobDocument
    if is_document(args.template):
        chosen, options_of = load_document(args.template), {}
        said = f"{chosen.path}: {f'no mistake found by {chosen.checked}' if chosen.checked else 'not checked'}"
    else:
        chosen = load_template(args.template)
        options_of, said = chosen.options, f"no mistake found in {chosen.path}"
    if args.json:
        print_json({**_row(chosen), "options": options_of, "text": chosen.text})
    else:
        print_text(chosen.text.rstrip("\n"))
        note(said)
    return 0


def _row(template: Template | JobDocument) -> dict[str, Any]:
    return {"name": template.name, "path": template.path, "description": template.description}
