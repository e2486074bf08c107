"""A sweep that takes the point of a trial of another one: as constants, once, and it says from where."""

from __future__ import annotations

import json
import shutil

import pytest

SCRIPT = """
import json, sys
given = dict(word[2:].split("=", 1) for word in sys.argv[1:])
print("slurmsweep: " + json.dumps({"loss": (float(given["lr"]) - 0.1) ** 2 + float(given.get("wd", 0))}))
"""
METRIC = "metric: {name: loss, goal: minimize}\n"
COARSE = "  lr: {values: [0.01, 0.1, 1]}\n  wd: {values: [0.5, 0.25]}\n  opt: {parameters: {name: {value: sgd}}}"


@pytest.fixture(scope="module")
def ran_once(slurmsweep_in, tmp_path_factory):
    """Run a sweep of six trials, of which trial 3 (lr 0.1, wd 0.25) is best; return its folder's parent and its id."""
    folder = tmp_path_factory.mktemp("coarse")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "sweep.yaml").write_text(f"program: train.py\nmethod: grid\n{METRIC}parameters:\n{COARSE}\n")
    done = slurmsweep_in(folder, "run", "sweep.yaml", "--backend", "local", "--jobs", "2", "--json")
    assert done.returncode == 0, done.stderr
    return folder / ".slurmsweep", json.loads(done.stdout)["id"]


@pytest.fixture
def coarse(ran_once, tmp_path):
    """Return the id of a copy of that sweep here."""
    place, sweep = ran_once
    shutil.copytree(place, tmp_path / ".slurmsweep", symlinks=True)
    return sweep


@pytest.fixture
def fine(write_sweep):
    """Write a sweep file with that base."""
    return lambda base, parameters="  lr: {values: [0.05, 0.2]}", extra=METRIC: str(
        write_sweep(SCRIPT, parameters, f"{extra}slurmsweep: {{base: {base}}}")
    )


def params(slurmsweep, sweep) -> list[dict]:
    return [trial["params"] for trial in json.loads(slurmsweep("trials", sweep, "--json").stdout)]


def create(slurmsweep, file) -> str:
    done = slurmsweep("create", file)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_the_file_lacks_is_a_constant_with_the_best_value_and_the_file_wins(slurmsweep, coarse, fine):
    sweep = create(slurmsweep, fine(f"{{sweep: {coarse}, trial: best}}"))

    assert params(slurmsweep, sweep) == [{"lr": lr, "wd": 0.25, "opt": {"name": "sgd"}} for lr in (0.05, 0.2)]


def test_the_sweep_says_from_where_and_needs_the_other_no_more(slurmsweep, coarse, fine, tmp_path):
    sweep = create(slurmsweep, fine(f"{{sweep: {coarse}}}"))
    shutil.rmtree(tmp_path / ".slurmsweep" / f"sweep-{coarse}")
    document = json.loads((tmp_path / ".slurmsweep" / f"sweep-{sweep}" / "sweep.json").read_text())
    found = {"sweep": coarse, "trial": 3, "metric": "loss", "value": 0.25, "parameters": ["wd", "opt.name"]}

    assert document["config"]["slurmsweep"]["base"] == {"sweep": coarse, "found": found}
    assert document["config"]["parameters"]["wd"] == {"value": 0.25}
    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
    shown = json.loads(slurmsweep("show", sweep, "0", "--json").stdout)["base"]
    assert shown == {**found, "parameters": {"wd": 0.25, "opt.name": "sgd"}}
    words = f"wd=0.25, opt.name=sgd from trial 3 of sweep {coarse}, loss 0.25"
    assert words in " ".join(slurmsweep("show", sweep, "0").stdout.split())
    slurmsweep("report", sweep, "-o", "report.md")
    assert f"trial 3 of sweep {coarse}" in (tmp_path / "report.md").read_text()
    slurmsweep("report", sweep, "-o", "report.html")
    assert f"trial 3 of sweep {coarse}" in (tmp_path / "report.html").read_text()


def test_plan_shows_where_values_are_from(slurmsweep, coarse, fine):
    file = fine(f"{{sweep: {coarse}, trial: 0, parameters: [wd]}}")
    text, document = slurmsweep("plan", file), json.loads(slurmsweep("plan", file, "--json").stdout)

    assert f"base: wd=0.5 from trial 0 of sweep {coarse}" in text.stdout
    assert document["trials"][0]["params"] == {"lr": 0.05, "wd": 0.5}
    assert document["base"]["parameters"] == {"wd": 0.5}


def test_nested_parameters_join_those_of_the_file(slurmsweep, coarse, fine):
    sweep = create(slurmsweep, fine(f"{{sweep: {coarse}}}", "  opt: {parameters: {momentum: {values: [0, 1]}}}"))

    assert params(slurmsweep, sweep)[1] == {"lr": 0.1, "wd": 0.25, "opt": {"momentum": 1, "name": "sgd"}}


