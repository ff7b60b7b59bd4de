"""Combining knowledge sources into one pair-wise similarity over the batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from masr_modules.data.metadata import MISSING, Metadata
from masr_modules.knowledge import Categorical, KnowledgeSource


@dataclass
class Similarity:
    """What the knowledge says about each pair of B utterances and C candidates.

    Arguments
    ---------
    values : torch.Tensor
        (B, C) float32 in [0, 1]: S; 0 where not valid.
    valid : torch.Tensor
        (B, C) bool: some source knows the pair.
    positive : torch.Tensor
        (B, C) bool: P, the same identity in another recording.
    negative : torch.Tensor
        (B, C) bool: N, another identity.
    same_recording : torch.Tensor, optional
        (B, C) bool: both sides are one recording. By default the diagonal, where
        B = C, and nothing otherwise.
    alternatives : torch.Tensor, optional
        (B,) bool: one of the positives is right, and which one is not known. None: nowhere.
    one_positive : torch.Tensor, optional
        (B,) int64: the candidate that is the one positive, all others being negatives; -1 where
        there is none of either. None: no such rule, read `positive` and `negative`.
    """

    values: Tensor
    valid: Tensor
    positive: Tensor
    negative: Tensor
    same_recording: Tensor | None = None
    alternatives: Tensor | None = None
    one_positive: Tensor | None = None

    def __post_init__(self):
        if self.same_recording is None:
            rows, columns = self.positive.shape
            itself = torch.eye(rows, columns, dtype=torch.bool, device=self.positive.device)
            self.same_recording = itself if rows == columns else torch.zeros_like(itself)

    @property
    def shape(self) -> tuple[int, int]:
        """(B, C)."""
        return tuple(self.positive.shape)

    def rows(self, start: int, stop: int) -> "Similarity":
        """The same for the utterances from `start` to `stop`: a tile (stop - start, C)."""
        return Similarity(
            self.values[start:stop],
            self.valid[start:stop],
            self.positive[start:stop],
            self.negative[start:stop],
            self.same_recording[start:stop],
            None if self.alternatives is None else self.alternatives[start:stop],
            None if self.one_positive is None else self.one_positive[start:stop],
        )


class CombinedSimilarity:
    """A Similarity that computes what is asked of it, when it is asked.

    The same attributes as Similarity's, each made at its first use and kept; `rows`
    gives a tile of its own. A loss that walks over tiles therefore never holds a
    matrix of size B x C, and one that does not read `values` does not pay for them.
    Made by :func:`combine`.
    """

    def __init__(
        self,
        sources: Sequence[KnowledgeSource],
        metadata: Metadata,
        candidates: Metadata,
        identity: str | None,
        thresholds: tuple[float, float],
        positive_candidates: int | None,
        plausible_by: Sequence[str] = (),
        one_positive: Tensor | None = None,
    ):
        self.sources = sources
        self.metadata = metadata
        self.candidates = candidates
        self.identity = identity
        self.thresholds = thresholds
        self.positive_candidates = positive_candidates
        self.plausible_by = plausible_by
        self.one_positive = one_positive

    @property
    def shape(self) -> tuple[int, int]:
        """(B, C)."""
        return len(self.metadata), len(self.candidates)

    def rows(self, start: int, stop: int) -> "CombinedSimilarity":
        """The same for the utterances from `start` to `stop`: a tile (stop - start, C)."""
        return CombinedSimilarity(
            self.sources,
            self.metadata.select(slice(start, stop)),
            self.candidates,
            self.identity,
            self.thresholds,
            self.positive_candidates,
            self.plausible_by,
            None if self.one_positive is None else self.one_positive[start:stop],
        )

    @property
    def values(self) -> Tensor:
        """See Similarity."""
        return self._mean[0]

    @property
    def valid(self) -> Tensor:
        """See Similarity."""
        return self._mean[1]

    @cached_property
    @torch.no_grad()
    def positive(self) -> Tensor:
        """See Similarity."""
        if self.identity is None:
            positive = self.valid & (self.values >= self.thresholds[0])
        else:
            positive = self._same_identity & self._known
            if self.plausible_by:
                positive |= self._plausible
        positive &= ~self.same_recording
        if self.positive_candidates is not None:
            positive[:, self.positive_candidates :] = False
        return positive

    @cached_property
    @torch.no_grad()
    def negative(self) -> Tensor:
        """See Similarity."""
        if self.identity is None:
            return self.valid & (self.values <= self.thresholds[1]) & ~self.same_recording
        # Another identity is another recording.
        negative = self._known & ~self._same_identity
        if self.plausible_by:
            negative |= self.alternatives.unsqueeze(1) & ~self._plausible
        return negative

    @cached_property
    @torch.no_grad()
    def alternatives(self) -> Tensor | None:
        """See Similarity: where the identity is missing and another column tells of it."""
        if not self.plausible_by:
            return None
        told = torch.zeros(len(self.metadata), dtype=torch.bool, device=self.metadata.device)
        for column in self.plausible_by:
            told |= self.metadata[column] != MISSING
        return told & (self.metadata[self.identity] == MISSING)

    @cached_property
    def _plausible(self) -> Tensor:
        """(B, C) no column contradicts that the candidate is what the utterance may be."""
        plausible = self.alternatives.unsqueeze(1)
        for column in self.plausible_by:
            rows = self.metadata[column].unsqueeze(1)
            columns = self.candidates[column].unsqueeze(0)
            plausible = plausible & ((rows == columns) | (rows == MISSING) | (columns == MISSING))
        return plausible

    @cached_property
    def _codes(self) -> tuple[Tensor, Tensor]:
        return (
            self.metadata[self.identity].unsqueeze(1),
            self.candidates[self.identity].unsqueeze(0),
        )

    @cached_property
    def _same_identity(self) -> Tensor:
        rows, columns = self._codes
        return rows == columns

    @cached_property
    def _known(self) -> Tensor:
        rows, columns = self._codes
        return (rows != MISSING) & (columns != MISSING)

    @cached_property
    def same_recording(self) -> Tensor:
        """See Similarity."""
        rows, columns = self.metadata.ids, self.candidates.ids
        if rows is None or columns is None:
            nothing = torch.zeros(1, 1, dtype=torch.bool, device=self.metadata.device)
            return nothing.expand(self.shape)
        return rows.unsqueeze(1) == columns.unsqueeze(0)

    @cached_property
    @torch.no_grad()
    def _mean(self) -> tuple[Tensor, Tensor]:
        """S and validity. Sources come with S = 0 where they do not know the pair."""
        total = weight = None
        for source in self.sources:
            values, valid = source.pairs(
                self.metadata[source.column], self.candidates[source.column]
            )
            if total is None:
                total, weight = values * source.weight, valid.float().mul_(source.weight)
            else:
                total.add_(values, alpha=source.weight)
                weight.add_(valid, alpha=source.weight)
        if total is None:
            zero = torch.zeros(1, 1, device=self.metadata.device).expand(self.shape)
            return zero, zero.bool().expand(self.shape)
        valid = weight > 0
        # Rounding can lift a mean of ones above 1.
        return total.div_(weight.clamp_(min=1e-12)).clamp_(max=1.0), valid


def combine(
    sources: Sequence[KnowledgeSource],
    metadata: Metadata,
    identity: str | None = "language",
    candidates: Metadata | None = None,
    positive_threshold: float = 0.8,
    negative_threshold: float = 0.2,
    positive_candidates: int | None = None,
    plausible_by: Sequence[str] = (),
    one_positive: Tensor | None = None,
) -> CombinedSimilarity:
    """Weighted mean of the sources over those that know the pair.

    S_ij = sum_k w_k V^k_ij S^k_ij / sum_k w_k V^k_ij. Nothing is computed yet but the
    sources' look-up tables; what is read of the result costs O(B C) a source and is
    without gradient.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        May be empty: then no pair is valid and S is 0.
    metadata : Metadata
        Of the B utterances.
    identity : str, optional
        The label column that says which pairs are positive (equal) and negative
        (different); a pair with it missing is neither. With None, pairs come
        from S: positive at or above `positive_threshold`, negative at or below
        `negative_threshold`.
    candidates : Metadata, optional
        Of the C candidates; by default the batch itself. An utterance is never
        its own pair: on the diagonal, or where `ids` agree.
    positive_threshold, negative_threshold : float
        Only for `identity=None`.
    positive_candidates : int, optional
        Only the first so many candidates may be positives; by default all.
    plausible_by : sequence of str
        Label columns that tell what an utterance without identity may be: candidates that
        agree in all of them are its positives, as alternatives, and the others negatives.
    one_positive : torch.Tensor, optional
        Where candidates are the identity's labels: see Similarity. It must agree with them.

    Returns
    -------
    CombinedSimilarity
        With the attributes of Similarity, made when they are read.

    Raises
    ------
    KeyError
        If the identity's or a source's column is not in the metadata.
    ValueError
        If the negative threshold is not below the positive one.

    Example
    -------
    >>> from masr_modules.knowledge import Categorical
    >>> metadata = Metadata.from_columns(
    ...     {"language": ["fra", "fra", "deu"], "speaker": ["a", "b", "a"]}
    ... )
    >>> similarity = combine([Categorical("speaker")], metadata)
    >>> similarity.values[0].tolist(), similarity.positive[0].tolist()
    ([1.0, 0.0, 1.0], [False, True, False])
    """
    if negative_threshold >= positive_threshold:
        raise ValueError(
            f"negative_threshold ({negative_threshold}) must be below positive_threshold "
            f"({positive_threshold}): a pair cannot be both"
        )
    if candidates is None or candidates is metadata:
        if metadata.ids is None:
            ids = torch.arange(len(metadata), device=metadata.device)
            metadata = Metadata(metadata.columns, metadata.vocabularies, ids)
        candidates = metadata
    for column in {source.column for source in sources} | ({identity} - {None}):
        metadata[column], candidates[column]  # a missing column is told here, not mid-way
    for source in sources:
        if source.column in metadata.vocabularies:
            source.bind(metadata.vocabularies[source.column])
    thresholds = (positive_threshold, negative_threshold)
    return CombinedSimilarity(
        list(sources),
        metadata,
        candidates,
        identity,
        thresholds,
        positive_candidates,
        list(plausible_by),
        one_positive,
    )


def label_similarity(
    sources: Sequence[KnowledgeSource], column: str, vocabulary: list[str]
) -> Tensor | None:
    """How alike the labels of one column are, by the sources that read it.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        Those of other columns are left out, and so is Categorical, which
        tells no two labels apart from any other two.
    column : str
        The column.
    vocabulary : list[str]
        Its L labels.

    Returns
    -------
    torch.Tensor or None
        (L, L) in [0, 1], 0 where nothing is known; None if no source is left.

    Example
    -------
    >>> from masr_modules.knowledge import LanguageDistance
    >>> sources = [LanguageDistance("language", "genetic")]
    >>> s = label_similarity(sources, "language", ["cat", "spa", "tam"])
    >>> bool(s[0, 1] > s[0, 2])
    True
    """
    graded = [s for s in sources if s.column == column and not isinstance(s, Categorical)]
    if not graded:
        return None
    metadata = Metadata({column: torch.arange(len(vocabulary))}, {column: vocabulary})
    return combine(graded, metadata, identity=column).values
