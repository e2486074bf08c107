"""Choose the files of which a new sweep keeps a copy, and say why one cannot be made.

Of a repository of git the whole working tree is copied as it is: what git knows, and what it neither knows nor ignores.
Of any other folder all is copied but for what is plainly no code. The folders of slurmsweep and wandb never are.
"""

from __future__ import annotations

import json
import os
import stat
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from slurmsweep.control.creation.code_files import is_environment
from slurmsweep.control.creation.interpreter import ask_interpreter
from slurmsweep.control.creation.repository import find_repository
from slurmsweep.errors import UsageError, Violation
from slurmsweep.report.figures import size_text
from slurmsweep.state import paths
from slurmsweep.state.code_copy import CodeCopy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from slurmsweep.state.function import Function
    from slurmsweep.sweepfile.config import SweepConfig
    from slurmsweep.sweepfile.snapshot import SnapshotRules

#: Bytes and files of a copy at most: code is less, and each sweep has one.
MOST_BYTES, MOST_FILES = 256 << 20, 20_000

#: Entries of a folder that are looked at, where git does not say what counts; and names that a message has.
_MOST_ENTRIES, _NAMED = 200_000, 5

#: Folders that are no code of the project, wherever they are.
_NO_CODE = frozenset({paths.STATE, ".git", ".hg", ".svn", "__pycache__", "node_modules", ".ipynb_checkpoints"})

#: Ignored names of which no message is needed.
_CACHES = (*_NO_CODE, "wandb", ".venv", "venv", "*.pyc", "*.egg-info", ".*_cache", ".coverage", ".idea", ".vscode")


#: What helps where a file may not be read.
_CLOSED = "make it readable, or leave it out: slurmsweep: {snapshot: {exclude: [...]}}"

#: Names of files that often hold secrets.
_SECRETS = (
    ".env",
    ".env.*",
    "*.pem",
    "*.key",
    "id_rsa*",
    "id_ed25519*",
    ".netrc",
    "*credentials*",
    "*secret*",
    "*token*",
)

#: Prints where packages are that were installed in editable mode, for the interpreter that trials run with.
_ASK_EDITABLE = """
import json, sys
from importlib.metadata import distributions
found = [one.read_text("direct_url.json") for one in distributions()]
urls = [json.loads(text) for text in found if text]
print(json.dumps([one["url"] for one in urls if one.get("dir_info", {}).get("editable")]))
"""


class Selection(NamedTuple):
    """What a copy will hold. Nothing is written yet.

    Attributes:
        what: of it ``sweep.json`` will say, without a checksum.
        names: the files, relative to the root.
        links: links to the originals, by path relative to the root.
        untracked: of the names, those that git does not know.
        notes: for people: what is copied, and what is not.
    """

    what: CodeCopy
    names: tuple[str, ...]
    links: tuple[str, ...]
    untracked: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the document of ``plan --json``."""
        named = {name: getattr(self.what, name) for name in ("root", "files", "size", "commit", "changed")}
        return named | {"untracked": list(self.untracked), "links": list(self.links)}


def select(config: SweepConfig, workdir: str, function: Function | None) -> Selection | list[Violation]:
    """Return what a copy for these trials will hold; or why it cannot be made.

    Raises:
        UsageError: git cannot be asked about the repository, or a folder cannot be read.
    """
    rules = config.extensions.snapshot
    if rules is None:
        raise AssertionError("asked of sweeps that want a copy")
    repository = find_repository(workdir)
    root, commit, changed = workdir, None, False
    untracked: list[str] = []
    ignored: list[str] = []
    if repository:
        root, commit = repository.root, repository.commit()
    inside = os.path.relpath(os.path.realpath(workdir), os.path.realpath(root))
    links = tuple(os.path.normpath(os.path.join(inside, one)) for one in rules.link)
    if repository:
        untracked = repository.untracked()
        changed = bool(repository.changes())  # and what git does not know, below
        found = [*repository.tracked(), *(name for name in untracked if not _is_of_wandb(root, name))]
        ignored = [one for one in repository.ignored() if not _matches(one.rstrip("/"), _CACHES)]
    else:
        found = list(_files_below(root, rules, links))
    behind: dict[str, bool] = {}
    names = sorted(
        {name for name in found if _is_copied(root, name, rules, links) and not _is_behind_link(root, name, behind)}
    )
    sizes = {name: os.lstat(os.path.join(root, name)).st_size for name in names}
    violations = [
        *_too_large(root, sizes, in_git=bool(repository), is_cut=not repository and len(found) >= _MOST_ENTRIES),
        *_not_in_it(config, function, root, inside, set(names)),
        *_wrong_links(root, links),
    ]
    for name in names:
        path = os.path.join(root, name)
        if not os.path.islink(path) and not os.access(path, os.R_OK):
            violations.append(Violation("slurmsweep.snapshot", f"{path} cannot be read", _CLOSED))
    if violations:
        return violations
    kept_untracked = tuple(name for name in untracked if name in sizes)
    changed = changed or bool(kept_untracked)
    what = CodeCopy(root, inside, len(names), sum(sizes.values()), "", commit, changed)
    unknown = kept_untracked if repository else tuple(names)
    not_copied = [one for one in ignored if one.rstrip("/") not in links]
    lines = _notes(what, unknown, links, not_copied, in_git=bool(repository))
    outside = [name for name in names if leads_outside(root, name)]
    if outside:
        lines.append(f"snapshot: links that lead out of it stay links to what is there: {_some(outside)}")
    return Selection(what, tuple(names), links, kept_untracked, (*lines, *_imported_from_elsewhere(root, workdir)))


def _is_copied(root: str, name: str, rules: SnapshotRules, links: Sequence[str]) -> bool:
    """Return whether a file is to be in the copy, and there: git names files, too, that were removed."""
    if _is_left_out(name, rules, links):
        return False
    try:
        mode = os.lstat(os.path.join(root, name)).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _is_behind_link(root: str, name: str, known: dict[str, bool]) -> bool:
    """Return whether a folder above a file is a link; answers for folders are kept in ``known``.

    git names such files where a link took the place of their folder. A copy of them would be written into the original.
    """
    above = os.path.dirname(name)
    if above and above not in known:
        known[above] = os.path.islink(os.path.join(root, above)) or _is_behind_link(root, above, known)
    return bool(above) and known[above]


def _is_left_out(name: str, rules: SnapshotRules, links: Sequence[str]) -> bool:
    return paths.STATE in name.split("/") or _matches(name, rules.exclude) or _matches(name, links, whole=True)


def _matches(name: str, patterns: Iterable[str], *, whole: bool = False) -> bool:
    """Return whether a pattern is met by a path or a folder above it; one without a slash by a name."""
    parts = name.split("/")
    above = ["/".join(parts[: number + 1]) for number in range(len(parts))]
    for pattern in (one.strip("/") for one in patterns):
        tried = above if whole or "/" in pattern else parts
        if any((one == pattern) if whole else fnmatchcase(one, pattern) for one in tried):
            return True
    return False


def _is_of_wandb(root: str, name: str) -> bool:
    """Return whether a file is in a folder of wandb's runs, and no package of that name."""
    parts = name.split("/")[:-1]
    if "wandb" not in parts:
        return False
    folder = os.path.join(root, *parts[: parts.index("wandb") + 1])
    return not os.path.exists(os.path.join(folder, "__init__.py"))


