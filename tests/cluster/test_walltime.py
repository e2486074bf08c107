"""Time that is learnt, on a real Slurm: canaries, then arrays whose elements run the trials they were made for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cluster.waiting import wait_until
from documented import commands

from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId

pytestmark = pytest.mark.cluster

#: A trial waits for the file `go`, so that tests decide when canaries end; longer epochs take longer.
SCRIPT = """
import os, sys, time
args = dict(a.lstrip('-').split('=') for a in sys.argv[1:])
open('ran', 'a').write(args['epochs'] + ' ' + args['lr'] + '\\n')
deadline = time.time() + 120
while not os.path.exists('go') and time.time() < deadline:
    time.sleep(0.05)
time.sleep(0.02 * int(args['epochs']))
"""
PAGE = Path(__file__).parents[2] / "docs" / "walltime.md"
PARAMETERS = "  epochs: {values: [1, 10, 50]}\n  lr: {values: [1, 2, 3, 4]}"


def submitted(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def trials(on_cluster, sweep) -> list[dict]:
    return json.loads(on_cluster("trials", sweep, "--json").stdout)


def asked_by_sacct(slurm, job) -> set[str]:
    """Time and memory of the job's elements; empty until slurmdbd knows both of all (``|16?`` is a row half written)."""
    rows = set(slurm("sacct", "-X", "-n", "-P", "-j", job, "-o", "TimelimitRaw,ReqMem").split())
    return rows if all(row[0].isdecimal() and row[-1].isalpha() for row in rows) else set()


def test_canaries_go_first_and_the_rest_asks_for_what_they_took(cluster, on_cluster, slurm, write_sweep, tmp_path):
    sweep = on_cluster("create", str(write_sweep(SCRIPT, PARAMETERS))).stdout.strip()
    command = ("submit", sweep, "--time", "auto", "--mem", "auto", "--canaries", "4", "--json")

    first = submitted(on_cluster(*command))
    meanwhile = submitted(on_cluster(*command))
    (tmp_path / "go").touch()
    wait_until(lambda: sum(t["state"] == "finished" for t in trials(on_cluster, sweep)) == 4)
    rest = on_cluster(*command, "--wait")
    again = submitted(on_cluster(*command))

    assert (first["step"], first["left"], [a["trials"] for a in first["arrays"]]) == ("canaries", 8, [4])
    assert (meanwhile["step"], meanwhile["left"], meanwhile["arrays"]) == ("wait", 8, [])
    assert rest.returncode == 0, rest.stderr
    assert "time" in rest.stderr
    assert "0.95 quantile of 4 trials x 1.6" in rest.stderr
    assert "asks 0.667 h in all, where 60 min each would be 8 h: 92 % less" in rest.stderr
    assert (again["step"], again["arrays"]) == ("nothing", [])
    ended = trials(on_cluster, sweep)
    assert {(t["state"], t["attempt"]) for t in ended} == {("finished", 1)}
    assert len(set((tmp_path / "ran").read_text().splitlines())) == 12
    assert len((tmp_path / "ran").read_text().splitlines()) == 12
    assert on_cluster("check", sweep).returncode == 0

    canary, others = first["arrays"][0]["job"], {t["job"].split("_")[0] for t in ended}
    asked = {}
    for job in others:
        asked[job] = wait_until(lambda job=job: asked_by_sacct(slurm, job))
    assert asked.pop(canary) == {"60|64M"}
    assert set.union(*asked.values()) == {"5|256M"}

    shown = on_cluster("efficiency", sweep)
    assert "12 attempts of 12 trials have ended; accounting: used" in shown.stdout
    document = json.loads(on_cluster("efficiency", sweep, "--json", "--trials").stdout)
    assert document["asked_core_hours"] == pytest.approx((4 * 60 + 8 * 5) / 60)
    assert sorted({row["asked_minutes"] for row in document["attempts_of_trials"]}) == [5, 60]


