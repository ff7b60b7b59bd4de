"""Predicting what a start that is already good hears: continuing without forgetting.

The masked student predicts the layers of a copy of the encoder that it started from, which
hears everything. Of the family of data2vec (Baevski et al., ICML 2022, arXiv 2202.03555), with
the start as teacher; a loss to a frozen start is also how continual learning keeps what a
network knew (Li and Hoiem, "Learning without forgetting", ECCV 2016, arXiv 1606.09282).
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.encoders.huggingface import EncoderInput, HuggingFaceEncoder
from masr_modules.encoders.pooling import valid_frames
from masr_modules.objectives.masking import FrameMask

#: Makes the mean square of normalised layers as large as the losses of other methods, so that
#: the same weight of MASR fits.
LOSS_SCALE = 10.0


class StartPrediction(nn.Module):
    """Mean square between the layers of the masked student and those of its start.

    Each layer of the student is compared with the same layer of the start, both normalised over
    their channels: at masked frames, where the student has to guess, and, with `visible_weight`,
    at the others, where it may only drift. Costs a forward pass of the start, a third of a step.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        The student, as it is before training.
    visible_weight : float
        Of the loss at frames that are not masked; at masked ones it is 1.

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
        """The start stays in eval mode: its layers have no dropout."""
        super().train(mode)
        self.start.eval()
        return self

    def forward(
        self, inputs: EncoderInput, layers: Sequence[Tensor], mask: FrameMask
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch.

        Arguments
        ---------
        inputs : EncoderInput
            What the student heard.
        layers : sequence of torch.Tensor
            (B, F, D) each, of the student, the input of its first layer first.
        mask : FrameMask
            (B, F) of the student's.

        Returns
        -------
        loss : torch.Tensor
            Scalar.
        stats : dict[str, torch.Tensor]
            `start_guess` and `start_drift`: the mean square at masked and at other frames.
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
    """(B, F) mean square of frames that are normalised over their channels."""
    size = student.shape[-1:]
    student, start = F.layer_norm(student.float(), size), F.layer_norm(start.float(), size)
    return (student - start).square().mean(dim=-1)


def _mean(error: Tensor, frames: Tensor) -> Tensor:
    return torch.where(frames, error, 0.0).sum() / frames.sum().clamp(min=1)