def test_rules_and_command_may_name_what_the_base_gives(slurmsweep, coarse, fine):
    extra = METRIC + 'command: ["${env}", python, "${program}", "--lr=${lr}", "--wd=${wd}"]\n'

    done = slurmsweep("plan", fine(f"{{sweep: {coarse}}}", extra=extra))

    assert "--wd=0.25" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("base", "parameters", "words"),
    [
        ("{sweep: none4567}", "  lr: {value: 1}", "slurmsweep.base.sweep"),
        (
            "{sweep: COARSE, trial: 99}",
            "  lr: {value: 1}",
            "slurmsweep.base.trial: trial 99 of sweep COARSE was not run",
        ),
        (
            "{sweep: COARSE, parameters: [wdd]}",
            "  lr: {value: 1}",
            "trial 3 of sweep COARSE has no parameter 'wdd' (did you mean 'wd'?)",
        ),
        ("{sweep: COARSE}", "  opt: {values: [a, b]}", "its parameter 'opt.name' (nested) and the file's 'opt' cannot"),
        ("{sweep: COARSE}", "  opt.name: {values: [a]}", "its parameter 'opt.name' (nested) and the file's 'opt.name'"),
        ("{sweep: COARSE}", "  wd: {valeus: [1]}", "parameters.wd.valeus: 'valeus' is not a key of a parameter"),
        ("{sweep: COARSE}", "  opt: {parameters: 3}", "parameters.opt.parameters"),
        ("{sweep: COARSE, trial: -1}", "  lr: {value: 1}", "slurmsweep.base.trial: -1 is not a trial"),
        ("{sweep: 3}", "  lr: {value: 1}", "slurmsweep.base.sweep: must be the id"),
        ("{sweeps: COARSE}", "  lr: {value: 1}", "slurmsweep.base.sweeps: 'sweeps' is not a key of base"),
        ("COARSE", "  lr: {value: 1}", "slurmsweep.base: must be a mapping"),
        ("{sweep: COARSE, found: 1}", "  lr: {value: 1}", "slurmsweep.base.found: is written when the sweep is made"),
    ],
)
def test_mistakes_are_told_by_key_and_line_and_no_sweep_is_made(
    slurmsweep, coarse, fine, tmp_path, base, parameters, words
):
    file = fine(base.replace("COARSE", coarse), parameters)
    before = sorted((tmp_path / ".slurmsweep").iterdir())

    said = [slurmsweep(*command) for command in (("plan", file), ("create", file), ("run", file, "--backend", "local"))]

    assert [done.returncode for done in said] == [2, 2, 2]
    assert words.replace("COARSE", coarse) in said[0].stderr
    assert "line " in said[0].stderr
    assert sorted((tmp_path / ".slurmsweep").iterdir()) == before


def test_a_sweep_without_results_has_no_best_trial(slurmsweep, write_sweep, fine):
    without = create(slurmsweep, str(write_sweep(SCRIPT, COARSE)))
    unrun = create(slurmsweep, str(write_sweep(SCRIPT, COARSE, METRIC)))

    assert f"sweep {without} has no metric" in slurmsweep("create", fine(f"{{sweep: {without}}}")).stderr
    assert f"no finished trial of sweep {unrun}" in slurmsweep("create", fine(f"{{sweep: {unrun}}}")).stderr


def test_a_sweep_that_stopped_half_way_gives_its_best_so_far_with_a_warning(slurmsweep, write_sweep, fine):
    file = str(write_sweep(SCRIPT, COARSE, METRIC))
    slurmsweep("run", file, "--backend", "local", "--count", "2")

    done = slurmsweep("plan", fine("{sweep: last}"))

    assert done.returncode == 0, done.stderr
    assert "4 trials of sweep" in done.stderr
    assert "did not run: the best of the others is taken" in " ".join(done.stderr.split())


def test_what_the_trial_does_not_have_is_not_taken_and_what_was_computed_is(slurmsweep, write_sweep, fine):
    extra = METRIC + "slurmsweep: {conditions: {wd: {opt: adam}}, computed: {half: lr / 2}}"
    file = str(write_sweep(SCRIPT, "  lr: {value: 0.1}\n  wd: {value: 1}\n  opt: {values: [sgd, adam]}", extra))
    assert slurmsweep("run", file, "--backend", "local").returncode == 0

    sweep = create(slurmsweep, fine("{sweep: last}", "  lr: {value: 0.3}"))

    assert params(slurmsweep, sweep) == [{"half": 0.05, "lr": 0.3, "opt": "sgd"}]


def test_a_file_that_is_made_from_a_sweep_with_a_base_needs_no_base(slurmsweep, coarse, fine):
    sweep = create(slurmsweep, fine(f"{{sweep: {coarse}}}"))

    printed = slurmsweep("create", "--from", sweep, "--trials", "0").stdout

    assert "base" not in printed
    assert "wd" in printed


def test_python_takes_a_base_too(coarse, tmp_path, monkeypatch):
    import slurmsweep as library

    monkeypatch.chdir(tmp_path)
    config = {"method": "grid", "parameters": {"lr": {"values": [1]}}, "slurmsweep": {"base": {"sweep": coarse}}}

    sweep = library.Sweep(library.sweep(config))

    assert sweep.dataframe is not None
    assert sweep.session.store.manifest.config.document["parameters"]["wd"] == {"value": 0.25}


def test_a_base_that_is_no_sweep_gets_one_advice(slurmsweep, write_sweep):
    file = write_sweep("pass", extra="slurmsweep: {base: {sweep: no such name}}")

    said = " ".join(slurmsweep("create", str(file)).stderr.split())

    assert said.count("its folder") == 1, said
    assert "the path of its folder; `slurmsweep ls` lists the sweeps here" in said
