"""From pooled frames to the space that a loss works in."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.distributed import JointBatch

#: One of the encoder's layers, or several.
Layers = int | Sequence[int]


class Projection(nn.Module):
    """Linear, then BatchNorm without affine: z before its normalisation.

    Mean-pooled encoder outputs share one large direction; without the
    BatchNorm all cosine distances start near 0 and hard mining stays at its
    collapse value phi(m). In training its statistics are those of the joint batch
    of all ranks, whose embeddings are gathered before it.

    Arguments
    ---------
    input_size, output_size : int
        Of the pooled embedding, and of z.
    layers : int or sequence of int
        Which of the encoder's pooled layers it reads, front end first; -1 is the last. Of
        several, each normalised to zero mean and unit variance, the mix is learned, equal at
        first (as ELMo's, Peters et al., 2018, arXiv 1802.05365).

    Example
    -------
    >>> projection = Projection(8, 4)
    >>> projection(torch.randn(3, 8), JointBatch(3)).shape
    torch.Size([3, 4])
    """

    def __init__(self, input_size: int, output_size: int, layers: Layers = -1):
        super().__init__()
        self.size = output_size
        self.layers = [layers] if isinstance(layers, int) else list(layers)
        mixed = len(self.layers) > 1
        self.layer_scores = nn.Parameter(torch.zeros(len(self.layers))) if mixed else None
        self.linear = nn.Linear(input_size, output_size, bias=False)
        self.norm = nn.BatchNorm1d(output_size, affine=False)

    def forward(self, pooled: Tensor, joint: JointBatch) -> Tensor:
        """(B, input_size), or (B, K, input_size), of this rank -> (joint batch, output_size)."""
        if pooled.ndim == 3 and self.layer_scores is None:
            pooled = pooled[:, self.layers[0]]
        elif pooled.ndim == 3 and self.layer_scores is not None:
            layers = torch.stack([pooled[:, layer] for layer in self.layers], dim=1)
            layers = F.layer_norm(layers, layers.shape[-1:])
            pooled = torch.einsum("k,bkd->bd", self.layer_scores.softmax(dim=0), layers)
        x = joint.gather(self.linear(pooled).float())
        if self.training and len(x) == 1:
            # One utterance has no batch statistics; the running ones are the best known.
            return F.batch_norm(x, self.norm.running_mean, self.norm.running_var)
        return self.norm(x)
