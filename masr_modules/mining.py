"""Choosing the positive and the negative of each anchor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from masr_modules.similarity import Similarity

MINING_RULES = ("hardest", "knowledge", "semihard")


@dataclass
class Pairs:
    """One positive and one negative an anchor.

    Arguments
    ---------
    positive, negative : torch.Tensor
        (B,) int64 candidate indices; meaningless where not usable.
    usable : torch.Tensor
        (B,) bool: the anchor has both.
    """

    positive: Tensor
    negative: Tensor
    usable: Tensor


@torch.no_grad()
def mine(
    distances: Tensor,
    similarity: Similarity,
    rule: str = "knowledge",
    knowledge_weight: float = 0.0,
) -> Pairs:
    """Picks the hardest pairs by distance and by what the knowledge says.

    p = argmax over P of d + alpha (1 - S); n = argmin over N of d - alpha S;
    the alpha term is 0 on pairs that no source knows. `semihard` takes as n the
    best-scored negative farther than p, where there is one. O(B C).

    Arguments
    ---------
    distances : torch.Tensor
        (B, C) cosine distances d.
    similarity : Similarity
        Over the same pairs.
    rule : str
        `hardest` (alpha is 0), `knowledge` or `semihard`.
    knowledge_weight : float
        alpha.

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
    >>> distances = torch.tensor([[0.0, 0.4, 0.6, 0.5]])
    >>> mine(distances, similarity, "hardest").negative.item()
    3
    >>> mine(distances, similarity, "knowledge", knowledge_weight=0.5).negative.item()
    2
    """
    alpha = 0.0 if rule == "hardest" else knowledge_weight
    p_score = n_score = distances
    if alpha:
        dissimilar = (1.0 - similarity.values) * similarity.valid
        p_score = distances + alpha * dissimilar
        n_score = distances - alpha * similarity.values
    inf = float("inf")
    positive = p_score.masked_fill(~similarity.positive, -inf).argmax(dim=1)
    n_score = n_score.masked_fill(~similarity.negative, inf)
    negative = n_score.argmin(dim=1)
    if rule == "semihard":
        farther = distances > distances.gather(1, positive.unsqueeze(1))
        semihard = n_score.masked_fill(~farther, inf)
        found = (farther & similarity.negative).any(dim=1)
        negative = torch.where(found, semihard.argmin(dim=1), negative)
    usable = similarity.positive.any(dim=1) & similarity.negative.any(dim=1)
    return Pairs(positive, negative, usable)
