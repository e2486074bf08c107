"""Arguments that several commands take, and the types of their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - argparse has no public name for it

#: Options of sbatch that have their own flags; any other goes through --sbatch NAME=VALUE.
RESOURCES = {
    "partition": "partition (queue)",
    "time": "time limit of one trial: minutes, or Slurm's forms (1:30:00, 2-0); run, plan, submit, resubmit: or auto",
    "cpus-per-task": "CPUs of one trial",
    "mem": "memory of one trial, such as 4G; run, plan, submit, resubmit: or auto",
    "gres": "generic resources, such as gpu:1",
    "account": "account to charge",
    "qos": "quality of service",
    "constraint": "features a node must have",
    "exclude": "nodes to stay away from",
}


def command(commands: Commands, name: str, handler: str, text: str) -> argparse.ArgumentParser:
    """One command: its name, its handler as ``module:function`` in ``slurmsweep.cli``, and its help."""
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    parser.set_defaults(handler=handler)
    return parser


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """The sweep a command is about."""
    parser.add_argument(
        "sweep", metavar="SWEEP", help="id of a sweep below WANDB_DIR (or here), or the path of its folder"
    )


def add_cloud(parser: argparse.ArgumentParser) -> None:
    """What makes a short name the name of a sweep of W&B's own."""
    group = parser.add_argument_group(
        "sweeps of W&B's own",
        "SWEEP is entity/project/sweep, or shorter with these; WANDB_ENTITY and WANDB_PROJECT give what still lacks",
    )
    group.add_argument("--entity", metavar="NAME", help="W&B's user or team")
    group.add_argument("--project", metavar="NAME", help="W&B's project")


def add_function(parser: argparse.ArgumentParser) -> None:
    """What trials call where they run no program."""
    parser.add_argument(
        "--function",
        metavar="MODULE:NAME",
        help="trials call this Python function (its import path, such as package.module:train) and run no program; "
        "kept with the sweep",
    )


def add_count(parser: argparse.ArgumentParser) -> None:
    """How many trials."""
    parser.add_argument(
        "--count", type=natural, metavar="N", help="trials to run (default: all that nobody has claimed)"
    )


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Where agents run."""
    parser.add_argument(
        "--backend",
        choices=("auto", "local", "slurm"),
        default="auto",
        help="default auto: Slurm where sbatch is found",
    )
    parser.add_argument("--jobs", type=natural, metavar="N", help="local backend: trials at a time (default 1)")


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Whether warnings are errors."""
    parser.add_argument("--strict", action="store_true", help="what is only warned of is an error")


def add_json(parser: argparse.ArgumentParser) -> None:
    """One document instead of text."""
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def add_slurm(parser: argparse.ArgumentParser) -> None:
    """All that is asked of Slurm: template, width, resources."""
    group = parser.add_argument_group(
        "Slurm", "these win over the sweep file's slurm: section, which wins over the template"
    )
    group.add_argument("--template", default="array", metavar="NAME|PATH", help="job template (default array)")
    group.add_argument("--width", type=natural, metavar="N", help="jobs at a time")
    add_resources(group)
    group.add_argument(
        "--sbatch", action="append", default=[], metavar="NAME=VALUE", help="any other sbatch option (repeatable)"
    )


def add_canaries(parser: argparse.ArgumentParser) -> None:
    """How many trials to learn from."""
    parser.add_argument(
        "--canaries",
        type=natural,
        metavar="N",
        help="with --time auto or --mem auto: trials to learn from before the rest (default 5 %%, within 5 and 20)",
    )


def add_resources(parser: argparse._ActionsContainer) -> None:
    """A flag for each of :data:`RESOURCES`."""
    for name, text in RESOURCES.items():
        parser.add_argument(f"--{name}", metavar="X", help=text)


def natural(text: str) -> int:
    """A number, 1 or more."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def number(text: str) -> int:
    """A number, 0 or more."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def numbers(text: str) -> list[int]:
    """``0,3,7-12`` as numbers, in order, each once."""
    chosen: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        chosen.update(range(number(first), number(last or first) + 1))
    return sorted(chosen)


#: What argparse calls the type in its message: "invalid number, 1 or more value: 'x'".
numbers.__name__ = "list of numbers"
natural.__name__ = "number, 1 or more"
number.__name__ = "number, 0 or more"
