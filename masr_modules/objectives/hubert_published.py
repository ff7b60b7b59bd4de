"""HuBERT as published, with the network of facebook/hubert-base-ls960 and its loss.

The method is that of Hsu et al., "HuBERT: self-supervised speech representation learning by masked
prediction of hidden units", TASLP 2021, arXiv 2106.07447.
"""

from pathlib import Path

from torch import Tensor, nn

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.objectives.base import SSLOutput
from masr_modules.objectives.published import PublishedObjective
from masr_modules.objectives.unit_prediction import UnitPrediction


class PublishedHubert(PublishedObjective, UnitPrediction):
    """HuBERT's objective on a `HubertModel`.

    The loss is unit prediction + penalty_weight * penalty; the penalty is the mean square of the
    convolutions' output. If there are more units than encoder frames, as with MFCC every 10 ms, a
    frame has the unit that begins at the same time.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        The encoder to train.
    unit_features : nn.Module
        The features that k-means clustered: masr_modules.objectives.units.KaldiMfcc or LayerFrames.
    centroids, num_units, unit_dim
        See UnitPrediction.add_units.
    penalty_weight : float
        Weight of the mean square of the convolutions' output.
    mask_prob, **published
        See PublishedObjective.

    Raises
    ------
    ValueError
        If the encoder's frames are not a multiple of the features' steps apart.
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
                f"the encoder's frames are {encoder.frame_samples} samples apart, which is not a "
                f"multiple of the {unit_features.frame_samples} of the units: choose other "
                "unit_features"
            )
        self.ratio = encoder.frame_samples // unit_features.frame_samples
        self.penalty_weight = penalty_weight
        self.add_units(encoder.d_model, unit_features, centroids, num_units, unit_dim)
        nn.init.uniform_(self.units)

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective; raises a FileNotFoundError if there are no centroids."""
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
