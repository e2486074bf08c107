"""What kind of filesystem a folder is on, and whether its kind and mount options suit a sweep.

Pure: mount tables come in as text. The claims of a sweep need one thing of a filesystem, that ``mkdir`` is exclusive;
the journal's lock keeps writers in order, and without it a filesystem must at least append whole records.
Sources: nfs(5), mount.lustre(8), sshfs(1), mount.cifs(8), proc_pid_mountinfo(5), the README of mountpoint-s3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Fitness(str, Enum):
    """How fit a folder or a property of it is."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"

    def __str__(self) -> str:
        """Return the bare word."""
        return self.value


@dataclass(frozen=True)
class Mount:
    """One mounted filesystem.

    Attributes:
        point: where it is mounted.
        kind: ``nfs4``, ``lustre``, ``ext4``, ``fuse.sshfs``, ...
        options: of the mount and of the filesystem, without values where they have none.
    """

    point: str
    kind: str
    options: frozenset[str]


@dataclass(frozen=True)
class Opinion:
    """A judgement of one property.

    Attributes:
        fitness: good, warn or bad.
        why: in words.
        advice: what to do; empty where nothing needs doing.
    """

    fitness: Fitness
    why: str
    advice: str = ""


LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs", "f2fs"})
_SHARED = frozenset(
    {"gpfs", "ceph", "beegfs", "fuse.glusterfs", "fuse.ceph-fuse", "wekafs", "panfs", "orangefs", "pvfs2"}
)

_TRUST = "trust what was tried below"
_ESCAPE = re.compile(r"\\([0-7]{3})")


def mount_of(path: str, table: str) -> Mount | None:
    """Return the mount that holds an absolute path, from the text of ``/proc/self/mountinfo``."""
    found = None
    for line in table.splitlines():
        mount = _parse(line)
        holds = mount and (path == mount.point or path.startswith(mount.point.rstrip("/") + "/"))
        if mount and holds and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def opinion(mount: Mount, *, cluster: bool) -> Opinion:
    """Judge a sweep on such a mount.

    Args:
        mount: that holds the sweeps.
        cluster: trials run on other machines than this one.
    """
    if "ro" in mount.options:
        return Opinion(Fitness.BAD, "it is mounted read-only", "choose another folder by WANDB_DIR")
    if mount.kind in LOCAL:
        return _local(mount, cluster=cluster)
    judge = _JUDGES.get(mount.kind)
    if judge:
        return judge(mount)
    if mount.kind in _SHARED:
        return Opinion(Fitness.GOOD, f"{mount.kind}: folders are exclusive and locks reach every node")
    return Opinion(Fitness.WARN, f"{mount.kind}: not known here", f"{_TRUST}, with --nodes 2 on a cluster")


def _local(mount: Mount, *, cluster: bool) -> Opinion:
    if not cluster:
        return Opinion(Fitness.GOOD, f"{mount.kind}, on this machine")
    if mount.kind == "overlay":
        return Opinion(Fitness.WARN, "overlay: inside a container", "bind-mount a folder that all nodes see")
    why = f"{mount.kind}: a disk of this machine, which compute nodes see only if it is exported to them"
    advice = "on Slurm the doctor tries it with --nodes 2; set WANDB_DIR to a shared folder if they do not"
    return Opinion(Fitness.WARN, why, advice)


def _nfs(mount: Mount) -> Opinion:
    local = {"nolock", "local_lock=all", "local_lock=flock"} & mount.options
    if not local:
        return Opinion(Fitness.GOOD, f"{mount.kind}: folders are exclusive, and locks reach the server")
    options = ", ".join(sorted(local))
    why = f"{mount.kind} with {options}: locks do not reach the server, and NFS does not append whole records"
    advice = "no trial is run twice, but records may be lost until `check --repair`; ask for a mount without it"
    return Opinion(Fitness.BAD, why, advice)


def _lustre(mount: Mount) -> Opinion:
    if "flock" in mount.options:
        return Opinion(Fitness.GOOD, "lustre with flock: folders are exclusive, and locks reach every node")
    if "localflock" in mount.options:
        why = "lustre with localflock: locks are per node; folders are exclusive and records whole all the same"
        return Opinion(Fitness.WARN, why, "ask for a mount with flock")
    return Opinion(
        Fitness.BAD, "lustre without flock: files cannot be locked", "ask for a mount with flock or localflock"
    )


def _bucket(mount: Mount) -> Opinion:
    why = f"{mount.kind.removeprefix('fuse.')}: a bucket of S3, without locks, appends, or a rename in one step"
    return Opinion(Fitness.BAD, why, "use EFS, FSx or S3 Files, or let W&B hold the sweep (docs/aws.md)")


def _cifs(mount: Mount) -> Opinion:
    if "nobrl" in mount.options:
        return Opinion(Fitness.BAD, "cifs with nobrl: locks do not reach the server", "mount it without nobrl")
    return Opinion(Fitness.WARN, "cifs: locks reach the server; caching depends on it", _TRUST)


_JUDGES: dict[str, Callable[[Mount], Opinion]] = {
    "nfs": _nfs,
    "nfs4": _nfs,
    "lustre": _lustre,
    "fuse.sshfs": lambda _: Opinion(
        Fitness.BAD,
        "sshfs: locks do not leave this machine, and its caches hide what others wrote",
        "log in to the cluster and use a folder of its own",
    ),
    **dict.fromkeys(("fuse.mountpoint-s3", "fuse.s3fs", "fuse.goofys", "fuse.rclone"), _bucket),
    "cifs": _cifs,
    "smb3": _cifs,
    "9p": lambda _: Opinion(Fitness.WARN, "9p: locks may not leave this machine", _TRUST),
}


def _parse(line: str) -> Mount | None:
    """Return the mount of a line of the table; None where it is no such line.

    ``36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`` is one.
    """
    fields, _, rest = line.partition(" - ")
    mounted, described = fields.split(" "), rest.split(" ")
    if len(mounted) < 6 or len(described) < 3:
        return None
    # Mountpoint for S3 names itself in the place of the device alone
    kind = f"fuse.{described[1]}" if described[:2] == ["fuse", "mountpoint-s3"] else described[0]
    point = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), mounted[4])
    return Mount(point, kind, frozenset(mounted[5].split(",")) | frozenset(described[2].split(",")))
