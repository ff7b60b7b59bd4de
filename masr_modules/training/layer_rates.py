"""Learning rates by depth: layers near the waveform change less than those above them."""

from torch import nn


def depth_groups(encoder: nn.Module, lr: float, decay: float) -> list[dict]:
    """Parameter groups of an encoder, for an optimiser: each layer a rate of its own.

    The top layer learns with `lr`, each layer below with `decay` times the rate of the one above,
    and what is before the layers is one further below. What follows them, such as a last norm,
    learns with `lr`.

    Arguments
    ---------
    encoder : nn.Module
        With `front`, a list of the modules before the layers, and `blocks`, the layers, bottom
        first.
    lr : float
        The highest rate.
    decay : float
        In (0, 1]; 1 gives one group.

    Returns
    -------
    list of dict
        `params` and `lr` of each group: all parameters that have a gradient, each once.

    Raises
    ------
    ValueError
        If decay is out of its range.

    Example
    -------
    >>> from masr_modules.encoders import ConvFrontEnd, LogMel, SpeechEncoder
    >>> encoder = SpeechEncoder(LogMel(), ConvFrontEnd(80, 8, [7], [4]), 2, 8, 8, 2)
    >>> [group["lr"] for group in depth_groups(encoder, 0.4, 0.5)]
    [0.1, 0.2, 0.4]
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layer_lr_decay is {decay}: choose a number above 0, and at most 1")
    rate_of = {
        parameter: lr * decay**depth
        for depth, module in enumerate([*reversed(encoder.blocks), nn.ModuleList(encoder.front)])
        for parameter in module.parameters()
    }
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            groups.setdefault(rate_of.get(parameter, lr), []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]
