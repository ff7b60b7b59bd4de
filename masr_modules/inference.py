"""Pretrained encoders and trained recipes, ready to use.

`MASREncoder` gives frames and embeddings of a pretrained encoder. The other modules are
what the result folders of the downstream recipes name in their hyperparams.yaml, in the
shapes that SpeechBrain's EncoderClassifier, SpeakerRecognition and EncoderASR call.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from masr_modules.data.dataio import read_audio
from masr_modules.encoders.pooling import MeanPooling
from masr_modules.encoders.pretrained import load_encoder


class MASREncoder(nn.Module):
    """A pretrained encoder: audio -> frames of any layer, or one embedding per utterance.

    Arguments
    ---------
    encoder : nn.Module
        (wavs, wav_lens) -> (list of (B, F, D), (B,) frame_lens).
    sample_rate : int
        Of the waveforms, Hz.

    Example
    -------
    >>> from masr_modules.encoders import ConvFrontEnd, LogMel, SpeechEncoder
    >>> front_end = ConvFrontEnd(80, 32, [7], [4])
    >>> network = SpeechEncoder(LogMel(), front_end, num_layers=2, d_model=32, d_ffn=64, nhead=2)
    >>> masr = MASREncoder(network, sample_rate=16000)
    >>> frames, lens = masr.encode_batch(torch.randn(2, 16000), torch.tensor([1.0, 0.5]))
    >>> frames.shape, lens.tolist(), masr.embed_batch(torch.randn(2, 16000)).shape
    (torch.Size([2, 26, 32]), [26, 13], torch.Size([2, 32]))
    """

    def __init__(self, encoder: nn.Module, sample_rate: int):
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.sample_rate = sample_rate
        self.pooling = MeanPooling()

    @classmethod
    def from_hparams(cls, source: str | Path, device: str = "cpu") -> "MASREncoder":
        """Loads an encoder; unlike SpeechBrain's loaders this runs no code of the source's.

        Arguments
        ---------
        source : str or Path
            As for `masr_modules.encoders.pretrained.load_encoder`.
        device : str
            Where it runs.
        """
        loaded = load_encoder(source)
        return cls(loaded.encoder, loaded.sample_rate).to(device)

    @torch.no_grad()
    def encode_batch(
        self, wavs: Tensor, wav_lens: Tensor | None = None, layer: int = -1
    ) -> tuple[Tensor, Tensor]:
        """Frames of one layer.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples at `sample_rate`, or (T,).
        wav_lens : torch.Tensor, optional
            (B,) relative lengths in (0, 1]; all of the batch by default.
        layer : int
            0 is the front end; -1 the last.

        Returns
        -------
        frames : torch.Tensor
            (B, F, D).
        frame_lens : torch.Tensor
            (B,) number of valid frames.
        """
        wavs = wavs.unsqueeze(0) if wavs.dim() == 1 else wavs
        wav_lens = torch.ones(len(wavs)) if wav_lens is None else wav_lens
        device = next(self.encoder.parameters()).device
        layers, lens = self.encoder(wavs.to(device), wav_lens.to(device))
        return layers[layer], lens

    def embed_batch(self, wavs: Tensor, wav_lens: Tensor | None = None, layer: int = -1) -> Tensor:
        """(B, D) mean of the valid frames; arguments as of encode_batch."""
        return self.pooling(*self.encode_batch(wavs, wav_lens, layer))

    def encode_file(self, path: str | Path, layer: int = -1) -> Tensor:
        """(F, D) frames of an audio file, of any format and sample rate."""
        wav = read_audio(str(path), self.sample_rate, max_seconds=None, seed=0)
        return self.encode_batch(wav, layer=layer)[0][0]

    def embed_file(self, path: str | Path, layer: int = -1) -> Tensor:
        """(D,) embedding of an audio file."""
        return self.encode_file(path, layer).mean(dim=0)


class Unchanged(nn.Module):
    """Passes its first argument on: `mean_var_norm`, which is called with two."""

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`values`, whatever the lengths."""
        return values


class UtteranceEmbedding(nn.Module):
    """`embedding_model` of an EncoderClassifier: waveforms -> (B, E).

    Arguments
    ---------
    encoder, mixer, head : nn.Module
        As the recipe trained them.
    """

    def __init__(self, encoder: nn.Module, mixer: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder, self.mixer, self.head = encoder, mixer, head

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """(B, T) samples, (B,) relative lengths -> (B, E)."""
        layers, frame_lens = self.encoder(wavs, wav_lens)
        return self.head(self.mixer(layers), frame_lens)


class TokenPosteriors(UtteranceEmbedding):
    """`encoder` of an EncoderASR: waveforms -> (B, F, V) log-posteriors, blank on padding.

    SpeechBrain decodes by the waveforms' relative lengths, which an encoder's frames follow
    only about: what a file gives must not hang on the batch it is in.
    """

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """(B, T) samples, (B,) relative lengths -> (B, F, V)."""
        layers, frame_lens = self.encoder(wavs, wav_lens)
        posteriors = self.head(self.mixer(layers), frame_lens)
        padding = torch.arange(posteriors.shape[1], device=frame_lens.device) >= frame_lens[:, None]
        blank = torch.full_like(posteriors[0, 0], -1e4)
        blank[0] = 0.0
        return torch.where(padding.unsqueeze(-1), blank, posteriors)
