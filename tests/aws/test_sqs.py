"""Submitting by messages of a queue: what is sent, what is known of it afterwards, and what SQS has against it."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from aws.queueing import FAKE, REGION, Place

from slurmsweep.backends.aws import ec2_words, queue
from slurmsweep.backends.aws import sqs as module
from slurmsweep.backends.aws.sqs import SqsBackend
from slurmsweep.backends.base import JobSource, SubmitOptions
from slurmsweep.backends.keys import JobRef
from slurmsweep.errors import (
    SchedulerError,
    SchedulerUnavailableError,
    SubmissionRefusedError,
    UsageError,
)
from slurmsweep.state.lifecycle import TrialState

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps"
SOURCE = JobSource("slurmsweep-abcd1234", "/shared/p/.slurmsweep/sweep-abcd1234", "/jobs", "/shared/p")


@pytest.fixture
def place(aws, tmp_path, monkeypatch):
    for name, value in {**FAKE, "AWS_ENDPOINT_URL": aws}.items():
        monkeypatch.setenv(name, value)
    with closing(Place(aws, tmp_path)) as made:
        yield made


def request(trials, url=URL, **options):
    return SqsBackend().request(SOURCE, trials, SubmitOptions(options={"queue": url, **options}))


@pytest.mark.parametrize(
    ("url", "name", "region"),
    [
        (URL, "sweeps", "eu-west-1"),
        ("https://sqs.us-gov-west-1.amazonaws.com/1/x.fifo", "x.fifo", "us-gov-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/x", "x", "cn-north-1"),
        ("https://sqs.eu-west-1.api.aws/1/x", "x", "eu-west-1"),
        ("https://eu-west-1.queue.amazonaws.com/1/x", "x", "eu-west-1"),
        ("https://vpce-0a1b-abc.sqs.us-east-1.vpce.amazonaws.com/1/x", "x", "us-east-1"),
        ("http://127.0.0.1:5000/123456789012/x", "x", ""),
    ],
)
def test_a_url_names_its_queue_and_region(url, name, region):
    assert queue.address(url)[1:] == (name, region)


@pytest.mark.parametrize(
    "url", ["", "sweeps", "arn:aws:sqs:eu-west-1:1:x", "https://a/b c", "file:///x", f"{URL}\n", f"{URL}?a"]
)
def test_another_text_is_no_queue(url):
    with pytest.raises(UsageError, match="write the QueueUrl"):
        queue.address(url)


def test_a_message_carries_the_sweep_and_no_option_and_ten_go_in_a_request():
    asked = request(23, time="30", mem="4G")

    parts = SqsBackend().requests(asked)

    assert [(name, len(content["Entries"])) for name, content in parts] == [
        ("SendMessageBatch", n) for n in (10, 10, 3)
    ]
    entry = parts[1][1]["Entries"][2]
    assert set(entry) == {"Id", "MessageBody"}
    assert json.loads(entry["MessageBody"]) == {"sweep": SOURCE.argument, "submission": asked.name, "n": 12}
    assert asked.options == {"queue": URL}


def test_wishes_that_no_machine_hears_are_said_and_no_queue_is_refused(place):
    notices = SqsBackend().check(SubmitOptions(options={"queue": URL, "time": "30", "mem": "4G"}, width=3), SOURCE)

    assert "time, mem: a machine gives a trial what it has, and the time of `slurmsweep listen --time`" in notices
    with pytest.raises(UsageError, match="no queue is named"):
        SqsBackend().check(SubmitOptions(options={"region": REGION}), SOURCE)
    with pytest.raises(UsageError, match="role"):
        SqsBackend().check(SubmitOptions(options={"queue": URL, "role": "x"}), SOURCE)


def test_a_rehearsal_prints_the_requests_without_a_credential_or_the_network(slurmsweep, write_sweep, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    file = write_sweep("")

    done = slurmsweep("run", str(file), "--backend", "sqs", "--queue", URL, "--dry-run")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# Amazon SQS: SendMessageBatch\n")
    sent = json.loads(done.stdout.partition("\n")[2])
    assert (sent["QueueUrl"], len(sent["Entries"])) == (URL, 3)


def test_without_credentials_each_command_says_what_to_do(slurmsweep, write_sweep, monkeypatch):
    for name, value in {**FAKE, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    done = slurmsweep("run", str(write_sweep("")), "--backend", "sqs", "--queue", URL, "--no-wait")
    seen = slurmsweep("doctor", "--backend", "sqs", "--queue", URL)

    assert (done.returncode, seen.returncode) == (4, 1)
    assert (
        "Unable to locate credentials: log in (`aws configure sso`, `aws sso login`), or set AWS_PROFILE" in done.stderr
    )
    assert " ".join(seen.stdout.split()).count("log in (`aws configure sso`") == 1


def test_the_output_of_agents_is_said_to_be_where_they_listen():
    assert SqsBackend().output_place("/shared/jobs").startswith("the output of `slurmsweep listen` on each machine")


def test_what_was_sent_waits_and_counts_for_its_sweep_as_far_as_it_was_sent(place):
    asked = request(12, place.url)
    key = SqsBackend().send(asked)
    place.send("of another sweep")

    answer = SqsBackend().poll([key])

    assert key == f"{place.name}/{asked.name}:12@sqs:{REGION}"
    assert list(answer.tasks) == [JobRef(f"{place.name}@sqs:{REGION}", n) for n in range(12)]
    assert {(s.word, s.alive, s.waits, s.name) for s in answer.tasks.values()} == {("PENDING", True, True, SOURCE.name)}
    got = [json.loads(body)["n"] for body in place.bodies(place.url) if body.startswith("{")]
    assert sorted(got) == list(range(12))
    assert SqsBackend().poll([key]).tasks == {}  # machines have them: their agents are known by their claims


def test_the_doctor_looks_at_the_queue_and_says_what_lacks(place):
    def seen(**options):
        return [(subject, one.fitness.value, one.why) for subject, one in SqsBackend().examine(options)]

    place.send("one", "two")
    account = ("identity", "good", f"account 123456789012, region {REGION}")
    assert seen(queue=place.url) == [account, ("queue", "good", f"about 2 messages wait in {place.name}")]
    [_, (subject, fitness, why)] = seen(queue=place.dead)
    assert (subject, fitness) == ("queue", "warn")
    assert why.startswith(f"dead-{place.name} has no redrive policy")
    [_, (subject, fitness, why)] = seen(queue=f"{place.url}-gone")
    assert (subject, fitness) == ("queue", "bad")
    [(subject, fitness, why)] = seen(queue="sweeps")
    assert (subject, fitness) == ("queue", "bad")
    assert why.startswith("'sweeps' is not the URL of a queue")
    assert seen() == [("queue", "warn", "no queue is named")]


def test_of_a_queue_that_is_gone_nothing_waits(place):
    key = SqsBackend().send(request(2, place.url))
    place.sqs.delete_queue(QueueUrl=place.url)

    assert SqsBackend().poll([key]).tasks == {}


def test_a_fifo_queue_takes_each_message_once_and_lets_all_be_worked_on_at_a_time(aws, tmp_path, monkeypatch):
    for name, value in {**FAKE, "AWS_ENDPOINT_URL": aws}.items():
        monkeypatch.setenv(name, value)
    with closing(Place(aws, tmp_path, fifo=True)) as place:
        asked = request(12, place.url)
        SqsBackend().send(asked)
        SqsBackend().send(asked)  # as after an answer that was lost

        assert len(place.bodies(place.url)) == 12  # none was deleted, and none kept another one back


class Playing:
    """A client whose answers to SendMessageBatch a test writes."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def ask(self, operation, **parameters):
        assert operation == "send_message_batch"
        self.asked.append([entry["Id"] for entry in parameters["Entries"]])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def failed(*ids, fault=False):
    return {"Failed": [{"Id": n, "Code": "InternalError", "Message": "again", "SenderFault": fault} for n in ids]}


