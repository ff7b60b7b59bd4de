#!/usr/bin/env python3
"""Compares time and memory of preparing VoxCeleb with reading each file's audio.

> python benchmarks/prep.py [--rows 100000] [--num_workers 8]

A folder in VoxCeleb's layout has hard links to 200 files of 8 s. `prepare_voxceleb` reads headers
only, in several processes, and writes the CSVs. The comparison reads the audio of a sample of the
files in one process with SpeechBrain's reader, as SpeechBrain's VoxCeleb recipe does for the
durations, and writes no CSV. Both run in turns, each in a process of its own, and metrics are
medians. Processor time is user and system time of all processes. Peak memory is that of the
process that writes, for a tenth of the files and for all.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

SECONDS, SAMPLE_RATE, FILES = 8, 16000, 200
CLIPS, VIDEOS = 10, 10  # clips per video, videos per speaker
ROUNDS = 3


def make_tree(root: Path, rows: int) -> None:
    """Makes hard links in VoxCeleb's layout, and the metadata."""
    sounds = root / "sounds"
    sounds.mkdir(parents=True)
    noise = np.random.default_rng(0).standard_normal((FILES, SECONDS * SAMPLE_RATE))
    for number, samples in enumerate(noise):
        soundfile.write(sounds / f"{number}.wav", 0.1 * samples, SAMPLE_RATE)
    lines = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    for row in tqdm(range(rows), f"linking {rows} files", unit="file"):
        video, clip = divmod(row, CLIPS)
        speaker = f"id{10001 + video // VIDEOS}"
        folder = root / f"wav/{speaker}/video{video:06d}"
        if clip == 0:
            folder.mkdir(parents=True)
        if row % (CLIPS * VIDEOS) == 0:
            lines.append(f"{speaker}\tName\tm\tUSA\tdev")
        os.link(sounds / f"{row % FILES}.wav", folder / f"{clip:05d}.wav")
    (root / "vox1_meta.csv").write_text("\n".join(lines) + "\n")


def prepare(root: str, num_workers: int) -> None:
    """Runs and reports the preparation, from the folder to the CSVs."""
    from data_prep.voxceleb_prepare import prepare_voxceleb

    csv = f"{root}/csv"
    report(lambda: prepare_voxceleb(root, csv, trials=[], num_workers=num_workers))


def read_audio(root: str, sample: int) -> None:
    """Reads durations from the audio of some of the files, spread over all, and reports it."""
    from speechbrain.dataio import audio_io

    paths = sorted(str(path) for path in Path(root, "wav").glob("*/*/*.wav"))
    paths = paths[:: max(1, len(paths) // sample)][:sample]

    def read() -> None:
        for path in paths:
            audio, rate = audio_io.load(path)
            assert audio.shape[-1] / rate == SECONDS

    report(read)


def processor_seconds() -> float:
    """Returns user and system time of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def report(work: Callable[[], object]) -> None:
    """Runs work, and prints seconds, processor seconds and peak memory (MB) for the parent."""
    start, processor_start = time.perf_counter(), processor_seconds()
    work()
    seconds, processor = time.perf_counter() - start, processor_seconds() - processor_start
    print(seconds, processor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def in_child(*arguments: object) -> list[float]:
    """Runs a part of this script in a process of its own; see `report`."""
    command = [sys.executable, __file__, *map(str, arguments)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return list(map(float, output.split()[-3:]))


def medians(rounds: list[list[float]]) -> list[float]:
    """Computes the median of each metric over the rounds."""
    return [statistics.median(metrics) for metrics in zip(*rounds, strict=True)]


def main() -> None:
    """Runs both in turns, then prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="number of files to prepare")
    parser.add_argument(
        "--sample", type=int, default=2000, help="number of files whose audio is read"
    )
    parser.add_argument(
        "--num_workers", type=int, default=8, help="number of processes of the preparation"
    )
    options = parser.parse_args()
    ours, theirs, peaks = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in (options.rows // 10, options.rows):
            root = Path(folder, str(rows))
            make_tree(root, rows)
            for _ in range(ROUNDS):
                shutil.rmtree(root / "csv", ignore_errors=True)
                *seconds, peak = in_child("prepare", root, options.num_workers)
                peaks[rows] = f"{peak:.0f} MB for {rows}"
                if rows == options.rows:
                    ours.append([second / rows for second in seconds])
                    read = in_child("read", root, options.sample)[:2]
                    theirs.append([second / options.sample for second in read])
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    (mine, mine_busy), (other, other_busy) = medians(ours), medians(theirs)
    workers = f"{options.num_workers} processes"
    print(f"prepare_voxceleb, {options.rows} files, {workers}: {1 / mine:.0f} rows/s")
    print(f"audio read in one process, {options.sample} files: {1 / other:.0f} rows/s")
    print(f"ratio: {other / mine:.1f}")
    print(f"processor time per row: {mine_busy * 1e6:.0f} µs and {other_busy * 1e6:.0f} µs")
    print(f"ratio: {other_busy / mine_busy:.1f}")
    print(f"peak memory: {', '.join(peaks.values())}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["prepare"]:
        prepare(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ["read"]:
        read_audio(sys.argv[2], int(sys.argv[3]))
    else:
        main()