def _files_below(root: str, rules: SnapshotRules, links: Sequence[str]) -> Iterator[str]:
    """Yield the files of a folder that is in no repository, without what is plainly no code, or is left out.

    Raises UsageError where a folder cannot be read.
    """
    count = 0
    for folder, folders, names in os.walk(root, onerror=_refuse):
        below = os.path.relpath(folder, root)
        # what is left out is not looked at: a folder of data may have more entries than are looked at in all
        kept = {
            name
            for name in (*names, *folders)
            if not _is_left_out(os.path.normpath(os.path.join(below, name)), rules, links)
        }
        folders[:] = [name for name in folders if name in kept and _is_code(folder, name)]
        linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*(name for name in names if name in kept), *linked):
            count += 1
            if count > _MOST_ENTRIES:
                return
            yield os.path.normpath(os.path.join(below, name))


def _refuse(error: OSError) -> NoReturn:
    raise UsageError(f"snapshot: {error.filename} cannot be read: {_CLOSED}") from error


def _is_code(folder: str, name: str) -> bool:
    path = os.path.join(folder, name)
    if name in _NO_CODE or is_environment(path):
        return False
    return name != "wandb" or os.path.exists(os.path.join(path, "__init__.py"))


def _too_large(root: str, sizes: dict[str, int], *, in_git: bool, is_cut: bool) -> list[Violation]:
    total = sum(sizes.values())
    if total <= MOST_BYTES and len(sizes) <= MOST_FILES:
        return []
    by_folder: dict[str, tuple[int, int]] = {}
    for name, size in sizes.items():
        top = name.split("/")[0] + ("/" if "/" in name else "")
        before = by_folder.get(top, (0, 0))
        by_folder[top] = (before[0] + size, before[1] + 1)
    many = total <= MOST_BYTES
    largest = sorted(by_folder, key=lambda top: by_folder[top][1 if many else 0], reverse=True)[:_NAMED]
    named = [
        f"{top} ({by_folder[top][1]} files)" if many else f"{top} ({size_text(by_folder[top][0])})" for top in largest
    ]
    files_too = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:_NAMED]
    problem = (
        f"{root} has {'over ' if is_cut else ''}{len(sizes)} files with {size_text(total)}, and a copy has at most "
        f"{MOST_FILES} with {size_text(MOST_BYTES)}: most is in {', '.join(named)}; the largest files are "
        + ", ".join(f"{name} ({size_text(sizes[name])})" for name in files_too)
    )
    first = largest[0].rstrip("/") if largest else "data"
    hint = (
        f"leave out what is no code: {'name it in .gitignore, or ' if in_git else ''}write "
        f"slurmsweep: {{snapshot: {{exclude: [{first}]}}}}; with link: [{first}] trials find the original there"
    )
    return [Violation("slurmsweep.snapshot", problem, hint)]


