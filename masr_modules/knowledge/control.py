"""A source without knowledge, as a control."""

import hashlib

import numpy as np

from masr_modules.data.metadata import Metadata
from masr_modules.knowledge.base import LabelSource


class RandomSimilarity(LabelSource):
    """Random similarities, fixed for each pair of labels by the seed.

    This is a control: whatever the knowledge of a source gains must be lost when this source
    replaces it.

    Arguments
    ---------
    column : str
        The CSV column whose labels are compared.
    weight : float
        Weight of the source against the others, at least 0.
    seed : int
        Seed of the draws.
    metadata : Metadata
        Metadata of the corpus, whose labels are compared.

    Raises
    ------
    ValueError
        If the weight is negative or not a number, or there is no metadata.

    Example
    -------
    >>> import torch
    >>> metadata = Metadata.from_columns({"language": ["fra", "spa", "deu"]})
    >>> source = RandomSimilarity("language", metadata=metadata)
    >>> table, _ = source.pairs(torch.arange(3), torch.arange(3))
    >>> table.diagonal().tolist(), bool((table == table.T).all())
    ([1.0, 1.0, 1.0], True)
    """

    def __init__(
        self,
        column: str,
        weight: float = 1.0,
        seed: int = 0,
        metadata: Metadata | None = None,
    ):
        self.seed = seed
        super().__init__(column, weight, metadata=metadata)

    def similarities(self, vocabulary: list[str]) -> np.ndarray:
        """Draws uniformly from [0, 1) for different labels; see :meth:`LabelSource.similarities`.

        The draws depend on the seed and the two labels alone.
        """
        return np.array([[self._draw(a, b) for b in vocabulary] for a in vocabulary])

    def _draw(self, first: str, second: str) -> float:
        if first == second:
            return 1.0
        text = f"{self.seed}|{min(first, second)}|{max(first, second)}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
