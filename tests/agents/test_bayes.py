"""Sweeps whose search learns: the claim keeps the point, agents propose by themselves, and no trial changes its point."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from slurmsweep.agents.agent import Claims
from slurmsweep.learning.observations import observations
from slurmsweep.state import view_cache
from slurmsweep.state.lifecycle import TrialState
from slurmsweep.state.outcome import Outcome
from slurmsweep.state.owner import Claim
from slurmsweep.state.store import SweepStore
from slurmsweep.state.tail import AttemptId
from slurmsweep.sweepfile.summary import HistorySummary

pytest.importorskip("numpy")

LOGS_A_BOWL = """
import json, os, slurmsweep
run = slurmsweep.init()
with open("seen.jsonl", "a") as file:
    file.write(json.dumps({"trial": int(os.environ["SLURMSWEEP_TRIAL"]), **dict(run.config)}) + "\\n")
slurmsweep.log({"loss": (run.config.lr - 0.3) ** 2 + 0.1 * (run.config.optimizer != "adam")})
"""

SPACE = """  lr: {min: 0.0, max: 1.0}
  optimizer: {values: [sgd, adam, lion]}
  layers: {value: 3}"""

METRIC = "metric: {name: loss, goal: minimize}"


@pytest.fixture
def rows(slurmsweep):
    """The trials of a sweep, as ``trials --json`` shows them."""

    def rows(sweep: str) -> list[dict]:
        return json.loads(slurmsweep("trials", sweep, "--json").stdout)

    return rows


def run(slurmsweep, file, *options, code=0, **environ) -> str:
    done = slurmsweep("run", str(file), "--backend", "local", *options, "--json", **environ)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)["id"]


def test_each_trial_runs_with_the_point_that_its_claim_keeps(slurmsweep, write_sweep, tmp_path, rows):
    file = write_sweep(LOGS_A_BOWL, SPACE, f"{METRIC}\nrun_cap: 16", "bayes")

    sweep = run(slurmsweep, file, "--jobs", "4")

    seen = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    shown = {row["number"]: row["params"] for row in rows(sweep)}
    assert len(seen) == 16
    assert all(shown[script.pop("trial")] == script for script in seen)
    assert all(list(params) == ["layers", "lr", "optimizer"] and params["layers"] == 3 for params in shown.values())


def test_the_search_finds_the_bottom_of_a_bowl(slurmsweep, write_sweep, rows):
    file = write_sweep(LOGS_A_BOWL, SPACE, f"{METRIC}\nrun_cap: 24", "bayes")

    sweep = run(slurmsweep, file, "--jobs", "2")

    best = min(rows(sweep), key=lambda row: row["metric"])
    assert best["params"]["optimizer"] == "adam"
    assert abs(best["params"]["lr"] - 0.3) < 0.03


def test_a_trial_that_runs_again_keeps_its_point(slurmsweep, write_sweep, tmp_path, rows):
    fails_first = f"{LOGS_A_BOWL}\nimport sys\nsys.exit(os.environ['SLURMSWEEP_ATTEMPT'] == '1')"
    sweep = run(slurmsweep, write_sweep(fails_first, SPACE, f"{METRIC}\nrun_cap: 4", "bayes"), code=1)
    before = [row["params"] for row in rows(sweep)]

    done = slurmsweep("resubmit", sweep, "--backend", "local", "--force")

    assert done.returncode == 0, done.stderr
    assert [row["params"] for row in rows(sweep)] == before
    assert [(row["state"], row["attempt"]) for row in rows(sweep)] == [("finished", 2)] * 4


def test_a_rebuilt_journal_knows_every_point_again(slurmsweep, write_sweep, tmp_path, rows):
    sweep = run(slurmsweep, write_sweep(LOGS_A_BOWL, SPACE, f"{METRIC}\nrun_cap: 5", "bayes"))
    before = [row["params"] for row in rows(sweep)]
    (tmp_path / "wandb" / f"sweep-{sweep}" / "journal.log").unlink()

    done = slurmsweep("check", sweep, "--repair")

    assert done.returncode == 0, done.stderr
    assert [row["params"] for row in rows(sweep)] == before


def test_of_a_small_space_no_point_is_run_twice_by_agents_side_by_side(slurmsweep, write_sweep, rows):
    space = "  a: {values: [1, 2, 3, 4]}\n  b: {values: [x, y, z]}"
    script = "import slurmsweep; run = slurmsweep.init(); slurmsweep.log({'loss': run.config.a})"

    sweep = run(slurmsweep, write_sweep(script, space, f"{METRIC}\nrun_cap: 12", "bayes"), "--jobs", "6")

    points = {(row["params"]["a"], row["params"]["b"]) for row in rows(sweep)}
    assert len(points) == 12


def claim_and_report(folder: str, ready: int, said: int) -> None:
    store = SweepStore.open(folder)
    claims = Claims(store, {})
    os.read(ready, 1)
    claim = claims.next()
    assert isinstance(claim, Claim)
    os.write(said, f"{claim.attempt_id.trial} {json.dumps(claim.chosen.values)}\n".encode())


def test_32_agents_at_once_take_32_trials_with_32_points(make_store):
    store = make_store(200, method="bayes")
    finish_some(store, 12)
    ready, go = os.pipe()
    reading, said = os.pipe()
    pids = []
    for _ in range(32):
        pid = os.fork()
        if not pid:
            try:
                claim_and_report(store.layout.folder, ready, said)
            finally:
                os._exit(0)
        pids.append(pid)
    os.close(said)
    os.write(go, b"x" * 32)
    with os.fdopen(reading) as pipe:
        lines = [line.split(" ", 1) for line in pipe]
    for pid in pids:
        os.waitpid(pid, 0)

    assert sorted(int(number) for number, _ in lines) == list(range(12, 44))
    assert len({point for _, point in lines}) == 32
    assert len(store.replay().chosen) == 44


def finish_some(store, count) -> None:
    claims = Claims(store, {})
    for _ in range(count):
        claim = claims.next()
        store.finish(claim, Outcome(TrialState.FINISHED, metric=float(claim.chosen.values["x"]), ended=1.0))


def test_what_others_run_is_seen_and_the_results_are_learnt_from(make_store):
    store = make_store(50, method="bayes")
    finish_some(store, 3)
    running = Claims(store, {}).next()

    seen = list(observations(store.manifest.config, store.replay()))

    assert [one.running for one in seen] == [False, False, False, True]
    assert [one.value for one in seen[:3]] == [one.point["x"] for one in seen[:3]]
    assert seen[3].point == running.chosen.values


@pytest.mark.parametrize(
    ("outcome", "impute", "value"),
    [
        (Outcome(TrialState.FINISHED, metric=7.0, lowest=5.0, highest=9.0), "worst", 5.0),
        (Outcome(TrialState.FINISHED, metric=7.0), "worst", 7.0),
        (Outcome(TrialState.FAILED, "exit 1", metric=7.0, lowest=5.0, highest=9.0), "worst", 9.0),
        (Outcome(TrialState.FAILED, "exit 1", metric=7.0, lowest=5.0, highest=9.0), "latest", 7.0),
        (Outcome(TrialState.CRASHED, "timeout", metric=7.0, lowest=5.0, highest=9.0), "best", 5.0),
        (Outcome(TrialState.CRASHED, "lost"), "best", None),
        (Outcome(TrialState.KILLED, "early_terminate", metric=7.0, lowest=5.0, highest=9.0), "worst", 7.0),
    ],
)
def test_what_an_end_is_worth_to_the_search_is_as_impute_says(make_store, outcome, impute, value):
    store = make_store(50, method="bayes")
    store.finish(Claims(store, {}).next(), outcome._replace(ended=1.0))
    metric = store.manifest.config.metric._replace(impute=impute)

    [seen] = observations(store.manifest.config._replace(metric=metric), store.replay())

    assert (seen.value, seen.running) == (value, False)


@pytest.mark.parametrize(
    ("outcome", "impute", "value"),
    [
        (Outcome(TrialState.FINISHED, metric=7.0, lowest=5.0, highest=9.0), "worst", 7.0),
        (Outcome(TrialState.FAILED, "exit 1", metric=7.0, lowest=5.0, highest=9.0), "worst", 7.0),
        (Outcome(TrialState.FAILED, "exit 1", metric=7.0, lowest=5.0, highest=9.0), "best", 7.0),
    ],
)
def test_where_the_sweep_file_sums_up_the_search_knows_that_value_alone(make_store, outcome, impute, value):
    store = make_store(50, method="bayes")
    store.finish(Claims(store, {}).next(), outcome._replace(ended=1.0))
    metric = store.manifest.config.metric._replace(impute=impute, summary=HistorySummary(3))

    [seen] = observations(store.manifest.config._replace(metric=metric), store.replay())

    assert seen.value == value


def test_the_lowest_and_the_highest_value_of_a_trial_are_recorded_and_survive_the_kept_view(
    slurmsweep, write_sweep, tmp_path
):
    script = "import slurmsweep; slurmsweep.init(); [slurmsweep.log({'loss': loss}) for loss in (3, 1, 2)]"
    sweep = run(slurmsweep, write_sweep(script, SPACE, f"{METRIC}\nrun_cap: 3", "bayes"))
    store = SweepStore.open(sweep_folder(tmp_path / "sweep.yaml", sweep))

    follower = view_cache.Follower(store)
    view_cache._save(store, follower.reading if follower.refresh() else None)
    kept = view_cache.read(store)

    for view in (store.replay(), kept):
        outcomes = [trial.current.outcome for trial in view.trials.values()]
        assert [(o.metric, o.lowest, o.highest) for o in outcomes] == [(2.0, 1.0, 3.0)] * 3
        assert len(view.chosen) == 3
        assert [one.value for one in observations(store.manifest.config, view)] == [1.0] * 3


def test_a_running_trial_is_worth_the_worst_of_the_others_where_the_file_says_so(make_store):
    store = make_store(50, method="bayes")
    finish_some(store, 4)
    Claims(store, {}).next()
    config, view = store.manifest.config, store.replay()
    values = [one.value for one in list(observations(config, view))[:4]]

    worst = config._replace(metric=config.metric._replace(impute_while_running="worst"))
    *_, last = observations(worst, view)

    assert (last.value, last.running) == (max(values), True)


def test_an_attempt_that_was_never_started_leaves_its_point_or_gets_another(make_store):
    store = make_store(50, method="bayes")
    first = Claims(store, {}).next()
    store.give_up(first)

    second = Claims(store, {}).next()

    assert second.attempt_id == AttemptId(0, 2)
    assert second.chosen == first.chosen


def test_parameters_that_exist_only_with_others_from_the_claim_to_why_and_into_the_next_sweep(
    slurmsweep, write_sweep, tmp_path, rows
):
    space = f"{SPACE}\n  momentum: {{min: 0.0, max: 0.9}}"
    rules = 'slurmsweep: {conditions: {momentum: {optimizer: sgd}}, computed: {hidden: "4 * layers"}}'
    prior = run(slurmsweep, write_sweep(LOGS_A_BOWL, space, f"{METRIC}\n{rules}\nrun_cap: 6", "random"))
    (tmp_path / "seen.jsonl").unlink()
    file = write_sweep(LOGS_A_BOWL, space, f"{METRIC}\n{rules}\nrun_cap: 16", "bayes")
    created = slurmsweep("create", str(file), "--prior", prior)
    sweep = created.stdout.strip().splitlines()[-1]

    done = slurmsweep("run", sweep, "--backend", "local", "--jobs", "3")

    assert (created.returncode, done.returncode) == (0, 0), created.stderr + done.stderr
    shown = {row["number"]: row["params"] for row in rows(sweep)}
    seen = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text().splitlines()]
    assert [shown[number] for number in range(6)] == [row["params"] for row in rows(prior)]
    assert all(shown[script.pop("trial")] == script for script in seen)
    assert (len(seen), len(shown)) == (10, 16)
    assert all(("momentum" in one) == (one["optimizer"] == "sgd") and one["hidden"] == 12 for one in shown.values())
    assert slurmsweep("check", sweep).returncode == 0
    why = json.loads(slurmsweep("show", sweep, "15", "--json").stdout)["why"]
    assert (why["other"], why["problem"]) == (None, "")
    assert why["why"]["phase"] == "model"


def test_trials_of_a_prior_sweep_are_its_first_trials_and_are_learnt_from(slurmsweep, write_sweep, rows):
    prior = run(slurmsweep, write_sweep(LOGS_A_BOWL, SPACE, f"{METRIC}\nrun_cap: 6", "random"))
    file = write_sweep(LOGS_A_BOWL, SPACE, f"{METRIC}\nrun_cap: 10", "bayes")

    created = slurmsweep("create", str(file), "--prior", prior)
    sweep = created.stdout.strip()
    done = slurmsweep("run", sweep, "--backend", "local")

    assert created.returncode == done.returncode == 0, created.stderr + done.stderr
    assert "6" in created.stderr
    new, old = rows(sweep), rows(prior)
    assert [(row["params"], row["metric"]) for row in new[:6]] == [(row["params"], row["metric"]) for row in old]
    assert len(new) == 10
    view = SweepStore.open(str(Path(file).parent / "wandb" / f"sweep-{sweep}")).replay()
    assert len(list(observations(SweepStore.open(sweep_folder(file, sweep)).manifest.config, view))) == 10


def sweep_folder(file, sweep) -> str:
    return str(Path(file).parent / "wandb" / f"sweep-{sweep}")


def test_trials_whose_values_the_new_space_does_not_have_are_left_out(slurmsweep, write_sweep, rows):
    prior = run(slurmsweep, write_sweep(LOGS_A_BOWL, SPACE, f"{METRIC}\nrun_cap: 6", "random"))
    narrower = SPACE.replace("max: 1.0", "max: 0.0001")

    created = slurmsweep("create", str(write_sweep(LOGS_A_BOWL, narrower, METRIC, "bayes")), "--prior", prior)

    assert created.returncode == 0, created.stderr
    assert rows(created.stdout.strip()) == []


#: Python finds no numpy with this on its path: as where the extra is not installed.
NO_NUMPY = """
import importlib.util, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "numpy":
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
sys.meta_path.insert(0, Hidden())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "numpy" else found(name, package)
"""


@pytest.fixture
def without_numpy(tmp_path):
    """The environment of a Python without numpy."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(NO_NUMPY)
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def test_without_numpy_no_sweep_is_made_and_the_error_says_what_to_install(
    slurmsweep, write_sweep, tmp_path, without_numpy
):
    file = write_sweep(LOGS_A_BOWL, SPACE, METRIC, "bayes")

    done = slurmsweep("create", str(file), **without_numpy)

    assert done.returncode == 2
    assert "pip install 'slurmsweep[bayes]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "wandb").exists()


