"""Splits that keep groups, such as speakers, whole."""

import hashlib
import random
from collections import Counter
from collections.abc import Mapping

from data_prep.common.corpus import SPLITS
from data_prep.common.skips import SkipRegister

#: `split_groups_within` gives each split at least this number of a value's groups: two, so that no
#: figure on a language comes from one person. A value with fewer than three times as many is in
#: train alone.
MIN_GROUPS = 2

#: Beginning of a split's name, as corpora have it -> split.
_NAMES = {"train": "train", "val": "valid", "dev": "valid", "test": "test", "eval": "test"}


def split_of(name: str, where: str) -> str:
    """Returns the split that a corpus means by a name.

    Arguments
    ---------
    name : str
        A name such as `training`, `validation`, `dev`, `val` or `test`.
    where : str
        Place of the name, for the error.

    Returns
    -------
    str
        `train`, `valid` or `test`.

    Raises
    ------
    ValueError
        If it means none of them.

    Example
    -------
    >>> split_of("Validation", "table.csv, line 2"), split_of("dev", "table.csv, line 3")
    ('valid', 'valid')
    """
    for start, split in _NAMES.items():
        if name.strip().lower().startswith(start):
            return split
    raise ValueError(
        f"{where}: split {name!r} is unknown; use train, valid, dev, val, test or eval"
    )


def draw_split(key: str, shares: Mapping[str, float]) -> str:
    """Draws a split that depends on a key alone, not on the other keys.

    Arguments
    ---------
    key : str
        Seed and group, such as `1234/VIDEO`.
    shares : mapping of str to float
        Split -> approximate fraction of the keys; the fractions add up to 1.

    Returns
    -------
    str
        One of the splits.

    Example
    -------
    >>> splits = [draw_split(f"1234/{n}", {"train": 0.9, "valid": 0.1}) for n in range(1000)]
    >>> 80 < splits.count("valid") < 120
    True
    """
    place = _place(key)
    for split, share in shares.items():
        if place < share:
            return split
        place -= share
    return split


def _place(key: str) -> float:
    """Hashes a key to a number in [0, 1)."""
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _check_shares(valid_share: float, test_share: float) -> None:
    if not (valid_share > 0 and test_share > 0 and valid_share + test_share < 1):
        raise ValueError(
            f"valid_share ({valid_share}) and test_share ({test_share}) have to be above 0, and "
            "their sum below 1"
        )


