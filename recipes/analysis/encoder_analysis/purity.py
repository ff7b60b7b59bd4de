"""Are an utterance's neighbours like it? Attribute by attribute."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from masr_modules.metrics.probes import NEIGHBOURS

_TILE = 500  # utterances whose neighbours are sought at a time


class Attribute(NamedTuple):
    """What shall be alike.

    Arguments
    ---------
    title : str
        Of the table's row.
    column : str
        Whose values are compared.
    different : tuple of str
        Columns in which a neighbour must differ: the speaker, so that a speaker is not taken for
        what is asked.
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
        Mean over utterances; NaN where nothing could be asked.
    chance : float
        The same of all utterances that could have been neighbours.
    utterances, values : int
        Utterances that were asked, and the different values they have.
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
    """Fraction of the nearest neighbours, by cosine, that have the same value.

    Only utterances whose value is known are asked and can be neighbours. A speaker that is not
    known (an empty cell) counts as different from all others. O(N^2 D), in tiles.

    Arguments
    ---------
    points : np.ndarray
        (N, D) of unit length.
    columns : mapping of str to np.ndarray
        Column -> (N,) values, "" where not known.
    attribute : Attribute
        What is asked.
    neighbours : int
        k; fewer where there are fewer candidates.

    Returns
    -------
    Purity

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
    """Title -> purity, of the attributes with two values or more; see `purity`."""
    return {
        attribute.title: purity(points, columns, attribute, neighbours)
        for attribute in tqdm(attributes, "neighbours", leave=False, disable=None)
        if len(set(columns[attribute.column].tolist()) - {""}) > 1
    }
