"""Splits that keep speakers whole, and every language in each."""

from collections import Counter

import pytest

from data_prep.common.skips import SkipRegister
from data_prep.common.splits import note_absent, split_groups, split_groups_within


def speakers(name, number, clips=5):
    return {f"{name}{n}": clips for n in range(number)}


def sizes(splits, groups):
    found = Counter(splits[group] for group in groups)
    return [found[split] for split in ("train", "valid", "test")]


@pytest.mark.parametrize(
    "number, expected",
    [
        (20, [10, 3, 7]),  # .15 and .35 of 20
        (7, [3, 2, 2]),  # .15 of 7 would be one
        (6, [2, 2, 2]),
        (5, [5, 0, 0]),  # less than two for each split
    ],
)
def test_each_value_is_divided_by_the_shares(number, expected):
    counts = {"a": speakers("a", number), "big": speakers("b", 100)}
    splits = split_groups_within(counts, 0.15, 0.35, seed=1)
    assert sizes(splits, counts["a"]) == expected
    assert sizes(splits, counts["big"]) == [50, 15, 35]


def test_large_shares_leave_two_groups_to_each_split():
    counts = {"a": speakers("a", 8)}
    assert sizes(split_groups_within(counts, 0.01, 0.98, 1), counts["a"]) == [2, 2, 4]
    assert sizes(split_groups_within(counts, 0.98, 0.01, 1), counts["a"]) == [2, 4, 2]


def test_the_seed_decides_and_the_order_does_not():
    counts = {"a": speakers("a", 20), "b": speakers("b", 20)}
    turned = {value: dict(reversed(groups.items())) for value, groups in reversed(counts.items())}
    assert split_groups_within(counts, 0.2, 0.2, 1) == split_groups_within(turned, 0.2, 0.2, 1)
    assert split_groups_within(counts, 0.2, 0.2, 1) != split_groups_within(counts, 0.2, 0.2, 2)


def test_another_value_moves_no_group():
    counts = {"a": speakers("a", 20), "b": speakers("b", 30)}
    before = split_groups_within(counts, 0.2, 0.2, 1)
    after = split_groups_within({**counts, "c": speakers("c", 10)}, 0.2, 0.2, 1)
    assert before.items() <= after.items()


@pytest.mark.parametrize("seed", range(5))
def test_a_group_of_two_values_is_in_one_split_and_others_make_up_for_it(seed):
    both = speakers("both", 4)
    counts = {"a": speakers("a", 6) | both, "b": speakers("b", 16) | both}
    splits = split_groups_within(counts, 0.2, 0.3, seed)
    assert [sizes(splits, groups) for groups in counts.values()] == [[5, 2, 3], [10, 4, 6]]


def test_a_group_of_a_value_too_small_trains():
    counts = {"small": speakers("s", 5), "large": speakers("s", 5) | speakers("l", 15)}
    splits = split_groups_within(counts, 0.2, 0.3, 1)
    assert sizes(splits, counts["small"]) == [5, 0, 0]
    assert sizes(splits, counts["large"]) == [10, 4, 6]


@pytest.mark.parametrize("seed", range(5))
def test_whoever_has_most_of_a_value_trains(seed):
    counts = {"or": {"a": 63, "b": 17, "c": 8, "d": 5, "e": 3, "f": 3, "g": 1}}
    splits = split_groups_within(counts, 0.15, 0.35, seed)
    assert splits["a"] == "train"
    assert splits["b"] != "valid"  # 17 of 100 are more than .15


def test_too_few_groups_and_wrong_shares_are_errors():
    with pytest.raises(ValueError, match="need 6 groups .* of one value; the largest has 5"):
        split_groups_within({"a": speakers("a", 5)}, 0.1, 0.1, 1)
    with pytest.raises(ValueError, match="the largest has 0"):
        split_groups_within({}, 0.1, 0.1, 1)
    with pytest.raises(ValueError, match="their sum below 1"):
        split_groups_within({"a": speakers("a", 6)}, 0.5, 0.5, 1)


def test_values_that_are_not_in_every_split_are_named_with_their_counts():
    skips = SkipRegister()
    counts = {"a": speakers("a", 6), "": speakers("u", 1), "c": speakers("c", 4)}
    note_absent(counts, split_groups_within(counts, 0.1, 0.1, 1), "accents", skips)
    assert skips.report() == (
        "noted 1: 2 of 3 accents have too few speakers to be in valid and test ((empty): 1, c: 4)"
    )


def test_groups_fill_the_shares():
    for seed in range(5):
        sides = split_groups({"big": 70, "a": 10, "b": 10, "c": 10}, 0.1, 0.1, seed)
        assert sorted(sides.values()) == ["test", "train", "train", "valid"]
        assert sides["big"] == "train"
    with pytest.raises(ValueError, match="2 groups .* cannot be divided into three"):
        split_groups({"a": 1, "b": 1}, 0.1, 0.1, seed=0)
    with pytest.raises(ValueError, match="their sum below 1"):
        split_groups({"a": 1, "b": 1, "c": 1}, 0.5, 0.5, seed=0)
