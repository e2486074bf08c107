"""``show``: one trial with all that is known of it, a command that runs by hand, and why it has its point."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slurmsweep.state.owner import Owner

LOGS = """
import os, slurmsweep
run = slurmsweep.init()
slurmsweep.log({"loss": (run.config.lr - 0.3) ** 2, "epoch": 3, "inner": {"acc": 0.5}})
print("the parameters are", dict(run.config))
"""

SPACE = """  lr: {min: 0.0, max: 1.0}
  optimizer: {values: [sgd, adam, lion]}
  layers: {value: 3}"""

METRIC = "metric: {name: loss, goal: minimize}"

#: Makes every proposal of a sweep again, as `show` does, in one process with one thread.
ALL_AGAIN = """
import json, os, sys
from slurmsweep.cli.options import one_thread
one_thread()
from slurmsweep.learning.explanation import explanation
from slurmsweep.state.store import SweepStore
store = SweepStore.open(sys.argv[1])
view = store.replay()
for number, chosen in view.chosen.items():
    print(json.dumps([number, list(chosen.basis), explanation(store.manifest, store.journal, view, number).to_json()]))
"""


@pytest.fixture
def show(slurmsweep):
    """The document of ``show --json``."""

    def show(sweep, trial, **environ) -> dict:
        done = slurmsweep("show", sweep, str(trial), "--json", **environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return show


def run(slurmsweep, file, *options, code=0, **environ) -> str:
    done = slurmsweep("run", str(file), "--backend", "local", *options, "--json", **environ)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)["id"]


def words_of(done) -> str:
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


# what is known of a trial --------------------------------------------------------------------------------------------


def test_a_finished_trial_is_shown_with_all_that_it_logged(slurmsweep, write_sweep, show, tmp_path):
    sweep = run(slurmsweep, write_sweep(LOGS, SPACE, f"{METRIC}\nrun_cap: 2", "random"))

    document = show(sweep, 1)

    folder = tmp_path / ".slurmsweep" / f"sweep-{sweep}" / "trials" / "0" / "1"
    assert (document["number"], document["state"], document["cause"]) == (1, "finished", "")
    assert document["params"].keys() == {"layers", "lr", "optimizer"}
    assert document["metric"] == document["logged"]["loss"] == pytest.approx((document["params"]["lr"] - 0.3) ** 2)
    assert document["logged"]["epoch"] == 3
    assert document["log"] == str(folder / "1" / "output.log")
    assert document["checkpoint_folder"] == str(folder / "checkpoints")
    [attempt] = document["attempts"]
    assert (attempt["attempt"], attempt["state"], attempt["node"]) == (1, "finished", os.uname().nodename)
    assert attempt["seconds"] > 0
    assert document["why"] is None  # the number decides


def test_each_attempt_is_shown_with_its_end(slurmsweep, write_sweep, show):
    fails_first = "import os, sys; sys.exit(3 if os.environ['SLURMSWEEP_ATTEMPT'] == '1' else 0)"
    sweep = run(slurmsweep, write_sweep(fails_first, "  x: {values: [1]}"), code=1)
    slurmsweep("resubmit", sweep, "--backend", "local")

    attempts = show(sweep, 0)["attempts"]
    words = words_of(slurmsweep("show", sweep, "0"))

    assert [(one["attempt"], one["state"], one["cause"]) for one in attempts] == [
        (1, "failed", "exit 3"),
        (2, "finished", ""),
    ]
    assert "attempts 1 failed (exit 3), on" in words
    assert "2 finished, on" in words


def test_a_trial_that_never_ran_is_shown_with_its_point(slurmsweep, write_sweep, show):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()

    document = show(sweep, 2)

    assert (document["state"], document["params"], document["attempts"]) == ("pending", {"x": 3}, [])
    assert (document["log"], document["logged"]) == (None, {})
    assert "state pending" in words_of(slurmsweep("show", sweep, "2"))


def test_an_empty_text_is_a_value_too(slurmsweep, write_sweep):
    sweep = slurmsweep("create", str(write_sweep("pass", "  suffix: {value: ''}\n  x: {value: 1}"))).stdout.strip()
    assert "parameters suffix '' x 1 " in words_of(slurmsweep("show", sweep, "0"))


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_unknown_trial_says_which_there_are(slurmsweep, write_sweep, options):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()

    done = slurmsweep("show", sweep, "3", *options)

    assert (done.returncode, done.stdout) == (3, "")
    assert f"sweep {sweep} has trials 0 to 2: there is no trial 3" in done.stderr


def test_an_adopted_trial_says_where_it_ran(slurmsweep, write_sweep, show):
    file = write_sweep(LOGS.replace("run.config.lr", "run.config.x"), extra=METRIC)
    first = run(slurmsweep, file)
    second = slurmsweep("create", str(file), "--prior", first).stdout.strip()

    document = show(second, 1)

    assert (document["state"], document["origin"], document["log"]) == ("finished", f"{first}/1", None)
    assert f"ran as trial {first}/1, in another sweep" in words_of(slurmsweep("show", second, "1"))


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_lines_fit_eighty_columns(slurmsweep, write_sweep, method):
    name = "a_parameter_whose_name_is_longer_than_most_people_would_ever_choose"
    space = f"{SPACE}\n  {name}: {{values: ['{'x' * 300}', '{'y ' * 150}']}}\n  bad: {{value: \"a\\x1b[2J\\n'b\\\\\"}}"
    sweep = run(slurmsweep, write_sweep(LOGS, space, f"{METRIC}\nrun_cap: 2", method))

    for trial in ("0", "1"):
        done = slurmsweep("show", sweep, trial)
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
        assert all(line.isprintable() for line in done.stdout.splitlines())


# by hand -------------------------------------------------------------------------------------------------------------


def by_hand(command: str, **environ) -> str:
    done = subprocess.run(
        ["bash", "-c", command], env=os.environ | environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SAYS_WHAT_IT_GETS = """
