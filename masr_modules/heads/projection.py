"""The projection of pooled frames into the space of a loss."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.distributed import JointBatch

#: One of the encoder's layers, or several.
Layers = int | Sequence[int]


class Projection(nn.Module):
    """A linear layer and a BatchNorm without affine parameters; its output is z, of any norm.

    Mean-pooled encoder outputs share one large direction; without the
    BatchNorm all cosine distances start near 0 and hard mining stays at its
    collapse value phi(m). In training the BatchNorm uses the statistics of the joint
    batch of all ranks, whose embeddings are gathered before it.

    Arguments
    ---------
    input_size, output_size : int
        Dimensions of the pooled embedding, and of z.
    layers : int or sequence of int
        The encoder's pooled layers that it reads; 0 is the front end, -1 the last. Several layers
        are each normalised to zero mean and unit variance and mixed with learned weights, equal
        at first (as in ELMo, Peters et al., 2018, arXiv 1802.05365).

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
        """Projects this rank's pooled frames, and returns the projections of the joint batch.

        Arguments
        ---------
        pooled : torch.Tensor
            (B, input_size) pooled frames, or (B, K, input_size) of K layers.
        joint : JointBatch
            The joint batch that they are part of.

        Returns
        -------
        torch.Tensor
            (utterances of the joint batch, output_size).
        """
        if pooled.ndim == 3 and self.layer_scores is None:
            pooled = pooled[:, self.layers[0]]
        elif pooled.ndim == 3 and self.layer_scores is not None:
            layers = torch.stack([pooled[:, layer] for layer in self.layers], dim=1)
            layers = F.layer_norm(layers, layers.shape[-1:])
            pooled = torch.einsum("k,bkd->bd", self.layer_scores.softmax(dim=0), layers)
        x = joint.gather(self.linear(pooled).float())
        if self.training and len(x) == 1:
            # One utterance has no batch statistics; the running ones take their place.
            return F.batch_norm(x, self.norm.running_mean, self.norm.running_var)
        return self.norm(x)
