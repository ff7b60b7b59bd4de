"""The state that a forward pass changes in modules, to be restored if the update is skipped."""

import torch
from torch import Tensor, nn


class ForwardState:
    """The buffers of modules, and the tensors and numbers that they hold as plain attributes.

    Examples are the statistics of BatchNorm, the entries of a memory and the running mean of
    SpeechBrain's InputNormalization. `keep` copies them on their device: that costs the host a loop
    over their names, and the device a copy that is small beside the parameters. (The tensors'
    version counters would not tell which of them changed, because batch normalisation does not
    raise them.)

    Arguments
    ---------
    modules : nn.Module
        The modules, on the device where they will stay.

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
        """Copies the present state."""
        self.values = [holder[name] for holder, name in self.places]
        tensors = [value for value in self.values if isinstance(value, Tensor)]
        self.tensors = [(value, value.detach().clone()) for value in tensors]

    @torch.no_grad()
    def restore(self) -> None:
        """Writes what `keep` copied back to the same tensors, to which others may refer."""
        for (holder, name), value in zip(self.places, self.values, strict=True):
            holder[name] = value
        for value, copy in self.tensors:
            if 0 not in value.stride():  # an expanded tensor cannot be written to
                value.copy_(copy)
