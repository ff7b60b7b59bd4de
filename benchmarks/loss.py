#!/usr/bin/env python3
"""Compares time and memory of MASRLoss, pytorch-metric-learning and a plain matrix product.

> pip install -r benchmarks/requirements.txt
> python benchmarks/loss.py [--device cuda] [--sizes 64 256 1024 4096 8192]

`ours` and `peer` do the same work: from embeddings (B, 256) and their labels to the
gradient, with the hardest positive and negative of each anchor and the mean of
relu(d_ap - d_an + margin) over all anchors. `prototypes and pairs` is the loss of one space of
hparams/people.yaml: soft mining over prototypes of 24 labels and over all pairs of the batch, with
S of three sources; its peer is NormalizedSoftmaxLoss and CircleLoss, which use no S. The matrix
product is `z @ z.T` alone, without gradient. Rounds are interleaved, and times are medians. Extra
memory is the peak of a child process less its memory before the step.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from masr_modules.config.settings import load_settings
from masr_modules.data.metadata import Metadata
from masr_modules.heads import MASRHead
from masr_modules.knowledge import Categorical, Geographic, LanguageDistance, Numeric, SetOverlap
from masr_modules.pairwise.losses import MASRLoss
from masr_modules.pairwise.prototypes import Prototypes
from masr_modules.pairwise.similarity import combine

ROOT = Path(__file__).parents[1]
D = 256
LANGUAGES = ["spa", "cat", "por", "ita", "ron", "fra", "nld", "deu", "afr", "dan", "swe", "nob"]
LANGUAGES += ["rus", "ukr", "bul", "pol", "ces", "hin", "urd", "tam"]
MARGIN = 0.5


def labels_of(size: int, device: str) -> torch.Tensor:
    """Draws (B,) labels of 24 identities."""
    generator = torch.Generator().manual_seed(size)
    return torch.randint(0, 24, (size,), generator=generator).to(device)


def embeddings_of(size: int, device: str) -> torch.Tensor:
    """Draws (B, 256) normal embeddings."""
    return torch.randn(size, D, generator=torch.Generator().manual_seed(size)).to(device)


def ours(size: int, device: str) -> Callable[[], torch.Tensor]:
    """Returns a function that computes the gradient of MASRLoss."""
    z, loss = embeddings_of(size, device), MASRLoss("hardest", margin=MARGIN)
    metadata = Metadata({"language": labels_of(size, device)}, {})

    def step() -> torch.Tensor:
        x = z.clone().requires_grad_()
        loss(x, combine([], metadata)).loss.backward()
        return x.grad

    return step


def peer(size: int, device: str) -> Callable[[], torch.Tensor]:
    """Returns a function that computes the same gradient with pytorch-metric-learning."""
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    z, labels = embeddings_of(size, device), labels_of(size, device)
    miner = BatchHardMiner(distance=CosineSimilarity())
    # Its default reducer averages over terms that are not zero, MASRLoss over all anchors.
    loss = TripletMarginLoss(MARGIN, distance=CosineSimilarity(), reducer=MeanReducer())

    def step() -> torch.Tensor:
        x = z.clone().requires_grad_()
        loss(x, labels, miner(x, labels)).backward()
        return x.grad

    return step


class _Given(torch.nn.Module):
    """A projection that returns its input, which are the embeddings."""

    size = D

    def forward(self, embeddings: torch.Tensor, _: object) -> torch.Tensor:
        return embeddings


def ours_with_prototypes(size: int, device: str) -> Callable[[], torch.Tensor]:
    """Returns the gradient's function for prototypes and pairs in one space, with three sources."""
    labels = labels_of(size, "cpu")
    columns = {
        "language": [LANGUAGES[label % len(LANGUAGES)] for label in labels],
        "speaker": [f"s{n % (size // 2)}" for n in range(size)],
        "gender": [("female", "male")[n % 2] for n in range(size)],
    }
    columns["place"] = [str(label) for label in labels.tolist()]
    metadata = Metadata.from_columns(columns)
    metadata.ids = torch.arange(size)
    head = MASRHead(
        [
            LanguageDistance("language", metadata=metadata),
            Categorical("speaker"),
            Categorical("gender", weight=0.5),
        ],
        MASRLoss("soft", knowledge_weight=0.5, margin=0.2, scale=20.0),
        _Given(),
        metadata,
        identity="place",
        prototypes=partial(Prototypes, candidates_by=["gender"]),
        pair_weight=0.1,
    ).to(device)
    z, metadata = embeddings_of(size, device), metadata.to(device)

    def step() -> torch.Tensor:
        x = z.clone().requires_grad_()
        head(x, metadata).loss.backward()
        return x.grad

    return step


