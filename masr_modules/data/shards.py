"""Shards: a CSV's utterances in a few large tar files, which are read in sequence.

Millions of small files are slow on most disks. A shard is a tar in WebDataset's
format; it holds the audio file of each utterance, byte for byte, and its CSV row as JSON.
"""

import io
import itertools
import json
import logging
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import webdataset
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from tqdm import tqdm

from masr_modules.config.files import write_atomic
from masr_modules.data.corpus import load_csv
from masr_modules.data.dataio import read_audio, read_segment, utterance_seed
from masr_modules.data.waiting import Waiting

logger = logging.getLogger(__name__)

#: Written last: the CSV and settings of the shards, and the number of utterances in each.
INDEX_FILE = "shards.json"


def write_shards(
    csv_path: str | Path,
    data_root: str | Path,
    shard_folder: str | Path,
    seed: int = 1234,
    shard_hours: float = 10.0,
) -> None:
    """Copies the audio of a CSV into shards, in random order.

    A shard gets its name when it is complete. A run after an interruption keeps
    the complete ones; a second run with the same CSV and settings does nothing.

    Arguments
    ---------
    csv_path : str or Path
        The CSV.
    data_root : str or Path
        The folder that `$data_root` stands for in the CSV.
    shard_folder : str or Path
        Folder of the shards.
    seed : int
        Seed of the order.
    shard_hours : float
        Hours of speech in a shard (10 h of 16-bit audio at 16 kHz are 1.2 GB).

    Raises
    ------
    FileExistsError
        If the folder holds shards of another CSV or other settings.
    OSError
        If an audio file cannot be read.
    """
    rows, folder = load_csv(csv_path, data_root), Path(shard_folder)
    ids = list(rows)
    total = sum(row["duration"] for row in rows.values())
    count = max(1, round(total / 3600 / shard_hours))
    order = np.random.default_rng(seed).permutation(len(ids))
    parts = [part.tolist() for part in np.array_split(order, count)]
    plan = {
        "csv": os.path.abspath(csv_path),
        "utterances": len(ids),
        "hours": round(total / 3600, 6),
        "seed": seed,
        "shards": {f"shard-{n:06d}.tar": len(part) for n, part in enumerate(parts)},
    }
    if _claim(folder, plan):
        return
    for name, part in zip(plan["shards"], tqdm(parts, "shards", unit="shard"), strict=True):
        if not (folder / name).exists():
            _write_shard(folder / name, [(ids[i], rows[ids[i]]) for i in part])
    write_atomic(folder / INDEX_FILE, json.dumps(plan, indent=1) + "\n")


