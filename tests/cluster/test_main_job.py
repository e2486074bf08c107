"""The main job on a real Slurm: submit, run, crash, run again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from cluster.waiting import wait_until
from documented import ROOT, commands

pytestmark = pytest.mark.cluster

SCRIPT = "import os, sys, time\nopen('ran', 'a').write(sys.argv[1] + '\\n')\n"


def submitted(done) -> list[str]:
    assert done.returncode == 0, done.stderr
    words = [line.split() for line in done.stderr.splitlines() if "submitted job" in line]
    return [line[line.index("job") + 1].rstrip(":") for line in words]


def sacct_states(slurm, job) -> Counter:
    return Counter(slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", "State").split())


def counts(on_cluster, sweep) -> dict:
    done = on_cluster("status", sweep, "--json")
    assert done.returncode == 0, done.stderr
    return {state: n for state, n in json.loads(done.stdout)["counts"].items() if n}


def test_a_24_point_digits_grid_is_one_sbatch_call_and_24_completed_tasks(cluster, on_cluster, slurm, tmp_path):
    page = ROOT / "examples" / "digits" / "README.md"
    shutil.copytree(page.parent, tmp_path / "examples" / "digits")
    calls = tmp_path / "calls"
    counting = tmp_path / "bin"
    counting.mkdir()
    sbatch = shutil.which("sbatch")
    (counting / "sbatch").write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {sbatch} "$@"\n')
    (counting / "sbatch").chmod(0o755)
    path = f"{counting}:{os.environ['PATH']}"

    shown = next(command.text for command in commands(page) if "--backend" not in command.text)
    done = on_cluster(*shown.split()[1:], PATH=path)

    [job] = submitted(done)
    assert len(calls.read_text().splitlines()) == 1
    sweep = next((tmp_path / "wandb").iterdir()).name.removeprefix("sweep-")
    assert counts(on_cluster, sweep) == {"finished": 24}
    assert wait_until(lambda: sacct_states(slurm, job)["COMPLETED"] == 24)
    trials = json.loads(on_cluster("trials", sweep, "--json").stdout)
    assert {trial["attempt"] for trial in trials} == {1}
    assert sorted(int(trial["job"].split("_")[1]) for trial in trials) == list(range(24))
    assert on_cluster("check", sweep).returncode == 0
    left = [name for name in os.listdir(tmp_path / "wandb" / f"sweep-{sweep}" / "jobs") if name.endswith(".out")]
    assert left == []


def test_the_template_works_by_hand(cluster, on_cluster, slurm, write_sweep, repository, tmp_path):
    sweep = on_cluster("create", str(write_sweep(SCRIPT, "  x: {values: [1, 2, 3, 4]}"))).stdout.strip()
    folder = tmp_path / "wandb" / f"sweep-{sweep}"
    template = repository / "job_templates" / "array.sbatch"
    environ = os.environ | cluster.environ | {"SLURMSWEEP_PYTHON": sys.executable}

    command = ["sbatch", "--parsable", "--wait", "--array=0-3%2", str(template), str(folder)]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert counts(on_cluster, sweep) == {"finished": 4}
    assert sorted((tmp_path / "ran").read_text().split()) == ["--x=1", "--x=2", "--x=3", "--x=4"]
    assert list(tmp_path.glob("slurm-*.out")) == []


def test_two_submits_at_once_that_ask_for_too_much_run_every_point_once(
    cluster, on_cluster, slurm, write_sweep, tmp_path
):
    file = write_sweep(SCRIPT, "  x: {min: 1, max: 12}")
    sweep = on_cluster("create", str(file)).stdout.strip()
    command = [sys.executable, "-m", "slurmsweep", "submit", sweep, "--count", "9", "--time", "5"]
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=os.environ | cluster.environ, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said

    jobs = [line.split()[3].rstrip(":") for text in said for line in text.splitlines() if "submitted job" in line]
    wait_until(lambda: not slurm("squeue", "-h", "-j", ",".join(jobs), "-t", "PD,R,CG"))

    def ended() -> bool:
        # the slower of the two asks for no more jobs than trials are open by then, and cancels what waits in vain
        states = sum((sacct_states(slurm, job) for job in jobs), Counter())
        return states.keys() <= {"COMPLETED", "CANCELLED", "by", "0"} and 12 <= states["COMPLETED"] <= 18

    wait_until(ended)

    assert sorted((tmp_path / "ran").read_text().split()) == sorted(f"--x={n}" for n in range(1, 13))
    assert counts(on_cluster, sweep) == {"finished": 12}
    assert on_cluster("check", sweep).returncode == 0


def test_a_killed_agent_and_child_are_seen_at_once_and_run_again(cluster, on_cluster, slurm, write_sweep, tmp_path):
    file = write_sweep(SCRIPT + "while not os.path.exists('fast'): time.sleep(0.1)", "  x: {values: [1, 2]}")
    sweep = on_cluster("create", str(file)).stdout.strip()
    [job] = submitted(on_cluster("submit", sweep, "--time", "5"))
    wait_until(
        lambda: counts(on_cluster, sweep).get("running") == 2 and len((tmp_path / "ran").read_text().split()) == 2
    )
    [owner_file] = (tmp_path / "wandb" / f"sweep-{sweep}").glob("trials/0/0/1/owner")
    agent = json.loads(owner_file.read_text())["owner"]["pid"]
    [child] = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()

    for pid in (agent, int(child)):
        os.kill(pid, signal.SIGKILL)

    assert counts(on_cluster, sweep) == {"crashed": 1, "running": 1}
    (tmp_path / "fast").touch()
    wait_until(lambda: counts(on_cluster, sweep) == {"crashed": 1, "finished": 1})
    [again] = submitted(on_cluster("resubmit", sweep, "--time", "5"))
    wait_until(lambda: counts(on_cluster, sweep) == {"finished": 2})
    trials = json.loads(on_cluster("trials", sweep, "--json").stdout)
    assert [(trial["attempt"], trial["job"].split("_")[0]) for trial in trials] == [(2, again), (1, job)]
    assert on_cluster("check", sweep).returncode == 0


def test_a_killed_agent_is_found_without_accounting_and_after_slurm_forgot_its_job(
    cluster_without_accounting, slurmsweep, write_sweep, tmp_path
):
    def plain(*argv):
        return slurmsweep(*argv, **cluster_without_accounting.environ)

    file = write_sweep(SCRIPT + "while not os.path.exists('fast'): time.sleep(0.1)", "  x: {values: [1, 2]}")
    sweep = plain("create", str(file)).stdout.strip()
    [job] = submitted(plain("submit", sweep, "--time", "5"))
    wait_until(lambda: counts(plain, sweep).get("running") == 2 and (tmp_path / "ran").exists())
    trials = json.loads(plain("trials", sweep, "--json").stdout)
    owner_file = Path(trials[0]["log"]).with_name("owner")
    # another machine's agent, as far as this one can tell: only Slurm knows about it
    owner_file.write_text(owner_file.read_text().replace(f'"host": "{os.uname().nodename}"', '"host": "elsewhere"'))
    os.kill(json.loads(owner_file.read_text())["owner"]["pid"], signal.SIGKILL)
    (tmp_path / "fast").touch()

    wait_until(lambda: counts(plain, sweep) == {"crashed": 1, "finished": 1})
    environ = os.environ | cluster_without_accounting.environ
    forgotten = ["squeue", "-h", "-t", "all", "-j", job]
    wait_until(lambda: not subprocess.run(forgotten, env=environ, capture_output=True, check=False).stdout)
    assert counts(plain, sweep) == {"crashed": 1, "finished": 1}
    submitted(plain("resubmit", sweep, "--time", "5"))
    wait_until(lambda: counts(plain, sweep) == {"finished": 2})
    assert plain("check", sweep).returncode == 0


def test_jobs_that_never_get_to_a_trial_are_pointed_out(cluster, on_cluster, write_sweep, tmp_path):
    template = tmp_path / "broken.sbatch"
    template.write_text(
        "#!/bin/bash\n#SBATCH --time=5\nmodule load nothing-of-this-name || exit 7\nexec slurmsweep agent $1\n"
    )
    sweep_file = write_sweep(SCRIPT, "  x: {values: [1, 2]}")

    done = on_cluster("run", str(sweep_file), "--backend", "slurm", "--template", str(template))

    assert done.returncode == 1
    assert "2 jobs ended, or run, without a trial" in done.stderr
    output = done.stderr.split("output is in ")[1].split()[0]
    assert "module" in Path(output).read_text()
    assert not (tmp_path / "ran").exists()


def test_a_plan_says_when_slurm_would_start_it_and_what_it_has_against_it(cluster, on_cluster, slurm, write_sweep):
    file = str(write_sweep("pass", "  x: {min: 1, max: 5000}"))

    fine = json.loads(on_cluster("plan", file, "--json", "--limit", "1", "--time", "5").stdout)["forecast"]
    assert fine["arrays"] == [2001, 2001, 998]
    assert fine["earliest_start"].startswith("20")
    assert fine["refusal"] is None
    wrong = json.loads(on_cluster("plan", file, "--json", "--limit", "1", "--time", "3-0").stdout)["forecast"]
    assert wrong["earliest_start"] is None
    assert "--time" in wrong["refusal"]
    assert slurm("squeue", "-h", "-n", "slurmsweep-xxxxxxxx") == ""


def test_a_submission_that_was_never_answered_is_found_again_and_not_made_twice(
    cluster, on_cluster, slurm, write_sweep, tmp_path
):
    sweep = on_cluster("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 5}"))).stdout.strip()
    controller = int((Path(cluster.environ["SLURM_CONF"]).parents[1] / "run" / "slurmctld.pid").read_text())
    hanging = tmp_path / "bin"
    hanging.mkdir()
    sbatch = shutil.which("sbatch")
    (hanging / "sbatch").write_text(
        f'#!/bin/sh\nkill -STOP {controller}\nexec {sbatch} "$@"\n'
    )  # it hangs as it is asked
    (hanging / "sbatch").chmod(0o755)
    try:
        unanswered = on_cluster("submit", sweep, "--time", "5", PATH=f"{hanging}:{os.environ['PATH']}")
    finally:
        os.kill(controller, signal.SIGCONT)
    assert unanswered.returncode == 4, unanswered.stderr
    assert "Traceback" not in unanswered.stderr

    def arrays() -> set[str]:
        lines = slurm("sacct", "-X", "-n", "-P", "-S", "now-1hour", "-o", "JobID,JobName%80").splitlines()
        return {line.split("_")[0] for line in lines if f"slurmsweep-{sweep}" in line}

    wait_until(arrays)
    again = on_cluster("resubmit", sweep, "--time", "5")
    assert again.returncode == 0, again.stderr
    wait_until(lambda: counts(on_cluster, sweep) == {"finished": 5})
    assert len(arrays()) == 1
    assert len((tmp_path / "ran").read_text().split()) == 5


def test_a_canary_is_one_job_and_says_what_it_used(cluster, on_cluster, write_sweep):
    file = str(write_sweep("block = bytearray(50 * 2**20)", "  x: {min: 1, max: 9}"))

    used = json.loads(on_cluster("plan", file, "--canary", "--json", "--limit", "1", "--time", "5").stdout)["canary"]

    assert used["state"] == "finished"
    assert used["max_rss_mb"] > 50


def test_the_trials_exit_code_is_slurms(cluster, on_cluster, slurm, write_sweep):
    sweep = on_cluster("create", str(write_sweep("import sys; sys.exit(3)", "  x: {value: 1}"))).stdout.strip()
    [job] = submitted(on_cluster("submit", sweep))

    state = wait_until(
        lambda: (
            slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", "State,ExitCode")
            .strip()
            .replace("PENDING|0:0", "")
            .replace("RUNNING|0:0", "")
        )
    )

    assert state == "FAILED|3:0"


def test_cancel_ends_running_and_waiting_jobs(cluster, on_cluster, slurm, write_sweep):
    file = write_sweep("import time; time.sleep(300)", "  x: {min: 1, max: 6}")
    sweep = on_cluster("create", str(file)).stdout.strip()
    [job] = submitted(on_cluster("submit", sweep, "--width", "2", "--time", "10"))
    wait_until(lambda: counts(on_cluster, sweep).get("running") == 2)

    assert on_cluster("cancel", sweep).returncode == 0

    wait_until(lambda: not slurm("squeue", "-h", "-j", job, "-t", "PD,R,CG"))
    assert wait_until(lambda: counts(on_cluster, sweep) == {"killed": 2, "pending": 4})
    assert on_cluster("check", sweep).returncode == 0


def test_a_trial_out_of_time_is_told_and_recorded(cluster, on_cluster, slurm, write_sweep):
    file = write_sweep("import time; time.sleep(300)", "  x: {value: 1}")
    sweep = on_cluster("create", str(file)).stdout.strip()
    [job] = submitted(on_cluster("submit", sweep, "--time", "2"))
    wait_until(lambda: counts(on_cluster, sweep).get("running") == 1)

    slurm("scontrol", "update", f"jobid={job}_0", "EndTime=now+50")

    wait_until(lambda: counts(on_cluster, sweep) == {"crashed": 1})
    [trial] = json.loads(on_cluster("trials", sweep, "--json").stdout)
    assert trial["cause"] == "timeout"


def test_a_requeued_job_goes_on_with_its_own_trial(cluster, on_cluster, slurm, write_sweep, tmp_path):
    file = write_sweep(SCRIPT + "while not os.path.exists('fast'): time.sleep(0.1)", "  x: {values: [1, 2]}")
    sweep = on_cluster("create", str(file)).stdout.strip()
    [job] = submitted(on_cluster("submit", sweep, "--time", "5"))
    wait_until(lambda: counts(on_cluster, sweep).get("running") == 2)
    number = {trial["job"]: trial["number"] for trial in json.loads(on_cluster("trials", sweep, "--json").stdout)}

    slurm("scontrol", "requeue", f"{job}_0")
    again = number[f"{job}_0"]  # told to go on before its job is put back, its first attempt would end well
    wait_until(lambda: json.loads(on_cluster("trials", sweep, "--json").stdout)[again]["attempt"] == 2, "its start")
    (tmp_path / "fast").touch()

    wait_until(lambda: counts(on_cluster, sweep) == {"finished": 2})
    trials = json.loads(on_cluster("trials", sweep, "--json").stdout)
    assert [trial["attempt"] for trial in trials] == [2 if n == number[f"{job}_0"] else 1 for n in range(2)]
    assert {trial["number"]: trial["job"] for trial in trials} == {n: name for name, n in number.items()}


def test_a_value_with_a_newline_never_becomes_an_sbatch_line(cluster, on_cluster, write_sweep, tmp_path):
    evil = "x\n#SBATCH --comment=evil\ntouch evil\n"
    sweep = on_cluster("create", str(write_sweep("pass", f"  x: {{value: {json.dumps(evil)}}}"))).stdout.strip()

    refused = on_cluster("submit", sweep, "--sbatch", f"comment={evil}")
    assert refused.returncode == 2
    assert "comment" in refused.stderr
    submitted(on_cluster("submit", sweep))

    wait_until(lambda: counts(on_cluster, sweep) == {"finished": 1})
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("option", "word"), [("--partition=nope", "partition"), ("--time=3-0", "time"), ("--mem=9999G", "mem")]
)
def test_what_slurm_refuses_names_the_option_and_changes_nothing(cluster, on_cluster, write_sweep, option, word):
    sweep = on_cluster("create", str(write_sweep("pass"))).stdout.strip()

    done = on_cluster("submit", sweep, option)

    assert done.returncode == 4
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert counts(on_cluster, sweep) == {"pending": 3}


def test_the_doctor_tries_the_folder_between_two_nodes(cluster, on_cluster, tmp_path):
    done = on_cluster("doctor", str(tmp_path), "--nodes", "2", "--json")

    said = {row["subject"]: row for row in json.loads(done.stdout)}
    assert [said[subject]["fitness"] for subject in ("mkdir", "lock", "delay", "clock", "slurm", "accounting")] == (
        ["good"] * 6
    ), done.stdout
    assert len([subject for subject in said if subject.startswith("python on n")]) == 2
    assert list(tmp_path.iterdir()) == []
