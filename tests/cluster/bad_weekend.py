"""A bad weekend on a real cluster without an administrator: every trial finishes once, and a report says what happened.

    scripts/bad-weekend                     200 trials, a cluster with accounting; about five minutes
    scripts/bad-weekend --accounting off    the same where Slurm keeps no accounts
    scripts/bad-weekend --small             32 trials, one of each misfortune

A sweep is submitted with ``--mend`` from a shell that is then killed. Hung trials run out of time and out of memory,
agents are killed, urgent jobs preempt, nodes die and come back, the controller restarts, and the first supervisor that
submits something is killed as it does. Exit code 0 where all that must hold
does. The cluster is this script's own, below SLURMSWEEP_LAB, unless it runs already.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.misfortune import Lab, Sweep, slurmsweep
from cluster.place import own_place
from cluster.waiting import wait_until

HERE = Path(__file__).parent

#: Of each node (tests/cluster/up).
_CPUS = 8

#: Seconds until a time limit: the warning, a minute before, comes at Slurm's next look; the other comes with the end.
_IN_ORDER, _BRUTAL = 50, 1

SCRIPT = """\
import os, sys, time
x, attempt = int(sys.argv[1].split("=")[1]), int(os.environ["SLURMSWEEP_ATTEMPT"])
file = os.open("ran", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(file, f"begin {x} {attempt}\\n".encode())
while attempt == 1 and x <= HANG:
    time.sleep(1)
steps = os.path.join(os.environ["SLURMSWEEP_CHECKPOINT_DIR"], "steps")
done = int(open(steps).read() or 0) if os.path.exists(steps) else 0
while done < STEPS:
    time.sleep(1)
    done += 1
    with open(steps + ".new", "w") as saved:
        saved.write(str(done))
    os.replace(steps + ".new", steps)
os.write(file, f"end {x} {attempt}\\n".encode())
os._exit(0)  # at once: a trial that is told to make way between its last word and its end has not finished
"""

#: In the place of sbatch: kills the supervisor that submits an array, once.
SBATCH = """\
#!/bin/sh
case "$*" in *.sh) test -e {folder}/armed && mkdir {folder}/supervisor-killed 2>/dev/null && kill -9 $PPID ;; esac
exec {sbatch} "$@"
"""


@dataclass(frozen=True)
class Weekend:
    """How bad it is.

    Attributes:
        trials: in all.
        steps: seconds that one takes.
        agents: killed with -9.
        timeouts: hung trials that run out of time.
        memory: hung trials that run out of memory.
        preemptions: at least so many, by an urgent job that takes all of a node.
        nodes: that die and come back.
    """

    trials: int = 200
    steps: int = 15
    agents: int = 10
    timeouts: int = 5
    memory: int = 5
    preemptions: int = 3
    nodes: int = 2

    @property
    def in_order(self) -> int:
        """Time limits whose warning leaves the agent time to say so; the last one of several leaves it none."""
        return max(1, self.timeouts - 1)

    @property
    def hung(self) -> int:
        """Trials that never end by themselves at their first attempt."""
        return self.timeouts + self.memory


BAD = Weekend()
SMALL = Weekend(trials=32, steps=8, agents=1, timeouts=1, memory=1, preemptions=1, nodes=1)


def live_through(lab: Lab, folder: Path, weekend: Weekend, say=print) -> tuple[dict, list[str]]:
    """Run it; the report's document, and what does not hold that must."""
    (folder / "bin").mkdir()
    (folder / "bin" / "sbatch").write_text(SBATCH.format(folder=folder, sbatch=shutil.which("sbatch")))
    (folder / "bin" / "sbatch").chmod(0o755)
    path = [str(folder / "bin"), os.path.dirname(sys.executable), os.environ["PATH"]]
    environ = lab.environ | {"PATH": os.pathsep.join(path)}
    environ = {name: value for name, value in environ.items() if not name.startswith(("WANDB_", "SLURMSWEEP_"))}
    sweep = _submit_from_a_shell_that_dies(folder, environ, weekend, say)
    state = Sweep(folder / "wandb" / f"sweep-{sweep}")
    (folder / "armed").touch()
    happened = _let_it_happen(lab, state, weekend, say)
    report = state.folder / "report.json"
    wait_until(report.exists, "the report", 1200)
    wait_until(lambda: not lab.run("squeue", "-h", "-t", "R,PD,CG", "-o", "%i"), "an empty queue")
    document = json.loads(report.read_text())
    return document, list(_what_does_not_hold(lab, folder, environ, sweep, weekend, happened, document))


