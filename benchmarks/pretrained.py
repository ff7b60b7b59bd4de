#!/usr/bin/env python3
"""Computes the cost of continuing published encoders: parameters, GPU memory and GPU hours.

> python -m benchmarks.pretrained                           # the tables; 5 minutes on one core
> python -m benchmarks.pretrained --readme docs/pretrained.md

Encoders have the published sizes and no weights. For figures that are "computed", a training step
runs on tensors without memory, in bfloat16 autocast with float32 weights and AdamW, like the
Trainer's, and the bytes that would be allocated at once are counted. For figures that are
"measured", the same step runs on the CPU in a process of its own, whose memory is read.
"""

import argparse
import os
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from masr_modules.config.extras import extra
from masr_modules.metrics.tables import align, replace_block

with extra("hub"):
    from transformers import (
        PreTrainedModel,
        Wav2Vec2BertConfig,
        Wav2Vec2BertModel,
        Wav2Vec2Config,
        Wav2Vec2Model,
        WavLMConfig,
        WavLMModel,
        WhisperConfig,
    )
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

SECONDS = 10  # duration of an utterance
BATCHES = (50, 100, 200, 400)  # seconds of audio in a batch
#: Hours of training audio: FLEURS's card gives 10 for each of 102 languages, and the paper of
#: VoxLingua107 gives 6 628.
HOURS = {"FLEURS": 1020, "VoxLingua107": 6628}
#: Dense bfloat16 operations per second, from the data sheets.
PEAKS = {"A100": 312e12, "H100": 989e12}
#: Assumed fraction of the peak that training reaches.
UTILISATION = 0.4
#: Cost of a step in forward passes: the forward, the backward (two), the frozen copy's forward.
PASSES = 4


@dataclass(frozen=True)
class Start:
    """A published encoder: its class, its configuration, and the shape of an utterance's input."""

    model: Callable[[Any], PreTrainedModel]
    config: type
    sizes: dict[str, Any]
    shape: tuple[int, ...]

    def build(self) -> PreTrainedModel:
        """Builds the encoder in its published size, on the device of the context."""
        return self.model(self.config(**self.sizes))

    def hearing(self) -> PreTrainedModel:
        """Builds it in training mode, with as many positions as an utterance has frames.

        Dropout of the attention is off, because CPU kernels keep its mask, and the flash kernels
        of GPUs do not. No layer is dropped, and no frame is masked.
        """
        sizes = {**self.sizes, "attention_dropout": 0.0}
        if self.config is WhisperConfig:
            sizes["max_source_positions"] = 50 * SECONDS
        else:
            sizes |= {"layerdrop": 0.0, "apply_spec_augment": False}
        return self.model(self.config(**sizes)).train()


def of_waveforms(width: int, layers: int, **others: Any) -> dict[str, Any]:
    """Returns sizes of "large" or larger wav2vec 2.0 and its successors, with pre-normalisation."""
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "intermediate_size": 4 * width,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        **others,
    }


def whisper(width: int, layers: int, mels: int = 80) -> Start:
    """Describes an encoder of Whisper, whose heads have 64 dimensions."""
    sizes = {
        "d_model": width,
        "encoder_layers": layers,
        "encoder_attention_heads": width // 64,
        "encoder_ffn_dim": 4 * width,
        "num_mel_bins": mels,
    }
    return Start(WhisperEncoder, WhisperConfig, sizes, (mels, 100 * SECONDS))


WAVEFORM = (16000 * SECONDS,)
STARTS = {
    "XLS-R 300M, MMS-300M": Start(
        Wav2Vec2Model, Wav2Vec2Config, of_waveforms(1024, 24, conv_bias=True), WAVEFORM
    ),
    "MMS-1B": Start(
        Wav2Vec2Model, Wav2Vec2Config, of_waveforms(1280, 48, conv_bias=True), WAVEFORM
    ),
    "w2v-BERT 2.0": Start(Wav2Vec2BertModel, Wav2Vec2BertConfig, {}, (50 * SECONDS, 160)),
    "WavLM base+": Start(WavLMModel, WavLMConfig, {}, WAVEFORM),
    "WavLM large": Start(WavLMModel, WavLMConfig, of_waveforms(1024, 24), WAVEFORM),
    "Whisper tiny": whisper(384, 4),
    "Whisper small": whisper(768, 12),
    "Whisper medium": whisper(1024, 24),
    "Whisper large-v3": whisper(1280, 32, mels=128),
}
#: Encoders that fit a CPU -> the encoder, and the number of utterances of a batch.
SMALL = {
    "Whisper tiny": (STARTS["Whisper tiny"], 20),
    "wav2vec 2.0 base": (Start(Wav2Vec2Model, Wav2Vec2Config, {}, WAVEFORM), 5),
}


def parameters(start: Start) -> int:
    """Counts the parameters, without memory for them."""
    with torch.device("meta"):
        return sum(weights.numel() for weights in start.build().parameters())


def forward_flops(start: Start) -> float:
    """Counts forward operations per second of audio; a product and its addition are two."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        start.hearing()(torch.empty(1, *start.shape))
    return counter.get_total_flops() / SECONDS


class LiveBytes(TorchDispatchMode):
    """A mode that counts the bytes of tensors that are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: weakref.WeakSet = weakref.WeakSet()

    def _free(self, size: int) -> None:
        self.live -= size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Runs an operation and counts what it allocates."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage not in self.known:
                self.known.add(storage)
                weakref.finalize(storage, self._free, storage.nbytes())
                self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        return out


