"""New sweeps from old: points that are known are not run again, and a file around the best."""

from __future__ import annotations

import json
import shutil

import pytest

from slurmsweep.state.store import SweepStore
from slurmsweep.sweepfile.load import load

COUNTING = "import slurmsweep, sys\nopen('ran', 'a').write(sys.argv[1] + '\\n')\nrun = slurmsweep.init()\nrun.log({'loss': run.config['x'] ** 2})\n"
METRIC = "metric: {name: loss, goal: minimize}"


@pytest.fixture
def ran(tmp_path):
    return lambda: sorted((tmp_path / "ran").read_text().split())


@pytest.fixture(scope="module")
def made(run_in, tmp_path_factory):
    """Folder with a finished sweep over x = 1, 2, 3; and its id."""
    folder = tmp_path_factory.mktemp("first")
    return folder, run_in(folder, COUNTING, METRIC, [1, 2, 3])


@pytest.fixture
def first(made, tmp_path):
    """Return a copy of that sweep for one test, which may be moved as any sweep may; its id."""
    folder, sweep = made
    shutil.copytree(folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    return sweep


def create(slurmsweep, *argv) -> str:
    done = slurmsweep("create", *argv)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_points_that_finished_elsewhere_are_not_run_again(slurmsweep, write_sweep, first, ran, tmp_path):
    (tmp_path / "ran").unlink()
    file = write_sweep(COUNTING, "  x: {values: [4, 3, 2, 5]}", METRIC)
    done = slurmsweep("create", str(file), "--prior", first)
    sweep = done.stdout.strip()

    assert "will not be run again: 2" in done.stderr
    assert "left out: 1 finished trial with points this grid does not have" in done.stderr
    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
    assert ran() == ["--x=4", "--x=5"]
    trials = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert [(t["params"]["x"], t["state"], t["metric"], t["origin"]) for t in trials] == [
        (4, "finished", 16.0, None), (3, "finished", 9.0, f"{first}/2"), (2, "finished", 4.0, f"{first}/1"), (5, "finished", 25.0, None),
    ]  # fmt: skip
    assert slurmsweep("check", sweep).returncode == 0


def test_trials_that_were_summed_up_otherwise_are_summed_up_anew(slurmsweep, write_sweep):
    script = "import slurmsweep; slurmsweep.init(); [slurmsweep.log({'loss': loss}) for loss in (3, 1, 2)]"
    document = json.loads(
        slurmsweep("run", str(write_sweep(script, extra=METRIC)), "--backend", "local", "--json").stdout
    )

    file = write_sweep(script, extra=f"{METRIC}\nslurmsweep: {{summary: best}}")
    sweep = create(slurmsweep, str(file), "--prior", document["id"])

    assert document["best"]["metric"] == 2
    assert {row["metric"] for row in json.loads(slurmsweep("trials", sweep, "--json").stdout)} == {1}


def test_a_sweep_whose_points_are_all_known_is_finished(slurmsweep, write_sweep, first, ran):
    sweep = create(slurmsweep, str(write_sweep(COUNTING, extra=METRIC)), "--prior", first)

    status = json.loads(slurmsweep("status", sweep, "--json").stdout)
    assert (status["state"], status["counts"]["finished"], status["best"]["number"]) == ("finished", 3, 0)
    assert "nothing to start" in slurmsweep("run", sweep, "--backend", "local").stderr
    assert len(ran()) == 3


def test_a_misspelt_metric_is_answered_with_the_way_to_keep_what_ran(slurmsweep, write_sweep, ran):
    slurmsweep("run", str(write_sweep(COUNTING, extra=METRIC.replace("loss", "los"))), "--backend", "local")
    [sweep] = json.loads(slurmsweep("ls", "--json").stdout)
    keep = f"`slurmsweep create FILE --prior {sweep['id']}` keeps what ran, once FILE names another metric"
    assert keep in " ".join(slurmsweep("status", COLUMNS="500").stdout.split())

    new = create(slurmsweep, str(write_sweep(COUNTING, extra=METRIC)), "--prior", sweep["id"])

    assert json.loads(slurmsweep("best", new, "--json").stdout)["number"] == 0
    assert len(ran()) == 3
    assert "next" not in slurmsweep("status", new).stdout


def test_the_log_of_a_trial_that_another_sweep_ran_is_there(slurmsweep, write_sweep, first):
    sweep = create(slurmsweep, str(write_sweep(COUNTING, extra=METRIC)), "--prior", first)

    done = slurmsweep("logs", sweep, "1")

    assert done.returncode == 3
    assert f"trial 1 ran as trial 1 of sweep {first}: `slurmsweep logs {first} 1`" in done.stderr
    [row] = [one for one in json.loads(slurmsweep("trials", sweep, "--json").stdout) if one["number"] == 1]
    assert (row["log"], row["started"], row["origin"]) == (None, None, f"{first}/1")


def test_only_chosen_trials_are_taken_over(slurmsweep, write_sweep, first):
    sweep = create(slurmsweep, str(write_sweep(COUNTING, extra=METRIC)), "--prior", first, "--trials", "0,2")

    counts = json.loads(slurmsweep("status", sweep, "--json").stdout)["counts"]
    assert (counts["finished"], counts["pending"]) == (2, 1)


def test_a_trial_that_did_not_finish_cannot_be_taken_over(slurmsweep, write_sweep, first):
    done = slurmsweep("create", str(write_sweep(COUNTING)), "--prior", first, "--trials", "0,7")

    assert done.returncode == 3
    assert "no finished trial 7" in done.stderr


def test_a_new_file_around_the_best_trials(slurmsweep, write_sweep, tmp_path):
    parameters = (
        "  x: {values: [3, 1, 2, 7]}\n  n: {min: 1, max: 9}\n  lr: {distribution: log_uniform_values, min: 1e-5, max: 1}\n"
        "  text: {values: ['1e-5', 'yes']}\n  o: {parameters: {w: {distribution: normal}, c: {value: 5}}}"
    )
    file = write_sweep(COUNTING.replace("sys.argv[1]", "'x'"), parameters, METRIC + "\nrun_cap: 12", method="random")
    done = slurmsweep("run", str(file), "--backend", "local", "--json")
    sweep = json.loads(done.stdout)["id"]
    best = json.loads(slurmsweep("best", sweep, "--top", "4", "--json").stdout)

    text = create(slurmsweep, "--from", sweep, "--top", "4")

    (tmp_path / "new.yaml").write_text(text)
    new = load(str(tmp_path / "new.yaml")).config.document["parameters"]
    seen = {name: [trial["params"][name] for trial in best] for name in ("x", "n", "lr", "text")}
    assert set(new["x"].get("values", [new["x"].get("value")])) == set(seen["x"])
    assert (new["lr"]["min"], new["lr"]["max"]) == (min(seen["lr"]), max(seen["lr"]))
    assert new["lr"]["distribution"] == "log_uniform_values"
    assert set(new["text"].get("values", [new["text"].get("value")])) == set(seen["text"])
    assert new["o"]["parameters"]["w"] == {"values": sorted(trial["params"]["o"]["w"] for trial in best)}
    assert new["o"]["parameters"]["c"] == {"value": 5}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--from", "SWEEP"], "one of --trials LIST and --top N"),
        (["--from", "SWEEP", "--top", "1", "sweep.yaml"], "without a sweep file"),
        (["sweep.yaml", "--top", "2"], "name it by --from"),
        ([], "name a sweep file"),
    ],
)
def test_options_that_do_not_go_together_are_explained(slurmsweep, write_sweep, first, argv, words):
    write_sweep(COUNTING)

    done = slurmsweep("create", *[first if word == "SWEEP" else word for word in argv])

    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_changing_a_sweep_is_refused_and_the_way_is_shown(slurmsweep, write_sweep, first):
    done = slurmsweep("create", str(write_sweep(COUNTING)), "--update", first)

    assert done.returncode == 2
    assert "never changes" in done.stderr
    assert f"--prior {first}" in done.stderr


