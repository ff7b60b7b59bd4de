"""Splits by speaker, each with speakers of every stratum, such as a gender."""

import random
from collections.abc import Mapping


def split_by_stratum(
    strata: Mapping[str, str], shares: Mapping[str, float], seed: int | str
) -> dict[str, str]:
    """Divides speakers at random within each stratum; fractions count speakers, not utterances.

    A stratum with at least as many speakers as there are splits gives one or more to each; a
    smaller one is in train alone. Where that would leave a split empty, the speakers are divided
    regardless of strata. The division of a stratum does not depend on the other strata.

    Arguments
    ---------
    strata : mapping of str to str
        Speaker -> stratum, such as the gender; empty where it is not known.
    shares : mapping of str to float
        Held-out split -> approximate fraction of the speakers. The others are in train.
    seed : int or str
        Seed of the draw.

    Returns
    -------
    dict of str to str
        Speaker -> split.

    Raises
    ------
    ValueError
        If a fraction is not above 0, their sum is not below 1, or there are fewer speakers than
        splits.

    Example
    -------
    >>> strata = {"a": "f", "b": "f", "c": "f", "d": "m", "e": "m", "g": "m", "h": "m"}
    >>> splits = split_by_stratum(strata, {"test": 0.35, "valid": 0.15}, seed=1)
    >>> sorted((split, strata[speaker]) for speaker, split in splits.items())[:4]
    [('test', 'f'), ('test', 'm'), ('train', 'f'), ('train', 'm')]
    """
    if min(shares.values()) <= 0 or sum(shares.values()) >= 1:
        told = ", ".join(f"{split} {share}" for split, share in shares.items())
        raise ValueError(f"the fractions ({told}) have to be above 0, and their sum below 1")
    if len(strata) <= len(shares):
        raise ValueError(
            f"{len(strata)} speakers ({', '.join(sorted(strata))}) cannot be divided into "
            f"{len(shares) + 1} splits that share none"
        )
    splits = _divide(strata, shares, seed)
    if not set(shares) <= set(splits.values()):
        splits = _divide(dict.fromkeys(strata, "all"), shares, seed)
    return splits


def _divide(
    strata: Mapping[str, str], shares: Mapping[str, float], seed: int | str
) -> dict[str, str]:
    splits: dict[str, str] = {}
    for stratum in sorted(set(strata.values())):
        speakers = sorted(speaker for speaker in strata if strata[speaker] == stratum)
        random.Random(f"{seed}/{stratum}").shuffle(speakers)
        for split, count in _counts(len(speakers), shares).items():
            splits |= dict.fromkeys(speakers[:count], split)
            speakers = speakers[count:]
        splits |= dict.fromkeys(speakers, "train")
    return splits


def _counts(speakers: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Returns the number of speakers of each held-out split; at least one is left to train."""
    if speakers <= len(shares):
        return {}
    counts = {split: max(1, round(share * speakers)) for split, share in shares.items()}
    while sum(counts.values()) >= speakers:
        counts[max(counts, key=counts.__getitem__)] -= 1
    return counts
