"""What all knowledge sources share."""

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

import numpy as np
from torch import Tensor

from masr_modules import knowledge
from masr_modules.data.metadata import Metadata
from masr_modules.knowledge.pair_table import OnEachDevice, PairTable

logger = logging.getLogger(__name__)

Found = TypeVar("Found")


class KnowledgeSource:
    """Base of the knowledge sources: pairwise similarity from one metadata column.

    A source is whole when it is constructed. A new one sets ``reads`` and defines ``pairs``. If
    its similarity depends on the two labels alone, derive it from :class:`LabelSource`.

    Arguments
    ---------
    column : str
        The CSV column that the source reads.
    weight : float
        Weight of the source against the others, at least 0.
    metadata : Metadata, optional
        Of the corpus; where it is given, the column must be there as the source reads it.

    Raises
    ------
    KeyError
        If the metadata lack the column.
    ValueError
        If the column has no name, or the weight is negative or not a number. If the column holds
        labels where the source reads numbers, or the other way round.

    Example
    -------
    >>> import torch
    >>> class Constant(KnowledgeSource):
    ...     def pairs(self, rows, columns):
    ...         shape = (len(rows), len(columns))
    ...         return torch.ones(shape), torch.ones(shape, dtype=torch.bool)
    >>> Constant("speaker").pairs(torch.tensor([0, 1]), torch.tensor([0]))[0].shape
    torch.Size([2, 1])
    """

    #: How the column becomes a tensor: "labels" (int64 codes, -1 missing) or "numbers".
    reads: Literal["labels", "numbers"] = "labels"

    def __init__(self, column: str, weight: float = 1.0, metadata: Metadata | None = None):
        self.column = check_column(type(self), column)
        self.weight = _float(weight)
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"{self}: weight must be at least 0, got {weight!r}")
        #: The labels whose codes ``pairs`` reads; None for a source that any corpus's codes suit.
        self.vocabulary: list[str] | None = None
        if metadata is not None:
            self.check(metadata)

    @classmethod
    def named(cls, column: str) -> str:
        """The name of such a source on a column, as messages have it."""
        return f"{cls.__name__} on '{column}'"

    def __str__(self) -> str:
        return self.named(self.column)

    def check(self, metadata: Metadata) -> None:
        """Makes sure that the source can read a corpus.

        Arguments
        ---------
        metadata : Metadata
            Of the corpus.

        Raises
        ------
        KeyError
            If the column is not there.
        ValueError
            If it does not hold what the source reads, or labels other than the source's own.
        """
        try:
            metadata.require(self.column, reads=self.reads)
        except (KeyError, ValueError) as problem:
            raise type(problem)(f"{self}: {problem.args[0]}") from None
        if self.vocabulary is not None and self.vocabulary != metadata.vocabulary(self.column):
            raise ValueError(
                f"{self}: it was built for a corpus with other labels in column '{self.column}'; "
                "build it with metadata= of this one"
            )

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Compares each utterance of one set with each of another.

        Arguments
        ---------
        rows : torch.Tensor
            Values of the column for B utterances, shape (B,): codes (int64, -1 where missing)
            or, where the source reads numbers, float32 (NaN where missing).
        columns : torch.Tensor
            The same for C utterances, shape (C,).

        Returns
        -------
        similarity : torch.Tensor
            In [0, 1], float32 of shape (B, C); 0 where it is not valid.
        valid : torch.Tensor
            Where something is known of both utterances, bool of shape (B, C).
        """
        raise NotImplementedError

    def _labels(self, metadata: Metadata | None) -> list[str]:
        """The labels of the column, for a source whose table is made of them."""
        if metadata is None:
            raise ValueError(
                f"{type(self).__name__}: its table is of a corpus's labels: in a YAML write "
                f"`!name:{_yaml_name(type(self))}` in the place of `!new:`; in Python pass "
                "metadata="
            )
        return metadata.vocabulary(self.column)

    @classmethod
    def _positive(cls, column: str, name: str, value: Any) -> float:
        """A setting that must be a number above 0."""
        number = _float(value)
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{cls.named(column)}: {name} must be a number above 0, got {value!r}")
        return number


def check_column(kind: type[KnowledgeSource], column: Any) -> str:
    """The column, where it is a name of one."""
    if not isinstance(column, str) or not column:
        raise ValueError(f"{kind.__name__}: column must name a CSV column, got {column!r}")
    return column


def _yaml_name(kind: type[KnowledgeSource]) -> str:
    """The dotted name of a class, the shortest that YAMLs may use."""
    offered = getattr(knowledge, kind.__name__, None) is kind
    return f"{knowledge.__name__ if offered else kind.__module__}.{kind.__name__}"


def _float(value: Any) -> float:
    """The number, or NaN where there is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


