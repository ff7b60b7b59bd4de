"""Embeddings of all layers, kept on disk, so that an interrupted analysis resumes."""

import zipfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from encoder_analysis.utterances import UNREADABLE, Utterances
from masr_modules.config.files import atomic_file
from masr_modules.data.audio_check import drop_undecodable
from masr_modules.downstream.frame_cache import FrameCache
from masr_modules.encoders.pretrained import PretrainedEncoder
from masr_modules.metrics.embeddings import embed

#: Number of utterances in a file.
PART = 500


def embed_cached(
    loaded: PretrainedEncoder,
    utterances: Utterances,
    folder: str | Path,
    device: str = "cpu",
    title: str = "embedding",
) -> tuple[np.ndarray, Utterances]:
    """Embeds utterances by mean and standard deviation over frames, as pretraining's report does.

    Arguments
    ---------
    loaded : PretrainedEncoder
        The encoder, in eval mode, on `device`.
    utterances : Utterances
        Utterances to embed.
    folder : str or Path
        Folder of the cache. A file holds PART utterances; its name, from `FrameCache.name_of`,
        depends on encoder and rows, so that changed ones are computed anew.
    device : str
        Device of the encoder.
    title : str
        Title of the progress bar.

    Returns
    -------
    layers : np.ndarray
        (layers, N, D) float32.
    utterances : Utterances
        The N utterances that could be read; the others are counted in its `left_out`.
    """
    layers, read = [], []
    items = list(utterances.rows.items())
    for start in tqdm(range(0, len(items), PART), title, disable=None):
        rows = dict(items[start : start + PART])
        path = Path(folder) / f"{FrameCache.name_of(loaded.encoder, rows)}.npz"
        stored = _load(path) or _embed_part(loaded, rows, path, device)
        layers.append(stored["layers"])
        read += stored["ids"].tolist()
    layers = [part for part in layers if part.size] or layers[:1]
    return np.concatenate(layers, axis=1), utterances.keep(read, UNREADABLE)


def _load(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ("layers", "ids")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # the file is missing or broken, so its utterances are embedded


def _embed_part(
    loaded: PretrainedEncoder, rows: dict[str, dict], path: Path, device: str
) -> dict[str, np.ndarray]:
    rows = drop_undecodable(rows, limit=1.0)
    layers = np.zeros((0, 0, 0), np.float32)
    if rows:
        layers = embed(loaded.encoder, rows, loaded.sample_rate, device, progressbar=True)
    stored = {"layers": layers, "ids": np.array(list(rows), dtype=np.str_)}
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **stored)
    return stored
