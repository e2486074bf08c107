"""A sweep that an older version left half run is read as that version read it, and run to its end."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from slurmsweep.state.journal import decode

DATA = Path(__file__).parent.parent / "data" / "sweep-golden"
SWEEP = next((DATA / "files" / "wandb").iterdir()).name.removeprefix("sweep-")

#: Records and their keys that the version knew which made the sweep: nothing else may be written while the journal says
#: that it is of version 1.
KEYS = {
    "claim": {"t", "a", "k", "o", "at"},
    "end": {"t", "a", "k", "out"},
    "void": {"t", "a"},
    "retry": {"t", "why", "for", "more"},
    "submit": {"name", "tasks", "job", "asked", "template", "wishes", "agents", "resumes", "cluster"},
    "sweep": {"state"},
    "exhausted": set(),
    "counted": set(),
}
INSIDE = {
    "h": {"s", "n", "c", "q", "w", "m", "e"},
    "o": {"host", "pid", "start", "boot", "pid_space", "node", "cluster", "job", "task", "restart"},
    "out": {"state", "cause", "exit_code", "metric", "seconds", "cpu_seconds", "max_rss_mb", "ended", "by", "origin"}
    | {"no_metric", "metrics"},
}


def made():
    """Return the module that made the sweep."""
    spec = importlib.util.spec_from_file_location("make", DATA / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def golden(tmp_path, slurmsweep):
    """Return a copy of the sweep, and the command line in the surroundings in which its answers were recorded."""
    make = made()
    for file in (DATA / "files").rglob("*"):
        if file.is_file():
            target = tmp_path / file.relative_to(DATA / "files")
            target.parent.mkdir(parents=True, exist_ok=True)
            content = file.read_bytes()
            if file.name != "journal.log":
                content = make.substituted(content.decode(), tmp_path, sys.executable, back=True).encode()
            target.write_bytes(content)
    environ = make.environment(tmp_path, sys.executable)

    def ask(*argv):
        return slurmsweep(*argv, PATH=environ["PATH"], SLURM_CONF=environ["SLURM_CONF"])

    return ask


def journal(folder) -> bytes:
    return (folder / "wandb" / f"sweep-{SWEEP}" / "journal.log").read_bytes()


def unknown_words(data: bytes) -> list[str]:
    """Kinds of records, and keys, that the older version did not know; and lines that it could not read."""
    found = []
    for line in data.splitlines():
        record = decode(line)
        if record is None or record["op"] not in KEYS:
            found.append(line.decode())
            continue
        found += [f"{record['op']}: {key}" for key in record.keys() - KEYS[record["op"]] - {"op", "h"}]
        found += [
            f"{key}: {word}" for key in INSIDE.keys() & record.keys() for word in record[key].keys() - INSIDE[key]
        ]
    return found


@pytest.mark.parametrize("name", made().QUESTIONS)
def test_it_answers_as_it_did(golden, tmp_path, name):
    expected = json.loads((DATA / "expected.json").read_text())[name]

    done = golden(name, SWEEP, "--json")

    assert done.returncode == expected["code"], done.stderr
    document = json.loads(made().substituted(done.stdout, tmp_path, sys.executable))
    assert only_known(document, expected["document"]) == SINCE.get(name, lambda old: old)(expected["document"])


#: Of a trial that is to be run again no result is shown since.
NO_RESULT = {"cause": "", **dict.fromkeys(("metric", "seconds", "cpu_seconds", "max_rss_mb", "exit_code"))}

#: What is said otherwise since: another word where nothing runs and trials are open, and the above.
SINCE = {
    "status": lambda old: old | {"state": "idle"},
    "trials": lambda old: [row | NO_RESULT if row["state"] == "pending" else row for row in old],
}


def only_known(document, old):
    """Return the document without the keys that a later version added."""
    if isinstance(document, dict) and isinstance(old, dict):
        return {key: only_known(value, old[key]) for key, value in document.items() if key in old}
    if isinstance(document, list) and isinstance(old, list) and len(document) == len(old):
        return [only_known(*pair) for pair in zip(document, old, strict=True)]
    return document


def test_it_is_run_to_its_end_and_older_readers_understand_every_new_record(golden, tmp_path):
    old = journal(tmp_path)

    done = golden("run", SWEEP, "--backend", "local", "--json")

    assert done.returncode == 0, done.stderr  # trial 1 failed before: that is left to resubmit
    counts = json.loads(done.stdout)["counts"]
    assert {state: n for state, n in counts.items() if n} == {"finished": 13, "failed": 1}
    assert golden("resubmit", SWEEP, "--backend", "local").returncode == 0
    status = json.loads(golden("status", SWEEP, "--json").stdout)
    assert (status["counts"]["finished"], status["best"]["number"]) == (14, 9)
    attempts = {trial["number"]: trial["attempt"] for trial in json.loads(golden("trials", SWEEP, "--json").stdout)}
    assert attempts == dict.fromkeys(range(14), 1) | {1: 3, 4: 2, 5: 2, 6: 2, 7: 2}
    checked = golden("check", SWEEP, "--json")
    assert (checked.returncode, json.loads(checked.stdout)["findings"]) == (0, [])
    assert journal(tmp_path).startswith(old)
    assert unknown_words(journal(tmp_path)[len(old) :]) == []


def test_orders_and_submissions_write_records_that_older_readers_understand(golden, tmp_path):
    old = journal(tmp_path)
    orders = {
        ("pause",): 0,
        ("resume",): 0,
        ("submit", "--count", "2", "--time", "3"): 0,
        ("submit", "--count", "2", "--partition", "nope"): 4,
        ("resubmit", "--trials", "1,7", "--no-wait"): 0,
        ("delete", "--trials", "0"): 0,
        ("stop",): 0,
    }

    codes = {order: golden(order[0], SWEEP, *order[1:]) for order in orders}

    assert {order: done.returncode for order, done in codes.items()} == orders, [d.stderr for d in codes.values()]
    new = journal(tmp_path)[len(old) :]
    assert journal(tmp_path).startswith(old)
    assert unknown_words(new) == []
    assert {decode(line)["op"] for line in new.splitlines()} == {"sweep", "submit", "retry"}
