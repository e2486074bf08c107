"""Asked beside used, from the journal and from accounting."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fake_backend import FakeBackend
from submitting import on_backend

from slurmsweep.backends.base import Account, Asked
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.slurm.resources import asked
from slurmsweep.control.round.decide import Policy
from slurmsweep.control.round.events import ignore
from slurmsweep.control.round.observe import observe
from slurmsweep.control.round.retry_policy import RetryPolicy
from slurmsweep.report.efficiency import attempts_table, efficiency_text, one_line
from slurmsweep.sizing.efficiency import Advice, efficiency_document, measure
from slurmsweep.sizing.usage import Ledger
from slurmsweep.sizing.walltime import Bounds
from slurmsweep.state import view_cache as foldcache
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Owner
from slurmsweep.state.records import SubmitRecord
from slurmsweep.state.store import Adopted
from slurmsweep.state.submissions import SubmissionDocument, SubmissionFiles
from slurmsweep.state.tail import AttemptId

LIMITS = Bounds(60, None, 24 * 60, 16000, 60)


def submit(store, job, tasks, *, time=None, mem=None, cpus=None):
    options = {"time": time and f"{time:g}", "mem": mem and f"{mem:g}M", "cpus-per-task": cpus and str(cpus)}
    with store.transaction() as transaction:
        transaction.submit(
            SubmitRecord(f"n{job}", tasks, None, {name: value for name, value in options.items() if value}, "array")
        )
        transaction.submit(SubmitRecord(f"n{job}", tasks, job))


def run(store, job, task, *, restart=0, attempt_id=None, seat=None, **outcome):
    """One attempt of a job, as its agent records it."""
    owner = Owner("host", 1, 1, "boot", job=job, task=task, restart=restart, node="n1", seat=seat)
    claim = store.claim_attempt(owner, attempt_id) if attempt_id else store.claim(owner)
    state = outcome.pop("state", TrialState.FINISHED)
    store.finish(claim, Outcome(state, ended=1.0, **outcome))


def advice_of(store, accounts=None, point=lambda number: {"x": number}):
    return measure(Ledger(store.replay(), {}, accounts or {}, asked, here="").all(), point, LIMITS).advice


@pytest.fixture
def store(make_store):
    return make_store(8)


def test_options_too_long_for_the_journal_are_read_from_the_submissions_document(store):
    options = {"time": "30", "comment": "x" * 13_000}
    documents = SubmissionFiles(store.layout.submissions)
    documents.write(SubmissionDocument("n7", "slurm", "abcd1234", 8, 8, options=options))
    with store.transaction() as transaction:
        transaction.submit(SubmitRecord("n7", 8, None, options, "array"))
        transaction.submit(SubmitRecord("n7", 8, "7"))
    run(store, "7", 0, seconds=5.0)

    [usage] = Ledger(store.replay(), {}, {}, asked, documents=documents, here="").of(0)
    assert usage.asked_minutes == 30
    assert Ledger(store.replay(), {}, {}, asked, here="").of(0)[0].asked_minutes is None


def test_what_was_asked_is_in_the_journal_and_its_cache(store):
    submit(store, "7", 8, time=60.0, mem=512.0, cpus=4)
    submit(store, "8", 1)

    reading = store.reading()
    reading.refresh()
    foldcache._save(store, reading)
    cached = foldcache._load(store).view

    for view in (store.replay(), cached):
        assert [asked(s.asked) for s in view.submissions.values()] == [Asked(60.0, 512.0, 4), Asked()]


def test_asked_beside_used_without_accounting(store):
    submit(store, "7", 8, time=60.0, mem=2048.0, cpus=4)
    for task in range(8):
        run(store, "7", task, seconds=600.0, cpu_seconds=540.0, max_rss_mb=300.0)

    found = measure(Ledger(store.replay(), {}, {}, asked, here="").all(), lambda n: {"x": n}, LIMITS)

    assert (found.trials, found.attempts) == (8, 8)
    assert (found.asked_core_hours, found.held_core_hours) == (32.0, pytest.approx(8 * 4 / 6))
    assert found.used_core_hours == pytest.approx(1.2)
    assert (found.time.share, found.memory.share) == (pytest.approx(1 / 6), pytest.approx(300 / 2048))
    assert found.cpu.share == pytest.approx(0.9 / 4)
    assert found.advice == (
        Advice("--time 17", "the longest of 8 trials took 10m 00s, of 1h 00m"),
        Advice("--mem 512M", "the largest of 8 trials used 300 of 2048 MiB"),
        Advice("--cpus-per-task 1", "trials used 0.9 of 4 CPUs, the busiest 0.9"),
    )


def test_what_was_asked_well_gets_no_advice(store):
    submit(store, "7", 8, time=18.0, mem=512.0, cpus=1)
    for task in range(8):
        run(store, "7", task, seconds=600.0, cpu_seconds=540.0, max_rss_mb=300.0)

    assert advice_of(store) == ()


def test_attempts_that_were_cut_off_are_lost_hours_and_more_is_advised(store):
    submit(store, "7", 3, time=10.0, mem=256.0, cpus=1)
    run(store, "7", 0, seconds=540.0, state=TrialState.CRASHED, cause="timeout")
    run(store, "7", 1, seconds=36.0, state=TrialState.CRASHED, cause="oom", max_rss_mb=200.0)
    run(store, "7", 2, seconds=60.0, max_rss_mb=100.0)

    found = measure(Ledger(store.replay(), {}, {}, asked, here="").all(), lambda n: {"x": n}, LIMITS)

    assert found.lost_core_hours == pytest.approx(576 / 3600)
    assert found.advice == (
        Advice("--time 16", "1 attempt ran out of time, one after 9m 00s"),
        Advice("--mem 448M", "1 attempt ran out of memory, one at 256 MiB"),
    )


def test_where_a_parameter_explains_the_time_a_limit_for_each_is_advised(store):
    submit(store, "7", 8, time=60.0, cpus=1)
    for task in range(8):
        run(store, "7", task, seconds=60.0 if task % 2 else 2000.0)

    advice = advice_of(store, point=lambda number: {"size": "sl"[number % 2 == 0]})

    assert [a.option for a in advice] == ["--time auto"]
    assert advice[0].why.startswith("time depends on size: ")


def test_limits_that_differ_show_what_they_saved(store):
    submit(store, "7", 4, time=60.0, cpus=1)
    submit(store, "8", 4, time=15.0, cpus=1)
    for number in range(8):
        run(store, "7" if number < 4 else "8", number % 4, seconds=600.0)

    document = efficiency_document(
        store.manifest, store.replay(), Ledger(store.replay(), {}, {}, asked, here=""), LIMITS
    )

    assert document["saved_hours"] == 3.0
    assert one_line(document) == (
        "core-hours: 5 asked, 1.33 held, 0 computed; limits that differ asked 3 h less than the longest for all"
    )


def test_accounting_knows_what_was_asked_by_hand_and_what_the_whole_job_used(store):
    run(store, "9", 0, seconds=100.0, cpu_seconds=90.0, max_rss_mb=100.0)
    accounts = {JobRef("9", 0): Account(30, 4096, 2, 104, 350.0, 180.0)}

    [usage] = Ledger(store.replay(), {}, accounts, asked, here="").of(0)

    assert (usage.asked_minutes, usage.asked_mib, usage.asked_cpus) == (30, 4096, 2)
    assert (usage.held_seconds, usage.cpu_seconds, usage.max_rss_mib) == (104, 180.0, 350.0)


def test_a_row_that_accounting_has_half_written_does_not_hide_what_was_asked(store):
    submit(store, "9", 1, time=60.0, mem=2048.0, cpus=4)
    run(store, "9", 0, seconds=100.0)

    [usage] = Ledger(store.replay(), {}, {JobRef("9", 0): Account(None, None, 0, 0.0, None, 0.0)}, asked, here="").of(0)

    assert (usage.asked_minutes, usage.asked_mib, usage.asked_cpus) == (60, 2048, 4)


def test_accounting_of_a_requeued_job_is_of_its_last_start_only(store):
    submit(store, "9", 1, time=30.0)
    run(store, "9", 0, seconds=50.0, state=TrialState.PREEMPTED, cause="requeued")
    with store.transaction(store.reading()) as transaction:
        transaction.retry([AttemptId(0, 2)], "requeued")
    run(store, "9", 0, restart=1, attempt_id=AttemptId(0, 2), seconds=70.0)

    usages = Ledger(store.replay(), {}, {JobRef("9", 0): Account(30, None, 1, 75, 40.0, 60.0)}, asked, here="").of(0)

    assert [usage.held_seconds for usage in usages] == [50.0, 75]
    assert [usage.max_rss_mib for usage in usages] == [None, 40.0]


@pytest.mark.parametrize(
    ("begun", "minutes", "cpus", "mib"),
    [
        ([0, 100, 200, 300], 15, 8, 4096),  # one after the other: each has a quarter of the time
        ([0, 0, 0, 0], 60, 2, 1024),  # side by side: each has a quarter of the width
        ([0, 0, 100, 100], 30, 4, 2048),
    ],
)
def test_trials_of_one_job_share_what_it_asked_for(make_store, begun, minutes, cpus, mib):
    store = make_store(4)
    submit(store, "9", 1, time=60.0, mem=4096.0, cpus=8)
    for _ in begun:
        run(store, "9", None, seconds=50.0, max_rss_mb=10.0)
    view = store.replay()
    for number, at in enumerate(begun):
        view.trials.open(number).attempts[1].claimed = float(at)

    accounts = {JobRef("9"): Account(60, 4096, 8, 400, 40.0, 60.0)}
    usages = [usage for usages in Ledger(view, {}, accounts, asked, here="").all() for usage in usages]

    assert {(u.asked_minutes, u.asked_cpus, u.asked_mib) for u in usages} == {(minutes, cpus, mib)}
    assert {(u.held_seconds, u.max_rss_mib) for u in usages} == {(50.0, 10.0)}


def test_a_trial_in_a_seat_has_the_whole_time_of_its_job_whenever_the_others_began(make_store):
    store = make_store(5)
    submit(store, "9", 1, time=60.0, mem=4096.0, cpus=8)
    for seat in (1, 2, 3, 4, 4):  # the fourth ran a second one after its first
        run(store, "9", None, seat=seat, seconds=50.0)
    view = store.replay()
    for number, at in enumerate([0, 10, 60, 120, 200]):
        view.trials.open(number).attempts[1].claimed = float(at)

    ledger = Ledger(view, {}, {}, asked, here="")

    usages = [usage for usages in ledger.all() for usage in usages]
    assert [u.asked_minutes for u in usages] == [60, 60, 60, 30, 30]
    assert {(u.asked_cpus, u.asked_mib) for u in usages} == {(2, 1024)}


def test_the_limits_of_packed_jobs_do_not_differ_by_when_their_trials_began(make_store):
    store = make_store(8)
    submit(store, "9", 2, time=60.0, cpus=4)
    for number in range(8):
        run(store, "9", number // 4, seat=number % 4 + 1, seconds=50.0 + number)
    view = store.replay()
    for number in range(8):
        view.trials.open(number).attempts[1].claimed = number * 20.0

    found = measure(Ledger(view, {}, {}, asked, here="").all(), lambda n: {}, None)

    assert (found.asked_core_hours, found.saved_hours) == (8.0, 0.0)


PACKED = Advice(
    "--template packed", "half of 20 trials took less than 2.0s: several in a job, if they need no GPU each"
)


@pytest.mark.parametrize(
    ("trials", "seconds", "cpus", "seat", "advised"),
    [
        (20, 2.0, 1, None, (PACKED,)),
        (20, 2.0, 1, 1, ()),  # in packed jobs already
        (20, 2.0, 2, None, ()),  # large enough for a job each
        (20, 20.0, 1, None, ()),
        (19, 2.0, 1, None, ()),
    ],
)
def test_short_trials_with_a_job_each_are_advised_to_share_one(make_store, trials, seconds, cpus, seat, advised):
    store = make_store(20)
    submit(store, "9", 20, time=1.0, cpus=cpus)
    for number in range(trials):
        run(store, "9", number, seat=seat, seconds=seconds)

    assert advice_of(store) == advised


def test_trials_of_another_sweep_are_passed_over(make_store, tmp_path):
    store = make_store(3)
    outcome = Outcome(TrialState.FINISHED, seconds=5.0, origin="other/0", ended=1.0)
    store.adopt({0: Adopted(outcome)}, Owner("h", 1, 1, "b"))

    assert measure(Ledger(store.replay(), {}, {}, asked, here="").all(), lambda n: {}, LIMITS).trials == 0


def test_the_command_reads_and_writes_nothing(store, slurmsweep):
    submit(store, "7", 2, time=60.0, cpus=1)
    run(store, "7", 0, seconds=600.0, max_rss_mb=100.0)
    run(store, "7", 1, seconds=30.0, state=TrialState.FAILED, cause="exit 3")
    before = store.replay().head.sequence

    text = slurmsweep("efficiency", store.layout.folder, "--trials", PATH="/usr/bin-without-slurm")
    document = slurmsweep("efficiency", store.layout.folder, "--json", PATH="/usr/bin-without-slurm")

    assert (text.returncode, document.returncode) == (0, 0), text.stderr
    assert "2 attempts of 2 trials have ended; accounting: off" in text.stdout
    assert "exit 3" in text.stdout
    assert "-> --time 32: the longest of 1 trial took 10m 00s, of 1h 00m" not in text.stdout
    assert "-> --time 23: the longest of 1 trial took 10m 00s, of 1h 00m" in text.stdout
    parsed = json.loads(document.stdout)
    assert (parsed["attempts"], parsed["asked_core_hours"], parsed["accounting"]) == (2, 2.0, "off")
    assert store.replay().head.sequence == before


def test_a_sweep_without_any_attempt_is_one_line(store, slurmsweep):
    done = slurmsweep("efficiency", store.layout.folder, PATH="/usr/bin-without-slurm")

    assert done.returncode == 0
    assert "0 attempts of 0 trials have ended" in done.stdout


def on_two_clusters(store, *, by_hand=False):
    """Let two trials run out of time in jobs of the same id: of 10 minutes on tau, of 30 on rho."""
    for cluster, minutes in (("tau", "10"), ("rho", "30")):
        with store.transaction() as transaction:
            for job in () if by_hand else (None, "7"):
                transaction.submit(SubmitRecord(cluster, 1, job, {"time": minutes}, "array", cluster=cluster))
        owner = Owner("host", 1, 1, "boot", job="7", task=0, node="n1", cluster=cluster)
        store.finish(store.claim(owner), Outcome(TrialState.CRASHED, "timeout", ended=1.0, by="reconcile"))


def test_the_export_tells_what_jobs_of_the_same_id_on_two_clusters_asked_for(make_store, slurmsweep, monkeypatch):
    monkeypatch.setenv("SLURM_CLUSTER_NAME", "tau")
    on_two_clusters(store := make_store(2))

    rows = slurmsweep("export", store.layout.folder, "--format", "jsonl", PATH="/usr/bin-without-slurm")

    assert [json.loads(row)["asked_seconds"] for row in rows.stdout.splitlines()] == [600, 1800]


@pytest.mark.parametrize(("by_hand", "minutes"), [(False, [10, 30]), (True, [None, None])])
def test_trials_of_two_clusters_run_again_by_what_their_own_jobs_asked_for(make_store, by_hand, minutes):
    on_two_clusters(store := make_store(2), by_hand=by_hand)

    situation = observe(on_backend(store, FakeBackend(site="tau")), Policy(retry=RetryPolicy()), ignore)

    usages = [trial.usages[-1] for trial in situation.ended]
    assert [(usage.job, usage.asked_minutes) for usage in usages] == [("7_0", minutes[0]), ("7_0@rho", minutes[1])]


def test_a_sweep_that_is_not_there_is_exit_code_3(slurmsweep):
    assert slurmsweep("efficiency", "nosuchid").returncode == 3


def test_text_and_table_are_of_the_same_numbers(store):
    submit(store, "7", 1, time=60.0, mem=1024.0, cpus=2)
    run(store, "7", 0, seconds=600.0, cpu_seconds=300.0, max_rss_mb=512.0)
    ledger = Ledger(store.replay(), {}, {}, asked, here="")
    document = efficiency_document(store.manifest, store.replay(), ledger, LIMITS) | {"accounting": "off"}

    lines = [line.split("  ") for line in efficiency_text(document).splitlines()]
    cells = {line[0]: [cell.strip() for cell in line[1:] if cell.strip()] for line in lines}

    assert cells["time"] == ["1 h", "0.167 h", "16.7 %", "1h 00m", "10m 00s", "10m 00s"]
    assert cells["cpu"] == ["0.333 core-h", "0.0833 core-h", "25 %", "2 CPU", "0.5 CPU", "0.5 CPU"]
    assert cells["memory"] == ["50 %", "1024 MiB", "512 MiB", "512 MiB"]
    short = document | {"time": document["time"] | {"each_used": 0.25}}
    assert "  15s  " in efficiency_text(short)
    [row] = [{"trial": 0, "cause": "", **usage._asdict(), "state": "finished"} for usage in ledger.of(0)]
    table = attempts_table([row]).splitlines()
    assert table[0].split() == ["trial", "attempt", "state", "job", "time", "CPUs", "MiB"]
    assert table[-1].split("  ")[-3:] == ["10m 00s of 1h 00m", "0.5 of 2", "512 of 1024"]


def test_the_page_shows_what_is_printed(make_store):
    """The table of docs/walltime.md is that of these 24 trials."""
    store = make_store(24)
    submit(store, "7", 24, time=60.0, mem=2048.0, cpus=4)
    for task, seconds in enumerate([558.0] + [390.0] * 13 + [480.0] * 10):
        busy, size = (0.93, 310.0) if task == 0 else (0.9, 300.0)
        run(store, "7", task, seconds=seconds, cpu_seconds=busy * seconds, max_rss_mb=size)
    ledger = Ledger(store.replay(), {}, {}, asked, here="")
    document = efficiency_document(store.manifest, store.replay(), ledger, LIMITS)
    printed = efficiency_text(document | {"accounting": "used"})

    page = (Path(__file__).parents[2] / "docs" / "walltime.md").read_text()
    [shown] = re.findall(r"^    sweep k3v9x2ab: 24 attempts.*\n(?:    .*\n)+", page, re.MULTILINE)
    assert plain(shown) == plain(printed.replace("abcd1234", "k3v9x2ab"))


def plain(text: str) -> list[str]:
    """Return lines in which the width of columns does not count."""
    return [re.sub(r"-{2,}", "--", re.sub(r"\s+", " ", line)).strip() for line in text.strip().splitlines()]
