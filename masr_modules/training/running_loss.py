"""Losses that are read only when they are shown, so that the host seldom waits for the device."""

import math
import time

import torch
import torch.distributed as dist
from torch import Tensor

from masr_modules.distributed import world_size


class RunningLoss:
    """The running means of losses and of their parts, kept on the device until they are shown.

    A loss that is not finite is left out of all means; the mean of no loss is NaN.

    Arguments
    ---------
    mean : float
        The mean of the `count` losses before.
    count : int
        The number of losses before.

    Example
    -------
    >>> loss = RunningLoss()
    >>> loss.add(torch.tensor(1.0), {"ssl": torch.tensor(3.0)})
    >>> loss.add(torch.tensor(2.0), {"ssl": torch.tensor(4.0)})
    >>> float(loss), str(loss)
    (1.5, '1.500 (ssl 3.500)')
    """

    #: Seconds for which a text is reused: a new one makes the host wait for the device.
    SECONDS = 1.0

    def __init__(self, mean: float = 0.0, count: int = 0):
        count = count if math.isfinite(mean) else 0
        self.total: Tensor | float = mean * count if count else 0.0
        self.count: Tensor | float = count
        self.parts: dict[str, Tensor | float] = {}
        self.parts_count: Tensor | float = 0
        self.text, self.made = "", float("-inf")

    def add(self, loss: Tensor, parts: dict[str, Tensor] | None = None) -> None:
        """Adds a loss and its parts to the means."""
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
    """A check whether a loss is finite; the answer is requested before it is needed."""

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
        """Returns whether the loss is finite on this rank, and on all ranks.

        The host waits for the device to compute the loss, but not for what was started after it.
        """
        if self.event is not None:
            self.event.synchronize()
        own, joint = self.flags.tolist()
        return not own, not joint
