"""Parameters that exist only with others, from the sweep file to argv, configuration, tables and files."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest

#: Writes what it was given, by its arguments and by its configuration.
SCRIPT = """
import json, sys
import slurmsweep
run = slurmsweep.init()
given = dict(run.config)
print(json.dumps([sys.argv[1:], given]))
run.log({"loss": given["width"] + given.get("momentum", 5)})
"""
SPACE = """
  momentum: {values: [0.0, 0.9]}
  optimizer: {values: [adam, sgd]}
  width: {values: [2, 3]}
  net: {parameters: {norm: {values: [batch, none]}}}
"""
OURS = """
metric: {name: loss, goal: minimize}
slurmsweep:
  conditions: {momentum: {optimizer: sgd}, net: {width: 3}}
  computed: {hidden: "4 * width", net.half: width / 2, nesterov: 1 - momentum}
"""
COUNT = 3 * 1 + 3 * 2  # adam, or sgd with two values; width 2 without net, or width 3 with two values


@pytest.fixture(scope="module")
def has_run(tmp_path_factory, slurmsweep_in):
    folder = tmp_path_factory.mktemp("conditional")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "sweep.yaml").write_text(f"program: train.py\nmethod: grid\n{OURS}\nparameters:{SPACE}")
    done = slurmsweep_in(folder, "run", "sweep.yaml", "--backend", "local", "--jobs", "2", "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)["id"]


@pytest.fixture
def sweep(has_run, tmp_path):
    folder, name = has_run
    shutil.copytree(folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    return name


def rows(slurmsweep, *argv):
    done = slurmsweep("trials", *argv, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_does_not_exist_is_nowhere_in_the_trial(slurmsweep, sweep, tmp_path):
    trials = rows(slurmsweep, sweep)

    assert len(trials) == COUNT
    for row in trials:
        argv, config = json.loads(
            (next(tmp_path.glob(f".slurmsweep/*/trials/0/{row['number']}/1/output.log"))).read_text()
        )
        point = row["params"]
        assert config == point
        assert argv == [f"--{name}={value}" for name, value in point.items()]
        assert ("momentum" in point) == ("nesterov" in point) == (point["optimizer"] == "sgd")
        assert point.get("net", {}).get("half") == (1.5 if point["width"] == 3 else None)
        assert repr(point["hidden"]) == str(4 * point["width"])
    assert slurmsweep("check", sweep).returncode == 0


def test_tables_have_an_empty_cell_and_where_asks_for_what_is_there(slurmsweep, sweep):
    assert {row["params"]["optimizer"] for row in rows(slurmsweep, sweep, "--where", "momentum=0.9")} == {"sgd"}
    assert len(rows(slurmsweep, sweep, "--where", "hidden=12", "--where", "optimizer=adam")) == 2
    assert len(rows(slurmsweep, sweep, "--where", "net.half>1")) == 6
    lines = slurmsweep("trials", sweep, "--columns", "optimizer,momentum,net.norm,hidden").stdout.splitlines()
    assert any(line.split() == ["adam", "8"] for line in lines), lines
    assert json.loads(slurmsweep("best", sweep, "--json").stdout)["params"]["momentum"] == 0.0
    shown = slurmsweep("show", sweep, "0").stdout
    assert "hidden" in shown
    assert "momentum" not in shown


def test_exports_leave_out_what_does_not_exist(slurmsweep, sweep):
    table = list(csv.DictReader(io.StringIO(slurmsweep("export", sweep, "--format", "csv").stdout)))
    as_json = json.loads(slurmsweep("export", sweep, "--format", "json").stdout)

    assert {(row["params.optimizer"], row["params.momentum"]) for row in table} == {
        ("adam", ""), ("sgd", "0.0"), ("sgd", "0.9")
    }  # fmt: skip
    assert all(("params.momentum" in row) == (row["params.optimizer"] == "sgd") for row in as_json)


def test_reports_and_comparisons_have_all_parameters(slurmsweep, sweep, tmp_path):
    assert slurmsweep("report", sweep, "-o", "report.md").returncode == 0
    text = (tmp_path / "report.md").read_text()
    assert all(name in text for name in ("hidden", "momentum", "net.half"))
    assert slurmsweep("report", sweep, "-o", "report.html").returncode == 0
    other = slurmsweep("create", "sweep.yaml").stdout.strip()
    done = slurmsweep("compare", sweep, other)
    assert done.returncode == 0, done.stderr


def test_a_new_sweep_takes_over_the_points_that_it_has(slurmsweep, sweep, tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(file.read_text().replace("[2, 3]", "[2, 3, 4]"))

    done = slurmsweep("create", "sweep.yaml", "--prior", sweep)

    assert done.returncode == 0, done.stderr
    taken = rows(slurmsweep, done.stdout.strip(), "--state", "finished")
    assert sorted(str(row["params"]) for row in taken) == sorted(str(row["params"]) for row in rows(slurmsweep, sweep))
    assert slurmsweep("create", "--from", sweep, "--top", "2").returncode == 2  # conditions cannot be narrowed


def test_plan_says_what_is_conditional(slurmsweep, write_sweep):
    file = str(write_sweep(SCRIPT, SPACE, OURS))

    document = json.loads(slurmsweep("plan", file, "--json").stdout)
    lines = slurmsweep("plan", file).stdout.splitlines()

    assert document["expected_run_count"] == COUNT
    assert document["conditional"] == [
        {"parameter": "momentum", "expression": None, "where": {"optimizer": ["sgd"]}},
        {"parameter": "net.norm", "expression": None, "where": {"width": [3]}},
        {"parameter": "hidden", "expression": "4 * width", "where": {}},
        {"parameter": "net.half", "expression": "width / 2", "where": {"width": [3]}},
        {"parameter": "nesterov", "expression": "1 - momentum", "where": {}},
    ]
    assert "momentum exists where optimizer is 'sgd'" in lines
    assert "hidden = 4 * width" in lines


@pytest.mark.parametrize("command", ["plan", "create", "run"])
@pytest.mark.parametrize(
    ("ours", "told"),
    [
        ("slurmsweep: {computed: {c: 1 / (width - 2)}}", ["c: has no value where width is 2", "division by zero"]),
        ("slurmsweep: {computed: {c: 2 * optimizer}}", ["optimizer is 'adam', which is no number"]),
        ("slurmsweep: {computed: {a: width - 2, c: log(a)}}", ["c: has no value where width is 2", "outside"]),
        (
            "command: [python, '${program}', '${momentum}']\nslurmsweep: {conditions: {momentum: {optimizer: sgd}}}",
            ["${momentum} has no value where momentum does not exist", "${args}"],
        ),
    ],
)
def test_what_certainly_has_no_value_is_refused(slurmsweep, write_sweep, tmp_path, command, ours, told):
    file = str(write_sweep(SCRIPT, SPACE, ours))

    done = slurmsweep(command, file)

    assert done.returncode == 2
    assert all(part in done.stderr for part in told), done.stderr
    assert not (tmp_path / ".slurmsweep").exists()


@pytest.mark.parametrize(
    "ours",
    [
        "slurmsweep: {computed: {c: 1 / (width - 2)}, exclude: [{width: 2}]}",
        "slurmsweep: {computed: {c: 1 / (width - 2)}, conditions: {c: {width: 3}}}",
        "run_cap: 4\nslurmsweep: {computed: {c: 1 / (width - 3)}, exclude: [{width: 3, momentum: 0.0}]}",
        "command: [python, '${program}', '${hidden}']\nslurmsweep: {computed: {hidden: 4 * width}}",
    ],
)
def test_points_that_the_sweep_does_not_have_are_not_held_against_it(slurmsweep, write_sweep, ours):
    done = slurmsweep("plan", str(write_sweep(SCRIPT, SPACE, ours)))

    assert done.returncode == 0, done.stderr


FAILING = "  x: {min: 0.0, max: 1.0}"
SOMETIMES = "run_cap: 16\nslurmsweep: {computed: {z: log(x - 0.5)}}"


def test_a_trial_whose_computed_parameter_has_no_value_fails_and_says_so(slurmsweep, write_sweep):
    file = write_sweep("import sys; print(sys.argv)", FAILING, SOMETIMES, "random")
    local = ("--backend", "local", "--jobs", "2", "--max-fails", "0")  # chance may let those that fail alike come first
    done = slurmsweep("run", str(file), *local, WANDB_AGENT_DISABLE_FLAPPING="true")

    assert done.returncode == 1
    trials = rows(slurmsweep)
    assert {row["state"] for row in trials} == {"finished", "failed"}
    for row in trials:
        assert (row["state"] == "failed") == (row["params"]["x"] <= 0.5) == ("z" not in row["params"])
    failed = next(str(row["number"]) for row in trials if row["state"] == "failed")
    assert "the parameter z has no value: outside of what is defined" in slurmsweep("logs", "last", failed).stdout
    assert slurmsweep("check", "last").returncode == 0
