"""The MASR loss: a margin between each anchor's mined positive and negative."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.mining import MINING_RULES, mine
from masr_modules.similarity import Similarity

ACTIVATIONS = {"relu": F.relu, "softplus": F.softplus}


@dataclass
class LossOutput:
    """A scalar loss and detached scalars for the log, left on their device."""

    loss: Tensor
    stats: dict[str, Tensor] = field(default_factory=dict)


def check_choice(name: str, value: str, choices) -> None:
    """Raises a ValueError that lists the choices unless `value` is one of them."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; it is {value!r}")


class MASRLoss(nn.Module):
    """Hard-mining loss on utterance embeddings, steered by knowledge.

    L = sum over anchors with a positive and a negative of
    phi(d_ip - d_in + m_i) / number of such anchors, with d cosine distances.
    Pairs are mined without gradient; only the 2 B chosen distances are computed
    with it. One B x C matrix product and O(B C) element-wise work.

    The hard-mining objective follows LASR (arXiv 2306.04374) and MASR
    (arXiv 2307.10982) by their published descriptions; see README on what is
    this project's own reading.

    Arguments
    ---------
    mining : str
        `hardest`: by embedding distance alone; `knowledge`: the knowledge weighs
        in by `knowledge_weight`; `semihard`: as `knowledge`, with the negative
        farther than the positive where there is one.
    knowledge_weight : float
        alpha; not used by `hardest`.
    margin : float
        m.
    margin_mode : str
        `constant`, or `graded`: m_i = m (1 - S_in), a smaller gap to relatives.
    activation : str
        phi: `relu` or `softplus`.

    Raises
    ------
    ValueError
        For an unknown choice or a negative margin or weight.

    Example
    -------
    >>> from masr_modules.knowledge import Categorical
    >>> from masr_modules.metadata import Metadata
    >>> from masr_modules.similarity import combine
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
    ):
        super().__init__()
        check_choice("mining", mining, MINING_RULES)
        check_choice("margin_mode", margin_mode, ("constant", "graded"))
        check_choice("activation", activation, ACTIVATIONS)
        if margin < 0 or knowledge_weight < 0:
            raise ValueError(
                f"margin ({margin}) and knowledge_weight ({knowledge_weight}) must not be negative"
            )
        self.mining = mining
        self.knowledge_weight = knowledge_weight
        self.margin = margin
        self.margin_mode = margin_mode
        self.activation = ACTIVATIONS[activation]

    def forward(
        self, embeddings: Tensor, similarity: Similarity, candidates: Tensor | None = None
    ) -> LossOutput:
        """Computes the loss of a batch.

        Arguments
        ---------
        embeddings : torch.Tensor
            (B, D); normalised here.
        similarity : Similarity
            (B, C) over the same utterances and candidates.
        candidates : torch.Tensor, optional
            (C, D) embeddings to mine from; by default the batch itself.

        Returns
        -------
        LossOutput
            `loss` is exactly 0, with zero gradient, when no anchor has both a
            positive and a negative. `stats`: `anchors` (share with both),
            `active` (share of those whose term is not 0), `d_ap`, `d_an` (mean
            distances), `spread` (1 - |mean embedding|^2: 0 is a collapse).
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            z = F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)))
            others = z if candidates is None else F.normalize(candidates.to(z.dtype))
            with torch.no_grad():
                distances = 1.0 - z @ others.T
            pairs = mine(distances, similarity, self.mining, self.knowledge_weight)
            d_ap = 1.0 - (z * others[pairs.positive]).sum(dim=1)
            d_an = 1.0 - (z * others[pairs.negative]).sum(dim=1)
            terms = self.activation(d_ap - d_an + self._margins(similarity, pairs.negative))
            weights = pairs.usable.to(z.dtype)
            anchors = weights.sum().clamp(min=1.0)
            loss = (terms * weights).sum() / anchors
            stats = self._stats(z, d_ap, d_an, terms, weights, anchors)
        return LossOutput(loss, stats)

    def _margins(self, similarity: Similarity, negative: Tensor) -> Tensor | float:
        if self.margin_mode == "constant":
            return self.margin
        return self.margin * (1.0 - similarity.values.gather(1, negative.unsqueeze(1)).squeeze(1))

    @staticmethod
    @torch.no_grad()
    def _stats(z, d_ap, d_an, terms, weights, anchors) -> dict[str, Tensor]:
        return {
            "anchors": weights.mean(),
            "active": ((terms > 0) * weights).sum() / anchors,
            "d_ap": (d_ap * weights).sum() / anchors,
            "d_an": (d_an * weights).sum() / anchors,
            "spread": 1.0 - z.mean(dim=0).square().sum(),
        }
