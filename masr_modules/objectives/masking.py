"""Span masks for masked prediction, drawn for each utterance within its own length."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass
class FrameMask:
    """The masked frames of a batch and their places; selecting them needs no wait for the device.

    Arguments
    ---------
    frames : torch.Tensor
        (B, F) bool, True on masked frames.
    places : torch.Tensor
        (N,) places of the masked frames among the batch's B * F frames, in order.

    Example
    -------
    >>> mask = FrameMask.of(torch.tensor([[True, False, False], [False, True, True]]))
    >>> mask.places.tolist(), mask.select(torch.arange(6.0).view(2, 3, 1)).flatten().tolist()
    ([0, 4, 5], [0.0, 4.0, 5.0])
    """

    frames: Tensor
    places: Tensor

    @classmethod
    def of(cls, frames: Tensor, device: torch.device | None = None) -> "FrameMask":
        """Makes the mask from (B, F) bool on the host, and moves it to a device if one is given."""
        places = frames.flatten().nonzero().squeeze(1)
        return cls(*(part.to(device, non_blocking=True) for part in (frames, places)))

    def select(self, x: Tensor) -> Tensor:
        """Selects the (N, ...) masked frames of (B, F, ...)."""
        return x.flatten(0, 1).index_select(0, self.places)


@torch.compiler.disable  # numpy's generators cannot be traced
def span_mask(
    lens: Tensor,
    num_frames: int,
    share: float,
    span: int,
    seeds: list[int] | None = None,
    device: torch.device | None = None,
) -> FrameMask:
    """Masks at most the fraction `share` of each utterance's frames, in spans without overlap.

    The fraction is filled with as many whole spans as fit into it; if none fits, there is one
    shorter span. The mask is made on the CPU, in O(B F); this waits for the device if `lens` is
    not on the CPU.

    Arguments
    ---------
    lens : torch.Tensor
        (B,) number of valid frames.
    num_frames : int
        F, the padded length.
    share : float
        Fraction of the frames to mask, in (0, 1).
    span : int
        Number of frames that a span covers.
    seeds : list[int], optional
        One seed per utterance; without seeds, torch's global generator draws them.
    device : torch.device, optional
        Device of the mask; by default that of `lens`.

    Returns
    -------
    FrameMask
        The (B, F) mask.

    Raises
    ------
    ValueError
        If no utterance has a frame to mask.

    Example
    -------
    >>> mask = span_mask(torch.tensor([20, 3]), 20, share=0.5, span=5, seeds=[1, 2])
    >>> mask.frames.sum(dim=1).tolist()
    [10, 1]
    """
    lengths = lens.tolist()
    if max(lengths) * share < 1:
        raise ValueError(
            f"nothing to mask: {share:g} of the longest of {len(lengths)} utterances, "
            f"{max(lengths)} frames, is less than a frame: remove short utterances from the CSV"
        )
    draw = functools.partial(_mask_row, share=share, span=span)
    return FrameMask.of(_drawn(lengths, num_frames, seeds, draw), device or lens.device)


@torch.compiler.disable
def overlapping_span_mask(
    lens: Tensor,
    num_frames: int,
    prob: float,
    span: int,
    least: int = 2,
    seeds: list[int] | None = None,
    device: torch.device | None = None,
) -> FrameMask:
    """Masks spans that may overlap, as wav2vec 2.0, HuBERT and data2vec do.

    An utterance of L frames has prob * L / span spans, rounded up or down at random, which start
    at different places, all equally likely. As spans overlap, fewer than prob * L frames are
    masked. Utterances shorter than a span have no mask. The distribution is that of
    `_compute_mask_indices` of transformers, but each utterance is masked by itself: neither padding
    nor the other utterances of the batch matter.

    Arguments
    ---------
    lens : torch.Tensor
        (B,) number of valid frames.
    num_frames : int
        F, the padded length.
    prob : float
        Fraction of frames that the spans would cover if none overlapped.
    span : int
        Number of frames that a span covers.
    least : int
        Least number of spans per utterance, as far as it has room for them.
    seeds, device
        See span_mask.

    Returns
    -------
    FrameMask
        The (B, F) mask.

    Raises
    ------
    ValueError
        If no utterance has room for a span.

    Example
    -------
    >>> mask = overlapping_span_mask(torch.tensor([100, 9]), 100, prob=0.65, span=10, seeds=[1, 2])
    >>> mask.frames.sum(dim=1).tolist()
    [60, 0]
    """
    lengths = lens.tolist()
    if max(lengths) < span:
        raise ValueError(
            f"nothing to mask: the longest of {len(lengths)} utterances has {max(lengths)} frames, "
            f"and a span {span}: remove short utterances from the CSV"
        )
    draw = functools.partial(_overlapping_row, prob=prob, span=span, least=least)
    return FrameMask.of(_drawn(lengths, num_frames, seeds, draw), device or lens.device)


def _drawn(lengths: list[int], num_frames: int, seeds: list[int] | None, draw) -> Tensor:
    """Makes (B, F) bool, of which `draw` fills each utterance's row with a generator of its own."""
    mask = np.zeros((len(lengths), num_frames), dtype=bool)
    if seeds is None:
        seeds = torch.randint(2**62, (len(lengths),)).tolist()
    for row, length, seed in zip(mask, lengths, seeds, strict=True):
        draw(row, length, rng=np.random.default_rng(seed))
    return torch.from_numpy(mask)


def _overlapping_row(row: np.ndarray, length: int, prob: float, span: int, least: int, rng) -> None:
    """Masks spans that start at different places."""
    count = max(int(prob * length / span + rng.random()), least)
    count = min(count, length // span)
    for start in rng.choice(max(length - span + 1, 1), count, replace=False):
        row[start : start + span] = True


def _mask_row(row: np.ndarray, length: int, share: float, span: int, rng) -> None:
    """Masks at most the fraction, in whole spans or, if none fits into it, in a shorter span."""
    most = int(share * length)
    span = min(span, most)
    if span == 0:
        return
    count = most // span
    # Sorted uniform draws among the free frames place the spans in order, so that they do not
    # overlap. Layouts are not equally likely: those whose spans touch are drawn less often.
    gaps = np.sort(rng.integers(0, length - count * span + 1, size=count))
    for i, gap in enumerate(gaps):
        start = gap + i * span
        row[start : start + span] = True
