"""Documents of submissions: durable, read back as written, and those of earlier versions too."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from slurmsweep.errors import StateUnreadableError
from slurmsweep.state import files
from slurmsweep.state.submissions import SubmissionDocument, SubmissionFiles
from slurmsweep.state.tail import AttemptId

DOCUMENT = SubmissionDocument(
    name="slurmsweep-abcd1234-1",
    backend="slurm",
    sweep="abcd1234",
    tasks=3,
    trials=5,
    agents=2,
    width=1,
    options={"time": "60", "exclusive": True, "comment": "ö" * 20_000},
    wishes={"time": "60"},
    template="packed",
    attempts="0-3,7:2",
    retried=(AttemptId(7, 2),),
    cluster="lab",
    submitted=1700000000.5,
)


@pytest.fixture
def kept(make_store) -> SubmissionFiles:
    store = make_store(5)
    return SubmissionFiles(store.layout.submissions, store.access)


def test_before_the_first_there_is_none(kept):
    assert kept.all() == []
    assert kept.read(DOCUMENT.name) is None


def test_a_document_is_read_as_it_was_written_however_long_its_options(kept):
    kept.write(DOCUMENT)

    assert kept.read(DOCUMENT.name) == DOCUMENT
    assert kept.all() == [DOCUMENT]


@pytest.mark.parametrize("job", ["77", ""], ids=["taken", "refused"])
def test_the_answer_is_kept_with_it(kept, job):
    kept.write(DOCUMENT)

    assert kept.note_job(DOCUMENT, job) == kept.read(DOCUMENT.name) == replace(DOCUMENT, job=job)


def test_what_is_forgotten_is_gone_and_may_be_forgotten_again(kept):
    kept.write(DOCUMENT)

    kept.forget(DOCUMENT.name)
    kept.forget(DOCUMENT.name)

    assert kept.all() == []


def test_all_are_given_the_oldest_first_and_of_one_moment_by_job(kept):
    ages = [("c", 2.0, "9"), ("b", 2.0, "10"), ("d", 2.0, None), ("a", 3.0, "1"), ("e", 1.0, None)]
    for name, submitted, job in ages:
        kept.write(replace(DOCUMENT, name=name, submitted=submitted, job=job))

    assert [document.name for document in kept.all()] == ["e", "c", "b", "d", "a"]


def test_other_files_there_are_none(kept):
    kept.write(DOCUMENT)
    files.write_new(os.path.join(os.path.dirname(kept._path("x")), ".x.json.host.1.tmp"), b"{")

    assert kept.all() == [DOCUMENT]


def test_a_document_of_a_hosted_sweep_as_the_first_version_wrote_it(kept):
    old = {"name": "n", "sweep": "team/project/wbyz9876", "tasks": 4, "width": 2, "job": "7", "submitted": 5.0}
    kept.write(replace(DOCUMENT, name="n"))
    files.replace(kept._path("n"), json.dumps(old, indent=1).encode() + b"\n")

    expected = SubmissionDocument("n", "wandb", "team/project/wbyz9876", 4, 4, width=2, job="7", submitted=5.0)
    assert kept.read("n") == expected


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"{}", b'{"name": "n"}'])
def test_a_damaged_document_is_an_error_that_names_it(kept, content):
    kept.write(DOCUMENT)
    files.replace(kept._path(DOCUMENT.name), content)

    with pytest.raises(StateUnreadableError, match=r"submissions/slurmsweep-abcd1234-1\.json is damaged"):
        kept.all()
