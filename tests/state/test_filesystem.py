"""Mount tables to opinions. The lines are real ones, with names changed, or made after the manual pages."""

from __future__ import annotations

import pytest

from slurmsweep.state.filesystem import Fitness, Mount, mount_of, opinion

TABLE = r"""22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard,errors=remount-ro
91 28 0:45 / /home rw,relatime shared:40 - nfs4 fs1:/home rw,vers=4.2,hard,proto=tcp,local_lock=none,addr=10.0.0.1
92 28 0:46 / /scratch rw,relatime shared:41 - lustre 10.0.0.2@o2ib:/scratch rw,flock,lazystatfs
93 28 0:47 / /scratch/with\040space ro,relatime shared:42 - nfs fs1:/old rw,vers=3,nolock
94 28 0:48 / /mnt/laptop rw - fuse.sshfs me@host:/ rw,user_id=0
95 28 0:49 / /mnt/bucket rw - fuse mountpoint-s3 rw,user_id=0
broken line
"""


@pytest.mark.parametrize(
    ("path", "point", "kind"),
    [
        ("/home/me/sweeps", "/home", "nfs4"),
        ("/homes/me", "/", "ext4"),
        ("/scratch", "/scratch", "lustre"),
        ("/scratch/with space/x", "/scratch/with space", "nfs"),
        ("/mnt/laptop/x", "/mnt/laptop", "fuse.sshfs"),
        ("/mnt/bucket/x", "/mnt/bucket", "fuse.mountpoint-s3"),
    ],
)
def test_the_mount_that_holds_a_path(path, point, kind):
    mount = mount_of(path, TABLE)

    assert (mount.point, mount.kind) == (point, kind)


def test_no_table_no_mount():
    assert mount_of("/x", "") is None


@pytest.mark.parametrize(
    ("kind", "options", "cluster", "fitness", "word"),
    [
        ("nfs4", "rw,local_lock=none", True, Fitness.GOOD, "reach the server"),
        ("nfs", "rw,nolock", True, Fitness.BAD, "nolock"),
        ("nfs4", "rw,local_lock=flock", True, Fitness.BAD, "local_lock=flock"),
        ("nfs", "rw,local_lock=posix", True, Fitness.GOOD, "reach"),
        ("lustre", "rw,flock", True, Fitness.GOOD, "with flock"),
        ("lustre", "rw,localflock", True, Fitness.WARN, "per node"),
        ("lustre", "rw", True, Fitness.BAD, "cannot be locked"),
        ("fuse.sshfs", "rw", True, Fitness.BAD, "sshfs"),
        ("fuse.mountpoint-s3", "rw", True, Fitness.BAD, "mountpoint-s3: a bucket of S3"),
        ("fuse.s3fs", "rw", False, Fitness.BAD, "s3fs: a bucket of S3"),
        ("cifs", "rw,nobrl", True, Fitness.BAD, "nobrl"),
        ("cifs", "rw", True, Fitness.WARN, "cifs"),
        ("9p", "rw", True, Fitness.WARN, "9p"),
        ("gpfs", "rw", True, Fitness.GOOD, "gpfs"),
        ("fuse.glusterfs", "rw", True, Fitness.GOOD, "glusterfs"),
        ("ext4", "rw", False, Fitness.GOOD, "this machine"),
        ("ext4", "rw", True, Fitness.WARN, "disk of this machine"),
        ("overlay", "rw", True, Fitness.WARN, "container"),
        ("fuse.whatever", "rw", True, Fitness.WARN, "not known"),
        ("nfs4", "ro", True, Fitness.BAD, "read-only"),
    ],
)
def test_what_is_thought_of_a_mount(kind, options, cluster, fitness, word):
    said = opinion(Mount("/x", kind, frozenset(options.split(","))), cluster=cluster)

    assert (said.fitness, word in said.why) == (fitness, True), said.why
    assert bool(said.advice) == (fitness is not Fitness.GOOD)
