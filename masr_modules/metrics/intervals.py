"""Differences of systems, with intervals over training seeds, test speakers and utterances."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

logger = logging.getLogger(__name__)

#: With fewer seeds no interval is given, as none is known to hold: see docs/intervals.md.
LEAST_SEEDS = 3
#: Level of the F test whether seeds differ by more than utterances explain. At the usual 0.05, a
#: variance that three seeds cannot show would be left out; benchmarks/intervals.py chose the level.
SEEDS_DIFFER = 0.45


class Difference(NamedTuple):
    """A mean difference and its 95 % interval, in the metric's own unit.

    `low` and `high` are NaN where no interval can be given.
    """

    mean: float
    low: float
    high: float


def paired_difference(
    ours: Mapping[int, Sequence[float]],
    theirs: Mapping[int, Sequence[float]],
    strata: Sequence[str],
    speakers: Sequence[str],
    given_encoders: bool = False,
    groups: Sequence[str] | None = None,
) -> Difference:
    """Computes the difference of two systems' macro means, with its 95 % interval.

    Training seeds and test speakers are the random draws; a speaker's utterances stay together,
    and the strata, such as languages, are fixed. The variances of seeds, of speakers and of both
    together add up as in an analysis of variance with two crossed random factors, with
    Satterthwaite's degrees of freedom (Satterthwaite, "An approximate distribution of estimates
    of variance components", 1946). If an F test finds that seeds differ, the interval is at
    least that of the seeds' means alone. `benchmarks/intervals.py` measures how often the
    interval holds the truth. The cost is O(S N) for S seeds and N items.

    Arguments
    ---------
    ours, theirs : mapping of int to sequence of float
        Seed -> value of each of N items, such as 1 for a right answer; NaN where the item was not
        evaluated. Only seeds that both systems have are compared, and only items that all these
        runs evaluated.
    strata : sequence of str
        (N,) stratum of each item: the mean is taken within each stratum, then over strata.
    speakers : sequence of str
        (N,) speaker of each item. An item of unknown speaker ("") counts as a speaker of its own.
    given_encoders : bool
        Whether the interval is for these trained encoders alone, and not for encoders of other
        seeds: then only speakers are random.
    groups : sequence of str, optional
        (N,) group of each item, such as a corpus, each of which has strata of its own: the mean
        over strata is taken within each group, then over groups.

    Returns
    -------
    Difference
        ours - theirs. It has no interval if there are fewer than LEAST_SEEDS seeds (unless
        `given_encoders`), or if a speaker shares none of their strata with another speaker.

    Raises
    ------
    ValueError
        If there is no common seed, the items differ in number, or no item was evaluated by all
        runs.

    Example
    -------
    >>> ours = {1: [1, 1, 0, 1], 2: [1, 0, 1, 1], 3: [0, 1, 1, 1]}
    >>> theirs = {seed: [0, 0, 0, 0] for seed in ours}
    >>> found = paired_difference(ours, theirs, ["French"] * 4, ["s", "t", "u", "v"])
    >>> [round(value, 2) for value in found]
    [0.75, 0.48, 1.02]
    """
    gap = _gaps(ours, theirs, strata)
    asked = ~np.isnan(gap).any(axis=0)
    if not asked.any():
        raise ValueError("no item was evaluated in all runs that are compared")
    if lost := int((~np.isnan(gap).all(axis=0) & ~asked).sum()):
        logger.warning("%d items were not evaluated in every run: they are left out", lost)
    gap = gap[:, asked]
    group = np.full(len(strata), "") if groups is None else np.asarray(groups)
    pairs = [*zip(group[asked].tolist(), np.asarray(strata)[asked].tolist(), strict=True)]
    named = sorted({*pairs})
    place = {pair: i for i, pair in enumerate(named)}
    stratum = np.array([place[pair] for pair in pairs])
    # The weight of each stratum in the mean.
    _, of_group, in_group = np.unique(
        [name for name, _ in named], return_inverse=True, return_counts=True
    )
    weight = 1 / (len(in_group) * in_group[of_group])
    speaker = _numbered(np.asarray(speakers, dtype=str)[asked])

    size = np.bincount(stratum)
    means = np.stack([np.bincount(stratum, row) / size for row in gap])  # (S, strata)
    part = (gap - means[:, stratum]) * (weight / size)[stratum]
    # (S, speakers): what each speaker adds to the seed's macro mean, beyond the strata's means.
    part = np.stack([np.bincount(speaker, row) for row in part])
    by_seed = means @ weight
    half = _half_width(by_seed, part, _components(speaker, stratum), given_encoders)
    mean = float(by_seed.mean())
    return Difference(mean, mean - half, mean + half)


def _gaps(ours: Mapping, theirs: Mapping, strata: Sequence[str]) -> np.ndarray:
    """Returns the (seeds, items) differences of the seeds that both systems have."""
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        raise ValueError(
            f"no common seed: one system has {sorted(ours)}, the other {sorted(theirs)}"
        )
    sizes = {len(strata), *(len(run[s]) for run in (ours, theirs) for s in seeds)}
    if len(sizes) > 1:
        raise ValueError(f"the items differ in number: {sorted(sizes)}")
    return np.array([np.asarray(ours[s], float) - np.asarray(theirs[s], float) for s in seeds])


def _numbered(speakers: np.ndarray) -> np.ndarray:
    """Returns a number for each item: the same for items of a speaker, another if none is known."""
    names, numbers = np.unique(speakers, return_inverse=True)
    unknown = speakers == ""
    numbers[unknown] = len(names) + np.arange(unknown.sum())
    return np.unique(numbers, return_inverse=True)[1]


def _components(speaker: np.ndarray, stratum: np.ndarray) -> np.ndarray:
    """Returns (speakers,) numbers, the same for speakers that share strata, directly or by others.

    Such speakers are drawn together.
    """
    count = int(speaker.max()) + 1
    size = count + int(stratum.max()) + 1
    edges = coo_array((np.ones(len(speaker)), (speaker, count + stratum)), shape=(size, size))
    return connected_components(edges, directed=False)[1][:count]


def _half_width(
    by_seed: np.ndarray, part: np.ndarray, component: np.ndarray, given_encoders: bool
) -> float:
    seeds = len(by_seed)
    drawn = np.bincount(component)
    if (drawn < 2).any() or (seeds < LEAST_SEEDS and not given_encoders):
        return float("nan")
    scale = (drawn / (drawn - 1))[component]
    center = part.mean(axis=0)
    each = np.bincount(component, scale * center**2)  # the mean's variance, by component
    speakers = each.sum()
    if not speakers > 0:
        speakers_df = float((drawn - 1).sum())
    else:
        speakers_df = speakers**2 / (each**2 / (drawn - 1)).sum()
    of_speakers = _quantile(speakers_df) * speakers**0.5
    if given_encoders:
        return float(of_speakers)
    both = (scale * (part - center) ** 2).sum() / (seeds * (seeds - 1))
    of_seeds = by_seed.var(ddof=1) / seeds
    if of_seeds == 0:
        return float(of_speakers)
    seeds_df, both_df = seeds - 1, (seeds - 1) * speakers_df
    if both > 0 and stats.f.sf(of_seeds / both, seeds_df, both_df) > SEEDS_DIFFER:
        return float(of_speakers)
    total = speakers + max(0.0, of_seeds - both)
    terms = of_seeds**2 / seeds_df + speakers**2 / speakers_df + both**2 / both_df
    df = max(min(seeds_df, speakers_df), total**2 / terms)
    of_all = _quantile(df) * total**0.5
    return float(max(of_all, _quantile(seeds_df) * of_seeds**0.5))


def _quantile(df: float) -> float:
    return float(stats.t.ppf(0.975, df))


def pseudo_values(whole: float, without: Sequence[float]) -> np.ndarray:
    """Computes what each item adds to a statistic that is not a mean, such as an EER (jackknife).

    The value of an item is whole + (n - 1) * (mean(without) - without), so that the mean of all
    values is the statistic as measured. Tukey's pseudo-values, n * whole - (n - 1) * without, have
    the same spread, but their mean corrects the statistic for bias (Efron and Tibshirani, "An
    introduction to the bootstrap", 1993, chapter 11). That correction is n - 1 times a difference
    of nearly equal numbers: for an EER of a thousand speakers it differs between seeds by
    points where the EER itself differs by tenths, and would pass for a variance of seeds.

    Arguments
    ---------
    whole : float
        The statistic of all items.
    without : sequence of float
        (n,) the statistic without each item in turn.

    Returns
    -------
    np.ndarray
        (n,).

    Example
    -------
    >>> values = np.array([1.0, 2.0, 6.0])
    >>> pseudo_values(values.mean(), [4.0, 3.5, 1.5]).round(6).tolist()
    [1.0, 2.0, 6.0]
    """
    rates = np.asarray(without, dtype=float)
    return whole + (len(rates) - 1) * (np.nanmean(rates) - rates)


def ratio_values(parts: Sequence[float], wholes: Sequence[float]) -> np.ndarray:
    """Computes a value for each item of a ratio of sums, such as a word error rate.

    The mean of the values is the ratio, and by the delta method their spread is that of
    sum(parts) / sum(wholes), to the first order, if items are drawn with their sizes (Cochran,
    "Sampling techniques", 1977, chapter 6).

    Arguments
    ---------
    parts, wholes : sequence of float
        (N,) numbers of each item, such as its wrong words and its words.

    Returns
    -------
    numpy.ndarray
        (N,) values.

    Example
    -------
    >>> ratio_values([1, 0], [2, 6]).tolist()  # 1 of 8
    [0.3125, -0.0625]
    """
    part, whole = np.asarray(parts, dtype=float), np.asarray(wholes, dtype=float)
    ratio = part.sum() / whole.sum()
    return ratio + (part - ratio * whole) / whole.mean()
