"""Arguments that several commands take, and what they ask for; the types of their values are in ``values.py``."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from slurmsweep.backends import registry
from slurmsweep.backends.base import SubmitOptions
from slurmsweep.cli.values import condition, name_value, natural, number, numbers, title, trial_state, up_to
from slurmsweep.errors import UsageError
from slurmsweep.learning import BLAS_THREADS
from slurmsweep.state.records import MOST_JOBS
from slurmsweep.state.supervisor_files import MOST_MINUTES, SupervisorSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Letters of options, as of make, grep and tail; those of sbatch for what is asked of Slurm. ``-n`` is how many.
_SHORT = dict.fromkeys(("--count", "--limit", "--lines", "--top"), "-n") | {
    **{f"--{name}": f"-{name[0]}" for name in ("follow", "jobs", "output", "state", "where")},
    **{f"--{name}": f"-{name[0]}" for name in ("cpus-per-task", "partition", "qos", "time")},
    "--account": "-A",
    "--gpus": "-G",
    "--constraint": "-C",
    "--exclude": "-x",
}

#: Options of sbatch that have their own flags; any other goes through --sbatch NAME=VALUE.
_RESOURCES = {
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

_GPUS = "GPUs of one job; local backend: GPUs of this machine for all trials at a time, such as 0-3, each its own"

SWEEP = "id of a sweep below WANDB_DIR (or here) or its beginning, the sweep's name, or the path of its folder"

#: How an option is read that may be given several times, and one that has no value.
_REPEATABLE: dict[str, Any] = {"action": "append", "default": []}
_FLAG: dict[str, Any] = {"action": "store_true"}

#: Where a trial is named, the sweep may be left out.
_SWEEP_AND_TRIAL = "number of the trial, or `best`; before it the sweep (default: the newest here)"

_SHARED: dict[str, dict[str, Any]] = {
    "sweep": {"metavar": "SWEEP", "help": f"{SWEEP}, `last`, or `last~1` before it"},
    "newest": {"metavar": "SWEEP", "nargs": "?", "help": f"{SWEEP} (default: the newest here)"},
    "words": {"metavar": "SWEEP TRIAL", "nargs": "*", "help": _SWEEP_AND_TRIAL},
    "--dry-run": {**_FLAG, "help": "say what would be done, and do nothing"},
    "--plain": {**_FLAG, "help": "on a terminal: a line of progress, and no live view"},
    "--json": {**_FLAG, "help": "one JSON document on stdout"},
    "--yes": {**_FLAG, "help": "do not ask"},
    "--force": {
        **_FLAG,
        "help": "also where it cannot be told whether something of it lives; never what is known to live",
    },
    "--strict": {**_FLAG, "help": "what is only warned of is an error"},
    "--output": {"metavar": "FILE"},
    "--metric": {"metavar": "NAME"},
    "--limit": {"type": natural, "metavar": "N"},
    "--trials": {"type": numbers, "metavar": "LIST"},
    "--state": {**_REPEATABLE, "type": trial_state, "metavar": "STATE"},
    "--where": {
        **_REPEATABLE,
        "type": condition,
        "metavar": "NAME=VALUE",
        "help": "only those for which this holds, such as lr=0.1 or 'loss<0.2' (also !=, <=, >, >=; repeatable)",
    },
    "--wait": {"action": argparse.BooleanOptionalAction, "default": True},
    "--count": {
        "type": up_to(MOST_JOBS),
        "metavar": "N",
        "help": "trials to run (default: all that are not claimed yet)",
    },
    "--function": {
        "metavar": "MODULE:NAME",
        "help": "trials call this Python function (its import path, such as package.module:train) and run no program; "
        "kept with the sweep",
    },
    "--workdir": {
        "metavar": "FOLDER",
        "help": "the project was moved: trials run in this folder from now on; kept with the sweep",
    },
    "--prior": {
        "metavar": "SWEEP",
        "help": "known results: points that finished in that sweep are not run again; bayes learns from them",
    },
    "--snapshot": {
        "action": argparse.BooleanOptionalAction,
        "help": "trials run from a copy of the code as it is now (default: as the sweep file says)",
    },
    "--backend": {
        "choices": registry.WORDS,
        "default": registry.AUTO,
        "help": "default auto: where the sweep was started; for a new one Slurm where sbatch is found",
    },
    "--max-fails": {
        "type": number,
        "metavar": "N",
        "help": "start no further trials when N all failed alike, while this command waits; 0 for never (default: on "
        "this machine 5, and 1 where the command cannot start; on Slurm 0)",
    },
    "--notify": {
        "metavar": "COMMAND",
        "help": "run this command when what was started has ended, the sweep stops itself, or a first trial fails",
    },
    "--after": {
        **_REPEATABLE,
        "metavar": "SWEEP|JOB",
        "help": "Slurm: these jobs start when all jobs of that sweep, or that job, have ended, however they end "
        "(repeatable)",
    },
    "--jobs": {
        "type": up_to(MOST_JOBS),
        "metavar": "N",
        "help": "local backend: trials at a time (default: as at the sweep's last start, else 1)",
    },
    "--canaries": {
        "type": up_to(MOST_JOBS),
        "metavar": "N",
        "help": "with --time auto or --mem auto: trials to learn from before the rest (default 5 %%, within 5 and 20)",
    },
    "--sbatch": {**_REPEATABLE, "type": name_value, "metavar": "NAME=VALUE"},
    "--mend": {**_FLAG, "help": "run again by itself what deserves it, submit what limits keep back, report"},
    "--mend-every": {
        "type": up_to(MOST_MINUTES),
        "default": 60,
        "metavar": "MINUTES",
        "help": "look at the sweep at least so often (default 60; always when an array has ended)",
    },
    "--mend-sbatch": {
        **_REPEATABLE,
        "type": name_value,
        "metavar": "NAME=VALUE",
        "help": "sbatch option of the supervisor's job, such as partition=short (repeatable)",
    },
}


def one_thread() -> None:
    """Keep numpy to one thread, as agents do: on small matrices more cost time, and round otherwise."""
    for name in BLAS_THREADS:
        os.environ.setdefault(name, "1")


def add(parser: argparse._ActionsContainer, *names: str, **own: Any) -> None:
    """Add arguments that several commands share, in this order.

    Args:
        parser: takes them.
        names: of options; ``sweep``, ``newest`` for a sweep that need not be named, or ``words`` for sweep and trial.
        own: what of them is this command's own, such as ``help``.
    """
    for name in names:
        parser.add_argument(*flags("sweep" if name == "newest" else name), **{**_SHARED[name], **own})


def flags(name: str) -> list[str]:
    """Return an option's name, behind its letter where it has one."""
    return [*filter(None, [_SHORT.get(name)]), name]


