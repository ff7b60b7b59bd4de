"""Durations from audio headers, read in parallel, and a check that decodes audio."""

import csv
import io
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from multiprocessing.pool import ThreadPool

import numpy as np
import soundfile
from tqdm import tqdm

from data_prep.common.skips import SkipRegister
from masr_modules.config.files import atomic_file
from masr_modules.data.header_worker import TRUNCATED
from masr_modules.data.headers import PADDING, AudioInfo, BrokenAudio, read_header, read_headers

#: Stands for the corpus's folder at the start of a cell of the column `wav`.
DATA_ROOT = "$data_root/"


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

    A `header` that a row has already is removed from the row and used in place of the file's. A row
    whose file is broken is left out and counted. Files of another sample rate and of several
    channels are counted and kept: the loader resamples and mixes them down. Processes read the
    headers, a progress bar shows it, and memory does not grow with the number of rows.

    Arguments
    ---------
    rows : iterable of (str, dict)
        Split and row; `wav` starts with `$data_root/`.
    data_folder : str
        Folder that `$data_root` stands for.
    skips : SkipRegister
        Counts rows that are left out, noted and kept.
    sample_rate : int
        Expected sample rate (Hz).
    num_workers : int
        Number of processes.
    total : int, optional
        Number of rows, for the progress bar.
    expand : callable, optional
        Function from split, row and header to the rows that the file gives, such as those of
        `cut_segments`; by default, the row itself.

    Yields
    ------
    (str, dict)
        Split and row, in the same order.
    """

    def path_of(item: tuple[str, dict]) -> str:
        return audio_path(item[1]["wav"], data_folder)

    results = _infos(rows, path_of, num_workers)
    for (split, row), info in tqdm(results, "audio headers", total, unit="file"):
        if not _is_utf8(row["wav"]):
            info = "file name is not UTF-8"
        if isinstance(info, str):
            skips.skip(f"audio: {info}", row["wav"].encode(errors="backslashreplace").decode())
            continue
        if info.sample_rate != sample_rate:
            skips.note(f"sample rate {info.sample_rate} Hz, resampled when read", row["wav"])
        if info.channels > 1:
            skips.note(f"{info.channels} channels, mixed down when read", row["wav"])
        skips.kept += 1
        row["duration"] = info.duration
        for made in (row,) if expand is None else expand(split, row, info):
            yield split, made


def _infos(
    rows: Iterable[tuple[str, dict]], path_of: Callable, num_workers: int
) -> Iterator[tuple[tuple[str, dict], AudioInfo | str]]:
    """Yields each item with its header, or with what is wrong with its file."""
    for known, group in groupby(rows, key=lambda item: "header" in item[1]):
        if known:
            yield from ((item, item[1].pop("header")) for item in group)
        else:
            yield from read_headers(group, path_of, num_workers)


def save_audio(audio: Mapping, path: str) -> str:
    """Writes audio that lies in a table of Hugging Face's `datasets` as a WAV file.

    Arguments
    ---------
    audio : mapping
        A cell of its feature `Audio`: the `bytes` of a file, or the `path` of one.
    path : str
        File to write; an existing one is kept.

    Returns
    -------
    str
        Path of the audio: `path`, or the one that the cell refers to.

    Raises
    ------
    ValueError
        If there is no audio in the cell, or it cannot be decoded: the message is the reason.
    """
    content = audio.get("bytes")
    if not content:
        if audio.get("path"):
            return audio["path"]
        raise ValueError("neither bytes nor a path")
    if os.path.exists(path):
        return path
    if content[:4] != b"RIFF":
        try:
            header = read_header(io.BytesIO(content))
            samples, sample_rate = soundfile.read(io.BytesIO(content), dtype="float32")
        except (BrokenAudio, soundfile.SoundFileError) as error:
            raise ValueError(f"cannot be decoded ({error})") from None
        if len(samples) / sample_rate < header.duration - PADDING:
            raise ValueError(f"cannot be decoded ({TRUNCATED})")
        save_wav(path, samples, sample_rate)
        return path
    with atomic_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content)
    return path


def save_wav(path: str, samples: np.ndarray, sample_rate: int, comment: str = "") -> None:
    """Writes a 16-bit WAV file.

    The file is composed in memory, because libsndfile reports a full disk as "System error" alone.

    Arguments
    ---------
    path : str
        The file, which appears when it is complete.
    samples : numpy.ndarray
        (T,) or (T, C) int16, or float with full scale at 1.
    sample_rate : int
        Sample rate (Hz).
    comment : str
        Comment that the header keeps.

    Raises
    ------
    OSError
        If the file cannot be written; the message names it.

    Example
    -------
    >>> path = str(getfixture("tmp_path") / "a.wav")
    >>> save_wav(path, np.zeros(8000), 16000, comment="silence")
    >>> soundfile.info(path).duration
    0.5
    """
    content = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(content, "w", sample_rate, channels, "PCM_16", format="WAV") as file:
        if comment:
            file.comment = comment
        file.write(samples)
    with atomic_file(path) as temporary, open(temporary, "wb") as target:
        target.write(content.getbuffer())


def _is_utf8(text: str) -> bool:
    """Tells whether a text can stand in a CSV; a file name may hold bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def cut_segments(row: dict, info: AudioInfo, seconds: float) -> Iterator[dict]:
    """Cuts a file into consecutive segments, as SpeechBrain's VoxCeleb recipes do.

    The remainder at the end, shorter than a segment, is dropped, so a short file gives no segment.

    Arguments
    ---------
    row : dict
        Row of the file.
    info : AudioInfo
        Its header.
    seconds : float
        Length of a segment in seconds.

    Yields
    ------
    dict
        The row of each segment: `start` and `stop` are its first sample and the one
        after its last, at the file's sample rate; the ID gets both in seconds.

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
    """Returns the path that a cell of the column `wav` stands for.

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
    """Decodes the audio files of a CSV, all or a sample, and lists those that are broken.

    A header does not show everything: that of a truncated compressed file is intact.

    Arguments
    ---------
    csv_path : str
        A CSV that a preparation wrote.
    data_folder : str
        Folder that `$data_root` stands for.
    count : int, optional
        Number of files to decode, drawn with a fixed seed; by default, all.
    num_workers : int
        Number of threads.

    Returns
    -------
    list of (str, str)
        File and reason of each that cannot be decoded in full.
    """
    with open(csv_path, encoding="utf-8", newline="") as file:
        cells = sorted({row["wav"] for row in csv.DictReader(file)})
    if count is not None and count < len(cells):
        cells = sorted(random.Random(0).sample(cells, count))
    paths = [audio_path(cell, data_folder) for cell in cells]
    with ThreadPool(num_workers) as pool:
        problems = pool.imap(_decoding_problem, paths)
        bar = tqdm(problems, f"decoding {os.path.basename(csv_path)}", len(paths), unit="file")
        return [(path, problem) for path, problem in zip(paths, bar, strict=True) if problem]


def _decoding_problem(path: str) -> str:
    """Returns what is wrong with a file; empty if it decodes to the length that its header has."""
    try:
        expected = read_header(path)
        with soundfile.SoundFile(path) as file:
            decoded = sum(len(block) for block in file.blocks(1 << 16, dtype="float32"))
    except BrokenAudio as broken:
        return str(broken)
    except (soundfile.SoundFileError, RuntimeError) as error:
        return f"cannot be decoded ({error})"
    missing = expected.duration - decoded / expected.sample_rate
    return f"{missing:.2f} s shorter than its header says" if missing > PADDING else ""
