"""Splits that keep groups, such as speakers, on one side."""

import hashlib
import random
from collections.abc import Mapping

from data_prep.common.corpus import SPLITS

#: First letters of a split's name in use -> side.
_NAMES = {"train": "train", "val": "valid", "dev": "valid", "test": "test", "eval": "test"}


def side_of(name: str, where: str) -> str:
    """The side that a corpus's name of a split means.

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
    >>> side_of("Validation", "table.csv, line 2"), side_of("dev", "table.csv, line 3")
    ('valid', 'valid')
    """
    for start, side in _NAMES.items():
        if name.strip().lower().startswith(start):
            return side
    raise ValueError(
        f"{where}: split {name!r} is none that is known (train, valid, dev, val, test, eval)"
    )


def draw_side(key: str, shares: Mapping[str, float]) -> str:
    """Draws a side that depends on a text alone, whatever else there is.

    Arguments
    ---------
    key : str
        Seed and group, such as `1234/VIDEO`.
    shares : mapping of str to float
        Side -> share, about; they add up to 1.

    Returns
    -------
    str
        One of the sides.

    Example
    -------
    >>> sides = [draw_side(f"1234/{n}", {"train": 0.9, "valid": 0.1}) for n in range(1000)]
    >>> 80 < sides.count("valid") < 120
    True
    """
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).digest()
    place = int.from_bytes(digest[:6], "big") / 2**48
    for side, share in shares.items():
        if place < share:
            return side
        place -= share
    return side


def split_groups(
    counts: Mapping[str, int], valid_share: float, test_share: float, seed: int
) -> dict[str, str]:
    """Assigns groups to sides at random, by their number of utterances.

    Arguments
    ---------
    counts : mapping of str to int
        Group -> utterances.
    valid_share : float
        Share of the utterances that go to valid, about.
    test_share : float
        Share of the utterances that go to test, about.
    seed : int
        Of the choice.

    Returns
    -------
    dict of str to str
        Group -> side; each side has at least one group.

    Raises
    ------
    ValueError
        If there are fewer than three groups, or a share is not above 0 and their sum below 1.

    Example
    -------
    >>> sides = split_groups({f"s{n}": 10 for n in range(10)}, 0.1, 0.2, seed=1)
    >>> [sum(side == name for side in sides.values()) for name in SPLITS]
    [7, 1, 2]
    """
    if not (valid_share > 0 and test_share > 0 and valid_share + test_share < 1):
        raise ValueError(
            f"valid_share ({valid_share}) and test_share ({test_share}) have to be above 0, and "
            "their sum below 1"
        )
    if len(counts) < len(SPLITS):
        raise ValueError(
            f"{len(counts)} groups ({', '.join(counts)}) cannot be split in three sides that "
            "share none: give a split column"
        )
    groups = sorted(counts)
    random.Random(seed).shuffle(groups)
    sides, total = {}, sum(counts.values())
    for side, share, left in (("test", test_share, 2), ("valid", valid_share, 1)):
        room, taken = share * total, []
        for group in groups:
            if counts[group] / 2 <= room and len(groups) - len(taken) > left:
                taken.append(group)
                room -= counts[group]
        taken = taken or [min(groups, key=counts.__getitem__)]
        sides |= dict.fromkeys(taken, side)
        groups = [group for group in groups if group not in sides]
    return sides | dict.fromkeys(groups, "train")
