"""Hard mining: the choice of one positive and one negative for each anchor, tile by tile."""

from dataclasses import dataclass

import torch
from torch import Tensor

from masr_modules.pairwise.similarity import Similarity

MINING_RULES = ("hardest", "knowledge", "semihard")

#: Pairs in a tile: 4 MiB of float32, about what fits into a CPU's caches.
TILE = 2**20


@dataclass
class Pairs:
    """One positive and one negative per anchor.

    Arguments
    ---------
    positive, negative : torch.Tensor
        (B,) int64 indices of candidates; meaningless if the anchor is not usable.
    usable : torch.Tensor
        (B,) bool: the anchor has both.
    negative_similarity : torch.Tensor, optional
        (B,) S of anchor and negative, if it was asked for.
    """

    positive: Tensor
    negative: Tensor
    usable: Tensor
    negative_similarity: Tensor | None = None


@torch.no_grad()
def mine(
    embeddings: Tensor,
    candidates: Tensor,
    similarity: Similarity,
    rule: str = "knowledge",
    knowledge_weight: float = 0.0,
    with_similarity: bool = False,
    tile: int = TILE,
) -> Pairs:
    """Picks the hardest pairs by distance and similarity.

    p = argmax over P of d + alpha (1 - S); n = argmin over N of d - alpha S;
    the alpha term is 0 on pairs that no source knows. With `semihard`, n is the negative of
    least d - alpha S among those farther than p, if there are any.

    It takes one (B, C) matrix product and O(B C) element-wise work, in tiles of whole rows.
    The result does not depend on their size, and memory is O(B + C + tile).

    Arguments
    ---------
    embeddings : torch.Tensor
        (B, D), of unit norm.
    candidates : torch.Tensor
        (C, D), of unit norm.
    similarity : Similarity
        Similarity of the same B utterances and C candidates.
    rule : str
        `hardest` (alpha is 0), `knowledge` or `semihard`.
    knowledge_weight : float
        alpha, the weight of the similarity beside the distance.
    with_similarity : bool
        Whether to return S of the negatives.
    tile : int
        Largest number of pairs held at once; one row is always held.

    Returns
    -------
    Pairs
        One positive and one negative per anchor.

    Example
    -------
    >>> from masr_modules.pairwise.similarity import Similarity
    >>> similarity = Similarity.of_tensors(
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
    found = _Found(len(embeddings), embeddings, with_similarity)
    columns = candidates.T
    for start in range(0, len(embeddings), size):
        rows = slice(start, min(start + size, len(embeddings)))
        whole = size >= len(embeddings)
        part = similarity if whole else similarity.rows(rows.start, rows.stop)
        # The distance minus 1: a constant does not change the choice.
        distances = -embeddings[rows] @ columns
        found.fill(rows, *_mine_tile(distances, part, alpha, rule == "semihard", with_similarity))
    return found.pairs


class _Found:
    """The pairs of all tiles, in tensors that are allocated before the first tile.

    If small results were allocated inside a tile, they would lie between its large blocks, and the
    allocator could not reuse these blocks, 4 MiB per tile.
    """

    def __init__(self, size: int, like: Tensor, with_similarity: bool):
        device = like.device
        self.pairs = Pairs(
            torch.empty(size, dtype=torch.long, device=device),
            torch.empty(size, dtype=torch.long, device=device),
            torch.empty(size, dtype=torch.bool, device=device),
            torch.empty(size, dtype=like.dtype, device=device) if with_similarity else None,
        )

    def fill(self, rows: slice, positive, negative, usable, near) -> None:
        self.pairs.positive[rows] = positive
        self.pairs.negative[rows] = negative
        self.pairs.usable[rows] = usable
        if near is not None and self.pairs.negative_similarity is not None:
            self.pairs.negative_similarity[rows] = near


def _mine_tile(
    distances: Tensor, similarity, alpha: float, semihard: bool, with_similarity: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
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
        return positive, negative, usable, None
    near = similarity.values.gather(1, negative.unsqueeze(1)).squeeze(1)
    return positive, negative, usable, near
