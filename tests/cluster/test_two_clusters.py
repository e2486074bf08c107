"""Two real clusters with the same job ids, and an innocent array on each: no command for the sweep touches these."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
from collections import Counter

import pytest
from cluster.test_orders import SCRIPT
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

#: What a command could change of a job.
FIELDS = "ArrayJobID:|,ArrayTaskID:|,Name:60|,State:|,TimeLimit:|,Partition:|,Priority:|,Reason:|,RestartCnt:|"


class Lab:
    """Two clusters, a sweep, and what is there besides."""

    def __init__(self, clusters, slurmsweep) -> None:
        self.environ = clusters[0].environ
        self._at = {"one": clusters[0].environ, "other": clusters[1].environ}
        self._slurmsweep = slurmsweep

    def slurm(self, cluster: str, *argv: str) -> str:
        """Run one of Slurm's programs on a cluster: its standard output."""
        done = subprocess.run(argv, env=os.environ | self._at[cluster], capture_output=True, text=True, check=True)
        return done.stdout

    def __call__(self, *argv: str, code: int = 0, **environ: str) -> str:
        done = self._slurmsweep(*argv, **self.environ, **environ)
        assert done.returncode == code, (argv, done.stderr)
        return done.stderr if argv[0] != "create" else done.stdout.strip()

    def queue(self, cluster: str, name: str) -> list[str]:
        """What squeue says of the jobs whose name begins so."""
        text = self.slurm(cluster, "squeue", "-h", "-r", "-t", "all", "-O", FIELDS)
        lines = [line.replace(" ", "") for line in text.splitlines()]
        return sorted(line for line in lines if f"|{name}" in line and "CANCELLED" not in line)

    def lead(self, cluster: str, other: str) -> None:
        """Let the next job of one cluster have a higher id than any of the other."""
        most = self.throw_away(other)
        while self.throw_away(cluster) <= most + 5:
            pass
        self.slurm(cluster, "scancel", "--name=thrown-away")

    def throw_away(self, cluster: str) -> int:
        """Submit a job that never starts; return its id."""
        return int(
            self.slurm(cluster, "sbatch", "--parsable", "-H", "-J", "thrown-away", "-o", "/dev/null", "--wrap", "true")
        )

    def innocent(self, cluster: str, job: int = 0) -> None:
        """Submit an array of another name, with that id if one is given; one element of it runs."""
        while job and self.throw_away(cluster) < job - 1:
            pass
        sleeper = ("--array=0-2%1", "-J", "innocent", "-o", "/dev/null", "--wrap", "sleep 600")
        number = self.slurm(cluster, "sbatch", "--parsable", *sleeper)
        assert job in (0, int(number))
        runs = f"{number.strip()}|0|innocent|RUNNING"
        wait_until(lambda: any(line.startswith(runs) for line in self.queue(cluster, "innocent")))

    def innocents(self) -> list[str]:
        throttles = [self.slurm(name, "scontrol", "-o", "show", "job") for name in ("one", "other")]
        widths = [line for text in throttles for line in text.splitlines() if "JobName=innocent" in line]
        return [
            *(f"{name}: {line}" for name in ("one", "other") for line in self.queue(name, "innocent")),
            *(word for line in widths for word in line.split() if word.startswith("ArrayTaskThrottle")),
        ]


@pytest.fixture
def lab(two_clusters, slurmsweep):
    lab = Lab(two_clusters, slurmsweep)
    yield lab
    for name in ("one", "other"):
        lab.slurm(name, "scancel", "-u", "root")


def test_no_command_touches_a_job_of_the_same_id_on_another_cluster(lab, write_sweep, tmp_path):
    sweep = lab("create", str(write_sweep(SCRIPT, "  x: {min: 1, max: 40}")))
    asked = ("--count", "2", "--width", "1", "--time", "10")
    for name, beside, options in (("other", "one", ("--sbatch", "clusters=other")), ("one", "other", ())):
        lab.lead(name, beside)
        said = lab("submit", sweep, *asked, *options)
        job, where = re.search(r"submitted job (\d+)(@other)?: 2 trials", said).groups()
        assert (where == "@other") is (name == "other")
        wait_until(lambda name=name: any("|RUNNING|" in line for line in lab.queue(name, f"slurmsweep-{sweep}")))
        lab.innocent(beside, int(job))
    before = lab.innocents()

    def running() -> bool:
        return all(
            sum("|RUNNING|" in line for line in lab.queue(n, f"slurmsweep-{sweep}")) == 1 for n in ("one", "other")
        )

    wait_until(running)
    lab("pause", sweep)
    assert all(sum("JobHeld" in line for line in lab.queue(n, f"slurmsweep-{sweep}")) >= 1 for n in ("one", "other"))
    lab("resume", sweep)
    lab("set", sweep, "--width", "2", "--time", "7", SLURM_CLUSTERS="other")
    wait_until(
        lambda: all(
            sum("|7:00|" in line for line in lab.queue(n, f"slurmsweep-{sweep}")) == 1 for n in ("one", "other")
        )
    )
    wait_until(
        lambda: all(sum("|RUNNING|" in x for x in lab.queue(n, f"slurmsweep-{sweep}")) == 2 for n in ("one", "other"))
    )
    status = json.loads(lab._slurmsweep("status", sweep, "--json", **lab.environ).stdout)
    assert status["jobs"] == {"running": 4}
    lab("cancel", sweep, SLURM_CLUSTERS="other")
    wait_until(
        lambda: not any("|RUNNING|" in line for n in ("one", "other") for line in lab.queue(n, f"slurmsweep-{sweep}"))
    )
    lab("reconcile", sweep)
    lab("resubmit", sweep, "--no-wait", "--mend", "--sbatch", "clusters=other", "--time", "10")
    lab("mend", sweep)
    lab("stop", sweep)
    lab("cancel", sweep)

    assert lab.innocents() == before
    (tmp_path / "all").touch()


