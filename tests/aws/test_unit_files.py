"""The unit of systemd and the user data of machines: read by their real parsers, and as the shell reads them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

TEMPLATES = Path(__file__).parent.parent.parent / "job_templates"
UNIT, USER_DATA = TEMPLATES / "slurmsweep-agent.service", TEMPLATES / "ec2-user-data.yaml"

#: Packages for Python that cloud-init needs.
MODULES = (
    "requests",
    "urllib3",
    "charset-normalizer",
    "chardet",
    "certifi",
    "idna",
    "configobj",
    "jinja2",
    "markupsafe",
    "yaml",
    "jsonschema",
    "attr",
    "pyrsistent",
    "oauthlib",
    "jsonpatch",
    "json-pointer",
    "netifaces",
    "six",
    "serial",
)


@pytest.fixture(scope="module")
def cloud_init(tmp_path_factory):
    """Return the words of cloud-init, and its environment: this machine's, or Debian's packages in a folder."""
    if shutil.which("cloud-init"):
        return ["cloud-init"], {}
    if not (shutil.which("apt-get") and shutil.which("dpkg") and os.path.exists("/usr/bin/python3")):
        pytest.skip("no cloud-init here, and no Debian to take it from")
    folder = tmp_path_factory.mktemp("cloud-init")
    got = subprocess.run(
        ["apt-get", "download", "cloud-init", *(f"python3-{name}" for name in MODULES)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if got.returncode:
        pytest.skip(f"no cloud-init here, and Debian's could not be had: {got.stderr[-200:]}")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
    path = folder / "root/usr/lib/python3/dist-packages"
    words, environ = ["/usr/bin/python3", "-m", "cloudinit.cmd.main"], {"PYTHONPATH": str(path)}
    tried = subprocess.run([*words, "--version"], env=os.environ | environ, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"Debian's cloud-init does not start here: {tried.stderr[-200:]}")
    return words, environ


def schema(cloud_init, file):
    words, environ = cloud_init
    return subprocess.run(
        [*words, "schema", "-c", str(file)], env=os.environ | environ, capture_output=True, text=True, check=False
    )


def test_cloud_init_takes_the_user_data(cloud_init):
    done = schema(cloud_init, USER_DATA)

    assert (done.returncode, "Valid cloud-config" in done.stdout + done.stderr) == (0, True), done.stderr


def test_cloud_init_refuses_a_mistake_in_the_user_data(cloud_init, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(USER_DATA.read_text().replace("mounts:", "mounts: 7\n_:"))

    done = schema(cloud_init, wrong)

    assert (done.returncode, "mounts" in done.stdout + done.stderr) == (1, True)


def test_the_user_data_has_only_keys_of_cloud_init_and_no_key_of_aws():
    document = yaml.safe_load(USER_DATA.read_text())  # the schema lets an unknown key at the top pass

    assert set(document) == {"packages", "mounts", "write_files", "runcmd"}
    assert not re.search(r"AKIA|SECRET|aws_access|WANDB_API_KEY=", USER_DATA.read_text())


@pytest.fixture
def verify():
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here (Debian: systemd)")

    def run(file):
        return subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("is_off_when_idle", [False, True])
def test_systemd_takes_the_unit(verify, tmp_path, is_off_when_idle):
    unit = tmp_path / UNIT.name
    text = UNIT.read_text()
    unit.write_text(text.replace("#ExecStopPost", "ExecStopPost") if is_off_when_idle else text)

    done = verify(unit)

    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_finds_a_mistake_in_the_unit(verify, tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("KillMode=mixed", "KillMode=mixt"))

    assert "Failed to parse kill mode specification" in verify(unit).stderr


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, ["listen", "https://q", "--root", "/shared data"]),
        (
            {"OPTIONS": "--idle 600 --time 2:00:00"},
            ["listen", "https://q", "--root", "/shared data", "--idle", "600", "--time", "2:00:00"],
        ),
    ],
)
def test_the_unit_starts_listen_with_the_words_of_its_environment(tmp_path, variables, words):
    [command] = re.findall(r"^ExecStart=/bin/sh -c '(.*)'$", UNIT.read_text(), re.MULTILINE)
    program = tmp_path / "slurmsweep"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    environ = {"QUEUE": "https://q", "ROOT": "/shared data", "SLURMSWEEP": str(program), **variables}

    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("$$", "$")], env=environ, capture_output=True, text=True, check=False
    )

    assert done.stdout.splitlines() == words


def test_templates_lists_documents_and_prints_them_as_they_are(slurmsweep):
    listed = slurmsweep("templates").stdout
    printed = slurmsweep("templates", "slurmsweep-agent.service")

    assert "ec2-user-data.yaml" in listed
    assert printed.returncode == 0
    assert printed.stdout.rstrip("\n") == UNIT.read_text().rstrip("\n")
