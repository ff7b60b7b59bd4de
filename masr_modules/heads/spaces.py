"""The embedding spaces in which a head was trained, ready for embedding utterances."""

from collections import defaultdict
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masr_modules.heads.projection import Projection


class Space(nn.Module):
    """A trained Projection with its normalisation folded in: z = W x + b, of pooled frames x.

    Arguments
    ---------
    weight : torch.Tensor
        (D, I).
    bias : torch.Tensor
        (D,).
    layers : torch.Tensor
        (K,) integers: the encoder's layers that it reads; 0 is the front end, -1 the last layer.
    mix : torch.Tensor
        (K,) weights of the layers.

    Raises
    ------
    ValueError
        If the shapes do not fit each other, or a number is not finite.
    """

    weight: Tensor
    bias: Tensor
    layers: Tensor
    mix: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, layers: Tensor, mix: Tensor):
        super().__init__()
        shapes = [weight.ndim, bias.shape, layers.shape, layers.is_floating_point()]
        if shapes != [2, weight.shape[:1], mix.shape, False] or mix.ndim != 1 or not len(mix):
            raise ValueError(
                f"a space of weights {tuple(weight.shape)}, biases {tuple(bias.shape)}, layers "
                f"{tuple(layers.shape)} and their weights {tuple(mix.shape)}: they do not fit"
            )
        if not all(torch.isfinite(values).all() for values in (weight, bias, mix)):
            raise ValueError("a space with numbers that are not finite")
        for name, values in (("weight", weight), ("bias", bias), ("layers", layers), ("mix", mix)):
            self.register_buffer(name, values.detach().clone())

    @classmethod
    def of(cls, projection: Projection) -> "Space":
        """Returns the space of a projection, normalised by the statistics of its training."""
        norm, weight = projection.norm, projection.linear.weight
        assert norm.running_mean is not None and norm.running_var is not None
        scale = torch.rsqrt(norm.running_var + norm.eps)
        layers = torch.tensor(projection.layers, device=weight.device)
        scores = projection.layer_scores
        mix = torch.ones_like(scale[:1]) if scores is None else scores.softmax(dim=0)
        return cls(scale.unsqueeze(1) * weight, -scale * norm.running_mean, layers, mix)

    def forward(self, pooled: Tensor) -> Tensor:
        """Maps (N, layers, I) pooled frames of all layers to (N, D) embeddings."""
        return self.read(pooled[:, self.layers])

    @torch.no_grad()
    def read(self, pooled: Tensor) -> Tensor:
        """Maps (N, K, I) pooled frames of the layers that it reads to (N, D) embeddings."""
        pooled = pooled.to(self.weight.dtype)
        if len(self.layers) > 1:
            pooled = F.layer_norm(pooled, pooled.shape[-1:])
        return F.linear(torch.einsum("k,nki->ni", self.mix, pooled), self.weight, self.bias)


class Spaces(nn.ModuleDict):
    """Label column -> the Space in which a head discriminated it.

    Example
    -------
    >>> from masr_modules.heads import ClassifierHead
    >>> from masr_modules.data.metadata import Metadata
    >>> metadata = Metadata.from_columns({"speaker": ["a", "b"]})
    >>> spaces = Spaces.of(ClassifierHead({"speaker": 1.0}, 8, 4, metadata, layers={}))
    >>> pooled = torch.randn(5, 3, 8)  # utterances, layers, pooled frames
    >>> spaces["speaker"](pooled).shape
    torch.Size([5, 4])
    >>> again = Spaces.from_state(spaces.state_dict())
    >>> torch.equal(again["speaker"](pooled), spaces["speaker"](pooled))
    True
    """

    @classmethod
    def of(cls, head: nn.Module) -> "Spaces":
        """Returns the spaces of a head, one for each of its `projections`, if it has any."""
        projections = getattr(head, "projections", {})
        return cls({name: Space.of(projection) for name, projection in projections.items()})

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], name: str = "spaces") -> "Spaces":
        """Returns the spaces whose `state_dict` was saved; `name` is the file, for errors.

        Raises
        ------
        ValueError
            If the state does not hold spaces; the message names the file.
        """
        parts: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, values in state.items():
            space, _, part = key.rpartition(".")
            parts[space][part] = values
        try:
            return cls({space: Space(**own) for space, own in parts.items()})
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"{name}: holds no spaces of a head: {error}") from None
