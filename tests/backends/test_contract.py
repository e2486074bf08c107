"""What every backend promises, held for each of them; Slurm's is played by programs on the PATH."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from backends import played_slurm
from fake_backend import FakeBackend

from slurmsweep.backends import following, registry
from slurmsweep.backends.base import Ability, JobSource, SubmitOptions, Submitted, When
from slurmsweep.backends.keys import JobRef
from slurmsweep.backends.local import LocalBackend
from slurmsweep.backends.slurm import backend as slurm_backend
from slurmsweep.backends.slurm import cluster, template
from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.backends.wandb_hosted.backend import HostedBackend
from slurmsweep.errors import (
    JobLimitError,
    SchedulerUnavailableError,
    SubmissionRefusedError,
    SubmissionUnknownError,
    UsageError,
)
from slurmsweep.state.tail import AttemptId


@pytest.fixture
def on_slurm(tmp_path, monkeypatch):
    """Slurm's programs on the PATH."""
    played_slurm.put_on_path(tmp_path / "bin", monkeypatch)
    remembered = (cluster.site_name, cluster.asked_configuration, cluster._file)
    for function in remembered:
        function.cache_clear()
    yield
    for function in remembered:
        function.cache_clear()


@pytest.fixture(params=[FakeBackend, LocalBackend, SlurmBackend, HostedBackend], ids=lambda kind: kind.name)
def backend(request):
    if issubclass(request.param, SlurmBackend):
        request.getfixturevalue("on_slurm")
    return request.param()


@pytest.fixture
def source(tmp_path) -> JobSource:
    (tmp_path / "jobs").mkdir()
    return JobSource("slurmsweep-abcd1234", "/sweeps/abcd1234", str(tmp_path / "jobs"), str(tmp_path))


def sent(backend, source, trials=3) -> tuple[str, str]:
    """Id and name of jobs for that many trials."""
    request = backend.request(source, trials, SubmitOptions())
    return backend.send(request), request.name


def alive(backend, job) -> bool:
    return any(status.alive for status in backend.poll([job]).tasks.values())


def test_a_plain_wish_is_fine_and_nothing_of_it_is_ignored(backend, source):
    assert backend.check(SubmitOptions(width=2), source) == ()


def test_each_request_has_a_name_of_its_own_that_a_scheduler_takes(backend, source):
    requests = [backend.request(source, 3, SubmitOptions()) for _ in range(2)]

    assert len({request.name for request in requests}) == 2
    assert all(re.fullmatch(r"slurmsweep-abcd1234-[A-Za-z0-9._-]{1,44}", request.name) for request in requests)
    assert [(request.tasks, request.trials, request.source) for request in requests] == [(3, 3, source)] * 2


def test_a_preview_shows_what_is_run(backend, source):
    assert "/sweeps/abcd1234" in backend.preview(backend.request(source, 3, SubmitOptions()))


def test_an_estimate_has_room_for_every_job(backend, source):
    estimate = backend.estimate(backend.request(source, 50, SubmitOptions()))

    jobs = 50 if Ability.OUTLIVE in backend.abilities else 0  # processes of a command are no arrays
    assert (sum(estimate.arrays), estimate.refusal) == (jobs, None)


def test_parts_of_a_submission_follow_each_other_and_are_all_of_it(backend, source):
    parts = []

    def part(first, trials):
        parts.append((first, trials))
        return Submitted(str(len(parts)), trials, trials)

    result = backend.submit(backend.request(source, 90, SubmitOptions()), part)

    assert [first for first, _ in parts] == [sum(n for _, n in parts[:place]) for place in range(len(parts))]
    assert (result.trials, result.kept_back, result.why) == (90, 0, "")


def test_a_part_for_which_nothing_was_left_is_no_array(backend, source):
    assert backend.submit(backend.request(source, 3, SubmitOptions()), lambda first, trials: None).arrays == ()


def test_jobs_that_were_sent_are_alive_and_are_found_by_their_name(backend, source):
    job, name = sent(backend, source)

    tasks = backend.poll([job]).tasks
    assert {ref.job for ref in tasks} == {job}
    assert all(status.waits and status.alive and status.state is None for status in tasks.values())
    assert backend.find(name, "") == job
    assert backend.find(f"{name}0", "") == ""


def test_jobs_of_two_requests_are_told_apart(backend, source):
    (first, _), (second, _) = sent(backend, source), sent(backend, source)

    assert first != second
    assert {ref.job for ref in backend.poll([first]).tasks} == {first}


def test_cancelled_jobs_are_over_and_may_be_cancelled_again(backend, source):
    (job, _), (other, _) = sent(backend, source), sent(backend, source)

    backend.cancel([job])
    backend.cancel([job])
    backend.cancel([])

    assert (alive(backend, job), alive(backend, other)) == (False, True)