class AsOnGPU(TorchFunctionMode):
    """A mode that imitates GPUs' autocast: float32 norms and softmax, bytes as dropout masks."""

    FLOAT32 = (F.layer_norm, F.group_norm, F.softmax, torch.softmax)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Runs a function in the precision, or with the kernel, that a GPU would use."""
        kwargs = kwargs or {}
        if func in self.FLOAT32:
            args = [x.float() if isinstance(x, Tensor) else x for x in args]
        if func is F.dropout and kwargs["p"] > 0:
            return torch.native_dropout(args[0], kwargs["p"], kwargs["training"])[0]
        return func(*args, **kwargs)


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor) -> None:
    """Does one update, like the Trainer's with `precision: bf16`."""
    with AsOnGPU(), torch.autocast("cpu", torch.bfloat16):
        frames = model(inputs).last_hidden_state
    frames.float().square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def prepare(
    start: Start, utterances: int, checkpointing: bool
) -> tuple[nn.Module, torch.optim.Optimizer, Tensor]:
    """Makes model, optimiser and inputs; AdamW has its moments, as after the first update."""
    model = start.hearing()
    if checkpointing:
        again = {"use_reentrant": False, "context_fn": lambda: (nullcontext(), AsOnGPU())}
        model.gradient_checkpointing_enable(again)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)  # as on a GPU
    for weights in model.parameters():
        weights.grad = torch.zeros_like(weights) if weights.requires_grad else None
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer, torch.randn(utterances, *start.shape)


def computed_bytes(start: Start, utterances: int, checkpointing: bool) -> int:
    """Computes the most bytes that a step would have allocated at once."""
    with FakeTensorMode(), LiveBytes() as count:
        step = prepare(start, utterances, checkpointing)
        count.peak = count.live
        train_step(*step)
    return count.peak


def _status(key: str) -> int:
    """Returns a number of bytes that Linux reports for this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def _grown(name: str, checkpointing: bool) -> int:
    torch.set_num_threads(1)
    before = _status("VmRSS")
    train_step(*prepare(*SMALL[name], checkpointing))
    return _status("VmHWM") - before


def measured_bytes(name: str, checkpointing: bool) -> int:
    """Measures the peak memory of a step on the CPU, beyond that before, in its own process."""
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # freed memory is returned at once
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_grown, name, checkpointing).result()


def encoder_table() -> str:
    """Makes the table of sizes and operations."""
    body = [
        [name, f"{parameters(start) / 1e6:.1f}", f"{forward_flops(start) / 1e9:.1f}", "computed"]
        for name, start in STARTS.items()
    ]
    return align(["encoder", "parameters (M)", "forward (GFLOP per second of audio)", "how"], body)


def epoch_table() -> str:
    """Makes the table of GPU hours of an epoch."""
    body = []
    for name, start in STARTS.items():
        flops = PASSES * forward_flops(start)
        hours = [
            f"{flops * audio / (UTILISATION * peak):.2f}"
            for audio in HOURS.values()
            for peak in PEAKS.values()
        ]
        body.append([name, *hours, "computed"])
    heads = [f"{corpus}, {gpu} (h)" for corpus in HOURS for gpu in PEAKS]
    return align(["encoder", *heads, "how"], body)


def memory_table() -> str:
    """Makes the table of GPU memory (GB) by batch size, with a frozen copy in float32."""
    body = []
    for name, start in tqdm(STARTS.items()):
        frozen = 4 * parameters(start)
        for checkpointing in (False, True):
            found = [
                f"{(frozen + computed_bytes(start, seconds // SECONDS, checkpointing)) / 1e9:.1f}"
                for seconds in BATCHES
            ]
            body.append([name, "yes" if checkpointing else "no", *found, "computed"])
    heads = [f"{seconds} s (GB)" for seconds in BATCHES]
    return align(["encoder", "gradient checkpointing", *heads, "how"], body)


def check_table() -> str:
    """Makes the table of computed and measured memory, for encoders that fit a CPU."""
    body = []
    for name, (start, utterances) in SMALL.items():
        for checkpointing in (False, True):
            ours = computed_bytes(start, utterances, checkpointing)
            truth = measured_bytes(name, checkpointing)
            cells = f"{ours / 1e9:.2f}", f"{truth / 1e9:.2f}", f"{truth / ours:.2f}"
            batch = str(utterances * SECONDS)
            body.append([name, "yes" if checkpointing else "no", batch, *cells, "both"])
    heads = ["batch (s)", "computed (GB)", "measured (GB)", "measured / computed", "how"]
    return align(["encoder", "gradient checkpointing", *heads], body)


#: Block of the document -> function that makes its table; the first two take seconds.
TABLES = {
    "encoders": encoder_table,
    "epochs": epoch_table,
    "memory": memory_table,
    "memory-check": check_table,
}


def main() -> None:
    """Prints the tables, and with `--readme` writes them into a Markdown file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tables", nargs="*", choices=TABLES, default=list(TABLES))
    parser.add_argument(
        "--readme", type=Path, help="Markdown file with blocks such as <!-- memory --> to fill"
    )
    args = parser.parse_args()
    for name in args.tables:
        text = TABLES[name]()
        print(f"{text}\n")
        if args.readme:
            replace_block(args.readme, name, text)


if __name__ == "__main__":
    main()
