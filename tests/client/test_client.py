"""The native client, in processes of its own as a training script would use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def script(tmp_path):
    """Run a training script; with ``params`` as a trial of a sweep. Returns its process and its history."""
    from slurmsweep.agents import params_file

    def run(code, params=None, **environ) -> tuple[subprocess.CompletedProcess[str], list[dict]]:
        if params is not None:
            (tmp_path / "params.yaml").write_text(params_file.render(params))
            environ |= {
                "WANDB_SWEEP_PARAM_PATH": str(tmp_path / "params.yaml"),
                "SLURMSWEEP_ATTEMPT_DIR": str(tmp_path),
            }
            environ |= {"WANDB_SWEEP_ID": "abcd1234", "WANDB_RUN_ID": "abcd1234-0"}
        command = [sys.executable, "-c", f"import slurmsweep as wandb\n{code}"]
        done = subprocess.run(
            command, env=os.environ | environ, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        history = tmp_path / "history.jsonl"
        return done, [json.loads(line) for line in history.read_text().splitlines()] if history.exists() else []

    return run


def printed(result) -> str:
    done, _ = result
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_a_sweep_a_script_runs_and_writes_nothing(script, tmp_path):
    code = "run = wandb.init(config={'lr': 1})\nwandb.log({'loss': 2})\nprint(wandb.config.lr, run.summary['loss'])"

    assert printed(script(code)) == "1 2"
    assert list(tmp_path.glob("**/history.jsonl")) == []


def test_swept_values_win_over_defaults_and_nested_ones_are_merged(script):
    code = (
        "wandb.init(config={'lr': 9, 'keep': 1, 'opt': {'name': 'sgd', 'beta': 0.9}})\n"
        "wandb.config.setdefaults({'lr': 8, 'more': 2})\nprint(wandb.config)"
    )

    shown = printed(script(code, {"lr": 0.1, "opt": {"name": "adam"}}))

    assert shown == "{'lr': 0.1, 'opt': {'name': 'adam', 'beta': 0.9}, 'keep': 1, 'more': 2}"


def test_swept_values_are_locked_with_wandbs_words(script):
    done, _ = script(
        "wandb.init()\nwandb.config.lr = 5\nwandb.config.update({'lr': 6, 'x': 7})\nprint(wandb.config)", {"lr": 1}
    )

    assert done.stdout.strip() == "{'lr': 1, 'x': 7}"
    assert done.stderr.count("Config item 'lr' was locked by 'sweep' (ignored update).") == 2


def test_an_argparse_namespace_is_a_configuration(script):
    code = "import argparse\nwandb.init(config=argparse.Namespace(lr=1, bs=2))\nprint(dict(wandb.config))"

    assert printed(script(code, {"lr": 0.5})) == "{'lr': 0.5, 'bs': 2}"


def test_each_log_call_is_a_line_and_the_summary_comes_last(script):
    _, history = script(
        "wandb.init()\nfor i in range(3): wandb.log({'loss': 3 - i, 'a': {'b': i}})\nwandb.finish()", {}
    )

    assert [(row["_step"], row["loss"], row["a"]) for row in history[:-1]] == [
        (0, 3, {"b": 0}),
        (1, 2, {"b": 1}),
        (2, 1, {"b": 2}),
    ]
    assert history[-1]["_summary"]["loss"] == 1


def test_steps_are_wandbs(script):
    code = (
        "wandb.init()\nwandb.log({'a': 1}, commit=False)\nwandb.log({'b': 2})\n"
        "wandb.log({'a': 3}, step=5)\nwandb.log({'b': 4}, step=5)\nwandb.log({'a': 9}, step=2)\nwandb.log({'a': 6}, step=7)"
    )
    done, history = script(code, {})

    rows = [{key: value for key, value in row.items() if key in ("a", "b", "_step")} for row in history[:-1]]
    assert rows == [{"a": 1, "b": 2, "_step": 0}, {"a": 3, "b": 4, "_step": 5}, {"a": 6, "_step": 7}]
    assert "step 2 is less than the current step 5" in done.stderr


@pytest.mark.parametrize(("word", "value"), [("min", 1), ("max", 5), ("mean", 3.0), ("first", 3), ("last", 5)])
def test_the_summary_keeps_what_was_asked_for(script, word, value):
    code = f"wandb.init()\nwandb.define_metric('x', summary='{word}')\nfor x in (3, 1, 5): wandb.log({{'x': x}})\nprint(wandb.summary['x']['{word}'])"

    assert printed(script(code, {})) == str(value)


def test_a_copy_of_the_summary_is_the_scripts_own(script):
    code = (
        "import copy, pickle\nrun = wandb.init()\nwandb.log({'x': 1})\n"
        "for copied in (copy.copy(run.summary), copy.deepcopy(run.summary), pickle.loads(pickle.dumps(run.summary))):\n"
        "    copied['y'] = 2\n    print(type(copied).__name__, copied.x, copied.y, 'y' in run.summary)"
    )
    done, history = script(code, {})

    assert done.stdout.splitlines() == ["Summary 1 2 False"] * 3, done.stderr
    assert [set(row) & {"_summary", "_summary_set"} for row in history] == [set(), {"_summary"}]


@pytest.mark.parametrize("form", ["{}", "types.MappingProxyType({})", "wandb.Settings(**{})"])
def test_settings_are_a_mapping_or_an_object_with_wandbs_names(script, form):
    settings = form.replace("{}", "{'run_name': 'mine', 'run_tags': 'a, b'}")
    code = f"import types\nrun = wandb.init(settings={settings})\nprint(run.name, run.tags)"

    assert printed(script(code, {})) == "mine ('a', 'b')"


def test_what_the_script_sets_in_the_summary_stands(script):
    _, history = script("run = wandb.init()\nwandb.log({'x': 1})\nrun.summary['x'] = 42", {})

    assert history[-1] == {"_summary": {"x": 42}}


def test_values_that_json_does_not_know_never_stop_training(script):
    code = (
        "import numpy as np\nwandb.init()\n"
        "wandb.log({'f': np.float32(0.5), 'i': np.int64(3), 'nan': float('nan'), 'o': object, 'l': [np.float64(1)], 'a': np.zeros(3)})"
    )
    done, history = script(code, {})

    assert done.returncode == 0, done.stderr
    row = history[0]
    assert (row["f"], row["i"], row["l"]) == (0.5, 3, [1.0])
    assert row["nan"] != row["nan"]
    assert row["a"].startswith("ndarray")


def test_a_script_that_raises_leaves_what_it_logged(script):
    done, history = script("wandb.init()\nwandb.log({'x': 1})\nraise SystemExit(3)", {})

    assert done.returncode == 3
    assert [row.get("x") for row in history] == [1, None]


def test_a_killed_script_leaves_what_it_logged(script):
    code = "import os\nwandb.init()\nwandb.log({'x': 1})\nwandb.log({'x': 2})\nos.kill(os.getpid(), 9)"
    _, history = script(code, {})

    assert [row["x"] for row in history] == [1, 2]


def test_only_the_first_process_of_a_trial_writes(script):
    done, history = script("wandb.init()\nwandb.log({'x': 1})\nprint(wandb.config.lr)", {"lr": 2}, RANK="1")

    assert done.stdout.strip() == "2"
    assert history == []
    assert done.stderr.splitlines() == ["slurmsweep: WARNING rank 1 of this trial keeps nothing; rank 0 does"]


@pytest.mark.parametrize(
    ("environ", "rank"),
    [
        ({"SLURM_PROCID": "0", "SLURMSWEEP_AGENT_RANKS": "SLURM_PROCID"}, 0),
        ({"SLURM_PROCID": "2", "SLURMSWEEP_AGENT_RANKS": "SLURM_PROCID"}, 2),
        ({"SLURM_PROCID": "0", "OMPI_COMM_WORLD_RANK": "3", "SLURMSWEEP_AGENT_RANKS": "SLURM_PROCID"}, 3),
        ({"RANK": "0", "SLURM_PROCID": "2", "SLURMSWEEP_AGENT_RANKS": "RANK,SLURM_PROCID"}, 2),
        ({"RANK": "0", "SLURM_PROCID": "1", "SLURMSWEEP_AGENT_RANKS": "SLURM_PROCID"}, 0),  # torchrun gives out ranks
        ({"RANK": "", "PMI_RANK": "1"}, 1),
    ],
)
def test_the_rank_is_that_of_the_launcher_nearest_to_the_process(monkeypatch, environ, rank):
    from slurmsweep.client import history

    for name in (*history.RANKS, history.AGENT_RANKS):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert history.rank() == rank


def test_a_context_manager_finishes(script):
    _, history = script("with wandb.init() as run:\n    run.log({'x': 1})\nprint(wandb.run)", {})

    assert "_summary" in history[-1]


def test_logging_before_init_says_what_to_do(script):
    done, _ = script("wandb.log({'x': 1})")

    assert "call slurmsweep.init() first" in done.stderr
