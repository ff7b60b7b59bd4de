"""A learned mixture of an encoder's layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class WeightedLayers(nn.Module):
    """The sum of the layers, weighted by the softmax of learned numbers, which are equal at first.

    Each layer's frames are first normalised to zero mean and unit variance: the layers of
    a Transformer differ much in scale, and the weights should show which layers serve the
    task. The mixture follows Yang et al., "SUPERB: speech processing universal performance
    benchmark", Interspeech 2021, arXiv 2105.01051.

    Arguments
    ---------
    num_layers : int
        L, the number of layers.

    Example
    -------
    >>> mixer = WeightedLayers(2)
    >>> frames = mixer([torch.randn(3, 5, 8), torch.randn(3, 5, 8)])
    >>> frames.shape, mixer.shares.tolist()
    (torch.Size([3, 5, 8]), [0.5, 0.5])
    """

    def __init__(self, num_layers: int):
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(num_layers))

    @property
    def shares(self) -> Tensor:
        """(L,) weights that sum to 1."""
        return self.scores.softmax(dim=0)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Mixes L tensors (B, F, D), or one (L, B, F, D), to (B, F, D)."""
        mixed = 0.0
        for share, frames in zip(self.shares, layers, strict=True):
            mixed = mixed + share * nn.functional.layer_norm(frames, frames.shape[-1:])
        return mixed