@pytest.fixture
def played(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda _: None)

    def play(*answers):
        client = Playing(*answers)
        monkeypatch.setattr(module, "client", lambda *_: client)
        return client

    return play


def test_messages_that_sqs_could_not_take_are_sent_again_and_no_others(played):
    client = played(failed("2", "7"), failed("7"), {}, {})

    SqsBackend().send(request(12))

    assert client.asked == [[str(n) for n in range(10)], ["2", "7"], ["7"], ["10", "11"]]


def test_what_sqs_never_takes_is_said_with_what_was_sent_before(played):
    played({}, *[failed("11")] * 5)

    words = "took 1 of 2 messages: InternalError: again; try again later; before these 10 of 12 messages were sent"
    with pytest.raises(SchedulerUnavailableError, match=words):
        SqsBackend().send(request(12))


def test_a_mistake_of_ours_is_not_sent_again(played):
    client = played(failed("3", fault=True))

    with pytest.raises(SubmissionRefusedError, match="took 9 of 10 messages: InternalError: again"):
        SqsBackend().send(request(10))
    assert len(client.asked) == 1


@pytest.mark.parametrize(
    ("state", "reason", "alive", "waits", "ended", "cause"),
    [
        ("pending", "", True, True, None, ""),
        ("running", "", True, False, None, ""),
        ("shutting-down", "Client.UserInitiatedShutdown", True, False, None, ""),
        ("stopping", "", True, False, None, ""),
        ("terminated", "Client.UserInitiatedShutdown", False, False, TrialState.CRASHED, "node_fail"),
        ("terminated", "Server.SpotInstanceTermination", False, False, TrialState.PREEMPTED, "preempted"),
        ("terminated", "", False, False, TrialState.CRASHED, "node_fail"),
        ("stopped", "Server.SpotInstanceShutdown", False, False, TrialState.PREEMPTED, "preempted"),
        ("stopped", "Client.UserInitiatedHibernate", True, False, None, ""),
    ],
)
def test_the_words_of_ec2(state, reason, alive, waits, ended, cause):
    said = ec2_words.status(state, reason)

    assert (said.alive, said.waits, said.state, said.cause) == (alive, waits, ended, cause)


