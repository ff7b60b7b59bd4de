"""Continued pretraining of a `transformers` speech encoder."""

import logging

from torch import Tensor

from masr_modules.encoders.conformer import LogMel
from masr_modules.encoders.huggingface import EncoderInput, HuggingFaceEncoder
from masr_modules.objectives.base import SSLObjective, SSLOutput
from masr_modules.objectives.contrastive import HeadLoss
from masr_modules.objectives.masking import FrameMask, span_mask
from masr_modules.objectives.random_projection import RandomProjectionLoss, stack_features
from masr_modules.objectives.start import StartPrediction

logger = logging.getLogger(__name__)

#: Temperature of the quantiser at which the published annealing ends.
END_TEMPERATURE = 0.5


class HuggingFaceSSL(SSLObjective):
    """An objective that continues a checkpoint: its own loss, BEST-RQ's or prediction of the start.

    A checkpoint with wav2vec 2.0's quantiser (wav2vec 2.0, XLS-R) keeps its
    contrastive and diversity losses, at the temperature at which the published annealing
    ends. Any other encoder predicts random-projection codes of log-mel features. Beside that
    loss, or in its place, the masked encoder can predict the layers of its start: see
    StartPrediction.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        The encoder to train.
    mask_share : float
        Fraction of each utterance's frames that is masked.
    mask_span : int
        Length of a mask in encoder frames.
    codebook_size : int
        Number of random-projection codes.
    codebook_dim : int
        Dimension of a code.
    own_weight : float
        Weight of the checkpoint's own loss, or of the prediction of codes.
    start_weight : float
        Weight of the prediction of the start.
    visible_weight : float
        Weight, in the prediction of the start, of frames that are not masked.

    Raises
    ------
    ValueError
        If the encoder predicts codes and its frames are not a multiple of 10 ms apart, `own_weight`
        or `start_weight` is negative, or both are 0.
    """

    def __init__(
        self,
        encoder: HuggingFaceEncoder,
        mask_share: float = 0.49,
        mask_span: int = 10,
        codebook_size: int = 1024,
        codebook_dim: int = 16,
        own_weight: float = 1.0,
        start_weight: float = 0.0,
        visible_weight: float = 0.0,
    ):
        super().__init__()
        if min(own_weight, start_weight) < 0 or not own_weight + start_weight:
            raise ValueError(
                f"own_weight is {own_weight} and start_weight {start_weight}: one must be "
                "positive, and none negative"
            )
        self.encoder = encoder
        self.d_model = encoder.d_model
        self.mask_share = mask_share
        self.mask_span = mask_span
        self.own_weight, self.start_weight = own_weight, start_weight
        if start_weight:
            self.start = StartPrediction(encoder, visible_weight)
        elif visible_weight:
            logger.warning("visible_weight has no effect, because start_weight is 0")
        if not own_weight:
            if encoder.head is not None:  # it is kept unchanged for the exported encoder
                encoder.head.requires_grad_(False)
            return
        if encoder.head is not None:
            self.contrastive = HeadLoss(encoder.head.config)
            return
        self.features = LogMel(encoder.sample_rate)
        if encoder.frame_samples % self.features.hop:
            raise ValueError(
                f"the encoder's frames are {encoder.frame_samples} samples apart, which is not a "
                f"multiple of {self.features.hop}: choose another encoder, or own_weight: 0"
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
        layers = [*output.hidden_states[:-1], output.last_hidden_state]
        loss, stats = layers[-1].new_zeros(()), {}
        if self.start_weight:
            guess, stats = self.start(inputs, layers, mask)
            loss = loss + self.start_weight * guess
        if self.own_weight:
            own, own_stats = self._own_loss(output, wavs, wav_lens, inputs, mask)
            loss, stats = loss + self.own_weight * own, stats | own_stats
        return SSLOutput(loss, layers, lens, mask.frames, stats)

    def _own_loss(self, output, wavs, wav_lens, inputs, mask: FrameMask) -> tuple[Tensor, dict]:
        frames = mask.select(output.last_hidden_state)
        if self.encoder.head is not None:
            latents = mask.select(output.extract_features)
            return self.contrastive(self.encoder.head, frames, latents, mask, END_TEMPERATURE)
        features, _ = self.features(wavs, wav_lens)
        stacked = stack_features(features, self.ratio)[:, : inputs.num_frames]
        return self.prediction(frames, mask.select(stacked))