def test_a_job_that_nobody_knows_is_absent_and_no_error(backend):
    answer = backend.poll(["4711"], [JobRef("4712", 3)])

    assert (dict(answer.tasks), answer.failed) == ({}, False)


def test_what_may_be_absent_is_an_answer(backend, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))  # no programs at all

    assert isinstance(backend.cluster(), str)
    assert backend.accounts([]) == ({}, "not needed")
    assert backend.accounts(["7"]) == ({}, "off")
    assert (backend.restarts(["7"]).ends, backend.restarts(["7"]).accounting) == ({}, "off")


def test_options_say_what_a_job_asks_for_and_gets(backend, source):
    options = backend.options(SubmitOptions(options={"time": "45"}), source)

    assert backend.asked(options).time == (45 if Ability.LIMIT in backend.abilities else None)
    assert (backend.capacity(options).minutes is None) == (Ability.LIMIT not in backend.abilities)


def test_waiting_ends_when_no_job_is_left(backend, source, make_store, monkeypatch):
    monkeypatch.setattr(following, "JOURNAL_PERIOD", 0.0)
    monkeypatch.setattr(slurm_backend, "SQUEUE_PERIOD", 0.0)
    store, refreshed = make_store(3), []
    job, _ = sent(backend, source)
    backend.cancel([job])

    backend.wait([job], 3, lambda: refreshed.append(store.replay()) or refreshed[-1], lambda: True, lambda _: None)

    assert not alive(backend, job)


ABILITIES = {
    Ability.ASSIGN: lambda backend, source: backend.request(source, 1, SubmitOptions(), (AttemptId(0, 1),)),
    Ability.HOLD: lambda backend, source: (backend.hold(["1"]), backend.release(["1"])),
    Ability.CHANGE: lambda backend, source: backend.change("1", [0], backend.assignments({"time": "5"}, 2)),
    Ability.WAKE: lambda backend, source: backend.submit_later("x-mend", "true", {}, When(seconds=60)),
}


@pytest.mark.parametrize("ability", ABILITIES)
def test_what_needs_an_ability_is_refused_where_that_is_missing(backend, source, ability):
    if ability in backend.abilities:
        ABILITIES[ability](backend, source)
    else:
        with pytest.raises(UsageError, match=f"the {backend.name} backend cannot {ability.value}"):
            ABILITIES[ability](backend, source)


def test_a_job_that_wakes_a_supervisor_is_found_moved_and_cancelled(backend):
    if Ability.WAKE not in backend.abilities:
        assert (backend.find_later(["x-mend"], ""), backend.move_later("1", When())) == ([], False)
        return
    job = backend.submit_later("x-mend", "true", {}, When(("7",), 30))

    assert [(found.job, found.name, found.waits) for found in backend.find_later(["x-mend", "y"], "")] == [
        (job, "x-mend", True)
    ]
    assert (backend.move_later(job, When(seconds=60)), backend.move_later("4711", When())) == (True, False)
    backend.cancel([job])
    assert backend.find_later(["x-mend"], "") == []


def test_a_width_of_one_is_kept(backend, source):
    assert backend.request(source, 3, SubmitOptions(width=1)).width == 1


# Each of them alone


