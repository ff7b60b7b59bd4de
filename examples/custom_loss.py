#!/usr/bin/env python3
"""Defines a loss of your own on pairs with the similarities of the knowledge sources.

> python examples/custom_loss.py
> PYTHONPATH=examples python recipes/pretrain/train.py hparams/masr.yaml \
>     --prototypes null --loss "!new:custom_loss.WeightedNCE [0.1, 0.5]"

A loss is called with (B, D) embeddings, a Similarity of the same utterances and, where it compares
them with candidates such as prototypes, their (C, D) embeddings. It returns a LossOutput.
`global_mean` computes the mean over the joint batch of all ranks.
"""

import torch
from torch import Tensor, nn

from masr_modules.data.metadata import Metadata
from masr_modules.distributed import global_mean
from masr_modules.knowledge import LanguageDistance
from masr_modules.pairwise.losses import LossOutput, unit_norm
from masr_modules.pairwise.similarity import Similarity, combine


class WeightedNCE(nn.Module):
    """InfoNCE in which a negative weighs more, the more similar it is by the knowledge sources.

    L_i = - log sum_P exp(s / t) / (sum_P exp(s / t) + sum_N exp(s / t + alpha S)), where s is the
    cosine and S the similarity

    Arguments
    ---------
    temperature : float
        Temperature t.
    knowledge_weight : float
        Weight alpha of the similarity.
    """

    def __init__(self, temperature: float = 0.1, knowledge_weight: float = 0.5):
        super().__init__()
        self.temperature, self.knowledge_weight = temperature, knowledge_weight

    def forward(
        self, embeddings: Tensor, similarity: Similarity, candidates: Tensor | None = None
    ) -> LossOutput:
        """Computes the loss of (B, D) embeddings against themselves or (C, D) candidates."""
        z = unit_norm(embeddings)
        others = z if candidates is None else unit_norm(candidates)
        scores = z @ others.T / self.temperature
        harder = scores + self.knowledge_weight * similarity.values
        positive = scores.masked_fill(~similarity.positive, -1e4).logsumexp(dim=1)
        negative = harder.masked_fill(~similarity.negative, -1e4).logsumexp(dim=1)
        anchors = (similarity.positive.any(dim=1) & similarity.negative.any(dim=1)).float()
        terms = torch.logaddexp(positive, negative) - positive
        return LossOutput(global_mean((terms * anchors).sum(), anchors.sum()))


def main() -> None:
    """Shows that of a Catalan and a German negative of French, the Catalan is the harder."""
    metadata = Metadata.from_columns({"language": ["fra", "fra", "cat", "deu"]})
    similarity = combine([LanguageDistance("language", metadata=metadata)], metadata)
    embeddings = torch.eye(4, requires_grad=True)
    WeightedNCE()(embeddings, similarity).loss.backward()
    pushed = embeddings.grad[0]  # of the first French utterance, along each of the others
    print(f"away from Catalan {pushed[2]:.3f}, away from German {pushed[3]:.3f}")


if __name__ == "__main__":
    main()
