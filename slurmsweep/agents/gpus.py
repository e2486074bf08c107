"""Deal out GPUs to trials that run side by side, by the variables from which libraries learn which GPUs are theirs.

ROCm reads ``ROCR_VISIBLE_DEVICES`` first, and ``HIP_VISIBLE_DEVICES`` (else ``CUDA_VISIBLE_DEVICES``) counts within
what that leaves. So where the first is set the second one counts from 0: without it a HIP program would look for GPU 3
among one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Name GPUs by number or by UUID: of CUDA, ROCm and Level Zero. The last knows no UUIDs.
_CUDA, _ROCR, _ZE = "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"

#: Count within what ROCR_VISIBLE_DEVICES leaves: of HIP and of AMD's OpenCL.
_WITHIN = ("HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")

#: Slurm's own numbers of a job's GPUs on this node.
_OF_JOB = "SLURM_JOB_GPUS"

#: A list of GPUs. Others mean that there is none: nothing, -1, and Slurm's ``NoDevFiles``.
_LIST = re.compile(r"(?:[0-9]|GPU-|MIG-)[^,\s]*(?:,(?:[0-9]|GPU-|MIG-)[^,\s]*)*")


def share(gpus: Sequence[str], seat: int, seats: int) -> Sequence[str]:
    """Return the GPUs of a seat (0..), neighbours in the list: as many as other seats get, or one more.

    Where there are fewer GPUs than seats it is one, which several seats share.
    """
    first = seat * len(gpus) // seats
    return gpus[first : max(first + 1, (seat + 1) * len(gpus) // seats)]


def variables(gpus: Sequence[str]) -> dict[str, str]:
    """Return the variables by which a trial sees these GPUs of its machine and no others."""
    text = ",".join(gpus)
    named = {_CUDA: text, _ROCR: text}
    if all(gpu[0].isdigit() for gpu in gpus):
        named[_ZE] = text
    return named | _within(gpus)


def dealt(environ: Mapping[str, str], seat: int, seats: int) -> dict[str, str]:
    """Return the variables by which the trial of a seat (0..) sees its part of the GPUs of a job; none without GPUs.

    What Slurm set for the job is dealt out, each variable by itself; where it set none of them, the job's own numbers.
    """
    names = (_CUDA, _ROCR, _ZE, *(() if environ.get(_ROCR) else _WITHIN))
    given = {name: environ[name].split(",") for name in names if _LIST.fullmatch(environ.get(name, ""))}
    own = {name: share(gpus, seat, seats) for name, gpus in given.items()}
    if not own and _LIST.fullmatch(environ.get(_OF_JOB, "")):
        return variables(share(environ[_OF_JOB].split(","), seat, seats))
    return {name: ",".join(gpus) for name, gpus in own.items()} | (_within(own[_ROCR]) if _ROCR in own else {})


def _within(gpus: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(_WITHIN, ",".join(map(str, range(len(gpus)))))
