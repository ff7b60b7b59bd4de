"""The interface of every self-supervised objective."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from masr_modules.distributed import global_mean, world_size


@dataclass
class SSLOutput:
    """The result of one masked forward pass.

    Arguments
    ---------
    loss : torch.Tensor
        Scalar loss, a mean over the masked frames of the batch.
    layers : sequence of torch.Tensor
        Tensors (B, F, D) of the same pass, for pooling: the front end's output first, the
        encoder's output last.
    frame_lens : torch.Tensor
        (B,) number of valid frames.
    frame_mask : torch.Tensor
        (B, F) bool, True on frames whose input was masked.
    stats : dict[str, torch.Tensor]
        Detached scalars for the log, left on their device.
    """

    loss: Tensor
    layers: Sequence[Tensor]
    frame_lens: Tensor
    frame_mask: Tensor
    stats: dict[str, Tensor] = field(default_factory=dict)

    @property
    def frames(self) -> Tensor:
        """(B, F, D) output of the encoder."""
        return self.layers[-1]

    @property
    def joint_loss(self) -> Tensor:
        """This rank's part of the mean over the masked frames of all ranks' batches."""
        if world_size() == 1:
            return self.loss
        masked = self.frame_mask.sum().float()
        return global_mean(self.loss * masked, masked)


class SSLObjective(nn.Module):
    """A self-supervised method: an encoder and the loss that trains it.

    A new method is a subclass in a file of its own that sets `encoder` and `d_model` and implements
    `forward` and, if it needs it, `after_step`. All of its state must be in its state_dict(), so
    that a resumed run is exact, and parameters that its loss does not reach must have
    `requires_grad` False.

    Attributes
    ----------
    encoder : nn.Module
        The encoder, which is the only part that other tasks use.
    d_model : int
        D, the width of the frames.
    """

    encoder: nn.Module
    d_model: int

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """Runs one masked forward pass and computes its loss.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples.
        wav_lens : torch.Tensor
            (B,) relative lengths in (0, 1]. If they are on the host, no objective waits for the
            device.
        mask_seeds : list[int], optional
            One seed per utterance: the same seed gives the same mask. Without
            seeds, masks come from torch's global generator.

        Returns
        -------
        SSLOutput
        """
        raise NotImplementedError

    def encode(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encodes waveforms without masking; this is deterministic in eval mode.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples.
        wav_lens : torch.Tensor
            (B,) relative lengths.

        Returns
        -------
        layers : list[torch.Tensor]
            Tensors (B, F, D), that of the front end first.
        frame_lens : torch.Tensor
            (B,) number of valid frames.
        """
        return self.encoder(wavs, wav_lens)

    def after_step(self, step: int) -> None:
        """Runs after each step of the optimiser; the recipe calls it.

        A subclass updates here what no gradient trains, such as a teacher's moving average or a
        temperature. By default it does nothing.

        Arguments
        ---------
        step : int
            Number of steps so far.
        """
