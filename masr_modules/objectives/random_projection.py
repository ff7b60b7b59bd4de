"""Masked prediction of random-projection codes: BEST-RQ's loss, for any encoder.

The method is that of Chiu et al., "Self-supervised learning with random-projection quantizer for
speech recognition", ICML 2022, arXiv 2202.01855.
"""

import torch
import torch.nn.functional as F
from speechbrain.nnet.quantisers import RandomProjectionQuantizer
from torch import Tensor, nn


class FastRandomProjectionQuantizer(RandomProjectionQuantizer):
    """SpeechBrain's quantiser, which here finds the nearest code by one matrix product.

    Features and codes have unit norm, so that the nearest code is the one with the largest inner
    product. This takes O(N V) memory instead of O(N V D).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Finds the (...) code indices of (..., input_dim) features."""
        return (F.normalize(x @ self.P, dim=-1) @ self.CB.T).argmax(dim=-1)


def stack_features(features: Tensor, ratio: int) -> Tensor:
    """Concatenates the `ratio` feature frames that each encoder frame covers.

    Arguments
    ---------
    features : torch.Tensor
        (B, F, n) features; zeros are added if F is not a multiple of `ratio`.
    ratio : int
        Number of feature frames per encoder frame.

    Returns
    -------
    torch.Tensor
        (B, ceil(F / ratio), ratio * n) stacked features.

    Example
    -------
    >>> stack_features(torch.ones(1, 5, 1), 2).tolist()
    [[[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]]
    """
    missing = -features.shape[1] % ratio
    features = F.pad(features, (0, 0, 0, missing)) if missing else features
    return features.unflatten(1, (-1, ratio)).flatten(2)


class RandomProjectionLoss(nn.Module):
    """Frozen quantisers of the features, and the classifier that predicts their codes.

    Arguments
    ---------
    feature_size : int
        Width of the stacked features.
    d_model : int
        Width of the encoder's frames.
    codebook_size : int
        Number of codes.
    codebook_dim : int
        Dimension of a code.
    num_codebooks : int
        Number of independent quantisers, whose codes are all predicted.

    Example
    -------
    >>> loss, stats = RandomProjectionLoss(160, 32)(torch.randn(7, 32), torch.randn(7, 160))
    >>> loss.shape, list(stats)
    (torch.Size([]), ['ssl_accuracy'])
    """

    def __init__(
        self,
        feature_size: int,
        d_model: int,
        codebook_size: int = 1024,
        codebook_dim: int = 16,
        num_codebooks: int = 1,
    ):
        super().__init__()
        self.quantizers = nn.ModuleList(
            FastRandomProjectionQuantizer(feature_size, codebook_dim, codebook_size)
            for _ in range(num_codebooks)
        )
        self.classifier = nn.Linear(d_model, codebook_size * num_codebooks)

    def forward(self, frames: Tensor, stacked: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes loss and stats of (N, d_model) masked frames and (N, feature_size) features.

        The features are those of the unmasked input.
        """
        with torch.no_grad(), torch.autocast(stacked.device.type, enabled=False):
            codes = [quantizer(stacked.float()) for quantizer in self.quantizers]
            targets = torch.stack(codes, dim=-1)
        # (N, codebooks, codes)
        logits = self.classifier(frames).unflatten(-1, (len(self.quantizers), -1))
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        with torch.no_grad():
            accuracy = (logits.argmax(dim=-1) == targets).float().mean()
        return loss, {"ssl_accuracy": accuracy}