def test_strict_makes_warnings_errors(slurmsweep, write_sweep, tmp_path):
    file = write_sweep("pass", extra="zzz: 1")

    for command in ("plan", "create", "run"):
        assert "'zzz' is not a key of a sweep file: ignored" in slurmsweep("plan", str(file)).stderr
        done = slurmsweep(command, str(file), "--strict")
        assert done.returncode == 2
        assert "1 thing wrong" in done.stderr
    assert not (tmp_path / "wandb").exists()


def test_what_finished_elsewhere_counts_at_the_bands_of_early_termination(slurmsweep, write_sweep, tmp_path):
    script = (
        "import slurmsweep\nrun = slurmsweep.init()\nfor step in range(4):\n    run.log({'loss': run.config['x']})\n"
    )
    prior = create(slurmsweep, str(write_sweep(script, "  x: {values: [1, 2]}", METRIC)))
    assert slurmsweep("run", prior, "--backend", "local").returncode == 0
    keys = f"{METRIC}\nearly_terminate: {{type: hyperband, min_iter: 3}}"
    file = write_sweep(script, "  x: {values: [0, 1, 2]}", keys)

    sweep = create(slurmsweep, str(file), "--prior", prior)

    view = SweepStore.open(str(tmp_path / "wandb" / f"sweep-{sweep}")).replay()
    assert view.values_at(3, besides=0) == [1.0, 2.0]


