"""A dockerd of this run's own, an image with nothing in it, and agents in containers of that image.

The daemon has its own configuration, data, sockets and containerd in a temporary folder, and no bridge: it changes no
network, and never meets a dockerd that the machine has, nor that of another run. An image is not downloaded: a container
sees the machine's own programs, the tests' interpreter and the sweep by bind mounts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Of Debian's package: a client from elsewhere may be too new for its daemon.
_CLIENT = "/usr/bin/docker"

_IMAGE = "empty:local"
_EMPTY_FOLDERS = ("usr", "lib", "lib64", "bin", "sbin", "etc", "tmp", "proc", "sys", "dev", "root")

#: ``overlay2``: with ``vfs`` each container is a copy, which takes up to a minute.
_CONFIGURATION = {
    "bridge": "none",
    "iptables": False,
    "ip6tables": False,
    "ip-forward": False,
    "storage-driver": "overlay2",
}

#: What containerd makes on each machine on which it starts, and leaves behind.
_LEFT_BEHIND = ("/opt/containerd/bin", "/opt/containerd/lib", "/opt/containerd")

#: Folders of the machine that make the empty image a system.
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc")

REPOSITORY = Path(__file__).parents[2]


class Docker:
    """The client of one daemon, and what containers need to run this interpreter.

    Attributes:
        socket: of the daemon.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def __call__(self, *argv: str, stdin: bytes | None = None) -> str:
        """Run the client; its stdout without the last line's end; of ``logs`` what the container wrote on both."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        environ["DOCKER_HOST"] = f"unix://{self.socket}"
        environ["DOCKER_CONFIG"] = str(self.socket.parent)
        done = subprocess.run([_CLIENT, *argv], env=environ, input=stdin, capture_output=True, check=False, timeout=240)
        out, err = (stream.decode(errors="replace").strip() for stream in (done.stdout, done.stderr))
        assert done.returncode == 0, f"docker {' '.join(argv)}: {err}"
        return f"{out}\n{err}".strip() if argv[0] == "logs" else out

    def start(
        self, *command: str, environ: Mapping[str, str], folder: Path, memory: str = "256m", network: str = "none"
    ) -> str:
        """Start a command as PID 1 of a container that sees ``folder`` at the same path; the container's id.

        ``network="host"`` lets it reach the servers of a test.
        """
        words = ["run", "--detach", "--network", network, "--memory", memory, "--memory-swap", memory]
        words += ["--workdir", str(folder), "--volume", f"{folder}:{folder}"]
        for path in _read_only():
            words += ["--volume", f"{path}:{path}:ro"]
        for name, value in environ.items():
            words += ["--env", f"{name}={value}"]
        return self(*words, _IMAGE, *command)

    def agent(self, sweep: Path | str, environ: Mapping[str, str], folder: Path, **options: str) -> str:
        """Start ``slurmsweep agent --count 1 SWEEP`` in the exec form, as a job of a service does; options as above."""
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        words = (sys.executable, "-m", "slurmsweep", "agent", "--count", "1", str(sweep))
        return self.start(*words, environ={"PATH": path, "HOME": "/root", **environ}, folder=folder, **options)

    def ended(self, container: str) -> dict[str, Any]:
        """Wait for the end of a container; what the daemon says of it: ``ExitCode``, ``OOMKilled`` ..."""
        self("wait", container)
        return json.loads(self("inspect", "--format", "{{json .State}}", container))


def _read_only() -> list[str]:
    """Return the folders that a container needs of this machine: its system, and this interpreter with its packages."""
    wanted = [*_SYSTEM, sys.base_prefix, sys.prefix, str(REPOSITORY)]
    found: list[str] = []
    for path in wanted:
        below = any(Path(path).is_relative_to(known) for known in found)
        if os.path.isdir(path) and not below:
            found.append(path)
    return found


@contextmanager
def running_daemon() -> Iterator[Docker]:
    """Start a daemon in a folder of its own, with the empty image, and stop it again; skips where it cannot start."""
    had_folder = os.path.exists(_LEFT_BEHIND[-1])
    folder = Path(tempfile.mkdtemp(prefix="slurmsweep-dockerd-"))
    configuration, log = folder / "daemon.json", folder / "log"
    configuration.write_text(json.dumps(_CONFIGURATION))
    words = ["--config-file", configuration, "--data-root", folder / "data", "--exec-root", folder / "exec"]
    words += ["--pidfile", folder / "pid", "-H", f"unix://{folder / 'docker.sock'}"]
    environ = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    # it ends with this process even where that is killed
    command = ["setpriv", "--pdeathsig", "TERM", "dockerd", *map(str, words)]
    with open(log, "wb") as output:
        daemon = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    client = Docker(folder / "docker.sock")
    try:
        _wait_for(daemon, client, log)
        client("import", "-", _IMAGE, stdin=_empty_root(folder / "root"))
        _try(client, folder)
        yield client
    finally:
        daemon.terminate()  # it kills its containers, and ends its containerd
        try:
            daemon.wait(timeout=120)
        finally:
            daemon.kill()
            for mounted in _mounted_below(folder):
                subprocess.run(["umount", "--lazy", mounted], check=False)
            shutil.rmtree(folder, ignore_errors=True)
            for left in () if had_folder else _LEFT_BEHIND:
                with suppress(OSError):  # another run may use it
                    os.rmdir(left)


def _wait_for(daemon: subprocess.Popen[bytes], client: Docker, log: Path) -> None:
    """Wait until the daemon answers; skips where this machine does not let it, for example inside of a container."""
    deadline = time.monotonic() + 120
    while True:
        with suppress(AssertionError):
            client("version")
            return
        if daemon.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip().splitlines()
            pytest.skip(f"dockerd does not start here: {said[-1] if said else 'it says nothing'}")
        time.sleep(0.1)


def _try(client: Docker, folder: Path) -> None:
    """Run an empty container; skips where this machine does not let the daemon do that."""
    try:
        ended = client.ended(client.start("/bin/sh", "-c", ":", environ={}, folder=folder))
    except AssertionError as error:
        pytest.skip(f"dockerd starts no container here: {error}")
    assert ended["ExitCode"] == 0, ended


def _empty_root(folder: Path) -> bytes:
    for name in _EMPTY_FOLDERS:
        (folder / name).mkdir(parents=True)
    return subprocess.run(["tar", "--create", "--directory", folder, "."], capture_output=True, check=True).stdout


def _mounted_below(folder: Path) -> list[str]:
    """Return the mount points that the daemon left: the network namespace that it made, and others, deepest first."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((place for place in places if place.startswith(f"{folder}/")), reverse=True)