import json, os, sys, slurmsweep
run = slurmsweep.init()
slurmsweep.log({"loss": 1})
with open(os.environ["SLURMSWEEP_CHECKPOINT_DIR"] + "/checkpoint", "w") as file: file.write("x")
print(json.dumps([sys.argv[1:], dict(run.config)]))
"""

AWKWARD = """  a: {value: "two words"}
  b: {value: "it's \\"q\\" $HOME `id`"}
  c: {value: "line\\nbreak\\\\ \\u0007 größe 日本"}
  d: {value: "%s"}
  e: {parameters: {f: {value: [1, null, true]}}}
  x: {values: [1, 2]}""" % ("long " * 60)


def test_the_command_by_hand_gives_the_script_what_the_trial_gave_it(slurmsweep, write_sweep, show):
    sweep = run(slurmsweep, write_sweep(SAYS_WHAT_IT_GETS, AWKWARD, METRIC))
    document = show(sweep, 1)
    in_trial = Path(document["log"]).read_text()

    assert by_hand(document["command"]) == in_trial


def test_the_command_by_hand_finds_what_scripts_read_of_their_trial(slurmsweep, write_sweep, show):
    script = "import os\nfor name in ('TRIAL', 'ATTEMPT'): print(name, os.environ['SLURMSWEEP_' + name])\n"
    script += "with open(os.environ['SLURMSWEEP_METRICS_FILE'], 'a') as file: file.write('{\"loss\": 1}\\n')\n"
    sweep = run(slurmsweep, write_sweep(script, extra=METRIC))
    document = show(sweep, 1)
    in_trial = Path(document["log"]).read_text()

    assert by_hand(document["command"]) == in_trial == "TRIAL 1\nATTEMPT 1\n"
    assert show(sweep, 1)["metric"] == 1


def test_what_a_trial_has_and_the_command_by_hand_does_not_is_said(slurmsweep, write_sweep, show):
    script = "import os\nprint(*sorted(name for name in os.environ if name.startswith(('SLURMSWEEP_', 'WANDB_'))))"
    sweep = run(slurmsweep, write_sweep(script))
    document = show(sweep, 1)
    named = Path(document["log"]).read_text().split()
    lacks = set(named) - set(by_hand(document["command"]).split())

    said = slurmsweep("show", sweep, "1", COLUMNS="200").stdout

    [line] = [line for line in said.splitlines() if line.startswith("(so it finds no ")]
    told = set(re.findall("[A-Z]+_[A-Z_]+", line))
    # the others say how wandb treats the run of a trial, which place beside others it has, and whether it goes on
    of_wandb = {"WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_RESUME", "WANDB_RUN_GROUP", "WANDB_X_SAVE_REQUIREMENTS"}
    of_wandb.add("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL")
    of_place = {"SLURMSWEEP_FIRST_ATTEMPT", "SLURMSWEEP_SEAT", "SLURMSWEEP_LOCAL_AGENT"}
    assert told == lacks - of_wandb - of_place


def test_the_command_by_hand_changes_nothing_of_the_trial(slurmsweep, write_sweep, show, tmp_path):
    sweep = run(slurmsweep, write_sweep(SAYS_WHAT_IT_GETS, AWKWARD, METRIC))
    folder = tmp_path / "wandb" / f"sweep-{sweep}"
    document = show(sweep, 0)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    by_hand(document["command"])

    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_command_with_a_file_of_parameters_gets_one(slurmsweep, write_sweep, show):
    script = "import sys; print(open(sys.argv[1]).read())"
    extra = 'command: ["${interpreter}", "${program}", "${args_json_file}"]'
    sweep = run(slurmsweep, write_sweep(script, AWKWARD, extra))
    document = show(sweep, 1)

    assert by_hand(document["command"]) == Path(document["log"]).read_text()


def test_a_command_with_the_trials_folders_gets_others_by_hand(slurmsweep, write_sweep, show, tmp_path):
    script = """
