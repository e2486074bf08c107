"""One machine that listens: what it does with a message, and with the trial and the message where it is to end."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import closing

import pytest
from aws.queueing import Place, command, wait_until

INSTANCE = "i-00000000000000aa"

#: A trial that waits until the test lets it go, and ends as the test says.
TRAIN = """
import os, sys, time
x = sys.argv[1].partition("=")[2]
open(f"began-{x}", "a").close()
while not os.path.exists(f"go-{x}"):
    time.sleep(0.05)
sys.exit(int(open(f"go-{x}").read() or 0))
"""


@pytest.fixture
def place(aws, tmp_path):
    with closing(Place(aws, tmp_path, receives=2)) as made:
        yield made


@pytest.fixture
def sweep(place):
    """Return the id of a sweep of two trials, with two messages in the queue."""
    (place.folder / "train.py").write_text(TRAIN)
    (place.folder / "sweep.yaml").write_text("program: train.py\nmethod: grid\nparameters: {x: {values: [0, 1]}}\n")
    made = command(place.folder, place, "create", "sweep.yaml").stdout.split()[-1]
    done = command(place.folder, place, "submit", made, "--backend", "sqs", "--queue", place.url)
    assert done.returncode == 0, done.stderr
    return made


def go(place, x, code=0):
    (place.folder / "go.tmp").write_text(str(code))
    (place.folder / "go.tmp").rename(place.folder / f"go-{x}")


def has_begun(place, x):
    wait_until((place.folder / f"began-{x}").exists, f"trial {x} begins")


def trials(place, sweep):
    """Return state, cause and number of attempts of each trial."""
    rows = json.loads(command(place.folder, place, "trials", sweep, "--json").stdout)
    return [(row["state"], row["cause"], row["attempt"]) for row in rows]


def test_a_message_is_deleted_however_its_trial_ended(place, sweep):
    go(place, 0, code=3)
    go(place, 1)
    machine = place.listen(INSTANCE, "--count", "2")

    assert machine.process.wait(120) == 0
    assert "ended: 2 messages, as many as it was to take" in machine.said
    assert trials(place, sweep) == [("failed", "exit 3", 1), ("finished", "", 1)]
    assert place.is_empty()
    assert command(place.folder, place, "check", sweep).returncode == 0


def test_a_machine_without_work_ends_when_it_was_idle_for_so_long(place):
    machine = place.listen(INSTANCE, "--idle", "1")

    assert machine.process.wait(120) == 0
    assert "ended: no message for 1 s" in machine.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_machine_that_is_told_to_end_puts_trial_and_message_back(place, sweep, number):
    machine = place.listen(INSTANCE, visibility=600)
    has_begun(place, 0)
    trial, attempt = 0, 1

    assert machine.end(number) == 0

    assert f"trial {trial}, attempt {attempt}: preempted, and may be claimed again" in machine.said
    assert "the message is given back" in machine.said
    assert place.counts() == (2, 0)
    go(place, 0)
    go(place, 1)
    assert place.listen("i-00000000000000bb", "--count", "2").process.wait(120) == 0
    assert trials(place, sweep) == [("finished", "", 2), ("finished", "", 1)]
    assert place.is_empty()
    shown = json.loads(command(place.folder, place, "show", sweep, "0", "--json").stdout)
    assert (shown["attempts"][0]["state"], shown["attempts"][0]["cause"]) == ("preempted", "preempted")
    assert command(place.folder, place, "check", sweep).returncode == 0


def test_an_order_to_cancel_ends_the_trial_on_the_machine_and_nothing_is_put_back(place, sweep):
    machine = place.listen(INSTANCE, "--count", "2", visibility=60)
    has_begun(place, 0)

    done = command(place.folder, place, "cancel", sweep)

    assert "`listen` ends its own trials" in done.stderr
    assert machine.process.wait(120) == 0
    assert "the trial is ended: the sweep is canceled" in machine.said
    assert "nothing left to do" in machine.said  # the other message
    assert trials(place, sweep)[0] == ("killed", "terminated", 1)
    assert place.is_empty()


def test_a_time_limit_of_the_machine_ends_a_trial_as_out_of_time(place, sweep):
    machine = place.listen(INSTANCE, "--count", "1", "--time", "0:02")

    assert machine.process.wait(120) == 0
    assert trials(place, sweep)[0] == ("crashed", "timeout", 1)
    assert place.counts() == (1, 0)


def test_hostile_messages_run_nothing_and_are_dead_letters(place, sweep, tmp_path_factory):
    bait = place.folder / "bait"
    outside = tmp_path_factory.mktemp("outside")
    shutil.copytree(place.folder / ".slurmsweep", outside / ".slurmsweep")
    folder = str(outside / ".slurmsweep" / f"sweep-{sweep}")
    place.sqs.purge_queue(QueueUrl=place.url)
    hostile = [
        f"touch {bait}",
        json.dumps({"sweep": f"$(touch {bait})"}),
        json.dumps({"sweep": folder}),
        json.dumps({"sweep": f"{place.folder}/../{outside.name}/.slurmsweep/sweep-{sweep}"}),
        json.dumps({"sweep": sweep, "command": ["touch", str(bait)]}),
        json.dumps({"sweep": str(place.folder)}),
        json.dumps({"sweep": "/etc"}),
        "stranger/project/abcd1234",
        '{"sweep": ' * 100,
        json.dumps({"sweep": "x" * 200_000}),
        json.dumps({"sweep": "a\x1b]0;owned\x07b"}),
        "[" * 3000,
    ]
    place.send(*hostile)
    machine = place.listen(INSTANCE, visibility=1)

    wait_until(lambda: place.counts(place.dead) == (len(hostile), 0), "all of them are dead letters")

    assert machine.end() == 0
    said = [line for line in machine.said.splitlines() if "a message is left alone" in line]
    assert len(said) == 2 * len(hostile)
    assert all(len(line) < 500 and line.isprintable() for line in machine.said.splitlines())
    assert not bait.exists()
    assert not list(place.folder.glob("began-*")) + list(outside.glob("began-*"))
    assert sorted(place.bodies(place.dead)) == sorted(hostile)


def test_a_message_whose_agent_could_claim_nothing_comes_again(place, sweep):
    (place.folder / "moved").mkdir()
    shutil.move(place.folder / ".slurmsweep", place.folder / "moved" / ".slurmsweep")
    folder = place.folder / "moved" / ".slurmsweep" / f"sweep-{sweep}"
    document = json.loads((folder / "sweep.json").read_text())
    document["workdir"] = str(place.folder / "not-mounted")
    (folder / "sweep.json").write_text(json.dumps(document))
    place.sqs.purge_queue(QueueUrl=place.url)
    place.send(json.dumps({"sweep": str(folder)}))

    machine = place.listen(INSTANCE, visibility=2)
    wait_until(lambda: place.counts(place.dead) == (1, 0), "it is a dead letter")

    assert machine.end() == 0
    assert machine.said.count("no trial was claimed (exit code 2): the message comes again") == 2
    assert "not-mounted" in machine.said


def test_a_trial_whose_agent_was_killed_alone_is_recorded_and_its_message_deleted(place, sweep):
    machine = place.listen(INSTANCE, "--count", "1")
    has_begun(place, 0)
    [agent] = machine.agents()

    os.kill(agent, signal.SIGKILL)

    assert machine.process.wait(120) == 0
    assert trials(place, sweep)[0] == ("crashed", "signal 9", 1)
    assert place.counts() == (1, 0)
    assert command(place.folder, place, "check", sweep).returncode == 0


def test_a_message_of_wandbs_sweep_comes_again_where_the_machine_has_no_wandb(place):
    place.send("team/project/k3v9q2xa", json.dumps({"sweep": "stranger/project/k3v9q2xa"}))
    without = place.folder / "without"
    without.mkdir()
    (without / "sitecustomize.py").write_text('import sys\nsys.modules["wandb"] = None\n')
    options = ("--entity", "team", "--idle", "6")

    machine = place.listen(INSTANCE, *options, visibility=2, PATH="/nowhere", PYTHONPATH=str(without))

    assert machine.process.wait(120) == 0
    assert machine.said.count("this machine cannot run sweeps of W&B: the message comes again") == 2
    assert machine.said.count("this machine runs those of team") == 2
    assert len(place.bodies(place.dead)) == 2


def test_a_listener_that_was_killed_puts_its_trial_back_when_it_starts_again(place, sweep):
    machine = place.listen(INSTANCE)
    has_begun(place, 0)
    machine.process.kill()
    machine.process.wait()
    place.sqs.purge_queue(QueueUrl=place.url)  # as if another machine had got the message, and could not tell

    again = place.listen(INSTANCE)
    wait_until(lambda: "listens to" in again.said, "it listens")

    assert "trial 0: lost with its machine, attempt 2 may be claimed" in again.said
    assert trials(place, sweep)[0] == ("pending", "", 1)
    assert again.end() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a process a host name of its own")
@pytest.mark.parametrize("is_gone", [True, False])
def test_a_trial_of_a_lost_machine_is_put_back_when_its_message_comes_again(place, sweep, is_gone):
    ec2 = place.client("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    [instance] = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"]
    elsewhere = ("unshare", "--uts", "sh", "-c", 'hostname a-lost-machine; exec "$0" "$@"')
    lost = place.listen(instance["InstanceId"], before=elsewhere)
    has_begun(place, 0)
    if is_gone:
        ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    lost.process.kill()
    lost.process.wait()
    go(place, 0)
    go(place, 1)

    other = place.listen(INSTANCE, "--idle", "8")
    assert other.process.wait(240) == 0

    assert place.is_empty()
    left, told = trials(place, sweep), "trial 0: lost with its machine, attempt 2 may be claimed" in other.said
    if is_gone:
        assert (left, told) == ([("finished", "", 2), ("finished", "", 1)], True)
        shown = json.loads(command(place.folder, place, "show", sweep, "0", "--json").stdout)
        assert (shown["attempts"][0]["state"], shown["attempts"][0]["cause"]) == ("crashed", "node_fail")
    else:  # EC2 says that it runs: nothing is concluded
        assert (left, told) == ([("running", "", 1), ("finished", "", 1)], False)


def test_what_is_wrong_with_a_command_is_said_before_a_message_is_taken(place, sweep):
    def listen(*words):
        return command(place.folder, place, "listen", *words)

    assert listen("not-a-url", "--instance", INSTANCE, "--region", "eu-west-1").returncode == 2
    assert "--root /no/such" in listen(place.url, "--root", "/no/such").stderr
    assert "name it by --instance" in listen(place.url).stderr
    assert "--project needs --entity" in listen(place.url, "--project", "p").stderr
    wrong = listen(place.url, "--instance", "i_1@x:y", "--region", "eu-west-1")
    assert (wrong.returncode, "'i_1@x:y' in 'eu-west-1'" in wrong.stderr) == (2, True)
    gone = listen(f"{place.url}-gone", "--instance", INSTANCE, "--region", "eu-west-1")
    assert (gone.returncode, "Traceback" in gone.stderr) == (3, False)
    assert "time 'soon'" in listen(place.url, "--time", "soon", "--instance", INSTANCE, "--region", "eu-west-1").stderr
    assert place.counts() == (2, 0)
