"""The sizes of AWS Fargate."""

from __future__ import annotations

import pytest

from slurmsweep.backends.aws.fargate import SIZES, Size, fitting, next_size


@pytest.mark.parametrize(
    ("cpu", "mib", "fits"),
    [
        (256, 512, 512),
        (1024, 2048, 2048),
        (1024, 2049, 3072),
        (1024, 8192, 8192),
        (4096, 30720, 30720),
        (8192, 17000, 20480),
        (16384, 122880, 122880),
        (1024, 1024, None),
        (1024, 8193, None),
        (4096, 4096, None),
        (3072, 8192, None),
        (32768, 65536, None),
    ],
)
def test_memory_is_raised_to_the_next_step_and_never_from_below_the_least_of_so_many_cpus(cpu, mib, fits):
    assert fitting(Size(cpu, mib)) == (fits and Size(cpu, fits))


@pytest.mark.parametrize(
    ("cpu", "mib", "words"),
    [
        (1024, 1024, "cpus-per-task 1 and mem 2G"),
        (1024, 16384, "cpus-per-task 2 and mem 16G"),
        (3072, 8192, "cpus-per-task 4 and mem 8G"),
        (16384, 122881, None),
        (32768, 8192, None),
    ],
)
def test_the_next_size_has_no_less_of_either(cpu, mib, words):
    found = next_size(Size(cpu, mib))

    assert (str(found) if found else None) == words


def test_each_size_fits_itself():
    for cpu, sizes in SIZES.items():
        assert [fitting(Size(cpu, mib)) for mib in sizes] == [Size(cpu, mib) for mib in sizes]
