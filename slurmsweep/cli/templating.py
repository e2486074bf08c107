"""The command about job templates: templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.backends.slurm.template import builtin_templates, load_template
from slurmsweep.cli.reading import note, print_json
from slurmsweep.report.terminal import printable

if TYPE_CHECKING:
    import argparse

    from slurmsweep.backends.slurm.template import Template


def templates(args: argparse.Namespace) -> int:
    """List the templates that come with slurmsweep; with a name or a path check that one and print it."""
    if args.template is None:
        return _show_all([load_template(name) for name in builtin_templates()], as_json=args.json)
    template = load_template(args.template)
    if args.json:
        print_json({**_row(template), "options": template.options, "text": template.text})
        return 0
    print(template.text.rstrip("\n"))
    note(f"no mistake found in {template.path}")
    return 0


def _show_all(known: list[Template], *, as_json: bool) -> int:
    if as_json:
        print_json([_row(template) for template in known])
        return 0
    width = max(len(template.name) for template in known)
    for template in known:
        print(f"{template.name:{width}}  {printable(template.description)}")
        print(f"{'':{width}}  {template.path}")
    return 0


def _row(template: Template) -> dict[str, Any]:
    return {"name": template.name, "path": template.path, "description": template.description}
