"""BEST-RQ: masked prediction of the codes of a frozen random-projection quantiser.

The method is that of Chiu et al., "Self-supervised learning with random-projection quantizer for
speech recognition", ICML 2022, arXiv 2202.01855.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from masr_modules.encoders.conformer import SpeechEncoder
from masr_modules.objectives.base import SSLObjective, SSLOutput
from masr_modules.objectives.masking import span_mask
from masr_modules.objectives.random_projection import RandomProjectionLoss, stack_features


class BestRQ(SSLObjective):
    """BEST-RQ on a SpeechEncoder.

    Feature frames of masked spans are replaced by noise, and the encoder predicts the codes of the
    clean features at those frames. Only masked frames pass through the classifier.

    Arguments
    ---------
    encoder : SpeechEncoder
        The encoder to train.
    codebook_size : int
        Number of codes.
    codebook_dim : int
        Dimension of a code.
    mask_share : float
        Fraction of each utterance's frames that is masked.
    mask_span : int
        Length of a mask in encoder frames.
    noise_std : float
        Standard deviation of the noise that replaces masked features.
    num_codebooks : int
        Number of independent quantisers, whose codes are all predicted.

    Example
    -------
    >>> from masr_modules.encoders.conformer import ConvFrontEnd, LogMel
    >>> encoder = SpeechEncoder(
    ...     LogMel(), ConvFrontEnd(80, 32, [7], [4]), num_layers=1, d_model=32, d_ffn=64, nhead=2
    ... )
    >>> out = BestRQ(encoder)(torch.randn(2, 32000), torch.tensor([1.0, 0.6]))
    >>> out.frames.shape, out.frame_mask.shape
    (torch.Size([2, 51, 32]), torch.Size([2, 51]))
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        codebook_size: int = 1024,
        codebook_dim: int = 16,
        mask_share: float = 0.4,
        mask_span: int = 10,
        noise_std: float = 0.1,
        num_codebooks: int = 1,
    ):
        super().__init__()
        self.encoder = encoder
        self.d_model = encoder.d_model
        self.mask_share = mask_share
        self.mask_span = mask_span
        self.noise_std = noise_std
        self.subsampling = encoder.front_end.subsampling
        self.prediction = RandomProjectionLoss(
            encoder.features.n_mels * self.subsampling,
            encoder.d_model,
            codebook_size,
            codebook_dim,
            num_codebooks,
        )

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective."""
        features, feature_lens = self.encoder.features(wavs, wav_lens)
        # Features are padded to whole encoder frames: a frame's target is the features it covers.
        features = self._pad_to_frames(features)
        frame_lens = (feature_lens + self.subsampling - 1) // self.subsampling
        num_frames = features.shape[1] // self.subsampling
        mask = span_mask(
            frame_lens, num_frames, self.mask_share, self.mask_span, mask_seeds, wavs.device
        )
        noise = torch.randn_like(features) * self.noise_std
        noisy = torch.where(
            mask.frames.repeat_interleave(self.subsampling, dim=1).unsqueeze(-1), noise, features
        )
        layers, out_lens = self.encoder.encode_features(noisy, feature_lens)
        frames = layers[-1]
        clean = mask.select(stack_features(features, self.subsampling))
        loss, stats = self.prediction(mask.select(frames), clean)
        return SSLOutput(loss, layers, out_lens, mask.frames, stats)

    def _pad_to_frames(self, features: Tensor) -> Tensor:
        missing = -features.shape[1] % self.subsampling
        return F.pad(features, (0, 0, 0, missing)) if missing else features