def peer_with_prototypes(size: int, device: str) -> Callable[[], torch.Tensor]:
    """Returns a function for the same two terms with pytorch-metric-learning, without S."""
    from pytorch_metric_learning.losses import CircleLoss, NormalizedSoftmaxLoss

    z, labels = embeddings_of(size, device), labels_of(size, device)
    prototypes, pairs = NormalizedSoftmaxLoss(24, D).to(device), CircleLoss(m=0.2, gamma=20)

    def step() -> torch.Tensor:
        x = z.clone().requires_grad_()
        (prototypes(x, labels) + 0.1 * pairs(x, labels)).backward()
        return x.grad

    return step


def product(size: int, device: str) -> Callable[[], torch.Tensor]:
    """Returns a function that computes one plain B x B matrix product."""
    z = embeddings_of(size, device)
    return lambda: z @ z.T


SYSTEMS = {"ours": ours, "pytorch-metric-learning": peer, "matrix product": product}
WITH_PROTOTYPES = {"ours": ours_with_prototypes, "pytorch-metric-learning": peer_with_prototypes}
WORK = {"pairs": SYSTEMS, "prototypes and pairs": WITH_PROTOTYPES}


def knowledge_of(size: int) -> tuple[list, Metadata]:
    """Makes six sources, and metadata whose rows nearly all differ, with 20 % of cells missing."""
    generator = torch.Generator().manual_seed(0)

    def column(make: Callable[[int], str]) -> list[str]:
        draws = torch.randint(0, 10**6, (size,), generator=generator).tolist()
        missing = (torch.rand(size, generator=generator) < 0.2).tolist()
        return ["" if gone else make(draw) for draw, gone in zip(draws, missing, strict=True)]

    columns = {
        "language": column(lambda n: LANGUAGES[n % len(LANGUAGES)]),
        "speaker": column(lambda n: f"s{n % (size // 2)}"),
        "age": column(lambda n: str(18 + n % 700 / 10)),
        "region": column(lambda n: ("ES", "FR", "DE", "IN", "BR", "PL")[n % 6]),
        "accent": column(lambda n: "|".join("abcdefgh"[i] for i in range(8) if n >> i & 1) or "a"),
        "gender": column(lambda n: ("female", "male")[n % 2]),
    }
    metadata = Metadata.from_columns(columns)
    metadata.ids = torch.arange(size)
    sources = [
        LanguageDistance("language", metadata=metadata),
        Categorical("speaker"),
        Numeric("age", length_scale=10.0),
        Geographic("region", kind="region", length_scale=1000.0, metadata=metadata),
        SetOverlap("accent", metadata=metadata),
        Categorical("gender", weight=0.5),
    ]
    return sources, metadata


def with_sources(size: int, device: str, count: int) -> dict[str, Callable[[], object]]:
    """Returns functions for S of all pairs alone, and for the whole loss with it."""
    sources, metadata = knowledge_of(size)
    sources, metadata = sources[:count], metadata.to(device)
    z, loss = embeddings_of(size, device), MASRLoss("knowledge", knowledge_weight=0.1)
    _ = combine(sources, metadata).values  # copies the tables to the device, once per corpus

    def similarity() -> object:
        return combine(sources, metadata).values

    def whole() -> object:
        x = z.clone().requires_grad_()
        loss(x, combine(sources, metadata)).loss.backward()
        return x.grad

    return {f"{count} sources: S": similarity, f"{count} sources: loss": whole}


def medians(functions: dict[str, Callable[[], object]], device: str, rounds: int) -> dict:
    """Measures the median seconds of each function, which a round calls once."""

    def timed(function: Callable[[], object]) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    for function in functions.values():
        function()
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(timed(function))
    return {name: statistics.median(values) for name, values in times.items()}


def extra_memory(work: str, system: str, size: int, device: str) -> float:
    """Measures the peak memory (MiB) of one step above idle, in a process of its own."""
    command = [sys.executable, __file__, "--child", work, system, "--sizes", str(size)]
    done = subprocess.run(
        [*command, "--device", device], capture_output=True, text=True, check=True
    )
    return float(done.stdout.strip().splitlines()[-1])


def peak_of(work: str, system: str, size: int, device: str) -> float:
    """Measures the peak memory (MiB) of one step above idle; runs in the child."""
    make = WORK[work][system]
    step = make(size, device)
    make(64, device)()  # loads and allocates what a process needs once
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        idle = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - idle) / 2**20
    peaks = Path("/proc/self/clear_refs")
    if peaks.exists():
        peaks.write_text("5")  # resets the peak to the memory that is resident now
    idle = peak_resident()
    step()
    return (peak_resident() - idle) / 2**10


