"""Use of pretrained encoders and of the models that downstream recipes train.

`MASREncoder` computes frames and embeddings with a pretrained encoder. The downstream recipes
name the other modules in the hyperparams.yaml of their result folders; SpeechBrain's
EncoderClassifier, SpeakerRecognition and EncoderASR call them.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from masr_modules.data.dataio import read_audio
from masr_modules.data.headers import BrokenAudio, read_header
from masr_modules.encoders.pooling import MeanPooling, StatisticsPooling
from masr_modules.encoders.pretrained import SPACES, load_encoder
from masr_modules.heads.spaces import Space, Spaces

logger = logging.getLogger(__name__)

#: `encode_file` encodes a longer file in parts of PART_SECONDS. The encoder also gets
#: CONTEXT_SECONDS on both sides of a part, and the frames of this context are dropped.
PART_SECONDS, CONTEXT_SECONDS = 60.0, 5.0


def check_waveforms(wavs: Tensor, wav_lens: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Checks a batch and returns it in the form that encoders take.

    Lengths in samples or seconds, which would change the embeddings unnoticed, are an error. If
    the batch is not on the host, the check waits for its device.

    Arguments
    ---------
    wavs : torch.Tensor
        (B, T) samples, or (T,).
    wav_lens : torch.Tensor, optional
        (B,) relative lengths in (0, 1], as a tensor or a list; all 1 by default.

    Returns
    -------
    wavs : torch.Tensor
        (B, T).
    wav_lens : torch.Tensor
        (B,) relative lengths, on the host.

    Raises
    ------
    ValueError
        If the samples are not a tensor of finite floats of one of these shapes, if there are not
        B lengths, or if a length is outside (0, 1] or rounds to no sample.

    Example
    -------
    >>> wavs, lens = check_waveforms(torch.zeros(400))
    >>> wavs.shape, lens.tolist()
    (torch.Size([1, 400]), [1.0])
    >>> check_waveforms(torch.zeros(1, 400), torch.tensor([400]))
    Traceback (most recent call last):
    ...
    ValueError: wav_lens holds 400: lengths are relative, in (0, 1]; divide lengths in samples or \
seconds by the length of the tensor
    """
    if not isinstance(wavs, Tensor) or not wavs.is_floating_point():
        kind = wavs.dtype if isinstance(wavs, Tensor) else type(wavs).__name__
        raise ValueError(f"wavs is {kind}: samples are a tensor of floats, in [-1, 1]")
    shape = tuple(wavs.shape)
    wavs = wavs.unsqueeze(0) if wavs.dim() == 1 else wavs
    if wavs.dim() != 2 or not wavs.numel():
        raise ValueError(
            f"wavs has the shape {shape}: give (B, T) or (T,) samples, and at least one of them"
        )
    if wavs.shape[1] <= 8 < wavs.shape[0]:
        raise ValueError(
            f"wavs has the shape {shape}, which looks like (samples, channels): (B, T) or (T,) is "
            "needed; take the mean over channels"
        )
    if not torch.isfinite(wavs).all():
        raise ValueError("wavs holds samples that are NaN or infinite: the file may be damaged")
    if wav_lens is None:
        return wavs, torch.ones(len(wavs))
    lens = torch.as_tensor(wav_lens, dtype=torch.float32).cpu()
    if lens.shape != wavs.shape[:1]:
        raise ValueError(
            f"wav_lens has the shape {tuple(lens.shape)} for {len(wavs)} utterances: it needs a "
            "relative length in (0, 1] for each"
        )
    wrong = ~((lens > 0) & (lens <= 1 + 1e-5))  # rounded, a quotient may be a little above 1
    if wrong.any():
        raise ValueError(
            f"wav_lens holds {lens[wrong][0]:g}: lengths are relative, in (0, 1]; divide lengths "
            "in samples or seconds by the length of the tensor"
        )
    if (lens * wavs.shape[1]).round().min() < 1:
        raise ValueError(
            f"wav_lens holds {lens.min():g}, which of {wavs.shape[1]} samples leaves none: lengths "
            "are relative, in (0, 1]"
        )
    longest = round(lens.max().item() * wavs.shape[1])
    if wavs[:, longest:].any():
        logger.warning(
            "wav_lens ends at %d of %d samples, and the encoder ignores the sound after that: "
            "lengths are relative, and that of the longest utterance is 1",
            *(longest, wavs.shape[1]),
        )
    return wavs, lens.clamp(max=1.0)


