"""The encoder that is trained from scratch: log-mel features, convolutions and a Conformer.

Every step masks padding before it mixes neighbouring frames, so that an utterance
gets the same frames alone and in a padded batch.
"""

import math

import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.transformer.Conformer import ConformerEncoder, ConvolutionModule
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from torch import Tensor, nn

from masr_modules.encoders.pooling import valid_frames


class LogMel(nn.Module):
    """Log-mel features, normalised to zero mean and unit variance per utterance.

    Arguments
    ---------
    sample_rate : int
        The sample rate of the waveforms in Hz.
    n_mels : int
        Number of mel filters.
    keep_spectrum : bool
        Whether one mean is subtracted from all filters, which keeps the utterance's mean spectrum;
        by default each filter's own mean is subtracted.

    Example
    -------
    >>> features, lens = LogMel()(torch.randn(2, 16000), torch.tensor([1.0, 0.5]))
    >>> features.shape, lens.tolist()
    (torch.Size([2, 101, 80]), [101, 51])
    """

    hop_ms = 10

    def __init__(self, sample_rate: int = 16000, n_mels: int = 80, keep_spectrum: bool = False):
        super().__init__()
        self.keep_spectrum = keep_spectrum
        self.sample_rate = sample_rate
        self.n_mels = n_mels
        self.hop = sample_rate * self.hop_ms // 1000
        self.fbank = Fbank(sample_rate=sample_rate, n_mels=n_mels, hop_length=self.hop_ms)

    @torch.no_grad()
    def forward(self, wavs: Tensor, wav_lens: Tensor) -> tuple[Tensor, Tensor]:
        """Computes features, without trained parameters.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples.
        wav_lens : torch.Tensor
            (B,) relative lengths in (0, 1], as in SpeechBrain.

        Returns
        -------
        features : torch.Tensor
            (B, F, n_mels) features, zero on padding.
        feature_lens : torch.Tensor
            (B,) number of valid frames.
        """
        samples = (wav_lens * wavs.shape[1]).round().long()
        in_utterance = valid_frames(samples, wavs.shape[1], wavs.device)
        with torch.autocast(wavs.device.type, enabled=False):
            # Fbank's own guard against autocast breaks a compiled graph, and is not needed here.
            features = self.fbank((wavs * in_utterance).float(), force_allow_autocast=True)
        lens = samples // self.hop + 1
        valid = valid_frames(lens, features.shape[1], wavs.device).unsqueeze(-1)
        frames = lens.to(wavs.device, non_blocking=True).view(-1, 1, 1)
        count = (frames * self.n_mels).float()
        mean = (features * valid).sum(dim=1, keepdim=True) / frames
        if self.keep_spectrum:
            mean = mean.mean(dim=2, keepdim=True)
        features = (features - mean) * valid
        std = (features.square().sum(dim=(1, 2), keepdim=True) / count).sqrt()
        return features / std.clamp(min=1e-3), lens


