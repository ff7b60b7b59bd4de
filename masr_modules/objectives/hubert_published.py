"""HuBERT as published: the network and the weights of facebook/hubert-base-ls960, and its loss.

Hsu et al., "HuBERT: self-supervised speech representation learning by masked
prediction of hidden units", TASLP 2021, arXiv 2106.07447.
"""

from pathlib import Path

from torch import Tensor, nn

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.objectives.base import SSLOutput
from masr_modules.objectives.published import PublishedObjective
from masr_modules.objectives.unit_prediction import UnitPrediction


class PublishedHubert(PublishedObjective, UnitPrediction):
    """HuBERT's loss around a `HubertModel`: unit prediction + penalty_weight * penalty.

    Where units are found more often than the encoder has frames, as by MFCC each 10 ms, a frame's
    is the one that begins with it. The penalty is the mean square of the convolutions' output.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        The encoder to train.
    unit_features : nn.Module
        What k-means clustered: masr_modules.objectives.units.KaldiMfcc or LayerFrames.
    centroids, num_units, unit_dim
        Of UnitPrediction.add_units.
    penalty_weight : float
        Of the mean square of the convolutions' output.
    mask_prob : float
        Of PublishedObjective, as are all others.

    Raises
    ------
    ValueError
        If frames of the encoder are no whole number of the features' steps apart.
    """

    def __init__(
        self,
        encoder: HuggingFaceEncoder,
        unit_features: nn.Module,
        centroids: str | Path,
        num_units: int = 100,
        unit_dim: int = 256,
        penalty_weight: float = 10.0,
        mask_prob: float = 0.8,
        **published,
    ):
        super().__init__(encoder, mask_prob=mask_prob, **published)
        if encoder.frame_samples % unit_features.frame_samples:
            raise ValueError(
                f"frames are {encoder.frame_samples} samples apart, which is no multiple of the "
                f"{unit_features.frame_samples} of their units"
            )
        self.ratio = encoder.frame_samples // unit_features.frame_samples
        self.penalty_weight = penalty_weight
        self.add_units(encoder.d_model, unit_features, centroids, num_units, unit_dim)
        nn.init.uniform_(self.units)

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective; raises FileNotFoundError without centroids."""
        self.require_centroids()
        masked = self.masked_pass(wavs, wav_lens, mask_seeds)
        mask = masked.mask
        features, _ = self.unit_features(wavs, wav_lens)
        features = features[:, :: self.ratio][:, : mask.frames.shape[1]]
        loss, stats = self.predict_units(mask.select(masked.layers[-1]), mask.select(features))
        penalty = self.feature_penalty(masked)
        loss = loss + self.penalty_weight * penalty
        stats["feature_penalty"] = penalty.detach()
        return SSLOutput(loss, masked.layers, masked.inputs.frame_lens, mask.frames, stats)
