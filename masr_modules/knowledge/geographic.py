"""A source for places: the nearer they are on the globe, the more similar."""

import numpy as np
from sklearn.metrics.pairwise import haversine_distances

from masr_modules.data.metadata import Metadata
from masr_modules.knowledge.base import LabelSource
from masr_modules.knowledge.languages import language_place
from masr_modules.knowledge.territories import territory_place

#: Mean radius of the Earth (IUGG), in km.
EARTH_RADIUS = 6371.0088

_PLACES = {"language": language_place, "region": territory_place}


class Geographic(LabelSource):
    """Similarity of places: exp(-km / length_scale), with km along the great circle.

    A language's place is the one point that URIEL+ (Glottolog) gives for it. A territory's
    place is that of its main time zone, see `territories.territory_place`.

    Arguments
    ---------
    column : str
        The CSV column that holds languages or territories.
    kind : str
        What the column holds: "language" (codes of any kind, see ``resolve_language``) or
        "region" (ISO 3166-1 codes of two letters).
    length_scale : float
        The distance in km at which the similarity has fallen to 0.37.
    weight : float
        Weight of the source against the others, at least 0.
    on_unknown : str
        What to do with a label that names no language or territory: "error" raises an error,
        "missing" leaves its pairs out.
    metadata : Metadata
        Metadata of the corpus, whose labels are compared.

    Raises
    ------
    KeyError
        If the metadata lack the column.
    ValueError
        If the kind, the length scale, the weight or ``on_unknown`` has a wrong value, if there is
        no metadata, or if a label names no language or territory and ``on_unknown`` is "error".

    Example
    -------
    >>> import torch
    >>> metadata = Metadata.from_columns({"region": ["DE", "FR"]})  # their capitals: 875 km
    >>> region = Geographic("region", kind="region", length_scale=1000, metadata=metadata)
    >>> region.pairs(torch.tensor([0]), torch.tensor([0, 1, -1]))[0]
    tensor([[1.0000, 0.4169, 0.0000]])
    """

    def __init__(
        self,
        column: str = "language",
        kind: str = "language",
        length_scale: float = 1000.0,
        weight: float = 1.0,
        on_unknown: str = "error",
        metadata: Metadata | None = None,
    ):
        if kind not in _PLACES:
            raise ValueError(
                f"{self.named(column)}: kind must be one of {', '.join(_PLACES)}, got {kind!r}"
            )
        self.kind = kind
        self.length_scale = self._positive(column, "length_scale", length_scale)
        super().__init__(column, weight, on_unknown, metadata)

    def similarities(self, vocabulary: list[str]) -> np.ndarray:
        """Compares places; see :meth:`LabelSource.similarities`."""
        places = self._find(vocabulary, _PLACES[self.kind])
        if not places:
            return np.full((len(vocabulary),) * 2, np.nan)
        kilometres = EARTH_RADIUS * haversine_distances(np.radians(list(places.values())))
        return self._among(vocabulary, places, np.exp(-kilometres / self.length_scale))