def peak_resident() -> int:
    """Returns the peak resident memory of this process (KiB)."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def check_equal(size: int, device: str) -> float:
    """Computes the largest absolute difference between our gradient and the peer's."""
    return (ours(size, device)() - peer(size, device)()).abs().max().item()


def share_of_a_step(device: str, rounds: int) -> tuple[float, float]:
    """Measures the MASR term and a whole pretraining step of hparams/masr.yaml, in median seconds.

    The term is forward and backward, from the pooled layers on.
    """
    with tempfile.TemporaryDirectory() as folder:
        hparams = load_settings(ROOT / "hparams/masr.yaml", {"output_folder": folder})
    wavs = torch.randn(24, 32000, generator=torch.Generator().manual_seed(0)).to(device)
    lens = torch.ones(24, device=device)
    ssl = hparams["ssl"].to(device)
    read = ("family", "region", "speaker", "gender", "emotion")
    columns = {column: [str(i % 5 or "") for i in range(24)] for column in read}
    columns["language"] = [LANGUAGES[i // 3] for i in range(24)]
    metadata = Metadata.from_columns(columns)
    metadata.ids = torch.arange(24)
    head = hparams["head"](metadata=metadata).to(device)
    metadata = metadata.to(device)
    optimizer = hparams["opt_class"]([*ssl.parameters(), *head.parameters()])
    layers = hparams["num_layers"] + 1
    pooled = torch.randn(24, layers, 2 * hparams["d_model"], device=device, requires_grad=True)

    def term() -> None:
        head(pooled, metadata).loss.backward()

    def step() -> None:
        output = ssl(wavs, lens, list(range(24)))
        frame_lens, mask = output.frame_lens, output.frame_mask
        pooled = [hparams["pooling"](frames, frame_lens, mask) for frames in output.layers]
        (output.loss + head(torch.stack(pooled, dim=1), metadata).loss).backward()
        optimizer.step()
        optimizer.zero_grad()

    times = medians({"term": term, "step": step}, device, max(rounds, 20))
    return times["term"], times["step"]


def cost(work: str, size: int, args: argparse.Namespace) -> tuple[dict, dict]:
    """Measures median seconds of all systems, and extra memory (MiB) of ours and the peer."""
    functions = {name: make(size, args.device) for name, make in WORK[work].items()}
    seconds = medians(functions, args.device, args.rounds)
    return seconds, {name: extra_memory(work, name, size, args.device) for name in WITH_PROTOTYPES}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[64, 256, 1024, 4096, 8192], help="batch sizes B"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7, help="number of rounds")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(peak_of(*args.child, args.sizes[0], args.device))
        return
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, D = {D}\n")
    print(
        "|    B | ours (ms) | peer (ms) | product (ms) | ours/peer | ours/product |"
        " ours (MiB) | peer (MiB) | memory ours/peer | largest gradient difference |"
    )
    print("|" + " ---: |" * 10)
    for size in args.sizes:
        t, m = cost("pairs", size, args)
        a, b, c = t.values()
        mine, other = m.values()
        print(
            f"| {size} | {1e3 * a:.2f} | {1e3 * b:.2f} | {1e3 * c:.2f} | {a / b:.2f} | {a / c:.2f}"
            f" | {mine:.1f} | {other:.1f} | {f'{mine / other:.2f}' if other >= 1 else '-'}"
            f" | {check_equal(size, args.device):.1e} |",
            flush=True,
        )
    print("\n| B, prototypes and pairs | ours (ms) | peer (ms) | ours/peer | memory ours/peer |")
    print("|" + " ---: |" * 5)
    for size in args.sizes:
        (a, b), (mine, other) = (x.values() for x in cost("prototypes and pairs", size, args))
        memory = f"{mine / other:.2f}" if other >= 1 else "-"
        print(f"| {size} | {1e3 * a:.2f} | {1e3 * b:.2f} | {a / b:.2f} | {memory} |", flush=True)
    print("\n| B | sources | S of all pairs / product | whole loss / product |")
    print("|" + " ---: |" * 4)
    for size in [size for size in args.sizes if size in (1024, 4096)]:
        functions = {"product": product(size, args.device)}
        for count in (1, 3, 6):
            functions |= with_sources(size, args.device, count)
        t = medians(functions, args.device, args.rounds)
        for count in (1, 3, 6):
            s, whole = t[f"{count} sources: S"], t[f"{count} sources: loss"]
            base = t["product"]
            print(f"| {size} | {count} | {s / base:.2f} | {whole / base:.2f} |", flush=True)
    term, step = share_of_a_step(args.device, args.rounds)
    print(
        f"\nThe MASR term takes {1e3 * term:.2f} ms of a pretraining step of hparams/masr.yaml "
        f"({1e3 * step:.0f} ms): {term / step:.1%}"
    )


if __name__ == "__main__":
    main()
