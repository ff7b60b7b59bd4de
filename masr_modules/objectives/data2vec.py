"""data2vec: prediction of the frames that a teacher computes from the unmasked utterance.

The method is that of Baevski et al., "data2vec: a general framework for self-supervised learning
in speech, vision and language", ICML 2022, arXiv 2202.03555.
"""

import copy

import torch
from torch import Tensor, nn

from masr_modules.encoders.conformer import SpeechEncoder
from masr_modules.encoders.pooling import valid_frames
from masr_modules.objectives.base import SSLOutput
from masr_modules.objectives.masked_latents import MaskedLatents


def normalise_over_time(frames: Tensor, lens: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Normalises each channel to zero mean and unit variance over an utterance's valid frames.

    Arguments
    ---------
    frames : torch.Tensor
        (B, F, D) frames.
    lens : torch.Tensor
        (B,) number of valid frames.
    epsilon : float
        Number that is added to the variance.

    Returns
    -------
    torch.Tensor
        (B, F, D) normalised frames, zero on padding.

    Example
    -------
    >>> normalise_over_time(torch.tensor([[[1.0], [3.0], [9.0]]]), torch.tensor([2])).flatten()
    tensor([-1.,  1.,  0.])
    """
    valid = valid_frames(lens, frames.shape[1], frames.device).unsqueeze(-1)
    count = lens.to(frames.device, non_blocking=True).view(-1, 1, 1)
    centred = (frames - (frames * valid).sum(dim=1, keepdim=True) / count) * valid
    variance = centred.square().sum(dim=1, keepdim=True) / count
    return centred * (variance + epsilon).rsqrt()


def decay_at(step: int, decay: tuple[float, float], steps: int) -> float:
    """Returns the decay of the teacher's moving average, which grows linearly, then is constant.

    Example
    -------
    >>> decay_at(1, (0.5, 1.0), 2), decay_at(9, (0.5, 1.0), 2)
    (0.75, 1.0)
    """
    start, end = decay
    return start + (end - start) * min(1.0, step / steps)


def spread(targets: Tensor, predicted: Tensor) -> dict[str, Tensor]:
    """Computes how much (N, D) targets and predictions differ between frames, for the log.

    `prediction_std` stays near 0 while the student predicts the same at every frame.
    """
    found = {"target_std": targets, "prediction_std": predicted.detach()}
    return {name: values.std(dim=0).mean() for name, values in found.items()}


class Data2Vec(MaskedLatents):
    """data2vec's task on a SpeechEncoder; PublishedData2Vec has the published network.

    The teacher is the exponential moving average of the encoder, front end included, and its input
    is the unmasked utterance. The target of a masked frame is the mean of the teacher's top
    layers' outputs, each normalised over time; the loss is the mean squared error.
    MASR pools the student's frames.

    Arguments
    ---------
    encoder : SpeechEncoder
        The student.
    top_layers : int
        Number of the teacher's layers that are averaged.
    decay : tuple of float
        Decay of the moving average: (start, end); it grows linearly.
    decay_steps : int
        Number of optimiser steps from start to end.
    loss_scale : float
        Factor of the loss. About 6 makes it as large as the losses of methods that classify units
        or distractors, so that the same `masr_weight` fits.
    mask_share : float
        Fraction of each utterance's frames that is masked.
    mask_span : int
        Length of a mask in encoder frames.

    Raises
    ------
    ValueError
        If the encoder has fewer than `top_layers` layers.

    Example
    -------
    >>> from masr_modules.encoders.conformer import ConvFrontEnd, LogMel
    >>> encoder = SpeechEncoder(
    ...     LogMel(), ConvFrontEnd(80, 32, [7], [4]), num_layers=2, d_model=32, d_ffn=64, nhead=2
    ... )
    >>> ssl = Data2Vec(encoder, top_layers=2)
    >>> sorted(ssl(torch.randn(2, 32000), torch.tensor([1.0, 0.6])).stats)
    ['prediction_std', 'target_std']
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        top_layers: int = 8,
        decay: tuple[float, float] = (0.999, 0.9999),
        decay_steps: int = 30000,
        loss_scale: float = 1.0,
        mask_share: float = 0.49,
        mask_span: int = 10,
    ):
        super().__init__(encoder, mask_share, mask_span)
        num_layers = len(encoder.context.layers)
        if not 0 < top_layers <= num_layers:
            raise ValueError(f"top_layers is {top_layers}: choose 1 to num_layers, {num_layers}")
        self.top_layers = top_layers
        self.decay = tuple(decay)
        self.decay_steps = decay_steps
        self.loss_scale = loss_scale
        self.teacher = copy.deepcopy(encoder).requires_grad_(False).eval()
        self.regression = nn.Linear(encoder.d_model, encoder.d_model)

    def train(self, mode: bool = True) -> "Data2Vec":
        """Sets the mode, but keeps the teacher in eval mode, without dropout."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective."""
        masked = self.masked_pass(wavs, wav_lens, mask_seeds)
        frames = masked.layers[-1]
        targets = masked.mask.select(self._targets(wavs, wav_lens))
        predicted = self.regression(masked.mask.select(frames)).float()
        loss = self.loss_scale * (predicted - targets).square().mean()
        stats = spread(targets, predicted)
        return SSLOutput(loss, masked.layers, masked.lens, masked.mask.frames, stats)

    @torch.no_grad()
    def _targets(self, wavs: Tensor, wav_lens: Tensor) -> Tensor:
        """Computes the (B, F, D) mean of the teacher's top layers."""
        layers, lens = self.teacher(wavs, wav_lens)
        top = [normalise_over_time(layer.float(), lens) for layer in layers[-self.top_layers :]]
        return torch.stack(top).mean(dim=0)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Moves the teacher towards the student."""
        decay = decay_at(step, self.decay, self.decay_steps)
        teacher = list(self.teacher.parameters())
        torch._foreach_lerp_(teacher, list(self.encoder.parameters()), 1 - decay)
