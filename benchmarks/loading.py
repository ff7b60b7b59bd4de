#!/usr/bin/env python3
"""How long training waits for audio: formats, workers, and a cache of decoded audio.

> python benchmarks/loading.py --clips FOLDER

FOLDER is searched for audio (.opus, .mp3, .wav), and clips of it are written in each
format, or copied where they are in it already. Decoding is that of one batch, the pipeline's, in
one process. Training is the SSL part of hparams/masr.yaml on crops as it takes them (its heads
would wait less); for each number of workers, the fraction of its time that a loop waited for
batches, with a cache that is filled as well. All of a row is measured in turns; of batches and
rounds it takes medians, which stalls by other processes do not change.
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
#: Name -> suffix and sample rate, Hz. Common Voice has MP3 at 48 kHz.
FORMATS = {
    "WAV, 16 kHz": (".wav", 16000),
    "MP3, 48 kHz": (".mp3", 48000),
    "Opus, 16 kHz": (".opus", 16000),
}
MODELS = {"small": {}, "larger": {"num_layers": 4, "d_model": 256, "d_ffn": 1024}}


def write_clips(sources: list[Path], folder: Path, suffix: str, rate: int) -> dict[str, dict]:
    """ID -> row of the clips in one format."""
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
    """Batches as training draws them, of random clips."""
    crop = hparams["max_crop_seconds"]
    dataset = make_dataset(rows, hparams["sample_rate"], crop, audio_cache=cache)
    size, draw = int(hparams["max_batch_seconds"] / crop), random.Random(0)
    plan = [draw.choices(range(len(rows)), k=size) for _ in range(batches)]
    return RankLoader(dataset, plan, num_workers=workers, generator=torch.Generator())


def decoding(loader: RankLoader) -> float:
    """Median seconds of a batch, in this process."""
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
        """Fraction of the time that was waited, and seconds of a step, both of medians."""
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
    """A row of the table."""
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
    parser.add_argument("--clips", required=True, type=Path, help="a folder with audio")
    parser.add_argument("--count", type=int, default=300, help="of the clips")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batches", type=int, default=30, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=3)
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
