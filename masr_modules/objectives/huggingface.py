"""Continued pretraining of a `transformers` speech encoder."""

import torch
from torch import Tensor

from masr_modules.encoders.conformer import LogMel
from masr_modules.encoders.huggingface import EncoderInput, HuggingFaceEncoder
from masr_modules.objectives.base import SSLObjective, SSLOutput
from masr_modules.objectives.contrastive import MaskedContrastiveLoss
from masr_modules.objectives.masking import FrameMask, span_mask
from masr_modules.objectives.random_projection import RandomProjectionLoss, stack_features


class HuggingFaceSSL(SSLObjective):
    """Continues with the checkpoint's own objective, or with BEST-RQ's where it ships none.

    A checkpoint with wav2vec 2.0's quantiser (wav2vec 2.0, XLS-R) keeps its
    contrastive and diversity losses, at the temperature where the published annealing
    ends. Any other encoder predicts random-projection codes of log-mel features.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        The encoder to train.
    mask_share : float
        Fraction of each utterance's frames that is masked.
    mask_span : int
        Length of a mask in encoder frames.
    codebook_size : int
        Of the random-projection codes.
    codebook_dim : int
        Dimension of a code.

    Raises
    ------
    ValueError
        If the encoder's frames are no whole number of 10 ms steps apart.
    """

    def __init__(
        self,
        encoder: HuggingFaceEncoder,
        mask_share: float = 0.49,
        mask_span: int = 10,
        codebook_size: int = 1024,
        codebook_dim: int = 16,
    ):
        super().__init__()
        self.encoder = encoder
        self.d_model = encoder.d_model
        self.mask_share = mask_share
        self.mask_span = mask_span
        if encoder.head is not None:
            config = encoder.head.config
            self.diversity_weight = config.diversity_loss_weight
            encoder.head.quantizer.temperature = 0.5
            self.contrastive = MaskedContrastiveLoss(
                config.num_negatives, config.contrastive_logits_temperature
            )
            return
        self.features = LogMel(encoder.sample_rate)
        if encoder.frame_samples % self.features.hop:
            raise ValueError(
                f"the encoder's frames are {encoder.frame_samples} samples apart, no multiple of "
                f"{self.features.hop}"
            )
        self.ratio = encoder.frame_samples // self.features.hop
        self.prediction = RandomProjectionLoss(
            self.ratio * self.features.n_mels, self.d_model, codebook_size, codebook_dim
        )

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """See SSLObjective."""
        inputs: EncoderInput = self.encoder.prepare(wavs, wav_lens)
        lens = inputs.frame_lens
        mask = span_mask(
            lens, inputs.num_frames, self.mask_share, self.mask_span, mask_seeds, wavs.device
        )
        output = self.encoder.run(inputs, mask.frames, all_layers=True)
        frames = output.last_hidden_state
        if self.encoder.head is not None:
            latents = mask.select(output.extract_features)
            loss, stats = self._own_loss(mask.select(frames), latents, mask)
        else:
            features, _ = self.features(wavs, wav_lens)
            stacked = stack_features(features, self.ratio)[:, : inputs.num_frames]
            loss, stats = self.prediction(mask.select(frames), mask.select(stacked))
        return SSLOutput(loss, [*output.hidden_states[:-1], frames], lens, mask.frames, stats)

    def _own_loss(self, frames: Tensor, latents: Tensor, mask: FrameMask) -> tuple[Tensor, dict]:
        """wav2vec 2.0's, with the head that came with the checkpoint; masked frames only."""
        head = self.encoder.head
        latents = head.dropout_features(latents).unsqueeze(0)
        everything = torch.ones(latents.shape[:2], dtype=torch.bool, device=latents.device)
        codes, perplexity = head.quantizer(latents, mask_time_indices=everything)
        targets = head.project_q(codes.to(head.project_q.weight.dtype))[0]
        loss, accuracy = self.contrastive(head.project_hid(frames), targets, mask)
        num_codes = head.quantizer.num_groups * head.quantizer.num_vars
        loss = loss + self.diversity_weight * (num_codes - perplexity) / num_codes
        stats = {"contrastive_accuracy": accuracy, "code_perplexity": perplexity.detach()}
        return loss, stats
