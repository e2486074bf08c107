"""The side of the training script: ``import slurmsweep`` instead of ``import wandb``, for the calls that sweeps use.

It needs the standard library and ``slurmsweep.errors`` only, so that importing it costs a script nothing. Without a
sweep the script runs, too, with the configuration that ``init`` was given.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

# with `as`: names of the package itself, which `slurmsweep.__all__` lists
from slurmsweep.client.aggregates import Summary as Summary
from slurmsweep.client.configuration import Config as Config
from slurmsweep.client.session import Settings as Settings
from slurmsweep.client.session import active, current
from slurmsweep.client.session import finish as finish
from slurmsweep.client.session import init as init
from slurmsweep.client.training_run import Run as Run
from slurmsweep.errors import SlurmsweepError
from slurmsweep.errors import UsageError as UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from slurmsweep.client.aggregates import MetricDefinition

#: wandb's name for it.
Error = SlurmsweepError

#: wandb's older name for it.
join = finish


class CommError(SlurmsweepError):
    """wandb's name for a request that failed: never raised, because there is no server."""


class AlertLevel:
    """How urgent an alert is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """Log values of one step of the current run, see :meth:`Run.log`."""
    current().log(data, step, commit)


def define_metric(name: str, step_metric: str | MetricDefinition | None = None, **named: Any) -> MetricDefinition:
    """Choose what the summary keeps of a metric, see :meth:`Run.define_metric`."""
    return current().define_metric(name, step_metric, **named)


def log_code(root: str | None = ".", name: str | None = None, **choosers: Any) -> str | None:
    """Archive the code as it is now, see :meth:`Run.log_code`."""
    return current().log_code(root, name, **choosers)


def save(glob_str: str | os.PathLike[str], base_path: str | os.PathLike[str] | None = None, **named: Any) -> list[str]:
    """Copy files into the folder of the run, see :meth:`Run.save`."""
    return current().save(glob_str, base_path, **named)


def alert(title: str, text: str = "", level: Any = None, wait_duration: Any = None) -> None:
    """Print a message that the user should see, see :meth:`Run.alert`."""
    current().alert(title, text, level, wait_duration)


def watch(*models: Any, **named: Any) -> None:
    """Warn that gradients are not recorded, see :meth:`Run.watch`."""
    current().watch(*models, **named)


def unwatch(*models: Any) -> None:
    """Do nothing, because :func:`watch` records nothing."""


def mark_preempting() -> None:
    """Record that the run will be preempted, see :meth:`Run.mark_preempting`."""
    current().mark_preempting()


def login(*_: Any, **__: Any) -> bool:
    """Return True: there is no server to log in to. Accepted so that scripts run unchanged."""
    return True


def setup(settings: Any = None) -> None:
    """Do nothing: there is nothing to set up. Accepted so that scripts run unchanged."""


def require(requirement: Any = None, experiment: Any = None) -> None:
    """Do nothing: wandb's new features, which this asks for, are of its server. Accepted so that scripts run."""


def ensure_configured() -> None:
    """Do nothing: there is no server to be configured for. Accepted so that scripts run unchanged."""


def pin_config_keys(keys: Sequence[str]) -> None:
    """Do nothing, see :meth:`Run.pin_config_keys`."""
    current().pin_config_keys(keys)


def teardown(exit_code: int | None = None) -> None:
    """End the current run, if there is one."""
    finish(exit_code)


def termsetup(settings: Any = None, logger: Any = None) -> None:
    """Do nothing: how much is printed is not chosen here. Accepted so that scripts run unchanged."""


def termlog(string: str = "", newline: bool = True, repeat: bool = True) -> None:
    """Print a line on stderr."""
    print(f"slurmsweep: {string}", file=sys.stderr, end="\n" if newline else "")


def termwarn(string: str, newline: bool = True, repeat: bool = True) -> None:
    """Print a warning on stderr."""
    termlog(f"WARNING {string}", newline)


def termerror(string: str, newline: bool = True, repeat: bool = True) -> None:
    """Print an error on stderr."""
    termlog(f"ERROR {string}", newline)


def __getattr__(name: str) -> Any:
    """Return ``config``, ``summary`` and ``run`` of the current run when they are used."""
    if name == "run":
        return active()
    if name in ("config", "summary"):
        return getattr(current(), name)
    from slurmsweep.client.missing import OF_MODULE, explanation

    raise AttributeError(explanation(name, OF_MODULE, f"module 'slurmsweep' has no attribute {name!r}"))
