"""The parts that published wav2vec 2.0, HuBERT and data2vec share: masks and regularisation.

They train a network of `transformers`, so that its weights have the form of the published models.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from masr_modules.encoders.huggingface import EncoderInput, HuggingFaceEncoder
from masr_modules.encoders.pooling import valid_frames
from masr_modules.objectives.base import SSLObjective
from masr_modules.objectives.masking import FrameMask, overlapping_span_mask


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient * ctx.factor, None


class Tap:
    """A forward hook that keeps a module's output from the last pass within `with tap:`.

    Arguments
    ---------
    module : nn.Module
        A module whose output is a tensor.
    gradient : float
        Factor by which the output's gradient is multiplied, in every pass.

    Example
    -------
    >>> layer = nn.Linear(1, 1)
    >>> tap = Tap(layer)
    >>> with tap:
    ...     _ = layer(torch.ones(2, 1))
    >>> tap.take().shape
    torch.Size([2, 1])
    """

    def __init__(self, module: nn.Module, gradient: float = 1.0):
        self.gradient = gradient
        self.open = False
        self.output: Tensor | None = None
        module.register_forward_hook(self, prepend=True)

    def __call__(self, module: nn.Module, given: tuple, output: Tensor) -> Tensor | None:
        """Scales the gradient, and keeps the output if the tap is open; torch calls this hook."""
        if self.gradient != 1.0:
            output = _ScaledGradient.apply(output, self.gradient)
        if self.open:
            self.output = output
        return output

    def __enter__(self) -> "Tap":
        self.open = True
        return self

    def __exit__(self, *error: object) -> None:
        self.open = False

    def take(self) -> Tensor:
        """Returns the output and forgets it, because a module with a graph cannot be copied."""
        output, self.output = self.output, None
        return output


class LayerDrop:
    """A forward hook that skips a layer in training, with a given probability.

    The layer runs nonetheless, so that each parameter has a gradient at each step, as DDP needs;
    the gradient of a skipped layer is 0.

    Arguments
    ---------
    layer : nn.Module
        A layer that maps frames to frames of the same shape.
    share : float
        Probability that a pass skips the layer.

    Example
    -------
    >>> layer = nn.Linear(1, 1)
    >>> _ = LayerDrop(layer, 1.0)
    >>> layer(torch.tensor([[3.0]])).item()
    3.0
    """

    def __init__(self, layer: nn.Module, share: float):
        self.share = share
        layer.register_forward_hook(self, prepend=True)  # it runs before hooks that keep the output

    def __call__(self, module: nn.Module, given: tuple, output: Tensor) -> Tensor | None:
        """Returns the layer's input in place of its output if it is skipped; torch calls this."""
        if not module.training:
            return None
        kept = torch.rand((), device=output.device) >= self.share
        return torch.where(kept, output, given[0])


@torch.no_grad()
def draw_as_published(model: nn.Module) -> None:
    """Draws the weights of projection and positions as published, unlike transformers.

    In transformers, the draw for a convolution with weight norm has no effect, and HuBERT's
    projection is drawn like the linear maps of the layers.

    Arguments
    ---------
    model : transformers.PreTrainedModel
        A wav2vec 2.0, HuBERT or data2vec without trained weights.
    """
    model.feature_projection.projection.reset_parameters()
    for conv in model.encoder.pos_conv_embed.modules():
        if not isinstance(conv, nn.Conv1d):
            continue
        if not is_parametrized(conv, "weight"):
            conv.reset_parameters()
            continue
        std = 2 / math.sqrt(conv.kernel_size[0] * conv.in_channels)
        conv.weight = std * torch.randn_like(conv.weight)
        conv.bias.zero_()


@dataclass
class PublishedPass:
    """The result of one masked forward pass.

    Arguments
    ---------
    inputs : EncoderInput
        The model's input.
    mask : FrameMask
        The masked frames.
    latents : torch.Tensor
        (B, C, F) output of the convolutions, before its normalisation.
    output : transformers.utils.ModelOutput
        The model's output.
    layers : list[torch.Tensor]
        Tensors (B, F, D), the input of the first layer first.
    """

    inputs: EncoderInput
    mask: FrameMask
    latents: Tensor
    output: object
    layers: list[Tensor]

    @property
    def valid(self) -> Tensor:
        """(B, F) bool, True on valid frames."""
        lens, frames = self.inputs.frame_lens, self.mask.frames
        return valid_frames(lens, frames.shape[1], frames.device)


class PublishedObjective(SSLObjective):
    """A base class of objectives that mask and regularise a network of `transformers` as published.

    Arguments
    ---------
    encoder : HuggingFaceEncoder
        The encoder to train.
    mask_prob : float
        Fraction of frames that spans would cover if none overlapped.
    mask_span : int
        Length of a mask in encoder frames.
    least_spans : int
        Least number of spans per utterance, as far as it has room for them.
    layerdrop : float
        Probability that a layer is skipped in training.
    feature_grad : float
        Factor of the gradient of the convolutions.
    """

    def __init__(
        self,
        encoder: HuggingFaceEncoder,
        mask_prob: float = 0.65,
        mask_span: int = 10,
        least_spans: int = 2,
        layerdrop: float = 0.05,
        feature_grad: float = 0.1,
    ):
        super().__init__()
        self.encoder = encoder
        self.d_model = encoder.d_model
        self.mask_prob, self.mask_span = mask_prob, mask_span
        self.least_spans = least_spans
        if not encoder.starts_trained:
            draw_as_published(encoder.model)
        self.convolutions = Tap(encoder.front[0], feature_grad)
        if layerdrop:
            for layer in encoder.blocks:
                LayerDrop(layer, layerdrop)

    def masked_pass(
        self, wavs: Tensor, wav_lens: Tensor, mask_seeds: list[int] | None
    ) -> PublishedPass:
        """Runs the model on masked frames; for the arguments see SSLObjective.forward."""
        inputs = self.encoder.prepare(wavs, wav_lens)
        mask = overlapping_span_mask(
            inputs.frame_lens,
            inputs.num_frames,
            self.mask_prob,
            self.mask_span,
            self.least_spans,
            mask_seeds,
            wavs.device,
        )
        with self.convolutions:
            output = self.encoder.run(inputs, mask.frames, all_layers=True)
        layers = [*output.hidden_states[:-1], output.last_hidden_state]
        return PublishedPass(inputs, mask, self.convolutions.take(), output, layers)

    @staticmethod
    def feature_penalty(masked: PublishedPass) -> Tensor:
        """Computes the mean square of the convolutions' output over valid frames."""
        square = masked.latents.float().square().mean(dim=1)
        return torch.where(masked.valid, square, 0.0).sum() / masked.valid.sum()
