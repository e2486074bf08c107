"""Record what a real Slurm answers to slurmsweep's own questions, in ``tests/data/slurm/VERSION``: see scripts/record-slurm.

Start a cluster, bring jobs of an ordinary user into every situation that its programs have words for, and ask what
slurmsweep asks, by slurmsweep's own functions. What the programs print is kept, with names and folders that are the same
everywhere (``alice``, ``/slurm``, ``login``). ``situations.json`` says by name which job is in which situation.

A line ``$ ...`` of a recording is a command, ``< ...`` an option in the script that it got, ``? n`` its exit code,
``| ...`` a line of its standard output, and ``! ...`` of its standard error. :func:`read` gives them back.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from cluster.misfortune import Lab
from cluster.place import own_place
from cluster.waiting import wait_until

from slurmsweep.backends.base import JobRequest, JobSource, When
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm import accounting, changes, cluster, commands, executor, limits, queue, site, wakeup
from slurmsweep.errors import SchedulerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
DATA = HERE.parent / "data" / "slurm"
NAME = "alice"

#: By the index of its array's element: what the job does. The others of `ends` sleep until something is done to them.
ENDS = {
    "completed": "exit 0",
    "exit 3": "exit 3",
    "exit 143": "exit 143",
    "signal 9": "kill -9 $$",
    "signal 11": "kill -11 $$",
}
TAKEN = ("time limit", "out of memory", "cancelled", "preempted", "suspended and preempted")

#: Options by the reason for which sbatch refuses them.
REFUSED = {
    "partition": {"partition": "nope"},
    "account": {"account": "nope"},
    "qos": {"qos": "nope"},
    "time": {"time": "soon"},
    "limit": {"time": "2-00:00:00"},
    "cpus": {"cpus-per-task": "64"},
    "memory": {"mem": "64G"},
    "nodes": {"nodes": "9"},
    "feature": {"constraint": "a100"},
    "gres": {"gres": "tpu:1"},
    "gpus": {"gres": "gpu:9"},
    "node": {"nodelist": "n99"},
    "dependency": {"dependency": "afterok:99999"},
    "array": {"array": "0-5000"},
    "option": {"nonsense": "1"},
    "reservation": {"reservation": "nope"},
    "licenses": {"licenses": "matlab:1"},
    "cpus-per-gpu": {"gres": "gpu:1", "cpus-per-task": "1", "cpus-per-gpu": "2"},
    "gpus-per-task": {"gpus-per-task": "1"},
    "gpus-per-node and gres": {"gpus-per-node": "1", "gres": "gpu:1"},
    "exclusive and oversubscribe": {"exclusive": True, "oversubscribe": True},
}


def read(path: Path) -> list[subprocess.CompletedProcess[str]]:
    """Return the calls of one recording."""
    found: list[subprocess.CompletedProcess[str]] = []
    for line in path.read_text().splitlines():
        mark, text = line[:1], line[2:]
        if mark == "$":
            found.append(subprocess.CompletedProcess(shlex.split(text), 0, "", ""))
        elif mark == "?":
            found[-1].returncode = int(text)
        elif mark == "|":
            found[-1].stdout += text + "\n"
        elif mark == "!":
            found[-1].stderr += text + "\n"
    return found


class Recorder:
    """Asks as the user, and keeps what was answered.

    Args:
        folder: of the version's recordings.
        neutral: what stands for what a pattern finds.
    """

    def __init__(self, folder: Path, neutral: dict[str, str]) -> None:
        self._folder = folder
        self._neutral = neutral
        self._calls: list[str] | None = None

    def run(self, argv: Sequence[str], *, check: bool = False, **how) -> subprocess.CompletedProcess[str]:
        """Run one of Slurm's programs as the user: in the place of ``subprocess.run``."""
        done = subprocess.run(argv, check=check, **how, user=NAME, group=NAME, extra_groups=[])
        if self._calls is not None:
            options = [line for line in (how.get("input") or "").splitlines() if line.startswith("#SBATCH")]
            self._calls += [f"$ {shlex.join(argv)}", *(f"< {line}" for line in options), f"? {done.returncode}"]
            for mark, text in (("|", done.stdout), ("!", done.stderr)):
                self._calls += [f"{mark} {line}" for line in text.splitlines()]
        return done

    @contextmanager
    def into(self, name: str) -> Iterator[None]:
        """Write all that is asked meanwhile into the recording of that name."""
        self._calls = []
        yield
        text = "\n".join(self._calls) + "\n"
        for pattern, stands_for in self._neutral.items():
            text = re.sub(pattern, stands_for, text)
        text = re.sub(r" +$", "", text, flags=re.MULTILINE)
        (self._folder / f"{name.replace(' ', '-')}.txt").write_text(text)
        self._calls = None


