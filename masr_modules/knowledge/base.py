"""Base classes of the knowledge sources."""

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

    A source is complete once it is constructed. A new kind of source sets ``reads`` and defines
    ``pairs``. If its similarity depends on the two labels alone, derive it from
    :class:`LabelSource`.

    Arguments
    ---------
    column : str
        The CSV column that the source reads.
    weight : float
        Weight of the source against the others, at least 0.
    metadata : Metadata, optional
        Metadata of the corpus; if it is given, it must hold the column as the source reads it.

    Raises
    ------
    KeyError
        If the metadata lack the column.
    ValueError
        If the column has no name, the weight is negative or not a number, or the column holds
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

    #: The kind of tensor that the source reads: "labels" (int64 codes, -1 where missing) or
    #: "numbers" (float32, NaN where missing).
    reads: Literal["labels", "numbers"] = "labels"

    def __init__(self, column: str, weight: float = 1.0, metadata: Metadata | None = None):
        self.column = check_column(type(self), column)
        self.weight = _float(weight)
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"{self}: weight must be at least 0, got {weight!r}")
        #: The labels whose codes ``pairs`` reads; None for a source that takes codes of any corpus.
        self.vocabulary: list[str] | None = None
        if metadata is not None:
            self.check(metadata)

    @classmethod
    def named(cls, column: str) -> str:
        """Returns the name of such a source on a column, for messages."""
        return f"{cls.__name__} on '{column}'"

    def __str__(self) -> str:
        return self.named(self.column)

    def check(self, metadata: Metadata) -> None:
        """Checks that the source can read a corpus.

        Arguments
        ---------
        metadata : Metadata
            Metadata of the corpus.

        Raises
        ------
        KeyError
            If the column is not there.
        ValueError
            If the column holds numbers where the source reads labels, or the other way round, or
            if its labels are not those for which the source was built.
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
            float32 of shape (B, C), in [0, 1]; 0 where it is not valid.
        valid : torch.Tensor
            bool of shape (B, C): True where the column is known for both utterances.
        """
        raise NotImplementedError

    def _labels(self, metadata: Metadata | None) -> list[str]:
        """Returns the labels of the column, for a source that makes a table of them."""
        if metadata is None:
            raise ValueError(
                f"{type(self).__name__}: its table needs the labels of a corpus: in a YAML write "
                f"`!name:{_yaml_name(type(self))}` in place of `!new:`; in Python pass metadata="
            )
        return metadata.vocabulary(self.column)

    @classmethod
    def _positive(cls, column: str, name: str, value: Any) -> float:
        """Returns a setting as a number, which must be above 0."""
        number = _float(value)
        if not (math.isfinite(number) and number > 0):
            raise ValueError(f"{cls.named(column)}: {name} must be a number above 0, got {value!r}")
        return number


def check_column(kind: type[KnowledgeSource], column: Any) -> str:
    """Returns the column if it can be a column's name, and raises a ValueError otherwise."""
    if not isinstance(column, str) or not column:
        raise ValueError(f"{kind.__name__}: column must name a CSV column, got {column!r}")
    return column


def _yaml_name(kind: type[KnowledgeSource]) -> str:
    """Returns the shortest dotted name of a class that a YAML can use."""
    offered = getattr(knowledge, kind.__name__, None) is kind
    return f"{knowledge.__name__ if offered else kind.__module__}.{kind.__name__}"


def _float(value: Any) -> float:
    """Returns the value as a number, or NaN if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


class LabelSource(KnowledgeSource):
    """Base of the sources whose similarity depends on the two labels alone.

    A new kind of source defines ``similarities``. As its last step, this constructor calls it
    once for the labels of the corpus; pairs are then looked up in the table. A source that has
    settings of its own sets them before it calls this constructor.

    Arguments
    ---------
    column : str
        The CSV column that the source reads.
    weight : float
        Weight of the source against the others, at least 0.
    on_unknown : str
        What to do with a label that the source cannot place: "error" raises an error, "missing"
        leaves its pairs out.
    metadata : Metadata
        Metadata of the corpus, whose labels are compared.

    Raises
    ------
    KeyError
        If the metadata lack the column.
    ValueError
        If the weight or ``on_unknown`` has a wrong value, if there is no metadata, if the column
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
            Similarities of shape (L, L), in [0, 1]; NaN where nothing is known.
        """
        raise NotImplementedError

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Looks the pairs up; see :meth:`KnowledgeSource.pairs`."""
        return self._tables[rows.device].look_up(rows, columns)

    def _find(self, vocabulary: list[str], find: Callable[[str], Found | None]) -> dict[int, Found]:
        """Returns the code of each label -> the meaning that ``find`` returns for it.

        A label for which ``find`` returns None is left out and named in a warning. So is one for
        which it raises a ValueError, unless ``on_unknown`` is "error".
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
        """Extends a table of the labels with these codes to all labels, with NaN for the others."""
        known = list(codes)
        whole = np.full((len(vocabulary),) * 2, np.nan)
        whole[np.ix_(known, known)] = table
        return whole
