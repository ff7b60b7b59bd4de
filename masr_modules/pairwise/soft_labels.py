"""Losses that take similarities as soft labels: they are compared with MASR's."""

from math import inf

import torch
from torch import Tensor, nn

from masr_modules.distributed import global_mean
from masr_modules.pairwise.losses import LossOutput, spread, unit_norm
from masr_modules.pairwise.similarity import Similarity
from masr_modules.pairwise.weighting import NO_PAIR


class _SoftLabelLoss(nn.Module):
    """Cross-entropy of rows of target weights against softmax(z z^T / temperature).

    It runs over the pairs of different recordings that some source knows. It holds (B, C)
    matrices with gradient: O(B C) memory.
    """

    def __init__(self, temperature: float = 0.1):
        super().__init__()
        if not 0 < temperature < inf:
            raise ValueError(f"temperature must be above 0 and finite; it is {temperature}")
        self.temperature = temperature

    def targets(self, values: Tensor, known: Tensor) -> Tensor:
        """Returns (B, C) weights, 0 where not known; an anchor's row sums to 1, others to 0."""
        raise NotImplementedError

    def forward(
        self,
        embeddings: Tensor,
        similarity: Similarity,
        candidates: Tensor | None = None,
    ) -> LossOutput:
        """Computes the loss of a batch; arguments are those of `MASRLoss.forward`.

        Returns
        -------
        LossOutput
            `stats` holds `anchors` (fraction of utterances with a target) and `spread`.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            z = unit_norm(embeddings)
            others = z if candidates is None else unit_norm(candidates)
            known = similarity.valid & ~similarity.same_recording
            targets = self.targets(similarity.values.to(z.dtype), known)
            # Finite, so that 0 * log-probability is 0 in rows where nothing is known.
            logits = (z @ others.T / self.temperature).masked_fill(~known, NO_PAIR)
            terms = -(targets * logits.log_softmax(dim=1)).sum(dim=1)
            anchors = (targets.sum(dim=1) > 0).to(z.dtype)
            loss = global_mean((terms * anchors).sum(), anchors.sum())
        return LossOutput(loss, {"anchors": anchors.mean(), "spread": spread(z)})


class MultiSupConLoss(_SoftLabelLoss):
    """Supervised contrastive loss with soft labels: each pair is a positive with weight S.

    L = - mean over anchors of sum_j S_ij log p_ij / sum_j S_ij, with p_i the softmax of
    z_i . z_j / temperature over the other recordings j for which some source knows the pair.
    With S of 0 and 1 it is SupCon's L_out (Khosla et al., 2020, arXiv 2004.11362).
    Anchors are utterances with a pair of S > 0.

    Arguments
    ---------
    temperature : float
        Temperature of the softmax, above 0.

    Raises
    ------
    ValueError
        If the temperature is not above 0.

    Example
    -------
    >>> from masr_modules.knowledge import Categorical
    >>> from masr_modules.data.metadata import Metadata
    >>> from masr_modules.pairwise.similarity import combine
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"]})
    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> loss = MultiSupConLoss(temperature=1.0)
    >>> round(loss(z, combine([Categorical("language")], metadata)).loss.item(), 4)
    0.3133
    """

    def targets(self, values: Tensor, known: Tensor) -> Tensor:
        """Returns S, normalised to a sum of 1 per row."""
        weights = values * known
        return weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)


class XSampleLoss(_SoftLabelLoss):
    """X-Sample contrastive loss: the distribution of S over the others is the target.

    L = - mean over anchors of sum_j t_ij log p_ij, with t_i the softmax of
    S_ij / target_temperature and p_i that of z_i . z_j / temperature, both over the other
    recordings j for which some source knows the pair (Sobal et al., 2024, arXiv 2407.18134).

    Arguments
    ---------
    temperature, target_temperature : float
        Temperatures of the two softmaxes, above 0.

    Raises
    ------
    ValueError
        If a temperature is not above 0.

    Example
    -------
    >>> from masr_modules.knowledge import Categorical
    >>> from masr_modules.data.metadata import Metadata
    >>> from masr_modules.pairwise.similarity import combine
    >>> metadata = Metadata.from_columns({"language": ["fra", "fra", "deu"]})
    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> loss = XSampleLoss(temperature=1.0, target_temperature=1.0)
    >>> round(loss(z, combine([Categorical("language")], metadata)).loss.item(), 4)
    0.6192
    """

    def __init__(self, temperature: float = 0.1, target_temperature: float = 0.1):
        super().__init__(temperature)
        if not 0 < target_temperature < inf:
            raise ValueError(
                f"target_temperature must be above 0 and finite; it is {target_temperature}"
            )
        self.target_temperature = target_temperature

    def targets(self, values: Tensor, known: Tensor) -> Tensor:
        """Returns softmax(S / target_temperature) over the known pairs of each row."""
        scores = (values / self.target_temperature).masked_fill(~known, NO_PAIR)
        return scores.softmax(dim=1) * known
