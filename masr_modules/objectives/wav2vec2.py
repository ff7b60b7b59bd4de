"""wav2vec 2.0: the encoder tells a masked frame's quantised latent from those of other frames.

The method is that of Baevski et al., "wav2vec 2.0: a framework for self-supervised learning of
speech representations", NeurIPS 2020, arXiv 2006.11477.
"""

from speechbrain.lobes.models.wav2vec import W2VTargetQuantiser
from torch import Tensor, nn

from masr_modules.encoders.conformer import SpeechEncoder
from masr_modules.objectives.base import SSLOutput
from masr_modules.objectives.contrastive import AnnealedGumbelQuantizer, MaskedContrastiveLoss
from masr_modules.objectives.masked_latents import MaskedLatents, MaskedPass


class Wav2Vec2(MaskedLatents):
    """wav2vec 2.0's task on a SpeechEncoder; PublishedWav2Vec2 has the published network.

    Only masked frames are quantised. The loss is contrastive + diversity_weight * diversity.

    Arguments
    ---------
    encoder : SpeechEncoder
        The encoder to train.
    num_codes : int
        Number of entries of each of the two codebooks.
    code_dim : int
        Dimension in which frames and targets are compared.
    temperature : tuple of float
        Temperature of the quantiser: (start, stop, factor per step).
    num_distractors : int
        Number of distractors per masked frame, drawn from the same utterance's masked frames.
    diversity_weight : float
        Weight of the term that favours even use of the codes.
    mask_share : float
        Fraction of each utterance's frames that is masked.
    mask_span : int
        Length of a mask in encoder frames.

    Example
    -------
    >>> import torch
    >>> from masr_modules.encoders.conformer import ConvFrontEnd, LogMel
    >>> encoder = SpeechEncoder(
    ...     LogMel(), ConvFrontEnd(80, 32, [7], [4]), num_layers=1, d_model=32, d_ffn=64, nhead=2
    ... )
    >>> out = Wav2Vec2(encoder, num_codes=8)(torch.randn(2, 32000), torch.tensor([1.0, 0.6]))
    >>> sorted(out.stats)
    ['code_perplexity', 'contrastive_accuracy']
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        num_codes: int = 320,
        code_dim: int = 256,
        temperature: tuple[float, float, float] = (2.0, 0.5, 0.999995),
        num_distractors: int = 100,
        diversity_weight: float = 0.1,
        mask_share: float = 0.49,
        mask_span: int = 10,
    ):
        super().__init__(encoder, mask_share, mask_span)
        self.diversity_weight = diversity_weight
        self.target_quantizer = W2VTargetQuantiser(
            encoder.d_model, code_dim, AnnealedGumbelQuantizer, num_codes, tuple(temperature)
        )
        self.projection = nn.Linear(encoder.d_model, code_dim)
        self.contrastive = MaskedContrastiveLoss(num_distractors)

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective."""
        masked = self.masked_pass(wavs, wav_lens, mask_seeds)
        loss, stats = self.contrastive_loss(masked, masked.layers[-1])
        return SSLOutput(loss, masked.layers, masked.lens, masked.mask.frames, stats)

    def contrastive_loss(self, masked: MaskedPass, frames: Tensor) -> tuple[Tensor, dict]:
        """Computes the contrastive and diversity loss of (B, F, D) frames, and its stats."""
        mask = masked.mask
        targets, quantized = self.target_quantizer(mask.select(masked.latents).unsqueeze(0))
        predicted = self.projection(mask.select(frames))
        loss, accuracy = self.contrastive(predicted, targets[0], mask)
        loss = loss + self.diversity_weight * quantized["diversity_loss"]
        stats = {
            "contrastive_accuracy": accuracy,
            "code_perplexity": quantized["code_perplex"].detach(),
        }
        return loss, stats

    def after_step(self, step: int) -> None:
        """Lowers the quantiser's temperature."""
        self.target_quantizer.quantiser.update_temp(step)
