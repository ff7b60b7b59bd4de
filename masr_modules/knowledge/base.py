"""What all knowledge sources share."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from masr_modules.data.metadata import NUMERIC_COLUMNS

logger = logging.getLogger(__name__)

Found = TypeVar("Found")


class KnowledgeSource:
    """Base of the knowledge sources: pair-wise similarity from one metadata column.

    A new source sets ``reads`` and defines ``pairs``; where it needs the labels themselves,
    it defines ``bind`` too. If its similarity depends on the two labels alone, derive it from
    :class:`LabelSource`.

    Arguments
    ---------
    column : str
        The CSV column that the source reads.
    weight : float
        Weight of the source against the others, at least 0.

    Raises
    ------
    ValueError
        If the column has no name, or the weight is negative or not a number.

    Example
    -------
    >>> class Constant(KnowledgeSource):
    ...     def pairs(self, rows, columns):
    ...         shape = (len(rows), len(columns))
    ...         return torch.ones(shape), torch.ones(shape, dtype=torch.bool)
    >>> Constant("speaker").pairs(torch.tensor([0, 1]), torch.tensor([0]))[0].shape
    torch.Size([2, 1])
    """

    #: How the column becomes a tensor: "labels" (int64 codes, -1 missing) or "numbers".
    reads = "labels"

    def __init__(self, column: str, weight: float = 1.0):
        name = type(self).__name__
        if not isinstance(column, str) or not column:
            raise ValueError(f"{name}: column must name a CSV column, got {column!r}")
        self.column = column
        self.weight = _float(weight)
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"{self}: weight must be at least 0, got {weight!r}")

    def __str__(self) -> str:
        return f"{type(self).__name__} on '{self.column}'"

    def bind(self, vocabulary: list[str]) -> None:
        """Makes the column's labels known; called before ``pairs``, again at no cost.

        Arguments
        ---------
        vocabulary : list[str]
            The column's labels; the codes given to ``pairs`` index it.
        """

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Compares each utterance of one set with each of another.

        Arguments
        ---------
        rows : Tensor
            Values of the column for B utterances, shape (B,): codes (int64, -1 where missing)
            or, where the source reads numbers, float32 (NaN where missing).
        columns : Tensor
            The same for C utterances, shape (C,).

        Returns
        -------
        similarity : Tensor
            In [0, 1], float32 of shape (B, C); 0 where it is not valid.
        valid : Tensor
            Where something is known on both sides, bool of shape (B, C).
        """
        raise NotImplementedError

    def _positive(self, name: str, value: float) -> float:
        """A setting that must be a number above 0."""
        number = _float(value)
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{self}: {name} must be a number above 0, got {value!r}")
        return number


def _float(value: float) -> float:
    """The number, or NaN where there is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


class LabelSource(KnowledgeSource):
    """Base of the sources whose similarity depends on the two labels alone.

    A new one defines ``similarities``: a table that is computed once for the corpus's labels.
    A batch of pairs is then a look-up.

    Arguments
    ---------
    column : str
        The CSV column that the source reads.
    weight : float
        Weight of the source against the others, at least 0.
    on_unknown : str
        What a label that the source cannot place is: "error", or "missing" to leave its
        pairs out.

    Raises
    ------
    ValueError
        If the weight or ``on_unknown`` is none of the above.

    Example
    -------
    >>> class SameInitial(LabelSource):
    ...     def similarities(self, vocabulary):
    ...         return np.array([[float(a[0] == b[0]) for a in vocabulary] for b in vocabulary])
    >>> source = SameInitial("speaker")
    >>> source.bind(["ann", "art", "bob"])
    >>> similarity, valid = source.pairs(torch.tensor([0]), torch.tensor([1, 2, -1]))
    >>> similarity.tolist(), valid.tolist()
    ([[1.0, 0.0, 0.0]], [[True, True, False]])
    """

    def __init__(self, column: str, weight: float = 1.0, on_unknown: str = "error"):
        super().__init__(column, weight)
        if on_unknown not in ("error", "missing"):
            raise ValueError(f"{self}: on_unknown must be 'error' or 'missing', got {on_unknown!r}")
        self.on_unknown = on_unknown
        self._vocabulary: list[str] | None = None
        self._tables: dict[torch.device, _PairTable] = {}

    def similarities(self, vocabulary: list[str]) -> np.ndarray:
        """Compares the labels with each other.

        Arguments
        ---------
        vocabulary : list[str]
            L labels.

        Returns
        -------
        np.ndarray
            In [0, 1], shape (L, L); NaN where nothing is known.
        """
        raise NotImplementedError

    def bind(self, vocabulary: list[str]) -> None:
        """Computes the table of the column's labels.

        Arguments
        ---------
        vocabulary : list[str]
            The column's labels; the codes given to ``pairs`` index it.

        Raises
        ------
        ValueError
            If the source cannot place a label and ``on_unknown`` is "error".
        """
        if vocabulary == self._vocabulary:
            return
        self._tables = {torch.device("cpu"): _PairTable.of(self.similarities(vocabulary))}
        self._vocabulary = list(vocabulary)

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Looks the pairs up; see :meth:`KnowledgeSource.pairs`."""
        if self._vocabulary is None:
            raise RuntimeError(f"{self}: call bind(vocabulary) before pairs()")
        if rows.device not in self._tables:
            self._tables[rows.device] = self._tables[torch.device("cpu")].to(rows.device)
        return self._tables[rows.device].look_up(rows, columns)

    def _find(
        self, vocabulary: list[str], find: Callable[[str], Found | None]
    ) -> list[Found | None]:
        """What each label stands for, None where nothing is known.

        A label that ``find`` raises a ValueError for is treated as ``on_unknown`` says.
        """
        found = []
        for label in vocabulary:
            try:
                found.append(find(label))
            except ValueError as problem:
                if self.on_unknown == "error":
                    raise ValueError(
                        f"{self}: label {label!r} in column '{self.column}': {problem}; or leave "
                        "the cell empty, or pass on_unknown='missing' to leave its pairs out"
                    ) from None
                found.append(None)
        unknown = [label for label, it in zip(vocabulary, found, strict=True) if it is None]
        if unknown:
            logger.warning(
                "%s: nothing is known of %s. Their pairs are left out.", self, ", ".join(unknown)
            )
        return found