def _submit_from_a_shell_that_dies(folder: Path, environ: dict, weekend: Weekend, say) -> str:
    script = SCRIPT.replace("HANG", str(weekend.hung)).replace("STEPS", str(weekend.steps))
    (folder / "train.py").write_text(script)
    (folder / "sweep.yaml").write_text(
        f"program: train.py\nmethod: grid\nparameters:\n  x: {{min: 1, max: {weekend.trials}}}\n"
    )
    command = f"{sys.executable} -m slurmsweep run sweep.yaml --backend slurm --mend --time 10; true"
    with open(folder / "shell.log", "w") as log:
        shell = subprocess.Popen(
            ["bash", "-c", command], cwd=folder, env=environ, stderr=log, stdout=log, start_new_session=True
        )
        wait_until(lambda: "mends itself" in (folder / "shell.log").read_text(), "the submission")
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    say(f"submitted; the shell is killed:\n{(folder / 'shell.log').read_text()}")
    [sweep] = (folder / "wandb").iterdir()
    return sweep.name.removeprefix("sweep-")


def _let_it_happen(lab: Lab, state: Sweep, weekend: Weekend, say) -> Counter:
    """Return the misfortunes, one kind after the other; how many there were."""
    happened: Counter = Counter()
    hung = wait_until(lambda: _hung(state, weekend), "the trials that hang")
    jobs = [f"{owner['job']}_{owner['task']}" for _, owner in sorted(hung.items())]
    for n, job in enumerate(jobs[: weekend.timeouts]):
        lab.run_out_of_time(job, seconds=_BRUTAL if n >= weekend.in_order else _IN_ORDER)
        happened["time limits"] += 1
    for job in jobs[weekend.timeouts :]:
        lab.run_out_of_memory(job)
        happened["out of memory"] += 1
    say(f"time is up for {jobs[: weekend.timeouts]}, memory for {jobs[weekend.timeouts :]}")
    for trial in _young(state, weekend, weekend.agents):
        state.kill_agent(trial)
        happened["agents killed"] += 1
    say(f"{happened['agents killed']} agents killed")
    # each misfortune on nodes of its own: what dies with its node is neither preempted nor out of time
    lodging = {owner["node"] for owner in hung.values()}
    node, urgent = _preempt(lab, state, weekend, lodging, happened, say)
    # on a busy machine trials hang on every node: what the urgent job takes away is requeued before its time is up
    happened["hung, preempted"] = sum(owner["node"] == node for owner in hung.values())
    if len(_in_use(state) - {*lodging, node}) < weekend.nodes:
        wait_until(lambda: not _still_hung(state, weekend), "the end of what hung")
        lodging = set()
    nodes = sorted(_in_use(state) - {*lodging, node})[: weekend.nodes]
    for node in nodes:
        lab.kill_node(node)
        happened["nodes killed"] += 1
    say(f"nodes {nodes} killed")
    wait_until(lambda: not _still_hung(state, weekend), "the end of what hung")
    # a controller that restarts while preempted jobs have their grace calls their end a time limit (22.05)
    wait_until(lambda: lab.has_started(urgent), "the urgent job")
    lab.restart_controller(3)
    say("the controller restarted")
    for node in nodes:
        lab.boot_node(node)
    wait_until(lambda: len(lab.nodes_up()) >= len(nodes), "the nodes")
    return happened


def _in_use(state: Sweep) -> set[str]:
    return {owner["node"] for owner in state.running().values()}


def _hung(state: Sweep, weekend: Weekend) -> dict:
    running = {trial: owner for trial, owner in state.running().items() if trial < weekend.hung}
    return running if len(running) == weekend.hung else {}


def _still_hung(state: Sweep, weekend: Weekend) -> list[int]:
    return [trial for trial, owner in state.running().items() if trial < weekend.hung and owner["attempt"] == 1]