def add_shared(parser: argparse._ActionsContainer) -> None:
    """Add for whom the sweep is: ``off`` where none of the options is given."""
    text = "the group of the sweep's folder reads the sweep, runs it and changes it"
    parser.add_argument("--shared", action="store_const", const="write", default="off", help=text)
    # with a value that may be left out the option would take the word behind it, such as the sweep file
    text = "the group only reads it"
    parser.add_argument("--shared=read", dest="shared", action="store_const", const="read", default="off", help=text)


def add_resources(group: argparse._ActionsContainer) -> None:
    """Add a flag for each common sbatch option; ``resources`` are the pairs of name and value that were given."""
    for name, text in _RESOURCES.items():
        add_resource(group, name, text)


def add_resource(group: argparse._ActionsContainer, name: str, text: str, metavar: str = "X") -> None:
    """Add one flag whose name and value become a pair in ``resources``."""
    pair: dict[str, Any] = {"dest": "resources", "type": lambda value: (name, value), "metavar": metavar, "help": text}
    group.add_argument(*flags(f"--{name}"), **_REPEATABLE, **pair)


def add_slurm(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked of Slurm: template, width, resources."""
    group = parser.add_argument_group("Slurm", "these win over the sweep file's slurm:, your defaults and the template")
    group.add_argument("--template", default="", metavar="NAME|PATH", help="job template (default array)")
    group.add_argument("--width", type=up_to(MOST_JOBS), metavar="N", help="jobs at a time")
    add_resources(group)
    add_resource(group, "gpus", _GPUS, "N|LIST")
    add(group, "--sbatch", help="any other sbatch option (repeatable)")


#: Options of jobs in AWS that have their own flags; any other goes through --aws NAME=VALUE.
_AWS = {
    "queue": ("NAME|URL", "queue of Batch, or URL of a queue of SQS (on Slurm: the partition)"),
    "cluster": ("NAME", "cluster of ECS (on Slurm: as --sbatch clusters)"),
    "region": ("NAME", "region (default: that of your AWS profile)"),
    "role": ("ARN", "role that the jobs have"),
    "image": ("URI", "container image that has slurmsweep and your program"),
    "retries": ("N", "Batch: how often a job that lost its machine starts by itself, at most"),
    "env": ("NAMES", "variables of this shell that jobs get, such as HF_HOME,MY_FLAG; never secrets"),
}


def add_aws(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked of services of AWS beside what Slurm has too: they become pairs in ``resources``."""
    group = parser.add_argument_group("AWS", "for --backend batch, ecs, sagemaker, sqs; docs/aws.md has all of them")
    for name, (metavar, text) in _AWS.items():
        add_resource(group, name, text, metavar)
    text = "any other option of the aws: section, such as secret=WANDB_API_KEY=my/key (repeatable)"
    group.add_argument("--aws", dest="resources", type=name_value, metavar="NAME=VALUE", help=text, **_REPEATABLE)


def add_hosted(parser: argparse.ArgumentParser) -> None:
    """Add what makes a short name the name of a sweep that W&B hosts."""
    group = parser.add_argument_group(
        "sweeps of W&B's own",
        "SWEEP is entity/project/sweep, or shorter with these;\nWANDB_ENTITY and WANDB_PROJECT give what still lacks",
    )
    group.add_argument("--entity", metavar="NAME", help="W&B's user or team")
    group.add_argument("--project", metavar="NAME", help="W&B's project")


#: What `wandb sweep` takes to name a new sweep, too.
_NAMES = {
    "project": "W&B's project of the runs; wins over the sweep file's, as the next two",
    "entity": "W&B's user or team of the runs",
    "name": "name of the sweep",
}


def add_names(parser: argparse.ArgumentParser) -> None:
    """Add what names a new sweep at W&B."""
    group = parser.add_argument_group("a new sweep")
    for name, text in _NAMES.items():
        group.add_argument(f"--{name}", metavar="NAME", type=title, help=text)


def names_of(args: argparse.Namespace) -> dict[str, str]:
    """Return the names that were given, by key of the sweep file."""
    return {name: value for name in _NAMES if (value := getattr(args, name))}


def refuse_function(function: str | None) -> None:
    """Raise UsageError where a function is named for a sweep that W&B hosts: its agents run the sweep's command."""
    if function:
        raise UsageError("--function is for sweeps made here: the agents of a sweep of W&B's own run its command")


def add_mend(parser: argparse.ArgumentParser) -> None:
    """Add whether, and how, a supervisor job looks after the sweep from now on."""
    group = parser.add_argument_group("mending", "a tiny job in Slurm looks after the sweep until its end; no daemon")
    add(group, "--mend", "--mend-every", "--mend-sbatch")


def refuse_strangers(options: Mapping[str, str | bool]) -> None:
    """Raise UsageError for an option that no trial of our own gets: nothing would show what became of it."""
    if unheard := registry.scheduler().strangers(options):
        raise UsageError(f"--{unheard[0]} is not an option of sbatch that this slurmsweep knows; see `man sbatch`")


def wish_of(args: argparse.Namespace) -> SubmitOptions:
    """Return what the command line asks of jobs; any ``--sbatch`` wins over the flags."""
    return SubmitOptions(args.template, dict(args.resources + args.sbatch), args.width or getattr(args, "jobs", None))


def supervisor_of(
    args: argparse.Namespace, wish: SubmitOptions, rules: Mapping[str, float | None], goal: int | None = None
) -> SupervisorSettings:
    """Return how the sweep is to be supervised.

    Args:
        args: of the command line, with those of ``mending``.
        wish: what later jobs ask for.
        rules: of the retry policy; None for its own.
        goal: trials in all where the search has no end.

    Raises:
        UsageError: sbatch has no such option, or slurmsweep sets it itself.
    """
    supervisor = dict(args.mend_sbatch)
    refuse_strangers(supervisor)
    registry.scheduler().normalized(supervisor)
    return SupervisorSettings(
        template=wish.template,
        options={name: str(value) for name, value in (wish.options or {}).items()},
        width=wish.width,
        goal=goal,
        supervisor=supervisor,
        every=args.mend_every,
        rules={name: value for name, value in rules.items() if value is not None},
    )