def test_a_word_of_ec2_that_is_new_is_shown_and_not_guessed():
    with pytest.raises(SchedulerError, match="'dreaming'"):
        ec2_words.status("dreaming", "")


def test_machines_are_told_of_and_one_that_is_forgotten_keeps_no_answer_from_the_others(place):
    ec2 = place.client("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    ids = [one["InstanceId"] for one in ec2.run_instances(ImageId=image, MinCount=3, MaxCount=3)["Instances"]]
    ec2.terminate_instances(InstanceIds=[ids[1]])
    ec2.stop_instances(InstanceIds=[ids[2]])
    wanted = [JobRef(f"{instance}@ec2:{REGION}") for instance in [*ids, "i-0123456789abcdef0"]]

    told = SqsBackend().poll((), wanted).tasks

    assert {ref: (status.alive, status.cause) for ref, status in told.items()} == {
        wanted[0]: (True, ""),
        wanted[1]: (False, "node_fail"),
        wanted[2]: (False, "node_fail"),
    }


def test_orders_say_that_messages_stay_and_the_sweep_is_told_of_them(place, slurmsweep, write_sweep):
    file = write_sweep("")
    done = slurmsweep("create", str(file))
    sweep = done.stdout.split()[-1]
    done = slurmsweep("submit", sweep, "--backend", "sqs", "--queue", place.url, "--json")
    assert done.returncode == 0, done.stderr
    again = slurmsweep("submit", sweep, "--queue", place.url, "--json")  # to where it was submitted before
    status = slurmsweep("status", sweep)
    stopped = slurmsweep("cancel", sweep)

    assert json.loads(done.stdout)["arrays"][0]["jobs"] == 3
    assert json.loads(again.stdout)["trials"] == 0  # three messages wait, and three trials are open
    assert "3 messages" in status.stdout or "pending" in status.stdout, status.stdout
    assert f"{place.name}@sqs:{REGION} is no job that can be ended" in stopped.stderr
    assert "told to end" not in stopped.stderr
    assert place.counts() == (3, 0)


def test_an_unanswered_queue_is_said_and_nothing_is_recorded_as_sent(place, slurmsweep, write_sweep):
    file = write_sweep("")
    sweep = slurmsweep("create", str(file)).stdout.split()[-1]
    gone = place.url.replace(place.name, "no-such-queue")

    done = slurmsweep("submit", sweep, "--backend", "sqs", "--queue", gone)

    assert done.returncode == 4, done.stderr
    assert "Amazon SQS, SendMessageBatch" in done.stderr
    assert "Traceback" not in done.stderr
    journal = (place.folder / ".slurmsweep" / f"sweep-{sweep}" / "journal.log").read_text()
    assert '"job": ""' in journal or '"job":""' in journal
