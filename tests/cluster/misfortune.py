"""What goes wrong on a cluster, done for real: nodes, agents and controllers killed, memory and time used up, preemption.

Everything acts on the cluster whose ``slurm.conf`` SLURM_CONF names, as ``tests/cluster/up`` makes it, by process id.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Ends a running job as an out-of-memory handler of Slurm's would, with the real controller (and database) recording it.
_OUT_OF_MEMORY = """
import ctypes, glob, sys
slurm = ctypes.CDLL(glob.glob('/usr/lib/*/slurm-wlm/libslurmfull.so')[0], mode=ctypes.RTLD_GLOBAL, use_errno=True)
class Step(ctypes.Structure):
    _fields_ = [("sluid", ctypes.c_uint64), ("job", ctypes.c_uint32), ("part", ctypes.c_uint32), ("step", ctypes.c_uint32)]
slurm.slurm_init(None)
job, version = int(sys.argv[1]), tuple(map(int, sys.argv[2].split(".")[:2]))
named = ctypes.c_uint32(job) if version < (26, 5) else ctypes.byref(Step(0, job, 0xFFFFFFFE, 0xFFFFFFFE))
sys.exit(slurm.slurm_complete_job(named, ctypes.c_uint32(253)) != 0)
"""


class Lab:
    """One cluster of this machine.

    Args:
        folder: as ``SLURMSWEEP_LAB``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = os.environ | {"SLURM_CONF": str(folder / "etc" / "slurm.conf")}

    def run(self, *argv: str, check: bool = True) -> str:
        """Return the standard output of one of Slurm's programs."""
        done = subprocess.run(argv, env=self.environ, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout

    def raw_id(self, job: str) -> str:
        """Return the job's own id of an array element ``12_3``."""
        return re.search(r"JobId=(\d+)", self.run("scontrol", "show", "job", job))[1]

    def run_out_of_memory(self, job: str) -> None:
        """Let a running job end as OUT_OF_MEMORY."""
        python = shutil.which("python3", path="/usr/bin:/bin")
        version = self.run("scontrol", "--version").split()[1]
        subprocess.run([python, "-c", _OUT_OF_MEMORY, self.raw_id(job), version], env=self.environ, check=True)

    def run_out_of_time(self, job: str, seconds: int) -> None:
        """Let a running job's time limit come: its warning, and its end, are seen within Slurm's next half minute."""
        self.run("scontrol", "update", f"jobid={job}", f"EndTime=now+{seconds}")

    def preempt_on(self, node: str, cpus: int, seconds: int) -> str:
        """Let an urgent job take so many CPUs of a node away from the jobs that have them; return its id."""
        what = ("-p", "urgent", "-w", node, "-n1", f"-c{cpus}", "--mem=100M", "-t", "5", "-o", "/dev/null")
        return self.run("sbatch", "--parsable", *what, "--wrap", f"sleep {seconds}").strip()

    def has_started(self, job: str) -> bool:
        """Whether a job runs, or did: the controller forgets it a minute after its end, and says so."""
        command = ("squeue", "-h", "-j", job, "-t", "all", "-o", "%T")
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False)
        words = done.stdout.split()
        return words != ["PENDING"] if words else "Invalid job id" in done.stderr

    def kill_node(self, node: str) -> None:
        """Kill a node: its slurmd, then all that ran on it, by kill -9; and its spool is as empty as after a reboot."""
        spool = self.folder / "spool" / node
        jobs = {path.name.rpartition("_")[2].partition(".")[0] for path in spool.glob(f"{node}_*.*")}
        pidfile = self.folder / "run" / f"slurmd.{node}.pid"
        steps = [pid for pid, line in _command_lines() if (found := _STEP.match(line)) and found[1] in jobs]
        tasks = [pid for pid in _pids() if self._runs_on(pid, node)]
        for pid in [int(pidfile.read_text()), *steps, *tasks]:
            kill(pid)
        shutil.rmtree(spool, ignore_errors=True)
        pidfile.unlink(missing_ok=True)

    def boot_node(self, node: str) -> None:
        """Start the node's slurmd again."""
        (self.folder / "spool" / node).mkdir(parents=True, exist_ok=True)
        subprocess.run(["/usr/sbin/slurmd", "-N", node], env=self.environ, check=True)

    def restart_controller(self, seconds: float) -> None:
        """End the controller, and start it again after a while."""
        pidfile = self.folder / "run" / "slurmctld.pid"
        pid = int(pidfile.read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the controller's end")
        time.sleep(seconds)
        self.start_controller()

    def start_controller(self) -> None:
        """Start a controller that has ended, and wait until it answers."""
        subprocess.run(["/usr/sbin/slurmctld"], env=self.environ, check=True)
        wait_until(lambda: "is UP" in self.run("scontrol", "ping", check=False), "the controller")

    def nodes_up(self) -> set[str]:
        """Names of the nodes that take jobs."""
        return set(self.run("sinfo", "-hN", "-p", "main", "-t", "idle,mix,alloc", "-o", "%N", check=False).split())

    def _runs_on(self, pid: int, node: str) -> bool:
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        conf = f"SLURM_CONF={self.folder / 'etc' / 'slurm.conf'}".encode()
        return f"SLURMD_NODENAME={node}".encode() in environ and conf in environ


_STEP = re.compile(r"slurmstepd: \[(\d+)\.")


class Sweep:
    """A sweep under way, looked at on disk: an agent's claims without an outcome.

    Args:
        folder: of the sweep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def running(self) -> dict[int, dict]:
        """Owner of each running attempt by number of its trial, with ``attempt``; of this machine's living agents."""
        found = {}
        for path in self.folder.glob("trials/*/*/*/owner"):
            attempt = path.parent
            if path.is_file() and not (attempt / "outcome.json").exists() and (attempt / "output.log").exists():
                owner = json.loads(path.read_text())["owner"]
                if os.path.exists(f"/proc/{owner['pid']}"):
                    found[int(attempt.parent.name)] = owner | {"attempt": int(attempt.name)}
        return found

    def kill_agent(self, trial: int) -> None:
        """Kill -9 the agent that runs a trial."""
        kill(self.running()[trial]["pid"])


def kill(pid: int) -> None:
    """Kill -9, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid())


def _command_lines() -> Iterator[tuple[int, str]]:
    for pid in _pids():
        with suppress(OSError):  # it ended in between
            yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def slurmsweep(*argv: str, cwd: Path, environ: dict[str, str], check: bool = True) -> subprocess.CompletedProcess[str]:
    """Return the command line as a user runs it."""
    command = [sys.executable, "-m", "slurmsweep", *argv]
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done
