"""Templates, resources and the script that is handed to sbatch."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess

import pytest
from submitit.slurm import slurm as submitit_slurm

from slurmsweep.backends.base import JobRequest, JobSource
from slurmsweep.backends.slurm.executor import render, submit
from slurmsweep.backends.slurm.limits import parse_max_array_size, split
from slurmsweep.backends.slurm.refusals import explain
from slurmsweep.backends.slurm.resources import merge
from slurmsweep.backends.slurm.template import builtin_templates, load_template
from slurmsweep.errors import (
    SchedulerUnavailableError,
    StateUnwritableError,
    SubmissionRefusedError,
    SubmissionUnknownError,
    UsageError,
)

PLACES = ("the job template", "slurm: in the sweep file", "the command line")


def asked_for(folder, tasks=4, width=None, body="true", workdir=None, jobs=None, **options) -> JobRequest:
    source = JobSource("slurmsweep-x", str(folder), str(jobs or folder), str(workdir or folder))
    return JobRequest("slurmsweep-x", tasks, tasks, None, width, options, "array", body, source)


def headers(script) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]


def test_the_script_is_an_array_with_our_names_and_no_srun(tmp_path):
    script = render(asked_for(tmp_path, tasks=24, width=8, mem="4G", requeue=True))

    assert headers(script) == [
        "--array=0-23%8", f"--chdir={tmp_path}", "--job-name=slurmsweep-x", "--mem=4G", "--nodes=1", "--open-mode=append",
        f"--output={tmp_path}/%A_%a.out", "--requeue", "--signal=B:USR1@60", "--time=60",
    ]  # fmt: skip
    assert "srun" not in script
    assert "wckey" not in script
    assert "pkl" not in script


def test_one_task_is_an_array_too(tmp_path):
    assert "--array=0-0" in headers(render(asked_for(tmp_path, tasks=1)))


def test_the_body_finds_the_sweep_and_the_warning(tmp_path):
    folder = tmp_path / "it's a $(folder)"
    body = 'echo "$1" "$SLURMSWEEP_WARNING_SECONDS"'
    script = render(asked_for(folder, 1, body=body, jobs=tmp_path, signal="B:USR1@120"))

    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == f"{folder} 120\n"


def test_a_percent_sign_in_the_folder_is_no_pattern(tmp_path):
    script = render(asked_for("/s", 1, jobs="/a%b/jobs"))

    assert "--output=/a%%b/jobs/%A_%a.out" in headers(script)


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\x00b", "a\x1bb", "a\u2028b"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_control_character_is_refused_wherever_it_comes_from(text, place):
    options = [{}, {}, {}]
    options[place] = {"comment": text}

    with pytest.raises(UsageError, match="comment holds a control character"):
        merge(*zip(PLACES, options, strict=True))


def test_a_control_character_in_a_name_is_refused():
    with pytest.raises(UsageError, match="is not an option of sbatch"):
        merge(("x", {"comment=x\n#SBATCH --y": "1"}))


def test_the_command_line_wins_over_the_sweep_file_over_the_template():
    template, sweep_file = (
        {"time": "60", "mem": "1G", "requeue": True},
        {"mem": "2G", "cpus_per_task": 4, "requeue": False},
    )

    assert merge(*zip(PLACES, (template, sweep_file, {"time": "5"}), strict=True)) == {
        "time": "5",
        "mem": "2G",
        "cpus-per-task": "4",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partiton": "x"}, "did you mean partition"),
        ({"array": "0-3"}, "use --count and --width"),
        ({"J": "x"}, "unique token"),
        ({"time": "soon"}, "minutes, 1:30:00 or 2-0"),
    ],
)
def test_wrong_options_are_explained(options, words):
    with pytest.raises(UsageError, match=re.escape(words)):
        merge(("the command line", options))


@pytest.mark.parametrize("value", ["30", "30:00", "1:30:00", "2-0", "2-12:30", "1-00:00:00", "UNLIMITED"])
def test_slurms_forms_of_time_are_taken(value):
    assert merge(("the command line", {"time": value})) == {"time": value}


def test_the_plain_template_is_read():
    template = load_template("array")

    assert template.options == {
        "time": "60", "cpus-per-task": "1", "signal": "B:USR1@60", "requeue": True, "open-mode": "append",
    }  # fmt: skip
    assert template.body.endswith('-m slurmsweep agent --count 1 "$1"')
    assert "array" in builtin_templates()


def test_short_and_spaced_options_of_a_template_are_read(tmp_path):
    file = tmp_path / "mine.sbatch"
    file.write_text(
        "#!/bin/bash\n#SBATCH -c4 -p gpu\n#SBATCH --mem 8G --comment='a b' # why\n#SBATCH -J mine\nexec slurmsweep agent $1\n"
    )

    assert load_template(str(file)).options == {"cpus-per-task": "4", "partition": "gpu", "mem": "8G", "comment": "a b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo slurmsweep\n", "first line must name the shell"),
        ("#!/bin/bash\r\nslurmsweep agent\r\n", "dos2unix"),
        ("#!/bin/bash\nmodule load x\n#SBATCH --mem=1G\nslurmsweep agent\n", "line 3: Slurm ignores"),
        ("#!/bin/bash\npython train.py\n", "never runs the agent"),
        ("#!/bin/bash\n#SBATCH --comment='a\nslurmsweep agent\n", "No closing quotation"),
        ("#!/bin/bash\n# SBATCH --mem=1G\nexec slurmsweep agent $1\n", "line 2: Slurm takes '# SBATCH' for a comment"),
        ("#!/bin/bash\n\n#SBTACH -c4\nexec slurmsweep agent $1\n", "line 3: Slurm takes '#SBTACH' for a comment"),
        ("#!/bin/bash\n#sbatch --gres=gpu:1\nexec slurmsweep agent $1\n", "line 2: Slurm takes '#sbatch'"),
        ("#!/bin/bash\n#BATCH --mem=1G\nexec slurmsweep agent $1\n", "line 2: Slurm takes '#BATCH'"),
        ('#!/bin/bash\n[ -z "$1" ] && exit 2\nexec slurmsweep agent abcd1234\n', 'line 3: "\\$1", the sweep, is never'),
        ("#!/bin/bash\nrun_slurmsweep\n", '"\\$1", the sweep, is never used'),
        ('#!/bin/bash\n#SBATCH --signal=B:USR1@90\ntrue\nslurmsweep agent "$1"\n', "line 4: --signal=B:USR1@90 tells"),
        ("#!/bin/bash\npython3 -m \\\n  slurmsweep agent $1\n", "line 2: --signal=B:USR1@60 tells the shell alone"),
    ],
)
def test_a_template_with_a_mistake_is_explained(tmp_path, text, words):
    (tmp_path / "bad.sbatch").write_bytes(text.encode())

    with pytest.raises(UsageError, match=words):
        load_template(str(tmp_path / "bad.sbatch"))


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/bash\n##SBATCH --mem=1G\nexec slurmsweep agent $1\n",
        "#!/bin/bash\n# sbatch --array=0-3 mine.sbatch SWEEP\n# BATCHES --- of trials\nexec slurmsweep agent $1\n",
        '#!/bin/bash\n[ -n "$1" ] && exec slurmsweep agent --count 2 "$@"\n',
        "#!/bin/bash\nif true; then\n  exec python3 -m slurmsweep \\\n    agent ${1}\nfi\n",
        "#!/bin/bash\n#SBATCH --signal=USR1@60\nslurmsweep agent $1\n",
        "#!/bin/bash\ntrap 'kill -USR1 $pid' USR1\nslurmsweep agent $1 & pid=$!\nwait\nwait\n",
        "#!/bin/bash\nsweep=$1\necho 'slurmsweep agent begins'\nexec slurmsweep agent $sweep\n",
    ],
)
def test_what_only_looks_like_a_mistake_is_taken(tmp_path, text):
    (tmp_path / "fine.sbatch").write_text(text)

    assert load_template(str(tmp_path / "fine.sbatch")).text == text


@pytest.mark.parametrize("name", builtin_templates())
def test_every_template_is_described_and_works_by_hand(name, repository):
    template = load_template(name)

    assert len(template.description) > 20
    assert "sbatch --array=" in template.text
    assert f"job_templates/{name}.sbatch SWEEP" in template.text
    assert f"slurmsweep submit SWEEP --template {name}" in template.text
    assert subprocess.run(["bash", "-n", template.path], check=False).returncode == 0
    without = subprocess.run(["bash", template.path], capture_output=True, text=True, check=False)
    assert (without.returncode, "usage: sbatch" in without.stderr) == (2, True)


def test_templates_are_listed_checked_and_printed(slurmsweep, tmp_path, repository):
    listed = json.loads(slurmsweep("templates", "--json").stdout)
    text = (repository / "job_templates" / "gpu.sbatch").read_text()
    shown = slurmsweep("templates", "gpu")

    of_aws = ["batch.json", "ecs.json", "sagemaker.json", "ec2-user-data.yaml", "slurmsweep-agent.service"]
    assert [row["name"] for row in listed] == [*builtin_templates(), *of_aws]
    for name in of_aws:
        assert slurmsweep("templates", name).stdout == (repository / "job_templates" / name).read_text()
    assert slurmsweep("templates", "batch").stdout == slurmsweep("templates", "batch.json").stdout
    assert listed[builtin_templates().index("array")]["description"] == "One trial a job: the plain template"
    assert "One trial a job: the plain template\n" in slurmsweep("templates").stdout
    assert (shown.returncode, shown.stdout) == (0, text)
    assert json.loads(slurmsweep("templates", "gpu", "--json").stdout)["options"]["gres"] == "gpu:1"
    (tmp_path / "bad.sbatch").write_text("#!/bin/bash\n# SBATCH --mem=1G\nexec slurmsweep agent $1\n")
    refused = slurmsweep("templates", "./bad.sbatch")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "bad.sbatch, line 2: Slurm takes '# SBATCH' for a comment" in refused.stderr


def planned(slurmsweep, *options, **environ) -> dict:
    words = ("--backend", "slurm", "--template", "packed", "--json", "--limit", "1")
    done = slurmsweep("plan", "sweep.yaml", *words, *options, **environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_packed_template_needs_as_many_jobs_as_its_trials_fill(slurmsweep, write_sweep, monkeypatch, tmp_path):
    write_sweep("pass", "  x: {min: 1, max: 9}")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin/nowhere")  # a plan without Slurm

    four, eight = planned(slurmsweep), planned(slurmsweep, SLURMSWEEP_AGENTS="8")
    wrong = slurmsweep("plan", "sweep.yaml", "--backend", "slurm", "--template", "packed", SLURMSWEEP_AGENTS="many")

    assert (four["forecast"]["arrays"], four["forecast"]["trials"], four["forecast"]["core_hours"]) == ([3], 9, 12.0)
    assert "--array=0-2" in headers(four["sbatch"])
    assert "export SLURMSWEEP_AGENTS=4" in four["sbatch"]
    assert "--array=0-1" in headers(eight["sbatch"])
    assert (wrong.returncode, "SLURMSWEEP_AGENTS=many: write how many" in wrong.stderr) == (2, True)


def test_an_unknown_template_lists_what_there_is():
    with pytest.raises(UsageError, match=r"built in are .*array"):
        load_template("gpuu")


def test_no_controller_and_no_answer_are_no_refusals():
    unreachable = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    hung = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"

    assert isinstance(explain(unreachable), SchedulerUnavailableError)
    assert isinstance(explain(hung), SubmissionUnknownError)


def test_without_sbatch_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SchedulerUnavailableError, match="--backend local"):
        submit(asked_for(tmp_path))


@pytest.fixture
def fake_sbatch(tmp_path, monkeypatch):
    """Return an sbatch that keeps its environment and script, for what the real one would not show."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(
        f'#!/bin/sh\nenv > {tmp_path}/env\ncp "$1" {tmp_path}/script\necho "Submitted batch job 77"\n'
    )
    (programs / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


def test_submitting_leaves_one_readable_script_and_nothing_else(fake_sbatch, tmp_path):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    asked = asked_for(tmp_path, 2, jobs=jobs)

    assert submit(asked) == "77"

    [left] = list(jobs.iterdir())
    assert left.name == "77_submission.sh"
    assert left.read_text() == (tmp_path / "script").read_text() == render(asked)


def test_somebody_elses_submission_at_the_same_time_is_left_alone(fake_sbatch, tmp_path):
    other = tmp_path / ".submission_file_0123.sh"
    other.write_text("being handed over by another process")

    submit(asked_for(tmp_path))

    assert other.exists()


def test_a_refused_submission_leaves_nothing_behind(fake_sbatch, tmp_path):
    (tmp_path / "bin" / "sbatch").write_text(
        "#!/bin/sh\necho 'sbatch: error: Invalid --time specification' >&2\nexit 255\n"
    )
    jobs = tmp_path / "jobs"
    jobs.mkdir()

    with pytest.raises(SubmissionRefusedError, match="--time"):
        submit(asked_for(tmp_path, 2, jobs=jobs))

    assert list(jobs.iterdir()) == []


def test_a_missing_jobs_folder_is_a_clear_error(fake_sbatch, tmp_path):
    asked = asked_for(tmp_path, 2, jobs=tmp_path / "file" / "jobs")
    (tmp_path / "file").write_text("")

    with pytest.raises(StateUnwritableError, match="Not a directory"):
        submit(asked)


def test_a_surrounding_jobs_variables_do_not_reach_sbatch(fake_sbatch, tmp_path, monkeypatch):
    for name, value in {
        "SLURM_JOB_ID": "1",
        "SLURM_MEM_PER_CPU": "9",
        "SLURM_CLUSTERS": "other",
        "SLURM_CONF": "/c",
        "SLURM_CONF_SERVER": "controller:6817",
        "SLURM_JWT": "token",
    }.items():
        monkeypatch.setenv(name, value)

    submit(asked_for(tmp_path))

    seen = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"} <= seen
    assert not {"SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SLURM_CLUSTERS"} & seen


def test_what_we_use_of_submitit_is_still_there():
    assert list(inspect.signature(submitit_slurm.SlurmExecutor._submit_command).parameters) == ["self", "command"]
    assert list(inspect.signature(submitit_slurm.SlurmExecutor._make_submission_command).parameters) == [
        "self",
        "submission_file_path",
    ]
    assert list(inspect.signature(submitit_slurm.SlurmExecutor._make_submission_file_text).parameters) == [
        "self",
        "command",
        "uid",
    ]
    assert {"command", "folder", "job_name", "wckey", "stderr_to_stdout", "additional_parameters", "use_srun"} <= set(
        inspect.signature(submitit_slurm._make_sbatch_string).parameters
    )


def test_arrays_are_split_under_the_limit():
    assert split(5000, 2001) == [2001, 2001, 998]
    assert split(2001, 2001) == [2001]
    assert split(1, 2001) == [1]
    assert parse_max_array_size("ClusterName=lab\n maxarraysize=501 # ours\n#MaxArraySize=7\n") == 501
    assert parse_max_array_size("MaxArraySize            = 10001\n") == 10001
    assert parse_max_array_size("nothing\n") == 1001


@pytest.mark.parametrize(
    ("template", "now", "expected"),
    [
        ({"requeue": True}, {"no-requeue": ""}, {"no-requeue": True}),
        ({"mem-per-cpu": "1G"}, {"mem": "4G"}, {"mem": "4G"}),
        ({"mem": "4G", "time": "5"}, {"mem-per-gpu": "8G"}, {"time": "5", "mem-per-gpu": "8G"}),
        ({"mem": "4G"}, {"time": "5"}, {"mem": "4G", "time": "5"}),
    ],
)
def test_an_option_is_meant_instead_of_its_opposite_in_an_earlier_place(template, now, expected):
    assert merge(("the job template", template), ("the command line", now)) == expected