class MASREncoder(nn.Module):
    """A pretrained encoder that maps audio to frames of any layer or to utterance embeddings.

    The encoder is frozen.

    Arguments
    ---------
    encoder : nn.Module
        Maps (wavs, wav_lens) to a list with the (B, F, D) frames of each layer, and (B,)
        numbers of valid frames.
    sample_rate : int
        Sample rate of the waveforms, in Hz.
    spaces : Spaces, optional
        The spaces of the head that the encoder was trained with; they give utterance embeddings.

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

    def __init__(self, encoder: nn.Module, sample_rate: int, spaces: Spaces | None = None):
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.sample_rate = sample_rate
        self.spaces = Spaces() if spaces is None else spaces

    @classmethod
    def from_hparams(cls, source: str | Path, device: str = "cpu") -> "MASREncoder":
        """Loads an encoder; unlike SpeechBrain's loaders it runs no code from the source.

        Arguments
        ---------
        source : str or Path
            A source that `masr_modules.encoders.pretrained.load_encoder` takes.
        device : str
            Device on which the encoder runs.
        """
        loaded = load_encoder(source)
        spaces = Spaces.from_state(loaded.spaces, f"{source}: {SPACES}")
        return cls(loaded.encoder, loaded.sample_rate, spaces).to(device)

    @torch.no_grad()
    def encode_batch(
        self, wavs: Tensor, wav_lens: Tensor | None = None, layer: int = -1
    ) -> tuple[Tensor, Tensor]:
        """Returns the frames of one layer.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples at `sample_rate`, or (T,).
        wav_lens : torch.Tensor, optional
            (B,) relative lengths in (0, 1]; all 1 by default.
        layer : int
            0 is the front end, -1 the last layer.

        Returns
        -------
        frames : torch.Tensor
            (B, F, D).
        frame_lens : torch.Tensor
            (B,) number of valid frames.

        Raises
        ------
        ValueError
            As `check_waveforms` does.
        """
        layers, lens = self._encode(wavs, wav_lens)
        return layers[layer], lens

    def _encode(self, wavs: Tensor, wav_lens: Tensor | None) -> tuple[list[Tensor], Tensor]:
        wavs, wav_lens = check_waveforms(wavs, wav_lens)
        device = next(self.encoder.parameters()).device
        return self.encoder(wavs.to(device).float(), wav_lens.to(device))

    @torch.no_grad()
    def embed_batch(
        self,
        wavs: Tensor,
        wav_lens: Tensor | None = None,
        layer: int = -1,
        space: str | None = None,
    ) -> Tensor:
        """Computes one embedding per utterance; embeddings are compared by cosine.

        Arguments
        ---------
        wavs, wav_lens, layer
            See `encode_batch`.
        space : str, optional
            A label column that the head of the pretraining discriminated, such as speaker. The
            embedding is then that of the column's space, and `layer` is ignored. By default, the
            embedding is the mean of the valid frames of one layer.

        Returns
        -------
        torch.Tensor
            (B, D) embeddings; D is the width of the encoder or of the space.

        Raises
        ------
        ValueError
            If there is no such space; the message names all spaces. See `check_waveforms` too.
        """
        read, pooling, project = self._embedding(layer, space)
        layers, lens = self._encode(wavs, wav_lens)
        return project(torch.stack([pooling(layers[i], lens) for i in read], dim=1))

    def _embedding(self, layer: int, space: str | None) -> tuple[list[int], nn.Module, Callable]:
        """Returns layers, the pooling of their frames, and a map of (B, K, I) pooled frames."""
        if space is None:
            return [layer], MeanPooling(), nn.Flatten()
        own = self.check_space(space)
        pooling = MeanPooling() if own.weight.shape[1] == self.encoder.d_model else None
        return own.layers.tolist(), pooling or StatisticsPooling(), own.read

    def check_space(self, space: str) -> Space:
        """Returns the space of a label column, or raises a ValueError that names all spaces."""
        if space not in self.spaces:
            there = ", ".join(self.spaces) or "none, for it was trained without a head"
            raise ValueError(f"the encoder has no space {space!r}; its spaces: {there}")
        own = self.spaces[space]
        assert isinstance(own, Space)
        size, width = own.weight.shape[1], self.encoder.d_model
        if size not in (width, 2 * width):
            raise ValueError(
                f"the space {space!r} is of {size} pooled numbers, which are neither the mean of "
                f"{width} nor their mean and deviation"
            )
        return own

    @torch.no_grad()
    def encode_file(self, path: str | Path, layer: int = -1) -> Tensor:
        """Returns the (F, D) frames of an audio file, of any sample rate and soundfile's formats.

        A long file is encoded in parts of PART_SECONDS, so that memory does not grow with its
        length. The encoder also gets CONTEXT_SECONDS on both sides of a part; the frames of this
        context are dropped. The frames have the number and the places that they would have if the
        file were encoded at once. Their values differ, most at the seams, if the encoder attends
        to or normalises over more than a part and its context.

        Raises
        ------
        ValueError
            If the file cannot be read, or is empty.
        """
        return self._encode_file(path, [layer])[0]

    def _encode_file(self, path: str | Path, layers: Sequence[int]) -> Tensor:
        """Returns the (K, F, D) frames of a file, read in parts."""
        return torch.cat(list(self._frames_of_parts(str(path), layers)), dim=1)

    def _frames_of_parts(self, path: str, layers: Sequence[int]) -> Iterator[Tensor]:
        try:
            info = read_header(path)
        except BrokenAudio as error:
            raise ValueError(f"{path}: cannot be decoded: {error}") from error
        # A part begins where a frame and a sample of the file begin together.
        frame = self.encoder.frame_samples * info.sample_rate
        step = frame // math.gcd(frame, self.sample_rate)
        frames_of_step = step * self.sample_rate // frame
        part, context = (
            max(1, round(seconds * info.sample_rate / step)) * step
            for seconds in (PART_SECONDS, CONTEXT_SECONDS)
        )
        total = round(info.duration * info.sample_rate)
        start, last = 0, False
        while not last:
            begin, stop = max(0, start - context), start + part + context
            last = stop + context >= total  # a next part would be too short
            segment = (begin, None if last else stop)
            wav = read_audio(path, self.sample_rate, max_seconds=None, seed=0, segment=segment)
            encoded, _ = self._encode(wav, None)
            frames = torch.cat([encoded[layer] for layer in layers])
            first = (start - begin) // step * frames_of_step
            stop_at = None if last else first + part // step * frames_of_step
            yield frames[:, first:stop_at]
            start += part

    @torch.no_grad()
    def embed_file(self, path: str | Path, layer: int = -1, space: str | None = None) -> Tensor:
        """Returns the (D,) embedding of an audio file; arguments are those of `embed_batch`."""
        read, pooling, project = self._embedding(layer, space)
        frames = self._encode_file(path, read)
        lens = torch.full((len(frames),), frames.shape[1], device=frames.device)
        return project(pooling(frames, lens).unsqueeze(0))[0]


class Unchanged(nn.Module):
    """A `mean_var_norm` for SpeechBrain's interfaces that changes nothing."""

    def forward(self, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns `values`."""
        return values


class UtteranceEmbedding(nn.Module):
    """The `embedding_model` of an EncoderClassifier: it maps waveforms to (B, E) embeddings.

    Arguments
    ---------
    encoder, mixer, head : nn.Module
        The parts that the recipe trained.
    """

    def __init__(self, encoder: nn.Module, mixer: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder, self.mixer, self.head = encoder, mixer, head

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Maps (B, T) samples and (B,) relative lengths to (B, E) embeddings.

        Raises
        ------
        ValueError
            As `check_waveforms` does.
        """
        wavs, lens = check_waveforms(wavs, wav_lens)
        layers, frame_lens = self.encoder(wavs, lens.to(wavs.device))
        return self.head(self.mixer(layers), frame_lens)


class TokenPosteriors(UtteranceEmbedding):
    """The `encoder` of an EncoderASR: it maps waveforms to (B, F, V) log-posteriors of tokens.

    Frames of padding are blank. SpeechBrain decodes up to the waveforms' relative lengths, which
    need not end at an encoder's last valid frame; without the blanks the tokens of a file would
    depend on the batch that it is in.
    """

    def forward(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Maps (B, T) samples and (B,) relative lengths to (B, F, V) log-posteriors.

        Raises
        ------
        ValueError
            As `check_waveforms` does.
        """
        wavs, lens = check_waveforms(wavs, wav_lens)
        layers, frame_lens = self.encoder(wavs, lens.to(wavs.device))
        posteriors = self.head(self.mixer(layers), frame_lens)
        padding = torch.arange(posteriors.shape[1], device=frame_lens.device) >= frame_lens[:, None]
        blank = torch.full_like(posteriors[0, 0], -1e4)
        blank[0] = 0.0
        return torch.where(padding.unsqueeze(-1), blank, posteriors)
