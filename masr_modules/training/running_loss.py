"""Losses that are read where they are shown: the host does not wait for the device."""

import math
import time

import torch
import torch.distributed as dist
from torch import Tensor

from masr_modules.distributed import world_size


class RunningLoss:
    """Mean of losses and their parts, kept where they are computed; read when it is shown.

    What is not finite counts in neither: the mean of nothing else is NaN.

    Arguments
    ---------
    mean : float
        Of `count` losses before.
    count : int
        How many those were.

    Example
    -------
    >>> loss = RunningLoss()
    >>> loss.add(torch.tensor(1.0), {"ssl": torch.tensor(3.0)})
    >>> loss.add(torch.tensor(2.0), {"ssl": torch.tensor(4.0)})
    >>> float(loss), str(loss)
    (1.5, '1.500 (ssl 3.500)')
    """

    SECONDS = 1.0  # that a text stays: making one waits for the device

    def __init__(self, mean: float = 0.0, count: int = 0):
        count = count if math.isfinite(mean) else 0
        self.total: Tensor | float = mean * count if count else 0.0
        self.count: Tensor | float = count
        self.parts: dict[str, Tensor | float] = {}
        self.parts_count: Tensor | float = 0
        self.text, self.made = "", float("-inf")

    def add(self, loss: Tensor, parts: dict[str, Tensor] | None = None) -> None:
        """Counts a loss in."""
        finite = torch.isfinite(loss)
        self.total = self.total + torch.where(finite, loss, 0.0)
        self.count = self.count + finite
        for name, value in (parts or {}).items():
            self.parts[name] = self.parts.get(name, 0.0) + torch.where(finite, value, 0.0)
        self.parts_count = self.parts_count + finite

    def __float__(self) -> float:
        count = float(self.count)
        return float(self.total) / count if count else float("nan")

    def __str__(self) -> str:
        if time.monotonic() - self.made > self.SECONDS:
            shown = [
                f"{k} {float(v) / max(1.0, float(self.parts_count)):.3f}"
                for k, v in self.parts.items()
            ]
            self.text = f"{float(self):.3f}" + (f" ({', '.join(shown)})" if shown else "")
            self.made = time.monotonic()
        return self.text


class Finite:
    """Whether a loss is finite, asked for before the answer is needed."""

    def __init__(self, loss: Tensor):
        self.flags = (~torch.isfinite(loss.detach())).float().repeat(2)  # this rank's, any rank's
        if world_size() > 1:
            dist.all_reduce(self.flags[1:])
        self.event = None
        if self.flags.is_cuda:
            self.flags = self.flags.to("cpu", non_blocking=True)
            self.event = torch.cuda.Event()
            self.event.record()

    def read(self) -> tuple[bool, bool]:
        """On this rank, and on all; waits for what was computed before it was asked for."""
        if self.event is not None:
            self.event.synchronize()
        own, joint = self.flags.tolist()
        return not own, not joint
