"""Which code trials ran, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slurmsweep.report.figures import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slurmsweep.state.code_copy import CodeCopy

#: Versions that are named.
_MOST = 5


def version_words(version: str) -> str:
    """Return ``commit 3f2a1b4c9d0e``, ``commit 3f2a1b4c9d0e with changes 5d41402a``."""
    commit, plus, changes = version.partition("+")
    if plus:
        return f"commit {commit} with changes {changes}"
    return f"commit {commit[:-1]}, changes unknown" if commit.endswith("?") else f"commit {commit}"


def copy_words(copy: CodeCopy) -> str:
    """Return of what the code is a copy from which trials run."""
    if copy.commit is None:
        return f"a copy of {copy.root}"
    return f"a copy of {copy.root} at commit {copy.commit[:12]}" + (" with changes" if copy.changed else "")


def code_words(copy: CodeCopy | None, versions: Mapping[str, int]) -> str:
    """Return which code the trials of a sweep ran; empty where that is not known."""
    if copy:
        return copy_words(copy)
    often = sorted(versions, key=lambda version: (-versions[version], version))
    if len(often) == 1:
        return version_words(often[0])
    named = [f"{version_words(one)} ({counted(versions[one], 'attempt')})" for one in often[:_MOST]]
    return "; ".join(named) + (f"; and {len(often) - _MOST} more" if len(often) > _MOST else "")