def test_a_slurm_that_is_not_there_is_no_empty_queue(source, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    backend = SlurmBackend()
    asks = (
        lambda: backend.poll(["1"]),
        lambda: backend.find("x", ""),
        lambda: backend.capacity({}),
        lambda: backend.cancel(["1"]),
        lambda: backend.hold(["1"]),
        lambda: backend.find_later(["x"], ""),
        lambda: sent(backend, source),
    )

    for ask in asks:
        with pytest.raises(SchedulerUnavailableError, match="there is no"):
            ask()
    assert backend.estimate(backend.request(source, 3, SubmitOptions())).arrays == (3,)


def test_slurm_gives_what_the_partition_has(on_slurm):
    capacity = SlurmBackend().capacity({"partition": "long", "signal": "B:USR1@90"})

    assert (capacity.minutes, capacity.mib, capacity.nodes, capacity.warning) == (None, 32000, 2, 90)


def test_slurm_splits_packed_jobs_by_trials(on_slurm, source, monkeypatch):
    monkeypatch.setenv("SLURMSWEEP_AGENTS", "4")
    parts = []

    def part(first, trials):
        parts.append((first, trials))
        return Submitted("7", -(-trials // 4), trials, 4)

    request = SlurmBackend().request(source, 170, SubmitOptions(template="packed"))
    result = SlurmBackend().submit(request, part)

    assert (request.tasks, request.agents, request.trials) == (43, 4, 170)
    assert (parts, result.trials, result.kept_back) == ([(0, 160), (160, 10)], 170, 0)


def test_slurm_refuses_wrong_options_before_anything_is_submitted(on_slurm, source):
    with pytest.raises(UsageError, match="did you mean partition"):
        SlurmBackend().check(SubmitOptions(options={"partiton": "x"}), source)
    with pytest.raises(UsageError, match="slurm: in the sweep file: time"):
        SlurmBackend().check(SubmitOptions(), replace(source, options={"time": "soon"}))
    with pytest.raises(UsageError, match="there is no job template"):
        SlurmBackend().check(SubmitOptions(template="arrray"), source)
    assert template.agents_of(template.load_template("array")) is None


def test_the_local_backend_says_what_it_ignores(source):
    options = {"time": "5", "mem": "4G", "cpus-per-task": "2", "partition": "gpu"}

    assert LocalBackend().check(SubmitOptions("gpu", options), source) == (
        "the local backend does not limit trials: --time, --mem, --cpus-per-task are ignored",
        "the local backend submits nothing to Slurm: --partition, --template are ignored",
    )


def test_local_jobs_are_one_at_a_time_unless_said_otherwise(source, monkeypatch):
    assert LocalBackend().request(source, 3, SubmitOptions()).width == 1
    monkeypatch.setenv("SLURMSWEEP_JOBS", "4")
    assert LocalBackend().request(source, 3, SubmitOptions()).width == 4
    monkeypatch.setenv("SLURMSWEEP_JOBS", "many")
    with pytest.raises(UsageError, match="SLURMSWEEP_JOBS=many: write how many"):
        LocalBackend().check(SubmitOptions())


def test_local_agents_run_when_they_are_waited_for(make_store, tmp_path):
    (tmp_path / "train.py").write_text("pass")
    store, backend = make_store(2), LocalBackend()
    job, _ = sent(backend, JobSource.of(store), 2)
    assert store.replay().counts() == {}

    backend.wait([job], 2, store.replay, lambda: True, lambda _: None)

    assert store.replay().counts() == {"finished": 2}
    assert not alive(backend, job)


@pytest.mark.parametrize(
    ("word", "remembered", "has_slurm", "chosen"),
    [
        ("auto", "", True, "slurm"),
        ("auto", "", False, "local"),
        ("auto", "local", True, "local"),
        ("auto", "slurm", False, None),
        ("slurm", "", False, None),
        ("local", "slurm", True, "local"),
    ],
)
def test_auto_is_what_was_used_before_and_else_slurm_where_it_is(
    tmp_path, monkeypatch, word, remembered, has_slurm, chosen
):
    monkeypatch.setenv("PATH", str(tmp_path))
    if has_slurm:
        (tmp_path / "sbatch").touch(0o755)
    if chosen is None:
        with pytest.raises(SchedulerUnavailableError, match="run --backend local"):
            registry.choose(word, remembered)
    else:
        assert registry.choose(word, remembered).name == chosen


def test_a_backend_that_is_none_is_wrong_usage():
    with pytest.raises(UsageError, match="choose one of auto, local, slurm"):
        registry.choose("pbs")
    assert registry.scheduler().name == "slurm"


def test_the_fake_has_a_schedulers_troubles(source):
    backend = FakeBackend(unanswered=1, silent=0, room=5)
    request, small = backend.request(source, 3, SubmitOptions()), backend.request(source, 2, SubmitOptions())

    with pytest.raises(SubmissionUnknownError):
        backend.send(request)
    assert backend.find(request.name, "") in backend.arrays
    with pytest.raises(JobLimitError):
        backend.send(backend.request(source, 3, SubmitOptions()))
    backend.lost = 1
    with pytest.raises(SubmissionUnknownError):
        backend.send(small)
    assert backend.find(small.name, "") == ""
    backend.refusal = "no such partition"
    with pytest.raises(SubmissionRefusedError, match="no such partition"):
        backend.send(small)
    backend.silent = 1
    with pytest.raises(SchedulerUnavailableError):
        backend.poll(backend.arrays)


def test_jobs_of_the_fake_run_end_and_are_forgotten(source):
    backend = FakeBackend()
    job, _ = sent(backend, source)

    backend.start(job)
    backend.end(job, "TIMEOUT", [1])
    backend.end(job, "FAILED", [2], code=3)
    backend.cancel([job], only_waiting=True)

    assert {ref.task: (s.word, s.alive, s.cause) for ref, s in backend.poll([job]).tasks.items()} == {
        0: ("RUNNING", True, ""),
        1: ("TIMEOUT", False, "timeout"),
        2: ("FAILED", False, "exit 3"),
    }
    backend.forget(job)
    assert backend.poll([job], [JobRef(job, 0)]).accounting == "off"