def test_each_group_has_its_own_limit_and_each_element_runs_the_trial_it_was_made_for(
    cluster, on_cluster, slurm, write_sweep, tmp_path
):
    (tmp_path / "go").touch()
    sweep = on_cluster("create", str(write_sweep(SCRIPT, PARAMETERS))).stdout.strip()
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    points = {t["number"]: t["params"] for t in trials(on_cluster, sweep)}
    # a trial of hours cannot be waited for: half of them ended before, as an agent would have recorded it
    for number in [n for n, point in points.items() if point["lr"] in {1, 3}]:
        claim = store.claim_attempt(Owner("elsewhere", 1, 1, "b"), AttemptId(number, 1))
        store.finish(claim, Outcome(TrialState.FINISHED, seconds=120.0 * points[number]["epochs"], ended=1.0))
    command = ("submit", sweep, "--time", "auto", "--canaries", "6", "--sbatch", "hold", "--json")

    first = submitted(on_cluster(*command))
    again = submitted(on_cluster(*command))
    slurm("scontrol", "release", ",".join(array["job"] for array in first["arrays"]))
    wait_until(lambda: all(t["state"] == "finished" for t in trials(on_cluster, sweep)))

    assert first["step"] == "rest"
    limits = [(array["minutes"], array["trials"]) for array in first["arrays"]]
    # 120, 1200 and 6000 s times 1.5, and two minutes
    assert limits == [(155, 2), (33, 2), (6, 2)]
    assert (again["step"], again["arrays"]) == ("nothing", [])
    of_job = {array["job"]: array["minutes"] for array in first["arrays"]}
    run_here = [t for t in trials(on_cluster, sweep) if t["job"]]
    given = {(t["params"]["epochs"], of_job[t["job"].split("_")[0]]) for t in run_here}
    assert given == {(50, 155), (10, 33), (1, 6)}
    assert sorted((tmp_path / "ran").read_text().splitlines()) == sorted(
        f"{e} {lr}" for e in (1, 10, 50) for lr in (2, 4)
    )
    assert on_cluster("check", sweep).returncode == 0


