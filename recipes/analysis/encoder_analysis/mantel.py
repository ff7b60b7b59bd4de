"""Correlation of two tables of distances between the same languages."""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata
from tqdm import tqdm

PERMUTATIONS = 9999
DRAWS = 2000
_CHUNK = 1_000_000  # number of distances that are ranked at a time


class Correlation(NamedTuple):
    """Spearman's rank correlation of two tables of distances.

    Arguments
    ---------
    value : float
        Correlation over the pairs that both tables know; NaN where there is nothing to compare.
    p : float
        p value of the one-sided Mantel test against "no agreement".
    low, high : float
        95 % interval, by bootstrap over languages.
    languages, pairs : int
        Numbers of languages and pairs that were compared.
    """

    value: float
    p: float
    low: float
    high: float
    languages: int
    pairs: int


def mantel(
    distances: np.ndarray,
    reference: np.ndarray,
    permutations: int = PERMUTATIONS,
    draws: int = DRAWS,
    seed: int = 0,
) -> Correlation:
    """Computes Spearman's correlation with a Mantel test and a bootstrap interval.

    Pairs of languages are not independent, so the test permutes languages, not pairs (Mantel,
    "The detection of disease clustering and a generalized regression approach", Cancer Research
    27, 1967). The interval draws languages with replacement and leaves out pairs of a language
    with itself (Nili et al., "A toolbox for representational similarity analysis", 2014).
    The time is O(permutations * L^2 log L).

    Arguments
    ---------
    distances : np.ndarray
        (L, L) symmetric distances, all known.
    reference : np.ndarray
        (L, L) symmetric distances, NaN where not known.
    permutations : int
        Number of permutations of the test; p is at least 1 / (permutations + 1).
    draws : int
        Number of draws of the bootstrap.
    seed : int
        Seed of permutations and draws.

    Returns
    -------
    Correlation
        The correlation; its numbers are NaN with fewer than three languages, or where a table has
        the same distance for all pairs.

    Raises
    ------
    ValueError
        If the tables differ in shape, or `distances` has NaN.

    Example
    -------
    >>> points = np.arange(6.0) ** 2
    >>> distances = abs(points[:, None] - points)
    >>> found = mantel(distances, 2 * distances)
    >>> round(found.value, 6), found.p < 0.05, found.pairs
    (1.0, True, 15)
    """
    if distances.shape != reference.shape or np.isnan(distances).any():
        raise ValueError(
            f"distances {distances.shape} must have no NaN, and the reference's shape "
            f"{reference.shape}"
        )
    known = ~np.isnan(reference) & ~np.eye(len(reference), dtype=bool)
    used = known.any(axis=1)
    distances, reference, known = (x[np.ix_(used, used)] for x in (distances, reference, known))
    i, j = np.nonzero(np.triu(known))
    nothing = Correlation(*[float("nan")] * 4, int(used.sum()), len(i))
    if used.sum() < 3:
        return nothing
    value = _spearman(distances[i, j][None], reference[i, j])[0]
    if np.isnan(value):
        return nothing
    p = _p_value(distances, reference, (i, j), value, permutations, seed)
    low, high = interval(bootstrap(distances, reference, draws, seed))
    return Correlation(float(value), p, low, high, int(used.sum()), len(i))


def _spearman(several: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Computes the (P,) rank correlations of the rows of (P, pairs) with (pairs,)."""
    first, second = (rankdata(x, axis=-1) for x in (several, reference))
    first -= first.mean(axis=-1, keepdims=True)
    second -= second.mean()
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norms > 0, first @ second / norms, np.nan)


def _p_value(
    distances: np.ndarray,
    reference: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    value: float,
    permutations: int,
    seed: int,
) -> float:
    """Computes the fraction of orders of the languages, this one included, that agree as well."""
    (i, j), rng = pairs, np.random.default_rng(seed)
    chunk = max(1, _CHUNK // len(i))
    reached = 0
    for start in tqdm(range(0, permutations, chunk), "Mantel test", leave=False, disable=None):
        count = min(chunk, permutations - start)
        orders = rng.permuted(np.tile(np.arange(len(distances)), (count, 1)), axis=1)
        permuted = _spearman(distances[orders[:, i], orders[:, j]], reference[i, j])
        reached += int(np.sum(permuted >= value - 1e-12))
    return (1 + reached) / (1 + permutations)


def bootstrap(
    distances: np.ndarray, reference: np.ndarray, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
    """Computes Spearman's correlation on languages drawn with replacement.

    The same seed and reference give the same languages, so that two tables can be compared draw
    by draw.

    Arguments
    ---------
    distances, reference : np.ndarray
        (L, L) distances, see `mantel`.
    draws : int
        Number of draws.
    seed : int
        Seed of the draws.

    Returns
    -------
    np.ndarray
        (draws,) correlations, NaN where the drawn languages leave nothing to compare.

    Example
    -------
    >>> points = np.arange(6.0) ** 2
    >>> distances = abs(points[:, None] - points)
    >>> bootstrap(distances, 2 * distances, draws=3).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    rng = np.random.default_rng(seed)
    known = ~np.isnan(reference) & ~np.eye(len(reference), dtype=bool)
    once = np.triu(np.ones_like(known), k=1)
    values = np.full(draws, np.nan)
    for draw in tqdm(range(draws), "bootstrap", leave=False, disable=None):
        drawn = np.ix_(*[rng.integers(len(known), size=len(known))] * 2)
        keep = known[drawn] & once
        if keep.any():
            values[draw] = _spearman(distances[drawn][keep][None], reference[drawn][keep])[0]
    return values


def interval(values: np.ndarray) -> tuple[float, float]:
    """Computes the percentiles 2.5 and 97.5 of the values that are not NaN.

    Example
    -------
    >>> interval(np.array([np.nan, 0.5, 0.5]))
    (0.5, 0.5)
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
