"""A real Chromium that opens a page, for tests: its DOM, what it says on its console, what a script of the test finds."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

#: Why tests that need it are skipped.
MISSING = "no Chromium: tests/report/install-browser installs Debian's, as root"

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--enable-logging=stderr", "--v=0"),
)

#: The page's clock stands still while it works, so that nothing is cut off on a busy machine.
_STILL = "--virtual-time-budget=20000"


class Opened(NamedTuple):
    """A page that was opened.

    Attributes:
        dom: the document after its scripts ran.
        console: every line that it, or the browser about it, said on its console; not those of the test.
        found: what the test's script returned.
    """

    dom: str
    console: list[str]
    found: Any


def opened(
    page: Path, folder: Path, script: str = "", *options: str, fragment: str = "", by_the_clock: bool = False
) -> Opened:
    """Open a page, and run ``script`` in it once it is ready; it returns a value that JSON has.

    ``by_the_clock`` lets the page's clock run, so that its times are true; then there is no DOM.

    The page's policy allows its own script alone: the copy that is opened allows the test's as well.
    """
    if script:
        waits = (
            "(async () => { for (let n = 0; n < 400 && !window.__ready; n++) await new Promise(go => setTimeout(go, 20));"
            f" console.log('TEST ' + JSON.stringify(await (async () => {{ {script} }})())); }})();"
        )
        digest = base64.b64encode(hashlib.sha256(waits.encode()).digest()).decode()
        text = page.read_text().replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
        page = folder / f"tested-{page.name}"
        page.write_text(text.replace("</body>", f"<script>{waits}</script></body>"))
    command = [str(CHROMIUM), *_OPTIONS, f"--user-data-dir={folder / 'profile'}"]
    if by_the_clock:
        stderr, dom = _until_it_said(["TEST "], [*command, f"file://{page}{fragment}"]), ""
    else:
        asked = options or ("--dump-dom",)
        done = subprocess.run(
            [*command, _STILL, *asked, f"file://{page}{fragment}"],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        stderr, dom = done.stderr, done.stdout
    said = re.findall(r'CONSOLE[^"]*"((?:[^"\\]|\\.|"(?!, source))*)"', stderr)
    mine = [line for line in said if line.startswith("TEST ")]
    assert not script or mine, stderr[-3000:]
    return Opened(dom, [line for line in said if line not in mine], json.loads(mine[0][5:]) if mine else None)


def _until_it_said(words: list[str], command: list[str]) -> str:
    """Return what a process says on stderr until it has said one of the words; it is ended then, with its children."""
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    said = []
    assert process.stderr is not None
    try:
        for line in process.stderr:
            said.append(line)
            if any(word in line for word in words):
                break
    finally:  # also where the test is cut off or interrupted: it is in a session of its own
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    return "".join(said)
