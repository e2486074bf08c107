"""Who mends, in which round; what was asked for; what came of the last."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from slurmsweep.errors import StateUnreadableError
from slurmsweep.state.files import PRIVATE
from slurmsweep.state.owner import Owner
from slurmsweep.state.paths import Layout
from slurmsweep.state.supervisor_files import LastRound, SupervisorFiles, SupervisorSettings

FIRST = Owner("n1", 11, 1, "b", job="7")
SECOND = Owner("n2", 22, 1, "b", job="8")


@pytest.fixture
def files(make_store):
    store = make_store(3)
    return SupervisorFiles(store.layout, store.access)


def test_a_sweep_that_was_not_asked_to_has_no_settings(files):
    assert files.settings() is None
    assert files.last() is None


def test_what_was_asked_for_is_read_again(files):
    asked = SupervisorSettings("gpu", {"time": "45"}, 8, None, {"partition": "short"}, 15, {"max_attempts": 4})

    files.ask_for(asked)

    assert files.settings() == asked


def test_asking_again_takes_the_old_report_away(files, make_store):
    files.write_report("all is well", {"ok": True})
    assert files.has_report()

    files.ask_for(SupervisorSettings())

    assert not files.has_report()


def test_a_round_is_held_by_one_while_it_lives(files):
    assert files.take_round(FIRST, lives=lambda owner: True) == 1

    assert files.take_round(SECOND, lives=lambda owner: True) == FIRST
    assert files.take_round(SECOND, lives=lambda owner: owner != FIRST) == 2


def test_a_requeued_supervisor_goes_on(files):
    files.take_round(FIRST, lives=lambda owner: True)
    again = Owner("n3", 33, 1, "b", job="7", restart=1)

    assert files.take_round(again, lives=lambda owner: True) == 2


def test_a_round_that_ended_holds_nobody_up(files):
    files.take_round(FIRST, lives=lambda owner: True)
    files.end_round(LastRound(1, said=("done",)))

    assert files.take_round(SECOND, lives=lambda owner: True) == 2
    assert files.last() == LastRound(1, said=("done",))


def _take(folder: str, number: int) -> int | Owner:
    me = Owner(f"n{number}", number, 1, "b", job=str(number))
    return SupervisorFiles(Layout(folder), PRIVATE).take_round(me, lambda owner: True)


def test_of_many_that_find_no_living_holder_one_gets_the_round(make_store):
    folder = make_store(3).layout.folder

    with ProcessPoolExecutor(8) as pool:
        taken = list(pool.map(_take, [folder] * 16, range(16)))

    assert [number for number in taken if isinstance(number, int)] == [1]
    assert len({owner for owner in taken if not isinstance(owner, int)}) == 1


def test_damaged_settings_are_said_and_not_guessed(files, make_store):
    files.ask_for(SupervisorSettings())
    path = files._layout.mend_settings
    with open(path, "w") as file:
        file.write("{")

    with pytest.raises(StateUnreadableError, match=r"settings\.json is damaged"):
        files.settings()
    os.remove(path)
    assert files.settings() is None
