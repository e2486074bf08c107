"""Arguments of the commands that read: status, trials, logs, best, check, doctor, templates, ls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.cli.arguments.common import add_cloud, add_json, add_resources, add_sweep, command, natural, number

if TYPE_CHECKING:
    from slurmsweep.cli.arguments.common import Commands


def _status(commands: Commands) -> None:
    status = command(commands, "status", "reading:status", "show state, counts and the best trial of a sweep")
    add_sweep(status)
    add_json(status)
    add_cloud(status)


def _trials(commands: Commands) -> None:
    trials = command(commands, "trials", "reading:trials", "list the trials of a sweep")
    add_sweep(trials)
    trials.add_argument("--state", action="append", metavar="STATE", help="only those in this state (repeatable)")
    trials.add_argument("--limit", type=natural, metavar="N", help="at most N (default 100; all with --json)")
    add_json(trials)


def _logs(commands: Commands) -> None:
    logs = command(commands, "logs", "reading:logs", "print the log of a trial's newest attempt")
    add_sweep(logs)
    logs.add_argument("trial", type=number, metavar="TRIAL", help="number of the trial")
    logs.add_argument("--attempt", type=natural, metavar="N", help="an older attempt")
    logs.add_argument("--path", action="store_true", help="print the log's path instead")


def _best(commands: Commands) -> None:
    best = command(commands, "best", "reading:best", "show the best finished trials by the sweep's metric")
    add_sweep(best)
    best.add_argument("--top", type=natural, metavar="N", help="how many (default 1; with --pareto all)")
    best.add_argument(
        "--pareto",
        action="store_true",
        help="those that no other trial beats in all metrics of the sweep file's slurmsweep: {pareto: ...}",
    )
    add_json(best)


def _check(commands: Commands) -> None:
    check = command(commands, "check", "reading:check", "prove that no trial is lost or doubled; exit code 1 otherwise")
    add_sweep(check)
    check.add_argument(
        "--repair", action="store_true", help="rebuild the journal from the trials' folders, if anything is wrong"
    )
    add_json(check)


def _doctor(commands: Commands) -> None:
    doctor = command(
        commands,
        "doctor",
        "doctoring:doctor",
        "try whether a folder is fit for sweeps, and this cluster too",
    )
    doctor.add_argument("folder", nargs="?", metavar="FOLDER", help="default: WANDB_DIR, or the current folder")
    doctor.add_argument(
        "--nodes", type=natural, default=1, metavar="N", help="try it between N nodes of the cluster, in a job"
    )
    doctor.add_argument(
        "--patience", type=natural, default=300, metavar="SECONDS", help="to wait for that job (default 300)"
    )
    add_json(doctor)
    add_resources(doctor.add_argument_group("Slurm", "of the job that tries it between nodes"))


def _templates(commands: Commands) -> None:
    templates = command(
        commands, "templates", "templating:templates", "list the job templates, or check one and print it"
    )
    templates.add_argument("template", nargs="?", metavar="NAME|PATH", help="of a built-in template, or of your own")
    add_json(templates)


def _ls(commands: Commands) -> None:
    ls = command(commands, "ls", "reading:ls", "list the sweeps below WANDB_DIR, or the current folder")
    add_json(ls)


#: What adds each command to the command line.
COMMANDS = {
    "status": _status,
    "trials": _trials,
    "logs": _logs,
    "best": _best,
    "check": _check,
    "doctor": _doctor,
    "templates": _templates,
    "ls": _ls,
}
