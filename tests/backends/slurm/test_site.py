"""A cluster that keeps its nodes, partitions or accounts from users: nothing is bounded then, and nothing fails."""

from __future__ import annotations

import pytest

from slurmsweep.backends.base import Capacity
from slurmsweep.backends.slurm import cluster, commands, site
from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.control.round.retry_policy import Node, nodes_to_avoid
from slurmsweep.doctor.checks import judge_site

DENIED = "sinfo: slurm_load_node: Access/permission denied"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Slurm's programs, each of which answers as told; one that is not named is not there."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "slurm.conf"))  # which is not there
    cluster.asked_configuration.cache_clear()

    def are(**bodies: str) -> None:
        for name, body in bodies.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / name).chmod(0o755)

    yield are
    cluster.asked_configuration.cache_clear()


@pytest.mark.parametrize("sinfo", [f"echo '{DENIED}' >&2; exit 1", None, "while :; do :; done", "echo; exit 0", "kill -9 $$"])  # fmt: skip
def test_without_sinfo_nothing_is_bounded(programs, monkeypatch, sinfo):
    monkeypatch.setattr(commands, "_TIMEOUT", 0.3)
    programs(sbatch="")
    if sinfo:
        programs(sinfo=sinfo)

    assert SlurmBackend().capacity({"partition": "main", "signal": "B:USR1@90"}) == Capacity(None, None, 0, 90)


def test_with_sinfo_partitions_give_the_bounds(programs):
    programs(sinfo="printf 'n1|main*|1:00:00|16000\\nn2|main*|1:00:00|16000\\n'")

    assert SlurmBackend().capacity({}) == Capacity(60, 16000, 2, 60)


@pytest.mark.parametrize(
    ("nodes", "avoided"),
    [
        ({"n1": Node(failures=1, bad=1), **{f"n{n}": Node(good=1) for n in range(2, 6)}}, ("n1",)),
        ({"n1": Node(failures=1, bad=1), "n2": Node(good=1)}, ()),
    ],
)
def test_where_the_number_of_nodes_is_not_known_those_count_on_which_trials_ended(nodes, avoided):
    assert nodes_to_avoid(nodes, 0)[0] == avoided


CONFIG = "printf 'SLURM_VERSION = 24.11.5\\nMaxArraySize = 1001\\nMaxJobCount = 10000\\n'"


@pytest.mark.parametrize(
    ("sinfo", "why"),
    [(f"echo '{DENIED}' >&2; exit 1", f"sinfo: {DENIED}"), (None, "there is no sinfo on this machine")],
)
def test_the_doctor_says_what_is_kept_from_the_user(programs, sinfo, why):
    programs(sbatch="", squeue="", scancel="", scontrol=CONFIG, sacct="")
    if sinfo:
        programs(sinfo=sinfo)

    found = {one.subject: one for one in judge_site(site.look_around())}

    assert {name: one.fitness.value for name, one in found.items()} == {
        "slurm": "good", "accounting": "good", "limits": "good", "bounds": "warn"
    }  # fmt: skip
    assert found["bounds"].why == f"not known: {why}"


@pytest.mark.parametrize(
    ("sacct", "said"),
    [
        ("", "on"),
        ("echo 'Slurm accounting storage is disabled' >&2; exit 1", "Slurm accounting storage is disabled"),
        ("echo 'sacct: error: Access/permission denied' >&2; exit 1", "sacct: error: Access/permission denied"),
        (None, "not asked: there is no sacct on this machine"),
    ],
)
@pytest.mark.parametrize("sacctmgr", [None, "echo 'You are not running a supported accounting_storage plugin' >&2; exit 1"])  # fmt: skip
def test_the_doctor_needs_neither_accounting_nor_its_manager(programs, sacct, said, sacctmgr):
    programs(sbatch="", squeue="", scancel="", scontrol=CONFIG, sinfo="")
    if sacct is not None:
        programs(sacct=sacct)
    if sacctmgr:
        programs(sacctmgr=sacctmgr)

    seen = site.look_around()

    assert (seen.accounting, seen.submit_limit, seen.bounds) == (said, None, "")
