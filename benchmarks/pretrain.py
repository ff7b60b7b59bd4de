#!/usr/bin/env python3
"""Measures speed and memory of a training step, and compares BEST-RQ with SpeechBrain's recipe.

> python benchmarks/pretrain.py objectives              # each SSL method
> python benchmarks/pretrain.py stock                   # BEST-RQ and SpeechBrain's pipeline
> python benchmarks/pretrain.py stock --device cuda --size 600m --bf16 --compile
> python benchmarks/pretrain.py quality --data_folder data/mini

A step collates, runs forward and backward, clips the gradient and updates by AdamW, on the same
batch of utterances of different lengths. Rounds of all pipelines are interleaved in one process,
and times are medians. Memory is the peak of a child process less its memory before the first step
(on a GPU, the allocator's peak). `quality` trains both for the same steps on the same batches and
scores them on one held-out batch, with the same masks, codebook and features, and so the same
targets.
"""

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from unittest import mock

import torch
from pretrain_models import OBJECTIVES, SIZES, STOCK
from speechbrain.dataio.batch import PaddedBatch
from stock_best_rq import StockBestRQ, collate
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from masr_modules.data.corpus import load_csv
from masr_modules.data.dataio import make_dataset
from masr_modules.encoders.huggingface import HuggingFaceEncoder
from masr_modules.objectives.huggingface import HuggingFaceSSL
from masr_modules.objectives.masking import FrameMask

#: Device -> dense bf16 peak (FLOP/s), from its data sheet.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12}
STAGES = ("data", "forward", "backward", "optimiser")


def make_samples(seconds: float) -> list[dict]:
    """Makes utterances of noise of 2 to 8 seconds, with at most `seconds` in all when padded."""
    generator = torch.Generator().manual_seed(0)
    samples, longest = [], 0.0
    while True:
        length = 2.0 + 6.0 * torch.rand(1, generator=generator).item()
        longest = max(longest, length)
        if samples and longest * (len(samples) + 1) > seconds:
            return samples
        sig = torch.randn(int(16000 * length), generator=generator)
        samples.append({"id": str(len(samples)), "sig": sig})


class Pipeline:
    """A way to train, from samples to an update of the optimiser, timed by stage."""

    def __init__(self, model: nn.Module, args: argparse.Namespace, compiled: bool = False):
        self.model = model.to(args.device).train()
        self.call = torch.compile(self.model) if compiled else self.model
        self.stock = isinstance(model, StockBestRQ)
        self.device = args.device
        self.bf16 = args.bf16
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.98))
        self.steps = 0

    def collate(self, samples: list[dict]) -> tuple:
        """Makes the pipeline's own batch, on the device."""
        if self.stock:
            batch = collate(samples)
        else:
            batch = (*PaddedBatch(samples).sig, range(self.steps, self.steps + len(samples)))
        return tuple(x.to(self.device) if isinstance(x, Tensor) else x for x in batch)

    def loss(self, batch: tuple) -> Tensor:
        """Runs the forward pass, and returns the loss."""
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16):
            output = self.call(*batch)
        return output if self.stock else output.loss

    def update(self) -> None:
        """Clips the gradient, updates, and runs the objective's own update after a step."""
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        if not self.stock:
            self.model.after_step(self.steps)

    def step(self, samples: list[dict]) -> dict[str, float]:
        """Trains one step, and returns the seconds of each stage."""
        times = [self._now()]
        batch = self.collate(samples)
        times.append(self._now())
        loss = self.loss(batch)
        times.append(self._now())
        loss.backward()
        times.append(self._now())
        self.update()
        times.append(self._now())
        return {stage: times[i + 1] - times[i] for i, stage in enumerate(STAGES)}

    def _now(self) -> float:
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def flops(self, samples: list[dict]) -> int:
        """Counts operations of forward and backward: matrix products, convolutions, attention."""
        with FlopCounterMode(display=False) as counter:
            self.loss(self.collate(samples)).backward()
        self.optimizer.zero_grad()
        return counter.get_total_flops()


