"""Choosing the positive and the negative of each anchor, tile by tile."""

from dataclasses import dataclass

import torch
from torch import Tensor

from masr_modules.similarity import CombinedSimilarity, Similarity

MINING_RULES = ("hardest", "knowledge", "semihard")

#: Pairs looked at together: 4 MiB of float32, about what stays in a CPU's caches.
TILE = 2**20


@dataclass
class Pairs:
    """One positive and one negative an anchor.

    Arguments
    ---------
    positive, negative : torch.Tensor
        (B,) int64 candidate indices; meaningless where not usable.
    usable : torch.Tensor
        (B,) bool: the anchor has both.
    negative_similarity : torch.Tensor, optional
        (B,) S of anchor and negative, where it was asked for.
    """

    positive: Tensor
    negative: Tensor
    usable: Tensor
    negative_similarity: Tensor | None = None


@torch.no_grad()
def mine(
    embeddings: Tensor,
    candidates: Tensor,
    similarity: Similarity | CombinedSimilarity,
    rule: str = "knowledge",
    knowledge_weight: float = 0.0,
    with_similarity: bool = False,
    tile: int = TILE,
) -> Pairs:
    """Picks the hardest pairs by distance and by what the knowledge says.

    p = argmax over P of d + alpha (1 - S); n = argmin over N of d - alpha S;
    the alpha term is 0 on pairs that no source knows. `semihard` takes as n the
    best-scored negative farther than p, where there is one.

    One (B, C) matrix product and O(B C) element-wise work, in tiles of whole rows: the
    result is the same whatever their size, and memory is O(B + C + tile).

    Arguments
    ---------
    embeddings : torch.Tensor
        (B, D), of unit norm.
    candidates : torch.Tensor
        (C, D), of unit norm.
    similarity : Similarity or CombinedSimilarity
        Over the same pairs.
    rule : str
        `hardest` (alpha is 0), `knowledge` or `semihard`.
    knowledge_weight : float
        alpha.
    with_similarity : bool
        Whether to return S of the negatives.
    tile : int
        Pairs held at once; at least one row.

    Returns
    -------
    Pairs

    Example
    -------
    >>> from masr_modules.similarity import Similarity
    >>> similarity = Similarity(
    ...     values=torch.tensor([[0.0, 0.0, 0.9, 0.1]]),
    ...     valid=torch.tensor([[True] * 4]),
    ...     positive=torch.tensor([[False, True, False, False]]),
    ...     negative=torch.tensor([[False, False, True, True]]),
    ... )
    >>> anchor = torch.tensor([[1.0, 0.0]])
    >>> others = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.4, 0.9165], [0.5, 0.866]])
    >>> mine(anchor, others, similarity, "hardest").negative.item()
    3
    >>> mine(anchor, others, similarity, "knowledge", knowledge_weight=0.5).negative.item()
    2
    """
    alpha = 0.0 if rule == "hardest" else knowledge_weight
    size = max(1, tile // max(1, len(candidates)))
    columns = candidates.T
    parts = []
    for start in range(0, len(embeddings), size):
        whole = size >= len(embeddings)
        part = similarity if whole else similarity.rows(start, start + size)
        # The distance less 1: constants do not choose.
        distances = -embeddings[start : start + size] @ columns
        parts.append(_mine_tile(distances, part, alpha, rule == "semihard", with_similarity))
    positive, negative, usable, near = (torch.cat(values) for values in zip(*parts, strict=True))
    return Pairs(positive, negative, usable, near if with_similarity else None)


def _mine_tile(
    distances: Tensor, similarity, alpha: float, semihard: bool, with_similarity: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    p_score = n_score = distances
    if alpha:
        n_score = torch.sub(distances, similarity.values, alpha=alpha)
        # S is 0 where it is not valid: this adds alpha (1 - S) on valid pairs alone.
        p_score = torch.add(n_score, similarity.valid, alpha=alpha)
    inf = float("inf")
    farthest, positive = torch.where(similarity.positive, p_score, -inf).max(dim=1)
    nearest, negative = torch.where(similarity.negative, n_score, inf).min(dim=1)
    usable = (farthest > -inf) & (nearest < inf)
    if semihard:
        farther = distances > distances.gather(1, positive.unsqueeze(1))
        farther &= similarity.negative
        nearest, chosen = torch.where(farther, n_score, inf).min(dim=1)
        negative = torch.where(nearest < inf, chosen, negative)
    if not with_similarity:
        return positive, negative, usable, usable
    near = similarity.values.gather(1, negative.unsqueeze(1)).squeeze(1)
    return positive, negative, usable, near