def test_run_waits_for_its_canaries_and_says_what_was_asked_in_the_end(cluster, on_cluster, write_sweep, tmp_path):
    (tmp_path / "go").touch()
    file = write_sweep(SCRIPT, "  epochs: {min: 1, max: 20}\n  lr: {min: 0.0, max: 1.0}", method="random")

    done = on_cluster("run", str(file), "--time", "auto", "--count", "8", "--canaries", "2", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["finished"] == 8
    assert "2 canaries, spread over the parameters' values, with 60 min each" in done.stderr
    assert "time: 0.95 quantile of 2 trials x 1.8" in done.stderr
    assert "core-hours: 2.5 asked" in done.stderr


def outline(line: str) -> str:
    """Return the words of a line with ``#`` for numbers, durations and ids; learnt of no parameter in particular."""
    return re.sub(r"[\d.]+( h\b|s|m \d+s)?|k3v9x2ab|-{2,}| +", "#", line.replace(" by epochs", "")).replace("##", "#")


def test_the_commands_of_the_page_on_walltime_say_what_it_shows(cluster, on_cluster, write_sweep, tmp_path):
    (tmp_path / "go").touch()
    (tmp_path / "broken").touch()
    shown = [line[4:] for line in PAGE.read_text().splitlines() if line.startswith("    ")]
    script = "import os, sys\nif '--lr=8' in sys.argv and os.path.exists('broken'): raise SystemExit(3)" + SCRIPT
    file = write_sweep(script, "  epochs: {values: [1, 10, 50]}\n  lr: {values: [1, 2, 3, 4, 5, 6, 7, 8]}")

    ran = on_cluster("run", str(file), "--time", "auto", "--max-fails", "0", "--json")
    sweep = json.loads(ran.stdout)["id"]
    (tmp_path / "broken").unlink()
    again = on_cluster("resubmit", sweep, "--force", "--time", "auto")
    wait_until(lambda: {t["state"] for t in trials(on_cluster, sweep)} == {"finished"})
    once_too_often = on_cluster("submit", sweep, "--time", "auto")
    used = on_cluster("efficiency", sweep)

    assert [text for _, text in commands(PAGE)] == [
        "slurmsweep run sweep.yaml --time auto",
        "slurmsweep efficiency SWEEP",
    ]
    said = set(map(outline, ran.stderr.splitlines()))
    assert {outline(line) for line in shown if line.startswith("slurmsweep: ")} - said == set(), ran.stderr
    assert "nothing" in once_too_often.stderr
    assert (once_too_often.returncode, again.returncode, used.returncode) == (0, 0, 0)
    lines = list(map(outline, used.stdout.splitlines()))
    for line in map(outline, [line for line in shown if line.startswith(("    ", "core-hours", "-> --time"))]):
        assert any(said.startswith(line) for said in lines), f"{line}\n{used.stdout}"


def test_where_every_canary_fails_the_rest_is_not_submitted(cluster, on_cluster, write_sweep, tmp_path):
    file = write_sweep("raise SystemExit(3)", PARAMETERS)

    done = on_cluster("run", str(file), "--time", "auto", "--canaries", "2")

    assert done.returncode == 1
    assert "no trial finished of the 2 that ended" in done.stderr
    assert "submitted job" in done.stderr
    assert done.stderr.count("submitted job") == 1


def test_what_is_run_again_gets_what_the_finished_trials_have_shown(cluster, on_cluster, slurm, write_sweep, tmp_path):
    (tmp_path / "go").touch()
    sweep = on_cluster("create", str(write_sweep(SCRIPT, PARAMETERS))).stdout.strip()
    store = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}"))
    points = {t["number"]: t["params"] for t in trials(on_cluster, sweep)}
    cut = [n for n, point in points.items() if point["lr"] == 4]

    def end(number, state, cause="") -> None:
        claim = store.claim_attempt(Owner("elsewhere", 1, 1, "b"), AttemptId(number, 1))
        store.finish(claim, Outcome(state, cause, seconds=120.0 * points[number]["epochs"], ended=1.0))

    for number in cut:
        end(number, TrialState.CRASHED, "timeout")
    early = on_cluster("resubmit", sweep, "--time", "auto")
    for number in points.keys() - cut:
        end(number, TrialState.FINISHED)
    planned = on_cluster("resubmit", sweep, "--time", "auto", "--dry-run", "--json")
    done = on_cluster("resubmit", sweep, "--time", "auto", "--sbatch", "hold", "--json")

    assert (early.returncode, "nothing is learnt yet: no trial finished of the 3 that ended" in early.stderr) == (
        2,
        True,
    )
    asked = [(group["minutes"], len(group["trials"])) for group in json.loads(planned.stdout)["groups"]]
    assert [trials for _, trials in asked] == [1, 1, 1]
    # each was cut off at 120 s an epoch: half as much again at least, and two minutes
    assert all(minutes >= least for (minutes, _), least in zip(asked, (5, 32, 152), strict=True))
    assert "time by epochs" in planned.stderr
    limits = []
    for array in json.loads(done.stdout)["arrays"]:
        limits += slurm("squeue", "-h", "-j", array["job"], "-o", "%l").split()
        slurm("scontrol", "release", array["job"])
    assert len(limits) == 3
    wait_until(lambda: all(t["state"] == "finished" for t in trials(on_cluster, sweep)))
    assert on_cluster("check", sweep).returncode == 0


def test_without_accounting_all_that_agents_and_submissions_say_is_there(
    cluster_without_accounting, slurmsweep, write_sweep, tmp_path
):
    (tmp_path / "go").touch()
    environ = cluster_without_accounting.environ
    asked = ("--time", "30", "--mem", "512M", "--cpus-per-task", "2", "--json")

    done = slurmsweep(
        "run", str(write_sweep(SCRIPT, "  epochs: {values: [1, 2]}\n  lr: {value: 1}")), *asked, **environ
    )
    sweep = json.loads(done.stdout)["id"]
    shown = json.loads(slurmsweep("efficiency", sweep, "--json", "--trials", **environ).stdout)

    assert shown["accounting"] == "off"
    assert (shown["asked_core_hours"], shown["trials"]) == (2.0, 2)
    for row in shown["attempts_of_trials"]:
        assert (row["asked_minutes"], row["asked_cpus"], row["asked_mib"]) == (30, 2, 512)
        assert row["seconds"] > 0.02
        assert row["max_rss_mib"] > 1
    assert [advice["option"] for advice in shown["advice"]] == ["--time 5", "--mem 256M"]