import os, sys
trial, kept, own = sys.argv[1:]
print(trial, os.path.samefile(kept, os.environ["SLURMSWEEP_CHECKPOINT_DIR"]), os.listdir(kept), os.listdir(own))
for folder in (kept, own): open(folder + "/x", "w").close()
"""
    extra = 'command: ["${interpreter}", "${program}", "t${trial}", "${trial_dir}", "${attempt_dir}"]'
    sweep = run(slurmsweep, write_sweep(script, extra=extra))
    document = show(sweep, 2)
    before = sorted(tmp_path.rglob("*"))

    assert by_hand(document["command"]) == Path(document["log"]).read_text() == "t2 True [] []\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_secrets_are_named_and_not_shown(slurmsweep, write_sweep, show):
    script = "import sys; print(sys.argv[1:])"
    extra = 'command: ["${interpreter}", "${program}", "--token=${envvar:HF_TOKEN}!", "${envvar:PLAIN}"]'
    secret = {"HF_TOKEN": "hf_12345", "PLAIN": "seen"}
    sweep = run(slurmsweep, write_sweep(script, extra=extra), **secret)

    document = show(sweep, 0, **secret)
    text = slurmsweep("show", sweep, "0", **secret).stdout

    assert "hf_12345" not in text + json.dumps(document)
    assert "${HF_TOKEN}" in document["command"]
    assert by_hand(document["command"], HF_TOKEN="hf_12345") == Path(document["log"]).read_text()


def test_a_variable_that_is_not_set_here_is_asked_for(slurmsweep, write_sweep, show):
    extra = 'command: ["${interpreter}", "${program}", "${envvar:PLAIN}"]'
    sweep = slurmsweep("create", str(write_sweep("pass", extra=extra))).stdout.strip()

    document = show(sweep, 0)

    assert document["command"] is None
    assert "PLAIN is not set: export it first" in document["no_command"]


# why this point ------------------------------------------------------------------------------------------------------


def again(sweep: str, cwd: Path) -> list:
    done = subprocess.run([sys.executable, "-c", ALL_AGAIN, sweep], cwd=cwd, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_proposal_of_agents_side_by_side_is_made_again(slurmsweep, write_sweep, tmp_path):
    pytest.importorskip("numpy")
    sweep = run(slurmsweep, write_sweep(LOGS, SPACE, f"{METRIC}\nrun_cap: 15", "bayes"), "--jobs", "4")

    rows = again(sweep, tmp_path)

    assert sorted(number for number, _, _ in rows) == list(range(15))
    assert [row for row in rows if row[2]["other"] is not None or row[2]["problem"]] == []
    assert {row[2]["why"]["phase"] for row in rows} == {"initial", "model"}
    assert all(row[1][2] == row[2]["rank"] for row in rows)


def test_why_a_point_was_chosen_is_shown_beside_what_came_out(slurmsweep, write_sweep, slurmsweep_process):
    pytest.importorskip("numpy")
    sweep = run(slurmsweep, write_sweep(LOGS, SPACE, f"{METRIC}\nrun_cap: 8", "bayes"))

    first, last = (words_of(slurmsweep_process("show", sweep, trial)) for trial in ("0", "7"))
    document = json.loads(slurmsweep_process("show", sweep, "7", "--json").stdout)

    assert "why one of the first points, which are spread over the space" in first
    assert "known then results: 0; trials that ran: 0" in first
    assert "why the highest expected improvement" in last
    assert "known then results: 7, the best" in last
    assert f"{document['metric']:.6g}" in last
    assert document["why"]["why"]["observations"] == 7


def test_another_point_than_the_claimed_one_is_said_so(slurmsweep, write_sweep, tmp_path, slurmsweep_process):
    """The journal is as another release of the search would have left it: one point is another one."""
    pytest.importorskip("numpy")
    from slurmsweep.state.journal import decode, encode

    sweep = run(slurmsweep, write_sweep(LOGS, SPACE, f"{METRIC}\nrun_cap: 3", "bayes"))
    journal = tmp_path / "wandb" / f"sweep-{sweep}" / "journal.log"
    lines = []
    for line in journal.read_bytes().splitlines():
        record = decode(line)
        if record["op"] == "claim" and record["t"] == 2:
            record["p"]["lr"] = 0.123456
        lines.append(encode(record))
    journal.write_bytes(b"".join(lines))

    done = slurmsweep_process("show", sweep, "2")

    words = words_of(done)
    assert "lr 0.123456" in words
    assert "why cannot be told: made again here, another point comes out" in words


def test_where_the_journal_lost_the_record_it_says_so(slurmsweep, write_sweep, tmp_path, slurmsweep_process):
    """A journal that is made of the trials' folders has other records in another order."""
    sweep = run(slurmsweep, write_sweep(LOGS, SPACE, f"{METRIC}\nrun_cap: 8", "bayes"))
    (tmp_path / "wandb" / f"sweep-{sweep}" / "journal.log").unlink()
    assert slurmsweep("check", sweep, "--repair").returncode == 0

    documents = [json.loads(slurmsweep_process("show", sweep, str(n), "--json").stdout)["why"] for n in (2, 7)]

    assert all(one["problem"] or one["other"] or one["why"]["observations"] >= 0 for one in documents)
    assert all(one["problem"] or one["other"] is not None or one["rank"] == 0 for one in documents)


