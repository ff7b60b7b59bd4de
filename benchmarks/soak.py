#!/usr/bin/env python3
"""Kills a training at random places, again and again, and compares it with one that was left alone.

> python benchmarks/soak.py --kills 20

Each kill is SIGKILL, a random time after the training began to step. The final weights must be
those of an unbroken run, bit by bit.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from data_prep.mini_prepare import prepare_mini

ROOT = Path(__file__).parents[1]
SMALL = {
    "languages": "[es, pt, nl]",
    "corpus_hours": 0.04,
    "skip_prep": "true",
    "d_model": 32,
    "d_ffn": 32,
    "nhead": 2,
    "codebook_size": 16,
    "max_batch_seconds": 12.0,
    "dropout": 0.1,
    "lr_warmup_steps": 10,
    "masr_warmup_steps": 10,
    "ckpt_interval_steps": 1,
    "knn_every_epochs": 10_000,
    "baselines": "false",
}


def start(folder: Path, corpus: Path, steps: int) -> subprocess.Popen:
    """Starts the training or resumes it."""
    settings = SMALL | {"data_folder": corpus, "output_folder": folder, "number_of_steps": steps}
    flags = [str(text) for key, value in settings.items() for text in (f"--{key}", value)]
    command = [sys.executable, str(ROOT / "recipes/pretrain/train.py")]
    command += [str(ROOT / "hparams/masr.yaml"), *flags, "--noprogressbar"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.txt", "a") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )


def weights_hash(folder: Path) -> str:
    """Of the encoder's and the head's weights in the last checkpoint."""
    found = Path(folder, "save").glob("CKPT+*/CKPT.yaml")
    checkpoint = max(found, key=lambda path: path.stat().st_mtime).parent
    digest = hashlib.sha256()
    for name in ("ssl", "head"):
        for key, value in torch.load(checkpoint / f"{name}.ckpt", weights_only=True).items():
            digest.update(key.encode())
            digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:24]


def newest(folder: Path) -> set[str]:
    """Names of the checkpoints that are there."""
    return {path.name for path in Path(folder, "save").glob("CKPT+*")}


def main() -> None:
    """Prints each kill, then both hashes; leaves with 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_folder", type=Path, default=Path("results/soak"))
    args = parser.parse_args()
    shutil.rmtree(args.output_folder, ignore_errors=True)
    corpus = args.output_folder / "corpus"
    prepare_mini(str(corpus), str(corpus / "csv"), languages=["es", "pt", "nl"], hours=0.04)
    whole, broken = args.output_folder / "whole", args.output_folder / "broken"
    alone = start(whole, corpus, args.steps)
    rng, kills = random.Random(args.seed), 0
    with tqdm(total=args.kills, desc="kills") as bar:
        while kills < args.kills:
            process, before = start(broken, corpus, args.steps), newest(broken)
            while process.poll() is None and newest(broken) <= before:
                time.sleep(0.02)  # until it saves again
            time.sleep(rng.uniform(0.0, 1.0))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            bar.update()
    print(f"{kills} kills; going on to the last step")
    if start(broken, corpus, args.steps).wait() or alone.wait():
        sys.exit(f"a training failed: see {args.output_folder}/*.txt")
    hashes = weights_hash(whole), weights_hash(broken)
    print(f"{kills} kills; unbroken {hashes[0]}, killed and resumed {hashes[1]}")
    sys.exit(hashes[0] != hashes[1])


if __name__ == "__main__":
    main()
