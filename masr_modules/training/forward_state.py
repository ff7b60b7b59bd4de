"""What a forward pass changes in modules beside gradients, to be put back on a skip."""

import torch
from torch import Tensor, nn


class ForwardState:
    """Buffers of modules, and the tensors and numbers that they hold as plain attributes.

    BatchNorm's statistics, a memory's entries, the running mean of SpeechBrain's
    InputNormalization. `keep` copies them on their device: that costs the host a loop over their
    names and the device a copy of what is small beside the parameters. (Their version counters
    would not tell which of them change: batch normalisation does not count.)

    Arguments
    ---------
    modules : nn.Module
        On the device where they stay.

    Example
    -------
    >>> norm = nn.BatchNorm1d(1)
    >>> state = ForwardState(norm)
    >>> state.keep()
    >>> _ = norm(torch.full((2, 1), float("nan")))
    >>> state.restore()
    >>> norm.running_mean, norm.num_batches_tracked
    (tensor([0.]), tensor(0))
    """

    def __init__(self, modules: nn.Module):
        self.places = [
            (holder, name)
            for module in modules.modules()
            for holder in (module._buffers, vars(module))
            for name, value in holder.items()
            if isinstance(value, Tensor | int | float) and not isinstance(value, bool)
        ]

    @torch.no_grad()
    def keep(self) -> None:
        """Copies what there is now."""
        self.values = [holder[name] for holder, name in self.places]
        tensors = [value for value in self.values if isinstance(value, Tensor)]
        self.tensors = [(value, value.detach().clone()) for value in tensors]

    @torch.no_grad()
    def restore(self) -> None:
        """Puts back what `keep` copied: into the same tensors, which others may refer to."""
        for (holder, name), value in zip(self.places, self.values, strict=True):
            holder[name] = value
        for value, copy in self.tensors:
            if 0 not in value.stride():  # what is expanded cannot be written to
                value.copy_(copy)
