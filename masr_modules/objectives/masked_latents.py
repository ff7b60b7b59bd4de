"""The part that wav2vec 2.0, w2v-BERT, HuBERT and data2vec share: masking of the front end."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from masr_modules.encoders.conformer import SpeechEncoder
from masr_modules.objectives.base import SSLObjective
from masr_modules.objectives.masking import FrameMask, span_mask


@dataclass
class MaskedPass:
    """The result of one masked forward pass.

    Arguments
    ---------
    latents : torch.Tensor
        (B, F, D) output of the front end, unmasked.
    layers : list[torch.Tensor]
        Tensors (B, F, D); the first is the masked input.
    lens : torch.Tensor
        (B,) number of valid frames.
    mask : FrameMask
        The masked frames.
    """

    latents: Tensor
    layers: list[Tensor]
    lens: Tensor
    mask: FrameMask


class MaskedLatents(SSLObjective):
    """A base class for objectives that put a learned vector in the place of masked latents.

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
        """Runs front end, mask and layers; for the arguments see SSLObjective.forward."""
        latents, lens = self.encoder.front_end(*self.encoder.features(wavs, wav_lens))
        frames, device = latents.shape[1], latents.device
        mask = span_mask(lens, frames, self.mask_share, self.mask_span, mask_seeds, device)
        hidden = mask.frames.unsqueeze(-1)
        masked = torch.where(hidden, self.mask_embedding.to(latents.dtype), latents)
        return MaskedPass(latents, self.encoder.contextualise(masked, lens), lens, mask)
