"""Trees of languages, from the distances of centroids and from descent."""

from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import cophenet, leaves_list, linkage
from scipy.spatial.distance import squareform


class Trees(NamedTuple):
    """The tree of an encoder and that of descent.

    Arguments
    ---------
    ours, descent : np.ndarray
        Linkages of L languages, in scipy's form.
    own_cophenetic, descent_cophenetic : float
        Correlation of each tree's heights with the distances from which it was grown.
    between : float
        Correlation of the heights at which two languages meet in both trees.
    """

    ours: np.ndarray
    descent: np.ndarray
    own_cophenetic: float
    descent_cophenetic: float
    between: float


def grow(distances: np.ndarray) -> np.ndarray:
    """Grows a tree by mean distance (UPGMA; Sokal and Michener, 1958).

    Arguments
    ---------
    distances : np.ndarray
        (L, L) symmetric distances, all known, L >= 2.

    Example
    -------
    >>> grow(np.array([[0, 1, 4], [1, 0, 4], [4, 4, 0]]))[:, 2].tolist()
    [1.0, 4.0]
    """
    return linkage(squareform(distances, checks=False), "average")


def compare_trees(ours: np.ndarray, descent: np.ndarray) -> Trees:
    """Grows both trees and correlates them (cophenetic correlation; Sokal and Rohlf, 1962).

    The branches of the encoder's tree are turned, which does not change the tree, so that its
    leaves follow the order of the other tree's as far as possible.

    Arguments
    ---------
    ours, descent : np.ndarray
        (L, L) distances of the same languages, all known, L >= 3.

    Raises
    ------
    ValueError
        If there are fewer than three languages.

    Example
    -------
    >>> distances = np.array([[0, 1, 4], [1, 0, 4], [4, 4, 0]])
    >>> round(compare_trees(distances, 3 * distances).between, 6)
    1.0
    """
    if len(ours) < 3:
        raise ValueError(f"a tree needs three languages with a known descent, not {len(ours)}")
    trees = [grow(distances) for distances in (ours, descent)]
    heights = [cophenet(tree) for tree in trees]
    flat = [squareform(distances, checks=False) for distances in (ours, descent)]
    own, other = (_pearson(h, d) for h, d in zip(heights, flat, strict=True))
    position = np.argsort(leaves_list(trees[1]))
    return Trees(turn(trees[0], position), trees[1], own, other, _pearson(*heights))


def turn(tree: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Turns a tree so that at each fork the branch of smaller mean position comes first.

    Arguments
    ---------
    tree : np.ndarray
        Linkage of L leaves.
    position : np.ndarray
        (L,) desired position of each leaf.

    Example
    -------
    >>> tree = grow(np.array([[0, 1, 4], [1, 0, 4], [4, 4, 0]]))
    >>> leaves_list(turn(tree, np.array([1, 2, 0]))).tolist()
    [2, 0, 1]
    """
    tree, count = tree.copy(), len(tree) + 1
    sums, sizes = list(np.asarray(position, float)), [1] * count
    for row in tree:
        first, second = int(row[0]), int(row[1])
        if sums[first] / sizes[first] > sums[second] / sizes[second]:
            row[:2] = second, first
        sums.append(sums[first] + sums[second])
        sizes.append(sizes[first] + sizes[second])
    return tree


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
