"""What the knowledge says about each pair of utterances: S, and which pairs are alike or not."""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from masr_modules.data.candidates import CandidateLabels
from masr_modules.data.metadata import MISSING, Metadata
from masr_modules.knowledge import Categorical, KnowledgeSource, build_sources, source_settings

#: What a Similarity gives for each pair of B utterances and C candidates, or for each utterance.
GIVEN = ("values", "valid", "positive", "negative", "same_recording", "partial", "one_positive")


class Similarity:
    """What the knowledge says about each pair of B utterances and C candidates.

    Each attribute is made at its first use and kept, and `rows` gives a tile of its own. A loss
    that walks over tiles therefore never holds a matrix of size B x C, and one that does not read
    `values` does not pay for them. Made by :func:`combine` from metadata, or by
    :meth:`of_tensors` from matrices that one has.

    Attributes
    ----------
    values : torch.Tensor
        (B, C) float32 in [0, 1]: S; 0 where not valid.
    valid : torch.Tensor
        (B, C) bool: some source knows the pair.
    positive : torch.Tensor
        (B, C) bool: P, the same identity in another recording.
    negative : torch.Tensor
        (B, C) bool: N, another identity.
    same_recording : torch.Tensor
        (B, C) bool: both utterances are one recording.
    partial : torch.Tensor or None
        (B,) bool: the positives are candidate labels, of which one is right, and which is not
        known. None: nowhere.
    one_positive : torch.Tensor or None
        (B,) int64: the candidate that is the one positive, all others being negatives; -1 where
        there is none of either. None: no such rule, read `positive` and `negative`.

    Arguments
    ---------
    sources : sequence of KnowledgeSource
        The knowledge.
    metadata, candidates : Metadata
        Of the B utterances and of the C candidates.
    identity : str or None
        The label column that says which pairs are positive and negative.
    thresholds : (float, float)
        Of S for positives and negatives, for `identity=None`.
    positive_candidates : int, optional
        Only the first so many candidates may be positives.
    candidate_labels : CandidateLabels, optional
        Says what utterances without identity may be, where the candidates are labels.
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
        """A Similarity of one's own matrices.

        Arguments
        ---------
        values, valid, positive, negative, same_recording, partial, one_positive
            See the attributes. `same_recording` is by default the diagonal, where B = C, and
            nothing otherwise.

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
        similarity.__dict__.update(zip(GIVEN, given, strict=True))  # as if each had been made
        similarity.given = given
        return similarity

    #: The matrices of `of_tensors`, if it made this.
    given: tuple[Tensor | None, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(B, C)."""
        if self.given:
            rows, columns = self.positive.shape
            return rows, columns
        return len(self.metadata), len(self.candidates)

    def rows(self, start: int, stop: int) -> "Similarity":
        """The same for the utterances from `start` to `stop`: a tile (stop - start, C)."""
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
        """(B, C) S."""
        return self._mean[0]

    @cached_property
    def valid(self) -> Tensor:
        """(B, C) whether some source knows the pair."""
        return self._mean[1]

    @cached_property
    @torch.no_grad()
    def positive(self) -> Tensor:
        """(B, C) P."""
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
        """(B, C) N."""
        if self.identity is None:
            return self.valid & (self.values <= self.thresholds[1]) & ~self.same_recording
        # Another identity is another recording.
        negative = self._known & ~self._same_identity
        if self.partial is not None:
            negative |= self.partial.unsqueeze(1) & ~self._allowed
        return negative

    @cached_property
    @torch.no_grad()
    def partial(self) -> Tensor | None:
        """(B,) whether the positives are candidate labels."""
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
        """(B, C) whether both utterances are one recording."""
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
    """Weighted mean of the sources over those that know the pair.

    S_ij = sum_k w_k V^k_ij S^k_ij / sum_k w_k V^k_ij. Nothing is computed yet; what is read of the
    result costs O(B C) a source and is without gradient.

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
    candidate_labels : CandidateLabels, optional
        Where candidates are labels: the labels that an utterance without identity may have are its
        positives, of which one is right, and the others its negatives.
    one_positive : torch.Tensor, optional
        Where candidates are the identity's labels: see Similarity. It must agree with them.

    Returns
    -------
    Similarity
        Its attributes are made when they are read.

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
        metadata[column], candidates[column]  # a missing column is told here, not mid-way
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
    """How alike the labels of one column are, by the sources that read it.

    Arguments
    ---------
    sources : sequence of KnowledgeSource or of their factories
        Those of other columns are left out, and so is Categorical, which separates no two labels
        from any other two.
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
    """Those of the sources, or of their factories, that grade the labels of a column.

    Categorical does not: it separates no two labels from any other two.
    """
    return [
        source
        for source in sources
        if (settings := source_settings(source)).column == column
        and not issubclass(settings.kind, Categorical)
    ]
