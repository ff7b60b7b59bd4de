"""From rows of a CSV to batches of waveforms, the same for every recipe."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torchaudio
from speechbrain.dataio import audio_io
from speechbrain.dataio.dataset import DynamicItemDataset
from torch import Tensor

from masr_modules.data.headers import PADDING, BrokenAudio, read_header
from masr_modules.data.metadata import column_of

#: Samples lie in [-1, 1], in some files of floats in that of integers of 16, 24 or 32 bits; the
#: squares of what lies beyond overflow.
MAX_SAMPLE = 2.0**31


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
        If the file cannot be decoded, is empty, ends before its header says, or holds a sample
        that is not finite or beyond `MAX_SAMPLE`.
    """
    try:
        info = read_header(path)
    except BrokenAudio as error:
        raise ValueError(f"{path}: cannot be decoded: {error}") from error
    frames, padding = (round(s * info.sample_rate) for s in (info.duration, PADDING))
    start, stop = segment
    if stop is not None and stop > frames + padding:
        raise ValueError(
            f"{path}: has {frames} samples, and stop is {stop}: start and stop count samples at "
            f"the file's own rate, {info.sample_rate} Hz"
        )
    count = min(frames if stop is None else stop, frames) - start
    if count <= 0:
        raise ValueError(f"{path}: has no samples from {start} to {stop or 'its end'}")
    if max_seconds is not None and count > int(max_seconds * info.sample_rate):
        whole, count = count, int(max_seconds * info.sample_rate)
        start += int(np.random.default_rng(seed).integers(whole - count + 1))
    try:
        if not isinstance(path, str):
            path.seek(0)
        audio, _ = audio_io.load(path, frame_offset=start, num_frames=count)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{path}: cannot be decoded: {error}") from error
    decoded = audio.shape[-1]
    if not decoded or decoded < count - padding:
        raise ValueError(
            f"{path}: truncated: gives {decoded} samples from {start} on, where its header "
            f"promises {count}"
        )
    audio = audio.mean(dim=0) if audio.dim() > 1 else audio
    peak = max(audio.max().item(), -audio.min().item())  # each is NaN where a sample is
    if not peak <= MAX_SAMPLE:
        raise ValueError(f"{path}: holds a sample of {peak}, which is no audio: record it again")
    return torchaudio.functional.resample(audio, info.sample_rate, sample_rate)


def read_segment(row: Mapping[str, Any]) -> tuple[int, int | None]:
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


@dataclass(frozen=True)
class Unreadable:
    """What stands in the place of audio that could not be read.

    Arguments
    ---------
    reason : str
        With the file's name.
    """

    reason: str


class EpochClock:
    """The epoch that crops and masks depend on; set by the recipe, read by the pipeline."""

    def __init__(self) -> None:
        self.epoch = 0


@dataclass
class _AudioPipeline:
    """See `make_dataset`; a class, for workers that are spawned get it pickled."""

    rows: Mapping[str, Mapping]
    sample_rate: int
    max_crop_seconds: float | None
    seed: int
    clock: EpochClock | None
    tolerant: bool

    def __call__(self, utterance: str, wav: str) -> Tensor | Unreadable:
        place = utterance_seed(self.seed, self.clock.epoch if self.clock else 0, utterance)
        segment = read_segment(self.rows[utterance])
        try:
            return read_audio(wav, self.sample_rate, self.max_crop_seconds, place, segment)
        except ValueError as error:
            if not self.tolerant:
                raise
            return Unreadable(str(error))


def make_dataset(
    rows: Mapping[str, Mapping],
    sample_rate: int,
    max_crop_seconds: float | None = None,
    seed: int = 0,
    clock: EpochClock | None = None,
    tolerant: bool = False,
) -> DynamicItemDataset:
    """A SpeechBrain dataset with `id` and `sig`.

    Arguments
    ---------
    rows : mapping
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
    tolerant : bool
        Whether audio that cannot be read gives an Unreadable, which a RankLoader leaves out,
        instead of an error.
    """

    pipeline = _AudioPipeline(rows, sample_rate, max_crop_seconds, seed, clock, tolerant)
    dataset = DynamicItemDataset(rows)
    dataset.add_dynamic_item(pipeline, takes=["id", "wav"], provides="sig")
    dataset.set_output_keys(["id", "sig"])
    return dataset


def length_sorted_batches(rows: Mapping[str, Mapping], max_batch_seconds: float) -> list[list[int]]:
    """Index batches for evaluation: sorted by length, so that little is padded.

    Example
    -------
    >>> rows = {"a": {"duration": 3.0}, "b": {"duration": 1.0}, "c": {"duration": 1.0}}
    >>> length_sorted_batches(rows, 3.0)
    [[1, 2], [0]]
    """
    durations = column_of(rows, "duration")
    batches: list[list[int]] = []
    for index in sorted(range(len(durations)), key=durations.__getitem__):
        if not batches or durations[index] * (len(batches[-1]) + 1) > max_batch_seconds:
            batches.append([])
        batches[-1].append(index)
    return batches
