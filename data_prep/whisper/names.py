"""Translation of CTranslate2's names of a Whisper's arrays to those of transformers."""

import re

import numpy as np
import torch
from torch import Tensor

from data_prep.whisper.model_bin import ModelBin

#: Properties of the network that CTranslate2 writes beside the weights -> transformers' value.
FIXED = {
    "decoder/activation": 3,  # GELU
    "decoder/alibi": 0,
    "decoder/alignment_heads": 1,  # number of attention heads for the alignment
    "decoder/alignment_layer": -1,
    "decoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}
#: The weight of the output projection is that of the embedding, in both.
ALIASES = {"decoder/projection/weight": "decoder/embeddings/weight"}


class _Arrays:
    """Arrays by name, each of which is taken once, with a check of its shape."""

    def __init__(self, arrays: dict[str, np.ndarray], name: str):
        self.arrays, self.name = dict(arrays), name

    def take(self, key: str, *shape: int | None) -> np.ndarray:
        """Takes an array; None in the expected shape stands for any size."""
        if key not in self.arrays:
            raise ValueError(f"{self.name}: has no array {key}; it may not be a Whisper")
        array = self.arrays.pop(key)
        if len(array.shape) != len(shape) or any(
            wanted not in (None, size) for size, wanted in zip(array.shape, shape, strict=True)
        ):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ValueError(f"{self.name}: {key} is of shape {array.shape}, not ({wanted})")
        return array

    def weight(self, key: str, *shape: int | None) -> Tensor:
        array = self.take(key, *shape)
        if array.dtype.kind != "f":
            raise ValueError(
                f"{self.name}: {key} is of {array.dtype}: quantised weights are not read"
            )
        return torch.from_numpy(array.astype(np.float32))

    def number(self, key: str) -> int:
        return int(self.take(key))

    def count_layers(self, side: str) -> int:
        """Counts layers by the largest number; a missing layer raises when it is taken."""
        found = (re.match(rf"{side}/layer_(\d{{1,3}})/", key) for key in self.arrays)
        return max((int(layer[1]) + 1 for layer in found if layer), default=0)


def to_transformers(model: ModelBin, name: str) -> tuple[dict[str, int], dict[str, Tensor]]:
    """Returns the sizes and weights of a Whisper under transformers' names.

    Arguments
    ---------
    model : ModelBin
        Content of the file, from `read_model_bin`, with weights in float16 or float32.
    name : str
        Name of the file, for errors.

    Returns
    -------
    sizes : dict of str to int
        Arguments of `transformers.WhisperConfig`.
    weights : dict of str to torch.Tensor
        State of `transformers.WhisperForConditionalGeneration`, float32.

    Raises
    ------
    ValueError
        If an array is missing, left over or of another shape, or transformers has no such network;
        the message names the file and the array.
    """
    arrays = _Arrays(model.arrays, name)
    for key, wanted in FIXED.items():
        if (value := arrays.number(key)) != wanted:
            raise ValueError(f"{name}: {key} is {value}; transformers' Whisper has {wanted}")
    if model.aliases != ALIASES:
        raise ValueError(f"{name}: has the aliases {model.aliases}, not {ALIASES}")
    embedding = arrays.weight("decoder/embeddings/weight", None, None)
    vocabulary, width = embedding.shape
    sizes = {"vocab_size": vocabulary, "d_model": width}
    weights = {
        "model.decoder.embed_tokens.weight": embedding,
        "proj_out.weight": embedding,
        "model.encoder.conv1.weight": arrays.weight("encoder/conv1/weight", width, None, 3),
        "model.encoder.conv1.bias": arrays.weight("encoder/conv1/bias", width),
        "model.encoder.conv2.weight": arrays.weight("encoder/conv2/weight", width, width, 3),
        "model.encoder.conv2.bias": arrays.weight("encoder/conv2/bias", width),
    }
    sizes["num_mel_bins"] = weights["model.encoder.conv1.weight"].shape[1]
    for side, positions in (("encoder", "source"), ("decoder", "target")):
        encodings = arrays.weight(f"{side}/position_encodings/encodings", None, width)
        weights[f"model.{side}.embed_positions.weight"] = encodings
        weights |= _norm(arrays, f"{side}/layer_norm", f"model.{side}.layer_norm", width)
        layers = arrays.count_layers(side)
        for layer in range(layers):
            weights |= _layer(arrays, side, layer, width)
        sizes[f"max_{positions}_positions"] = len(encodings)
        sizes[f"{side}_layers"] = layers
        sizes[f"{side}_attention_heads"] = _heads(arrays, side, width)
        first = weights.get(f"model.{side}.layers.0.fc1.bias")
        sizes[f"{side}_ffn_dim"] = 0 if first is None else len(first)
    if arrays.arrays:
        raise ValueError(f"{name}: arrays that no Whisper has: {', '.join(sorted(arrays.arrays))}")
    return sizes, weights


def _heads(arrays: _Arrays, side: str, width: int) -> int:
    heads = arrays.number(f"{side}/num_heads")
    if heads < 1 or width % heads:
        raise ValueError(f"{arrays.name}: {side}/num_heads ({heads}) does not divide {width}")
    return heads


def _layer(arrays: _Arrays, side: str, layer: int, width: int) -> dict[str, Tensor]:
    theirs, ours = f"{side}/layer_{layer}", f"model.{side}.layers.{layer}"
    found = _attention(arrays, f"{theirs}/self_attention", f"{ours}.self_attn", ["qkv"], width)
    if side == "decoder":
        found |= _attention(
            arrays, f"{theirs}/attention", f"{ours}.encoder_attn", ["q", "kv"], width
        )
    found |= _norm(arrays, f"{theirs}/ffn/layer_norm", f"{ours}.final_layer_norm", width)
    inner = arrays.weight(f"{theirs}/ffn/linear_0/weight", None, width)
    found[f"{ours}.fc1.weight"] = inner
    found[f"{ours}.fc1.bias"] = arrays.weight(f"{theirs}/ffn/linear_0/bias", len(inner))
    found[f"{ours}.fc2.weight"] = arrays.weight(f"{theirs}/ffn/linear_1/weight", width, len(inner))
    found[f"{ours}.fc2.bias"] = arrays.weight(f"{theirs}/ffn/linear_1/bias", width)
    return found


def _norm(arrays: _Arrays, theirs: str, ours: str, width: int) -> dict[str, Tensor]:
    return {
        f"{ours}.weight": arrays.weight(f"{theirs}/gamma", width),
        f"{ours}.bias": arrays.weight(f"{theirs}/beta", width),
    }


def _attention(
    arrays: _Arrays, theirs: str, ours: str, stacked: list[str], width: int
) -> dict[str, Tensor]:
    """Translates attention: its norm and projections, some of which CTranslate2 stacks."""
    found = _norm(arrays, f"{theirs}/layer_norm", f"{ours}_layer_norm", width)
    for number, names in enumerate([*stacked, "o"]):
        rows = width * len(names)
        weight = arrays.weight(f"{theirs}/linear_{number}/weight", rows, width)
        bias = arrays.weight(f"{theirs}/linear_{number}/bias", rows)
        for name, part, shift in zip(names, weight.split(width), bias.split(width), strict=True):
            projection = f"{ours}.{'out' if name == 'o' else name}_proj"
            found[f"{projection}.weight"] = part
            if name != "k":
                found[f"{projection}.bias"] = shift
            elif shift.any():
                raise ValueError(
                    f"{arrays.name}: {theirs}/linear_{number}/bias is not zero for the keys, which "
                    "have no bias in a Whisper"
                )
    return found
