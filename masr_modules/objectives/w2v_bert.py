"""w2v-BERT: a contrastive task on the lower layers, and masked prediction of its codes on top.

The method is that of Chung et al., "w2v-BERT: combining contrastive learning and masked language
modeling for self-supervised speech pre-training", ASRU 2021, arXiv 2108.06209.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.encoders.conformer import SpeechEncoder
from masr_modules.objectives.base import SSLOutput
from masr_modules.objectives.wav2vec2 import Wav2Vec2


class W2vBert(Wav2Vec2):
    """w2v-BERT's task on a SpeechEncoder, whose first layers are the contrastive stack.

    The loss is contrastive + diversity + prediction_weight * the cross-entropy with which the last
    layer predicts the quantiser's codes of masked frames.

    Arguments
    ---------
    encoder : SpeechEncoder
        The encoder to train.
    contrastive_layers : int
        Number of layers of the lower stack; the others are the upper one.
    prediction_weight : float
        Weight of the masked prediction.
    **wav2vec2
        The other arguments of Wav2Vec2.

    Raises
    ------
    ValueError
        If one of the stacks would have no layer.

    Example
    -------
    >>> from masr_modules.encoders.conformer import ConvFrontEnd, LogMel
    >>> encoder = SpeechEncoder(
    ...     LogMel(), ConvFrontEnd(80, 32, [7], [4]), num_layers=2, d_model=32, d_ffn=64, nhead=2
    ... )
    >>> ssl = W2vBert(encoder, contrastive_layers=1, num_codes=8)
    >>> sorted(ssl(torch.randn(2, 32000), torch.tensor([1.0, 0.6])).stats)
    ['code_perplexity', 'contrastive_accuracy', 'ssl_accuracy']
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        contrastive_layers: int,
        prediction_weight: float = 1.0,
        **wav2vec2,
    ):
        super().__init__(encoder, **wav2vec2)
        num_layers = len(encoder.context.layers)
        if not 0 < contrastive_layers < num_layers:
            raise ValueError(
                f"contrastive_layers is {contrastive_layers}, but both stacks need a layer: "
                f"choose 1 to {num_layers - 1} with num_layers: {num_layers}"
            )
        self.contrastive_layers = contrastive_layers
        self.prediction_weight = prediction_weight
        quantizer = self.target_quantizer.quantiser
        self.classifier = nn.Linear(encoder.d_model, quantizer.groups * quantizer.num_vars)

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective."""
        masked = self.masked_pass(wavs, wav_lens, mask_seeds)
        loss, stats = self.contrastive_loss(masked, masked.layers[self.contrastive_layers])
        quantizer, frames = self.target_quantizer.quantiser, masked.layers[-1]
        codes = quantizer.codes(masked.mask.select(masked.latents))
        logits = self.classifier(masked.mask.select(frames)).unflatten(-1, (quantizer.groups, -1))
        prediction = F.cross_entropy(logits.flatten(0, 1).float(), codes.flatten())
        with torch.no_grad():
            stats["ssl_accuracy"] = (logits.argmax(dim=-1) == codes).float().mean()
        loss = loss + self.prediction_weight * prediction
        return SSLOutput(loss, masked.layers, masked.lens, masked.mask.frames, stats)
