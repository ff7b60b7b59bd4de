"""Paired bootstrap: is one system above another, over test items and training seeds?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 2000


class Difference(NamedTuple):
    """A mean difference and its 95 % interval, in the metric's own unit."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    ours: Mapping[int, Sequence[float]],
    theirs: Mapping[int, Sequence[float]],
    strata: Sequence[str],
    draws: int = DRAWS,
    seed: int = 0,
) -> Difference:
    """Interval of the difference of two systems' macro means.

    Seeds of training and items are drawn with replacement, independently of each other: items
    within their stratum, the same ones for both systems and all seeds; percentiles 2.5 and 97.5
    (Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13).

    Arguments
    ---------
    ours, theirs : mapping of int to sequence of float
        Seed -> value of each item, such as 1 for a right answer; NaN where it was not asked.
        Only seeds that both have are compared.
    strata : sequence of str
        Stratum of each item: the mean is taken within each, then over them.
    draws : int
        Of the bootstrap.
    seed : int
        Of its generator.

    Returns
    -------
    Difference
        ours - theirs.

    Raises
    ------
    ValueError
        If there is no common seed, or the items differ in number.

    Example
    -------
    >>> paired_bootstrap({1: [1, 1, 1, 0]}, {1: [0, 0, 0, 0]}, ["a", "a", "b", "b"]).mean
    0.75
    """
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        raise ValueError(f"no common seed: {sorted(ours)} and {sorted(theirs)}")
    sizes = {len(strata), *(len(run[s]) for run in (ours, theirs) for s in seeds)}
    if len(sizes) > 1:
        raise ValueError(f"the items differ in number: {sorted(sizes)}")
    # (seeds, items)
    gap = np.array([np.asarray(ours[s], float) - np.asarray(theirs[s], float) for s in seeds])
    asked = ~np.isnan(gap).all(axis=0)
    gap, names = gap[:, asked], np.asarray(strata)[asked]
    gap, names = gap[:, np.argsort(names, kind="stable")], np.sort(names)
    starts, counts = np.unique(names, return_index=True, return_counts=True)[1:]
    first, size = np.repeat(starts, counts), np.repeat(counts, counts)
    mean = float(np.mean(np.add.reduceat(gap.mean(axis=0), starts) / counts))
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):
        rows = rng.integers(len(seeds), size=len(seeds))
        # How often each seed is drawn times how often each item is.
        by_item = gap[rows].mean(axis=0)[first + rng.integers(size)]
        means[draw] = np.mean(np.add.reduceat(by_item, starts) / counts)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(mean, float(low), float(high))


def pseudo_values(whole: float, without: Sequence[float]) -> np.ndarray:
    """Jackknife: what each item adds to a statistic that is no mean, such as an EER.

    n * whole - (n - 1) * without; their mean is the statistic, less its bias (Efron and
    Tibshirani, chapter 11).

    Example
    -------
    >>> values = np.array([1.0, 2.0, 6.0])
    >>> pseudo_values(values.mean(), [4.0, 3.5, 1.5]).round(6).tolist()
    [1.0, 2.0, 6.0]
    """
    count = len(without)
    return count * whole - (count - 1) * np.asarray(without, dtype=float)
