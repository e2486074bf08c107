"""Where no newer Slurm can be had, scripts/newer-slurm says why; what it does where one can be is tests/cluster."""

from __future__ import annotations

import fcntl
import os
import subprocess

import pytest


def test_without_root_the_reason_is_said(repository, tmp_path):
    user = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    script = (repository / "scripts" / "newer-slurm").read_text()

    done = subprocess.run(
        ["bash", "-s", "trixie", "true"],
        check=False,
        input=script,
        cwd="/",
        env=environ,
        capture_output=True,
        text=True,
        **user,
    )

    assert (done.returncode, done.stdout) == (
        77,
        "no Slurm of Debian's trixie: making and entering its root needs root\n",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="roots are looked for by root alone")
def test_a_suite_that_cannot_be_made_leaves_no_root(repository, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apt-get").write_text("#!/bin/sh\necho 'E: no network'; exit 100\n")
    (programs / "apt-get").chmod(0o755)
    environ = {"PATH": f"{programs}:{os.environ['PATH']}", "SLURMSWEEP_SLURM_ROOTS": str(tmp_path / "roots")}

    done = subprocess.run(
        [repository / "scripts" / "newer-slurm", "trixie", "true"],
        check=False,
        env=environ,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 77
    assert done.stdout.splitlines()[-1].endswith("E: no network") or "namespaces are not allowed here" in done.stdout
    assert not (tmp_path / "roots" / "slurm-trixie").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="roots are looked for by root alone")
def test_a_run_that_makes_the_root_is_waited_for_as_long_as_was_said(repository, tmp_path):
    (tmp_path / "slurm-trixie.lock").touch()
    told = {"SLURMSWEEP_SLURM_ROOTS": str(tmp_path), "SLURMSWEEP_SLURM_SECONDS": "1"}
    script = [repository / "scripts" / "newer-slurm", "trixie", "true"]

    with open(tmp_path / "slurm-trixie.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(script, check=False, env=os.environ | told, capture_output=True, text=True)

    assert done.returncode == 77
    assert done.stdout in (
        "no Slurm of Debian's trixie: another run makes it, for more than 1 seconds\n",
        "no Slurm of Debian's trixie: namespaces are not allowed here, or no mounts in them\n",
    )
    assert sorted(os.listdir(tmp_path)) == ["slurm-trixie.lock"]
