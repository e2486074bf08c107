"""Sweeps of W&B's own on the login node: which names mean them, what is submitted, what is remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slurmsweep.backends.base import Answer, SubmitOptions
from slurmsweep.backends.slurm import cluster, executor, limits, queue
from slurmsweep.backends.wandb_hosted import submit as cloud
from slurmsweep.backends.wandb_hosted.backend import HostedBackend
from slurmsweep.backends.wandb_hosted.folder import HostedFolder, HostedSweep, is_meant, parse
from slurmsweep.errors import NotFoundError, StateUnreadableError, SubmissionRefusedError, UsageError

SWEEP = HostedSweep("ent", "proj", "wbyz9876")
VECTORS = json.loads((Path(__file__).parents[2] / "data" / "wandb_vectors.json").read_text())["vectors"]


@pytest.mark.parametrize(
    "vector",
    [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == "parse_sweep_id" and not v["expect"]["error"]],
)
def test_a_name_has_the_parts_that_wandb_finds_in_it(vector):
    parts = vector["expect"]["parts"]

    found = parse(vector["value"], {"WANDB_ENTITY": "E", "WANDB_PROJECT": "P"})

    assert found == HostedSweep(parts["entity"] or "E", parts["project"] or "P", parts["name"])


def test_what_a_name_lacks_comes_from_the_flags_and_then_from_the_environment():
    environ = {"WANDB_ENTITY": "E", "WANDB_PROJECT": "P"}

    assert str(parse("abc", environ, entity="e")) == "e/P/abc"
    assert str(parse("p/abc", environ, project="other")) == "E/p/abc"
    assert str(parse("e2/p2/abc", environ, "e", "p")) == "e2/p2/abc"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a/b/c/d", "4 parts"),
        ("proj/abc", "names no entity"),
        ("ent//abc", "names no project"),
        ("ent/proj/", "names no sweep"),
        ("my team/proj/abc", "cannot be its entity"),
        ("-x/proj/abc", "cannot be its entity"),
        ("ent/proj/ab c", "cannot be its sweep"),
        ("ent/proj/abc\nrm", "cannot be its sweep"),
        ("ent/pr\x1boj/abc", "cannot be its project"),
        ("ent/pr%oj/abc", "cannot be its project"),
    ],
)
def test_a_malformed_name_is_wrong_usage_and_says_what_would_be_right(name, words):
    with pytest.raises(UsageError, match=words) as error:
        parse(name, {})
    assert "entity/project/sweep" in str(error.value)


@pytest.mark.parametrize(
    ("name", "entity", "meant"),
    [
        ("ent/proj/wbyz9876", None, True),
        ("wbyz9876", "ent", True),
        ("proj/wbyz9876", "ent", True),
        ("wbyz9876", None, False),
        ("proj/wbyz9876", None, False),
        ("a/path/here", None, False),
        ("./wandb/sweep-abcd1234", None, False),
        ("scratch/wandb/sweep-abcd1234", None, False),
        ("/scratch/abcd1234", None, False),
        ("~/sweeps/abcd1234", None, False),
    ],
)
def test_only_three_parts_that_are_no_path_or_a_flag_mean_a_sweep_of_w_and_bs(
    tmp_path, monkeypatch, name, entity, meant
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_ENTITY", "ent")
    monkeypatch.setenv("WANDB_PROJECT", "proj")
    (tmp_path / "a" / "path" / "here").mkdir(parents=True)

    assert is_meant(name, entity) is meant


def test_the_script_is_the_usual_template_throttled_and_without_the_key(slurmsweep):
    key = "f" * 40
    done = slurmsweep("submit", "ent/proj/wbyz9876", "--count", "40", "--time", "30", "--dry-run", WANDB_API_KEY=key)

    assert done.returncode == 0, done.stderr
    assert "#SBATCH --array=0-39%16" in done.stdout
    assert "#SBATCH --time=30" in done.stdout
    assert "set -- ent/proj/wbyz9876\n" in done.stdout
    assert '-m slurmsweep agent --count 1 "$1"' in done.stdout
    assert key not in done.stdout
    assert not Path("wandb").exists()


def test_a_local_sweeps_script_can_be_seen_too(slurmsweep, write_sweep):
    sweep = slurmsweep("create", str(write_sweep("pass"))).stdout.strip()

    done = slurmsweep("submit", sweep, "--dry-run", "--width", "2")

    assert "#SBATCH --array=0-2%2" in done.stdout
    assert json.loads(slurmsweep("status", sweep, "--json").stdout)["counts"]["pending"] == 3


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["submit", "ent/proj/wbyz9876"], 2, "--count"),
        (["submit", "e n t/proj/wbyz9876", "--count", "1"], 2, "entity"),
        (["submit", "wbyz9876", "--entity", "ent", "--count", "1"], 2, "--project or set WANDB_PROJECT"),
        (["submit", "ent/proj/wbyz9876", "--count", "1", "--sbatch", "nonsense=1"], 2, "not an option of sbatch"),
        (["agent", "ent//wbyz9876"], 2, "project"),
        (["status", "ent/proj/wbyz9876"], 3, "nothing was submitted"),
    ],
)
def test_wrong_usage_is_explained(slurmsweep, argv, code, words):
    done = slurmsweep(*argv)

    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert words in done.stderr


@pytest.fixture
def slurm(monkeypatch):
    """In the place of Slurm, which tests/cluster has: takes arrays of at most 10, and says what it was given."""
    taken = []

    def submit(request):
        if request.options.get("partition") == "nope":
            raise SubmissionRefusedError("no such partition")
        taken.append(request)
        return str(100 + len(taken))

    monkeypatch.setattr(executor, "submit", submit)
    monkeypatch.setattr(limits, "max_array_size", lambda cluster="": 10)
    return taken


def submit(folder, count, wishes):
    return cloud.submit(folder, count, wishes, cloud.source_of(folder, ()), HostedBackend(), lambda _: None)


def test_arrays_of_one_submission_wait_for_each_other_so_that_the_width_holds(slurm, tmp_path):
    folder = HostedFolder(SWEEP, str(tmp_path))

    submitted = submit(folder, 24, SubmitOptions(options={"dependency": "afterok:7"}, width=4))

    assert [(s.job, s.tasks, s.width) for s in submitted] == [("101", 10, 4), ("102", 10, 4), ("103", 4, 4)]
    assert [request.options["dependency"] for request in slurm] == [
        "afterok:7",
        "afterok:7,afterany:101",
        "afterok:7,afterany:102",
    ]
    assert len({request.name for request in slurm}) == 3
    assert folder.submissions() == submitted


def test_arrays_on_another_cluster_have_its_size_and_wait_for_ids_that_it_knows(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "max_array_size", lambda cluster="": 3 if cluster == "other" else 10)
    ids = iter(("101@other", "102@other"))
    monkeypatch.setattr(executor, "submit", lambda request: slurm.append(request) or next(ids))
    monkeypatch.setattr(cluster, "site_name", lambda: "lab")

    submitted = submit(HostedFolder(SWEEP, str(tmp_path)), 5, SubmitOptions(options={"clusters": "other"}))

    assert [(s.job, s.cluster, s.tasks) for s in submitted] == [("101", "other", 3), ("102", "other", 2)]
    assert [request.options.get("dependency") for request in slurm] == [None, "afterany:101"]


def test_a_refused_submission_is_not_remembered(slurm, tmp_path):
    folder = HostedFolder(SWEEP, str(tmp_path))

    with pytest.raises(SubmissionRefusedError):
        submit(folder, 3, SubmitOptions(options={"partition": "nope"}))

    assert folder.submissions() == []
    with pytest.raises(NotFoundError, match="nothing was submitted for ent/proj/wbyz9876"):
        cloud.status(folder)


def test_another_projects_sweep_of_the_same_id_is_another_sweep(slurm, tmp_path):
    submit(HostedFolder(SWEEP, str(tmp_path)), 3, SubmitOptions())

    assert HostedFolder(HostedSweep("ent", "other", "wbyz9876"), str(tmp_path)).submissions() == []


def test_status_counts_slurms_words_and_what_slurm_has_forgotten(slurm, tmp_path, monkeypatch):
    folder = HostedFolder(SWEEP, str(tmp_path))
    [array] = submit(folder, 4, SubmitOptions())
    lines = "101|0|101|COMPLETED|0|n1|0|x\n101|1|102|FAILED|768|n1|0|x\n101|2|103|RUNNING|0|n1|0|x\n"
    monkeypatch.setattr(queue, "ask", lambda jobs, wanted: Answer(dict(queue.parse_squeue(lines)), "off"))

    answer = cloud.status(folder)

    assert answer.words == {"COMPLETED": 1, "FAILED": 1, "RUNNING": 1, "unknown": 1}
    assert answer.alive == 1
    assert answer.submissions == [array]


def test_a_submission_that_was_never_answered_is_looked_for_by_its_name(slurm, tmp_path, monkeypatch):
    folder = HostedFolder(SWEEP, str(tmp_path))
    [array] = submit(folder, 2, SubmitOptions())
    folder.files.write(replace(array, job=None))
    monkeypatch.setattr(queue, "find_by_name", lambda name, cluster: ["555"] if name == array.name else [])

    submit(folder, 1, SubmitOptions())

    assert sorted(s.job for s in folder.submissions()) == ["102", "555"]


def test_a_damaged_record_is_a_clear_error(slurm, tmp_path):
    folder = HostedFolder(SWEEP, str(tmp_path))
    [array] = submit(folder, 2, SubmitOptions())
    (Path(folder.path) / "submissions" / f"{array.name}.json").write_text('{"name": ')

    with pytest.raises(StateUnreadableError, match=r"\.json is damaged"):
        cloud.status(folder)
