"""Soft mining: all pairs of an anchor count, and harder pairs count more."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from masr_modules.pairwise.mining import TILE
from masr_modules.pairwise.similarity import Similarity

#: Score of a candidate that forms no pair with the anchor: far below any scaled cosine, and finite,
#: so that gradients are not NaN.
NO_PAIR = -1e30

#: Least exponent; its exponential, 2e-35, is negligible.
_SMALLEST = -80.0


class SoftPairs(NamedTuple):
    """The soft farthest positive and soft nearest negative of each of B anchors.

    Arguments
    ---------
    d_ap, d_an : torch.Tensor
        (B,) soft distances of positives and of negatives, with gradient; they depend on the
        similarities too.
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
    """Computes the distances of the hardest pairs, with log-sum-exp as soft maximum and minimum.

    With s the cosine, beta the scale and alpha the weight of the knowledge,
    d_an = 1 - 1/beta log sum_N exp beta (s + alpha (S - mean_N S)) and
    d_ap = 1 + 1/beta log sum_P exp -beta (s + alpha (S - 1)); the alpha terms are 0 on pairs
    that no source knows, and mean_N is over the negatives that some source knows. As beta grows to
    infinity, the pairs become those of `mine`, except that an anchor may get another negative if
    the sources know only some of its negatives. If the positives are candidate labels, of which one
    is right, the nearest counts: d_ap = 1 - 1/beta log sum_P exp beta s.

    It takes one (B, C) matrix product forward and three backward, where the scores are computed
    again, so that memory is O(B + C + tile). Element-wise work is O(B C).

    Arguments
    ---------
    embeddings : torch.Tensor
        (B, D), of unit norm.
    candidates : torch.Tensor
        (C, D), of unit norm.
    similarity : Similarity
        Similarity of the same B utterances and C candidates.
    scale : float
        beta, above 0.
    knowledge_weight : float
        alpha, the weight of the similarity; it may be negative.
    log_counts : torch.Tensor, optional
        (C,) logarithm of the number of negatives that each candidate stands for; by default each
        stands for one.
    tile : int
        Largest number of pairs held at once; one row is always held.

    Returns
    -------
    SoftPairs
        The soft distances of each anchor.

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
    """The settings of the scores, and the number of anchors in a tile."""

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
        """Scores a tile whose candidates are labels: the one positive is looked up."""
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
        """Returns the cosines, plus alpha (S - level) where S is known.

        The level is by default the row's mean of the known S.
        """
        values = similarity.values.to(cosine.dtype).masked_fill(unknown, 0.0)
        if level is None:
            known = (values.shape[1] - unknown.sum(dim=1, keepdim=True)).clamp_(min=1)
            level = values.sum(dim=1, keepdim=True) / known
        return values.sub_(level).masked_fill_(unknown, 0.0).mul_(self.alpha).add_(cosine)


class _Scores(NamedTuple):
    """Logits of T anchors: `near` of the negatives, (T, C), and `far` of the positives.

    `far` is (T, C), or (T,) if each anchor has one positive; d_ap is 1 - sign / beta times its
    log-sum-exp.
    """

    near: Tensor
    far: Tensor
    sign: Tensor
    usable: Tensor


class _SoftMine(torch.autograd.Function):
    """Soft mining by tiles; backward computes the scores again and their softmax, the gradient."""

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
        # An anchor without pairs has no gradient, whatever the gradient of its output is.
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
    """Reduces (T, C) logits to (T,); overwrites the logits."""
    highest = logits.amax(dim=1, keepdim=True)
    return _exp(logits.sub_(highest)).sum(dim=1).log_().add_(highest.squeeze(1))


def _exp(logits: Tensor) -> Tensor:
    """Exponentiates in place, from _SMALLEST on: subnormal results would take ten times as long."""
    return logits.clamp_(min=_SMALLEST).exp_()