def split_groups(
    counts: Mapping[str, int], valid_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """Assigns groups to splits at random, so that the splits get fractions of the utterances.

    Arguments
    ---------
    counts : mapping of str to int
        Group -> number of utterances.
    valid_share : float
        Approximate fraction of the utterances that go to valid.
    test_share : float
        Approximate fraction of the utterances that go to test.
    seed : int
        Seed of the draw.

    Returns
    -------
    dict of str to str
        Group -> split; each split has at least one group.

    Raises
    ------
    ValueError
        If there are fewer than three groups, a fraction is not above 0, or their sum is not
        below 1.

    Example
    -------
    >>> splits = split_groups({f"s{n}": 10 for n in range(10)}, 0.1, 0.2, seed=1)
    >>> [sum(split == name for split in splits.values()) for name in SPLITS]
    [7, 1, 2]
    """
    _check_shares(valid_share, test_share)
    if len(counts) < len(SPLITS):
        raise ValueError(
            f"{len(counts)} groups ({', '.join(counts)}) cannot be divided into three splits that "
            "share none: name each row's split in a column `split`"
        )
    groups = sorted(counts)
    random.Random(seed).shuffle(groups)
    splits, total = {}, sum(counts.values())
    for split, share, left in (("test", test_share, 2), ("valid", valid_share, 1)):
        room, taken = share * total, []
        for group in groups:
            if counts[group] / 2 <= room and len(groups) - len(taken) > left:
                taken.append(group)
                room -= counts[group]
        taken = taken or [min(groups, key=counts.__getitem__)]
        splits |= dict.fromkeys(taken, split)
        groups = [group for group in groups if group not in splits]
    return splits | dict.fromkeys(groups, "train")


def split_groups_within(
    counts: Mapping[str, Mapping[str, int]], valid_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """Assigns groups to splits within each value of a column, such as speakers in each language.

    Every value that has enough groups (`MIN_GROUPS`) is thus in every split. A group with several
    values is in one split; the value's other groups compensate for it. A group that has more
    utterances of the value than a split's fraction of them is drawn for that split only when no
    smaller group is left. The order of the draw is a hash of the group, so values that share no
    group do not influence one another.

    Arguments
    ---------
    counts : mapping of str to mapping
        Value -> group -> number of utterances.
    valid_share : float
        Approximate fraction of each value's groups that go to valid.
    test_share : float
        Approximate fraction of each value's groups that go to test.
    seed : int
        Seed of the draw.

    Returns
    -------
    dict of str to str
        Group -> split; `note_absent` notes the values that are not in every split.

    Raises
    ------
    ValueError
        If no value has enough groups, a fraction is not above 0, or their sum is not below 1.

    Example
    -------
    >>> counts = {code: {f"{code}{n}": 5 for n in range(10)} for code in ("ca", "es")}
    >>> splits = split_groups_within(counts, 0.2, 0.3, seed=1)
    >>> [[splits[group] for group in counts[code]].count("test") for code in counts]
    [3, 3]
    """
    _check_shares(valid_share, test_share)
    if not any(_sizes(len(groups), valid_share, test_share) for groups in counts.values()):
        raise ValueError(
            f"three splits need {len(SPLITS) * MIN_GROUPS} groups (speakers) of one value; the "
            f"largest has {max(map(len, counts.values()), default=0)}: use more of the corpus, "
            "or name each row's split in a column of your table"
        )
    shares, splits = {"test": test_share, "valid": valid_share}, {}
    # The smallest value goes first, because it has the least choice where groups are shared.
    for value in sorted(counts, key=lambda value: (len(counts[value]), value)):
        groups = counts[value]
        given = Counter(splits[group] for group in groups if group in splits)
        free = sorted(groups.keys() - splits.keys(), key=lambda group: _place(f"{seed}/{group}"))
        for split, size in _sizes(len(groups), valid_share, test_share).items():
            room = shares[split] * sum(groups.values())
            free.sort(key=lambda group, room=room: max(0.0, groups[group] - room))
            taken = free[: max(0, size - given[split])]
            splits |= dict.fromkeys(taken, split)
            free = free[len(taken) :]
        splits |= dict.fromkeys(free, "train")
    return splits


def _sizes(groups: int, valid_share: float, test_share: float) -> dict[str, int]:
    """Returns the number of groups of each held-out split; empty where groups are too few."""
    if groups < len(SPLITS) * MIN_GROUPS:
        return {}
    test = min(max(MIN_GROUPS, round(test_share * groups)), groups - 2 * MIN_GROUPS)
    valid = min(max(MIN_GROUPS, round(valid_share * groups)), groups - test - MIN_GROUPS)
    return {"test": test, "valid": valid}


def note_absent(
    counts: Mapping[str, Mapping[str, int]],
    splits: Mapping[str, str],
    values: str,
    skips: SkipRegister,
) -> None:
    """Notes the values that are not in every split, with how many groups each has.

    Arguments
    ---------
    counts : mapping of str to mapping
        Value -> group -> number of utterances.
    splits : mapping of str to str
        Group -> split, as `split_groups_within` returns.
    values : str
        Name of the values in the note, such as `locales`.
    skips : SkipRegister
        Notes the values.

    Example
    -------
    >>> skips = SkipRegister()
    >>> counts = {"ca": {"a": 1, "b": 1, "c": 1}, "vot": {"d": 3}}
    >>> splits = {"a": "train", "b": "valid", "c": "test", "d": "train"}
    >>> note_absent(counts, splits, "locales", skips)
    >>> print(skips.report())
    noted 1: 1 of 2 locales have too few speakers to be in valid and test (vot: 1)
    """
    absent: dict[str, list[str]] = {}
    for value, groups in counts.items():
        there = {splits[group] for group in groups}
        if lacking := " and ".join(split for split in SPLITS if split not in there):
            absent.setdefault(lacking, []).append(f"{value or '(empty)'}: {len(groups)}")
    for lacking, cases in absent.items():
        skips.note(
            f"{len(cases)} of {len(counts)} {values} have too few speakers to be in {lacking}",
            ", ".join(cases),
        )
