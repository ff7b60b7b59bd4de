"""From CSV rows to batches of waveforms, the same for every recipe."""

import csv
import logging
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torchaudio
from speechbrain.dataio import audio_io
from speechbrain.dataio.dataset import DynamicItemDataset
from torch import Tensor

from masr_modules.data.metadata import AUDIO_COLUMNS

logger = logging.getLogger(__name__)


def load_csv(path: str | Path, data_root: str | Path) -> dict[str, dict[str, str]]:
    """Reads a corpus CSV; substitutes `$data_root` in `wav` and nowhere else.

    SpeechBrain's loader substitutes `$name` in every column, so a "$100" in a
    transcript raises KeyError there.

    Arguments
    ---------
    path : str or Path
        The CSV, UTF-8, with at least the columns ID, duration and wav.
    data_root : str or Path
        What `$data_root` stands for; a relative `wav` is taken from here too.

    Returns
    -------
    dict[str, dict[str, str]]
        ID -> row, in the file's order; `duration` is a float in seconds.

    Raises
    ------
    FileNotFoundError
        If there is no such CSV.
    ValueError
        If the CSV has no rows, lacks a column, repeats an ID or holds a
        duration that is not a positive number: names file and line.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.csv"
    >>> _ = path.write_text("ID,duration,wav,text\\na,1.5,$data_root/a.wav,costs $100\\n")
    >>> load_csv(path, "/corpus")["a"]["wav"], load_csv(path, "/corpus")["a"]["text"]
    ('/corpus/a.wav', 'costs $100')
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such CSV; run the corpus's prepare script first")
    rows: dict[str, dict[str, str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [c for c in AUDIO_COLUMNS if c not in (reader.fieldnames or [])]
        if missing:
            raise ValueError(
                f"{path}: no column {', '.join(missing)} (found: {reader.fieldnames}); a CSV needs "
                f"{', '.join(AUDIO_COLUMNS)}"
            )
        for row in reader:
            _check_row(row, rows, f"{path}, line {reader.line_num}")
            row["wav"] = _audio_path(row["wav"], Path(data_root))
            rows[row.pop("ID")] = row
    if not rows:
        raise ValueError(f"{path}: has a header but no rows; run the prepare script again")
    return rows


def _check_row(row: dict, rows: dict, where: str) -> None:
    if None in row or None in row.values():
        raise ValueError(f"{where}: the row's number of cells differs from the header's")
    if not row["ID"] or row["ID"] in rows:
        raise ValueError(f"{where}: ID {row['ID']!r} is empty or repeated; IDs must be unique")
    try:
        row["duration"] = float(row["duration"])
    except ValueError:
        row["duration"] = float("nan")
    if not 0 < row["duration"] < float("inf"):
        raise ValueError(f"{where}: duration of {row['ID']} is not a positive number of seconds")


def _audio_path(wav: str, data_root: Path) -> str:
    wav = wav.replace("${data_root}", str(data_root)).replace("$data_root", str(data_root))
    return wav if Path(wav).is_absolute() or str(data_root) in wav else str(data_root / wav)


def drop_unreadable(
    rows: dict[str, dict[str, str]], limit: float = 0.01, num_workers: int = 8
) -> dict[str, dict[str, str]]:
    """Leaves out rows whose audio file is missing or has no readable header.

    Reads headers only, in threads. Each dropped row is logged by ID and file.

    Arguments
    ---------
    rows : dict
        From load_csv.
    limit : float
        Largest share of rows that may be dropped.
    num_workers : int
        Threads.

    Returns
    -------
    dict
        The readable rows.

    Raises
    ------
    ValueError
        If more than `limit` of the rows are unreadable.
    """
    with ThreadPoolExecutor(num_workers) as pool:
        problems = list(pool.map(_problem, (row["wav"] for row in rows.values())))
    broken = {i: p for i, p in zip(rows, problems, strict=True) if p}
    for utterance, problem in list(broken.items())[:20]:
        logger.warning("left out %s: %s: %s", utterance, rows[utterance]["wav"], problem)
    if not broken:
        return rows
    first = next(iter(broken))
    summary = (
        f"{len(broken)} of {len(rows)} audio files are missing or unreadable "
        f"(first: {first}: {rows[first]['wav']}: {broken[first]})"
    )
    if len(broken) > limit * len(rows):
        raise ValueError(
            f"{summary}, more than the limit of {limit:.1%}: check data_folder, run the prepare "
            "script again, or raise max_unreadable"
        )
    logger.warning("%s; going on without them (max_unreadable is %.1f%%)", summary, 100 * limit)
    return {i: row for i, row in rows.items() if i not in broken}


def _problem(wav: str) -> str:
    if not Path(wav).is_file():
        return "no such file"
    try:
        return "" if soundfile.info(wav).frames > 0 else "no samples"
    except soundfile.SoundFileError as error:
        return f"unreadable ({error})"


def load_corpora(
    source: str | Path | Sequence[Mapping[str, str]], data_root: str | Path
) -> dict[str, dict[str, str]]:
    """Reads one CSV, or those of several corpora that train together.

    Arguments
    ---------
    source : str, Path or sequence of mapping
        A CSV, or for each corpus its `csv` and its `data_root`.
    data_root : str or Path
        What `$data_root` stands for in a single CSV.

    Returns
    -------
    dict[str, dict[str, str]]
        ID -> row. A column that a corpus lacks is missing in its rows.

    Raises
    ------
    ValueError
        If an entry has other keys, or an ID is in two of the CSVs: names it and both.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.csv").write_text("ID,duration,wav\\na_1,1.5,$data_root/1.wav\\n")
    >>> _ = (folder / "b.csv").write_text("ID,duration,wav\\nb_1,1.5,$data_root/1.wav\\n")
    >>> corpora = [
    ...     {"csv": folder / "a.csv", "data_root": "/a"},
    ...     {"csv": folder / "b.csv", "data_root": "/b"},
    ... ]
    >>> [row["wav"] for row in load_corpora(corpora, "").values()]
    ['/a/1.wav', '/b/1.wav']
    """
    if isinstance(source, str | Path):
        return load_csv(source, data_root)
    rows: dict[str, dict[str, str]] = {}
    csv_of: dict[str, str] = {}
    for corpus in source:
        if not isinstance(corpus, Mapping) or set(corpus) != {"csv", "data_root"}:
            raise ValueError(f"a corpus is {{csv: ..., data_root: ...}}, got {corpus!r}")
        more = load_csv(corpus["csv"], corpus["data_root"])
        for utterance in more.keys() & rows.keys():
            raise ValueError(f"ID {utterance!r} is in both {csv_of[utterance]} and {corpus['csv']}")
        rows |= more
        csv_of |= dict.fromkeys(more, str(corpus["csv"]))
    if not rows:
        raise ValueError("the list of corpora is empty")
    return rows


def utterance_seed(seed: int, epoch: int, utterance: str) -> int:
    """A number that depends on all three alone: the same in every process and order.

    Example
    -------
    >>> utterance_seed(1, 2, "a") == utterance_seed(1, 2, "a") != utterance_seed(1, 3, "a")
    True
    """
    return zlib.crc32(f"{seed}/{epoch}/{utterance}".encode())


def read_audio(
    path: str | BinaryIO,
    sample_rate: int,
    max_seconds: float | None,
    seed: int,
    segment: tuple[int, int | None] = (0, None),
) -> Tensor:
    """Reads a file, or a crop of it, as mono at the wanted sample rate.

    Arguments
    ---------
    path : str or binary file
        Any format that soundfile reads, at any sample rate.
    sample_rate : int
        Of the result, Hz; a file with another rate is resampled.
    max_seconds : float, optional
        A longer file gives a crop of this length; only the crop is read.
    seed : int
        Of the crop's place.
    segment : (int, int or None)
        Part of the file that is the utterance: first sample, and the sample after its
        last or None for the end. They count at the file's own rate.

    Returns
    -------
    torch.Tensor
        (T,) samples, the mean of the channels.

    Raises
    ------
    ValueError
        If the file cannot be decoded or is empty.
    """
    try:
        info = audio_io.info(path)
        if not isinstance(path, str):
            path.seek(0)
        start, stop = segment
        count = min(info.num_frames if stop is None else stop, info.num_frames) - start
        if count <= 0:
            raise ValueError(f"{path}: has no samples from {start} to {stop or 'its end'}")
        if max_seconds is not None and count > int(max_seconds * info.sample_rate):
            whole, count = count, int(max_seconds * info.sample_rate)
            start += int(np.random.default_rng(seed).integers(whole - count + 1))
        audio, _ = audio_io.load(path, frame_offset=start, num_frames=count)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{path}: cannot be decoded: {error}") from error
    if audio.numel() == 0:
        raise ValueError(f"{path}: has no samples")
    audio = audio.mean(dim=0) if audio.dim() > 1 else audio
    return torchaudio.functional.resample(audio, info.sample_rate, sample_rate)


def read_segment(row: Mapping[str, str]) -> tuple[int, int | None]:
    """The part of its file that a row stands for, see `read_audio`.

    Raises
    ------
    ValueError
        If `start` or `stop` is neither empty nor a number of samples.

    Example
    -------
    >>> read_segment({"start": "48000", "stop": "96000"}), read_segment({"start": "", "stop": ""})
    ((48000, 96000), (0, None))
    """
    cells = {name: row.get(name) or "" for name in ("start", "stop")}
    for name, cell in cells.items():
        if cell and not cell.isdecimal():
            raise ValueError(
                f"{row['wav']}: {name} {cell!r} is no number of samples; leave start and stop "
                "empty where the file is one utterance"
            )
    return int(cells["start"] or 0), int(cells["stop"]) if cells["stop"] else None


class EpochClock:
    """The epoch that crops and masks depend on; set by the recipe, read by the pipeline."""

    def __init__(self) -> None:
        self.epoch = 0


def make_dataset(
    rows: dict[str, dict[str, str]],
    sample_rate: int,
    max_crop_seconds: float | None = None,
    seed: int = 0,
    clock: EpochClock | None = None,
) -> DynamicItemDataset:
    """A SpeechBrain dataset with `id` and `sig`.

    Arguments
    ---------
    rows : dict
        From load_csv. Where a row has `start` and `stop`, it is
        that part of its file (samples at the file's rate), as in SpeechBrain's recipes.
    sample_rate : int
        Hz.
    max_crop_seconds : float, optional
        Longer utterances give a crop, at a place that depends on seed, epoch and ID.
    seed : int
        Of the crops.
    clock : EpochClock, optional
        Tells the epoch; without it the crops stay the same.
    """

    def audio_pipeline(utterance: str, wav: str) -> Tensor:
        epoch = clock.epoch if clock else 0
        place = utterance_seed(seed, epoch, utterance)
        segment = read_segment(rows[utterance])
        return read_audio(wav, sample_rate, max_crop_seconds, place, segment)

    dataset = DynamicItemDataset(rows)
    dataset.add_dynamic_item(audio_pipeline, takes=["id", "wav"], provides="sig")
    dataset.set_output_keys(["id", "sig"])
    return dataset


def length_sorted_batches(rows: dict[str, dict], max_batch_seconds: float) -> list[list[int]]:
    """Index batches for evaluation: sorted by length, so that little is padded.

    Example
    -------
    >>> rows = {"a": {"duration": 3.0}, "b": {"duration": 1.0}, "c": {"duration": 1.0}}
    >>> length_sorted_batches(rows, 3.0)
    [[1, 2], [0]]
    """
    durations = [row["duration"] for row in rows.values()]
    batches: list[list[int]] = []
    for index in sorted(range(len(durations)), key=durations.__getitem__):
        if not batches or durations[index] * (len(batches[-1]) + 1) > max_batch_seconds:
            batches.append([])
        batches[-1].append(index)
    return batches
