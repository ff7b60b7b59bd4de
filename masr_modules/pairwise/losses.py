"""Losses on utterance embeddings and on what the knowledge says about their pairs.

Each is called with (embeddings, similarity, candidates) and returns a LossOutput, so that
one can replace another in the YAML. In training on several ranks, each loss is a mean over the
anchors of all ranks: see `masr_modules.distributed.global_mean`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.distributed import global_mean
from masr_modules.pairwise.mining import MINING_RULES, mine
from masr_modules.pairwise.similarity import Similarity
from masr_modules.pairwise.weighting import soft_mine

#: Embeddings count as collapsed if mined positives and negatives are both nearer than this cosine
#: distance.
COLLAPSED = 0.05

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "softplus": F.softplus}


@dataclass
class LossOutput:
    """A scalar loss and detached scalars for the log, left on their device."""

    loss: Tensor
    stats: dict[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def checked(output: object, loss: nn.Module) -> "LossOutput":
        """Returns the output of a loss, after a check that it is a LossOutput.

        Raises
        ------
        TypeError
            If it is not, for example because a user's own loss returns a tensor.
        """
        if not isinstance(output, LossOutput):
            raise TypeError(
                f"{type(loss).__name__} returned a {type(output).__name__}; a loss returns "
                "LossOutput(loss, stats): docs/extend.md"
            )
        return output


def check_choice(name: str, value: str, choices) -> None:
    """Raises a ValueError that lists the choices unless `value` is one of them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; it is {value!r}")


def unit_norm(embeddings: Tensor) -> Tensor:
    """Scales (B, D) embeddings to unit norm, in at least float32, even under autocast."""
    dtype = torch.promote_types(embeddings.dtype, torch.float32)
    return F.normalize(embeddings.to(dtype), dim=1)


def spread(z: Tensor) -> Tensor:
    """Computes 1 - |mean embedding|^2 of (B, D) unit vectors, which is 0 if they have collapsed."""
    return 1.0 - z.detach().mean(dim=0).square().sum()


def collapsed_spaces(stats: Mapping[str, float]) -> list[str]:
    """Names the spaces in which embeddings have collapsed: mined positives and negatives are near.

    The loss then stays at the activation of the margin, and no label is learned.

    Arguments
    ---------
    stats : mapping of str to float
        Means over an epoch, named as in MASRLoss: `d_ap`, `d_an` and `anchors` if there is one
        space, `d_ap_language` and so on for one of several. A space without anchors is never named.

    Returns
    -------
    list of str
        Identities of the collapsed spaces, or "all labels" for the only space.

    Example
    -------
    >>> near = {"d_ap_speaker": 0.03, "d_an_speaker": 0.01}
    >>> collapsed_spaces({"d_ap_language": 0.03, "d_an_language": 0.7, **near})
    ['speaker']
    >>> collapsed_spaces({"d_ap": 0.03, "d_an": 0.01})
    ['all labels']
    >>> collapsed_spaces({"d_ap": 0.0, "d_an": 0.0, "anchors": 0.0})
    []
    """
    far = float("inf")  # in place of `d_an`, which a user's own loss may not log
    names = [key.removeprefix("d_ap") for key in stats if key.startswith("d_ap")]
    names = [name for name in names if stats.get(f"anchors{name}", 1) > 0]  # else nothing is mined
    near = [n for n in names if max(stats[f"d_ap{n}"], stats.get(f"d_an{n}", far)) < COLLAPSED]
    return [name.removeprefix("_") or "all labels" for name in near]


@dataclass
class Mined:
    """The distances that a miner finds for each of B anchors.

    Arguments
    ---------
    d_ap, d_an : torch.Tensor
        (B,) distances of the anchor to its positive and to its negative, with gradient.
    usable : torch.Tensor
        (B,) bool: the anchor has both.
    negative_similarity : torch.Tensor, optional
        (B,) S of anchor and negative, if hard mining was asked for it.
    """

    d_ap: Tensor
    d_an: Tensor
    usable: Tensor
    negative_similarity: Tensor | None = None


class HardMiner:
    """Hard mining: one positive and one negative per anchor, by `mining.mine`.

    The choice itself has no gradient; only the 2 B chosen distances have one.
    """

    #: Factor by which d_ap - d_an + margin is multiplied before the activation.
    scale = 1.0

    def __init__(self, rule: str, knowledge_weight: float, with_similarity: bool):
        self.rule, self.knowledge_weight = rule, knowledge_weight
        self.with_similarity = with_similarity

    def __call__(self, z: Tensor, others: Tensor, similarity, log_counts=None) -> Mined:
        """Mines pairs of (B, D) anchors and (C, D) candidates, both of unit norm."""
        pairs = mine(z, others, similarity, self.rule, self.knowledge_weight, self.with_similarity)
        d_ap = 1.0 - (z * others.index_select(0, pairs.positive)).sum(dim=1)
        d_an = 1.0 - (z * others.index_select(0, pairs.negative)).sum(dim=1)
        return Mined(d_ap, d_an, pairs.usable, pairs.negative_similarity)


class SoftMiner:
    """Soft mining: all pairs of an anchor, weighted by hardness, by `weighting.soft_mine`."""

    def __init__(self, scale: float, knowledge_weight: float):
        self.scale, self.knowledge_weight = scale, knowledge_weight

    def __call__(self, z: Tensor, others: Tensor, similarity, log_counts=None) -> Mined:
        """Mines pairs of (B, D) anchors and (C, D) candidates, both of unit norm."""
        options = (self.scale, self.knowledge_weight, log_counts)
        return Mined(*soft_mine(z, others, similarity, *options))


