"""The units of HuBERT: features that k-means clusters, and the cluster of each frame."""

import copy
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from speechbrain.lobes.features import MFCC
from torch import Tensor, nn
from torchaudio.compliance import kaldi
from torchaudio.functional import compute_deltas

from masr_modules.encoders.pooling import valid_frames


class Mfcc(nn.Module):
    """MFCC with first and second differences, averaged over each encoder frame.

    Arguments
    ---------
    frame_samples : int
        Number of samples from one encoder frame to the next, a multiple of 10 ms.
    sample_rate : int
        The sample rate in Hz.

    Raises
    ------
    ValueError
        If encoder frames are not a multiple of 10 ms apart.

    Example
    -------
    >>> features, lens = Mfcc(640)(torch.randn(2, 16000), torch.tensor([1.0, 0.5]))
    >>> features.shape, lens.tolist()
    (torch.Size([2, 26, 39]), [26, 13])
    """

    name = "mfcc"
    size = 39
    hop_ms = 10

    def __init__(self, frame_samples: int, sample_rate: int = 16000):
        super().__init__()
        self.hop = sample_rate * self.hop_ms // 1000
        if frame_samples % self.hop:
            raise ValueError(
                f"encoder frames are {frame_samples} samples apart, which is not a multiple of "
                f"{self.hop_ms} ms: MFCC units need one, so change the strides of the front end"
            )
        self.frame_samples = frame_samples
        self.ratio = frame_samples // self.hop
        self.mfcc = MFCC(deltas=False, context=False, sample_rate=sample_rate, n_mels=40, n_mfcc=13)

    @torch.no_grad()
    def forward(self, wavs: Tensor, wav_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Computes (B, F, 39) features and (B,) numbers of frames of (B, T) samples."""
        samples = (wav_lens * wavs.shape[1]).round().long()
        with torch.autocast(wavs.device.type, enabled=False):
            static = self.mfcc((wavs * valid_frames(samples, wavs.shape[1], wavs.device)).float())
            lens = (samples // self.hop + 1).to(wavs.device, non_blocking=True)
            static = self._hold_last(static, lens)
            first = self._hold_last(self.mfcc.compute_deltas(static), lens)
            second = self.mfcc.compute_deltas(first)
        features = torch.cat([static, first, second], dim=-1)
        features = features * valid_frames(lens, features.shape[1]).unsqueeze(-1)
        missing = -features.shape[1] % self.ratio
        features = nn.functional.pad(features, (0, 0, 0, missing))
        sums = features.unflatten(1, (-1, self.ratio)).sum(dim=2)
        starts = torch.arange(sums.shape[1], device=lens.device) * self.ratio
        counts = (lens.unsqueeze(1) - starts).clamp(min=1, max=self.ratio)
        frame_lens = (lens + self.ratio - 1).div(self.ratio, rounding_mode="floor")
        return sums / counts.unsqueeze(-1), frame_lens

    @staticmethod
    def _hold_last(features: Tensor, lens: Tensor) -> Tensor:
        """Repeats the last valid frame over the padding, as SpeechBrain's deltas do at the end."""
        places = torch.arange(features.shape[1], device=lens.device)
        places = torch.minimum(places, lens.unsqueeze(1) - 1)
        return features.gather(1, places.unsqueeze(-1).expand_as(features))


class KaldiMfcc(nn.Module):
    """Kaldi's MFCC every 10 ms with first and second differences, which published HuBERT clusters.

    Arguments
    ---------
    sample_rate : int
        The sample rate in Hz.

    Example
    -------
    >>> features, lens = KaldiMfcc()(torch.randn(2, 16000), torch.tensor([1.0, 0.5]))
    >>> features.shape, lens.tolist()
    (torch.Size([2, 98, 39]), [98, 48])
    """

    name = "kaldi mfcc"
    size = 39

    def __init__(self, sample_rate: int = 16000):
        super().__init__()
        self.sample_rate = sample_rate
        self.frame_samples = sample_rate // 100
        self.window = sample_rate // 40  # samples of a window, which the first frame needs

    @torch.no_grad()
    def forward(self, wavs: Tensor, wav_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Computes (B, F, 39) features and (B,) numbers of frames of (B, T) samples."""
        samples = (wav_lens * wavs.shape[1]).round().long()
        steps = (samples - self.window).div(self.frame_samples, rounding_mode="floor")
        lens = (steps + 1).clamp(min=0)
        features = wavs.new_zeros(len(wavs), int(lens.max()), self.size, dtype=torch.float32)
        with torch.autocast(wavs.device.type, enabled=False):
            rows = zip(features, wavs.float(), samples.tolist(), lens.tolist(), strict=True)
            for row, wav, count, length in rows:
                if length:
                    row[:length] = self._of(wav[:count])
        return features, lens.to(wavs.device, non_blocking=True)

    def _of(self, wav: Tensor) -> Tensor:
        static = kaldi.mfcc(wav[None], sample_frequency=self.sample_rate, use_energy=False).T
        first = compute_deltas(static)
        return torch.cat([static, first, compute_deltas(first)]).T


class LayerFrames(nn.Module):
    """The frames of a layer of an earlier trained, frozen encoder, for HuBERT's second iteration.

    Arguments
    ---------
    encoder : nn.Module
        A SpeechEncoder or HuggingFaceEncoder of the same shape as the earlier one; it is copied.
    checkpoint : str or Path
        The earlier run's `ssl.ckpt`, or the folder that holds it.
    layer : int
        The layer; 0 is the front end.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If the checkpoint is of an encoder of another shape, or the encoder has no such layer.
    """

    def __init__(self, encoder: nn.Module, checkpoint: str | Path, layer: int):
        super().__init__()
        path = Path(checkpoint)
        path = path / "ssl.ckpt" if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(f"teacher_checkpoint {path}: no such file")
        if not 0 <= layer <= len(encoder.blocks):
            raise ValueError(
                f"teacher_layer is {layer}: choose 0 to num_layers, {len(encoder.blocks)}"
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
        prefix = "encoder."
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        self.encoder = copy.deepcopy(encoder).requires_grad_(False).eval()
        try:
            self.encoder.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(
                f"{path}: its encoder is not of this YAML's shape: give both runs the same "
                f"encoder keys ({error})"
            ) from error
        self.layer = layer
        self.size, self.frame_samples = encoder.d_model, encoder.frame_samples
        self.name = f"layer {layer} of {path}"

    def train(self, mode: bool = True) -> "LayerFrames":
        """Keeps the encoder in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, wavs: Tensor, wav_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Computes (B, F, size) frames and (B,) numbers of frames of (B, T) samples."""
        layers, lens = self.encoder(wavs, wav_lens)
        return layers[self.layer], lens


def unit_features(
    encoder: nn.Module, checkpoint: str | None = None, layer: int = 0, published: bool = False
) -> Mfcc | KaldiMfcc | LayerFrames:
    """Makes the features of units: MFCC for the first iteration, or a checkpoint's layer.

    Arguments
    ---------
    encoder : nn.Module
        The encoder that will learn the units: SpeechEncoder or HuggingFaceEncoder.
    checkpoint : str, optional
        See LayerFrames.
    layer : int
        See LayerFrames.
    published : bool
        Whether MFCC are Kaldi's, every 10 ms; else they are averaged over each encoder frame.
    """
    if checkpoint is None and published:
        return KaldiMfcc(encoder.sample_rate)
    if checkpoint is None:
        return Mfcc(encoder.frame_samples, encoder.sample_rate)
    return LayerFrames(encoder, checkpoint, layer)


def load_centroids(path: str | Path, shape: tuple[int, int], name: str) -> Tensor:
    """Reads the centroids that recipes/pretrain/kmeans.py wrote.

    Arguments
    ---------
    path : str or Path
        The .npz.
    shape : tuple of int
        The expected (units, feature size).
    name : str
        The expected name of the features, such as `Mfcc.name`.

    Returns
    -------
    torch.Tensor
        (units, feature size) float32 centroids.

    Raises
    ------
    ValueError
        If the file is broken or holds other units.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            centroids, found = file["centroids"], str(file["features"])
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise ValueError(
            f"{path}: is not a file of centroids: {error}; run recipes/pretrain/kmeans.py"
        ) from error
    if centroids.shape != shape or found != name:
        raise ValueError(
            f"{path}: holds {centroids.shape} centroids of {found!r}, but the YAML asks for "
            f"{shape} of {name!r}: run recipes/pretrain/kmeans.py with the same YAML and "
            "overrides, or give another path"
        )
    return torch.from_numpy(centroids.astype(np.float32))


def nearest(x: Tensor, centroids: Tensor) -> Tensor:
    """Finds the nearest centroid of each row, by one matrix product.

    Arguments
    ---------
    x : torch.Tensor
        (N, D) features.
    centroids : torch.Tensor
        (units, D) centroids.

    Returns
    -------
    torch.Tensor
        (N,) long indices of centroids.

    Example
    -------
    >>> nearest(torch.tensor([[0.2], [0.9]]), torch.tensor([[1.0], [0.0]])).tolist()
    [1, 0]
    """
    with torch.autocast(x.device.type, enabled=False):
        x, centroids = x.float(), centroids.float()
        return (x @ centroids.T - centroids.square().sum(dim=1) / 2).argmax(dim=1)
