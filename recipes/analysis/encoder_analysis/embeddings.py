"""Embeddings of all layers, kept on disk: an interrupted analysis resumes."""

import hashlib
import os
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from encoder_analysis.utterances import UNREADABLE, Utterances
from masr_modules.config.files import atomic_file
from masr_modules.data.dataio import read_audio, read_segment
from masr_modules.downstream.frame_cache import FrameCache
from masr_modules.encoders.pretrained import PretrainedEncoder
from masr_modules.metrics.embeddings import embed

#: Utterances per file.
PART = 500


def embed_cached(
    loaded: PretrainedEncoder,
    utterances: Utterances,
    folder: str | Path,
    device: str = "cpu",
    title: str = "embedding",
) -> tuple[np.ndarray, Utterances]:
    """Embeds what can be read: mean and standard deviation over the frames, as the report does.

    Arguments
    ---------
    loaded : PretrainedEncoder
        The encoder, in eval mode, on `device`.
    utterances : Utterances
        What to embed.
    folder : str or Path
        Of the cache. A file holds PART utterances and is named by the encoder's weights, the
        rows, and size and time of the audio: what changed is computed anew.
    device : str
        Where the encoder is.
    title : str
        Of the progress bar.

    Returns
    -------
    layers : np.ndarray
        (layers, N, D) float32.
    utterances : Utterances
        The N that could be read; the others are counted.
    """
    layers, read = [], []
    items = list(utterances.rows.items())
    for start in tqdm(range(0, len(items), PART), title, disable=None):
        rows = dict(items[start : start + PART])
        path = Path(folder) / f"{_name(loaded, rows)}.npz"
        stored = _load(path) or _embed_part(loaded, rows, path, device)
        layers.append(stored["layers"])
        read += stored["ids"].tolist()
    layers = [part for part in layers if part.size] or layers[:1]
    return np.concatenate(layers, axis=1), utterances.keep(read, UNREADABLE)


def _name(loaded: PretrainedEncoder, rows: Mapping[str, Mapping]) -> str:
    digest = hashlib.sha256(FrameCache.name_of(loaded.encoder, rows).encode())
    digest.update(loaded.description.encode())
    for row in rows.values():
        try:
            facts = os.stat(row["wav"])
            digest.update(f"{facts.st_size} {facts.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(b"missing\n")
    return digest.hexdigest()[:24]


def _load(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ("layers", "ids")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # absent or broken: computed


def _embed_part(
    loaded: PretrainedEncoder, rows: dict[str, dict], path: Path, device: str
) -> dict[str, np.ndarray]:
    with ThreadPoolExecutor() as pool:
        good = dict(zip(rows, pool.map(_can_be_read, rows.values()), strict=True))
    rows = {utterance: row for utterance, row in rows.items() if good[utterance]}
    layers = np.zeros((0, 0, 0), np.float32)
    if rows:
        layers = embed(loaded.encoder, rows, loaded.sample_rate, device, progressbar=True)
    stored = {"layers": layers, "ids": np.array(list(rows), dtype=np.str_)}
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **stored)
    return stored


def _can_be_read(row: Mapping) -> bool:
    """Decodes the audio: a header alone does not tell a file that was cut off."""
    try:
        read_audio(row["wav"], 16000, None, 0, read_segment(row))
    except ValueError:
        return False
    return True
