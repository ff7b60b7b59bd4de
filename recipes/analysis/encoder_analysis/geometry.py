"""Distances between utterances and between languages, in the space of the kNN probe."""

from collections.abc import Sequence

import numpy as np
from sklearn.preprocessing import StandardScaler


def unit_points(embeddings: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Standardises (N, D) embeddings by the references' statistics and scales them to unit length.

    Example
    -------
    >>> points = unit_points(np.array([[3.0, 4.0]]), np.array([[-1.0, -1.0], [1.0, 1.0]]))
    >>> points.round(3).tolist()
    [[0.6, 0.8]]
    """
    points = StandardScaler().fit(references).transform(embeddings)
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)


def centroid_distances(
    points: np.ndarray, labels: np.ndarray, languages: Sequence[str]
) -> np.ndarray:
    """Computes cosine distances between the mean points of languages.

    Arguments
    ---------
    points : np.ndarray
        (N, D) points.
    labels : np.ndarray
        (N,) language of each point.
    languages : sequence of str
        L languages, each of which has a point.

    Returns
    -------
    np.ndarray
        (L, L) distances in [0, 2], with 0 on the diagonal.

    Example
    -------
    >>> points = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    >>> centroid_distances(points, np.array(["a", "b", "b"]), ["a", "b"]).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    means = np.stack([points[labels == language].mean(axis=0) for language in languages])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    distances = np.clip(1 - means @ means.T, 0, 2)
    distances = (distances + distances.T) / 2  # rounding must not break the symmetry
    np.fill_diagonal(distances, 0.0)
    return distances
