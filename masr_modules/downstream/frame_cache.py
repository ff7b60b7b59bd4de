"""A cache of the frames of a frozen encoder, which are computed once and then read from disk."""

import hashlib
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speechbrain.dataio.batch import PaddedBatch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from masr_modules.config.files import atomic_file, remove_dead, write_atomic
from masr_modules.data.dataio import Unreadable, length_sorted_batches, make_dataset

logger = logging.getLogger(__name__)

#: Number of threads that read audio files for their digests.
THREADS = 4


class FrameCache:
    """The frames of some utterances by all layers, float32, in one file that is mapped to memory.

    The file's name is a hash of all that frames depend on: the encoder's weights and
    configuration, the utterances and the contents of their audio files. Tasks with the same inputs
    share the file, and stale frames are never read. Reading an utterance copies only its frames.

    Arguments
    ---------
    folder : str or Path
        The folder of the files.
    name : str
        The file's name without extension, from `FrameCache.name_of`.
    """

    def __init__(self, folder: str | Path, name: str):
        self.source = (folder, name)
        index = json.loads(Path(folder, f"{name}.json").read_text(encoding="utf-8"))
        self.places: dict[str, list[int]] = index["places"]
        self.unreadable: dict[str, str] = index["unreadable"]
        self.shape = tuple(index["shape"])
        path, size = Path(folder, f"{name}.f32"), int(np.prod(self.shape))
        self.values = np.memmap(path, np.float32, "r", shape=self.shape) if size else None

    def __reduce__(self):
        """Lets a worker map the file itself, because a pickle would hold all frames."""
        return FrameCache, self.source

    def __getitem__(self, utterance: str) -> Tensor | Unreadable:
        """Returns the (F, L, D) frames of an utterance, or why its audio could not be read."""
        if utterance in self.unreadable:
            return Unreadable(self.unreadable[utterance])
        start, stop = self.places[utterance]
        return torch.from_numpy(np.array(self.values[start:stop]))

    @staticmethod
    def name_of(encoder: nn.Module, rows: Mapping[str, Mapping]) -> str:
        """Makes a name that depends on the encoder, its configuration, and the utterances' audio.

        This costs a pass over the weights and reads the audio files, which are a fraction of a
        percent of the size of the frames.
        """
        digest = hashlib.sha256((fingerprint(encoder) + repr(configuration(encoder))).encode())
        files = list(dict.fromkeys(row["wav"] for row in rows.values()))
        with ThreadPoolExecutor(THREADS) as pool:
            contents = dict(zip(files, pool.map(_digest_of, files), strict=True))
        for utterance, row in rows.items():
            place = (utterance, row["duration"], row.get("start"), row.get("stop"))
            digest.update(repr((*place, contents[row["wav"]])).encode())
        return digest.hexdigest()[:24]

    @staticmethod
    def used_bytes(folder: str | Path) -> int:
        """Returns the bytes that all caches of a folder take."""
        return sum(path.stat().st_size for path in Path(folder).glob("*.f32"))

    @staticmethod
    def estimate_bytes(encoder: nn.Module, num_layers: int, rows: Mapping, sample_rate: int) -> int:
        """Estimates how many bytes the file will take on disk."""
        seconds = sum(row["duration"] for row in rows.values())
        frames = seconds * sample_rate / encoder.frame_samples
        return int(frames * num_layers * encoder.d_model * 4)

    @classmethod
    @torch.no_grad()
    def make(
        cls,
        folder: str | Path,
        name: str,
        encoder: nn.Module,
        rows: dict[str, dict],
        sample_rate: int,
        device: str = "cpu",
        max_batch_seconds: float = 120.0,
    ) -> "FrameCache":
        """Opens the cache, and computes it if it is not there yet.

        Arguments
        ---------
        folder : str or Path
            The folder of all caches.
        name : str
            The cache's name, from `name_of`.
        encoder : nn.Module
            The encoder, in eval mode on `device`.
        rows : dict
            ID -> row of the utterances.
        sample_rate : int
            The sample rate in Hz.
        device : str
            The encoder's device.
        max_batch_seconds : float
            Largest duration of a batch.
        """
        folder = Path(folder)
        if (folder / f"{name}.json").is_file():
            return cls(folder, name)
        folder.mkdir(parents=True, exist_ok=True)
        remove_dead(folder)
        batches = length_sorted_batches(rows, max_batch_seconds)
        dataset = make_dataset(rows, sample_rate, tolerant=True)
        loader = DataLoader(dataset, batch_sampler=batches, collate_fn=list)
        places, unreadable, count, shape = {}, {}, 0, (0, 1, encoder.d_model)
        with atomic_file(folder / f"{name}.f32") as partial, open(partial, "wb") as file:
            for examples in tqdm(loader, "encoding"):
                bad = {
                    e["id"]: e["sig"].reason for e in examples if isinstance(e["sig"], Unreadable)
                }
                unreadable |= bad
                if len(bad) == len(examples):
                    continue
                batch = PaddedBatch([e for e in examples if e["id"] not in bad])
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
        index = {"shape": shape, "places": places, "unreadable": unreadable}
        write_atomic(folder / f"{name}.json", json.dumps(index))
        return cls(folder, name)


def fingerprint(encoder: nn.Module) -> str:
    """Computes a digest of all weights, which costs a pass over them on the CPU."""
    digest = hashlib.sha256()
    for key, value in encoder.state_dict().items():
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:24]


def configuration(encoder: nn.Module) -> list:
    """Lists what beside the weights decides the frames: the modules' classes and plain values.

    Example
    -------
    >>> from masr_modules.encoders.conformer import LogMel
    >>> configuration(LogMel()) == configuration(LogMel(keep_spectrum=True))
    False
    """
    return [
        (name, type(module).__qualname__, _plain(vars(module)))
        for name, module in encoder.named_modules()
    ]


def _plain(value: Any) -> Any:
    """Reduces a value to what is the same in each process: no addresses, tensors or modules."""
    if isinstance(value, Mapping):
        cells = [(str(k), _plain(v)) for k, v in value.items() if not str(k).startswith("_")]
        return sorted((key, cell) for key, cell in cells if key != "training")
    if isinstance(value, list | tuple):
        return [_plain(cell) for cell in value]
    if hasattr(value, "to_dict"):  # a configuration of transformers
        return _plain(value.to_dict())
    plain = isinstance(value, str | int | float | bool | torch.dtype | None)
    return repr(value) if plain else getattr(value, "__qualname__", type(value).__qualname__)


def _digest_of(path: str) -> str:
    """Computes the digest of a file's bytes; returns the error's text if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return str(error)
