"""The main paths as users have a cluster: no operator, one account, and nodes, partitions and others' jobs kept from them.

Where sinfo is not installed, or a site keeps from its users what it tells, no bounds are known, and nothing else changes.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import pytest
from cluster.waiting import wait_until

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]

NAME = "alice"

#: Waits for a file of its point's name, or for all; what is to fail fails in the first attempt only.
SCRIPT = """\
import os, sys, time
name = sys.argv[1].lstrip("-")
while not (os.path.exists(name) or os.path.exists("all")):
    time.sleep(0.1)
if os.environ["SLURMSWEEP_ATTEMPT"] == "1" and name == "x=1":
    os.kill(os.getpid(), 9)
if os.environ["SLURMSWEEP_ATTEMPT"] == "1" and name == "x=2":
    sys.exit(3)
"""


class User:
    """A user who is no operator, in a folder of the user's own.

    Args:
        path: the user's PATH.
        conf: of the cluster.
    """

    def __init__(self, folder: Path, path: str, conf: str) -> None:
        self.folder = folder
        self._environ = {"PATH": path, "HOME": str(folder), "USER": NAME, "LOGNAME": NAME, "SLURM_CONF": conf}
        # the tests' own Python may be in a folder of root's, which is closed to others
        self._environ["PYTHONPATH"] = f"{REPOSITORY}:{sysconfig.get_path('purelib')}"

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            cwd=self.folder,
            env=self._environ,
            user=NAME,
            group=NAME,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def __call__(self, *argv: str) -> str:
        """Run the command line; its stdout."""
        done = self.run("python", "-m", "slurmsweep", *argv)
        assert done.returncode == 0, (argv, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout

    def has(self, program: str) -> bool:
        return shutil.which(program, path=self._environ["PATH"]) is not None

    def create(self, points: int) -> str:
        (self.folder / "train.py").write_text(SCRIPT)
        sweep = {"program": "train.py", "method": "grid", "parameters": {"x": {"min": 1, "max": points}}}
        (self.folder / "sweep.yaml").write_text(json.dumps(sweep))
        return self("create", "sweep.yaml").strip()

    def counts(self, sweep: str) -> dict[str, int]:
        document = json.loads(self("status", sweep, "--json"))
        return {state: n for state, n in document["counts"].items() if n}

    def finish(self, *names: str) -> None:
        for name in names or ["all"]:
            (self.folder / name).touch()


@pytest.fixture(scope="module")
def account(private_cluster):
    """Make the user, where this machine has none of that name, with one association."""
    environ = os.environ | private_cluster.environ
    try:
        pwd.getpwnam(NAME)
        made = False
    except KeyError:
        subprocess.run(["useradd", "--no-create-home", NAME], check=True, capture_output=True)
        made = True
    add = ("sacctmgr", "-iQ", "add", "user", NAME, "account=lab", "cluster=private")
    subprocess.run(add, env=environ, check=True, capture_output=True)
    yield environ
    if made:
        subprocess.run(["userdel", NAME], check=False)  # unless another run has the user at work


@pytest.fixture(params=["sinfo is refused", "no sinfo"])
def alice(request, account):
    def queue() -> str:
        return subprocess.run(["squeue", "-h"], env=account, check=True, capture_output=True, text=True).stdout

    with tempfile.TemporaryDirectory(prefix="slurmsweep-alice-") as name:
        folder, programs = Path(name) / "home", Path(name) / "bin"
        for made in (folder, programs):
            made.mkdir()
        Path(name).chmod(0o755)
        shutil.chown(folder, NAME, NAME)
        for program in Path("/usr/bin").iterdir():
            if program.name not in ("python", "sinfo"):
                (programs / program.name).symlink_to(program)
        (programs / "python").symlink_to("/usr/bin/python3")
        if request.param != "no sinfo":
            (programs / "sinfo").symlink_to("/usr/bin/sinfo")
        user = User(folder, str(programs), account["SLURM_CONF"])
        seen = user.run("python", "-c", "import slurmsweep.cli.main")
        if seen.returncode:
            pytest.skip(f"other users cannot read this checkout: {seen.stderr.strip().splitlines()[-1]}")
        answer = user.run("sh", "-c", "sinfo --noheader --Node")
        assert (answer.returncode, "denied" in answer.stderr) == ((1, True) if user.has("sinfo") else (127, False))
        yield user
        subprocess.run(["scancel", "-u", NAME], env=account, check=True)
        wait_until(lambda: not queue(), "the end of the user's jobs")


def test_what_crashed_and_failed_is_run_again(alice):
    sweep = alice.create(4)
    plan = alice("plan", "sweep.yaml")
    alice("submit", sweep, "--time", "5", "--mem", "100M")
    wait_until(lambda: alice.counts(sweep) == {"running": 4}, "four trials")
    alice.finish()
    wait_until(lambda: alice.counts(sweep) == {"finished": 2, "failed": 1, "crashed": 1}, "the ends")
    alice("resubmit", sweep)
    wait_until(lambda: alice.counts(sweep) == {"finished": 4}, "the second attempts")

    assert "1 array" in plan
    assert alice("check", sweep).startswith("4 trials, 6 attempts")
    assert "6 attempts of 4 trials" in alice("efficiency", sweep)


def test_the_limits_are_learnt(alice):
    def ended() -> int:
        return sum(n for state, n in alice.counts(sweep).items() if state not in ("pending", "running"))

    alice.finish()
    sweep = alice.create(6)
    command = ("submit", sweep, "--time", "auto", "--mem", "auto", "--canaries", "3", "--json")
    first = json.loads(alice(*command))
    wait_until(lambda: ended() == 3, "the canaries")
    rest = json.loads(alice(*command))
    wait_until(lambda: ended() == 6, "the rest")
    alice("resubmit", sweep, "--time", "auto")
    wait_until(lambda: alice.counts(sweep) == {"finished": 6}, "the second attempts")

    assert (first["step"], first["left"]) == ("canaries", 3)
    assert (rest["step"], [array["minutes"] for array in rest["arrays"]]) == ("rest", [5])


def test_a_supervisor_runs_it_again_by_itself(alice):
    alice.finish()
    sweep = alice.create(4)
    alice("submit", sweep, "--mend", "--time", "5")

    wait_until(lambda: alice.counts(sweep) == {"finished": 4}, "the second attempts")
    assert alice("check", sweep).startswith("4 trials, 6 attempts")


def test_it_is_paused_changed_resumed_and_cancelled(alice):
    sweep = alice.create(6)
    alice("submit", sweep, "--time", "10", "--width", "2")
    wait_until(lambda: alice.counts(sweep) == {"running": 2, "pending": 4}, "two trials")

    alice("pause", sweep)
    alice.finish("x=1", "x=2")
    wait_until(lambda: "running" not in alice.counts(sweep), "the ends of the two")
    changed = json.loads(alice("set", sweep, "--time", "7", "--width", "3", "--json"))
    assert [(row["waiting"], row["problems"]) for row in changed] == [(4, [])]
    alice("resume", sweep)
    wait_until(lambda: alice.counts(sweep) == {"running": 3, "pending": 1, "crashed": 1, "failed": 1}, "three trials")

    alice("cancel", sweep)
    wait_until(lambda: "running" not in alice.counts(sweep), "the end")
    alice("reconcile", sweep)
    assert alice.counts(sweep) == {"killed": 3, "pending": 1, "crashed": 1, "failed": 1}


def test_the_doctor_says_what_is_kept_from_the_user(alice):
    rows = {row["subject"]: row for row in json.loads(alice("doctor", str(alice.folder), "--json"))}

    assert (rows["accounting"]["fitness"], rows["bounds"]["fitness"]) == ("good", "warn")
    why = "denied" if alice.has("sinfo") else "there is no sinfo on this machine"
    assert why in rows["bounds"]["why"]
