"""HuBERT: masked prediction of units that k-means found.

The method is that of Hsu et al., "HuBERT: self-supervised speech representation learning by masked
prediction of hidden units", TASLP 2021, arXiv 2106.07447.
"""

from pathlib import Path

from torch import Tensor, nn

from masr_modules.encoders.conformer import SpeechEncoder
from masr_modules.objectives.base import SSLOutput
from masr_modules.objectives.masked_latents import MaskedLatents
from masr_modules.objectives.unit_prediction import UnitPrediction


class Hubert(MaskedLatents, UnitPrediction):
    """HuBERT's task on a SpeechEncoder; PublishedHubert has the published network.

    Arguments
    ---------
    encoder : SpeechEncoder
        The encoder to train.
    unit_features : nn.Module
        The features that k-means clustered: masr_modules.objectives.units.Mfcc or LayerFrames.
    centroids, num_units, unit_dim
        See UnitPrediction.add_units.
    mask_share : float
        Fraction of each utterance's frames that is masked.
    mask_span : int
        Length of a mask in encoder frames.
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        unit_features: nn.Module,
        centroids: str | Path,
        num_units: int = 100,
        unit_dim: int = 256,
        mask_share: float = 0.49,
        mask_span: int = 10,
    ):
        super().__init__(encoder, mask_share, mask_span)
        self.add_units(encoder.d_model, unit_features, centroids, num_units, unit_dim)

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective; raises a FileNotFoundError if there are no centroids."""
        self.require_centroids()
        masked = self.masked_pass(wavs, wav_lens, mask_seeds)
        frames = masked.layers[-1]
        features, _ = self.unit_features(wavs, wav_lens)
        features = features[:, : frames.shape[1]]
        select = masked.mask.select
        loss, stats = self.predict_units(select(frames), select(features))
        return SSLOutput(loss, masked.layers, masked.lens, masked.mask.frames, stats)
