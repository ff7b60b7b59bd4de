"""Sets: how many of their members two cells share."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from masr_modules.knowledge.base import LabelSource
from masr_modules.knowledge.labels import known_pairs

# For more cells than this a table is no faster than comparing the sets of each batch.
_LARGEST_TABLE = 1024


class SetOverlap(LabelSource):
    """Similarity of sets: the share of their members that both have (Jaccard).

    A cell lists the members of a set, in any order: "a|b", "b|a" and " a | b" are equal.
    An empty cell, and one of separators alone, is missing.

    Arguments
    ---------
    column : str
        The CSV column that holds the sets, such as tags or languages that a speaker knows.
    separator : str
        What stands between two members.
    weight : float
        Weight of the source against the others, at least 0.

    Raises
    ------
    ValueError
        If the separator is empty or blank, or the weight is negative.

    Example
    -------
    >>> speaks = SetOverlap("speaks")
    >>> speaks.bind(["de|fr", "fr | de", "fr|it|rm"])
    >>> speaks.pairs(torch.tensor([0]), torch.tensor([1, 2, -1]))[0]
    tensor([[1.0000, 0.2500, 0.0000]])
    """

    def __init__(self, column: str, separator: str = "|", weight: float = 1.0):
        super().__init__(column, weight)
        if not isinstance(separator, str) or not separator.strip():
            raise ValueError(f"{self}: separator must not be blank, got {separator!r}")
        self.separator = separator
        self._members: dict[torch.device, Tensor] = {}

    def bind(self, vocabulary: list[str]) -> None:
        """Reads the cells; see :meth:`LabelSource.bind`."""
        if vocabulary == self._vocabulary:
            return
        self._members = {torch.device("cpu"): self._read(vocabulary)}
        if len(vocabulary) <= _LARGEST_TABLE:
            super().bind(vocabulary)
        self._vocabulary = list(vocabulary)

    def similarities(self, vocabulary: list[str]) -> np.ndarray:
        """Compares sets; see :meth:`LabelSource.similarities`."""
        members = self._read(vocabulary)[:-1]
        similarity, valid = _jaccard(members, members)
        return similarity.masked_fill(~valid, torch.nan).numpy()

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Compares sets; see :meth:`KnowledgeSource.pairs`."""
        if self._vocabulary is None or len(self._vocabulary) <= _LARGEST_TABLE:
            return super().pairs(rows, columns)
        if rows.device not in self._members:
            self._members[rows.device] = self._members[torch.device("cpu")].to(rows.device)
        members = self._members[rows.device]
        return _jaccard(members[rows], members[columns])  # code -1 is the last row: no members

    def _read(self, vocabulary: list[str]) -> Tensor:
        """Members of each cell, (L + 1, M) int64, filled up with -1; the last row has none."""
        sets = [{name.strip() for name in cell.split(self.separator)} - {""} for cell in vocabulary]
        numbers = {name: i for i, name in enumerate(sorted(set().union(*sets)))}
        members = torch.full((len(sets) + 1, max([1, *map(len, sets)])), -1)
        for row, names in zip(members, sets, strict=False):
            row[: len(names)] = torch.tensor([numbers[name] for name in names], dtype=torch.long)
        return members


def _jaccard(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity and validity (B, C) of sets (B, M) and (C, M), filled up with -1."""
    # Only the members that occur here get a place, however many there are in the corpus.
    occurring, places = torch.unique(torch.cat([rows, columns]), return_inverse=True)
    row_places, column_places = places.split([len(rows), len(columns)])
    holds = torch.zeros(len(occurring), len(columns), device=rows.device)
    holds.scatter_(0, column_places.T, 1.0)
    holds[occurring < 0] = 0.0
    # Sums the few rows of `holds` that belong to a set: far less work than a product of
    # matrices as wide as there are members.
    shared = F.embedding_bag(row_places, holds, mode="sum")
    row_sizes, column_sizes = (rows >= 0).sum(dim=1), (columns >= 0).sum(dim=1)
    # At least 1, so that two sets without members get 0 and not 0/0.
    union = torch.sub(row_sizes.float().unsqueeze(1), shared).add_(column_sizes).clamp_(min=1.0)
    return shared.div_(union), known_pairs(row_sizes > 0, column_sizes > 0)