def _not_in_it(
    config: SweepConfig, function: Function | None, root: str, below: str, names: set[str]
) -> Iterator[Violation]:
    """Yield why trials would not run the copy: their program is not in it."""
    path = "slurmsweep.snapshot"
    if function:
        if not function.file or not _is_below(function.file, root):
            yield Violation(
                path, f"the module of {function.path} is not in {root}, so it is not copied", "run it from there"
            )
        return
    if not config.program:
        return
    program = os.path.normpath(os.path.join(root, below, config.program))
    inside = os.path.relpath(program, root)
    if os.path.isabs(config.program) or inside.startswith(os.pardir):
        where = (
            "is an absolute path, which a copy does not change"
            if os.path.isabs(config.program)
            else f"is not in {root}"
        )
        if os.path.exists(program):
            yield Violation(path, f"program {config.program!r} {where}", "write its path relative to the sweep file")
    elif os.path.isfile(program) and inside not in names:
        problem = f"program {config.program!r} is not copied: git ignores it, or `exclude` leaves it out"
        yield Violation(path, problem, "take it out of .gitignore or of exclude")
    elif os.path.islink(program) and leads_outside(root, inside):
        yield Violation(path, f"program {config.program!r} is a link that leads out of {root}", "copy the file into it")


def _wrong_links(root: str, links: Sequence[str]) -> Iterator[Violation]:
    """Yield which links to the originals cannot be made."""
    for one in links:
        if one.split("/")[0] == os.pardir or not os.path.lexists(os.path.join(root, one)):
            problem = f"there is nothing at {os.path.join(root, one)}, or that is outside of {root}"
            hint = "link: names what trials find in the original folder; an absolute path needs no link"
            yield Violation("slurmsweep.snapshot.link", problem, hint)
        elif _is_behind_link(root, one, {}) or _matches(os.path.dirname(one), links, whole=True):
            problem = f"{os.path.join(root, one)} is below another link, which has it already"
            yield Violation("slurmsweep.snapshot.link", problem, f"take {one!r} out of link")


def leads_outside(root: str, name: str) -> bool:
    """Return whether a file below ``root`` is a link to something that is not below it."""
    path = os.path.join(root, name)
    if not os.path.islink(path):
        return False
    target = os.readlink(path)
    inside = os.path.relpath(os.path.join(os.path.dirname(path), target), root)
    return os.path.isabs(target) or inside.split("/")[0] == os.pardir


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def _notes(
    what: CodeCopy, unknown: Sequence[str], links: Sequence[str], ignored: Sequence[str], *, in_git: bool
) -> list[str]:
    """Return what is copied, and what is not, in lines for people. Of the files that are, git does not know some."""
    at = ", a repository without a commit" if in_git else ", no repository of git"
    if what.commit:
        at = f", commit {what.commit[:12]}" + (" and what has changed since" if what.changed else "")
    lines = [f"snapshot: trials run from a copy of {what.root}: {what.files} files, {size_text(what.size)}{at}"]
    if unknown and in_git:
        lines.append(f"snapshot: with files that git does not know: {_some(unknown)}")
    secret = [name for name in unknown if _matches(os.path.basename(name), _SECRETS)]
    if secret:
        remedy = "name it in .gitignore" if in_git else "leave it out: slurmsweep: {snapshot: {exclude: [...]}}"
        lines.append(f"snapshot: warning: what may be secret is copied, too: {_some(secret)}; {remedy}")
    if links:
        lines.append(f"snapshot: links to the originals: {_some(links)}")
    if ignored:
        lines.append(
            f"snapshot: not copied, because git ignores it: {_some(ignored)}. A trial that reads it by a relative path "
            "finds nothing: write slurmsweep: {snapshot: {link: [...]}}, or read below $SLURMSWEEP_WORKDIR"
        )
    return lines


def _imported_from_elsewhere(root: str, workdir: str) -> list[str]:
    """Return a warning where Python would take modules from the original folder all the same."""
    entries = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(one)]
    found = [f"PYTHONPATH ({one})" for one in entries if _is_below(one, root)]
    try:
        urls = json.loads(ask_interpreter(_ASK_EDITABLE, folder=workdir) or "[]")
    except ValueError:
        urls = []  # another program printed something, too
    folders = [str(url).removeprefix("file://") for url in urls]
    found += [f"a package installed in editable mode ({one})" for one in folders if _is_below(one, root)]
    remedy = "relative entries, such as PYTHONPATH=. or PYTHONPATH=src, come first and mean the copy"
    return [f"snapshot: warning: imports go to the original through {one}; {remedy}" for one in found]


def _is_below(path: str, root: str) -> bool:
    path, root = os.path.realpath(path), os.path.realpath(root)
    return path == root or path.startswith(os.path.join(root, ""))
