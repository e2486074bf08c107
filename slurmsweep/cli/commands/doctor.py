"""The ``doctor`` command."""

from __future__ import annotations

import argparse
import os

from slurmsweep.backends import registry
from slurmsweep.backends.base import JobSource, SubmitOptions
from slurmsweep.backends.slurm.site import look_around
from slurmsweep.cli import options, values
from slurmsweep.cli.output import print_json, print_text
from slurmsweep.control.defaults import read
from slurmsweep.doctor import checks
from slurmsweep.errors import NotFoundError, SchedulerUnavailableError, StateUnwritableError
from slurmsweep.report.tables import findings_table
from slurmsweep.state import files
from slurmsweep.state.filesystem import Fitness
from slurmsweep.state.paths import root_folder, state_root

HELP = "try whether a folder is fit for sweeps, and this cluster, or a service of AWS, too"
EXAMPLES = (
    ("doctor", "of this folder and this cluster"),
    ("doctor --nodes 2 -p short", "try the folder between two nodes"),
    ("doctor --backend batch --queue spot", "who asks, queue, job definition, logs and roles in AWS"),
)
EXIT_CODES = {1: "something is bad", 3: "no such folder", 4: "", 5: ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``doctor``."""
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="default: WANDB_DIR, or the current folder")
    text = "try it between N nodes of the cluster, in a job"
    parser.add_argument("--nodes", type=values.up_to(10_000), default=1, metavar="N", help=text)
    text = "to wait for that job (default 300)"
    parser.add_argument("--patience", type=values.up_to(604_800), default=300, metavar="SECONDS", help=text)
    text = "what is looked at beside the folder"
    options.add(parser, "--backend", choices=registry.SUBMITTING, default="slurm", help=text)
    options.add(parser, "--json")
    options.add_resources(parser.add_argument_group("Slurm", "of the job that tries it between nodes"))
    options.add_aws(parser)


def run(args: argparse.Namespace) -> int:
    """Show each finding: good, warn or bad, why, and what to do. Return the exit code, 1 where one is bad."""
    folder = os.path.abspath(args.folder or state_root(root_folder()))
    if not files.is_folder(folder):
        raise NotFoundError(f"{folder} is not a folder: make it, or name another one")
    if args.backend != "slurm":
        backend = registry.choose(args.backend, rehearsal=True)
        source = JobSource("slurmsweep-doctor", folder, folder, folder, defaults=read(os.getcwd()))
        seen = backend.examine(backend.options(SubmitOptions(options=dict(args.resources)), source))
        findings = [
            *checks.look_at_folder(folder, cluster=True),  # other machines use it
            *_try_out(folder, 1, {}, 0),
            *(checks.CheckResult(one.fitness, subject, one.why, one.advice) for subject, one in seen),
        ]
    else:
        site = look_around()
        findings = [
            *checks.look_at_folder(folder, cluster="sbatch" not in site.missing),
            *_try_out(folder, args.nodes, dict(args.resources), args.patience),
            *checks.judge_site(site),
        ]
    rows = [finding.to_json() for finding in findings]
    if args.json:
        print_json(rows)
    else:
        print_text(findings_table(rows))
    return 1 if any(finding.fitness is Fitness.BAD for finding in findings) else 0


def _try_out(folder: str, nodes: int, resources: dict[str, str], patience: float) -> list[checks.CheckResult]:
    """Judge what processes see of the folder, here or on nodes; where that cannot be tried, that is the finding."""
    try:
        if nodes == 1:
            return checks.judge_trial(checks.try_out_here(folder))
        return checks.judge_trial(checks.try_out_on_nodes(folder, nodes, resources, patience))
    except (StateUnwritableError, OSError) as error:
        said = str(error) if isinstance(error, StateUnwritableError) else f"{folder}: {error.strerror or error}"
        return [checks.CheckResult(Fitness.BAD, "tried", said)]
    except SchedulerUnavailableError as error:
        advice = "see `sinfo`; --partition and --patience may help"
        return [checks.CheckResult(Fitness.BAD, "tried", str(error), advice)]
