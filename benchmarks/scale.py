#!/usr/bin/env python3
"""Measures the cost of rows and ranks: start of a run, planning, step time, and MASR's fraction.

> python benchmarks/scale.py --rows 10000 100000 1000000 --ranks 1 2 4

For rows, a CSV of that many rows on a thousand short files is read until the first batch is
planned. For ranks, the small model of hparams/masr.yaml trains with gloo on this machine's cores,
on batches of noise of the same seconds per rank; MASR's fraction is that of the whole step. A model
on paper extrapolates to GPUs from the constants of its options: the data gathered by each rank grow
with the number of ranks.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch
import torch.distributed as dist

from masr_modules.config.settings import load_settings
from masr_modules.data.audio_check import drop_unreadable
from masr_modules.data.corpus import load_csv
from masr_modules.data.metadata import Metadata, MetadataTable
from masr_modules.distributed import rank, world_size
from masr_modules.metrics.tables import align
from masr_modules.training.train_batches import make_sampler

HPARAMS = Path(__file__).parents[1] / "hparams/masr.yaml"
LANGUAGES = ["cat", "spa", "por", "deu", "nld", "swe", "ces", "slk", "tam", "kan"]
FILES = 1000


def write_corpus(folder: Path, rows: int, speakers: int) -> Path:
    """Writes a CSV of a number of rows, many of which share an audio file."""
    rng = np.random.default_rng(0)
    for number in range(FILES):
        soundfile.write(folder / f"{number}.wav", rng.normal(0, 0.1, 1600), 16000)
    path = folder / "train.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("ID,duration,wav,language,family,region,speaker,gender,emotion,text\n")
        for i in range(rows):
            language = LANGUAGES[i % len(LANGUAGES)]
            cells = (f"u{i}", 2.0, f"$data_root/{i % FILES}.wav", language, f"f{i % 3}")
            rest = (f"r{i % 4}", f"s{i % speakers}", ("male", "female")[i % 2])
            rest = (*rest, ("sad", "happy")[i % 2], f"text {i}")
            file.write(",".join(map(str, (*cells, *rest))) + "\n")
    return path


def start(folder: str) -> dict[str, float]:
    """Measures seconds from the CSV to the first batch, and peak megabytes, of this process."""
    began = time.perf_counter()
    hparams = load_settings(HPARAMS, {"batch_identity": "speaker"})
    marks = {"imports and YAML": time.perf_counter() - began}
    rows = load_csv(Path(folder, "train.csv"), folder)
    rows = drop_unreadable(rows, memory=Path(folder, "train.readable.sha256"))
    marks["CSV and headers"] = time.perf_counter() - began
    table = MetadataTable(rows)
    hparams["head"](metadata=table)
    marks["metadata"] = time.perf_counter() - began
    sampler = make_sampler(hparams, rows, table)
    planned = time.perf_counter()
    next(iter(sampler))
    marks["planning alone"] = time.perf_counter() - planned
    marks["to the first batch"] = time.perf_counter() - began
    marks["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # of KiB
    return marks


def measure_rows(sizes: list[int]) -> str:
    """Measures the table of rows."""
    body, names = [], []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_corpus(Path(folder), size, speakers=max(10, size // 10))
            found = []
            for _ in range(2):  # the second run uses the first one's check of readable files
                done = subprocess.run(
                    [sys.executable, __file__, "--start", folder], capture_output=True, text=True
                )
                if done.returncode:
                    raise RuntimeError(done.stderr[-2000:])
                found.append(json.loads(done.stdout.splitlines()[-1]))
        names = list(found[0])
        for run, marks in zip(("first", "again"), found, strict=True):
            body.append([f"{size:,}", run, *(f"{marks[name]:.1f}" for name in names)])
    heads = [name if name == "MB" else f"{name} (s)" for name in names]
    return align(["rows", "run", *heads], body)


def steps(count: int = 12) -> dict[str, float]:
    """Measures the median milliseconds of a step with MASR, and MASR's fraction, on a rank."""
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    torch.manual_seed(rank())
    hparams = load_settings(HPARAMS, {"max_batch_seconds": 16.0})
    ssl, size = hparams["ssl"], 8
    columns = {
        "language": LANGUAGES,
        "family": [f"f{i % 3}" for i in range(10)],
        "region": [f"r{i % 4}" for i in range(10)],
        "speaker": [f"s{i}" for i in range(10)],
        "gender": ["male", "female"] * 5,
        "emotion": ["sad", "happy"] * 5,
    }
    whole = Metadata.from_columns(columns)
    whole.ids = torch.arange(10)
    head = hparams["head"](metadata=whole)
    model = torch.nn.ModuleDict({"ssl": ssl, "head": head})
    if world_size() > 1:
        model = {
            name: torch.nn.parallel.DistributedDataParallel(part) for name, part in model.items()
        }
    pooling, times, shares = hparams["pooling"], [], []
    for _ in range(count):
        wavs, chosen = torch.randn(size, 32000), torch.randint(10, (size,))
        batch = whole.select(chosen)
        began = time.perf_counter()
        out = model["ssl"](wavs, torch.ones(size))
        forward = time.perf_counter()
        lens, mask = out.frame_lens, out.frame_mask
        pooled = torch.stack([pooling(x, lens, mask) for x in out.layers], dim=1)
        told = model["head"](pooled, batch)
        masr = time.perf_counter() - forward
        (out.joint_loss + told.loss).backward()
        times.append(time.perf_counter() - began)
        shares.append(masr / times[-1])
    return {"ms": 1000 * float(np.median(times[2:])), "share": float(np.median(shares[2:]))}


