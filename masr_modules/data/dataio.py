"""Reading of audio and batching, from rows of a CSV to waveforms, for every recipe."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import soundfile
import torch
import torchaudio
from speechbrain.dataio.dataset import DynamicItemDataset
from torch import Tensor

from masr_modules.data.headers import PADDING, BrokenAudio, read_header
from masr_modules.data.metadata import column_of

if TYPE_CHECKING:
    from masr_modules.data.audio_cache import AudioCache

#: Largest absolute value of a sample. Samples lie in [-1, 1]; some files of floats hold the values
#: of 16-, 24- or 32-bit integers. Larger values are not audio, and their squares may overflow.
MAX_SAMPLE = 2.0**31

#: Format -> seconds that are decoded before a crop. A frame of MP3 uses bits of the frames before
#: it (0.3 s at most); without them a crop begins with noise, and libmpg123 prints a line about
#: each. With 10 s, most clips are decoded from their start, and then it prints nothing.
LEAD = {"MP3": 10.0}


def utterance_seed(seed: int, epoch: int, utterance: str) -> int:
    """Returns a seed that depends on the three arguments alone, in every process and order.

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
        Sample rate of the result, in Hz; a file with another rate is resampled.
    max_seconds : float, optional
        Length in seconds; a crop of this length is returned if the utterance is longer. Only the
        crop and the `LEAD` before it are decoded.
    seed : int
        Seed from which the start of the crop is drawn.
    segment : (int, int or None)
        Part of the file that is the utterance: first sample, and the sample after its
        last or None for the end, both at the file's own rate.

    Returns
    -------
    torch.Tensor
        (T,) samples, the mean of the channels.

    Raises
    ------
    ValueError
        If the file cannot be decoded, has no samples in the segment, ends before its header or the
        segment says, or holds a sample that is not finite or is beyond `MAX_SAMPLE`.
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
        start += crop_start(whole, count, seed)
    try:
        audio = _decode(path, start, count)
    except (RuntimeError, OSError) as error:
        raise ValueError(f"{path}: cannot be decoded: {error}") from error
    decoded = len(audio)
    if not decoded or decoded < count - padding:
        raise ValueError(
            f"{path}: truncated: it gives {decoded} samples from {start} on, and its header "
            f"promises {count}"
        )
    peak = max(audio.max().item(), -audio.min().item())  # each is NaN where a sample is
    if not peak <= MAX_SAMPLE:
        raise ValueError(f"{path}: holds a sample of {peak}, which is no audio: save it again")
    return _resampler(info.sample_rate, sample_rate)(audio)


def crop_start(whole: int, count: int, seed: int) -> int:
    """Draws the first sample of a crop of `count` out of `whole` samples.

    Example
    -------
    >>> crop_start(5, 5, seed=0)
    0
    """
    return int(np.random.default_rng(seed).integers(whole - count + 1))


def _decode(path: str | BinaryIO, start: int, count: int) -> Tensor:
    """Returns (T,) samples from `start` on, `count` at most, as the mean of the channels."""
    if not isinstance(path, str):
        path.seek(0)
    with soundfile.SoundFile(path) as file:
        lead = min(start, round(LEAD.get(file.format, 0.0) * file.samplerate))
        if start > lead:
            file.seek(start - lead)
        samples = file.read(lead + count, dtype="float32", always_2d=True)
    return torch.from_numpy(samples[lead:]).mean(dim=1)


@lru_cache(4)
def _resampler(rate: int, sample_rate: int) -> torchaudio.transforms.Resample:
    """Returns a resampler in float32; the last ones are kept, because making a filter is slow."""
    return torchaudio.transforms.Resample(rate, sample_rate, dtype=torch.float32)


def read_segment(row: Mapping[str, Any]) -> tuple[int, int | None]:
    """Returns the part of its file that is a row's utterance, as `read_audio` takes it.

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
                "empty if the file is one utterance"
            )
    return int(cells["start"] or 0), int(cells["stop"]) if cells["stop"] else None


@dataclass(frozen=True)
class Unreadable:
    """A substitute for audio that could not be read.

    Arguments
    ---------
    reason : str
        The error's message, with the file's name.
    """

    reason: str


class EpochClock:
    """The number of the epoch, which a recipe sets and on which crops and masks depend."""

    def __init__(self) -> None:
        self.epoch = 0


@dataclass
class _AudioPipeline:
    """The dynamic item of `make_dataset`; a class, because spawned workers need to pickle it."""

    rows: Mapping[str, Mapping]
    read: Callable[..., Tensor]
    max_crop_seconds: float | None
    seed: int
    clock: EpochClock | None
    tolerant: bool

    def __call__(self, utterance: str, wav: str) -> Tensor | Unreadable:
        place = utterance_seed(self.seed, self.clock.epoch if self.clock else 0, utterance)
        segment = read_segment(self.rows[utterance])
        try:
            return self.read(wav, max_seconds=self.max_crop_seconds, seed=place, segment=segment)
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
    audio_cache: "AudioCache | None" = None,
) -> DynamicItemDataset:
    """Makes a SpeechBrain dataset with `id` and `sig`, a (T,) waveform.

    Arguments
    ---------
    rows : mapping
        ID -> row, from load_csv. A row with `start` and `stop` is that part of its file (samples
        at the file's rate), as in SpeechBrain's recipes.
    sample_rate : int
        Sample rate of the waveforms, in Hz.
    max_crop_seconds : float, optional
        Length of crops. A longer utterance is cropped at a place that depends on seed, epoch and
        ID.
    seed : int
        Seed of the crops.
    clock : EpochClock, optional
        The epoch; without it the crops are the same in all epochs.
    tolerant : bool
        Whether audio that cannot be read becomes an Unreadable, which a RankLoader leaves out,
        instead of an error.
    audio_cache : AudioCache, optional
        A cache of decoded audio at this sample rate; without it files are decoded each time.

    Returns
    -------
    DynamicItemDataset
        The dataset.
    """

    read = audio_cache.read if audio_cache else partial(read_audio, sample_rate=sample_rate)
    pipeline = _AudioPipeline(rows, read, max_crop_seconds, seed, clock, tolerant)
    dataset = DynamicItemDataset(rows)
    dataset.add_dynamic_item(pipeline, takes=["id", "wav"], provides="sig")
    dataset.set_output_keys(["id", "sig"])
    return dataset


def length_sorted_batches(rows: Mapping[str, Mapping], max_batch_seconds: float) -> list[list[int]]:
    """Plans batches for evaluation, as lists of indices, sorted by length for less padding.

    A batch, padded to its longest utterance, lasts at most `max_batch_seconds`, unless it holds a
    single longer utterance.

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
