"""Options of sbatch from several places: which of two that exclude each other counts, and what is a misspelt name."""

from __future__ import annotations

import re

import pytest

from slurmsweep.backends.base import SubmitOptions
from slurmsweep.backends.slurm import changes, commands
from slurmsweep.backends.slurm.backend import SlurmBackend
from slurmsweep.backends.slurm.resources import KNOWN, OURS, merge, over
from slurmsweep.errors import UsageError

#: From the weakest place to the strongest.
PLACES = ("environment", "template", "sweep_file", "command_line")
PAIRS = [(earlier, later) for n, earlier in enumerate(PLACES) for later in PLACES[n + 1 :]]


def merged(listed=tuple, **places) -> dict[str, str | bool]:
    return merge(*((name, places.get(name, {})) for name in PLACES), listed=listed)


#: What an earlier place says, what a later one says, and what of the earlier is left.
EXCLUSIVE = [
    ({"cpus-per-task": "1"}, {"cpus-per-gpu": "2"}, {}),
    ({"cpus-per-gpu": "2"}, {"cpus-per-task": "1"}, {}),
    ({"cpus-per-task": "1"}, {"tres-per-task": "cpu=4"}, {}),
    ({"cpus-per-task": "1"}, {"tres-per-task": "license/x:1,cpu:4"}, {}),
    ({"tres-per-task": "cpu:4,gres/gpu:1"}, {"c": "2"}, {"tres-per-task": "gres/gpu:1"}),
    ({"tres-per-task": "cpu=4"}, {"cpus_per_gpu": "2"}, {}),
    ({"mem": "1G"}, {"mem-per-cpu": "2G"}, {}),
    ({"mem-per-cpu": "2G"}, {"mem": "1G"}, {}),
    ({"mem-per-gpu": "2G"}, {"mem-per-cpu": "1G"}, {}),
    ({"gres": "gpu:1"}, {"gpus": "2"}, {}),
    ({"gres": "gpu:a100:1,lustre:1"}, {"gpus-per-node": "2"}, {"gres": "lustre:1"}),
    ({"gres": "lustre:1"}, {"gpus-per-node": "2"}, {"gres": "lustre:1"}),
    ({"gres": "gres/gpu:1"}, {"gpus-per-task": "1"}, {}),
    ({"gres": "gres:gpu"}, {"G": "1"}, {}),
    ({"gres": "gpu:1"}, {"tres-per-task": "gres/gpu=1"}, {}),
    ({"tres-per-task": "gres:gpu:1,cpu=2"}, {"gres": "gpu:1"}, {"tres-per-task": "cpu=2"}),
    ({"gpus-per-socket": "1", "sockets-per-node": "2"}, {"gpus-per-node": "2"}, {"sockets-per-node": "2"}),
    ({"gpus": "1", "mem-per-gpu": "4G"}, {"gres": "gpu:2"}, {"mem-per-gpu": "4G"}),
    ({"gpus-per-node": "2"}, {"gres": "lustre:1"}, {"gpus-per-node": "2"}),
    ({"exclusive": True}, {"oversubscribe": True}, {}),
    ({"oversubscribe": True}, {"exclusive": "user"}, {}),
    ({"requeue": True}, {"no-requeue": True}, {}),
    ({"core-spec": "1"}, {"thread-spec": "1"}, {}),
    ({"bb": "x"}, {"bbf": "y"}, {}),
    ({"nodefile": "f"}, {"nodelist": "n1"}, {}),
    ({"ntasks-per-node": "2", "gpus-per-task": "1"}, {"ntasks-per-gpu": "1"}, {}),
    ({"tres-per-task": "license/x:1"}, {"ntasks-per-gpu": "1"}, {}),
    ({"ntasks-per-gpu": "1"}, {"ntasks-per-node": "4"}, {}),
    ({"threads-per-core": "1", "ntasks-per-core": "1"}, {"hint": "nomultithread"}, {}),
    ({"hint": "compute_bound"}, {"B": "2:8:1"}, {}),
    ({"sockets-per-node": "1"}, {"extra-node-info": "2:8:1"}, {}),
    ({"nodes": "1"}, {"distribution": "arbitrary"}, {}),
    ({"nodes": "1"}, {"distribution": "block"}, {"nodes": "1"}),
    ({"mem": "1G", "gres": "gpu:1"}, {"time": "5"}, {"mem": "1G", "gres": "gpu:1"}),
    # what is taken away excludes nothing
    ({"mem": "1G"}, {"mem-per-cpu": False}, {"mem": "1G"}),
    ({"oversubscribe": True}, {"exclusive": False}, {"oversubscribe": True}),
]


