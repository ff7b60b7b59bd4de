"""Learning rates by depth: layers near the waveform change less than those above them."""

from torch import nn


def depth_groups(encoder: nn.Module, lr: float, decay: float) -> list[dict]:
    """Splits an encoder's parameters into groups for an optimiser, one learning rate per layer.

    The top layer learns with `lr` and each layer below with `decay` times the rate of the layer
    above it. The modules before the layers count as one further layer below. Modules after the
    layers, such as a last norm, learn with `lr`.

    Arguments
    ---------
    encoder : nn.Module
        An encoder with `front`, a list of the modules before the layers, and `blocks`, the layers,
        bottom first.
    lr : float
        The highest rate.
    decay : float
        The factor from a layer to the one below, in (0, 1]; 1 gives one group.

    Returns
    -------
    list of dict
        `params` and `lr` of each group: every parameter that requires a gradient is in one group.

    Raises
    ------
    ValueError
        If `decay` is not in (0, 1].

    Example
    -------
    >>> from masr_modules.encoders import ConvFrontEnd, LogMel, SpeechEncoder
    >>> encoder = SpeechEncoder(LogMel(), ConvFrontEnd(80, 8, [7], [4]), 2, 8, 8, 2)
    >>> [group["lr"] for group in depth_groups(encoder, 0.4, 0.5)]
    [0.1, 0.2, 0.4]
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layer_lr_decay is {decay}: choose a number above 0 and at most 1")
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
