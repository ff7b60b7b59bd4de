"""A source for sets: the more members two cells share, the more similar."""

import torch
import torch.nn.functional as F
from torch import Tensor

from masr_modules.data.labels import clean_label
from masr_modules.data.metadata import Metadata
from masr_modules.knowledge.base import KnowledgeSource
from masr_modules.knowledge.labels import known_pairs
from masr_modules.knowledge.pair_table import OnEachDevice, PairTable

# With more different cells, a table is no faster than comparing the sets of each batch.
_LARGEST_TABLE = 1024


class SetOverlap(KnowledgeSource):
    """Similarity of sets: the size of their intersection over that of their union (Jaccard).

    A cell lists the members of a set, in any order: "a|b", "b|a" and " a | b" are equal.
    A cell that is empty or holds separators alone is missing.

    Arguments
    ---------
    column : str
        The CSV column that holds the sets, such as tags or languages that a speaker knows.
    separator : str
        The text between two members.
    weight : float
        Weight of the source against the others, at least 0.
    metadata : Metadata
        Metadata of the corpus, whose cells are compared.

    Raises
    ------
    KeyError
        If the metadata lack the column.
    ValueError
        If the separator is empty or blank, the weight is negative, there is no metadata, or its
        column holds numbers.

    Example
    -------
    >>> metadata = Metadata.from_columns({"speaks": ["de|fr", "fr | de", "fr|it|rm"]})
    >>> speaks = SetOverlap("speaks", metadata=metadata)
    >>> speaks.pairs(torch.tensor([0]), torch.tensor([1, 2, -1]))[0]
    tensor([[1.0000, 0.2500, 0.0000]])
    """

    def __init__(
        self,
        column: str,
        separator: str = "|",
        weight: float = 1.0,
        metadata: Metadata | None = None,
    ):
        super().__init__(column, weight, metadata)
        if not isinstance(separator, str) or not separator.strip():
            raise ValueError(f"{self}: separator must not be blank, got {separator!r}")
        self.separator = separator
        self.vocabulary = self._labels(metadata)
        members = self._read(self.vocabulary)
        self._members = OnEachDevice(members)
        self._tables: OnEachDevice[PairTable] | None = None
        if len(self.vocabulary) <= _LARGEST_TABLE:
            similarity, valid = _jaccard(members[:-1], members[:-1])
            table = similarity.masked_fill(~valid, torch.nan).numpy()
            self._tables = OnEachDevice(PairTable.of(table))

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Compares sets; see :meth:`KnowledgeSource.pairs`."""
        if self._tables is not None:
            return self._tables[rows.device].look_up(rows, columns)
        members = self._members[rows.device]
        return _jaccard(members[rows], members[columns])  # code -1 is the last row: no members

    def _read(self, vocabulary: list[str]) -> Tensor:
        """Returns (L + 1, M) int64 members of the cells, padded with -1; the last row has none."""
        sets = [
            {clean_label(name) for name in cell.split(self.separator)} - {""} for cell in vocabulary
        ]
        numbers = {name: i for i, name in enumerate(sorted(set().union(*sets)))}
        members = torch.full((len(sets) + 1, max([1, *map(len, sets)])), -1)
        for row, names in zip(members, sets, strict=False):
            row[: len(names)] = torch.tensor([numbers[name] for name in names], dtype=torch.long)
        return members


def _jaccard(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the (B, C) similarity and validity of (B, M) and (C, M) sets, padded with -1."""
    # Only the members that occur here get a place, however many there are in the corpus.
    occurring, places = torch.unique(torch.cat([rows, columns]), return_inverse=True)
    row_places, column_places = places.split([len(rows), len(columns)])
    holds = torch.zeros(len(occurring), len(columns), device=rows.device)
    holds.scatter_(0, column_places.T, 1.0)
    holds[occurring < 0] = 0.0
    # This sums the few rows of `holds` that belong to a set, which is far less work than a product
    # of matrices over all members.
    shared = F.embedding_bag(row_places, holds, mode="sum")
    row_sizes, column_sizes = (rows >= 0).sum(dim=1), (columns >= 0).sum(dim=1)
    # At least 1, so that two sets without members get 0 and not 0/0.
    union = torch.sub(row_sizes.float().unsqueeze(1), shared).add_(column_sizes).clamp_(min=1.0)
    return shared.div_(union), known_pairs(row_sizes > 0, column_sizes > 0)
