"""The doctor: is this folder fit for sweeps, and this cluster for slurmsweep?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from slurmsweep.backends.slurm.site import look_around
from slurmsweep.cli.arguments.common import RESOURCES
from slurmsweep.cli.reading import print_json
from slurmsweep.doctor import checks
from slurmsweep.doctor.checks import CheckResult
from slurmsweep.errors import NotFoundError, SchedulerUnavailableError, StateUnwritableError
from slurmsweep.report import tables
from slurmsweep.state.filesystem import Fitness
from slurmsweep.state.paths import root_folder

if TYPE_CHECKING:
    import argparse


def doctor(args: argparse.Namespace) -> int:
    """One line a finding: good, warn or bad, why, and what to do. Exit code 1 where one is bad."""
    folder = os.path.abspath(args.folder or root_folder())
    if not os.path.isdir(folder):
        raise NotFoundError(f"{folder} is not a folder: make it, or name another one")
    site = look_around()
    cluster = "sbatch" not in site.missing
    findings = [
        *checks.look_at_folder(folder, cluster=cluster),
        *_try_out(folder, args),
        *checks.judge_site(site),
    ]
    rows = [finding.to_json() for finding in findings]
    if args.json:
        print_json(rows)
    else:
        print(tables.findings_table(rows))
    return 1 if any(finding.fitness is Fitness.BAD for finding in findings) else 0


def _try_out(folder: str, args: argparse.Namespace) -> list[CheckResult]:
    """What processes see of the folder: here, or on nodes; where that cannot be tried, that is the finding."""
    try:
        return checks.judge_trial(_seen(folder, args))
    except StateUnwritableError as error:
        return [CheckResult(Fitness.BAD, "tried", str(error))]
    except SchedulerUnavailableError as error:
        return [CheckResult(Fitness.BAD, "tried", str(error), "see `sinfo`; --partition and --patience may help")]


def _seen(folder: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    if args.nodes == 1:
        return checks.try_out_here(folder)
    named = {name: getattr(args, name.replace("-", "_")) for name in RESOURCES}
    options = {name: value for name, value in named.items() if value is not None}
    return checks.try_out_on_nodes(folder, args.nodes, options, float(args.patience))