def test_an_agent_without_numpy_takes_no_trial_and_says_what_to_install(slurmsweep, write_sweep, rows, without_numpy):
    sweep = slurmsweep("create", str(write_sweep(LOGS_A_BOWL, SPACE, METRIC, "bayes"))).stdout.strip()

    done = slurmsweep("agent", "--count", "1", sweep, **without_numpy)

    assert done.returncode == 2
    assert "pip install 'slurmsweep[bayes]'" in done.stderr
    assert sys.executable in done.stderr
    assert rows(sweep) == []


def test_a_command_sees_the_numbers_of_threads_that_the_user_set(slurmsweep, write_sweep, tmp_path):
    script = "import os; open('threads', 'w').write(repr([os.environ.get('OMP_NUM_THREADS'), 'OPENBLAS_NUM_THREADS' in os.environ]))"
    sweep = slurmsweep("create", str(write_sweep(script, SPACE, METRIC, "bayes"))).stdout.strip()
    before = "OPENBLAS_NUM_THREADS" in os.environ

    slurmsweep("agent", "--count", "1", sweep, OMP_NUM_THREADS="7")

    assert (tmp_path / "threads").read_text() == repr(["7", before])


def test_a_function_gets_points_that_are_learnt(tmp_path, monkeypatch):
    import slurmsweep

    monkeypatch.chdir(tmp_path)
    config = {
        "method": "bayes",
        "metric": {"name": "loss"},
        "run_cap": 14,
        "parameters": {"x": {"min": -1.0, "max": 1.0}},
    }
    sweep = slurmsweep.sweep(config)
    seen = []

    def train():
        with slurmsweep.init() as run:
            seen.append(run.config["x"])
            run.log({"loss": (run.config["x"] - 0.5) ** 2})

    slurmsweep.agent(sweep, train)

    assert len(set(seen)) == 14
    assert min(abs(x - 0.5) for x in seen) < 0.05


