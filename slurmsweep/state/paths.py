"""Where every file of a sweep is: the only place for file names.

``docs/architecture.md`` shows the folders as a tree (*What is on disk*): ``<root>/.slurmsweep/sweep-<id>/``, and the
link ``<root>/wandb/sweep-<id>`` to it for people.

``<root>`` is ``$WANDB_DIR`` or the current folder, as for wandb (``wandb.sdk.wandb_settings``, ``wandb_dir``).
``docs/decisions/0029-where-the-state-is.md`` says why the folder is not in ``wandb/``. Sweeps that older versions made
there stay there.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurmsweep.state.tail import AttemptId

from slurmsweep.errors import NotFoundError, StateUnreadableError
from slurmsweep.state import files
from slurmsweep.sweepfile.command import ATTEMPT_DIR, TRIAL, TRIAL_DIR

#: At most this many trials share a parent folder: folders with 100,000 entries are slow on parallel filesystems.
TRIALS_PER_SHARD = 1000

SWEEP_ID = re.compile(r"[a-z0-9]{8}")
_PREFIX = "sweep-"

#: Begins the name of the folder of a sweep that is being removed.
REMOVED = ".removed-"

#: The folder of all that slurmsweep keeps. Lines such as ``rm -rf wandb`` in scripts do not reach it.
STATE = ".slurmsweep"
_BESIDE = (os.path.join(os.pardir, STATE), STATE)

#: Begins the name of a copy of code that is not whole yet.
COPYING = ".copying-"
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class Layout(NamedTuple):
    """File names of one sweep.

    Attributes:
        folder: absolute path of the sweep's folder.
        format: of ``sweep.json``.
    """

    folder: str
    format: int = 2

    @property
    def sweep_id(self) -> str:
        """The eight characters after ``sweep-``."""
        return os.path.basename(self.folder)[len(_PREFIX) :]

    @property
    def manifest(self) -> str:
        """The frozen, checked configuration."""
        return os.path.join(self.folder, "sweep.json")

    @property
    def function(self) -> str:
        """The Python function that trials call; absent where they run a program."""
        return os.path.join(self.folder, "function.json")

    @property
    def source(self) -> str:
        """The copy of the code from which trials run; absent where they run from the program's own folder."""
        return os.path.join(self.folder, "source")

    @property
    def source_list(self) -> str:
        """The files of that copy, with their checksums."""
        return os.path.join(self.folder, "source.json")

    @property
    def code_version(self) -> str:
        """What git said of the code when trials were started last; absent where it is in no repository."""
        return os.path.join(self.folder, "code.json")

    @property
    def journal(self) -> str:
        """The append-only record of what has happened."""
        return os.path.join(self.folder, "journal.log")

    @property
    def cache(self) -> str:
        """What was read of a large journal, for the next look. May be deleted at any time."""
        return os.path.join(self.folder, "fold.cache")

    @property
    def trials(self) -> str:
        """Parent of all shards."""
        return os.path.join(self.folder, "trials")

    @property
    def jobs(self) -> str:
        """Submitted scripts and job output."""
        return os.path.join(self.folder, "jobs")

    @property
    def submissions(self) -> str:
        """What schedulers were asked for: a document for each submission."""
        return os.path.join(self.folder, "submissions")

    @property
    def mend(self) -> str:
        """The folder of the supervisor, only of sweeps that mend themselves."""
        return os.path.join(self.folder, "mend")

    @property
    def notify(self) -> str:
        """The folder of what is to be told of the sweep, and what was told (``--notify``)."""
        return os.path.join(self.folder, "notify")

    @property
    def mend_settings(self) -> str:
        """What was asked for: rules, template, options."""
        return os.path.join(self.mend, "settings.json")

    @property
    def mend_last(self) -> str:
        """What came of the last round."""
        return os.path.join(self.mend, "last.json")

    def mend_round(self, number: int) -> str:
        """Return the file that the supervisor of that round, 1.., makes exclusively, with its name."""
        return os.path.join(self.mend, f"round-{number}.json")

    def mend_log(self, job: str) -> str:
        """Return the file of the output of a supervisor; ``%j`` for the id of its job."""
        return os.path.join(self.jobs, f"mend-{job}.log")

    @property
    def refused(self) -> str:
        """Attempts that a person was told are not run."""
        return os.path.join(self.folder, "refused.json")

    @property
    def report_text(self) -> str:
        """What happened, for people."""
        return os.path.join(self.folder, "report.txt")

    @property
    def report_json(self) -> str:
        """The same for programs."""
        return os.path.join(self.folder, "report.json")

    def shard(self, trial: int) -> str:
        """Return the parent of the folder of ``trial``."""
        return os.path.join(self.trials, str(trial // TRIALS_PER_SHARD))

    def trial(self, trial: int) -> str:
        """Return the folder of ``trial``, kept over its attempts."""
        return os.path.join(self.shard(trial), str(trial))

    def checkpoints(self, trial: int) -> str:
        """Return the folder in which only the script of ``trial`` keeps files; until format 2 the trial's folder."""
        return os.path.join(self.trial(trial), "checkpoints") if self.format > 1 else self.trial(trial)

    def attempt(self, attempt_id: AttemptId) -> str:
        """Return the folder whose maker runs that attempt."""
        trial, attempt = attempt_id
        return os.path.join(self.trial(trial), str(attempt))

    def owner(self, attempt_id: AttemptId) -> str:
        """Return the name that the agent makes exclusively before its child starts, or a process that voids it."""
        return os.path.join(self.attempt(attempt_id), "owner")

    def point(self, first: int) -> str:
        """Return the file that says the point of several trials, of which this is the first, where a search learns."""
        return os.path.join(self.trial(first), "point.json")

    def outcome(self, attempt_id: AttemptId) -> str:
        """Return the file in which the agent says how the attempt ended."""
        return os.path.join(self.attempt(attempt_id), "outcome.json")

    def log(self, attempt_id: AttemptId) -> str:
        """Return the file of standard output and error of the command."""
        return os.path.join(self.attempt(attempt_id), "output.log")

    def params(self, attempt_id: AttemptId) -> str:
        """Return the file of the parameters as wandb reads them (``WANDB_SWEEP_PARAM_PATH``)."""
        return os.path.join(self.attempt(attempt_id), "params.yaml")

    def history(self, attempt_id: AttemptId) -> str:
        """Return the file of what the native client logged (``client/history.py`` has the name too)."""
        return os.path.join(self.attempt(attempt_id), "history.jsonl")

    def metrics(self, attempt_id: AttemptId) -> str:
        """Return the file into which any program may write its metrics (``SLURMSWEEP_METRICS_FILE``)."""
        return os.path.join(self.attempt(attempt_id), "metrics.json")

    def run_id(self, trial: int) -> str:
        """Return the W&B run id of a trial: the same over its attempts, so that wandb goes on with the run."""
        return f"{self.sweep_id}-{trial}"

    def runs(self, trial: int) -> str:
        """Return where wandb keeps the runs of all attempts (``WANDB_DIR`` and ``wandb``), and staged artifacts."""
        return os.path.join(self.trial(trial), "wandb")

    def wandb_cache(self, user: int) -> str:
        """Return the folder of cache and core logs of wandb: one for all trials that a user (by number) runs."""
        return os.path.join(self.folder, "wandb-cache", str(user))

    @property
    def uploads(self) -> str:
        """Copies of run files that ``sync`` is uploading; gone when all went well."""
        return os.path.join(self.folder, "uploads")

    def args_json(self, attempt_id: AttemptId) -> str:
        """Return the file that ``${args_json_file}`` names."""
        return os.path.join(self.attempt(attempt_id), "args.json")

    def saved(self, attempt_id: AttemptId) -> str:
        """Return the folder in which only the attempt's script keeps files (``client/training_run.py`` has it too)."""
        return os.path.join(self.attempt(attempt_id), "files")

    def own_macros(self, attempt_id: AttemptId) -> dict[str, str]:
        """Return the macros of a command that differ from trial to trial, each with its text."""
        return {
            "args_json_file": self.args_json(attempt_id),
            TRIAL: str(attempt_id.trial),
            TRIAL_DIR: self.checkpoints(attempt_id.trial),
            ATTEMPT_DIR: self.saved(attempt_id),
        }


#: In the place of a sweep's id, where the sweep is only planned.
NO_ID = "xxxxxxxx"


def root_folder() -> str:
    """Return the absolute path of the folder that holds ``wandb/``: ``$WANDB_DIR``, else the current folder."""
    return os.path.abspath(os.path.expanduser(os.environ.get("WANDB_DIR") or os.getcwd()))


def roots_from_here() -> Iterator[str]:
    """Yield where sweeps are looked for: ``$WANDB_DIR`` alone; else the current folder and those above it.

    So sweeps are found from any folder of their project, also from inside ``wandb`` and ``.slurmsweep``. The search
    ends below a folder in which every user may write, such as ``/tmp``: any user may have made the sweeps there.
    """
    folder = root_folder()
    yield folder
    while not os.environ.get("WANDB_DIR") and (above := os.path.dirname(folder)) != folder:
        try:
            status = files.status_of(above)
        except StateUnreadableError:
            return
        if status is None or status.st_mode & stat.S_IWOTH:
            return
        yield (folder := above)


def project_folder() -> str:
    """Return the nearest of :func:`roots_from_here` that has sweeps, the first one where none has.

    Raises:
        StateUnreadableError: the current folder, or ``$WANDB_DIR``, cannot be read.
    """
    here = root_folder()
    for root in roots_from_here():
        with nullcontext() if root == here else suppress(StateUnreadableError):
            if sweep_ids(root):
                return root
    return here


def new_sweep_id() -> str:
    """Make an id: eight random characters, as W&B's sweep ids."""
    import secrets  # agents never make one

    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(8))


def state_root(root: str) -> str:
    """Return the folder in which ``.slurmsweep/`` is made for sweeps below ``root``: that folder itself.

    Where ``wandb`` is a link, as of users whose home is too small, it is the folder that holds what the link names;
    if that is another user's, the folder that the link names.
    """
    wandb = os.path.join(root, "wandb")
    if not os.path.islink(wandb):
        return root
    folder = os.path.realpath(wandb)
    above = os.path.dirname(folder)
    found = files.status_of(above)
    return above if found and found.st_uid == os.geteuid() else folder


def state_folder(root: str, name: str) -> str:
    """Return the path of a new folder with that name, such as ``sweep-abcd1234``, for what slurmsweep keeps."""
    return without_links(os.path.join(state_root(root), STATE, name))


def sweep_folder(root: str, sweep_id: str) -> str:
    """Return the path of the folder of a new sweep below ``root``."""
    return state_folder(root, _PREFIX + sweep_id)


def rescued_folder(folder: str) -> str:
    """Return where agents keep what they know of their trials, once the sweep that was in ``folder`` is removed."""
    return os.path.join(os.path.dirname(os.path.dirname(folder)), STATE, "rescued")


def places(root: str, name: str) -> list[str]:
    """Return where a folder of slurmsweep's, or a link to it, may be below ``root``, the likely place first."""
    return [os.path.join(root, STATE, name), os.path.join(root, "wandb", name)]


def without_links(path: str) -> str:
    """Return the path of a sweep's folder without the links that a script may remove with its ``wandb/``.

    These are the link to the folder, and ``wandb`` or ``.slurmsweep`` where they are links. Links above them stay: a
    cluster may use them to have one name on all nodes.
    """
    above, name = os.path.split(path)
    above = os.path.realpath(above) if os.path.islink(above) else above
    path = os.path.join(above, name)
    if not os.path.islink(path):
        return path
    target = os.readlink(path)
    is_ours = os.path.dirname(target) in _BESIDE
    return os.path.normpath(os.path.join(above, target)) if is_ours else os.path.realpath(path)


def target_of(link: str, folder: str) -> str:
    """Return what a link to a folder of slurmsweep's says: relative where both move together, as with a project."""
    target = os.path.relpath(folder, os.path.realpath(os.path.dirname(link)))
    return target if os.path.dirname(target) in _BESIDE else folder


def sweep_ids(root: str) -> list[str]:
    """Return the ids of the sweeps below ``root``, sorted. A folder without ``sweep.json`` is not a sweep (yet).

    Raises:
        StateUnreadableError: a folder that holds them cannot be read.
    """
    folders = [folder for folder in places(root, "") if files.is_folder(folder)]
    names = {name for folder in folders for name in files.names_in(folder)}
    ids = {name[len(_PREFIX) :] for name in names if name.startswith(_PREFIX)}
    return sorted(i for i in ids if SWEEP_ID.fullmatch(i) and any(map(_may_be_sweep, places(root, _PREFIX + i))))


def half_removed(root: str) -> list[tuple[str, str]]:
    """Return the sweeps below ``root`` whose removal was broken off, by id, each with the folder of what is left.

    Raises:
        StateUnreadableError: a folder that holds them cannot be read.
    """
    found = []
    for place in filter(files.is_folder, places(root, "")):
        for name in filter(lambda name: name.startswith(REMOVED), files.names_in(place)):
            sweep, folder = name[len(REMOVED) :], os.path.join(place, name)
            if SWEEP_ID.fullmatch(sweep) and files.is_folder(folder) and not os.path.islink(folder):
                found.append((sweep, folder))
    return sorted(found)


def made(root: str, sweep_id: str) -> int:
    """Return when a sweep below ``root`` was made, in nanoseconds since the epoch; 0 where that cannot be told."""
    with suppress(NotFoundError, StateUnreadableError):
        status = files.status_of(find(sweep_id, root).manifest)
        return status.st_mtime_ns if status else 0
    return 0


def _sweep_in(folder: str) -> Layout | None:
    """Return the sweep whose folder this is, or a link to it; None where there is none. Raises StateUnreadableError.

    A link with the id of one sweep to the folder of another one is not that sweep: what is meant for the one would be
    done to the other.
    """
    place = Layout(without_links(folder))
    asked, found = Layout(folder).sweep_id, place.sweep_id
    leads_astray = asked != found and SWEEP_ID.fullmatch(asked) and SWEEP_ID.fullmatch(found)
    return place if files.status_of(place.manifest) and not leads_astray else None


def _may_be_sweep(folder: str) -> bool:
    """Return whether a sweep is in a folder, or that cannot be told: opening it says why."""
    try:
        return _sweep_in(folder) is not None
    except StateUnreadableError:
        return True


def find(name: str, root: str | None = None) -> Layout:
    """Find the sweep of that name: its id below ``root``, or the path of its folder.

    Without ``root`` an id is looked up below the current folder and those above it (:func:`roots_from_here`).

    A path may also be that of the link to the folder.

    Raises:
        NotFoundError: there is none; the message says where it was looked for and what is there.
        StateUnreadableError: whether there is one cannot be told.
    """
    is_path = os.sep in name or name in (".", "..")
    if not is_path and not SWEEP_ID.fullmatch(name):
        right = (
            "give its id (eight of a-z and 0-9), its whole name, or the path of its folder; `slurmsweep ls` lists the "
            "sweeps here"
        )
        raise NotFoundError(f"{name!r} is not a sweep: {right}")
    here = root or root_folder()
    looked_at = [os.path.abspath(name)] if is_path else places(here, _PREFIX + name)
    roots_above = [] if root or is_path else [one for one in roots_from_here() if one != here]
    above = [folder for one in roots_above for folder in places(one, _PREFIX + name)]
    for folder in [*looked_at, *above]:
        with suppress(StateUnreadableError) if folder in above else nullcontext():
            if found := _sweep_in(folder):
                return found
    raise NotFoundError(_explain_missing(name, looked_at, here, is_path=is_path))


def _explain_missing(name: str, looked_at: list[str], root: str, *, is_path: bool) -> str:
    for link in filter(os.path.islink, looked_at):
        if files.status_of(link) is None:
            return f"the folder of sweep {name} was removed: {link} is a link to {without_links(link)}, which is gone"
    if is_path:
        return f"{name} is not the folder of a sweep: there is no {Layout(looked_at[0]).manifest}"
    from difflib import get_close_matches

    known = sweep_ids(root)
    message = f"no sweep {name} in {root}"
    close = get_close_matches(name, known, n=1)
    if close:
        return f"{message}: did you mean {close[0]}?"
    if known:
        return f"{message}: `slurmsweep ls` lists the {len(known)} there"
    return f"{message}: there are no sweeps; set WANDB_DIR to the folder where it was created, or give its path"
