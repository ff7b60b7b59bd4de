"""The interface of every self-supervised objective."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from masr_modules.distributed import global_mean, world_size


@dataclass
class SSLOutput:
    """What one masked forward pass gives.

    Arguments
    ---------
    loss : torch.Tensor
        Scalar, mean over the masked frames of the batch.
    layers : sequence of torch.Tensor
        (B, F, D) each, of that same pass, for pooling: front end first, the encoder's output last.
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
        """(B, F, D) the encoder's output."""
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

    A new method is a subclass in a file of its own that sets `encoder` and `d_model`,
    implements `forward`, and `after_step` where it needs it. All of its state
    is in its state_dict(), so that a resumed run is exact. Parameters that
    its loss does not reach have `requires_grad` False.

    Attributes
    ----------
    encoder : nn.Module
        What pretraining is for: the only part that other tasks use.
    d_model : int
        D, the width of the frames.
    """

    encoder: nn.Module
    d_model: int

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """One masked forward pass with its loss.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples.
        wav_lens : torch.Tensor
            (B,) relative lengths in (0, 1]; on the host, no objective waits for the device.
        mask_seeds : list[int], optional
            One seed per utterance: the same seed gives the same mask. Without
            it masks come from torch's global generator.

        Returns
        -------
        SSLOutput
        """
        raise NotImplementedError

    def encode(self, wavs: Tensor, wav_lens: Tensor) -> tuple[list[Tensor], Tensor]:
        """All layers' frames, without masking: deterministic in eval mode.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples.
        wav_lens : torch.Tensor
            (B,) relative lengths.

        Returns
        -------
        layers : list[torch.Tensor]
            (B, F, D) each, front end first.
        frame_lens : torch.Tensor
            (B,) number of valid frames.
        """
        return self.encoder(wavs, wav_lens)

    def after_step(self, step: int) -> None:
        """Called by the recipe after each step of the optimiser.

        The place for what no gradient trains: a teacher's moving average, a
        temperature. Does nothing by default.

        Arguments
        ---------
        step : int
            Number of steps done.
        """
