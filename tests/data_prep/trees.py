"""Parts of the tiny corpora that tests build in each corpus's official layout."""

import csv
from pathlib import Path

import numpy as np
import soundfile


def write_wav(path, seconds=1.0, sample_rate=16000, channels=1, seed=0):
    """Quiet noise; folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (int(seconds * sample_rate), channels)
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(shape), sample_rate)
    return path


def read_splits(folder, sides=("train", "valid", "test")):
    """Side -> rows of its CSV."""
    rows = {}
    for side in sides:
        with open(Path(folder) / f"{side}.csv", encoding="utf-8", newline="") as file:
            rows[side] = list(csv.DictReader(file))
    return rows
