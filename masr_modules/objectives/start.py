"""Prediction of the layers of a pretrained start, so that continued training does not forget it.

The masked student predicts the layers of a frozen copy of the encoder that it started from, which
sees the unmasked utterance. This resembles data2vec (Baevski et al., ICML 2022, arXiv 2202.03555),
with the start as teacher. Continual learning also compares a network with its frozen start to keep
what it has learned (Li and Hoiem, "Learning without forgetting", ECCV 2016, arXiv 1606.09282).
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.encoders.huggingface import EncoderInput, HuggingFaceEncoder
from masr_modules.encoders.pooling import valid_frames
from masr_modules.objectives.masking import FrameMask

#: Factor that makes the mean square of normalised layers as large as the losses of other methods,
#: so that the same `masr_weight` fits.
LOSS_SCALE = 10.0


class StartPrediction(nn.Module):
    """The mean square error between the layers of the masked student and those of its start.

    Each layer of the student is compared with the same layer of the start, both normalised over
    their channels. Masked frames, which the student has to predict, have weight 1; the other
    frames, where the student may drift from the start, have `visible_weight`. The loss costs a
    forward pass of the start, about a third of a step.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        The student, as it is before training.
    visible_weight : float
        Weight of the loss at frames that are not masked.

    Example
    -------
    >>> from transformers import WhisperConfig
    >>> config = WhisperConfig(d_model=16, encoder_layers=2, encoder_attention_heads=2)
    >>> encoder = HuggingFaceEncoder(config=config.to_diff_dict()).eval()
    >>> loss = StartPrediction(encoder, visible_weight=1.0)
    >>> inputs = encoder.prepare(torch.randn(1, 16000), torch.ones(1))
    >>> mask = FrameMask.of(torch.zeros(1, 50, dtype=torch.bool))
    >>> layers = encoder.run(inputs, mask.frames, all_layers=True).hidden_states
    >>> round(loss(inputs, layers, mask)[1]["start_drift"].item(), 6)  # it has not moved yet
    0.0
    """

    def __init__(self, encoder: HuggingFaceEncoder, visible_weight: float = 0.0):
        super().__init__()
        self.visible_weight = visible_weight
        self.start = copy.deepcopy(encoder).requires_grad_(False).eval()
        self.start.head = None  # its layers are predicted, not its codes

    def train(self, mode: bool = True) -> "StartPrediction":
        """Sets the mode, but keeps the start in eval mode, without dropout."""
        super().train(mode)
        self.start.eval()
        return self

    def forward(
        self, inputs: EncoderInput, layers: Sequence[Tensor], mask: FrameMask
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Computes the loss of a batch.

        Arguments
        ---------
        inputs : EncoderInput
            The student's input.
        layers : sequence of torch.Tensor
            Tensors (B, F, D) of the student, the input of its first layer first.
        mask : FrameMask
            The student's (B, F) mask.

        Returns
        -------
        loss : torch.Tensor
            Scalar loss.
        stats : dict[str, torch.Tensor]
            `start_guess` and `start_drift`: the mean square error at masked and at other frames.
        """
        nothing = torch.zeros_like(mask.frames)
        with torch.no_grad():
            output = self.start.run(inputs, nothing, all_layers=True)
        targets = [*output.hidden_states[:-1], output.last_hidden_state]
        valid = valid_frames(inputs.frame_lens, inputs.num_frames, mask.frames.device)
        masked, visible = mask.frames & valid, valid & ~mask.frames
        errors = [_error(x, y) for x, y in zip(layers[1:], targets[1:], strict=True)]
        error = torch.stack(errors).mean(dim=0)
        guess, drift = (_mean(error, frames) for frames in (masked, visible))
        loss = LOSS_SCALE * (guess + self.visible_weight * drift)
        return loss, {"start_guess": guess.detach(), "start_drift": drift.detach()}


def _error(student: Tensor, start: Tensor) -> Tensor:
    """Computes the (B, F) mean square error of frames that are normalised over their channels."""
    size = student.shape[-1:]
    student, start = F.layer_norm(student.float(), size), F.layer_norm(start.float(), size)
    return (student - start).square().mean(dim=-1)


def _mean(error: Tensor, frames: Tensor) -> Tensor:
    return torch.where(frames, error, 0.0).sum() / frames.sum().clamp(min=1)