class _PairTable:
    """A table of similarities laid out for looking up many pairs fast.

    Copying whole rows is several times faster than gathering single numbers, so the shorter
    side of the table is gathered first. Validity has few different rows, mostly two (label
    known or not): each is held once.

    Arguments
    ---------
    values : Tensor
        (L + 1, L + 1) float32, 0 where not known; the last row and column are those of a
        missing label.
    patterns : Tensor
        (U, L + 1) bool, the different rows of the validity.
    pattern_of : Tensor
        (L + 1,) int64, each label's row of ``patterns``.
    """

    def __init__(self, values: Tensor, patterns: Tensor, pattern_of: Tensor):
        self.values, self.patterns, self.pattern_of = values, patterns, pattern_of

    @classmethod
    def of(cls, similarities: np.ndarray) -> "_PairTable":
        """From the (L, L) similarities of the labels, NaN where not known."""
        table = np.pad(similarities.astype(np.float32), (0, 1), constant_values=np.nan)
        known = ~np.isnan(table)
        first: dict[bytes, int] = {}  # a row of the validity -> where it first occurs
        pattern_of = [first.setdefault(row.tobytes(), len(first)) for row in known]
        patterns = np.stack([np.frombuffer(row, dtype=bool) for row in first])
        arrays = (np.where(known, table, np.float32(0)), patterns, np.array(pattern_of))
        return cls(*(torch.from_numpy(array) for array in arrays))

    def to(self, device: torch.device) -> "_PairTable":
        """The same on a device."""
        return _PairTable(*(t.to(device) for t in (self.values, self.patterns, self.pattern_of)))

    def look_up(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity and validity (B, C) of codes (B,) and (C,), -1 where missing."""
        size = len(self.values)
        rows, columns = rows.remainder(size), columns.remainder(size)  # -1 is the last
        if size <= len(rows):
            similarity = self.values.index_select(1, columns).index_select(0, rows)
        else:
            similarity = self.values.index_select(0, rows).index_select(1, columns)
        valid = self.patterns.index_select(1, columns)
        return similarity, valid.index_select(0, self.pattern_of.index_select(0, rows))


def numeric_columns(sources: Iterable[KnowledgeSource]) -> set[str]:
    """The columns that the sources read as numbers.

    Arguments
    ---------
    sources : iterable of KnowledgeSource
        All sources of an experiment.

    Raises
    ------
    ValueError
        If a source reads labels from a column that holds numbers.

    Example
    -------
    >>> from masr_modules.knowledge import Categorical, Numeric
    >>> numeric_columns([Categorical("speaker"), Numeric("year", length_scale=5)])
    {'year'}
    """
    sources = list(sources)
    numeric = {source.column for source in sources if source.reads == "numbers"}
    for source in sources:
        if source.reads == "labels" and source.column in numeric | set(NUMERIC_COLUMNS):
            raise ValueError(
                f"{source}: the column is read as numbers, this source compares labels; "
                f"use Numeric, or copy the column under another name"
            )
    return numeric
