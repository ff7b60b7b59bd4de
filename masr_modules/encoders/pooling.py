"""From frames to one embedding per utterance."""

import torch
from torch import Tensor, nn


def valid_frames(frame_lens: Tensor, num_frames: int, device: torch.device | None = None) -> Tensor:
    """Tells real frames from padding.

    Arguments
    ---------
    frame_lens : torch.Tensor
        (B,) number of real frames of each utterance.
    num_frames : int
        F, the padded length.
    device : torch.device, optional
        Of the result, by default that of `frame_lens`. Lengths on the host go there without a wait.

    Returns
    -------
    torch.Tensor
        (B, F) bool, True on real frames.

    Example
    -------
    >>> valid_frames(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    device = device or frame_lens.device
    lens = frame_lens.to(device, non_blocking=True)
    return torch.arange(num_frames, device=device) < lens.unsqueeze(1)


class MeanPooling(nn.Module):
    """Mean over the valid frames, leaving out frames whose input was masked.

    An utterance that is masked from end to end is averaged over all its valid
    frames. Costs one pass over the frames.

    Example
    -------
    >>> pool = MeanPooling()
    >>> frames = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> pool(frames, torch.tensor([2])).item()
    2.0
    >>> pool(frames, torch.tensor([2]), torch.tensor([[True, False, False]])).item()
    3.0
    """

    def forward(
        self, frames: Tensor, frame_lens: Tensor, frame_mask: Tensor | None = None
    ) -> Tensor:
        """Pools a batch.

        Arguments
        ---------
        frames : torch.Tensor
            (B, F, D).
        frame_lens : torch.Tensor
            (B,) number of valid frames.
        frame_mask : torch.Tensor, optional
            (B, F) bool, True where the input of the frame was masked.

        Returns
        -------
        torch.Tensor
            (B, D) float32.
        """
        valid = valid_frames(frame_lens, frames.shape[1], frames.device)
        keep = valid
        if frame_mask is not None:
            seen = valid & ~frame_mask
            keep = torch.where(seen.any(dim=1, keepdim=True), seen, valid)
        weights = keep.float()
        weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1.0)
        # Padding may hold anything, NaN included: 0 * NaN must not reach the mean.
        frames = frames.float().masked_fill(~valid.unsqueeze(-1), 0.0)
        with torch.autocast(frames.device.type, enabled=False):
            return torch.einsum("bf,bfd->bd", weights, frames)


class StatisticsPooling(nn.Module):
    """Mean and standard deviation over the valid frames, side by side.

    As SpeechBrain's module of that name, but deterministic (that adds noise to the mean)
    and without a loop over the batch.

    Frames whose input was masked are left out, as MeanPooling does.

    Example
    -------
    >>> frames = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> StatisticsPooling()(frames, torch.tensor([2])).tolist()
    [[2.0, 1.0]]
    """

    def __init__(self):
        super().__init__()
        self.mean = MeanPooling()

    def forward(
        self, frames: Tensor, frame_lens: Tensor, frame_mask: Tensor | None = None
    ) -> Tensor:
        """(B, F, D) frames, (B,) lengths, (B, F) mask -> (B, 2 D) float32."""
        mean = self.mean(frames, frame_lens, frame_mask)
        squares = (frames.float() - mean.unsqueeze(1)).square()
        variance = self.mean(squares, frame_lens, frame_mask)
        return torch.cat([mean, (variance + 1e-9).sqrt()], dim=1)
