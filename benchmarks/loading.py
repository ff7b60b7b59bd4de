#!/usr/bin/env python3
"""Measures the time that training waits for audio, by format, workers and cache.

> python benchmarks/loading.py --clips FOLDER

FOLDER is searched for audio (.opus, .mp3, .wav), and some of the files are written in each format,
or copied if they are in it already. "Decoding" is the time in which the pipeline makes one batch in
one process. "Step" is a training step of the SSL part of hparams/masr.yaml on crops of its length
(with the MASR heads, a step takes longer and waits less). The columns of workers give the fraction
of time that a loop waits for batches, also with a filled cache of decoded audio. The measurements
of a row take turns, and are medians over batches and rounds, on which stalls by other processes
have little effect.
"""

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import soundfile
import torch
import torchaudio
from tqdm import tqdm

from masr_modules.config.settings import load_settings
from masr_modules.data.audio_cache import AudioCache
from masr_modules.data.dataio import make_dataset, read_audio
from masr_modules.metrics.tables import align
from masr_modules.training.loading import RankLoader

HPARAMS = Path(__file__).parents[1] / "hparams/masr.yaml"
#: Name -> suffix and sample rate (Hz). Common Voice has MP3 at 48 kHz.
FORMATS = {
    "WAV, 16 kHz": (".wav", 16000),
    "MP3, 48 kHz": (".mp3", 48000),
    "Opus, 16 kHz": (".opus", 16000),
}
MODELS = {"small": {}, "larger": {"num_layers": 4, "d_model": 256, "d_ffn": 1024}}


def write_clips(sources: list[Path], folder: Path, suffix: str, rate: int) -> dict[str, dict]:
    """Writes clips in one format; returns ID -> row."""
    rows = {}
    for number, source in enumerate(sources):
        path = folder / f"{number}{suffix}"
        info = soundfile.info(source)
        if source.suffix == suffix and info.samplerate == rate:
            shutil.copy(source, path)
        else:
            audio = read_audio(str(source), info.samplerate, None, 0)
            audio = torchaudio.functional.resample(audio, info.samplerate, rate)
            form = ("OGG", "OPUS") if suffix == ".opus" else (None, None)
            soundfile.write(path, audio.numpy(), rate, format=form[0], subtype=form[1])
        rows[str(number)] = {"wav": str(path), "duration": info.duration}
    return rows


def make_loader(rows, hparams: dict, workers: int, cache: AudioCache | None, batches: int):
    """Makes a loader of batches in training's form, of random clips."""
    crop = hparams["max_crop_seconds"]
    dataset = make_dataset(rows, hparams["sample_rate"], crop, audio_cache=cache)
    size, draw = int(hparams["max_batch_seconds"] / crop), random.Random(0)
    plan = [draw.choices(range(len(rows)), k=size) for _ in range(batches)]
    return RankLoader(dataset, plan, num_workers=workers, generator=torch.Generator())


def decoding(loader: RankLoader) -> float:
    """Measures the median seconds of a batch, in this process."""
    times, asked = [], time.perf_counter()
    for _ in loader:
        times.append(time.perf_counter() - asked)
        asked = time.perf_counter()
    return statistics.median(times)


class Training:
    """The SSL part of an experiment."""

    def __init__(self, overrides: dict):
        torch.manual_seed(0)
        self.hparams = load_settings(HPARAMS, overrides)
        self.ssl = self.hparams["ssl"].train()
        self.optimizer = torch.optim.AdamW(self.ssl.parameters(), lr=1e-4)

    def run(self, loader: RankLoader) -> tuple[float, float]:
        """Measures the fraction of time spent waiting, and seconds of a step, both by medians."""
        asked, waited, steps = time.perf_counter(), [], []
        for batch in loader:
            got = time.perf_counter()
            waited.append(got - asked)
            self.ssl(*batch.sig, range(len(batch.id))).loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            asked = time.perf_counter()
            steps.append(asked - got)
        wait, step = statistics.median(waited[1:]), statistics.median(steps[1:])
        return wait / (wait + step), step


def measure(name: str, rows: dict, folder: Path, args: argparse.Namespace) -> list[str]:
    """Measures a row of the table."""
    trainings = {model: Training(MODELS[model]) for model in args.models}
    hparams = trainings[args.models[0]].hparams
    filled = AudioCache(folder / "cache", hparams["sample_rate"])
    for row in rows.values():
        filled.read(row["wav"])
    ways = [(None, workers) for workers in args.workers] + [(filled, args.workers[0])]
    found = defaultdict(list)
    for _ in tqdm(range(args.rounds), name, leave=False):
        for cache in (None, filled):
            loader = make_loader(rows, hparams, 0, cache, args.batches)
            found["ms", cache].append(1000 * decoding(loader))
        for model, training in trainings.items():
            for cache, workers in ways:
                loader = make_loader(rows, hparams, workers, cache, args.batches)
                share, step = training.run(loader)
                found[model, cache, workers].append(100 * share)
                found[model].append(1000 * step)
    middle = {key: statistics.median(values) for key, values in found.items()}
    cells = [f"{middle['ms', None]:.0f}", f"{middle['ms', filled]:.0f}"]
    for model in args.models:
        cells += [f"{middle[model]:.0f}", *(f"{middle[model, *way]:.1f}" for way in ways)]
    return [name, *cells]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--clips", required=True, type=Path, help="folder with audio files")
    parser.add_argument("--count", type=int, default=300, help="largest number of files to use")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument(
        "--workers", type=int, nargs="+", default=[0, 1, 2], help="numbers of loading processes"
    )
    parser.add_argument("--batches", type=int, default=30, help="number of batches of a round")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    args = parser.parse_args()
    suffixes = {suffix for suffix, _ in FORMATS.values()}
    found = [path for path in sorted(args.clips.rglob("*")) if path.suffix in suffixes]
    sources = random.Random(0).sample(found, min(args.count, len(found)))
    heads = ["format", "decoding (ms)", "cached (ms)"]
    for model in args.models:
        heads += [f"{model}: step (ms)", *(f"{n} workers (%)" for n in args.workers)]
        heads += [f"cached, {args.workers[0]} workers (%)"]
    body = []
    for name in args.formats:
        suffix, rate = FORMATS[name]
        with tempfile.TemporaryDirectory() as folder:
            rows = write_clips(sources, Path(folder), suffix, rate)
            body.append(measure(name, rows, Path(folder), args))
    print(align(heads, body))


if __name__ == "__main__":
    main()
