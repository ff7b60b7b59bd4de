"""data2vec as published, with the network of facebook/data2vec-audio-base and its loss.

The method is that of Baevski et al., "data2vec: a general framework for self-supervised learning
in speech, vision and language", ICML 2022, arXiv 2202.03555.
"""

import copy
import math

import torch
from torch import Tensor, nn

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.objectives.base import SSLOutput
from masr_modules.objectives.data2vec import decay_at, normalise_over_time, spread
from masr_modules.objectives.published import PublishedObjective, PublishedPass, Tap

#: Number that is added to the variance of a target's channel, as in F.instance_norm.
EPSILON = 1e-5


class PublishedData2Vec(PublishedObjective):
    """data2vec's objective on a `Data2VecAudioModel`.

    The teacher is the exponential moving average of the transformer alone: it uses the student's
    convolutions and projection, and a copy of the student's convolutional positions. Its input is
    the unmasked utterance. The target is the mean of the outputs of its top layers' feed-forward
    networks, before the residual connection, each normalised over time. The loss is the mean over
    masked frames of the squared distance, divided by the width's square root.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        The student.
    top_layers : int
        Number of the teacher's layers that are averaged.
    decay : tuple of float
        Decay of the moving average: (start, end); it grows linearly.
    decay_steps : int
        Number of optimiser steps from start to end.
    feature_grad, least_spans, **published
        See PublishedObjective; the defaults here are those of data2vec.

    Raises
    ------
    ValueError
        If the encoder has fewer than `top_layers` layers.

    Example
    -------
    >>> config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> config |= {"intermediate_size": 16, "conv_dim": [8] * 7, "model_type": "data2vec-audio"}
    >>> ssl = PublishedData2Vec(HuggingFaceEncoder(config=config), top_layers=1)
    >>> sorted(ssl(torch.randn(2, 32000), torch.tensor([1.0, 0.6])).stats)
    ['prediction_std', 'target_std']
    """

    def __init__(
        self,
        encoder: HuggingFaceEncoder,
        top_layers: int = 8,
        decay: tuple[float, float] = (0.999, 0.9999),
        decay_steps: int = 30000,
        feature_grad: float = 1.0,
        least_spans: int = 1,
        **published,
    ):
        num_layers = len(encoder.blocks)
        if not 0 < top_layers <= num_layers:
            raise ValueError(f"top_layers is {top_layers}: choose 1 to num_layers, {num_layers}")
        super().__init__(encoder, feature_grad=feature_grad, least_spans=least_spans, **published)
        self.decay, self.decay_steps = tuple(decay), decay_steps
        self.teacher = copy.deepcopy(encoder.context).requires_grad_(False).eval()
        self.targets = [Tap(layer.feed_forward) for layer in self.teacher.layers[-top_layers:]]
        self.regression = nn.Linear(encoder.d_model, encoder.d_model)

    def train(self, mode: bool = True) -> "PublishedData2Vec":
        """Sets the mode, but keeps the teacher in eval mode, without dropout."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective."""
        masked = self.masked_pass(wavs, wav_lens, mask_seeds)
        select = masked.mask.select
        targets = select(self._targets(masked))
        predicted = self.regression(select(masked.layers[-1])).float()
        error = (predicted - targets).square().sum(dim=-1).mean()
        loss = error / math.sqrt(self.d_model)
        lens, frames = masked.inputs.frame_lens, masked.mask.frames
        return SSLOutput(loss, masked.layers, lens, frames, spread(targets, predicted))

    @torch.no_grad()
    def _targets(self, masked: PublishedPass) -> Tensor:
        """Computes the (B, F, D) mean of the teacher's top feed-forward outputs."""
        for tap in self.targets:
            tap.open = True
        # The projection is computed again, because the student's pass masks its output in place.
        projected = self.encoder.model.feature_projection.projection(masked.output.extract_features)
        self.teacher(projected, attention_mask=masked.valid)
        for tap in self.targets:
            tap.open = False
        lens = masked.inputs.frame_lens
        top = [normalise_over_time(tap.take().float(), lens, EPSILON) for tap in self.targets]
        return torch.stack(top).mean(dim=0)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Moves the teacher towards the student, and copies the student's positions."""
        student = dict(self.encoder.context.named_parameters())
        teacher = dict(self.teacher.named_parameters())
        copied = [name for name in teacher if name.startswith("pos_conv_embed.")]
        averaged = [name for name in teacher if not name.startswith("pos_conv_embed.")]
        decay = decay_at(step, self.decay, self.decay_steps)
        torch._foreach_copy_([teacher[n] for n in copied], [student[n] for n in copied])
        torch._foreach_lerp_(
            [teacher[n] for n in averaged], [student[n] for n in averaged], 1 - decay
        )