def _claim(folder: Path, plan: dict) -> bool:
    """Returns whether all shards of a plan exist; refuses a folder with those of another plan."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{INDEX_FILE}.unfinished"
    for path in (folder / INDEX_FILE, unfinished):
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != plan:
            raise FileExistsError(
                f"{path}: the shards there were made from another CSV or with other settings; "
                "delete the folder to write them again"
            )
    if all((folder / name).exists() for name in (INDEX_FILE, *plan["shards"])):
        logger.info("%s: the shards exist already", folder)
        return True
    write_atomic(unfinished, json.dumps(plan, indent=1) + "\n")
    return False


def _write_shard(path: Path, rows: list[tuple[str, dict]]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file, webdataset.TarWriter(file) as tar:
        for number, (utterance, row) in enumerate(rows):
            audio = Path(row["wav"])
            cells = {"ID": utterance, **{k: v for k, v in row.items() if k != "wav"}}
            # The key is a number, for WebDataset ends a key at its first dot, and IDs hold dots.
            tar.write(
                {
                    "__key__": f"{number:06d}",
                    "audio": audio.read_bytes(),
                    "json": json.dumps(cells, ensure_ascii=False).encode(),
                }
            )
    temporary.replace(path)


def read_shards(
    shard_folder: str | Path, seed: int | tuple[int, ...] = 0
) -> Iterator[tuple[dict, bytes]]:
    """Reads utterances in sequence, with the shards in random order.

    Each process under DDP, and each worker of a DataLoader, reads shards of its own.

    Arguments
    ---------
    shard_folder : str or Path
        Folder that write_shards wrote.
    seed : int or tuple of int
        Seed of the shards' order.

    Yields
    ------
    (dict, bytes)
        The CSV row with `ID` and without `wav`, and the audio file.

    Raises
    ------
    FileNotFoundError
        If the folder has no index, which write_shards writes last.
    ValueError
        If the index or a shard is damaged.
    """
    index = Path(shard_folder) / INDEX_FILE
    if not index.is_file():
        raise FileNotFoundError(f"{index}: no such file; write_shards has not run to its end")
    counts = _read_counts(index)
    order = np.random.default_rng(seed).permutation(len(counts))
    # Absolute paths, for WebDataset runs the command after `pipe:` and fetches other schemes.
    urls = [str(index.parent.resolve() / list(counts)[i]) for i in order]
    shards = webdataset.WebDataset(
        urls,
        shardshuffle=False,
        nodesplitter=webdataset.split_by_node,
        workersplitter=webdataset.split_by_worker,
        empty_check=False,  # with fewer shards than workers, some workers have none
    )
    read: Counter[str] = Counter()
    try:
        for sample in shards:
            read[sample["__url__"]] += 1
            yield json.loads(sample["json"]), sample["audio"]
    except (tarfile.TarError, OSError) as error:
        raise ValueError(
            f"{shard_folder}: a shard cannot be read ({error.args}); delete it and write the "
            "shards again"
        ) from error
    for url, count in read.items():
        if count != counts[Path(url).name]:
            raise ValueError(
                f"{url}: holds {count} utterances, {INDEX_FILE} says {counts[Path(url).name]}; "
                "delete it and write the shards again"
            )


def _read_counts(index: Path) -> dict[str, int]:
    """Returns shard -> number of its utterances."""
    try:
        counts = json.loads(index.read_text(encoding="utf-8"))["shards"]
        named = all(re.fullmatch(r"shard-\d{6,}\.tar", name) for name in counts)
        sound = named and all(type(count) is int for count in counts.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{index}: is not what write_shards wrote ({error!r}); write the shards again"
        ) from error
    if not sound:
        raise ValueError(
            f"{index}: names other files than shard-000000.tar, ..., or no numbers of utterances; "
            "write the shards again"
        )
    return counts


class ShardBatches(IterableDataset):
    """Batches of utterances that are read from shards in sequence.

    Utterances are taken from the shards until a window is full; the window's
    batches are planned as those of a whole corpus would be. Memory holds the
    encoded audio of one window. An epoch is a fixed number of batches, so that the
    processes of a distributed run end it together; a process that has read all of
    its shards reads them again in another order.

    Arguments
    ---------
    shard_folder : str or Path
        Folder that write_shards wrote, with at least one shard per process and worker.
    plan : callable
        Plans batches, as a KnowledgeBatchSampler does: takes the rows of a window and an
        epoch, and returns lists of indices into the rows.
    num_batches : int
        Number of batches in an epoch, for this process.
    sample_rate : int
        Sample rate of the waveforms, in Hz.
    max_crop_seconds : float, optional
        Length of crops. A longer utterance is cropped at a place that depends on seed, epoch
        and ID.
    window : int
        Number of utterances in a window.
    seed : int
        Seed of the shards' order and the crops.
    """

    def __init__(
        self,
        shard_folder: str | Path,
        plan: Callable[[list[dict], int], Iterable[list[int]]],
        num_batches: int,
        sample_rate: int,
        max_crop_seconds: float | None = None,
        window: int = 2000,
        seed: int = 0,
    ):
        self.shard_folder = shard_folder
        self.plan = plan
        self.num_batches = num_batches
        self.sample_rate = sample_rate
        self.max_crop_seconds = max_crop_seconds
        self.window = window
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, on which order and crops depend; equal epochs give equal batches."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[dict]]:
        """Yields lists of `{"id": str, "sig": (T,) tensor}`, for a DataLoader's collate_fn.

        Raises
        ------
        ValueError
            If a shard or an utterance in it cannot be read, or there are fewer shards than
            processes and workers.
        """
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        quota = self.num_batches // count + (number < self.num_batches % count)
        return islice(self._batches(), quota)

    def _batches(self) -> Iterator[list[dict]]:
        for reading in itertools.count():
            utterances = read_shards(self.shard_folder, (self.seed, self.epoch, reading))
            empty = True
            while window := list(islice(utterances, self.window)):
                empty = False
                for batch in self.plan([row for row, _ in window], self.epoch):
                    yield [self._decode(*window[i]) for i in batch]
            if empty:
                raise ValueError(
                    f"{self.shard_folder}: fewer shards than processes and workers that read "
                    "them: lower num_workers, or write shards of fewer hours"
                )

    def _decode(self, row: dict, audio: bytes) -> dict:
        place = utterance_seed(self.seed, self.epoch, row["ID"])
        try:
            segment = read_segment({"wav": row["ID"], **row})
            file = io.BytesIO(audio)
            sig = read_audio(file, self.sample_rate, self.max_crop_seconds, place, segment)
        except ValueError as error:
            raise ValueError(f"{self.shard_folder}, utterance {row['ID']}: {error}") from error
        return {"id": row["ID"], "sig": sig}


@register_checkpoint_hooks
class ShardLoader(DataLoader):
    """A DataLoader of ShardBatches that SpeechBrain's Checkpointer can save.

    A run that resumes in the middle of an epoch reads up to the saved place again and
    goes on from there; SpeechBrain's own loaders cannot do this for an IterableDataset.

    Arguments
    ---------
    batches : ShardBatches
        The batches.
    **options
        Options of a DataLoader, such as `collate_fn`, `num_workers` and `generator`.
    """

    def __init__(self, batches: ShardBatches, **options: Any):
        super().__init__(batches, batch_size=None, **options)
        self.given = self.to_skip = 0
        self.waiting = Waiting()

    def __iter__(self) -> Iterator:  # type: ignore[override]  # torch's own iterators are private
        to_skip, self.to_skip = self.to_skip, 0
        for number, batch in enumerate(self.waiting.timed(super().__iter__), start=1):
            self.given = number
            if number > to_skip:
                yield batch

    @mark_as_saver
    def save(self, path: str | Path) -> None:
        """Saves the number of batches that the epoch has given."""
        Path(path).write_text(str(self.given), encoding="utf-8")

    @mark_as_loader
    def load(self, path: str | Path, end_of_epoch: bool) -> None:
        """Makes the next epoch start at the saved place, or at 0 if the saved epoch had ended."""
        self.to_skip = 0 if end_of_epoch else int(Path(path).read_text(encoding="utf-8"))
