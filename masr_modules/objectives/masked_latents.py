"""What wav2vec 2.0, w2v-BERT, HuBERT and data2vec share: masking the front end's output."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from masr_modules.encoders.conformer import SpeechEncoder
from masr_modules.objectives.base import SSLObjective
from masr_modules.objectives.masking import FrameMask, span_mask


@dataclass
class MaskedPass:
    """One masked forward pass.

    Arguments
    ---------
    latents : torch.Tensor
        (B, F, D) the front end's output, unmasked.
    layers : list[torch.Tensor]
        (B, F, D) each; the first is the masked input.
    lens : torch.Tensor
        (B,) number of valid frames.
    mask : FrameMask
        Of the masked frames.
    """

    latents: Tensor
    layers: list[Tensor]
    lens: Tensor
    mask: FrameMask


class MaskedLatents(SSLObjective):
    """The shared encoder, with a learned vector in place of masked latents.

    Arguments
    ---------
    encoder : SpeechEncoder
        The encoder to train.
    mask_share : float
        Fraction of each utterance's frames that is masked.
    mask_span : int
        Length of a mask in encoder frames.
    """

    def __init__(self, encoder: SpeechEncoder, mask_share: float, mask_span: int):
        super().__init__()
        self.encoder = encoder
        self.d_model = encoder.d_model
        self.mask_share = mask_share
        self.mask_span = mask_span
        self.mask_embedding = nn.Parameter(torch.empty(encoder.d_model).uniform_())

    def masked_pass(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None
    ) -> MaskedPass:
        """Front end, mask, context network; arguments as of SSLObjective.forward."""
        latents, lens = self.encoder.front_end(*self.encoder.features(wavs, wav_lens))
        frames, device = latents.shape[1], latents.device
        mask = span_mask(lens, frames, self.mask_share, self.mask_span, mask_seeds, device)
        hidden = mask.frames.unsqueeze(-1)
        masked = torch.where(hidden, self.mask_embedding.to(latents.dtype), latents)
        return MaskedPass(latents, self.encoder.contextualise(masked, lens), lens, mask)
