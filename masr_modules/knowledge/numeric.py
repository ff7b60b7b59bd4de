"""A source for numbers: the nearer they are, the more similar."""

import math

import torch
from torch import Tensor

from masr_modules.data.metadata import Metadata
from masr_modules.knowledge.base import KnowledgeSource
from masr_modules.knowledge.labels import known_pairs

# Lower exponents are raised to it, where exp gives 2e-35: exp of exponents below -87 gives
# subnormal numbers, which are ten times slower.
_SMALLEST_EXPONENT = -80.0


class Numeric(KnowledgeSource):
    """Similarity of numbers a and b: exp(-(a - b)^2 / (2 length_scale^2)).

    The source reads its column as numbers: age, valence, year, signal-to-noise ratio.

    Arguments
    ---------
    column : str
        The CSV column that the source reads.
    length_scale : float
        The difference, in the column's unit, at which the similarity has fallen to 0.61.
    weight : float
        Weight of the source against the others, at least 0.
    metadata : Metadata, optional
        Metadata of the corpus, to check that the column holds numbers.

    Raises
    ------
    KeyError
        If the metadata lack the column.
    ValueError
        If the length scale is not above 0, the weight is negative, or the column holds labels.

    Example
    -------
    >>> age = Numeric("age", length_scale=10.0)
    >>> similarity, valid = age.pairs(torch.tensor([30.0]), torch.tensor([30.0, 40.0, torch.nan]))
    >>> similarity
    tensor([[1.0000, 0.6065, 0.0000]])
    >>> valid
    tensor([[ True,  True, False]])
    """

    reads = "numbers"

    def __init__(
        self,
        column: str,
        length_scale: float,
        weight: float = 1.0,
        metadata: Metadata | None = None,
    ):
        self.length_scale = self._positive(column, "length_scale", length_scale)
        super().__init__(column, weight, metadata)

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Compares numbers; see :meth:`KnowledgeSource.pairs`."""
        row_known, column_known = ~rows.isnan(), ~columns.isnan()
        scale = 1.0 / (math.sqrt(2.0) * self.length_scale)
        # Differences first: scaling years by 1/length_scale would round them.
        similarity = torch.sub(
            rows.nan_to_num(nan=0.0).unsqueeze(1), columns.nan_to_num(nan=0.0).unsqueeze(0)
        )
        similarity.mul_(scale).square_().neg_().clamp_(min=_SMALLEST_EXPONENT).exp_()
        similarity.mul_(row_known.unsqueeze(1)).mul_(column_known.unsqueeze(0))
        return similarity, known_pairs(row_known, column_known)
