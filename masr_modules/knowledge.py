"""Knowledge sources: what a metadata column says about how alike two utterances are.

Each source turns the codes of one column into a similarity S^k in [0, 1] and a validity
V^k, which is False where nothing is known about a pair. ``masr_modules.similarity``
combines them.
"""

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from masr_modules.languages import DISTANCE_KINDS, language_distances, resolve_language

__all__ = ["Categorical", "KnowledgeSource", "LanguageDistance", "resolve_language"]

logger = logging.getLogger(__name__)


class KnowledgeSource:
    """Base of the knowledge sources: pair-wise similarity from one metadata column.

    A new source sets ``reads`` and defines ``pairs``; where it needs the labels themselves,
    it defines ``bind`` too.

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
        self.weight = float(weight)
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"{name} on '{column}': weight must be at least 0, got {weight}")

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


class Categorical(KnowledgeSource):
    """Similarity 1 where the labels are equal, 0 where they differ.

    Arguments
    ---------
    column : str
        The CSV column that the source reads, such as ``speaker`` or ``gender``.
    weight : float
        Weight of the source against the others, at least 0.

    Raises
    ------
    ValueError
        If the weight is negative or not a number.

    Example
    -------
    >>> gender = Categorical("gender")
    >>> gender.bind(["female", "male"])
    >>> similarity, valid = gender.pairs(torch.tensor([0, 1]), torch.tensor([0, -1]))
    >>> similarity
    tensor([[1., 0.],
            [0., 0.]])
    >>> valid
    tensor([[ True, False],
            [ True, False]])
    """

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Compares labels; see :meth:`KnowledgeSource.pairs`."""
        valid = (rows >= 0).unsqueeze(1) & (columns >= 0).unsqueeze(0)
        equal = rows.unsqueeze(1) == columns.unsqueeze(0)
        return (equal & valid).float(), valid


class LanguageDistance(KnowledgeSource):
    """Similarity of languages: 1 minus their distance in URIEL+.

    The distances are those of URIEL+ (Khan et al., 2024, arXiv 2409.18472), the successor
    of URIEL (Littell et al., 2017). Several kinds are averaged over those that are known
    for the pair. An utterance of the same language has similarity 1.

    Arguments
    ---------
    column : str
        The CSV column that holds language codes.
    kinds : str or Sequence[str]
        Kinds of distance: genetic, geographic, featural, syntactic, phonological,
        inventory, morphological, script.
    weight : float
        Weight of the source against the others, at least 0.
    on_unknown : str
        What a label that names no language is: "error", or "missing" to leave its
        pairs out.

    Raises
    ------
    ValueError
        If a kind, the weight or ``on_unknown`` is none of the above.

    Example
    -------
    >>> language = LanguageDistance(kinds="genetic")
    >>> language.bind(["nob", "swe", "fin"])
    >>> similarity, valid = language.pairs(torch.tensor([0]), torch.tensor([0, 1, 2, -1]))
    >>> similarity
    tensor([[1.0000, 0.5212, 0.0000, 0.0000]])
    >>> valid
    tensor([[ True,  True,  True, False]])
    """

    def __init__(
        self,
        column: str = "language",
        kinds: str | Sequence[str] = ("genetic", "geographic", "featural"),
        weight: float = 1.0,
        on_unknown: str = "error",
    ):
        super().__init__(column, weight)
        self.kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        unknown = [kind for kind in self.kinds if kind not in DISTANCE_KINDS]
        if unknown or not self.kinds:
            raise ValueError(
                f"{self}: kinds must be one or more of {', '.join(DISTANCE_KINDS)}, got {kinds!r}"
            )
        if on_unknown not in ("error", "missing"):
            raise ValueError(f"{self}: on_unknown must be 'error' or 'missing', got {on_unknown!r}")
        self.on_unknown = on_unknown
        self._vocabulary: list[str] | None = None
        self._tables: dict[torch.device, Tensor] = {}

    def __str__(self) -> str:
        return f"{type(self).__name__} on '{self.column}'"

    def bind(self, vocabulary: list[str]) -> None:
        """Looks up the distances between the column's languages.

        Arguments
        ---------
        vocabulary : list[str]
            The column's labels; the codes given to ``pairs`` index it.

        Raises
        ------
        ValueError
            If a label names no language and ``on_unknown`` is "error".
        """
        if vocabulary == self._vocabulary:
            return
        table = self._similarities(vocabulary)
        self._tables = {torch.device("cpu"): torch.from_numpy(table)}
        self._vocabulary = list(vocabulary)

    def pairs(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Compares languages; see :meth:`KnowledgeSource.pairs`."""
        if self._vocabulary is None:
            raise RuntimeError(f"{self}: call bind(vocabulary) before pairs()")
        if rows.device not in self._tables:
            self._tables[rows.device] = self._tables[torch.device("cpu")].to(rows.device)
        # Code -1 indexes the last row and column, which are NaN.
        similarity = self._tables[rows.device][rows.unsqueeze(1), columns.unsqueeze(0)]
        return similarity.nan_to_num(nan=0.0), ~similarity.isnan()

    def _similarities(self, vocabulary: list[str]) -> np.ndarray:
        """Similarities (L + 1, L + 1) of the labels, NaN where not known and at the end."""
        resolved = [self._resolve(label) for label in vocabulary]
        labels = [label for label, code in enumerate(resolved) if code is not None]
        codes = [resolved[label] for label in labels]
        distances = np.stack([language_distances(codes, kind) for kind in self.kinds])
        self._warn_of_gaps(vocabulary, resolved, distances)
        known = ~np.isnan(distances)
        total, count = np.where(known, distances, 0.0).sum(axis=0), known.sum(axis=0)
        mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        table = np.full((len(vocabulary) + 1,) * 2, np.nan, dtype=np.float32)
        table[np.ix_(labels, labels)] = 1.0 - mean
        return table

    def _resolve(self, label: str) -> str | None:
        try:
            return resolve_language(label)
        except ValueError as problem:
            if self.on_unknown == "missing":
                return None
            raise ValueError(
                f"{self}: label {label!r} in column '{self.column}': {problem}; or leave the "
                "cell empty, or pass on_unknown='missing' to leave its pairs out"
            ) from None

    def _warn_of_gaps(
        self, vocabulary: Sequence[str], resolved: Sequence[str | None], distances: np.ndarray
    ) -> None:
        nameless = [label for label, code in zip(vocabulary, resolved, strict=True) if not code]
        gaps = [f"no language is named by {', '.join(nameless)}"] if nameless else []
        codes = [code for code in resolved if code]
        for kind, table in zip(self.kinds, distances, strict=True):
            empty = np.isnan(table.diagonal())
            missing = sorted({code for code, gap in zip(codes, empty, strict=True) if gap})
            if missing:
                gaps.append(f"URIEL+ has no {kind} features of {', '.join(missing)}")
        if gaps:
            logger.warning(
                "%s: %s. Their pairs use the other kinds, or are left out.", self, "; ".join(gaps)
            )