RANDOM = "\nrun_cap: "


def random_file(write_sweep, space: str, cap: int):
    return str(write_sweep(COUNTING, space, METRIC + RANDOM + str(cap), method="random"))


def test_a_random_search_takes_over_points_and_counts_them(slurmsweep, write_sweep, first, ran, tmp_path):
    (tmp_path / "ran").unlink()
    file = random_file(write_sweep, "  x: {min: 0.5, max: 2.5}", 4)
    sweep = create(slurmsweep, file, "--prior", first)

    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
    trials = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert [(t["params"]["x"], t["origin"]) for t in trials[:2]] == [(1, f"{first}/0"), (2, f"{first}/1")]
    assert len(ran()) == 2
    assert [t["state"] for t in trials] == ["finished"] * 4
    assert slurmsweep("check", sweep).returncode == 0


def test_a_point_that_was_taken_over_keeps_its_values_when_it_is_run_again(
    slurmsweep, write_sweep, first, ran, tmp_path
):
    (tmp_path / "ran").unlink()
    sweep = create(slurmsweep, random_file(write_sweep, "  x: {min: 0.5, max: 3.5}", 3), "--prior", first)

    assert slurmsweep("rerun", sweep, "--trials", "1").returncode == 0
    assert slurmsweep("run", sweep, "--backend", "local").returncode == 0
    assert ran() == ["--x=2"]
    assert slurmsweep("check", sweep, "--repair").returncode == 0


def test_a_draw_that_is_a_known_point_is_not_run(slurmsweep, write_sweep, first, ran, tmp_path):
    (tmp_path / "ran").unlink()
    sweep = create(slurmsweep, random_file(write_sweep, "  x: {values: [1, 2, 3, 4]}", 30), "--prior", first)

    slurmsweep("run", sweep, "--backend", "local")
    assert set(ran()) == {"--x=4"}
    trials = json.loads(slurmsweep("trials", sweep, "--json").stdout)
    assert len(trials) == 30
    assert all((t["params"]["x"] == 4) == (t["origin"] is None) for t in trials)
    assert all(t["metric"] == t["params"]["x"] ** 2 for t in trials)


def test_plan_says_what_is_new_and_what_is_known(slurmsweep, write_sweep, first):
    file = str(write_sweep(COUNTING, "  x: {values: [1, 3, 4]}\n  y: {value: 1}", METRIC))
    nothing = json.loads(slurmsweep("plan", file, "--prior", first, "--json", "--backend", "local").stdout)["prior"]
    assert (nothing["known"], nothing["new"], nothing["elsewhere"]) == (0, 3, 3)  # no trial of it had a y

    file = str(write_sweep(COUNTING, "  x: {values: [1, 3, 4, 5]}", METRIC))
    document = json.loads(slurmsweep("plan", file, "--prior", first, "--json", "--backend", "local").stdout)
    assert document["prior"] == {
        "sweep": first, "known": 2, "new": 2, "elsewhere": 1,
        "values": [{"parameters": {"x": 4}, "points": 1}, {"parameters": {"x": 5}, "points": 1}],
    }  # fmt: skip
    assert [(row["number"], row["params"]["x"]) for row in document["trials"]] == [(2, 4), (3, 5)]
    assert document["forecast"]["trials"] == 2
    text = slurmsweep("plan", file, "--prior", first, "--backend", "local").stdout
    assert f"sweep {first} has run 2 of 4 trials, 2 new" in text
    assert "new: x=4 (1 point)" in text


