#!/usr/bin/env python3
"""Does a training harm, again and again, and compares it with one that was left alone.

> python benchmarks/soak.py --kills 20

In turn it is killed (SIGKILL) a random time after it saved, is started twice at once, of which the
second must be refused, and finds its disk full while it saves. Each start has a clock that is up to
two days before or behind. The final weights must be those of an unbroken run, bit by bit.
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
from collections import Counter
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


#: Runs a recipe with another clock, and with room for files of so many bytes alone.
LAUNCHER = """
import os, resource, runpy, sys, time
ahead, room, *sys.argv = float(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
clock = time.time
time.time = lambda: clock() + ahead
if room:
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
#: Bytes: generators and counters fit, weights don't.
ROOM = 20_000
DAY = 86_400.0


def start(
    folder: Path, corpus: Path, steps: int, ahead: float = 0.0, room: int = 0, name: str = ""
) -> subprocess.Popen:
    """Starts the training or resumes it; `name` is of its log, by default the folder's."""
    settings = SMALL | {"data_folder": corpus, "output_folder": folder, "number_of_steps": steps}
    flags = [str(text) for key, value in settings.items() for text in (f"--{key}", value)]
    command = [sys.executable, "-c", LAUNCHER, str(ahead), str(room)]
    command += [str(ROOT / "recipes/pretrain/train.py")]
    command += [str(ROOT / "hparams/masr.yaml"), *flags, "--noprogressbar"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}{name}.txt", "a") as log:
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
    """Names of the checkpoints that are there, whole or not."""
    return {path.name for path in Path(folder, "save").glob("CKPT+*")}


def whole(folder: Path) -> set[str]:
    """Names of the checkpoints that are taken for whole."""
    return {path.parent.name for path in Path(folder, "save").glob("CKPT+*/CKPT.yaml")}


class Soak:
    """One training, and what is done to it.

    Arguments
    ---------
    folder, corpus : Path
        Of the run, and of its data.
    steps : int
        That it is to have in the end.
    rng : random.Random
        When it is killed, and what its clock says.
    """

    def __init__(self, folder: Path, corpus: Path, steps: int, rng: random.Random):
        self.where, self.folder, self.rng = (folder, corpus, steps), folder, rng

    def start(self, **options) -> subprocess.Popen:
        """With a clock of its own."""
        return start(*self.where, ahead=self.rng.uniform(-2 * DAY, 2 * DAY), **options)

    def _start_and_save(self) -> subprocess.Popen:
        process, before = self.start(), newest(self.folder)
        while process.poll() is None and newest(self.folder) <= before:
            time.sleep(0.02)  # until it saves again
        return process

    def kill(self) -> bool:
        """Whether it was still there to be killed."""
        process = self._start_and_save()
        time.sleep(self.rng.uniform(0.0, 1.0))
        return self._end(process)

    def start_twice(self) -> bool:
        """Leaves with an error where a second process is let into the folder."""
        process = self._start_and_save()
        if process.poll() is not None:
            return False
        second = self.start(name="_second")
        refused = second.wait() != 0
        log = Path(f"{self.folder}_second.txt").read_text(encoding="utf-8")
        told = f"is in use by process {process.pid} on " in log
        if process.poll() is None and not (refused and told):
            sys.exit(f"a second process was let into {self.folder}: see {self.folder}_second.txt")
        return self._end(process)

    def fill_disk(self) -> bool:
        """Leaves with an error where a training that cannot save goes on as if it had."""
        done = (self.folder / "results.json").is_file()
        process, before = self.start(room=ROOM, name="_full"), newest(self.folder)
        if process.wait() == 0 and not done:
            sys.exit(f"a training went on with a full disk: see {self.folder}_full.txt")
        if whole(self.folder) - before:
            sys.exit(f"{self.folder}: a checkpoint looks whole that was written on a full disk")
        return not done

    @staticmethod
    def _end(process: subprocess.Popen) -> bool:
        there = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        return there


def main() -> None:
    """Does harm, then prints both hashes; leaves with 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="times that harm is done")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_folder", type=Path, default=Path("results/soak"))
    args = parser.parse_args()
    shutil.rmtree(args.output_folder, ignore_errors=True)
    corpus = args.output_folder / "corpus"
    prepare_mini(str(corpus), str(corpus / "csv"), languages=["es", "pt", "nl"], hours=0.04)
    unbroken, folder = args.output_folder / "whole", args.output_folder / "broken"
    alone = start(unbroken, corpus, args.steps)
    soak = Soak(folder, corpus, args.steps, random.Random(args.seed))
    faults = (soak.kill, soak.start_twice, soak.fill_disk)
    done: Counter[str] = Counter()
    for number in tqdm(range(args.kills), "faults"):
        fault = faults[number % len(faults)]
        if not fault():
            break
        done[fault.__name__] += 1
    print(f"{dict(done)}; going on to the last step")
    if soak.start().wait() or alone.wait():
        sys.exit(f"a training failed: see {args.output_folder}/*.txt")
    hashes = weights_hash(unbroken), weights_hash(folder)
    print(f"{dict(done)}; unbroken {hashes[0]}, harmed and resumed {hashes[1]}")
    sys.exit(hashes[0] != hashes[1])


if __name__ == "__main__":
    main()
