"""The arguments of every command. Imports nothing of ours: an agent on a compute node parses with it too."""

from __future__ import annotations

import argparse

_EPILOG = """\
exit codes: 0 done; 1 the work failed (a trial failed, check found damage); 2 wrong usage or a wrong sweep file;
3 no such sweep or trial; 4 Slurm could not be asked, or refused; 5 the state could not be locked, read or written.
An agent exits with its trial's code.
"""

#: Options of sbatch that have their own flags; any other goes through --sbatch NAME=VALUE.
RESOURCES = {
    "partition": "partition (queue)",
    "time": "time limit of one trial: minutes, or Slurm's forms such as 1:30:00 or 2-0",
    "cpus-per-task": "CPUs of one trial",
    "mem": "memory of one trial, such as 4G",
    "gres": "generic resources, such as gpu:1",
    "account": "account to charge",
    "qos": "quality of service",
    "constraint": "features a node must have",
    "exclude": "nodes to stay away from",
}


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; each command names its handler as ``module:function`` in ``slurmsweep.cli``."""
    parser = argparse.ArgumentParser(
        prog="slurmsweep",
        description="W&B sweep files on a plain Slurm cluster: no server, no internet, no trial lost, none run twice.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    _add_starting(commands)
    _add_working(commands)
    _add_reading(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, handler: str, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
    command.set_defaults(handler=handler)
    return command


def _add_starting(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = _command(
        commands, "run", "starting:run", "create a sweep, run it and follow it; with a sweep's id, go on with it"
    )
    run.add_argument("file", metavar="FILE|SWEEP", help="sweep file, or a sweep to go on with")
    _add_backend(run)
    _add_count(run)
    _add_strict(run)
    run.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="wait until the trials have ended"
    )
    _add_json(run)
    _add_slurm(run)

    plan = _command(
        commands, "plan", "planning:plan", "show what would happen: points, commands, batch script; writes nothing"
    )
    plan.add_argument("file", metavar="FILE", help="sweep file")
    plan.add_argument(
        "--limit", type=_natural, default=None, metavar="N", help="show at most N trials (default 10; with --json 1000)"
    )
    plan.add_argument("--canary", action="store_true", help="run the first trial for real, and show what it used")
    plan.add_argument(
        "--backend", choices=("auto", "local", "slurm"), default="auto", help="of the canary (default auto)"
    )
    _add_count(plan)
    _add_strict(plan)
    _add_json(plan)
    _add_slurm(plan)

    create = _command(commands, "create", "starting:create", "create a sweep and print its id; nothing is run")
    create.add_argument("file", metavar="FILE", nargs="?", help="sweep file")
    create.add_argument(
        "--prior", metavar="SWEEP", help="a grid whose points were run there already does not run them again"
    )
    create.add_argument(
        "--from", dest="origin", metavar="SWEEP", help="print a new sweep file around chosen trials of that sweep"
    )
    create.add_argument(
        "--update", metavar="SWEEP", help="refused, as W&B does once a run started: says how to go on instead"
    )
    create.add_argument(
        "--trials", type=_numbers, metavar="LIST", help="with --prior or --from: only these, such as 0,3,7-12"
    )
    create.add_argument(
        "--shared", action="store_true", help="for the group of the folder: its members run and change the sweep too"
    )
    create.add_argument("--top", type=_natural, metavar="N", help="with --from: the N best trials")
    _add_strict(create)

    submit = _command(commands, "submit", "starting:submit", "submit single-count agents to Slurm, one array of jobs")
    _add_sweep(submit)
    _add_count(submit)
    _add_json(submit)
    _add_slurm(submit)


def _add_working(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    agent = _command(commands, "agent", "working:agent", "claim trials and run them: what each job runs")
    _add_sweep(agent)
    agent.add_argument(
        "--count", type=_natural, default=1, metavar="N", help="trials to run, one after the other (default 1)"
    )

    resubmit = _command(
        commands,
        "resubmit",
        "starting:resubmit",
        "run again exactly what is not finished: crashed, failed, killed, preempted",
    )
    _add_sweep(resubmit)
    _add_backend(resubmit)
    resubmit.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="wait until they have ended (default: on the local backend)",
    )
    resubmit.add_argument("--dry-run", action="store_true", help="say what would be run again; write nothing")
    _add_json(resubmit)
    _add_slurm(resubmit)

    cancel = _command(
        commands, "cancel", "working:cancel", "end a sweep: nothing new starts, running trials are killed"
    )
    _add_sweep(cancel)
    _add_json(cancel)


def _add_reading(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = _command(commands, "status", "reading:status", "show state, counts and the best trial of a sweep")
    _add_sweep(status)
    _add_json(status)

    trials = _command(commands, "trials", "reading:trials", "list the trials of a sweep")
    _add_sweep(trials)
    trials.add_argument("--state", action="append", metavar="STATE", help="only those in this state (repeatable)")
    trials.add_argument("--limit", type=_natural, metavar="N", help="at most N (default 100; all with --json)")
    _add_json(trials)

    logs = _command(commands, "logs", "reading:logs", "print the log of a trial's newest attempt")
    _add_sweep(logs)
    logs.add_argument("trial", type=_number, metavar="TRIAL", help="number of the trial")
    logs.add_argument("--attempt", type=_natural, metavar="N", help="an older attempt")
    logs.add_argument("--path", action="store_true", help="print the log's path instead")

    best = _command(commands, "best", "reading:best", "show the best finished trials by the sweep's metric")
    _add_sweep(best)
    best.add_argument("--top", type=_natural, default=1, metavar="N", help="how many (default 1)")
    _add_json(best)

    check = _command(
        commands, "check", "reading:check", "prove that no trial is lost or doubled; exit code 1 otherwise"
    )
    _add_sweep(check)
    check.add_argument(
        "--repair", action="store_true", help="rebuild the journal from the trials' folders, if anything is wrong"
    )
    _add_json(check)

    doctor = _command(
        commands,
        "doctor",
        "doctoring:doctor",
        "try whether a folder is fit for sweeps, and this cluster too",
    )
    doctor.add_argument("folder", nargs="?", metavar="FOLDER", help="default: WANDB_DIR, or the current folder")
    doctor.add_argument(
        "--nodes", type=_natural, default=1, metavar="N", help="try it between N nodes of the cluster, in a job"
    )
    doctor.add_argument(
        "--patience", type=_natural, default=300, metavar="SECONDS", help="to wait for that job (default 300)"
    )
    _add_json(doctor)
    _add_resources(doctor.add_argument_group("Slurm", "of the job that tries it between nodes"))

    ls = _command(commands, "ls", "reading:ls", "list the sweeps below WANDB_DIR, or the current folder")
    _add_json(ls)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sweep", metavar="SWEEP", help="id of a sweep below WANDB_DIR (or here), or the path of its folder"
    )


def _add_count(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--count", type=_natural, metavar="N", help="trials to run (default: all that nobody has claimed)"
    )


def _add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        choices=("auto", "local", "slurm"),
        default="auto",
        help="default auto: Slurm where sbatch is found",
    )
    parser.add_argument("--jobs", type=_natural, metavar="N", help="local backend: trials at a time (default 1)")


def _add_strict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strict", action="store_true", help="what is only warned of is an error")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def _add_slurm(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "Slurm", "these win over the sweep file's slurm: section, which wins over the template"
    )
    group.add_argument("--template", default="array", metavar="NAME|PATH", help="job template (default array)")
    group.add_argument("--width", type=_natural, metavar="N", help="jobs at a time")
    _add_resources(group)
    group.add_argument(
        "--sbatch", action="append", default=[], metavar="NAME=VALUE", help="any other sbatch option (repeatable)"
    )


def _add_resources(parser: argparse._ActionsContainer) -> None:
    for name, text in RESOURCES.items():
        parser.add_argument(f"--{name}", metavar="X", help=text)


def _natural(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _number(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def _numbers(text: str) -> list[int]:
    """``0,3,7-12`` as numbers, in order, each once."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(_number(first), _number(last or first) + 1))
    return sorted(numbers)


_numbers.__name__ = "list of numbers"
_natural.__name__ = "number, 1 or more"
_number.__name__ = "number, 0 or more"