class LabelSource(KnowledgeSource):
    """Base of the sources whose similarity depends on the two labels alone.

    A new one defines ``similarities``: a table that is computed once for the corpus's labels, at
    the end of this constructor. A batch of pairs is then a look-up. A source that has settings of
    its own sets them before it calls this constructor.

    Arguments
    ---------
    column : str
        The CSV column that the source reads.
    weight : float
        Weight of the source against the others, at least 0.
    on_unknown : str
        What a label that the source cannot place is: "error", or "missing" to leave its
        pairs out.
    metadata : Metadata
        Of the corpus: its labels are those of the table.

    Raises
    ------
    KeyError
        If the metadata lack the column.
    ValueError
        If the weight or ``on_unknown`` is none of the above, if there is no metadata or its column
        holds numbers, or if the source cannot place a label and ``on_unknown`` is "error".

    Example
    -------
    >>> import torch
    >>> class SameInitial(LabelSource):
    ...     def similarities(self, vocabulary):
    ...         return np.array([[float(a[0] == b[0]) for a in vocabulary] for b in vocabulary])
    >>> metadata = Metadata.from_columns({"speaker": ["ann", "art", "bob"]})
    >>> source = SameInitial("speaker", metadata=metadata)
    >>> similarity, valid = source.pairs(torch.tensor([0]), torch.tensor([1, 2, -1]))
    >>> similarity.tolist(), valid.tolist()
    ([[1.0, 0.0, 0.0]], [[True, True, False]])
    """

    def __init__(
        self,
        column: str,
        weight: float = 1.0,
        on_unknown: str = "error",
        metadata: Metadata | None = None,
    ):
        super().__init__(column, weight, metadata)
        if on_unknown not in ("error", "missing"):
            raise ValueError(f"{self}: on_unknown must be 'error' or 'missing', got {on_unknown!r}")
        self.on_unknown = on_unknown
        self.vocabulary = self._labels(metadata)
        size = len(self.vocabulary)
        table = self.similarities(self.vocabulary) if size else np.empty((0, 0))
        if table.shape != (size, size):
            raise ValueError(
                f"{self}: similarities() of {size} labels must be of shape ({size}, {size}), "
                f"not {table.shape}"
            )
        self._tables = OnEachDevice(PairTable.of(table))

    def similarities(self, vocabulary: list[str]) -> np.ndarray:
        """Compares the labels with each other.

        Arguments
        ---------
        vocabulary : list[str]
            L labels, at least one.

        Returns
        -------
        np.ndarray
            In [0, 1], shape (L, L); NaN where nothing is known.
        """
        raise NotImplementedError

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Looks the pairs up; see :meth:`KnowledgeSource.pairs`."""
        return self._tables[rows.device].look_up(rows, columns)

    def _find(self, vocabulary: list[str], find: Callable[[str], Found | None]) -> dict[int, Found]:
        """Code of a label -> what it stands for, without those of which nothing is known.

        A label that ``find`` raises a ValueError for is treated as ``on_unknown`` says.
        """
        found, unknown = {}, []
        for code, label in enumerate(vocabulary):
            try:
                meaning = find(label)
            except ValueError as problem:
                if self.on_unknown == "error":
                    raise ValueError(
                        f"{self}: label {label!r} in column '{self.column}': {problem}; or leave "
                        "the cell empty, or pass on_unknown='missing' to leave its pairs out"
                    ) from None
                meaning = None
            if meaning is None:
                unknown.append(label)
            else:
                found[code] = meaning
        if unknown:
            logger.warning(
                "%s: nothing is known of %s. Their pairs are left out.", self, ", ".join(unknown)
            )
        return found

    @staticmethod
    def _among(vocabulary: list[str], codes: Iterable[int], table: np.ndarray) -> np.ndarray:
        """A table of some labels, by their codes, among all labels: NaN for the others."""
        known = list(codes)
        whole = np.full((len(vocabulary),) * 2, np.nan)
        whole[np.ix_(known, known)] = table
        return whole
