"""wav2vec 2.0 as published, with the network of facebook/wav2vec2-base and its loss.

The method is that of Baevski et al., "wav2vec 2.0: a framework for self-supervised learning of
speech representations", NeurIPS 2020, arXiv 2006.11477.
"""

import torch
from torch import Tensor

from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.objectives.base import SSLOutput
from masr_modules.objectives.contrastive import HeadLoss
from masr_modules.objectives.published import PublishedObjective


class PublishedWav2Vec2(PublishedObjective):
    """wav2vec 2.0's objective on a `Wav2Vec2Model` and its pretraining head.

    The quantiser's input is the normalised output of the convolutions at masked frames. The loss is
    contrastive + diversity + penalty_weight * mean square of the convolutions' output. The number
    of distractors, the temperature of the cosine and the weight of the diversity are those of the
    model's configuration.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        An encoder with a pretraining head.
    temperature : tuple of float
        Temperature of the quantiser: (start, stop, factor per step).
    penalty_weight : float
        Weight of the mean square of the convolutions' output.
    **published
        See PublishedObjective.

    Raises
    ------
    ValueError
        If the encoder has no pretraining head.

    Example
    -------
    >>> config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> config |= {"intermediate_size": 16, "conv_dim": [8] * 7, "model_type": "wav2vec2"}
    >>> encoder = HuggingFaceEncoder(config=config, pretraining_head=True)
    >>> out = PublishedWav2Vec2(encoder)(torch.randn(2, 32000), torch.tensor([1.0, 0.6]))
    >>> sorted(out.stats)
    ['code_perplexity', 'contrastive_accuracy', 'feature_penalty']
    """

    def __init__(
        self,
        encoder: HuggingFaceEncoder,
        temperature: tuple[float, float, float] = (2.0, 0.5, 0.999995),
        penalty_weight: float = 10.0,
        **published,
    ):
        super().__init__(encoder, **published)
        if encoder.head is None:
            raise ValueError("wav2vec 2.0 needs an encoder with pretraining_head: true")
        self.temperatures = tuple(temperature)
        self.penalty_weight = penalty_weight
        self.register_buffer("temperature", torch.tensor(float(temperature[0])))
        self.own_loss = HeadLoss(encoder.head.config)

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective."""
        masked = self.masked_pass(wavs, wav_lens, mask_seeds)
        mask = masked.mask
        loss, stats = self.own_loss(
            self.encoder.head,
            mask.select(masked.layers[-1]),
            mask.select(masked.output.extract_features),
            mask,
            self.temperature,
        )
        penalty = self.feature_penalty(masked)
        loss = loss + self.penalty_weight * penalty
        stats["feature_penalty"] = penalty.detach()
        return SSLOutput(loss, masked.layers, masked.inputs.frame_lens, mask.frames, stats)

    def after_step(self, step: int) -> None:
        """Lowers the quantiser's temperature."""
        start, stop, factor = self.temperatures
        self.temperature.fill_(max(start * factor**step, stop))
