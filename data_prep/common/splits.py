"""Splits that keep groups, such as speakers, whole."""

import hashlib
import random
from collections.abc import Mapping

from data_prep.common.corpus import SPLITS

#: First letters of a name in use -> split.
_NAMES = {"train": "train", "val": "valid", "dev": "valid", "test": "test", "eval": "test"}


def split_of(name: str, where: str) -> str:
    """The split that a corpus means by a name.

    Arguments
    ---------
    name : str
        Such as `training`, `validation`, `dev`, `val` or `test`.
    where : str
        Where it was found, for the error.

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
        f"{where}: split {name!r} is none that is known (train, valid, dev, val, test, eval)"
    )


def draw_split(key: str, shares: Mapping[str, float]) -> str:
    """Draws a split that depends on a key alone, whatever else there is.

    Arguments
    ---------
    key : str
        Seed and group, such as `1234/VIDEO`.
    shares : mapping of str to float
        Split -> fraction, about; they add up to 1.

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
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
    place = int.from_bytes(digest[:6], "big") / 2**48
    for split, share in shares.items():
        if place < share:
            return split
        place -= share
    return split


def split_groups(
    counts: Mapping[str, int], valid_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """Assigns groups to splits at random, by their number of utterances.

    Arguments
    ---------
    counts : mapping of str to int
        Group -> utterances.
    valid_share : float
        Fraction of the utterances that go to valid, about.
    test_share : float
        Fraction of the utterances that go to test, about.
    seed : int
        Of the choice.

    Returns
    -------
    dict of str to str
        Group -> split; each split has at least one group.

    Raises
    ------
    ValueError
        If there are fewer than three groups, or a fraction is not above 0 and their sum below 1.

    Example
    -------
    >>> splits = split_groups({f"s{n}": 10 for n in range(10)}, 0.1, 0.2, seed=1)
    >>> [sum(split == name for split in splits.values()) for name in SPLITS]
    [7, 1, 2]
    """
    if not (valid_share > 0 and test_share > 0 and valid_share + test_share < 1):
        raise ValueError(
            f"valid_share ({valid_share}) and test_share ({test_share}) have to be above 0, and "
            "their sum below 1"
        )
    if len(counts) < len(SPLITS):
        raise ValueError(
            f"{len(counts)} groups ({', '.join(counts)}) cannot be divided into three splits that "
            "share none: give a split column"
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