class MASRLoss(nn.Module):
    """A loss on mined pairs of embeddings; knowledge can change the mining and the margin.

    L is the mean of phi(scale (d_ip - d_in + m_i)) over the anchors i that have a positive and a
    negative; d is the cosine distance. `mining` chooses p and n, `margin_mode` chooses m_i, and
    `activation` chooses phi. All combinations are allowed except soft mining with a graded margin,
    because a graded margin needs a single negative.

    The forward pass costs one B x C matrix product and O(B C) element-wise work, in tiles, so
    that memory is O(B + C). The host never waits for the device.

    The hard-mining objective follows LASR (arXiv 2306.04374) and MASR
    (arXiv 2307.10982) by their published descriptions; docs/losses/README.md says which parts
    are this project's own interpretation.

    Arguments
    ---------
    mining : str
        `hardest`: the pairs that are hardest by embedding distance alone; `knowledge`: those
        that are hardest by distance and similarity; `semihard`: as `knowledge`, with a negative
        farther than the positive if there is one; `soft`: all pairs, weighted by distance and
        similarity, see masr_modules.pairwise.weighting.
    knowledge_weight : float
        alpha, the weight of the similarity beside the distance; not used by `hardest`. With
        `soft` it may be below 0, which lets similar negatives stay near.
    margin : float
        m, at least 0.
    margin_mode : str
        `constant`: m_i = m; `graded`: m_i = m (1 - S_in), a smaller margin to similar negatives.
    activation : str
        phi: `relu` or `softplus`.
    scale : float
        beta of `soft`: the higher it is, the more the hardest pairs count. Other rules use 1.

    Raises
    ------
    ValueError
        If a choice is unknown, a number is not finite, `margin` is below 0, `knowledge_weight` is
        below 0 without `soft`, or, with `soft`, `scale` is not above 0 or the margin is graded.

    Example
    -------
    >>> from masr_modules.knowledge import Categorical
    >>> from masr_modules.data.metadata import Metadata
    >>> from masr_modules.pairwise.similarity import combine
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"]})
    >>> embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> loss = MASRLoss(margin=0.5)
    >>> loss(embeddings, combine([], metadata)).loss.item()
    0.0
    """

    def __init__(
        self,
        mining: str = "knowledge",
        knowledge_weight: float = 0.5,
        margin: float = 0.5,
        margin_mode: str = "constant",
        activation: str = "relu",
        scale: float = 16.0,
    ):
        super().__init__()
        check_choice("mining", mining, (*MINING_RULES, "soft"))
        check_choice("margin_mode", margin_mode, ("constant", "graded"))
        check_choice("activation", activation, ACTIVATIONS)
        for name, value in (("margin", margin), ("knowledge_weight", knowledge_weight)):
            if not isfinite(value):
                raise ValueError(f"{name} must be a finite number; it is {value}")
        if margin < 0 or (knowledge_weight < 0 and mining != "soft"):
            refused = f"margin ({margin}) and knowledge_weight ({knowledge_weight})"
            raise ValueError(
                f"{refused} must not be negative, except knowledge_weight with soft mining"
            )
        graded = margin_mode == "graded"
        if mining == "soft":
            if not 0 < scale < inf:
                raise ValueError(f"scale must be above 0 and finite; it is {scale}")
            if graded:
                raise ValueError(
                    "margin_mode: graded needs one negative per anchor, and soft mining has all "
                    "of them: set margin_mode to constant"
                )
            self.miner: SoftMiner | HardMiner = SoftMiner(scale, knowledge_weight)
        else:
            self.miner = HardMiner(mining, knowledge_weight, with_similarity=graded)
        self.margin = margin
        self.activation = ACTIVATIONS[activation]
        self.uses_knowledge = graded or (mining != "hardest" and knowledge_weight != 0)

    def forward(
        self,
        embeddings: Tensor,
        similarity: Similarity,
        candidates: Tensor | None = None,
        log_counts: Tensor | None = None,
    ) -> LossOutput:
        """Computes the loss of a batch.

        Arguments
        ---------
        embeddings : torch.Tensor
            (B, D), of any norm.
        similarity : Similarity
            (B, C), of the same utterances and candidates.
        candidates : torch.Tensor, optional
            (C, D) embeddings to mine from; by default the batch itself.
        log_counts : torch.Tensor, optional
            (C,) logarithm of the number of negatives that each candidate stands for; only
            `soft` uses it.

        Returns
        -------
        LossOutput
            `loss` is exactly 0, with zero gradient, if no anchor has both a
            positive and a negative. `stats` holds `anchors` (fraction with both),
            `active` (fraction of these anchors whose term is above 0), `d_ap` and `d_an` (mean
            distances), and `spread` (1 - |mean embedding|^2: 0 if the embeddings have collapsed).
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            z = unit_norm(embeddings)
            others = z if candidates is None else unit_norm(candidates)
            mined = self.miner(z, others, similarity, log_counts)
            gaps = mined.d_ap - mined.d_an + self._margins(mined)
            terms = self.activation(self.miner.scale * gaps)
            weights = mined.usable.to(z.dtype)
            loss = global_mean((terms * weights).sum(), weights.sum())
            stats = self._stats(z, mined.d_ap, mined.d_an, terms, weights)
        return LossOutput(loss, stats)

    def _margins(self, mined: Mined) -> Tensor | float:
        if mined.negative_similarity is None:
            return self.margin
        return self.margin * (1.0 - mined.negative_similarity)

    @staticmethod
    @torch.no_grad()
    def _stats(z, d_ap, d_an, terms, weights) -> dict[str, Tensor]:
        anchors = weights.sum().clamp(min=1.0)
        return {
            "anchors": weights.mean(),
            "active": ((terms > 0) * weights).sum() / anchors,
            "d_ap": (d_ap * weights).sum() / anchors,
            "d_an": (d_an * weights).sum() / anchors,
            "spread": spread(z),
        }
