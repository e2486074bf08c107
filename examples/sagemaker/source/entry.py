"""The entry point of a training job: learn W&B's key by the name of its secret, and become the agent of a sweep.

SageMaker shows hyperparameters and the environment of a job to each user who may describe it: no key is in them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

#: The variable of the job that names a secret of Secrets Manager: its name or its ARN.
VARIABLE = "WANDB_SECRET"

#: Where `wandb.sagemaker_auth` writes keys before the source is packed.
FILE_OF_SECRETS = "secrets.env"


def secrets() -> dict[str, str]:
    """Return W&B's variables: of the secret that the job names, else of a file beside this one; none of neither."""
    name = os.environ.get(VARIABLE)
    if name:
        return of_text(from_secrets_manager(name))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), FILE_OF_SECRETS)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        pairs = [line.strip().split("=", 1) for line in file if "=" in line]
    return {key: value for key, value in pairs if value}


def from_secrets_manager(name: str) -> str:
    """Return the text of a secret; end this process with the reason where the job's role may not read it."""
    import boto3  # SageMaker's images have it
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return boto3.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"entry.py: the secret {name!r} that {VARIABLE} names cannot be read: {error}")


def of_text(text: str) -> dict[str, str]:
    """Return the variables of a secret: a JSON object of them, as the console makes it, or a bare API key."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"WANDB_API_KEY": text.strip()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sweep", required=True, help="entity/project/sweep, or a sweep's folder on a mounted channel")
    # the hyperparameters of a job come as arguments: others may be for other programs
    args, _ = parser.parse_known_args()
    for key, value in secrets().items():
        os.environ.setdefault(key, value)
    # without it wandb adds all of SageMaker's variables and hyperparameters to the config of each run
    os.environ["WANDB_SAGEMAKER_DISABLE"] = "true"
    command = [sys.executable, "-m", "slurmsweep", "agent", "--count", "1", args.sweep]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - the agent takes the place of this process


if __name__ == "__main__":
    main()