@pytest.mark.parametrize(("earlier", "later", "left"), EXCLUSIVE)
@pytest.mark.parametrize("places", PAIRS)
def test_a_later_place_wins_over_what_excludes_its_own(earlier, later, left, places):
    found = merged(**{places[0]: earlier, places[1]: later})

    theirs = {name: value for name, value in merged(command_line=later).items() if value is not False}
    assert found == left | theirs


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "options",
    [
        {"mem": "1G", "mem-per-cpu": "1G"},
        {"mem-per-cpu": "1G", "mem-per-gpu": "1G"},
        {"core-spec": "1", "thread-spec": "1"},
        {"gpus-per-task": "1", "ntasks-per-gpu": "1"},
        {"ntasks-per-gpu": "1", "ntasks-per-node": "1"},
        {"bb": "x", "bbf": "y"},
    ],
)
def test_two_in_one_place_that_no_sbatch_takes_are_an_error_with_the_place(place, options):
    one, other = options
    with pytest.raises(UsageError, match=f"{one} and {other} exclude each other: leave one of them out"):
        merged(**{place: options})


def test_two_in_one_place_do_not_matter_where_a_later_place_says_a_third():
    environment = {"mem-per-cpu": "1G", "mem": "1G"}

    assert merged(environment=environment, command_line={"mem-per-gpu": "2G"}) == {"mem-per-gpu": "2G"}


@pytest.mark.parametrize(
    "options", [{"gres": "gpu:1", "gpus-per-node": "1"}, {"cpus-per-task": "1", "cpus-per-gpu": "1"}]
)
def test_two_in_one_place_that_some_sbatch_takes_are_left_to_it(options):
    assert merged(template=options) == options


def test_options_of_two_places_are_laid_over_each_other_by_any_name():
    assert over({"mem_per_cpu": "1G", "p": "main"}, {"--mem": "2G"}) == {"partition": "main", "mem": "2G"}


@pytest.mark.parametrize("template", ["array", "gpu", "packed", "requeue", "multi_node"])
def test_every_built_in_template_takes_cpus_per_gpu_and_gpus(template, source):
    wish = SubmitOptions(template, {"cpus-per-gpu": "2", "gpus-per-node": "1"})

    options = SlurmBackend().options(wish, source)

    assert not {"cpus-per-task", "gres"} & options.keys()
    assert (options["cpus-per-gpu"], options["gpus-per-node"]) == ("2", "1")


def test_one_node_is_not_asked_for_beside_a_list_of_nodes_for_tasks(source):
    backend = SlurmBackend()
    wish = SubmitOptions(options={"distribution": "arbitrary", "nodelist": "n1,n1,n2"})

    assert "--nodes" not in backend.preview(backend.request(source, 2, wish))


@pytest.fixture
def source(tmp_path):
    from slurmsweep.backends.base import JobSource

    return JobSource("slurmsweep-abcd1234", "/s", str(tmp_path), str(tmp_path), {})


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """An sbatch whose help lists options, or fails."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def helps(text: str | None) -> None:
        said = "exit 1" if text is None else f"cat <<'E'\n{text}\nE"
        (tmp_path / "sbatch").write_text(f"#!/bin/sh\n[ $1 = --help ] || exit 9\n{said}\n")
        (tmp_path / "sbatch").chmod(0o755)
        commands.options_of_sbatch.cache_clear()

    helps(None)
    yield helps
    commands.options_of_sbatch.cache_clear()


HELP = """\
Usage: sbatch [OPTIONS(0)...] [ : [OPTIONS(N)...]] script(0) [args(0)...]

