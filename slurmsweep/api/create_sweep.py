"""``slurmsweep.sweep``: create a sweep from a configuration in Python. Drop-in for ``wandb.sweep``.

Source of the signature and of what is printed: ``wandb.sdk.wandb_sweep.sweep`` (0.31.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slurmsweep.api.console import note
from slurmsweep.api.naming import known, sweep_name
from slurmsweep.control.creation.create import create, draft_of
from slurmsweep.control.creation.prior import adopt, known_points
from slurmsweep.errors import UsageError
from slurmsweep.state.store import SweepStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Stands in messages in the place of a sweep file's name.
_SOURCE = "the configuration given to sweep()"


def sweep(
    sweep: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    entity: str | None = None,
    project: str | None = None,
    prior_runs: Sequence[str] | None = None,
) -> str:
    """Create a sweep, as ``slurmsweep create`` does from a file; return its id.

    It may lack a program: then its trials are run by :func:`slurmsweep.agent` with a function, or by
    ``--function package.module:train`` on the command line. Prints ``Create sweep with ID: ...`` as wandb does.

    Args:
        sweep: the content of a sweep file, or a function that returns it.
        entity: of the runs of wandb; wins over the configuration's.
        project: likewise.
        prior_runs: run ids (``<sweep>-<trial>``) of one other sweep, whose points are not run again, and from which a
            bayes search learns.

    Raises:
        SweepFileError: the configuration breaks rules; every violation at once, each with its key path.
        UsageError: ``prior_runs`` are no run ids of one sweep.
        NotFoundError: there is no such prior sweep, or a trial of it did not finish.
        StateUnwritableError: no sweep was created.
    """
    content = sweep() if callable(sweep) else sweep
    named = {key: value for key, value in (("entity", entity), ("project", project)) if value}
    draft = draft_of({**content, **named} if isinstance(content, dict) else content, _SOURCE)
    prior = _prior(prior_runs)
    for warning in (*draft.warnings, *draft.doubts):
        note(f"{_SOURCE}: {warning}")
    for line in draft.snapshot.notes if draft.snapshot else ():
        note(line)
    store = known(create(draft, needs_program=False))
    if prior:
        ended = adopt(store, known_points(store, *prior))
        if ended:
            note(ended)
    print("Create sweep with ID:", store.manifest.sweep_id)
    note(f"sweep {store.manifest.sweep_id} in {store.layout.folder}")
    return store.manifest.sweep_id


def _prior(runs: Sequence[str] | None) -> tuple[SweepStore, list[int]] | None:
    """Return the sweep of run ids, and the numbers of their trials; None for no ids."""
    if not runs:
        return None
    if isinstance(runs, str):
        raise UsageError(f"prior_runs={runs!r}: give a list of run ids")
    pairs = [str(run).rpartition("-") for run in runs]
    wrong = [run for run, (name, _, number) in zip(runs, pairs, strict=True) if not name or not number.isdecimal()]
    if wrong:
        raise UsageError(f"prior_runs: {wrong[0]!r} is not a run of ours: write <sweep>-<trial>, such as abcd1234-7")
    names = {name for name, _, _ in pairs}
    if len(names) > 1:
        raise UsageError(f"prior_runs: name runs of one sweep, not of {', '.join(sorted(names))}")
    return SweepStore.open(sweep_name(names.pop())), sorted({int(number) for _, _, number in pairs})