class Recording:
    """One cluster, and the jobs on it."""

    def __init__(self, lab: Lab, recorder: Recorder, home: Path) -> None:
        self.lab, self.recorder = lab, recorder
        self.source = JobSource(f"slurmsweep-{NAME}", str(home / "sweep"), str(home), str(home))
        self.jobs: dict[str, str] = {}

    def submit(self, name: str, body: str, tasks: int, **options: str | bool) -> str:
        """Submit an array as slurmsweep does; return its id."""
        done = self.sbatch(name, body, tasks, {key.replace("_", "-"): value for key, value in options.items()})
        self.jobs[name] = queue.submitted(done.stdout)
        return self.jobs[name]

    def sbatch(self, name: str, body: str, tasks: int, options) -> subprocess.CompletedProcess[str]:
        """Call sbatch with the script that slurmsweep makes of it."""
        request = self.request(name, body, tasks, options)
        script = executor.render(request)
        if "array" in options:  # which slurmsweep sets itself
            script = re.sub(r"--array=\S+", f"--array={options['array']}", script)
        command = [*commands.as_outside_of_jobs(), "sbatch"]
        return self.recorder.run(command, input=script, capture_output=True, text=True, env=os.environ, check=False)

    def request(self, name: str, body: str, tasks: int, options) -> JobRequest:
        """Return a request for an array that runs that text."""
        asked = {"time": "30", "mem": "100M", **options}
        return JobRequest(
            f"{self.source.name}-{name.replace(' ', '-')}", tasks, tasks, None, None, asked, "", body, self.source
        )

    def states(self, job: str) -> dict[int, str]:
        """Return the word of each element that squeue knows."""
        lines = self.lab.run("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%K %T").splitlines()
        return {int(line.split()[0]): line.split()[1] for line in lines}

    def await_states(self, job: str, *words: str) -> None:
        """Wait until all elements of an array are in one of these states."""
        wait_until(lambda: set(self.states(job).values()) <= set(words), f"{job} in {words}")


def main() -> int:
    """Start a cluster, record, stop it."""
    with own_place("slurmsweep-record") as place:
        environ = os.environ | place.knobs | {"SLURMSWEEP_LAB_CLUSTER": "lab", "SLURMSWEEP_LAB_MINJOBAGE": "300"}
        made = subprocess.run(["useradd", "--no-create-home", NAME], check=False, capture_output=True).returncode == 0
        subprocess.run([HERE / "up"], env=environ, check=True)
        os.environ |= {"SLURM_CONF": str(place.folder / "etc" / "slurm.conf"), "USER": NAME, "LOGNAME": NAME}
        try:
            with tempfile.TemporaryDirectory(prefix="record-") as name:
                home = Path(name)
                shutil.chown(home, NAME, NAME)
                _record(Lab(place.folder), home)
        finally:
            subprocess.run([HERE / "down"], env=environ, check=True)
            if made:
                subprocess.run(["userdel", NAME], check=False)  # unless another run has the user at work
        return 0


def _record(lab: Lab, home: Path) -> None:
    version = ".".join(lab.run("scontrol", "--version").split()[1].split(".")[:2])
    shutil.rmtree(DATA / version, ignore_errors=True)
    (DATA / version).mkdir(parents=True)
    uid = lab.run("id", "-u", NAME).strip()
    host = socket.gethostname().split(".")[0]
    neutral = {re.escape(str(lab.folder)): "/slurm", re.escape(str(home)): "/home/alice", rf"\b{host}\b": "login"}
    neutral |= {rf"\({uid}\)": "(1000)", rf"(?<=[ (]){uid}=": "1000=", f"by {uid}": "by 1000"}
    recorder = Recorder(DATA / version, neutral)
    commands.subprocess = SimpleNamespace(run=recorder.run, TimeoutExpired=subprocess.TimeoutExpired)
    recording = Recording(lab, recorder, home)
    for words in (
        ("qos", "tight", "set", "MaxSubmitJobsPerUser=10"),
        ("account", "group", "set", "GrpSubmitJobs=90"),
        ("user", NAME, "account=group", "set", "qos=normal,tight"),
    ):
        lab.run("sacctmgr", "-iQ", "add", *words)
    wait_until(lambda: recording.sbatch("first", "exit 0", 1, {}).returncode == 0, "the user's account")
    for step in (_limits, _ends, _held, _never_started, _refusals, _orders, _kept_private, _full):
        print(f"record: {step.__name__.strip('_')} ...", flush=True)
        step(recording)
    (DATA / version / "situations.json").write_text(json.dumps(recording.jobs, indent=2) + "\n")
    print(f"record: {DATA / version}")


