"""Options of jobs in AWS that are wrong: told with their place before anything is written or asked, and never a secret.

No test here has a network, credentials or a region.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurmsweep.backends.aws import options
from slurmsweep.control import defaults
from slurmsweep.control.creation.create import read_draft
from slurmsweep.errors import DefaultsFileError, SweepFileError, UsageError

SECRET = "5f2c-value-of-a-secret"
SWEEP = "program: train.py\nmethod: grid\nparameters: {a: {values: [1, 2]}}\n"
ENOUGH = "cluster: c, image: i, region: eu-west-1, subnets: subnet-1"
MANY_DIGITS = "9" * 5000


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Make the current folder one with a program, and no way to AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("print(1)\n")
    return tmp_path


def refusal_of(section: str) -> str:
    """Return what is wrong with a sweep file that ends with this section."""
    Path("s.yaml").write_text(f"{SWEEP}{section}\n")
    with pytest.raises(SweepFileError) as caught:
        read_draft("s.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("time", "0", "time '0' is no limit for a job"),
        ("time", "9" * 9, "is no limit for a job: leave it out for none, or write 1 to 14400000 minutes"),
        ("time", MANY_DIGITS, "is not a time; write minutes, 1:30:00 or 2-0"),
        ("time", "\uff11:30", "is not a time"),
        ("time", 1.5, "time '1.5' is not a time"),
        ("mem", f"{MANY_DIGITS}G", "is not a memory; write MiB, or 4G"),
        ("mem", "0.0001M", "is not a memory"),
        ("mem", "999999999999T", "is not a memory"),
        ("cpus-per-task", MANY_DIGITS, "is not a whole number, 1 to 10000"),
        ("cpus-per-task", "\uff12", "is not a whole number"),
        ("gpus", f"gpu:{MANY_DIGITS}", "is not a whole number, 0 to 64"),
        ("region", "京都", "is not a region of AWS, such as eu-west-1"),
        ("region", "http://elsewhere/", "is not a region of AWS"),
        ("cluster", "a@b", "is not the name of a cluster of ECS, or its ARN"),
        ("cluster", "x" * 300, "is not the name of a cluster"),
        ("image", "my image", "is not a name in AWS: those have no blanks"),
        ("queue", "京都", "is not a name in AWS"),
        ("image", True, "image 'True' is no value"),
        ("secret", "A=one,A=two", "secret names A twice"),
    ],
)
def test_a_value_that_no_job_can_have_is_refused_in_one_short_line(name, value, message):
    with pytest.raises(UsageError) as caught:
        options.merge((options.COMMAND_LINE, {name: value}))
    assert str(caught.value).startswith("the command line: ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    ("name", "value", "merged"),
    [
        ("time", "1:30:00", "1:30:00"),
        ("time", 90, "90"),
        ("time", "2-0", "2-0"),
        ("mem", "4.5G", "4.5G"),
        ("mem", 4096, "4096"),
        ("region", "us-gov-west-1", "us-gov-west-1"),
        (
            "cluster",
            "arn:aws:ecs:eu-west-1:123456789012:cluster/mine",
            "arn:aws:ecs:eu-west-1:123456789012:cluster/mine",
        ),
        ("queue", "https://sqs.eu-west-1.amazonaws.com/123456789012/s.fifo", None),
        ("image", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/me/train@sha256:0a1b", None),
        ("secret", "A=one,B=arn:aws:ssm:eu-west-1:123456789012:parameter/b", None),
    ],
)
def test_a_value_that_jobs_can_have_stays_as_it_is(name, value, merged):
    assert options.merge((options.COMMAND_LINE, {name: value})) == {name: merged or value}


@pytest.mark.parametrize("value", [False, "false", "False", "no", "off", "0", 0])
def test_spot_is_off_by_each_word_for_that(value):
    assert options.merge(("defaults", {"spot": True}), (options.COMMAND_LINE, {"spot": value})) == {}


@pytest.mark.parametrize("value", [True, "true", "yes", "on", "1", 1, ""])
def test_spot_is_on_by_each_word_for_that_and_by_its_name_alone(value):
    assert options.merge((options.COMMAND_LINE, {"spot": value})) == {"spot": True}


@pytest.mark.parametrize(
    ("asked", "gpus"), [("gpu", "1"), ("gpu:2", "2"), ("gpu:a100", "1"), ("gpu:a100:4", "4"), ("gpu:1g.5gb:3", "3")]
)
def test_gpus_are_counted_in_each_of_slurms_forms(asked, gpus):
    assert options.merge((options.COMMAND_LINE, {"gres": asked})) == {"gpus": gpus}


def test_spot_may_name_a_provider_of_machines():
    assert options.merge((options.COMMAND_LINE, {"spot": "my-provider"})) == {"spot": "my-provider"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("env", f"HF_TOKEN={SECRET}"),
        ("plain-env", f"HF_TOKEN={SECRET}"),
        ("env", f"HF_TOKEN={SECRET}\x07"),
        ("secret", SECRET),
        ("secret", f"WANDB_API_KEY={SECRET}\t"),
        ("secret", f"WANDB_API_KEY={SECRET}\x07"),
        ("secret", f"WANDB_API_KEY={SECRET} more"),
        ("secret", f"WANDB_API_KEY=wandb_v1_{SECRET}"),
    ],
)
def test_no_message_shows_what_stands_in_the_place_of_a_secrets_name(name, value):
    if value == f"WANDB_API_KEY={SECRET}\t":  # blanks at an end are taken off
        value = f"{value}\x07"
    with pytest.raises(UsageError) as caught:
        options.merge((options.COMMAND_LINE, {name: value}))
    assert SECRET not in str(caught.value)
    assert name in str(caught.value)


def test_a_key_of_wandb_is_refused_where_the_name_of_a_kept_one_belongs():
    with pytest.raises(UsageError, match="behind WANDB_API_KEY= stands a key itself") as caught:
        options.merge((options.SWEEP_FILE, {"secret": "WANDB_API_KEY=" + "a1" * 20}))
    assert "a1a1" not in str(caught.value)


def test_a_variable_is_either_passed_on_or_kept_as_a_secret():
    with pytest.raises(UsageError, match="secret: HF_HOME is a variable that env passes on, too"):
        options.merge((options.SWEEP_FILE, {"env": "HF_HOME"}), (options.COMMAND_LINE, {"secret": "HF_HOME=kept"}))


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("aws: []", "line 4, aws: must be a mapping of options of jobs in AWS"),
        ("aws: text", "line 4, aws: must be a mapping"),
        ("aws: {queu: q}", "line 4, aws.queu: 'queu' is not an option of jobs in AWS; did you mean 'queue'?"),
        ("aws:\n  mem: 4G\n  Region: eu-west-1", "line 6, aws.Region: 'Region' is not an option"),
        ("aws: {1: 2}", "line 4, aws.1: '1' is not an option of jobs in AWS"),
        ("aws:\n  subnets: [subnet-1, subnet-2]", "several stand in one text: a,b"),
        ("aws: {image: null}", "line 4, aws.image: must be one plain value"),
        ('aws: {image: "a\\tb"}', "line 4, aws.image: holds a control character, which no option has"),
        ("aws: {queue: a, queue: b}", "line 4, aws.queue: this key is there twice"),
        ("slurm:\n  time: 30\n  aws: {queue: a}", "line 6, slurm.aws: must be one plain value"),
        ("AWS: {queue: a}", "line 4, AWS: 'AWS' is not a key of a sweep file (did you mean 'aws'?)"),
        ("aws: {env: WANDB_API_KEY}", "line 4, aws.env: WANDB_API_KEY is a secret"),
        (f"aws: {{time: '{MANY_DIGITS}'}}", "line 4, aws.time: time '9999"),
    ],
)
def test_a_mistake_below_aws_is_told_with_file_line_and_key_before_there_is_a_sweep(project, section, place):
    said = refusal_of(section)
    assert said.startswith("s.yaml: 1 thing wrong in this sweep file\n")
    assert place in said
    assert not Path(".slurmsweep").exists()


def test_all_mistakes_below_aws_are_told_at_once_with_those_of_other_sections(project):
    said = refusal_of("aws: {queu: q, time: 2h, retries: 99}\nmetrik: {name: loss, goal: minimise}")
    assert [line.split(":")[0].strip(" -") for line in said.splitlines()[1:]] == [
        "line 4, aws.queu",
        "line 4, aws.time",
        "line 4, aws.retries",
        "line 5, metrik",
    ]


@pytest.mark.parametrize("section", ["", "aws:", "aws: null", "aws: {}", "aws: {time: 1:30:00}", "aws: {env: NOT_SET}"])
def test_a_section_that_asks_for_nothing_wrong_is_taken(project, section):
    Path("s.yaml").write_text(f"{SWEEP}{section}\n")
    wanted = {"aws: {time: 1:30:00}": {"time": "1:30:00"}, "aws: {env: NOT_SET}": {"env": "NOT_SET"}}
    assert read_draft("s.yaml").config.aws == wanted.get(section, {})


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("aws: {1: 2}", ["line 1, aws.1: 1 is not the name of an option (names are text)"]),
        ("slurm: {1: 2}", ["line 1, slurm.1: 1 is not the name of an option (names are text)"]),
        (f"aws: {{env: {{A: {SECRET}}}}}", ["line 1, aws.env: must be one plain value (such as mem: 4G)"]),
        ('aws: {queue: "a\\tb"}', ["line 1, aws.queue: holds a control character, which no option has"]),
        ("aws: {time: '0', spot: off}", ["line 1, aws.time: time '0' is no limit for a job: leave it out for none, or write 1 to 14400000 minutes"]),
    ],
)  # fmt: skip
def test_a_mistake_in_defaults_is_told_once_with_its_place(project, text, messages):
    Path(defaults.PROJECT_FILE).write_text(f"{text}\n")
    with pytest.raises(DefaultsFileError) as caught:
        defaults.read(str(project))
    assert [str(one) for one in caught.value.violations] == messages


def test_a_region_of_the_environment_that_is_none_is_refused_before_there_is_a_sweep(project, monkeypatch, slurmsweep):
    monkeypatch.setenv("AWS_REGION", "eu west")
    Path("s.yaml").write_text(f"{SWEEP}aws: {{cluster: c, image: i, subnets: s}}\n")
    said = slurmsweep("run", "s.yaml", "--backend", "ecs", "--no-wait")
    assert (said.returncode, said.stderr.splitlines()[-1]) == (
        2, "slurmsweep: 'eu west' is not a region of AWS: say --region eu-west-1, or set AWS_REGION"
    )  # fmt: skip
    assert not Path(".slurmsweep").exists()


@pytest.mark.parametrize("backend", ["batch", "ecs", "sagemaker", "sqs"])
def test_without_boto3_jobs_in_aws_are_refused_in_one_line(project, monkeypatch, slurmsweep, backend):
    Path("without").mkdir()
    for name in ("boto3", "botocore"):
        Path("without", f"{name}.py").write_text("raise ModuleNotFoundError('not installed')\n")
    monkeypatch.setenv("PYTHONPATH", str(project / "without"))
    Path("s.yaml").write_text(f"{SWEEP}aws: {{{ENOUGH}}}\n")
    said = slurmsweep("run", "s.yaml", "--backend", backend, "--no-wait")
    message = "slurmsweep: jobs in AWS need boto3 on the machine that submits them: `pip install 'boto3>=1.35'`"
    assert (said.returncode, said.stderr.splitlines()[-1]) == (2, message)
    assert not Path(".slurmsweep").exists()
    elsewhere = slurmsweep("run", "s.yaml", "--backend", "local", "--dry-run")
    assert elsewhere.returncode == 0, elsewhere.stderr


def test_a_template_of_endless_brackets_is_refused(project, slurmsweep):
    Path("s.yaml").write_text(f"{SWEEP}aws: {{{ENOUGH}}}\n")
    Path("deep.json").write_text("[" * 200_000)
    said = slurmsweep("run", "s.yaml", "--backend", "ecs", "--dry-run", "--template", "./deep.json")
    assert said.returncode == 2
    assert said.stderr.startswith("slurmsweep: job template deep.json: ")


def test_a_rehearsal_shows_no_value_of_a_variable(project, monkeypatch, slurmsweep):
    monkeypatch.setenv("MY_FLAG", SECRET)
    monkeypatch.setenv("MY_TOKEN", SECRET)
    Path("s.yaml").write_text(f"{SWEEP}aws: {{{ENOUGH}, env: MY_FLAG, plain-env: MY_TOKEN}}\n")
    for words in ((), ("--json",)):
        said = slurmsweep("run", "s.yaml", "--backend", "ecs", "--dry-run", *words)
        assert said.returncode == 0, said.stderr
        assert "<value of MY_TOKEN>" in said.stdout
        assert SECRET not in said.stdout + said.stderr