def _young(state: Sweep, weekend: Weekend, most: int) -> list[int]:
    """Trials that have begun not long ago, and do not hang: their agents are killed in the middle."""

    def found() -> list[int]:
        others = sorted(trial for trial in state.running() if trial >= weekend.hung)
        young = [t for t in others if _steps(state, t) <= weekend.steps // 2]
        return young[:most] if len(young) >= most else []

    return wait_until(found, "young trials")


def _steps(state: Sweep, trial: int) -> int:
    try:
        return int((state.folder / "trials" / "0" / str(trial) / "checkpoints" / "steps").read_text() or 0)
    except FileNotFoundError:
        return 0


def _preempt(lab: Lab, state: Sweep, weekend: Weekend, lodging: set[str], happened: Counter, say) -> tuple[str, str]:
    """Return an urgent job on a node that is in use, where nothing hangs if there is one; the node, and the job."""

    def busiest() -> str:
        everywhere = Counter(owner["node"] for owner in state.running().values())
        use = Counter({node: jobs for node, jobs in everywhere.items() if node not in lodging}) or everywhere
        node, jobs = use.most_common(1)[0] if use else ("", 0)
        return node if jobs >= min(_CPUS, 2 * weekend.preemptions) else ""

    node = wait_until(busiest, "a busy node")
    job = lab.preempt_on(node, _CPUS, 5)  # all of them: what ends by itself in this moment is no preemption
    happened["preemptions"] += weekend.preemptions
    say(f"an urgent job takes all CPUs of {node}")
    return node, job


def _what_does_not_hold(lab, folder, environ, sweep, weekend, happened, document):
    counts = document["counts"]
    if counts != {"finished": weekend.trials}:
        yield f"not every trial finished: {counts}"
    lines = [line.split() for line in (folder / "ran").read_text().splitlines()]
    ends = Counter(int(x) for word, x, _ in lines if word == "end")
    if ends != Counter(range(1, weekend.trials + 1)):
        wrong = {x for x in range(1, weekend.trials + 1) if ends[x] != 1}
        yield f"not every trial ended once: {[' '.join(line) for line in lines if int(line[1]) in wrong]}"
    check = slurmsweep("check", sweep, cwd=folder, environ=environ, check=False)
    if check.returncode:
        yield f"check: {check.stdout}"
    wanted = {"time limits": weekend.timeouts, "out of memory": weekend.memory, "agents killed": weekend.agents}
    wanted |= {"nodes killed": weekend.nodes, "preemptions": weekend.preemptions}
    wanted |= {"hung, preempted": happened["hung, preempted"]}
    if not (folder / "supervisor-killed").exists():
        yield "no supervisor was killed"
    if happened != wanted:
        yield f"the weekend was not as bad as it should be: {dict(happened)}"
    yield from _what_the_report_misses(weekend, document, happened["hung, preempted"])
    left = subprocess.run(["pgrep", "-f", f"{folder}|train.py --x="], capture_output=True, text=True, check=False)
    orphans = [pid for pid in left.stdout.split() if _cwd(pid) == folder]
    if orphans:
        yield f"processes left behind: {orphans}"


def _cwd(pid: str) -> Path | None:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return None


def _what_the_report_misses(weekend: Weekend, document: dict, preempted: int):
    """Yield misfortunes that the report lacks: by their cause, or, without accounting, among those of unknown cause.

    ``preempted`` of the trials that hung were preempted first; which ones they were depends on the machine.
    """
    causes: Counter = Counter()
    for end in document["ends"]:
        causes[end["cause"]] += end["attempts"]
    if causes.total() - causes["requeued"] < weekend.agents + weekend.hung - preempted:
        yield f"the report has too few of what was killed: {dict(causes)}"
    says = Counter(document["slurm_says"])
    if causes["timeout"] < weekend.in_order - preempted:
        yield f"the report has too few time limits: {dict(causes)}"
    if document["accounting"] == "used":
        if causes["timeout"] + says["TIMEOUT"] < weekend.timeouts - preempted:
            yield f"the report has too few time limits: {dict(causes)}, {dict(says)}"
        if says["OUT_OF_MEMORY"] < weekend.memory - preempted:
            yield f"the report has too few out of memory: {dict(says)}"
        # Slurm 22.05 calls some preempted jobs TIMEOUT: their grace is a new end of their time
        if says["PREEMPTED"] + says["TIMEOUT"] < weekend.preemptions or not says["NODE_FAIL"]:
            yield f"the report has too few preemptions or node failures: {dict(says)}"
    elif document["unknown"] != causes["lost"]:
        yield f"the report says {document['unknown']} causes are unknown, and {causes['lost']} are"


def main() -> int:
    """Start a cluster, live through it, say how it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--accounting", choices=("on", "off"), default="on")
    args = parser.parse_args()
    with own_place("slurmsweep-weekend") as own:
        place, knobs = own, {"SLURMSWEEP_LAB_NODES": "6"}
        if args.accounting == "off":
            place = own.beside("plain", 100)
            knobs |= {"SLURMSWEEP_LAB_ACCOUNTING": "0", "SLURMSWEEP_LAB_MINJOBAGE": "2"}
        environ = os.environ | place.knobs | knobs
        was_up = (place.folder / "run" / "slurmctld.pid").exists()
        subprocess.run([HERE / "up"], env=environ, check=True)
        try:
            with tempfile.TemporaryDirectory(prefix="bad-weekend-", ignore_cleanup_errors=True) as name:
                return _report(Lab(place.folder), Path(name).resolve(), SMALL if args.small else BAD)
        finally:
            if not was_up:
                subprocess.run([HERE / "down"], env=environ, check=True)


def _report(lab: Lab, folder: Path, weekend: Weekend) -> int:
    begin = time.monotonic()
    document, problems = live_through(lab, folder, weekend, lambda line: print(line, flush=True))
    print((next((folder / "wandb").iterdir()) / "report.txt").read_text())
    print(f"{time.monotonic() - begin:.0f} s; rounds of mending {document['rounds']}")
    print("\n".join(f"DOES NOT HOLD: {problem}" for problem in problems) or "all that must hold does")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
