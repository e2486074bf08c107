"""Start training jobs, each of which runs one trial of a sweep, by an estimator: `pip install 'sagemaker<3'`.

slurmsweep does the same without this SDK: `slurmsweep submit SWEEP --backend sagemaker`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

#: Where a channel of this name is mounted, and so where the sweep's folder has to be on your machine, too.
CHANNEL = "sweeps"


def arguments_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the estimator: a secret's name is in them, and no key."""
    given = {
        "entry_point": "entry.py",
        "source_dir": str(HERE / "source"),
        "dependencies": [str(HERE / "train.py")],
        "role": args.role,
        "image_uri": args.image,
        "instance_type": args.instance_type,
        "instance_count": 1,
        "hyperparameters": {"sweep": args.sweep},
        "environment": {"WANDB_SECRET": args.secret} if args.secret else {},
        "max_run": args.max_run,
        "base_job_name": "sweep",
        "debugger_hook_config": False,
        "disable_profiler": True,
        "code_location": args.s3,
        "output_path": args.s3,
        # one folder for all jobs of the sweep: train.py has one in it for each run
        "checkpoint_s3_uri": f"{args.s3}/checkpoints",
    }
    if args.spot:
        given |= {"use_spot_instances": True, "max_wait": 2 * args.max_run}
    if args.file_system:
        given |= {"subnets": args.subnets, "security_group_ids": args.security_groups}
    return given


def channels_of(args: argparse.Namespace) -> dict[str, Any] | None:
    """Return the channel with the sweep's folder; None where W&B holds the sweep."""
    if not args.file_system:
        return None
    from sagemaker.inputs import FileSystemInput

    name, kind, path = args.file_system.split(":", 2)
    return {CHANNEL: FileSystemInput(name, kind, path, file_system_access_mode="rw")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", help=f"entity/project/sweep, or /opt/ml/input/data/{CHANNEL}/.slurmsweep/sweep-ID")
    parser.add_argument("--count", type=int, default=1, help="jobs, of one trial each")
    parser.add_argument("--role", required=True, help="ARN of the role of the jobs; it may read the secret")
    parser.add_argument("--image", required=True, help="one with SageMaker's training toolkit, such as AWS's PyTorch")
    parser.add_argument("--s3", required=True, help="s3://BUCKET/FOLDER: for the source, checkpoints and models")
    parser.add_argument("--secret", help="NAME of the secret that has WANDB_API_KEY")
    parser.add_argument("--instance-type", default="ml.m5.large")
    parser.add_argument("--max-run", type=int, default=3600, help="seconds")
    parser.add_argument("--spot", action="store_true")
    parser.add_argument(
        "--file-system", metavar="ID:TYPE:PATH", help="such as fs-0123456789abcdef0:FSxLustre:/fsx/sweeps"
    )
    parser.add_argument("--subnets", nargs="*", help="of the file system")
    parser.add_argument("--security-groups", nargs="*")
    args = parser.parse_args()
    from sagemaker.estimator import Estimator

    for _ in range(args.count):
        estimator = Estimator(**arguments_of(args))
        estimator.fit(channels_of(args), wait=False)
        print(estimator.latest_training_job.name)


if __name__ == "__main__":
    main()
