"""The interface of every self-supervised objective."""

from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass
class SSLOutput:
    """What one masked forward pass gives.

    Arguments
    ---------
    loss : torch.Tensor
        Scalar, mean over the masked frames of the batch.
    frames : torch.Tensor
        (B, F, D) encoder output of that same pass, for pooling.
    frame_lens : torch.Tensor
        (B,) number of valid frames.
    frame_mask : torch.Tensor
        (B, F) bool, True on frames whose input was masked.
    stats : dict[str, torch.Tensor]
        Detached scalars for the log, left on their device.
    """

    loss: Tensor
    frames: Tensor
    frame_lens: Tensor
    frame_mask: Tensor
    stats: dict[str, Tensor] = field(default_factory=dict)


class SSLObjective(nn.Module):
    """A self-supervised method: an encoder and the loss that trains it.

    A new method is a subclass in a file of its own that implements the two
    methods below.
    """

    def forward(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None = None
    ) -> SSLOutput:
        """One masked forward pass with its loss.

        Arguments
        ---------
        wavs : torch.Tensor
            (B, T) samples.
        wav_lens : torch.Tensor
            (B,) relative lengths in (0, 1].
        mask_seeds : list[int], optional
            One seed an utterance: the same seed gives the same mask. Without
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
        raise NotImplementedError
