"""Combining knowledge sources into one pair-wise similarity over the batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from masr_modules.knowledge import Categorical, KnowledgeSource
from masr_modules.metadata import Metadata


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
    """

    values: Tensor
    valid: Tensor
    positive: Tensor
    negative: Tensor


def combine(
    sources: Sequence[KnowledgeSource],
    metadata: Metadata,
    identity: str | None = "language",
    candidates: Metadata | None = None,
    positive_threshold: float = 0.8,
    negative_threshold: float = 0.2,
) -> Similarity:
    """Weighted mean of the sources over those that know the pair.

    S_ij = sum_k w_k V^k_ij S^k_ij / sum_k w_k V^k_ij. Costs O(B C) a source;
    runs without gradient.

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

    Returns
    -------
    Similarity

    Raises
    ------
    KeyError
        If the identity's or a source's column is not in the metadata.

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
    others = metadata if candidates is None else candidates
    with torch.no_grad():
        values, valid = _weighted_mean(sources, metadata, others)
        same = _same_recording(metadata, candidates, values.device)
        if identity is None:
            positive = valid & (values >= positive_threshold)
            negative = valid & (values <= negative_threshold)
        else:
            rows, columns = metadata[identity].unsqueeze(1), others[identity].unsqueeze(0)
            known = (rows >= 0) & (columns >= 0)
            positive = known & (rows == columns)
            negative = known & (rows != columns)
        return Similarity(values, valid, positive & ~same, negative & ~same)


def _weighted_mean(
    sources: Sequence[KnowledgeSource], metadata: Metadata, others: Metadata
) -> tuple[Tensor, Tensor]:
    device = next(iter(metadata.columns.values())).device
    total = torch.zeros(len(metadata), len(others), device=device)
    weight = torch.zeros_like(total)
    for source in sources:
        if source.column in metadata.vocabularies:
            source.bind(metadata.vocabularies[source.column])
        values, valid = source.pairs(metadata[source.column], others[source.column])
        # A source's S is 0 where it is not valid.
        total.add_(values, alpha=source.weight)
        weight.add_(valid, alpha=source.weight)
    valid = weight > 0
    # Rounding can lift a mean of ones above 1.
    return total.div_(weight.clamp_(min=1e-12)).clamp_(max=1.0), valid


def _same_recording(
    metadata: Metadata, candidates: Metadata | None, device: torch.device
) -> Tensor:
    if candidates is None:
        return torch.eye(len(metadata), dtype=torch.bool, device=device)
    if metadata.ids is None or candidates.ids is None:
        return torch.zeros(1, 1, dtype=torch.bool, device=device)
    return metadata.ids.unsqueeze(1) == candidates.ids.unsqueeze(0)


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
