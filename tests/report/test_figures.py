"""Numbers and amounts as words."""

from __future__ import annotations

import pytest

from slurmsweep.report.figures import counted, numbers_text


@pytest.mark.parametrize(("number", "text"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials")])
def test_one_trial_is_not_several(number, text):
    assert counted(number, "trial") == text


def test_a_long_list_of_numbers_is_cut_and_says_how_many_more():
    assert numbers_text([3, 7, 8], 3) == "3, 7, 8"
    assert numbers_text(range(14), 3) == "0, 1, 2 and 11 more"
