"""Whisper's encoder, which encodes utterances at their own length.

Whisper is that of Radford et al., "Robust speech recognition via large-scale weak supervision",
ICML 2023, arXiv 2212.04356.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.config.extras import extra
from masr_modules.encoders.pooling import valid_frames

with extra("hub"):
    from transformers import WhisperFeatureExtractor
    from transformers.masking_utils import create_bidirectional_mask
    from transformers.modeling_outputs import BaseModelOutput

#: Numbers of samples at 16 kHz: of a window, from one mel frame to the next, and of an encoder
#: frame. The last is the number of mel frames that are computed after the last encoder frame,
#: because the convolutions reach them.
N_FFT, HOP, FRAME, REACH = 400, 160, 320, 4


class WhisperLogMel(nn.Module):
    """Log-mel features as transformers' WhisperFeatureExtractor computes them.

    They are computed at the batch's own length and on its device. Frames after an utterance hold
    the values that they would have if it were padded with silence. The cost is O(T log T) for T
    samples.

    Arguments
    ---------
    n_mels : int
        Number of mel filters: 80, or 128 for large-v3.

    Example
    -------
    >>> features = WhisperLogMel(80)(torch.randn(2, 16000), torch.tensor([16000, 8000]))
    >>> features.shape  # 100 mel frames, and 4 after them that the convolutions reach
    torch.Size([2, 104, 80])
    """

    def __init__(self, n_mels: int):
        super().__init__()
        # These are not buffers, so that features stay float32 if the network's precision changes.
        filters = WhisperFeatureExtractor(feature_size=n_mels).mel_filters
        self.filters = torch.from_numpy(filters).float()
        self.window = torch.hann_window(N_FFT, device="cpu")

    @torch.no_grad()
    def forward(self, wavs: Tensor, samples: Tensor) -> Tensor:
        """Computes features.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples at 16 kHz.
        samples : torch.Tensor
            (B,) number of valid samples.

        Returns
        -------
        torch.Tensor
            (B, 2 ceil(T / 320) + 4, n_mels) float32 features.
        """
        frames = 2 * -(-wavs.shape[1] // FRAME) + REACH
        wavs = wavs.float() * valid_frames(samples, wavs.shape[1], wavs.device)
        # Silence follows the audio, as transformers pads to 30 s; its beginning is mirrored.
        wavs = F.pad(wavs, (0, frames * HOP + N_FFT // 2 - wavs.shape[1]))
        wavs = F.pad(wavs.unsqueeze(1), (N_FFT // 2, 0), mode="reflect").squeeze(1)
        with torch.autocast(wavs.device.type, enabled=False):
            window, filters = self.window.to(wavs.device), self.filters.to(wavs.device)
            spectrum = torch.stft(
                wavs, N_FFT, HOP, window=window, center=False, return_complex=True
            )
            power = spectrum[..., :frames].abs().square()
            mels = (filters.T @ power).clamp(min=1e-10).log10()
        mels = torch.maximum(mels, mels.amax(dim=(1, 2), keepdim=True) - 8.0)
        return ((mels + 4.0) / 4.0).transpose(1, 2)


class WhisperBody(nn.Module):
    """The WhisperEncoder of transformers without the padding to 30 s.

    Positions end with the batch's longest utterance, and frames do not attend to padding. In the
    padded form frames also attend to the silence after the utterance: this is the only difference.
    An utterance longer than the positions (30 s) is encoded in windows of that length, each by
    itself.

    Arguments
    ---------
    encoder : transformers.WhisperEncoder
        The encoder, whose layers and weights are used.

    Example
    -------
    >>> from transformers import WhisperConfig
    >>> from transformers.models.whisper.modeling_whisper import WhisperEncoder
    >>> config = WhisperConfig(d_model=16, encoder_layers=2, encoder_attention_heads=2)
    >>> body = WhisperBody(WhisperEncoder(config)).eval()
    >>> nothing = torch.zeros(1, 50, dtype=torch.bool)
    >>> out = body(torch.randn(1, 104, 80), torch.ones(1, 50), mask_time_indices=nothing)
    >>> len(out.hidden_states), out.last_hidden_state.shape
    (3, torch.Size([1, 50, 16]))
    """

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        # Positions are frozen, as published. Loading by transformers unfreezes them, and weight
        # decay would then shrink those after the longest utterance.
        encoder.embed_positions.requires_grad_(False)
        # Hooks attach to this module, because no other runs directly before the layers.
        self.layers_input = nn.Identity()
        self.masked_spec_embed = nn.Parameter(torch.zeros(encoder.config.d_model))

    @property
    def config(self):
        """The encoder's WhisperConfig."""
        return self.encoder.config

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return self.encoder.conv1.weight.dtype

    @property
    def feature_extractor(self) -> nn.ModuleList:
        """The convolutions before the layers; not a child module, so that each has one name."""
        return nn.ModuleList([self.encoder.conv1, self.encoder.conv2])

    def gradient_checkpointing_enable(self, options: dict) -> None:
        """Turns gradient checkpointing on, as for models of transformers."""
        self.encoder.gradient_checkpointing_enable(options)

    def forward(
        self,
        values: Tensor,
        attention_mask: Tensor,
        mask_time_indices: Tensor,
        output_hidden_states: bool = True,
    ) -> "BaseModelOutput":
        """Encodes features.

        Arguments
        ---------
        values : torch.Tensor
            (B, 2 F + 4, n_mels) features from WhisperLogMel.
        attention_mask : torch.Tensor
            (B, F), 1 on valid frames.
        mask_time_indices : torch.Tensor
            (B, F) bool, True on frames that are hidden.
        output_hidden_states : bool
            Has no effect: all layers are always returned.

        Returns
        -------
        transformers.modeling_outputs.BaseModelOutput
            `hidden_states` are tensors (B, F, D): the input of each layer, then the normalised
            output.
        """
        num_frames, most = attention_mask.shape[1], self.config.max_source_positions
        if num_frames <= most:
            values = values[:, : 2 * most]
            return self._encode(values, attention_mask, mask_time_indices)
        windows = -(-num_frames // most)
        parts = [
            _fold(tensor, windows, length)
            for tensor, length in (
                (values[:, : 2 * most * windows], 2 * most),
                (attention_mask, most),
                (mask_time_indices, most),
            )
        ]
        output = self._encode(*parts)
        hidden = [_unfold(x, windows)[:, :num_frames] for x in output.hidden_states]
        return BaseModelOutput(last_hidden_state=hidden[-1], hidden_states=tuple(hidden))

    def _encode(self, values: Tensor, attention_mask: Tensor, mask: Tensor) -> "BaseModelOutput":
        encoder, num_frames = self.encoder, attention_mask.shape[1]
        x = F.gelu(encoder.conv1(values.transpose(1, 2)))
        x = F.gelu(encoder.conv2(x)).transpose(1, 2)[:, :num_frames]
        x = torch.where(mask.unsqueeze(-1), self.masked_spec_embed.to(x.dtype), x)
        x = x + encoder.embed_positions.weight[:num_frames]
        x = F.dropout(x, p=encoder.dropout, training=self.training)
        # A window after the end of a shorter utterance has no valid frame: its first is attended.
        attention_mask = attention_mask.clone()
        attention_mask[:, 0] = 1
        allowed = create_bidirectional_mask(
            config=self.config, inputs_embeds=x, attention_mask=attention_mask
        )
        x = self.layers_input(x)
        hidden = [x]
        for layer in encoder.layers:
            x = layer(x, allowed)
            hidden.append(x)
        hidden[-1] = encoder.layer_norm(x)
        return BaseModelOutput(last_hidden_state=hidden[-1], hidden_states=tuple(hidden))


def _fold(tensor: Tensor, windows: int, length: int) -> Tensor:
    """Splits (B, N, ...) to (B windows, length, ...), with zeros after the end."""
    missing = windows * length - tensor.shape[1]
    tensor = F.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, missing))
    return tensor.unflatten(1, (windows, length)).flatten(0, 1)


def _unfold(tensor: Tensor, windows: int) -> Tensor:
    """Joins (B windows, length, D) to (B, windows length, D)."""
    return tensor.unflatten(0, (-1, windows)).flatten(1, 2)
