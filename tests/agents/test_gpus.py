"""The parts of a job's GPUs that its trials see: by the variables that Slurm set, and in the way libraries read them."""

from __future__ import annotations

import pytest

from slurmsweep.agents.gpus import dealt, share, variables

EIGHT = ",".join(map(str, range(8)))


def parts(environ, name, seats) -> list[str | None]:
    return [dealt(environ, seat, seats).get(name) for seat in range(seats)]


def test_every_gpu_is_dealt_once_and_no_seat_has_two_more_than_another():
    for gpus in range(1, 20):
        for seats in range(1, gpus + 1):
            own = [share([str(n) for n in range(gpus)], seat, seats) for seat in range(seats)]
            assert [gpu for part in own for gpu in part] == [str(n) for n in range(gpus)]
            assert max(map(len, own)) - min(map(len, own)) <= 1


def test_seats_share_where_there_are_fewer_gpus_each_as_evenly_as_can_be():
    assert parts({"CUDA_VISIBLE_DEVICES": "4,5"}, "CUDA_VISIBLE_DEVICES", 4) == ["4", "4", "5", "5"]
    assert parts({"CUDA_VISIBLE_DEVICES": "4"}, "CUDA_VISIBLE_DEVICES", 3) == ["4"] * 3


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (EIGHT, ["0,1", "2,3", "4,5", "6,7"]),
        ("GPU-8f1c-a,GPU-77aa-b,GPU-1-c,GPU-2-d", ["GPU-8f1c-a", "GPU-77aa-b", "GPU-1-c", "GPU-2-d"]),
        ("MIG-GPU-8f/1/0,MIG-GPU-8f/2/0", ["MIG-GPU-8f/1/0"] * 2 + ["MIG-GPU-8f/2/0"] * 2),
    ],
)
def test_numbers_uuids_and_mig_parts_are_dealt_as_slurm_names_them(listed, expected):
    assert parts({"CUDA_VISIBLE_DEVICES": listed}, "CUDA_VISIBLE_DEVICES", 4) == expected


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles", "void"])
def test_nothing_is_dealt_where_there_is_no_gpu(value):
    assert dealt({"CUDA_VISIBLE_DEVICES": value}, 0, 2) == {}


def test_hip_counts_within_what_rocr_leaves():
    environ = {"CUDA_VISIBLE_DEVICES": "2,3", "ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "0,1"}
    own = dealt(environ, 1, 2)

    assert (own["CUDA_VISIBLE_DEVICES"], own["ROCR_VISIBLE_DEVICES"], own["HIP_VISIBLE_DEVICES"]) == ("3", "3", "0")


def test_hip_alone_is_dealt_like_any_list():
    assert dealt({"HIP_VISIBLE_DEVICES": "2,3"}, 1, 2) == {"HIP_VISIBLE_DEVICES": "3"}


def test_slurms_own_numbers_count_where_it_set_no_variable_of_a_library():
    assert dealt({"SLURM_JOB_GPUS": "4,5"}, 1, 2) == variables(["5"])


def test_level_zero_gets_no_uuids():
    assert variables(["0", "1"])["ZE_AFFINITY_MASK"] == "0,1"
    assert "ZE_AFFINITY_MASK" not in variables(["GPU-8f"])
