"""Soft mining: all pairs of an anchor, the harder the more they count."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from masr_modules.pairwise.mining import TILE
from masr_modules.pairwise.similarity import Similarity

#: What a score is where there is no pair: below any cosine times a scale, and finite, so that
#: gradients stay numbers.
NO_PAIR = -1e30

#: The exponent of what counts as nothing: exp gives 2e-35.
_SMALLEST = -80.0


class SoftPairs(NamedTuple):
    """For each of B anchors the soft farthest positive and nearest negative.

    Arguments
    ---------
    d_ap, d_an : torch.Tensor
        (B,) cosine distances, with gradient, moved by what the knowledge says.
    usable : torch.Tensor
        (B,) bool: the anchor has a positive and a negative.
    """

    d_ap: Tensor
    d_an: Tensor
    usable: Tensor


def soft_mine(
    embeddings: Tensor,
    candidates: Tensor,
    similarity: Similarity,
    scale: float,
    knowledge_weight: float = 0.0,
    log_counts: Tensor | None = None,
    tile: int = TILE,
) -> SoftPairs:
    """The hardest pairs' distances with log-sum-exp in the place of maximum and minimum.

    With s the cosine, beta the scale and alpha the weight of the knowledge,
    d_an = 1 - 1/beta log sum_N exp beta (s + alpha (S - mean_N S)) and
    d_ap = 1 + 1/beta log sum_P exp -beta (s + alpha (S - 1)); the alpha terms are 0 on pairs
    that no source knows. beta to infinity gives the pairs of `mine`. Where the positives are
    candidate labels, of which one is right, the nearest counts: d_ap = 1 - 1/beta log sum_P exp
    beta s.

    One (B, C) matrix product forward and three backward, where the scores are computed again:
    memory is O(B + C + tile). Element-wise work is O(B C).

    Arguments
    ---------
    embeddings : torch.Tensor
        (B, D), of unit norm.
    candidates : torch.Tensor
        (C, D), of unit norm.
    similarity : Similarity
        Over the same pairs.
    scale : float
        beta, above 0.
    knowledge_weight : float
        alpha.
    log_counts : torch.Tensor, optional
        (C,) logarithm of how many negatives each candidate stands for; by default 1.
    tile : int
        Pairs held at once; at least one row.

    Returns
    -------
    SoftPairs

    Example
    -------
    >>> similarity = Similarity.of_tensors(
    ...     values=torch.zeros(1, 3),
    ...     valid=torch.zeros(1, 3, dtype=torch.bool),
    ...     positive=torch.tensor([[True, False, False]]),
    ...     negative=torch.tensor([[False, True, True]]),
    ... )
    >>> others = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    >>> pairs = soft_mine(torch.tensor([[1.0, 0.0]]), others, similarity, scale=100.0)
    >>> round(pairs.d_ap.item(), 3), round(pairs.d_an.item(), 3)
    (0.0, 0.4)
    """
    rule = _Rule(scale, knowledge_weight, log_counts, max(1, tile // max(1, len(candidates))))
    return SoftPairs(*_SoftMine.apply(embeddings, candidates, similarity, rule))


class _Rule(NamedTuple):
    """What scores are made with, and how many anchors at once."""

    scale: float
    alpha: float
    log_counts: Tensor | None
    rows: int

    def tiles(self, size: int) -> Iterator[slice]:
        for start in range(0, size, self.rows):
            yield slice(start, min(start + self.rows, size))

    def scores(self, z: Tensor, candidates: Tensor, similarity: Similarity) -> "_Scores":
        """Scores a tile of T anchors with all C candidates."""
        cosine = z @ candidates.T
        if similarity.one_positive is not None:
            return self._scores_of_labels(cosine, similarity)
        positive, negative = similarity.positive, similarity.negative
        if self.alpha:
            near = self._steer(cosine, similarity, ~(similarity.valid & negative))
            far = self._steer(cosine, similarity, ~(similarity.valid & positive), level=1.0)
        else:
            near, far = cosine.clone(), cosine
        sign = -torch.ones_like(cosine[:, :1])
        if similarity.partial is not None:
            told = similarity.partial.unsqueeze(1)
            sign.masked_fill_(told, 1.0)
            far = torch.where(told, cosine, far)
        near = self._weigh(near).masked_fill_(~negative, NO_PAIR)
        far = far.mul_(self.scale * sign).masked_fill_(~positive, NO_PAIR)
        return _Scores(near, far, sign.squeeze(1), positive.any(dim=1) & negative.any(dim=1))

    def _scores_of_labels(self, cosine: Tensor, similarity) -> "_Scores":
        """The same where candidates are labels: one positive, which is looked up."""
        usable = similarity.one_positive >= 0
        own = similarity.one_positive.clamp(min=0).unsqueeze(1)
        far = cosine.gather(1, own)
        if self.alpha:
            valid = similarity.valid
            level = (similarity.values.gather(1, own) - 1.0) * valid.gather(1, own)
            far = far + self.alpha * level.to(far.dtype)
            cosine = self._steer(cosine, similarity, (~valid).scatter_(1, own, True))
        near = self._weigh(cosine).scatter_(1, own, NO_PAIR)
        return _Scores(near, far.squeeze(1).mul_(-self.scale), far.new_tensor(-1.0), usable)

    def _weigh(self, near: Tensor) -> Tensor:
        near.mul_(self.scale)
        return near if self.log_counts is None else near.add_(self.log_counts)

    def _steer(
        self, cosine: Tensor, similarity, unknown: Tensor, level: float | None = None
    ) -> Tensor:
        """The cosines, plus alpha (S - level) where S is known; None is the mean of S."""
        values = similarity.values.to(cosine.dtype).masked_fill(unknown, 0.0)
        if level is None:
            known = (values.shape[1] - unknown.sum(dim=1, keepdim=True)).clamp_(min=1)
            level = values.sum(dim=1, keepdim=True) / known
        return values.sub_(level).masked_fill_(unknown, 0.0).mul_(self.alpha).add_(cosine)


class _Scores(NamedTuple):
    """Logits of the negatives (T, C); of the positives, (T, C) or (T,) where each has one."""

    near: Tensor
    far: Tensor
    sign: Tensor
    usable: Tensor


class _SoftMine(torch.autograd.Function):
    """Tile by tile forward, and again backward: d log-sum-exp / d score is a softmax."""

    @staticmethod
    def forward(ctx, z: Tensor, candidates: Tensor, similarity, rule: _Rule):
        far, near, signs = torch.empty(3, len(z), dtype=z.dtype, device=z.device)
        usable = torch.empty(len(z), dtype=torch.bool, device=z.device)
        for rows in rule.tiles(len(z)):
            part = similarity.rows(rows.start, rows.stop)
            scores = rule.scores(z[rows], candidates, part)
            near[rows] = _log_sum_exp(scores.near)
            far[rows] = scores.far if scores.far.ndim == 1 else _log_sum_exp(scores.far)
            signs[rows], usable[rows] = scores.sign, scores.usable
        ctx.save_for_backward(z, candidates, near, far, usable)
        ctx.similarity, ctx.rule = similarity, rule
        ctx.mark_non_differentiable(usable)
        return 1.0 - signs * far / rule.scale, 1.0 - near / rule.scale, usable

    @staticmethod
    @once_differentiable
    def backward(ctx, g_far: Tensor, g_near: Tensor, _):
        z, candidates, near, far, usable = ctx.saved_tensors
        # An anchor without pairs has no gradient, whatever is asked for.
        g_far, g_near = -g_far * usable, -g_near * usable
        z_grad, candidates_grad = torch.empty_like(z), torch.zeros_like(candidates)
        for rows in ctx.rule.tiles(len(z)):
            part = ctx.similarity.rows(rows.start, rows.stop)
            scores = ctx.rule.scores(z[rows], candidates, part)
            column = (rows, None)
            weights = _exp(scores.near.sub_(near[column])).mul_(g_near[column])
            if scores.far.ndim == 1:
                own = part.one_positive.clamp(min=0).unsqueeze(1)
                weights.scatter_add_(1, own, g_far[column])
            else:
                weights.add_(_exp(scores.far.sub_(far[column])).mul_(g_far[column]))
            torch.mm(weights, candidates, out=z_grad[rows])
            candidates_grad.addmm_(weights.T, z[rows])
        return z_grad, candidates_grad, None, None


def _log_sum_exp(logits: Tensor) -> Tensor:
    """(T, C) -> (T,); overwrites the logits."""
    highest = logits.amax(dim=1, keepdim=True)
    return _exp(logits.sub_(highest)).sum(dim=1).log_().add_(highest.squeeze(1))


def _exp(logits: Tensor) -> Tensor:
    """Exponentiates in place; numbers too small for float32 would take ten times as long."""
    return logits.clamp_(min=_SMALLEST).exp_()