def test_new_values_are_counted_without_excluded_points(slurmsweep, write_sweep, first):
    extra = METRIC + "\nslurmsweep: {exclude: [{x: 4, y: 2}], linked: [[a, b]]}"
    space = "  x: {values: [1, 4]}\n  y: {values: [1, 2]}\n  a: {values: [1, 2]}\n  b: {values: [3, 4]}"
    run = json.loads(slurmsweep("run", str(write_sweep(COUNTING, space.replace("1, 4]", "1]"), extra.replace("exclude: [{x: 4, y: 2}], ", "")
                     .replace("linked: [[a, b]]", "linked: [[a, b]]"))), "--backend", "local", "--json").stdout)  # fmt: skip
    assert run["counts"]["finished"] == 4

    file = str(
        write_sweep(
            COUNTING, space.replace("[3, 4]", "[3, 4, 5]").replace("a: {values: [1, 2]", "a: {values: [1, 2, 3]"), extra
        )
    )
    prior = json.loads(slurmsweep("plan", file, "--prior", run["id"], "--json").stdout)["prior"]
    assert (prior["known"], prior["new"]) == (4, 5)
    assert prior["values"] == [{"parameters": {"a": 3, "b": 5}, "points": 3}, {"parameters": {"x": 4}, "points": 3}]


def test_new_values_are_counted_where_parameters_exist_only_with_others(slurmsweep, write_sweep):
    older = create(slurmsweep, str(write_sweep(COUNTING, "  x: {value: 1}\n  o: {values: [adam]}", METRIC)))
    slurmsweep("run", older, "--backend", "local")
    space = "  x: {values: [1, 4]}\n  o: {values: [sgd, adam]}\n  m: {values: [null, 0.9, 0.99]}"
    file = str(write_sweep(COUNTING, space, f"{METRIC}\nslurmsweep: {{conditions: {{m: {{o: sgd}}}}}}"))

    prior = json.loads(slurmsweep("plan", file, "--prior", older, "--json").stdout)["prior"]

    assert prior["values"] == [
        {"parameters": {"m": None}, "points": 2}, {"parameters": {"m": 0.9}, "points": 2}, {"parameters": {"m": 0.99}, "points": 2},
        {"parameters": {"o": "sgd"}, "points": 6}, {"parameters": {"x": 4}, "points": 4},
    ]  # fmt: skip


def test_a_new_value_of_the_runs_of_a_point_is_told(slurmsweep, write_sweep):
    space, extra = "  x: {values: [1, 4]}", "slurmsweep: {repeats: {parameter: seed, values: [0, 1]}}"
    older = create(slurmsweep, str(write_sweep(COUNTING, space, f"{METRIC}\n{extra}")))
    slurmsweep("run", older, "--backend", "local")
    file = str(write_sweep(COUNTING, space, f"{METRIC}\n{extra.replace('1]', '1, 7]')}"))

    prior = json.loads(slurmsweep("plan", file, "--prior", older, "--json").stdout)["prior"]

    assert prior["values"] == [{"parameters": {"seed": 7}, "points": 2}]
    assert (prior["known"], prior["new"]) == (4, 2)


def test_run_takes_a_prior_sweep_and_starts_what_is_new(slurmsweep, write_sweep, first, ran, tmp_path):
    (tmp_path / "ran").unlink()
    file = str(write_sweep(COUNTING, "  x: {values: [1, 2, 9]}", METRIC))
    plan = json.loads(slurmsweep("run", file, "--prior", first, "--backend", "slurm", "--dry-run", "--json").stdout)
    assert plan["trials"] == 1

    done = slurmsweep("run", file, "--prior", first, "--backend", "local", "--json")
    assert json.loads(done.stdout)["counts"]["finished"] == 3
    assert "will not be run again: 2" in done.stderr
    assert ran() == ["--x=9"]
    assert slurmsweep("run", json.loads(done.stdout)["id"], "--prior", first).returncode == 2
