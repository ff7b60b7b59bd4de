"""Pooled embeddings of utterances, with the labels that metrics need."""

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
#: Further columns that metrics of a pool of corpora read.
POOL_COLUMNS = ("age", "corpus")
#: Ages (years) at which the age groups begin.
AGE_GROUPS = (0, 20, 30, 40, 50)


def age_group(age: str) -> str:
    """Returns the group of an age in years, by AGE_GROUPS; "" if the age is not known.

    Example
    -------
    >>> age_group("34.5"), age_group("7"), age_group("80"), age_group("")
    ('from 30', 'from 0', 'from 50', '')
    """
    return f"from {max(start for start in AGE_GROUPS if start <= float(age))}" if age else ""


@dataclass
class LabelledEmbeddings:
    """The embeddings of N utterances with their labels ("" where not known).

    Arguments
    ---------
    layers : np.ndarray
        (layers, N, D) embeddings.
    labels : dict of str to np.ndarray
        Name -> (N,) str. The names are `label` (the language, or another column that neighbours
        and probes predict), COLUMNS and POOL_COLUMNS; `age` holds the age group.
    """

    layers: np.ndarray
    labels: dict[str, np.ndarray]

    @classmethod
    def of(
        cls, layers: np.ndarray, rows: Mapping[str, Mapping], label: str = "language"
    ) -> "LabelledEmbeddings":
        """Joins embeddings, in the order of the rows, with the rows' labels.

        If `label` is not the language, the family is empty.
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
        """Returns the labels of that name, (N,) str."""
        return self.labels[name]

    def at(self, layer: int, keep: np.ndarray | None = None) -> "LabelledEmbeddings":
        """Returns one layer (negative counts from the last), of all or some utterances."""
        one = LabelledEmbeddings(self.layers[[layer]], self.labels)
        return one if keep is None else one.some(keep)

    def some(self, keep: np.ndarray) -> "LabelledEmbeddings":
        """Returns the utterances that a mask or indices select."""
        return LabelledEmbeddings(
            self.layers[:, keep], {name: x[keep] for name, x in self.labels.items()}
        )

    def known(self, name: str) -> "LabelledEmbeddings":
        """Returns the utterances that have a label of that name."""
        return self.some(self[name] != "")

    @property
    def embeddings(self) -> np.ndarray:
        """(N, D) embeddings of the single layer that `at` has selected."""
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
    """Computes the pooled embeddings of utterances by all layers of an encoder.

    Arguments
    ---------
    encode : callable
        (wavs, wav_lens) -> (list of (B, F, D), (B,) frame_lens), as SSLObjective.encode.
    rows : mapping
        ID -> row, from load_csv.
    sample_rate : int
        The sample rate in Hz.
    device : str
        The device on which `encode` runs.
    max_seconds : float
        Longer utterances are cropped to this duration.
    max_batch_seconds : float
        Largest duration of a batch.
    pool : callable, optional
        (frames, frame_lens) -> (B, D); StatisticsPooling by default.
    progressbar : bool
        Whether to show a progress bar.
    audio_cache : AudioCache, optional
        The cache that keeps decoded audio; see `make_dataset`.

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
