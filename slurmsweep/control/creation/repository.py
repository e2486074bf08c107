"""Ask git about the folder of a program: its repository, its files, its commit, and whether more has changed since."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from slurmsweep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds for an answer: a large repository on a cold filesystem takes its time.
_PATIENCE = 120

#: The kind of an entry of the index that is another repository (a submodule).
_OF_REPOSITORY = "160000"


class Repository(NamedTuple):
    """A repository of git with a working tree.

    Attributes:
        root: its topmost folder, absolute.
        git: its own ``.git`` folder, absolute: of a worktree that one's.
        common: the folder of what all its worktrees share.
    """

    root: str
    git: str
    common: str

    def commit(self) -> str | None:
        """Return the commit that is checked out; None before the first one."""
        with suppress(UsageError):
            return _ask(self.root, "rev-parse", "--verify", "-q", "HEAD^{commit}").decode().strip() or None
        return None

    def tracked(self) -> list[str]:
        """Return the files that git knows, relative to the root, those of submodules too. Some may be missing."""
        return list(_entries(self.root, "", tracked=True))

    def untracked(self) -> list[str]:
        """Return the files that git neither knows nor ignores, those of other repositories in it too."""
        return list(_entries(self.root, "", tracked=False))

    def ignored(self) -> list[str]:
        """Return the files and folders that git ignores; of a folder, which ends with a slash, not what is in it."""
        words = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
        return _names(_ask(self.root, *words))

    def changes(self) -> bytes:
        """Return what has changed since the commit of the files that git knows, as it writes that."""
        since = ("HEAD",) if self.commit() else ("--cached",)
        return _ask(self.root, "diff", "--no-ext-diff", "--binary", "--submodule=short", *since)


def find_repository(folder: str) -> Repository | None:
    """Return the repository that a folder is in; None where it is in none.

    Raises:
        UsageError: there is one, and git cannot be asked about it: it is not installed, or refuses.
    """
    words = ("rev-parse", "--path-format=absolute", "--show-toplevel", "--git-dir", "--git-common-dir")
    try:
        root, git, common = os.fsdecode(_ask(folder, *words)).splitlines()
    except (UsageError, ValueError) as error:
        if not any(os.path.exists(above / ".git") for above in (Path(folder), *Path(folder).parents)):
            return None
        raise UsageError(f"git cannot tell what is in {folder}: {error}") from error
    return Repository(root, git, common)


def _entries(root: str, below: str, *, tracked: bool) -> Iterator[str]:
    """Yield files of a repository and of the repositories in it, by their path from the topmost one."""
    here = os.path.join(root, below)
    inner = []
    for entry in _names(_ask(here, "ls-files", "-z", "--stage")):
        described, _, name = entry.partition("\t")
        if described.startswith(_OF_REPOSITORY):
            inner.append(name)
        elif tracked:
            yield os.path.join(below, name)
    others = _names(_ask(here, "ls-files", "-z", "--others", "--exclude-standard"))
    inner += [name for name in others if name.endswith("/")]
    if not tracked:
        yield from (os.path.join(below, name) for name in others if not name.endswith("/"))
    for name in inner:
        if os.path.exists(os.path.join(here, name, ".git")):  # else the submodule was not fetched, and is empty
            # what is a repository of its own, and not a submodule, is unknown to git as a whole
            yield from _entries(root, os.path.join(below, name.rstrip("/")), tracked=tracked)


def _names(answer: bytes) -> list[str]:
    return [os.fsdecode(name) for name in answer.split(b"\0") if name]


def _ask(folder: str, *words: str) -> bytes:
    """Return what git answers. Raises UsageError with its reason."""
    # set where slurmsweep is called by a hook of git, for another repository
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    argv = ["git", "-C", folder, *words]
    # git may else write the index to make its next answer faster
    environ["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        return subprocess.run(argv, capture_output=True, timeout=_PATIENCE, check=True, env=environ).stdout
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").expandtabs(4).strip()
        raise UsageError(said or f"exit code {error.returncode}") from error
    except FileNotFoundError as error:
        raise UsageError("it is not installed on this machine") from error
    except OSError as error:
        raise UsageError(f"it cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"it did not answer within {_PATIENCE} s") from error
