"""The fraction of an utterance's neighbours that share its value, for each attribute."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from masr_modules.metrics.probes import NEIGHBOURS

_TILE = 500  # number of utterances whose neighbours are searched at a time


class Attribute(NamedTuple):
    """An attribute in which neighbours are compared.

    Arguments
    ---------
    title : str
        Title of the table's row.
    column : str
        Column whose values are compared.
    different : tuple of str
        Columns in which a neighbour must differ: by default the speaker, as utterances of one
        speaker are neighbours whatever the attribute.
    """

    title: str
    column: str
    different: tuple[str, ...] = ("speaker",)


ATTRIBUTES = (
    Attribute("language", "language"),
    Attribute("family", "family"),
    Attribute("family, among other languages", "family", ("speaker", "language")),
    Attribute("region", "region"),
    Attribute("region, among other languages", "region", ("speaker", "language")),
    Attribute("speaker", "speaker", ()),
    Attribute("gender", "gender"),
    Attribute("emotion", "emotion"),
)


class Purity(NamedTuple):
    """Fraction of neighbours with the same value.

    Arguments
    ---------
    share : float
        Mean over utterances; NaN where no utterance has a possible neighbour.
    chance : float
        The same fraction of all utterances that could have been neighbours.
    utterances, values : int
        Number of utterances with a possible neighbour, and number of the attribute's values.
    """

    share: float
    chance: float
    utterances: int
    values: int


def purity(
    points: np.ndarray,
    columns: Mapping[str, np.ndarray],
    attribute: Attribute,
    neighbours: int = NEIGHBOURS,
) -> Purity:
    """Computes the fraction of the nearest neighbours, by cosine, that have the same value.

    Only utterances whose value is known count and can be neighbours. An unknown speaker (an
    empty cell) counts as different from all others. The time is O(N^2 D), and memory is bounded
    by tiles.

    Arguments
    ---------
    points : np.ndarray
        (N, D) points of unit length.
    columns : mapping of str to np.ndarray
        Column -> (N,) values, "" where not known.
    attribute : Attribute
        The attribute.
    neighbours : int
        Number k of neighbours; fewer where there are fewer candidates.

    Returns
    -------
    Purity
        The fraction, and its value by chance.

    Example
    -------
    >>> points = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
    >>> columns = {"gender": np.array(["f", "f", "m", "m"]), "speaker": np.array(list("abcd"))}
    >>> found = purity(points, columns, Attribute("gender", "gender"), neighbours=1)
    >>> found.share, round(found.chance, 3)
    (1.0, 0.333)
    """
    known = columns[attribute.column] != ""
    codes = np.unique(columns[attribute.column][known], return_inverse=True)[1]
    others = [columns[name][known] for name in attribute.different]
    points = points[known]
    shares, chances = [], []
    for start in range(0, len(points), _TILE):
        tile = np.arange(start, min(start + _TILE, len(points)))
        allowed = np.arange(len(points)) != tile[:, None]
        for cells in others:
            allowed &= (cells[tile, None] != cells) | (cells[tile, None] == "")
        same = codes[tile, None] == codes
        cosines = np.where(allowed, points[tile] @ points.T, -np.inf)
        k = min(neighbours, len(points))
        nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        counted = np.take_along_axis(allowed, nearest, axis=1)
        alike = np.take_along_axis(same, nearest, axis=1) & counted
        asked = counted.any(axis=1)
        shares.append((alike.sum(axis=1) / np.maximum(counted.sum(axis=1), 1))[asked])
        chances.append(((same & allowed).sum(axis=1) / np.maximum(allowed.sum(axis=1), 1))[asked])
    share, chance = (np.concatenate(x) if x else np.array([]) for x in (shares, chances))
    if not len(share):
        return Purity(float("nan"), float("nan"), 0, len(set(codes.tolist())))
    return Purity(float(share.mean()), float(chance.mean()), len(share), len(set(codes.tolist())))


def purities(
    points: np.ndarray,
    columns: Mapping[str, np.ndarray],
    attributes: Sequence[Attribute] = ATTRIBUTES,
    neighbours: int = NEIGHBOURS,
) -> dict[str, Purity]:
    """Computes the purity of each attribute with at least two values, by title; see `purity`."""
    return {
        attribute.title: purity(points, columns, attribute, neighbours)
        for attribute in tqdm(attributes, "neighbours", leave=False, disable=None)
        if len(set(columns[attribute.column].tolist()) - {""}) > 1
    }