def measure_ranks(numbers: list[int]) -> tuple[str, dict[int, dict[str, float]]]:
    """Measures the table of ranks."""
    found = {}
    for number in numbers:
        command = [sys.executable, __file__, "--steps"]
        if number > 1:
            launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
            command = [*launcher, f"--nproc-per-node={number}", *command[1:]]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        found[number] = json.loads(lines[-1])
    body = [
        [str(n), f"{marks['ms']:.0f}", f"{100 * marks['share']:.1f}"] for n, marks in found.items()
    ]
    return align(["ranks", "step (ms)", "MASR forward (% of step)"], body), found


def model_gpus(
    batch: int, size: int, labels: int, heads: int, step_ms: float, flops: float, bytes_per_s: float
) -> dict[int, tuple[float, float, float]]:
    """Models GPUs -> (megabytes gathered per step, MASR's GFLOP, its fraction of the step in %).

    Each rank gathers (W B, D) embeddings and codes of every head, normalises them, and compares
    its own B with L prototypes; the backward pass costs twice the forward one and sums the
    gathered gradient.
    """
    found = {}
    for ranks in (8, 64, 512):
        joint = ranks * batch
        gathered = heads * joint * (4 * size + 8 * 6)
        work = 3 * heads * (2 * batch * size * labels + 10 * joint * size)
        seconds = work / flops + 3 * gathered / bytes_per_s
        found[ranks] = gathered / 1e6, work / 1e9, 100 * seconds / (seconds + step_ms / 1000)
    return found


def draw(found: dict[int, tuple[float, float, float]], path: Path) -> None:
    """Draws the model's fraction of a step over the number of GPUs."""
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    axes.plot(list(found), [share for _, _, share in found.values()], marker="o", color="#0072b2")
    axes.set(xscale="log", xlabel="GPUs", ylabel="MASR's fraction of a step (%)", ylim=0)
    axes.set_xticks(list(found), [str(ranks) for ranks in found])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="rows of a CSV"
    )
    parser.add_argument("--ranks", type=int, nargs="*", default=[1, 2, 4], help="numbers of ranks")
    parser.add_argument(
        "--figure",
        type=Path,
        default=Path("results/benchmarks/scale.svg"),
        help="picture of the model on paper to write",
    )
    paper = parser.add_argument_group("model on paper")
    paper.add_argument("--batch", type=int, default=64, help="utterances per GPU")
    paper.add_argument("--labels", type=int, default=7000, help="number of prototypes")
    paper.add_argument(
        "--step_ms", type=float, default=300.0, help="milliseconds of a step of SSL alone"
    )
    paper.add_argument(
        "--tflops", type=float, default=20.0, help="TFLOP/s that small matrix products reach"
    )
    paper.add_argument(
        "--gigabytes", type=float, default=10.0, help="gigabytes per second between GPUs"
    )
    parser.add_argument("--start", help=argparse.SUPPRESS)
    parser.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.start:
        print(json.dumps(start(args.start)))
        return
    if args.steps:
        marks = steps()
        if rank() == 0:
            print(json.dumps(marks))
        return
    print(f"{measure_rows(args.rows)}\n")
    print(f"{measure_ranks(args.ranks)[0]}\n")
    found = model_gpus(
        args.batch, 128, args.labels, 4, args.step_ms, 1e12 * args.tflops, 1e9 * args.gigabytes
    )
    body = [[str(n), *(f"{x:.2f}" for x in row)] for n, row in found.items()]
    print(align(["GPUs", "gathered (MB)", "MASR (GFLOP)", "fraction of a step (%)"], body))
    draw(found, args.figure)
    print(f"\n{args.figure}")


if __name__ == "__main__":
    main()