#: Random orders of commands: some here and in CI; 200 by SLURMSWEEP_RANDOM_ORDERS=200 (some five minutes).
ORDERS = int(os.environ.get("SLURMSWEEP_RANDOM_ORDERS", "40"))

#: Commands on a sweep, those that may submit beside those that may not.
SUBMITTING = (
    ("submit", "--count", "2", "--width", "1"),
    ("resubmit", "--no-wait", "--width", "1"),
    ("mend", "--width", "1"),
)
ACTING = (
    ("pause",),
    ("resume",),
    ("set", "--time", "4", "--width", "1"),
    ("set", "--time", "3", "--running"),
    ("stop",),
    ("cancel",),
    ("reconcile",),
    ("status",),
    ("delete", "--state", "killed"),
)

#: Both clusters, by the other one.
OTHER = {"one": "other", "other": "one"}


class Bystanders:
    """Innocent arrays with the ids of a sweep's jobs on the other cluster, and what Slurm said of each at its start."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._before: dict[str, str] = {}
        self.ids: set[tuple[str, int]] = set()

    def put_beside(self, cluster: str, sweeps: list[str]) -> None:
        """Make one for each id that a job of the sweeps has on that cluster, where the other one has room for it."""
        lab, other = self._lab, OTHER[cluster]
        ours = [line for sweep in sweeps for line in lab.queue(cluster, f"slurmsweep-{sweep}")]
        for job in sorted({int(line.partition("|")[0]) for line in ours}):
            if (other, job) in self.ids:
                continue
            last = 0
            while last < job - 1:
                last = lab.throw_away(other)
            if last == job - 1:
                self._start(other, job)
            lab.slurm(other, "scancel", "--name=thrown-away")

    def _start(self, cluster: str, job: int) -> None:
        """Some run and wait for themselves, the others wait for a day, or for their user: there is not room for all."""
        few = len([one for one, _ in self.ids if one == cluster]) < 4
        kind = [] if few else [["-H"], ["--begin=now+1day"]][job % 2]
        sleeper = ("--array=0-2%1", "-J", "innocent", "-t", "30", "-o", "/dev/null", *kind, "--wrap", "sleep 3600")
        assert int(self._lab.slurm(cluster, "sbatch", "--parsable", *sleeper)) == job

        def is_settled() -> bool:
            lines = [line for line in self._lab.queue(cluster, "innocent") if line.startswith(f"{job}|")]
            runs = not few or any("|RUNNING|" in line for line in lines)
            return runs and not any("|PENDING|" in line and "|None|" in line for line in lines)

        wait_until(is_settled)
        self.ids.add((cluster, job))
        self._before |= {key: line for key, line in self._now().items() if key not in self._before}

    def _now(self) -> dict[str, str]:
        """State, time limit, partition, priority, reason, restarts and width, by cluster and element."""
        now = {
            f"{name} {line.rsplit('innocent')[0]}": line for name in OTHER for line in self._lab.queue(name, "innocent")
        }
        for name in OTHER:
            text = self._lab.slurm(name, "scontrol", "-o", "show", "job")
            for line in text.splitlines():
                words = dict(word.split("=", 1) for word in line.split() if "=" in word)
                if "ArrayTaskThrottle" in words and (name, int(words["ArrayJobId"])) in self.ids:
                    now[f"{name} {words['ArrayJobId']} width"] = words["ArrayTaskThrottle"]
        return now

    def touched(self) -> list[str]:
        now = self._now()
        return [f"{key}: {line} -> {now.get(key)}" for key, line in self._before.items() if now.get(key) != line]


@pytest.mark.timeout(3600)
def test_random_orders_of_commands_touch_no_job_of_the_same_id(lab, write_sweep, capsys):
    file = str(write_sweep(SCRIPT, "  x: {min: 1, max: 400}"))
    sweeps = [lab("create", file), lab("create", file)]
    innocent, dice = Bystanders(lab), random.Random(1)
    ran: Counter[str] = Counter()
    for number in range(ORDERS):
        sweep, cluster = dice.choice(sweeps), dice.choice(sorted(OTHER))
        kinds = SUBMITTING[:1] if number < 6 else SUBMITTING if dice.random() < 0.3 else ACTING
        verb, *options = dice.choice(kinds)
        environ = {"SLURM_CLUSTERS": dice.choice(sorted(OTHER))} if dice.random() < 0.3 else {}
        if verb in ("submit", "resubmit"):
            lab.lead(cluster, OTHER[cluster])
            options += ["--time", "5", "--sbatch", f"clusters={cluster}", *(["--mend"] if dice.random() < 0.2 else [])]
        done = lab._slurmsweep(verb, sweep, *options, **lab.environ, **environ)
        assert (done.returncode in (0, 1, 2, 4), "Traceback" in done.stderr) == (True, False), (verb, options, done)
        ran[f"{verb} {done.returncode}"] += 1
        for name in OTHER:
            innocent.put_beside(name, sweeps)
        assert innocent.touched() == [], (number, verb, options)

    both = {name: sum(one == name for one, _ in innocent.ids) for name in OTHER}
    with capsys.disabled():
        print(
            f"\n{ran.total()} random orders: {dict(sorted(ran.items()))}; innocent arrays with ids of the sweeps' jobs: "
            f"{both}, 0 touched"
        )
    assert ran.total() == ORDERS
    assert min(both.values()) >= 1
