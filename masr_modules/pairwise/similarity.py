"""The similarity S of each pair of utterances, and which pairs are positive or negative."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from masr_modules.data.candidates import CandidateLabels
from masr_modules.data.metadata import MISSING, Metadata
from masr_modules.knowledge import Categorical, KnowledgeSource, build_sources, source_settings

#: The tensors of a Similarity, in the order of the arguments of `of_tensors`.
GIVEN = ("values", "valid", "positive", "negative", "same_recording", "partial", "one_positive")


class Similarity:
    """The similarity and the kind of each pair of B utterances and C candidates.

    Each attribute is computed at its first use and kept, and `rows` returns a new Similarity for a
    tile. A loss that walks over tiles therefore never holds a matrix of size B x C, and one that
    does not read `values` does not pay for them. :func:`combine` makes a Similarity from metadata,
    and :meth:`of_tensors` from given matrices.

    Attributes
    ----------
    values : torch.Tensor
        (B, C) float32: S, in [0, 1]; 0 where not valid.
    valid : torch.Tensor
        (B, C) bool: some source knows the pair.
    positive : torch.Tensor
        (B, C) bool: P, the same identity in another recording.
    negative : torch.Tensor
        (B, C) bool: N, another identity.
    same_recording : torch.Tensor
        (B, C) bool: both utterances are one recording.
    partial : torch.Tensor or None
        (B,) bool: the positives are candidate labels, of which one is right, but it is not known
        which. None if there are no `candidate_labels`.
    one_positive : torch.Tensor or None
        (B,) int64: the index of the only positive; all other candidates are negatives. It is -1 if
        the utterance has neither. If the tensor is None, `positive` and `negative` say which pairs
        are which.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        The knowledge.
    metadata, candidates : Metadata
        Metadata of the B utterances and of the C candidates.
    identity : str or None
        The label column that says which pairs are positive and negative.
    thresholds : (float, float)
        For `identity=None`: least S of positives and greatest S of negatives.
    positive_candidates : int, optional
        Number of first candidates that may be positives; by default all may.
    candidate_labels : CandidateLabels, optional
        If the candidates are labels: the object that gives an utterance without identity its
        candidate labels.
    one_positive : torch.Tensor, optional
        See the attribute.

    Example
    -------
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"]})
    >>> similarity = combine([], metadata)
    >>> similarity.shape, similarity.positive[0].tolist(), similarity.rows(1, 3).shape
    ((3, 3), [False, True, False], (2, 3))
    """

    def __init__(
        self,
        sources: Sequence[KnowledgeSource],
        metadata: Metadata,
        candidates: Metadata,
        identity: str | None,
        thresholds: tuple[float, float] = (0.8, 0.2),
        positive_candidates: int | None = None,
        candidate_labels: CandidateLabels | None = None,
        one_positive: Tensor | None = None,
    ):
        self.sources = sources
        self.metadata = metadata
        self.candidates = candidates
        self.identity = identity
        self.thresholds = thresholds
        self.positive_candidates = positive_candidates
        self.candidate_labels = candidate_labels
        self.one_positive = one_positive

    @classmethod
    def of_tensors(
        cls,
        values: Tensor,
        valid: Tensor,
        positive: Tensor,
        negative: Tensor,
        same_recording: Tensor | None = None,
        partial: Tensor | None = None,
        one_positive: Tensor | None = None,
    ) -> "Similarity":
        """Makes a Similarity from given matrices.

        Arguments
        ---------
        values, valid, positive, negative, same_recording, partial, one_positive
            See the attributes. `same_recording` is by default the diagonal if B = C, and
            nowhere True otherwise.

        Example
        -------
        >>> known, same = torch.ones(2, 2, dtype=torch.bool), torch.eye(2, dtype=torch.bool)
        >>> Similarity.of_tensors(torch.rand(2, 2), known, same, ~same).negative[0].tolist()
        [False, True]
        """
        if same_recording is None:
            rows, columns = positive.shape
            itself = torch.eye(rows, columns, dtype=torch.bool, device=positive.device)
            same_recording = itself if rows == columns else torch.zeros_like(itself)
        given = (values, valid, positive, negative, same_recording, partial, one_positive)
        nothing = Metadata({})
        similarity = cls([], nothing, nothing, None)
        similarity.__dict__.update(zip(GIVEN, given, strict=True))  # as if each were computed
        similarity.given = given
        return similarity

    #: The arguments of `of_tensors`, if it made this Similarity.
    given: tuple[Tensor | None, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of utterances and candidates, (B, C)."""
        if self.given:
            rows, columns = self.positive.shape
            return rows, columns
        return len(self.metadata), len(self.candidates)

    def rows(self, start: int, stop: int) -> "Similarity":
        """Returns the Similarity of the utterances from `start` to `stop`, (stop - start, C)."""
        if self.given:
            parts = [None if part is None else part[start:stop] for part in self.given]
            return Similarity.of_tensors(*parts)  # type: ignore[arg-type]  # of the same kinds
        return Similarity(
            self.sources,
            self.metadata.select(slice(start, stop)),
            self.candidates,
            self.identity,
            self.thresholds,
            self.positive_candidates,
            self.candidate_labels,
            None if self.one_positive is None else self.one_positive[start:stop],
        )

    @cached_property
    def values(self) -> Tensor:
        """(B, C) float32: S, 0 where not valid."""
        return self._mean[0]

    @cached_property
    def valid(self) -> Tensor:
        """(B, C) bool: some source knows the pair."""
        return self._mean[1]

    @cached_property
    @torch.no_grad()
    def positive(self) -> Tensor:
        """(B, C) bool: P, the positive pairs."""
        if self.identity is None:
            positive = self.valid & (self.values >= self.thresholds[0])
        else:
            positive = self._same_identity & self._known
            if self.candidate_labels is not None:
                positive |= self._allowed
        positive &= ~self.same_recording
        if self.positive_candidates is not None:
            positive[:, self.positive_candidates :] = False
        return positive

    @cached_property
    @torch.no_grad()
    def negative(self) -> Tensor:
        """(B, C) bool: N, the negative pairs."""
        if self.identity is None:
            return self.valid & (self.values <= self.thresholds[1]) & ~self.same_recording
        # A recording has one identity: pairs of two identities need no check.
        negative = self._known & ~self._same_identity
        if self.partial is not None:
            negative |= self.partial.unsqueeze(1) & ~self._allowed
        return negative

    @cached_property
    @torch.no_grad()
    def partial(self) -> Tensor | None:
        """(B,) bool: the positives are candidate labels; None without `candidate_labels`."""
        if self.candidate_labels is None:
            return None
        return self.candidate_labels.partial(self.metadata)

    @cached_property
    def _allowed(self) -> Tensor:
        assert self.candidate_labels is not None
        return self.candidate_labels.allowed(self.metadata, self.candidates)

    @cached_property
    def _codes(self) -> tuple[Tensor, Tensor]:
        assert self.identity is not None
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
        """(B, C) bool: both utterances are one recording."""
        rows, columns = self.metadata.ids, self.candidates.ids
        if rows is None or columns is None:
            nothing = torch.zeros(1, 1, dtype=torch.bool, device=self.metadata.device)
            return nothing.expand(self.shape)
        return rows.unsqueeze(1) == columns.unsqueeze(0)

    @cached_property
    @torch.no_grad()
    def _mean(self) -> tuple[Tensor, Tensor]:
        """Returns S and validity; each source's S is 0 where it does not know the pair."""
        total = weight = None
        for source in self.sources:
            values, valid = source.pairs(
                self.metadata[source.column], self.candidates[source.column]
            )
            if total is None or weight is None:
                total, weight = values * source.weight, valid.float().mul_(source.weight)
            else:
                total.add_(values, alpha=source.weight)
                weight.add_(valid, alpha=source.weight)
        if total is None or weight is None:
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
    candidate_labels: CandidateLabels | None = None,
    one_positive: Tensor | None = None,
) -> Similarity:
    """Combines sources into the similarity S: their weighted mean over those that know the pair.

    S_ij = sum_k w_k V^k_ij S^k_ij / sum_k w_k V^k_ij. Nothing is computed yet; an attribute of the
    result costs O(B C) per source when it is read, and has no gradient.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        The knowledge; without any source no pair is valid and S is 0.
    metadata : Metadata
        Metadata of the B utterances.
    identity : str, optional
        The label column that says which pairs are positive (equal) and negative
        (different); a pair in which it is missing is neither. With None, S decides: a pair
        is positive at or above `positive_threshold`, and negative at or below
        `negative_threshold`.
    candidates : Metadata, optional
        Metadata of the C candidates; by default the batch itself. A recording forms no
        pair with itself: such a pair has equal `ids` or, in a batch without `ids`, lies on the
        diagonal.
    positive_threshold, negative_threshold : float
        Used only with `identity=None`.
    positive_candidates : int, optional
        Number of first candidates that may be positives; by default all may.
    candidate_labels : CandidateLabels, optional
        If the candidates are labels: the candidate labels of an utterance without identity are its
        positives, of which one is right, and all others its negatives.
    one_positive : torch.Tensor, optional
        If the candidates are the identity's labels: the index of each utterance's label, see
        Similarity. It must agree with the metadata.

    Returns
    -------
    Similarity
        The pairs' similarities and kinds.

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
    read = {source.column for source in sources} | (set() if identity is None else {identity})
    for column in read:
        metadata[column], candidates[column]  # a missing column raises here, not at the first use
    return Similarity(
        list(sources),
        metadata,
        candidates,
        identity,
        (positive_threshold, negative_threshold),
        positive_candidates,
        candidate_labels,
        one_positive,
    )


def label_similarity(sources: Sequence, column: str, vocabulary: list[str]) -> Tensor | None:
    """Computes the similarities of the labels of one column, by the sources that grade them.

    Arguments
    ---------
    sources : sequence of KnowledgeSource or of their factories
        The knowledge; only what `graded_sources` returns is used.
    column : str
        The column.
    vocabulary : list[str]
        The L labels of the column.

    Returns
    -------
    torch.Tensor or None
        (L, L) in [0, 1], 0 where nothing is known; None if no source grades the labels.

    Example
    -------
    >>> from functools import partial
    >>> from masr_modules.knowledge import LanguageDistance
    >>> sources = [partial(LanguageDistance, "language", "genetic")]
    >>> s = label_similarity(sources, "language", ["cat", "spa", "tam"])
    >>> bool(s[0, 1] > s[0, 2])
    True
    """
    metadata = Metadata({column: torch.arange(len(vocabulary))}, {column: vocabulary})
    graded = graded_sources(sources, column)
    if not graded:
        return None
    return combine(build_sources(graded, metadata), metadata, identity=column).values


def graded_sources(sources: Sequence, column: str) -> list:
    """Returns those of the sources, or of their factories, that grade the labels of a column.

    Categorical does not: it gives every two different labels the same similarity.
    """
    return [
        source
        for source in sources
        if (settings := source_settings(source)).column == column
        and not issubclass(settings.kind, Categorical)
    ]
