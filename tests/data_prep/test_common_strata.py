"""Speakers that are divided within strata."""

from collections import Counter

import pytest

from data_prep.common.strata import split_by_stratum

SHARES = {"test": 0.35, "valid": 0.15}


def people(**counts):
    return {f"{name}{n}": name for name, count in counts.items() for n in range(count)}


def test_each_split_has_speakers_of_every_stratum():
    strata = people(f=10, m=3)
    splits = split_by_stratum(strata, SHARES, seed=1)
    # 10: round(3.5) = 4 and round(1.5) = 2; 3: one each
    assert Counter((strata[s], side) for s, side in splits.items()) == {
        **{("f", "train"): 4, ("f", "test"): 4, ("f", "valid"): 2},
        **{("m", "train"): 1, ("m", "test"): 1, ("m", "valid"): 1},
    }


def test_a_stratum_that_is_too_small_trains():
    splits = split_by_stratum(people(f=2, m=6), SHARES, seed=1)
    assert splits["f0"] == splits["f1"] == "train"


def test_small_strata_are_divided_together():
    splits = split_by_stratum(people(f=2, m=2), SHARES, seed=1)
    assert Counter(splits.values()) == {"train": 2, "valid": 1, "test": 1}


def test_a_new_stratum_moves_nobody_of_another():
    before = split_by_stratum(people(f=10), SHARES, seed=1)
    after = split_by_stratum(people(f=10, m=7), SHARES, seed=1)
    assert before.items() <= after.items()


def test_someone_is_left_to_train():
    splits = split_by_stratum(people(f=3), {"test": 0.6, "valid": 0.35}, seed=1)
    assert Counter(splits.values()) == {"train": 1, "valid": 1, "test": 1}


@pytest.mark.parametrize("shares", [{"test": 0.0, "valid": 0.1}, {"test": 0.5, "valid": 0.5}])
def test_fractions_that_leave_nothing_are_errors(shares):
    with pytest.raises(ValueError, match="above 0, and their sum below 1"):
        split_by_stratum(people(f=9), shares, seed=1)


def test_too_few_speakers_are_named():
    with pytest.raises(ValueError, match=r"2 speakers \(f0, f1\) cannot be divided into 3 splits"):
        split_by_stratum(people(f=2), SHARES, seed=1)
