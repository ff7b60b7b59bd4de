"""Projection of utterances to a plane."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

#: Default of the largest number of points; more would overlap and be slow.
MOST_POINTS = 3000
#: Width and height of a name, as a fraction of the map's.
_NAME_SIZE = np.array([0.05, 0.03])


def choose_evenly(labels: np.ndarray, most: int) -> np.ndarray:
    """Returns indices of at most `most` utterances, the same number of each label, evenly spread.

    Example
    -------
    >>> choose_evenly(np.array(["a", "a", "a", "b"]), 2).tolist()
    [0, 3]
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    names = np.unique(labels)
    share = max(1, most // len(names))
    chosen = []
    for name in names:
        places = np.flatnonzero(labels == name)
        spread = np.arange(min(share, len(places))) * max(1.0, len(places) / share)
        chosen.append(places[spread.astype(int)])
    return np.sort(np.concatenate(chosen)[:most])


def name_places(places: np.ndarray, labels: np.ndarray) -> dict[str, tuple[float, float]]:
    """Finds a place for the name of each label: its densest spot, moved where names overlap.

    The mean would often lie where the label has no point, because speakers and emotions split it.

    Arguments
    ---------
    places : np.ndarray
        (N, 2) coordinates.
    labels : np.ndarray
        (N,) labels.

    Returns
    -------
    dict of str to (float, float)
        Label -> place.

    Example
    -------
    >>> places = np.array([[0.0, 0.0], [9.0, 9.0], [9.0, 9.1], [9.0, 9.2]])
    >>> name_places(places, np.array(["spa"] * 4))
    {'spa': (9.0, 9.0)}
    """
    names = np.unique(labels)
    spots = np.stack([_densest(places[labels == name]) for name in names])
    room = np.ptp(places, axis=0) * _NAME_SIZE
    for _ in range(200):
        gap = spots[:, None] - spots
        touching = (np.abs(gap) < room).all(axis=2) & ~np.eye(len(names), dtype=bool)
        if not touching.any():
            break
        # Names move up or down, whichever is shorter; of two in one place, the later goes up.
        later = np.sign(np.arange(len(names))[:, None] - np.arange(len(names)))
        side = np.where(gap[..., 1] == 0, later, np.sign(gap[..., 1]))
        spots[:, 1] += (touching * side).sum(axis=1) * room[1] / 10
    return {name: tuple(spot) for name, spot in zip(names.tolist(), spots.tolist(), strict=True)}


def _densest(places: np.ndarray) -> np.ndarray:
    """Returns the point around which the smallest circle holds a quarter of the points."""
    near = places[:: max(1, len(places) // 1000)]
    distances = np.sort(np.linalg.norm(near[:, None] - near, axis=2), axis=1)
    return near[distances[:, -(-len(near) // 4) if len(near) > 1 else 0].argmin()]


def project(points: np.ndarray, seed: int = 0) -> np.ndarray:
    """Projects principal components by t-SNE (van der Maaten and Hinton, JMLR 9, 2008).

    Neighbourhoods are meaningful; distances between groups, and sizes of groups, are not.

    Arguments
    ---------
    points : np.ndarray
        (N, D) points, N >= 3.
    seed : int
        Seed of the projection.

    Returns
    -------
    np.ndarray
        (N, 2) coordinates.

    Example
    -------
    >>> project(np.random.default_rng(0).normal(size=(12, 5))).shape
    (12, 2)
    """
    points = PCA(min(50, *points.shape), random_state=seed).fit_transform(points)
    perplexity = min(30.0, (len(points) - 1) / 3)
    init = "pca" if points.shape[1] > 1 else "random"
    return TSNE(perplexity=perplexity, init=init, random_state=seed).fit_transform(points)