Parallel run options:
  -A, --account=name          charge job to specified account
      --gpus-per-nodule=n     an option of 2031, see also --gpus-per-nodelet
      --nod=n                 the beginning of another one
      --time-min=minutes      minimum time limit (if distinct)
Options provided by plugins:
      --container-image=[USER@][REGISTRY#]IMAGE[:TAG]|PATH
"""


@pytest.mark.parametrize("name", ["frobnicate", "gpus-per-nodule", "container-image", "nod"])
def test_what_sbatch_here_lists_or_what_resembles_nothing_is_passed_with_a_warning(sbatch, source, name):
    sbatch(HELP)
    backend = SlurmBackend()
    wish = SubmitOptions(options={name: "1"})

    notices = backend.check(wish, source)

    assert f"#SBATCH --{name}=1\n" in backend.preview(backend.request(source, 2, wish))
    lists = ", and lists no such option here" if name == "frobnicate" else ""
    assert notices == (f"--{name} is no option that this slurmsweep knows: sbatch gets it as it is{lists}",)


@pytest.mark.parametrize("place", PLACES)
def test_where_sbatch_says_nothing_only_a_near_miss_is_an_error(sbatch, place):
    assert merged(**{place: {"new_thing": "1"}}, listed=commands.options_of_sbatch) == {"new-thing": "1"}
    with pytest.raises(UsageError, match="'gpus-per-nodule' is not an option of sbatch; did you mean gpus-per-node"):
        merged(**{place: {"gpus-per-nodule": "1"}}, listed=commands.options_of_sbatch)


@pytest.mark.parametrize(("name", "meant"), [("walltime", "time"), ("qoz", "qos")])
def test_what_sbatch_does_not_list_is_sooner_taken_for_a_mistake(sbatch, name, meant):
    assert merged(command_line={name: "1"}, listed=commands.options_of_sbatch) == {name: "1"}
    sbatch(HELP)
    with pytest.raises(UsageError, match=f"did you mean {meant}"):
        merged(command_line={name: "1"}, listed=commands.options_of_sbatch)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("job", "write job-name"),
        ("outp", "write output"),
        ("arr", "write array"),
        ("cl", "write cluster-constraint or clusters"),
        ("help", "sbatch would submit nothing"),
        ("external", "such a job runs no agent"),
        ("W", "use slurmsweep run"),
        ("a=0-3 --comment", "see `man sbatch`"),
    ],
)
def test_a_name_that_sbatch_would_take_for_one_of_ours_never_reaches_it(name, said):
    """Of a long option the beginning is enough for sbatch."""
    with pytest.raises(UsageError, match=re.escape(said)):
        merged(command_line={name: "1"})


@pytest.mark.parametrize(
    ("short", "name"), [("s", "oversubscribe"), ("B", "extra-node-info"), ("cluster", "clusters"), ("tasks_per_node", "ntasks-per-node")]
)  # fmt: skip
def test_other_names_of_an_option_are_known(short, name):
    assert merged(command_line={short: "1"}) == {name: "1"}


NEWER = """
extra container-id tres-bind segment stepmgr resv-ports oom-kill-step spread-segments consolidate-segments resources
container-type mem-update container export-file tres-per-task
"""


@pytest.mark.parametrize("name", NEWER.split())
def test_options_of_newer_slurms_are_known(name, source):
    assert SlurmBackend().check(SubmitOptions(options={name: "1"}), source) == ()


def test_every_option_that_slurmsweep_sets_or_changes_is_one():
    assert not KNOWN & OURS.keys()
    assert set(changes._NAMES) <= KNOWN
