"""docs/hosted.md and docs/notifications.md are followed: each of their commands is typed, on a real Slurm."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cluster.waiting import wait_until
from documented import ROOT, commands
from fake_wandb import serving
from following import Shell, following
from served import served

pytestmark = pytest.mark.cluster

HOSTED = ROOT / "docs" / "hosted.md"
NOTIFICATIONS = ROOT / "docs" / "notifications.md"


def test_a_hosted_sweep(cluster, slurm, tmp_path):
    """Two jobs get a run; the others, which would each start an agent for nothing, are ended as the page says."""
    (tmp_path / "train.py").write_text("import sys\nprint('trained', *sys.argv[1:], flush=True)\n")
    with serving([{"x": 5}, {"x": 6}]) as server:
        environ = server.environ() | cluster.environ | {"SLURMSWEEP_STAGGER": "0"}
        with following(commands(HOSTED), Shell(tmp_path, environ, {})) as typed:
            said = typed("slurmsweep submit my-team/my-project/wbyz9876 --count 40 --time 30")
            [job] = re.findall(r"submitted job (\d+)", said)
            assert "40 agents of W&B's sweep my-team/my-project/wbyz9876" in said
            assert "TimeLimit=00:30:00" in slurm("scontrol", "show", "job", job)
            outputs = tmp_path / ".slurmsweep" / "cloud-wbyz9876" / "jobs"

            def trained() -> set[str]:
                text = "".join(path.read_text() for path in outputs.iterdir() if path.is_file())
                return set(re.findall("trained (.*)", text))

            wait_until(lambda: trained() == {"--x=5", "--x=6"}, "two runs of W&B's points")
            slurm("scancel", job)
            wait_until(lambda: job not in slurm("squeue", "-h", "-o", "%F").split(), "the jobs end")
            assert f"{job}: 40 jobs" in typed("slurmsweep status my-team/my-project/wbyz9876")
    assert list(server.runs.values()) == [{"x": 5}, {"x": 6}]


@contextmanager
def slack():
    """Return the address of a server to which messages are sent, and the list of those it got."""
    got: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

    with served(Handler) as address:
        yield address, got


#: What stands in the script of the page for a program that a machine may not have.
IN_PLACE = {
    "jq": """python3 -c 'import json; print(json.dumps({"text": json.load(open(0))["text"]}))'""",
    "curl": (
        """python3 -c 'import os, sys, urllib.request as r; r.urlopen(r.Request(os.environ["SLACK_URL"],"""
        """ sys.stdin.buffer.read(), {"Content-type": "application/json"}))'"""
    ),
}


def tell_slack() -> str:
    """Return the script of the page, with Python in the place of a program that is not there."""
    script = re.search(r"`tell-slack`:\n\n((?:    .*\n)+)", NOTIFICATIONS.read_text())
    text = re.sub("^    ", "", script[1], flags=re.MULTILINE)
    for program, own in IN_PLACE.items():
        assert re.search(rf"\b{program} ", text)
        if shutil.which(program) is None:
            text = re.sub(rf"\b{program} [^|\n]*", lambda _, own=own: own + " ", text)
    return text


def test_notifications(cluster, write_sweep, slurmsweep, tmp_path):
    write_sweep("pass")
    with slack() as (url, got):
        shell = Shell(tmp_path, cluster.environ | {"SLACK_URL": url}, {"COMMAND": "'tee -a heard'"})
        with following(commands(NOTIFICATIONS), shell) as typed:
            typed("slurmsweep run sweep.yaml --notify COMMAND")
            [heard] = [json.loads(line) for line in (tmp_path / "heard").read_text().splitlines()]
            assert (heard["event"], heard["counts"]) == ("ended", {"finished": 3})

            (tmp_path / "tell-slack").write_text(tell_slack())
            (tmp_path / "tell-slack").chmod(0o755)
            typed("slurmsweep run sweep.yaml --notify ./tell-slack")
            [message] = got
            assert list(message) == ["text"]
            assert re.fullmatch(r"sweep \w{8} has ended: 3 finished", message["text"])

            sweep = slurmsweep("create", "sweep.yaml").stdout.strip()
            shell.stands_for["SWEEP"] = sweep
            said = typed("slurmsweep submit SWEEP --sbatch mail-type=END,FAIL --sbatch mail-user=me@example.org")
    [job] = re.findall(r"submitted job (\d+)", said)
    mails = Path(cluster.environ["SLURM_CONF"]).parents[1] / "log" / "mail"

    def mailed() -> list[str]:
        return [line for line in mails.read_text().splitlines() if f"({job})" in line] if mails.exists() else []

    wait_until(mailed, "Slurm mails")
    [mail] = mailed()  # one about all three trials
    assert mail.startswith("Slurm Array Summary Job_id=")
    assert mail.endswith(" to me@example.org")