class ConvFrontEnd(nn.Module):
    """Strided 1-D convolutions over feature frames, for which padding is set to zero.

    Arguments
    ---------
    input_size : int
        Number of features per frame.
    d_model : int
        Number of output channels.
    kernel_sizes : list[int]
        Kernel size of each convolution.
    strides : list[int]
        Stride of each convolution; their product is the subsampling factor.

    Raises
    ------
    ValueError
        If the two lists differ in length.

    Example
    -------
    >>> front_end = ConvFrontEnd(80, 16, kernel_sizes=[3, 3], strides=[2, 2])
    >>> frames, lens = front_end(torch.randn(2, 101, 80), torch.tensor([101, 50]))
    >>> frames.shape, lens.tolist()
    (torch.Size([2, 26, 16]), [26, 13])
    """

    def __init__(self, input_size: int, d_model: int, kernel_sizes: list[int], strides: list[int]):
        super().__init__()
        if len(kernel_sizes) != len(strides):
            raise ValueError(
                f"kernel_sizes {kernel_sizes} and strides {strides} must be of equal length"
            )
        sizes = [input_size] + [d_model] * len(strides)
        self.convs = nn.ModuleList(
            nn.Conv1d(sizes[i], sizes[i + 1], kernel, stride, padding=(kernel - 1) // 2)
            for i, (kernel, stride) in enumerate(zip(kernel_sizes, strides, strict=True))
        )
        self.norm = nn.LayerNorm(d_model)
        self.strides = list(strides)

    @property
    def subsampling(self) -> int:
        """Number of feature frames per output frame."""
        return math.prod(self.strides)

    def forward(self, features: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """Subsamples a batch: (B, F, input_size), (B,) -> (B, F', d_model), (B,)."""
        x = features.transpose(1, 2)
        for i, conv in enumerate(self.convs):
            x = x * valid_frames(lens, x.shape[2], x.device).unsqueeze(1)
            x = conv(x)
            lens = self._lens_after(conv, lens)
            if i + 1 < len(self.convs):
                x = nn.functional.gelu(x)
        return self.norm(x.transpose(1, 2)), lens

    @staticmethod
    def _lens_after(conv: nn.Conv1d, lens: Tensor) -> Tensor:
        reach = 2 * conv.padding[0] - conv.kernel_size[0]
        return (lens + reach).div(conv.stride[0], rounding_mode="floor").clamp(min=0) + 1


class MaskedConvolutionModule(ConvolutionModule):
    """SpeechBrain's Conformer convolution, with padding zeroed *before* the depthwise step.

    SpeechBrain's own module masks only its output, so that the bias of its pointwise convolution
    reaches the last valid frames from the padding.
    """

    def forward(self, x, mask=None, dynchunktrain_config=None):
        """Convolves (B, F, D) frames to (B, F, D); `mask` is (B, F, 1), True on padding."""
        if dynchunktrain_config is not None:
            raise NotImplementedError(
                "SpeechEncoder does not stream: leave dynchunktrain_config None"
            )
        # A pointwise convolution is a matrix product: Linear avoids two transposed copies.
        pointwise = self.bottleneck[0]
        out = nn.functional.linear(self.layer_norm(x), pointwise.weight.squeeze(-1), pointwise.bias)
        out = nn.functional.glu(out, dim=-1)
        if mask is not None:
            out = out.masked_fill(mask, 0.0)
        out = self.conv(out.transpose(1, 2)).transpose(1, 2)
        return self.after_conv(out)


class SpeechEncoder(nn.Module):
    """An encoder with a front end and a Conformer or Transformer with rotary attention.

    It returns the outputs of all layers. The Conformer is that of Gulati et al., "Conformer:
    convolution-augmented Transformer for speech recognition", Interspeech 2020.

    Arguments
    ---------
    features : nn.Module
        Waveform -> features: LogMel or waveform.Waveform.
    front_end : nn.Module
        Features -> subsampled frames: ConvFrontEnd or waveform.LatentFrontEnd.
    num_layers, d_model, d_ffn, nhead : int
        Number of layers, their width, the width of their feed-forward networks, and their number
        of attention heads.
    kernel_size : int, optional
        Kernel size of the Conformer's convolutions; None leaves them out, which gives a
        Transformer.
    dropout : float
        Dropout in the layers and on their input.

    Example
    -------
    >>> encoder = SpeechEncoder(
    ...     LogMel(), ConvFrontEnd(80, 32, [7], [4]), num_layers=2, d_model=32, d_ffn=64, nhead=2
    ... )
    >>> layers, lens = encoder(torch.randn(2, 16000), torch.tensor([1.0, 0.5]))
    >>> len(layers), layers[-1].shape, lens.tolist()
    (3, torch.Size([2, 26, 32]), [26, 13])
    """

    def __init__(
        self,
        features: nn.Module,
        front_end: nn.Module,
        num_layers: int,
        d_model: int,
        d_ffn: int,
        nhead: int,
        kernel_size: int | None = 15,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.features = features
        self.front_end = front_end
        self.d_model = d_model
        self.dropout = nn.Dropout(dropout)
        sizes = {"num_layers": num_layers, "d_model": d_model, "d_ffn": d_ffn, "nhead": nhead}
        shared = {"dropout": dropout, "attention_type": "RoPEMHA", "output_hidden_states": True}
        if kernel_size is None:
            self.context = TransformerEncoder(
                **sizes, **shared, activation=nn.GELU, normalize_before=True
            )
        else:
            self.context = ConformerEncoder(**sizes, **shared, kernel_size=kernel_size)
            for layer in self.context.layers:
                layer.convolution_module = MaskedConvolutionModule(
                    d_model, kernel_size, dropout=dropout
                )

    @property
    def front(self) -> list[nn.Module]:
        """The modules before the layers: the front end."""
        return [self.front_end]

    @property
    def blocks(self) -> nn.ModuleList:
        """The layers, bottom first; `context` runs them."""
        return self.context.layers

    @property
    def sample_rate(self) -> int:
        """The sample rate of the waveforms in Hz."""
        return self.features.sample_rate

    @property
    def frame_samples(self) -> int:
        """Number of samples from the start of one frame to that of the next."""
        return self.features.hop * self.front_end.subsampling

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next(self.front_end.parameters()).dtype

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encodes waveforms.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples.
        wav_lens : torch.Tensor
            (B,) relative lengths.

        Returns
        -------
        layers : list[torch.Tensor]
            num_layers + 1 tensors (B, F, d_model): the front end's output, then that of each
            layer; the last is layer-normalised.
        frame_lens : torch.Tensor
            (B,) number of valid frames.
        """
        return self.encode_features(*self.features(wavs, wav_lens))

    def encode_features(self, features: Tensor, lens: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encodes (B, F, n_mels) features of (B,) lengths; returns the same as `forward`."""
        # Features are float32 in any precision of the encoder: they are sums over the utterance.
        latents, lens = self.front_end(features.to(self.dtype), lens)
        return self.contextualise(latents, lens), lens

    def contextualise(self, latents: Tensor, lens: Tensor) -> list[Tensor]:
        """Runs the layers on the front end's (B, F, d_model) output of (B,) lengths."""
        padding = ~valid_frames(lens, latents.shape[1], latents.device)
        last, _, hidden = self.context(self.dropout(latents), src_key_padding_mask=padding)
        return [*hidden[:-1], last]
