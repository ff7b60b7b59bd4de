"""Span masks for masked prediction, drawn for each utterance within its own length."""

import numpy as np
import torch
from torch import Tensor


@torch.compiler.disable  # numpy's generators cannot be traced
def span_mask(
    lens: Tensor, num_frames: int, share: float, span: int, seeds: list[int] | None = None
) -> Tensor:
    """Masks at most `share` of each utterance's frames, in spans that do not overlap.

    Whole spans, as many as the share has room for; where it has room for none, a shorter one.
    Runs on the CPU, O(B F).

    Arguments
    ---------
    lens : torch.Tensor
        (B,) number of valid frames.
    num_frames : int
        F, the padded length.
    share : float
        Of the frames to mask, in (0, 1).
    span : int
        Frames a mask covers.
    seeds : list[int], optional
        One an utterance; without them torch's global generator is drawn from.

    Returns
    -------
    torch.Tensor
        (B, F) bool on the device of `lens`.

    Raises
    ------
    ValueError
        If no utterance has a frame to mask.

    Example
    -------
    >>> mask = span_mask(torch.tensor([20, 3]), 20, share=0.5, span=5, seeds=[1, 2])
    >>> mask.sum(dim=1).tolist()
    [10, 1]
    """
    mask = np.zeros((len(lens), num_frames), dtype=bool)
    lengths = lens.tolist()
    if max(lengths) * share < 1:
        raise ValueError(
            f"nothing to mask: {share:g} of the longest of {len(lengths)} utterances, "
            f"{max(lengths)} frames, is less than a frame; drop short utterances"
        )
    if seeds is None:
        seeds = torch.randint(2**62, (len(lengths),)).tolist()
    for row, length, seed in zip(mask, lengths, seeds, strict=True):
        _mask_row(row, length, share, span, np.random.default_rng(seed))
    return torch.from_numpy(mask).to(lens.device)


def _mask_row(row: np.ndarray, length: int, share: float, span: int, rng) -> None:
    """At most the share, in whole spans; where that is less than one span, in one shorter one."""
    most = int(share * length)
    span = min(span, most)
    if span == 0:
        return
    count = most // span
    # Spans in order with the free frames thrown into the gaps: every layout is equally likely.
    gaps = np.sort(rng.integers(0, length - count * span + 1, size=count))
    for i, gap in enumerate(gaps):
        start = gap + i * span
        row[start : start + span] = True
