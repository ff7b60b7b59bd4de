"""Pooled embeddings of utterances, with the labels that metrics ask for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from speechbrain.dataio.batch import PaddedBatch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from masr_modules.data.audio_cache import AudioCache
from masr_modules.data.dataio import length_sorted_batches, make_dataset
from masr_modules.encoders.pooling import StatisticsPooling

#: Columns that metrics read, beside the label.
COLUMNS = ("family", "speaker", "gender", "emotion")
#: Further ones, of a pool of corpora.
POOL_COLUMNS = ("age", "corpus")
#: Years at which an age group begins.
AGE_GROUPS = (0, 20, 30, 40, 50)


def age_group(age: str) -> str:
    """The decade of an age in years, under 20 and from 50 on; "" where the age is not known.

    Example
    -------
    >>> age_group("34.5"), age_group("7"), age_group("80"), age_group("")
    ('from 30', 'from 0', 'from 50', '')
    """
    return f"from {max(start for start in AGE_GROUPS if start <= float(age))}" if age else ""


@dataclass
class LabelledEmbeddings:
    """Embeddings of N utterances with their labels ("" where not known).

    Arguments
    ---------
    layers : np.ndarray
        (layers, N, D).
    labels : dict of str to np.ndarray
        (N,) str each: `label`, which is the language, or what else the neighbours and probes
        shall tell, COLUMNS and POOL_COLUMNS; of the age its group.
    """

    layers: np.ndarray
    labels: dict[str, np.ndarray]

    @classmethod
    def of(
        cls, layers: np.ndarray, rows: Mapping[str, Mapping], label: str = "language"
    ) -> "LabelledEmbeddings":
        """Joins embeddings, in the order of the rows, with the rows' labels.

        The family stays empty where the label is not the language.
        """
        columns = {"label": label} | {column: column for column in (*COLUMNS, *POOL_COLUMNS)}
        if label != "language":
            columns["family"] = ""
        cells = {
            name: np.array([row.get(column) or "" for row in rows.values()], dtype=np.str_)
            for name, column in columns.items()
        }
        cells["age"] = np.array([age_group(age) for age in cells["age"]], dtype=np.str_)
        return cls(layers, cells)

    def __getitem__(self, name: str) -> np.ndarray:
        """The labels of that name."""
        return self.labels[name]

    def at(self, layer: int, keep: np.ndarray | None = None) -> "LabelledEmbeddings":
        """One layer (negative counts from the last), of some of the utterances."""
        one = LabelledEmbeddings(self.layers[[layer]], self.labels)
        return one if keep is None else one.some(keep)

    def some(self, keep: np.ndarray) -> "LabelledEmbeddings":
        """The utterances that a mask or indices name."""
        return LabelledEmbeddings(
            self.layers[:, keep], {name: x[keep] for name, x in self.labels.items()}
        )

    def known(self, name: str) -> "LabelledEmbeddings":
        """The utterances that have a label of that name."""
        return self.some(self[name] != "")

    @property
    def embeddings(self) -> np.ndarray:
        """(N, D) of the only layer left by `at`."""
        (embeddings,) = self.layers
        return embeddings


@torch.no_grad()
def embed(
    encode: Callable[[Tensor, Tensor], tuple[list[Tensor], Tensor]],
    rows: Mapping[str, Mapping],
    sample_rate: int,
    device: str = "cpu",
    max_seconds: float = 20.0,
    max_batch_seconds: float = 120.0,
    pool: Callable[[Tensor, Tensor], Tensor] | None = None,
    progressbar: bool = False,
    audio_cache: AudioCache | None = None,
) -> np.ndarray:
    """Pooled embeddings of all layers.

    Arguments
    ---------
    encode : callable
        (wavs, wav_lens) -> (list of (B, F, D), (B,) frame_lens), as SSLObjective.encode.
    rows : mapping
        From load_csv.
    sample_rate : int
        Hz.
    device : str
        Where `encode` runs.
    max_seconds : float
        Longer utterances are cropped.
    max_batch_seconds : float
        Budget of a batch.
    pool : callable, optional
        (frames, frame_lens) -> (B, D); StatisticsPooling by default.
    progressbar : bool
        Whether to show one.
    audio_cache : AudioCache, optional
        Where decoded audio is kept; see `make_dataset`.

    Returns
    -------
    np.ndarray
        (layers, N, D) float32, in the order of the rows.
    """
    pool = pool or StatisticsPooling()
    batches = length_sorted_batches(
        {i: {"duration": min(r["duration"], max_seconds)} for i, r in rows.items()},
        max_batch_seconds,
    )
    loader = DataLoader(
        make_dataset(rows, sample_rate, max_seconds, audio_cache=audio_cache),
        batch_sampler=batches,
        collate_fn=PaddedBatch,
    )
    parts = []
    for batch in tqdm(loader, "embedding", disable=not progressbar, leave=False):
        wavs, lens = batch.sig
        layers, frame_lens = encode(wavs.to(device), lens.to(device))
        parts.append(torch.stack([pool(frames, frame_lens).cpu() for frames in layers]))
    order = torch.tensor([index for batch in batches for index in batch])
    return torch.cat(parts, dim=1)[:, order.argsort()].numpy()
