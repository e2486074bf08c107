"""Which backend a word means."""

from __future__ import annotations

import pytest

from slurmsweep.backends import registry
from slurmsweep.errors import UsageError


@pytest.mark.parametrize("remembered", ["", "local", "slurm"])
def test_auto_and_queued_never_mean_a_service_for_a_sweep_that_was_not_there(remembered):
    assert registry.choose(registry.AUTO, remembered, rehearsal=True).name in ("local", "slurm")
    assert registry.choose(registry.QUEUED, remembered, rehearsal=True).name == "slurm"


@pytest.mark.parametrize("word", [registry.AUTO, registry.QUEUED])
def test_a_sweep_goes_on_in_the_service_where_it_was(word):
    assert registry.choose(word, "batch").name == "batch"


def test_a_word_that_is_no_backend_is_refused():
    with pytest.raises(UsageError, match="there is no backend 'lambda': choose one of auto, local, slurm, batch"):
        registry.choose("lambda")