def _limits(at: Recording) -> None:
    with at.recorder.into("site"):
        site.look_around()
    with at.recorder.into("survey"):
        site.survey("")
    with at.recorder.into("options"):
        commands.call("sbatch", "--help")
    with at.recorder.into("partitions"):
        commands.call("scontrol", "-o", "show", "partition")
    with at.recorder.into("room before any job"):
        limits.room({"qos": "tight"})
    job = at.submit("limits", "exit 0", 6, qos="tight", hold=True)
    with at.recorder.into("room"):
        limits.room({"qos": "tight"})
    with at.recorder.into("refusal by a QOS"):
        at.sbatch("limits", "exit 0", 6, {"qos": "tight"})
    with at.recorder.into("refusal by an account"):
        at.sbatch("limits", "exit 0", 99, {})
    with at.recorder.into("sdiag"):
        limits.free_in_cluster("")
    at.lab.run("scancel", job)


def _ends(at: Recording) -> None:
    cases = "\n".join(f"{n}) {text};;" for n, text in enumerate(ENDS.values()))
    body = f"case $SLURM_ARRAY_TASK_ID in\n{cases}\nesac\nsleep 600"
    count = len(ENDS) + len(TAKEN)
    job = at.submit("ends", body, count, no_requeue=True, nodelist="n1", cpus_per_task="1")
    names = [*ENDS, *TAKEN]
    element = {name: f"{job}_{n}" for n, name in enumerate(names)}
    wait_until(lambda: list(at.states(job).values()).count("RUNNING") == len(TAKEN), "those that go on")
    back = at.submit("put back", "sleep 600", 3, nodelist="n2")
    at.await_states(back, "RUNNING")
    at.lab.run_out_of_memory(element["out of memory"])
    at.lab.run_out_of_time(element["time limit"], 1)
    at.recorder.run(["scancel", element["cancelled"]], env=os.environ, capture_output=True, text=True, check=True)
    at.lab.run("scontrol", "requeue", f"{back}_0")
    at.lab.run("scontrol", "requeuehold", f"{back}_1")
    wait_until(lambda: list(at.states(job).values()).count("RUNNING") == 2, "the ends")
    at.lab.run("scontrol", "suspend", element["suspended and preempted"])
    with at.recorder.into("squeue suspended"):
        queue.ask([job])
    at.lab.run("scontrol", "resume", element["suspended and preempted"])
    at.lab.preempt_on("n1", 8, 1)
    wait_until(lambda: list(at.states(job).values()).count("PREEMPTED") == 2, "the preemption")
    at.await_states(at.submit("running", "sleep 600", 1, nodelist="n3"), "RUNNING")
    wait_until(lambda: at.states(back)[1] == "PENDING", "what is put back and held")
    everything = list(at.jobs.values())
    with at.recorder.into("squeue"):
        queue.ask(everything)
    with at.recorder.into("jobs"):
        commands.call("scontrol", "-o", "show", "job", job)
    with at.recorder.into("found by name"):
        queue.find_by_name(f"{at.source.name}-ends", "")
    wait_until(
        lambda: at.lab.run("sacct", "-X", "-n", "-j", job, "-o", "State%20").count("PREEMPTED") == 2, "accounting"
    )
    with at.recorder.into("sacct"):
        commands.sacct("-X", "-j", ",".join(everything), "-o", queue._SACCT_FIELDS)
    with at.recorder.into("accounts"):
        accounting.accounts(everything)
    with at.recorder.into("restarts"):
        accounting.count_restarts(everything)