def test_a_plan_says_when_points_are_chosen(slurmsweep, write_sweep):
    file = str(write_sweep(LOGS_A_BOWL, SPACE, f"{METRIC}\nrun_cap: 5", "bayes"))

    done = slurmsweep("plan", file)

    assert done.returncode == 0, done.stderr
    assert "a job chooses the point of its trial when it starts" in done.stdout
    assert json.loads(slurmsweep("plan", file, "--json").stdout)["trials"] == []


def test_a_plan_says_what_width_costs_with_the_numbers_of_the_documentation(slurmsweep, write_sweep):
    page = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
    measured = dict(re.findall(r"^\| (\d+|random search) \| (\d+) \|", page, re.MULTILINE))

    text = slurmsweep("plan", str(write_sweep(LOGS_A_BOWL, SPACE, METRIC, "bayes")), COLUMNS="500").stdout

    assert f"2 at a time, are worth {measured['2']} that run one after the other" in text
    others = ", ".join(f"{width} at a time {measured[width]}" for width in ("4", "8", "16", "32"))
    assert f"; {others}, and random search {measured['random search']}. " in text


def test_trials_without_a_point_yet_stand_in_the_table_beside_those_that_have_one(slurmsweep, write_sweep, rows):
    sweep = slurmsweep("create", str(write_sweep(LOGS_A_BOWL, SPACE, f"{METRIC}\nrun_cap: 4", "bayes"))).stdout.strip()
    slurmsweep("agent", "--count", "2", sweep)

    shown = slurmsweep("trials", sweep)

    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("pending") == 2
    assert [bool(row["params"]) for row in rows(sweep)] == [True, True, False, False]


def test_trials_without_a_value_of_the_metric_are_not_taken_over(slurmsweep, write_sweep, rows):
    prior = run(slurmsweep, write_sweep(LOGS_A_BOWL, SPACE, f"{METRIC}\nrun_cap: 6", "random"))
    other = write_sweep(LOGS_A_BOWL, SPACE, "metric: {name: accuracy, goal: maximize}\nrun_cap: 4", "bayes")

    created = slurmsweep("create", str(other), "--prior", prior)

    assert created.returncode == 0, created.stderr
    assert "it learns from: 0; left out: 6 finished trials without a value of its metric" in created.stderr
    assert not any(row["attempt"] for row in rows(created.stdout.strip()))