@dataclass
class Row:
    """One pipeline's metrics."""

    name: str
    times: dict[str, float]
    memory: float
    flops: int

    @property
    def total(self) -> float:
        """Seconds per step."""
        return sum(self.times.values())


def build(name: str, args: argparse.Namespace) -> Pipeline:
    """Builds the pipeline that a row of the table names, with the same seed for all."""
    torch.manual_seed(0)
    makers = OBJECTIVES | STOCK
    plain = name.removesuffix(", compiled")
    if plain == "huggingface":
        model = HuggingFaceSSL(HuggingFaceEncoder(args.source, gradient_checkpointing=False))
    else:
        model = makers[plain](args.size)
    return Pipeline(model, args, compiled=plain != name)


def memory_in_use(field: str) -> int:
    """Returns bytes in use now (VmRSS), or the peak since the last reset (VmHWM).

    The maximum of getrusage would still include the parent's memory after exec.
    """
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024


def peak_memory(name: str, args: argparse.Namespace) -> float:
    """Measures the peak bytes of two steps beyond the model, in this process."""
    pipeline, samples = build(name, args), make_samples(args.seconds)
    before = memory_in_use("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # resets VmHWM
    for _ in range(2):
        pipeline.step(samples)
    if args.device != "cpu":
        return torch.cuda.max_memory_allocated()
    return memory_in_use("VmHWM") - before


def memory_of_child(name: str) -> float:
    """Runs `peak_memory` in a fresh process with the same arguments."""
    command = [sys.executable, *sys.argv, "--memory_of", name]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def measure(names: list[str], args: argparse.Namespace) -> list[Row]:
    """Measures all pipelines in interleaved rounds, by medians."""
    samples = make_samples(args.seconds)
    pipelines = {name: build(name, args) for name in names}
    rounds: dict[str, list[dict]] = {name: [] for name in names}
    for number in tqdm(range(args.warmup + args.rounds), "rounds"):
        for name, pipeline in pipelines.items():
            times = pipeline.step(samples)
            if number >= args.warmup:
                rounds[name].append(times)
    rows = []
    for name, pipeline in pipelines.items():
        times = {s: statistics.median(t[s] for t in rounds[name]) for s in STAGES}
        # A compiled graph hides its operations from the counter; the eager one has the same.
        flops = 0 if name.endswith(", compiled") else pipeline.flops(samples)
        rows.append(Row(name, times, memory_of_child(name), flops))
    for row in rows:
        row.flops = row.flops or next(r.flops for r in rows if row.name.startswith(r.name))
    return rows


def report(rows: list[Row], args: argparse.Namespace) -> None:
    """Prints the table, and ratios to the first row."""
    samples = make_samples(args.seconds)
    audio = sum(len(sample["sig"]) for sample in samples) / 16000
    device = "CPU" if args.device == "cpu" else torch.cuda.get_device_name()
    peak = args.peak_tflops * 1e12 or next((v for k, v in PEAKS.items() if k in device), 0)
    head = ["pipeline", "audio s / s", *(f"{s} (ms)" for s in STAGES), "step (ms)", "memory (MiB)"]
    print(f"\n{device}, {torch.get_num_threads()} threads, {args.size}, ", end="")
    print(f"{'bf16' if args.bf16 else 'fp32'}, {len(samples)} utterances, {audio:.1f} s:\n")
    head += ["times the first's", "memory / the first's"] + ["MFU (%)"] * bool(peak)
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        cells = [row.name, f"{audio / row.total:.1f}"]
        cells += [f"{1000 * row.times[s]:.1f}" for s in STAGES]
        cells += [f"{1000 * row.total:.1f}", f"{row.memory / 2**20:.0f}"]
        cells += [f"{row.total / rows[0].total:.2f}", f"{row.memory / rows[0].memory:.2f}"]
        if peak:
            cells.append(f"{100 * row.flops / row.total / peak:.1f}")
        print(f"| {' | '.join(cells)} |")


def batches_of(csv: str, args: argparse.Namespace, count: int, seed: int) -> list[list[dict]]:
    """Makes batches of eight utterances of up to four seconds, the same for all pipelines."""
    rows = {u: r for u, r in load_csv(csv, args.data_folder).items() if r["duration"] >= 1.0}
    dataset = make_dataset(rows, 16000, max_crop_seconds=4.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.cat([torch.randperm(len(rows), generator=generator) for _ in range(count)])
    return [[dataset[int(i)] for i in order[8 * n : 8 * n + 8]] for n in range(count)]


@torch.no_grad()
def score(pipeline: Pipeline, batch: tuple, seed: int = 0) -> float:
    """Computes the held-out loss with the batch's mask of feature frames for all utterances."""
    wavs, lens, mask = batch
    pipeline.model.eval()
    torch.manual_seed(seed)  # for the noise that replaces masked frames
    if pipeline.stock:
        loss = pipeline.model(wavs, lens, mask)
    else:
        frames = torch.zeros(len(wavs), (wavs.shape[1] // 160 + 4) // 4, dtype=torch.bool)
        frames[:, mask[::4] // 4] = True
        target = "masr_modules.objectives.best_rq.span_mask"
        with mock.patch(target, return_value=FrameMask.of(frames, wavs.device)):
            loss = pipeline.model(wavs, lens).loss
    pipeline.model.train()
    return loss.item()


def quality(args: argparse.Namespace) -> None:
    """Trains all pipelines for the same steps, and prints their held-out losses."""
    names = ["best_rq", *STOCK]
    pipelines = {name: build(name, args) for name in names}
    ours = pipelines["best_rq"].model
    codebook = ours.prediction.quantizers[0].state_dict()
    for pipeline in list(pipelines.values())[1:]:
        # All pipelines have the same targets, from the same codebook and features.
        pipeline.model.quantizer.load_state_dict(codebook)
        pipeline.model.features = lambda wavs, lens: ours._pad_to_frames(
            ours.encoder.features(wavs, lens)[0]
        )
    torch.manual_seed(1)
    held_out = batches_of(f"{args.data_folder}/csv/valid.csv", args, 1, seed=1)[0]
    held_out = tuple(x.to(args.device) for x in collate(held_out))
    batches = batches_of(f"{args.data_folder}/csv/train.csv", args, args.steps, seed=2)
    print(f"| step | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}")
    for number in tqdm(range(args.steps + 1), "steps", leave=False):
        if number % 50 == 0:
            scores = [f"{score(p, held_out):.3f}" for p in pipelines.values()]
            tqdm.write(f"| {number} | {' | '.join(scores)} |")
        for pipeline in pipelines.values() if number < args.steps else ():
            rate = 1e-3 * min(1.0, (number + 1) / 50)
            pipeline.optimizer.param_groups[0]["lr"] = rate
            torch.manual_seed(1000 + number)
            pipeline.step(batches[number])


def main() -> None:
    """Runs the measurement that is asked for, and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=("objectives", "stock", "quality"))
    parser.add_argument("--size", choices=list(SIZES), default="small", help="size of the models")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="seconds of a batch, padding included"
    )
    parser.add_argument("--rounds", type=int, default=11, help="number of rounds that count")
    parser.add_argument(
        "--warmup", type=int, default=2, help="number of earlier rounds that do not count"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="run forward passes in bf16 autocast")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    parser.add_argument(
        "--peak_tflops", type=float, default=0.0, help="bf16 peak of a device that is not listed"
    )
    parser.add_argument("--source", help="transformers model that gets a row of `objectives`")
    parser.add_argument("--data_folder", default="data/mini", help="folder of `quality`'s corpus")
    parser.add_argument("--steps", type=int, default=500, help="number of steps of `quality`")
    parser.add_argument("--memory_of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print(peak_memory(args.memory_of, args))
        return
    if args.what == "quality":
        quality(args)
        return
    names = list(OBJECTIVES) if args.what == "objectives" else ["best_rq", *STOCK]
    names += ["huggingface"] * bool(args.source and args.what == "objectives")
    if args.compile:
        names = [variant for name in names for variant in (name, f"{name}, compiled")]
    report(measure(names, args), args)


if __name__ == "__main__":
    main()