def _held(at: Recording) -> None:
    job = at.submit("held", "exit 0", 6, hold=True, partition="urgent", comment="x|y")
    at.submit("dependency", "exit 0", 2, dependency=f"afterany:{job}")
    at.submit("begin", "exit 0", 1, begin="now+1day")
    at.jobs["supervisor"] = wakeup.submit(f"{at.source.name}-mend", "exit 0", {"time": "5"}, When(seconds=86400))
    with at.recorder.into("squeue waiting"):
        queue.ask([at.jobs[name] for name in ("held", "dependency", "begin", "supervisor")])
    with at.recorder.into("supervisors"):
        wakeup.find([f"{at.source.name}-mend"], "")


def _never_started(at: Recording) -> None:
    """Arrays of which some elements ran: what never started is listed by sacct with steps, or in a list of any length."""
    for name, tasks, ran in (
        ("every second", 24, range(0, 24, 2)),
        ("many parts", 60, [n for n in range(60) if n % 7 in (0, 3)]),
    ):
        job = at.submit(name, "exit 3", tasks, hold=True)
        at.lab.run("scontrol", "release", f"{job}_[{changes.ranges(ran)}]")
        wait_until(lambda job=job, ran=ran: all(at.states(job)[n] == "FAILED" for n in ran), "what runs")
        at.recorder.run(["scancel", job], env=os.environ, capture_output=True, text=True, check=True)
        count = f"{job}_["
        wait_until(
            lambda job=job, count=count: count in at.lab.run("sacct", "-X", "-n", "-P", "-j", job, "-o", "JobID")
        )
        wait_until(lambda job=job: "PENDING" not in at.lab.run("sacct", "-X", "-n", "-j", job, "-o", "State"))
        with at.recorder.into(f"sacct {name}"):
            commands.sacct("-X", "-j", job, "-o", queue._SACCT_FIELDS)


def _refusals(at: Recording) -> None:
    for name, options in REFUSED.items():
        with at.recorder.into(f"refusal {name}"):
            at.sbatch("refused", "exit 0", 1, options)
    with at.recorder.into("test-only"):
        executor.earliest_start(at.request("tested", "exit 0", 1, {}))
    with at.recorder.into("test-only refused"):
        executor.earliest_start(at.request("tested", "exit 0", 1, {"partition": "nope"}))


def _orders(at: Recording) -> None:
    held, over = at.jobs["held"], at.jobs["limits"]
    for name, words in {
        "width": ["ArrayTaskThrottle=3"],
        "time": ["TimeLimit=7"],
        "both": ["ArrayTaskThrottle=2", "TimeLimit=8"],
        "partition": ["Partition=nope"],
        "nice": ["Nice=-100"],
        "account": ["Account=nope"],
    }.items():
        with at.recorder.into(f"change {name}"):
            changes.change(held, range(3), words)
    with at.recorder.into("change width of elements"):
        commands.call("scontrol", "update", f"jobid={held}_[0-2]", "ArrayTaskThrottle=2")
    with at.recorder.into("change of what is over"):
        changes.change(over, range(3), ["TimeLimit=7"])
    for verb in ("hold", "release"):
        with at.recorder.into(f"{verb} of what is over"):
            queue.order(verb, [at.jobs["ends"], over])
    with at.recorder.into("cancel of what is over"):
        queue.cancel([over, "99999"])
    with at.recorder.into("squeue of an unknown job"):
        queue.ask(["99999"])
    with at.recorder.into("sacct of an unknown job"):
        queue.ask(["99999"], [JobRef("99999", 0)])


def _reconfigured(at: Recording, line: str) -> None:
    with (at.lab.folder / "etc" / "slurm.conf").open("a") as file:
        file.write(f"{line}\n")
    cluster.asked_configuration.cache_clear()
    at.lab.restart_controller(0)
    wait_until(at.lab.nodes_up, "the nodes")


def _kept_private(at: Recording) -> None:
    _reconfigured(at, "PrivateData=jobs,nodes,partitions,reservations,usage,users,accounts")
    with at.recorder.into("private survey"), suppress(SchedulerUnavailableError):
        site.survey("")
    with at.recorder.into("private squeue"):
        queue.ask([at.jobs["held"]])
    with at.recorder.into("private room"):
        limits.room({"qos": "tight"})
    with at.recorder.into("private site"):
        site.look_around()


def _full(at: Recording) -> None:
    """A full cluster: sbatch tries for two minutes before it says so."""
    _reconfigured(at, "MaxJobCount=2")
    with at.recorder.into("refusal full"):
        at.sbatch("full", "exit 0", 6, {})


if __name__ == "__main__":
    sys.exit(main())