def test_a_point_that_another_sweep_gave_was_not_chosen(slurmsweep, write_sweep):
    file = write_sweep(LOGS, SPACE, f"{METRIC}\nrun_cap: 3", "bayes")
    first = run(slurmsweep, file)
    second = slurmsweep("create", str(file), "--prior", first).stdout.strip()

    words = words_of(slurmsweep("show", second, "0"))

    assert "why the search did not choose it: another sweep had it, or a person gave it" in words


def test_a_trial_of_a_search_that_learns_has_no_point_before_its_claim(slurmsweep, write_sweep):
    sweep = slurmsweep("create", str(write_sweep(LOGS, SPACE, f"{METRIC}\nrun_cap: 3", "bayes"))).stdout.strip()

    words = words_of(slurmsweep("show", sweep, "1"))

    assert "why it has no point yet: an agent chooses one when it claims the trial" in words


def test_the_state_after_each_record_is_what_a_reader_of_that_moment_knew(make_store):
    from slurmsweep.state.lifecycle import TrialState
    from slurmsweep.state.outcome import Outcome
    from slurmsweep.state.owner import Owner
    from slurmsweep.state.replay import view_after

    store, known = make_store(5), {}
    for _ in range(5):
        claim = store.claim(Owner("h", 1, 1, "b"))
        known[store.replay().head.sequence] = store.replay().counts()
        store.finish(claim, Outcome(TrialState.FINISHED, ended=1.0))
        known[store.replay().head.sequence] = store.replay().counts()

    assert len(known) == 10
    assert {sequence: view_after(store.journal, sequence).counts() for sequence in known} == known
    assert view_after(store.journal, 0).counts() == {}
    assert view_after(store.journal, max(known) + 1) is None


def test_numbers_that_json_does_not_have_are_texts(make_store, slurmsweep):
    store = make_store(1)
    claim = store.claim(Owner("far", 1, 1, "b"))
    row = '{"loss": NaN, "up": Infinity, "down": -Infinity, "large": 1%s, "nested": {"deep": [NaN]}}\n' % ("0" * 400)
    Path(store.layout.history(claim.attempt_id)).write_text(row)

    done = slurmsweep("show", "abcd1234", "0", "--json")

    logged = json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["logged"]
    assert (logged["loss"], logged["up"], logged["down"]) == ("NaN", "Infinity", "-Infinity")
    assert logged["large"] == 10**400
    assert slurmsweep("show", "abcd1234", "0").returncode == 0


def test_why_a_trial_failed_stands_below_its_state(slurmsweep, write_sweep):
    slurmsweep("run", str(write_sweep("raise ValueError('7 is too large')")), "--backend", "local", "--count", "1")
    shown, told = slurmsweep("show", "0"), slurmsweep("show", "0", "--json")

    assert (
        "  state        failed (exit 1)\n  error        ValueError: 7 is too large (train.py, line 1)\n" in shown.stdout
    )
    assert json.loads(told.stdout)["error"] == "ValueError: 7 is too large (train.py, line 1)"
    assert "error" not in slurmsweep("show", "1").stdout
