"""The front end that takes samples instead of log-mel features, as in wav2vec 2.0."""

import math

from speechbrain.lobes.models.wav2vec import W2VLatentExtractor
from torch import Tensor, nn

from masr_modules.encoders.pooling import valid_frames


class Waveform(nn.Module):
    """Samples, normalised to zero mean and unit variance per utterance and zero on padding.

    Arguments
    ---------
    sample_rate : int
        The sample rate of the waveforms in Hz.

    Example
    -------
    >>> import torch
    >>> features, lens = Waveform()(torch.randn(2, 400), torch.tensor([1.0, 0.5]))
    >>> features.shape, lens.tolist()
    (torch.Size([2, 400, 1]), [400, 200])
    """

    hop = 1

    def __init__(self, sample_rate: int = 16000):
        super().__init__()
        self.sample_rate = sample_rate

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Normalises (B, T) samples of (B,) relative lengths; returns (B, T, 1) and (B,) lengths.

        The returned lengths are numbers of samples.
        """
        lens = (wav_lens * wavs.shape[1]).round().long()
        valid = valid_frames(lens, wavs.shape[1], wavs.device)
        count = lens.to(wavs.device, non_blocking=True).unsqueeze(1)
        wavs = wavs.float()
        mean = (wavs * valid).sum(dim=1, keepdim=True) / count
        wavs = (wavs - mean) * valid
        std = (wavs.square().sum(dim=1, keepdim=True) / count).sqrt()
        return (wavs / std.clamp(min=1e-5)).unsqueeze(-1), lens


class LatentFrontEnd(nn.Module):
    """SpeechBrain's wav2vec 2.0 latent extractor, and a linear map to the encoder's width.

    Its convolutions do not pad, so that no valid frame depends on what follows the utterance.

    Arguments
    ---------
    d_model : int
        Number of output channels.
    channels : int
        Number of channels of every convolution.
    kernel_sizes : list[int]
        Kernel size of each convolution.
    strides : list[int]
        Stride of each convolution; their product is the subsampling factor, 320 as published.

    Example
    -------
    >>> import torch
    >>> front_end = LatentFrontEnd(16, channels=8)
    >>> frames, lens = front_end(torch.randn(2, 16000, 1), torch.tensor([16000, 8000]))
    >>> frames.shape, lens.tolist()
    (torch.Size([2, 49, 16]), [49, 24])
    """

    def __init__(
        self,
        d_model: int,
        channels: int = 512,
        kernel_sizes: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2),
        strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2),
    ):
        super().__init__()
        self.extractor = W2VLatentExtractor(
            [channels] * len(strides), list(kernel_sizes), list(strides)
        )
        self.projection = nn.Linear(channels, d_model)
        self.subsampling = math.prod(strides)

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes (B, T, 1) samples of (B,) lengths to (B, F, d_model) frames of (B,) lengths.

        Raises
        ------
        ValueError
            If an utterance is shorter than one frame.
        """
        lens = self.extractor.get_output_lengths(lens)
        if lens.min() < 1:
            raise ValueError(
                "an utterance is shorter than one frame: remove the shortest ones from the CSV"
            )
        latents = self.extractor(features.squeeze(-1), normalize_signal=False)
        return self.projection(latents), lens
