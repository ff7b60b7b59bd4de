"""Pooling of frames to one embedding per utterance."""

import torch
from torch import Tensor, nn


def valid_frames(frame_lens: Tensor, num_frames: int, device: torch.device | None = None) -> Tensor:
    """Distinguishes valid frames from padding.

    Arguments
    ---------
    frame_lens : torch.Tensor
        (B,) number of valid frames of each utterance.
    num_frames : int
        F, the padded length.
    device : torch.device, optional
        The device of the result, by default that of `frame_lens`. Lengths on the host are copied
        there without waiting.

    Returns
    -------
    torch.Tensor
        (B, F) bool, True on valid frames.

    Example
    -------
    >>> valid_frames(torch.tensor([1, 3]), 3).tolist()
    [[True, False, False], [True, True, True]]
    """
    device = device or frame_lens.device
    lens = frame_lens.to(device, non_blocking=True)
    return torch.arange(num_frames, device=device) < lens.unsqueeze(1)


class MeanPooling(nn.Module):
    """The mean over the valid frames, without frames whose input was masked.

    An utterance of which every frame is masked is averaged over all its valid frames. Pooling
    costs one pass over the frames.

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
            (B, F, D) frames.
        frame_lens : torch.Tensor
            (B,) number of valid frames.
        frame_mask : torch.Tensor, optional
            (B, F) bool, True where the input of the frame was masked.

        Returns
        -------
        torch.Tensor
            (B, D) float32 means.
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
    """The mean and standard deviation over the valid frames, side by side.

    Unlike SpeechBrain's module of that name, it adds no noise to the mean and does not loop over
    the batch. Frames whose input was masked are left out, as in MeanPooling.

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
        """Pools (B, F, D) frames of (B,) lengths with a (B, F) mask to (B, 2 D) float32."""
        mean = self.mean(frames, frame_lens, frame_mask)
        squares = (frames.float() - mean.unsqueeze(1)).square()
        variance = self.mean(squares, frame_lens, frame_mask)
        return torch.cat([mean, (variance + 1e-9).sqrt()], dim=1)
