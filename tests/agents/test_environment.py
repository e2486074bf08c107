"""The environment of a trial's command: what the user has set wins, what says which trial this is is ours."""

from __future__ import annotations

import os

import pytest

from slurmsweep.agents.environment import child_environment
from slurmsweep.state.tail import AttemptId


@pytest.fixture
def seen(make_store):
    """Return the environment of trial 3, attempt 2, from that of an agent."""
    store = make_store()

    def seen(**environ) -> dict[str, str]:
        return child_environment(environ, store.manifest.config, store.layout, AttemptId(3, 2))

    return seen


def test_wandb_finds_run_id_parameters_and_folders(seen, tmp_path):
    folder = f"{tmp_path}/.slurmsweep/sweep-abcd1234"
    environ = seen()

    assert environ["WANDB_RUN_ID"] == "abcd1234-3"
    assert environ["WANDB_SWEEP_ID"] == "abcd1234"
    assert environ["WANDB_RUN_GROUP"] == "sweep-abcd1234"
    assert environ["WANDB_SWEEP_PARAM_PATH"] == f"{folder}/trials/0/3/2/params.yaml"
    assert environ["WANDB_DIR"] == f"{folder}/trials/0/3"
    assert environ["WANDB_DATA_DIR"] == f"{folder}/trials/0/3/wandb"
    assert environ["WANDB_CACHE_DIR"] == f"{folder}/wandb-cache/{os.getuid()}"
    assert (environ["WANDB_MODE"], environ["WANDB_RESUME"]) == ("offline", "allow")


@pytest.mark.parametrize(
    "name",
    [
        "WANDB_MODE",
        "WANDB_RESUME",
        "WANDB_RUN_GROUP",
        "WANDB_DATA_DIR",
        "WANDB_CACHE_DIR",
        "WANDB_PROJECT",
        "WANDB_TAGS",
    ],
)
def test_what_the_user_has_set_wins(seen, name):
    assert seen(**{name: "mine"})[name] == "mine"


@pytest.mark.parametrize("name", ["WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_DIR", "WANDB_SWEEP_PARAM_PATH"])
def test_which_trial_this_is_is_never_the_users(seen, name):
    assert seen(**{name: "mine"})[name] == seen()[name]


@pytest.mark.parametrize("name", ["WANDB_MODE", "WANDB_RESUME", "WANDB_PROJECT", "WANDB_TAGS"])
def test_an_empty_variable_of_wandbs_counts_as_unset(seen, name):
    assert seen(**{name: ""}) == seen()


def test_other_empty_variables_stay(seen):
    assert seen(CUDA_VISIBLE_DEVICES="")["CUDA_VISIBLE_DEVICES"] == ""


def test_a_rank_of_the_agent_is_none_of_its_trial(seen):
    environ = seen(
        SLURM_PROCID="3", RANK="1", LOCAL_RANK="1", SLURM_NTASKS="4", SLURMSWEEP_AGENT_RANKS="of an outer one"
    )

    assert (environ["SLURM_PROCID"], environ["RANK"]) == ("0", "0")
    assert (environ["LOCAL_RANK"], environ["SLURM_NTASKS"]) == ("1", "4")
    assert environ["SLURMSWEEP_AGENT_RANKS"] == "RANK,SLURM_PROCID"
    assert not any("RANK" in name for name in seen(SLURMSWEEP_AGENT_RANKS="RANK"))


def test_agent_and_client_know_the_same_ranks():
    from slurmsweep.agents import environment
    from slurmsweep.client import history

    assert (environment.RANKS, environment.AGENT_RANKS) == (history.RANKS, history.AGENT_RANKS)


@pytest.mark.parametrize("mode", ["online", "shared"])
def test_a_server_is_not_told_of_a_sweep_it_does_not_know(seen, mode):
    environ = seen(WANDB_MODE=mode, WANDB_SWEEP_ID="inherited")

    assert "WANDB_SWEEP_ID" not in environ
    assert environ["WANDB_SWEEP_PARAM_PATH"]
    assert environ["WANDB_RUN_GROUP"] == "sweep-abcd1234"


def test_another_runs_service_is_not_inherited(seen):
    assert "WANDB_SERVICE" not in seen(WANDB_SERVICE="2-1-tcp-localhost-1")
