#!/usr/bin/env python3
"""Interrupts a training by repeated faults, and compares its weights with an uninterrupted one's.

> python benchmarks/soak.py --kills 20

The faults take turns: the training is killed (SIGKILL) a random time after it saved; it is started
twice at once, and the second process must be refused; its disk is full while it saves. Each start
has a clock that is up to two days fast or slow. The final weights must equal those of an
uninterrupted run, bit by bit.
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


#: Runs a recipe with a shifted clock (seconds), and a limit on the size of files (bytes; 0: none).
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
#: Limit on the size of files (bytes) within which generators and counters fit, but not weights.
ROOM = 20_000
DAY = 86_400.0


def start(
    folder: Path, corpus: Path, steps: int, ahead: float = 0.0, room: int = 0, name: str = ""
) -> subprocess.Popen:
    """Starts the training or resumes it; its log is FOLDER.txt, with `name` after FOLDER."""
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
    """Hashes the weights of SSL model and head in the last checkpoint."""
    found = Path(folder, "save").glob("CKPT+*/CKPT.yaml")
    checkpoint = max(found, key=lambda path: path.stat().st_mtime).parent
    digest = hashlib.sha256()
    for name in ("ssl", "head"):
        for key, value in torch.load(checkpoint / f"{name}.ckpt", weights_only=True).items():
            digest.update(key.encode())
            digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:24]


def newest(folder: Path) -> set[str]:
    """Lists the names of the checkpoints that are there, complete or not."""
    return {path.name for path in Path(folder, "save").glob("CKPT+*")}


def whole(folder: Path) -> set[str]:
    """Lists the names of the checkpoints that count as complete."""
    return {path.parent.name for path in Path(folder, "save").glob("CKPT+*/CKPT.yaml")}


class Soak:
    """A training, and the faults that interrupt it.

    Arguments
    ---------
    folder, corpus : Path
        Folders of the run and of its data.
    steps : int
        Number of steps of the whole training.
    rng : random.Random
        Generator that draws the times of kills and the shifts of the clock.
    """

    def __init__(self, folder: Path, corpus: Path, steps: int, rng: random.Random):
        self.where, self.folder, self.rng = (folder, corpus, steps), folder, rng

    def start(self, **options) -> subprocess.Popen:
        """Starts or resumes the training with a randomly shifted clock."""
        return start(*self.where, ahead=self.rng.uniform(-2 * DAY, 2 * DAY), **options)

    def _start_and_save(self) -> subprocess.Popen:
        process, before = self.start(), newest(self.folder)
        while process.poll() is None and newest(self.folder) <= before:
            time.sleep(0.02)  # until it saves again
        return process

    def kill(self) -> bool:
        """Kills the training after it saved; returns whether it was still running."""
        process = self._start_and_save()
        time.sleep(self.rng.uniform(0.0, 1.0))
        return self._end(process)

    def start_twice(self) -> bool:
        """Starts a second process, then kills the first; exits if the second is not refused."""
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
        """Resumes on a full disk; exits if the training goes on as if it had saved."""
        done = (self.folder / "results.json").is_file()
        process, before = self.start(room=ROOM, name="_full"), newest(self.folder)
        if process.wait() == 0 and not done:
            sys.exit(f"a training went on with a full disk: see {self.folder}_full.txt")
        if whole(self.folder) - before:
            sys.exit(f"{self.folder}: a checkpoint written on a full disk looks complete")
        return not done

    @staticmethod
    def _end(process: subprocess.Popen) -> bool:
        there = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        return there


def main() -> None:
    """Causes faults, then prints the hashes of both trainings; exits with 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="number of faults of all kinds")
    parser.add_argument("--steps", type=int, default=400, help="number of steps of a training")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults' times")
    parser.add_argument(
        "--output_folder",
        type=Path,
        default=Path("results/soak"),
        help="folder to write; it is emptied first",
    )
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
