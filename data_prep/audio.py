"""Durations from audio headers, in parallel, and the check that decodes."""

import csv
import os
import random
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

import soundfile
from tqdm import tqdm

from data_prep.skips import SkipRegister

#: What stands for the corpus's folder in the column `wav`.
DATA_ROOT = "$data_root/"

#: Rows that one task of a worker holds.
CHUNK = 64

#: WAV codings whose duration follows from the sizes: PCM, float, A-law, mu-law, extensible.
_PLAIN_CODINGS = {1, 3, 6, 7, 0xFFFE}

_CHUNK = struct.Struct("<4sI")  # name and length of a part of a WAV file
_FORM = struct.Struct("<HHIIHH")  # coding, channels, rate, bytes/s, bytes/frame, bits

Item = TypeVar("Item")
Result = TypeVar("Result")


class AudioInfo(NamedTuple):
    """What an audio file's header tells: seconds, Hz, channels."""

    duration: float
    sample_rate: int
    channels: int


class BrokenAudio(ValueError):
    """A file without usable audio; the message is the reason, without the path."""


def read_header(path: str) -> AudioInfo:
    """Reads the header of an audio file, not its samples.

    Arguments
    ---------
    path : str
        WAV (read here), or any other format that soundfile reads.

    Returns
    -------
    AudioInfo
        Duration (seconds), sample rate (Hz) and channels.

    Raises
    ------
    BrokenAudio
        If the file is missing, empty, without samples, truncated or not readable.

    Example
    -------
    >>> path = str(getfixture("tmp_path") / "a.wav")
    >>> soundfile.write(path, [0.0] * 8000, 16000)
    >>> read_header(path)
    AudioInfo(duration=0.5, sample_rate=16000, channels=1)
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        raise BrokenAudio("no such file") from None
    except OSError as error:
        raise BrokenAudio(f"cannot be opened ({error.strerror})") from None
    try:
        start, size = os.read(descriptor, 4096), os.lseek(descriptor, 0, os.SEEK_END)
    except OSError as error:
        raise BrokenAudio(f"cannot be read ({error.strerror})") from None
    finally:
        os.close(descriptor)
    if size == 0:
        raise BrokenAudio("empty file")
    return _read_wav_header(start, size) or _read_other_header(path)


def _read_wav_header(start: bytes, size: int) -> AudioInfo | None:
    """None where the file is no plain WAV."""
    if start[:4] != b"RIFF" or start[8:12] != b"WAVE":
        return None
    place, form = 12, None
    while place + 8 <= len(start):
        name, length = _CHUNK.unpack_from(start, place)
        place += 8
        if name == b"fmt " and place + 16 <= len(start):
            form = _FORM.unpack_from(start, place)
        elif name == b"data":
            break
        place += length + length % 2
    else:
        return None
    if form is None or form[0] not in _PLAIN_CODINGS or not (form[1] and form[2] and form[4]):
        return None
    _, channels, sample_rate, _, frame_bytes, _ = form
    there = size - place
    if length in (0, 0xFFFFFFFF):  # written to a pipe: the length was not known
        length = there
    if length < frame_bytes:
        raise BrokenAudio("no samples")
    if length > there:
        raise BrokenAudio("truncated: shorter than its header says")
    return AudioInfo(length // frame_bytes / sample_rate, sample_rate, channels)


def _read_other_header(path: str) -> AudioInfo:
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, RuntimeError, UnicodeError):
        raise BrokenAudio("unreadable: no audio that soundfile knows") from None
    if info.frames <= 0 or info.samplerate <= 0:
        raise BrokenAudio("no samples")
    return AudioInfo(info.frames / info.samplerate, info.samplerate, info.channels)


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], num_workers: int
) -> Iterator[tuple[Item, Result]]:
    """Applies a function in threads, in order, holding few items at a time.

    Arguments
    ---------
    function : callable
        Called with each item.
    items : iterable
        Read as results are taken: memory does not grow with their number.
    num_workers : int
        Threads; they wait for the disk side by side.

    Yields
    ------
    (item, result)
        In the items' order.

    Example
    -------
    >>> list(in_parallel(abs, iter([-1, 2]), 2))
    [(-1, 1), (2, 2)]
    """

    def work(chunk: list[Item]) -> list[tuple[Item, Result]]:
        return [(item, function(item)) for item in chunk]

    items, pending = iter(items), deque()
    with ThreadPoolExecutor(num_workers) as pool:
        while True:
            while len(pending) < 2 * num_workers and (chunk := list(islice(items, CHUNK))):
                pending.append(pool.submit(work, chunk))
            if not pending:
                return
            yield from pending.popleft().result()


def _header_or_reason(path: str) -> AudioInfo | str:
    try:
        return read_header(path)
    except BrokenAudio as broken:
        return str(broken)


def add_durations(
    rows: Iterable[tuple[str, dict]],
    data_folder: str,
    skips: SkipRegister,
    sample_rate: int = 16000,
    num_workers: int = 8,
    total: int | None = None,
    expand: Callable[[str, dict, AudioInfo], Iterable[dict]] | None = None,
) -> Iterator[tuple[str, dict]]:
    """Fills the column `duration` from the headers of the audio files.

    A row whose file is broken is left out and counted. Another sample rate and
    stereo are counted and kept: the loader resamples and mixes down. Reads in
    threads with a progress bar; memory does not grow with the number of rows.

    Arguments
    ---------
    rows : iterable of (str, dict)
        Side of the split and row; `wav` starts with `$data_root/`.
    data_folder : str
        What `$data_root` stands for.
    skips : SkipRegister
        Counts what is left out, noted and kept.
    sample_rate : int
        Expected, Hz.
    num_workers : int
        Threads.
    total : int, optional
        Number of rows, for the progress bar.
    expand : callable, optional
        Side, row and header -> the rows that the file gives, such as those of
        `cut_segments`; one by default.

    Yields
    ------
    (str, dict)
        Side and row, in the same order.
    """

    def header(item: tuple[str, dict]) -> AudioInfo | str:
        wav = item[1]["wav"]
        try:
            wav.encode()
        except UnicodeEncodeError:
            return "file name is not UTF-8"
        return _header_or_reason(audio_path(wav, data_folder))

    results = in_parallel(header, rows, num_workers)
    for (side, row), info in tqdm(results, "audio headers", total, unit="file"):
        if isinstance(info, str):
            skips.skip(f"audio: {info}", row["wav"].encode(errors="backslashreplace").decode())
            continue
        if info.sample_rate != sample_rate:
            skips.note(f"sample rate {info.sample_rate} Hz, resampled when read", row["wav"])
        if info.channels > 1:
            skips.note(f"{info.channels} channels, mixed down when read", row["wav"])
        skips.kept += 1
        row["duration"] = info.duration
        for one in (row,) if expand is None else expand(side, row, info):
            yield side, one


def cut_segments(row: dict, info: AudioInfo, seconds: float) -> Iterator[dict]:
    """Cuts a file into consecutive segments, as SpeechBrain's VoxCeleb recipes do.

    The rest at the end, shorter than a segment, is dropped: a file may give none.

    Arguments
    ---------
    row : dict
        Row of the file.
    info : AudioInfo
        Its header.
    seconds : float
        Length of a segment.

    Yields
    ------
    dict
        The row of each segment: `start` and `stop` are its first sample and the one
        after its last, at the file's rate; the ID gets both in seconds.

    Example
    -------
    >>> row = {"ID": "a", "wav": "$data_root/a.wav"}
    >>> [r["ID"] for r in cut_segments(row, AudioInfo(7.9, 16000, 1), 3.0)]
    ['a_0.0_3.0', 'a_3.0_6.0']
    """
    for number in range(int(info.duration / seconds)):
        start, stop = number * seconds, (number + 1) * seconds
        yield row | {
            "ID": f"{row['ID']}_{start}_{stop}",
            "duration": seconds,
            "start": int(start * info.sample_rate),
            "stop": int(stop * info.sample_rate),
        }


def audio_path(wav: str, data_folder: str) -> str:
    """The path that a cell of the column `wav` stands for.

    Example
    -------
    >>> audio_path("$data_root/clips/a.wav", "/corpus")
    '/corpus/clips/a.wav'
    """
    path = wav.removeprefix(DATA_ROOT)
    return path if path.startswith("/") else f"{data_folder}/{path}"


def find_undecodable(
    csv_path: str, data_folder: str, count: int | None = None, num_workers: int = 2
) -> list[tuple[str, str]]:
    """Decodes the audio of a CSV's rows, all or a sample.

    Headers do not show everything: a compressed file that is cut short has a sound one.

    Arguments
    ---------
    csv_path : str
        A CSV that a preparation wrote.
    data_folder : str
        What `$data_root` stands for.
    count : int, optional
        Size of the sample, drawn with a fixed seed; all rows by default.
    num_workers : int
        Threads.

    Returns
    -------
    list of (str, str)
        File and reason of each that cannot be decoded in full.
    """
    with open(csv_path, encoding="utf-8", newline="") as file:
        cells = sorted({row["wav"] for row in csv.DictReader(file)})
    if count is not None and count < len(cells):
        cells = sorted(random.Random(0).sample(cells, count))
    paths = (audio_path(cell, data_folder) for cell in cells)
    results = in_parallel(_decoding_problem, paths, num_workers)
    bar = tqdm(results, f"decoding {os.path.basename(csv_path)}", len(cells), unit="file")
    return [(path, problem) for path, problem in bar if problem]


def _decoding_problem(path: str) -> str:
    """Empty if the file can be decoded to the end that its header tells."""
    try:
        expected = read_header(path)
        with soundfile.SoundFile(path) as file:
            decoded = sum(len(block) for block in file.blocks(1 << 16, dtype="float32"))
    except BrokenAudio as broken:
        return str(broken)
    except (soundfile.SoundFileError, RuntimeError) as error:
        return f"cannot be decoded ({error})"
    missing = expected.duration - decoded / expected.sample_rate
    # The header of a compressed file may count the codec's padding.
    return f"{missing:.2f} s shorter than its header says" if missing > 0.1 else ""
