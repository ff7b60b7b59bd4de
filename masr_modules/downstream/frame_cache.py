"""The frames of a frozen encoder, computed once and read from disk ever after."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from speechbrain.dataio.batch import PaddedBatch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from masr_modules.data.dataio import length_sorted_batches, make_dataset

logger = logging.getLogger(__name__)


class FrameCache:
    """All layers' frames of some utterances, float32, in one file that is mapped to memory.

    The file's name is made of the encoder's weights and the utterances, so that tasks
    that share both share it, and nothing stale is read. Reading an utterance copies its
    frames and nothing else.

    Arguments
    ---------
    folder : str or Path
        Where the files are.
    name : str
        Of the file, from `FrameCache.name_of`.
    """

    def __init__(self, folder: str | Path, name: str):
        index = json.loads(Path(folder, f"{name}.json").read_text(encoding="utf-8"))
        self.places: dict[str, list[int]] = index["places"]
        self.shape = tuple(index["shape"])
        path, size = Path(folder, f"{name}.f32"), int(np.prod(self.shape))
        self.values = np.memmap(path, np.float32, "r", shape=self.shape) if size else None

    def __getitem__(self, utterance: str) -> Tensor:
        """(F, L, D) frames of an utterance."""
        start, stop = self.places[utterance]
        return torch.from_numpy(np.array(self.values[start:stop]))

    @staticmethod
    def name_of(encoder: nn.Module, rows: Mapping[str, Mapping]) -> str:
        """A name that another encoder, file or length would change."""
        digest = hashlib.sha256(fingerprint(encoder).encode())
        for utterance, row in rows.items():
            cells = (utterance, row["wav"], row["duration"], row.get("start"), row.get("stop"))
            digest.update(repr(cells).encode())
        return digest.hexdigest()[:24]

    @staticmethod
    def estimate_bytes(encoder: nn.Module, num_layers: int, rows: Mapping, sample_rate: int) -> int:
        """About how many bytes the file would take on disk."""
        seconds = sum(row["duration"] for row in rows.values())
        frames = seconds * sample_rate / encoder.frame_samples
        return int(frames * num_layers * encoder.d_model * 4)

    @classmethod
    @torch.no_grad()
    def make(
        cls,
        folder: str | Path,
        encoder: nn.Module,
        rows: dict[str, dict],
        sample_rate: int,
        device: str = "cpu",
        max_batch_seconds: float = 120.0,
    ) -> "FrameCache":
        """Opens the cache, and computes it where it is not there yet.

        Arguments
        ---------
        folder : str or Path
            Of all caches.
        encoder : nn.Module
            In eval mode, on `device`.
        rows : dict
            From load_csv.
        sample_rate : int
            Hz.
        device : str
            Where the encoder is.
        max_batch_seconds : float
            Budget of a batch.
        """
        folder, name = Path(folder), cls.name_of(encoder, rows)
        if (folder / f"{name}.json").is_file():
            return cls(folder, name)
        folder.mkdir(parents=True, exist_ok=True)
        batches = length_sorted_batches(rows, max_batch_seconds)
        dataset = make_dataset(rows, sample_rate)
        loader = DataLoader(dataset, batch_sampler=batches, collate_fn=PaddedBatch)
        places, count, shape = {}, 0, (0, 1, encoder.d_model)
        partial = folder / f".{name}.{os.getpid()}.f32"  # other runs may write it too
        with open(partial, "wb") as file:
            for batch in tqdm(loader, "encoding"):
                wavs, lens = batch.sig
                layers, frame_lens = encoder(wavs.to(device), lens.to(device))
                frames = torch.stack(layers, dim=2).float().cpu().numpy()
                for utterance, padded, length in zip(
                    batch.id, frames, frame_lens.tolist(), strict=True
                ):
                    file.write(np.ascontiguousarray(padded[:length]).tobytes())
                    places[utterance] = [count, count + length]
                    count += length
                shape = (count, *frames.shape[2:])
        partial.replace(folder / f"{name}.f32")
        index = folder / f".{name}.{os.getpid()}.json"
        index.write_text(json.dumps({"shape": shape, "places": places}), encoding="utf-8")
        index.replace(folder / f"{name}.json")
        return cls(folder, name)


def fingerprint(encoder: nn.Module) -> str:
    """A digest of all weights. Costs a pass over them on the CPU."""
    digest = hashlib.sha256()
    for key, value in encoder.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:24]
