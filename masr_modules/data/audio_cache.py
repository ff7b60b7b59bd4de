"""Decoded audio on disk: an utterance is decoded once and only read from then on."""

import hashlib
import logging
import os
import shutil
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from masr_modules.config.files import atomic_file, remove_dead
from masr_modules.data.dataio import crop_start, read_audio, read_segment
from masr_modules.data.headers import file_state

logger = logging.getLogger(__name__)

GIGABYTE = 1e9
#: What a sample of 1 is in 16 bits.
SCALE = 32768
#: Before the samples of an entry: their type, and a checksum of their bytes.
HEAD = struct.Struct("<3sxI")
#: Types of samples: rounded to 16 bits; as they are, where some lie outside [-1, 1).
ROUNDED, EXACT = b"<i2", b"<f4"
#: To be raised where another version would decode or store otherwise.
VERSION = 1


class AudioCache:
    """Decoded utterances, mono at one sample rate, each in a file of its own.

    Samples are rounded to 16 bits: an hour takes 115 MB at 16 kHz. That changes nothing of files
    of one channel that have 16 bits at this rate, and others by half a step at most, 1.5e-5;
    utterances with samples outside [-1, 1) are kept as 32-bit floats. A reading is the same whether
    the entry was there or not.

    An entry's name is made of all that its samples depend on: path, size and time of the audio
    file, segment and rate. One that is cut or damaged is made again. Workers, ranks and runs share
    a folder: entries take their names when they are whole.

    Arguments
    ---------
    folder : str or Path
        Of the entries; made where it is missing.
    sample_rate : int
        Of what is read, Hz.

    Example
    -------
    >>> import soundfile
    >>> folder = getfixture("tmp_path")
    >>> soundfile.write(folder / "a.wav", [0.5, 0.25], 16000)
    >>> cache = AudioCache(folder / "cache", 16000)
    >>> cache.read(str(folder / "a.wav"))
    tensor([0.5000, 0.2500])
    >>> len(list((folder / "cache").iterdir()))
    1
    """

    def __init__(self, folder: str | Path, sample_rate: int):
        self.folder, self.sample_rate = Path(folder), sample_rate
        self.folder.mkdir(parents=True, exist_ok=True)
        self.writes = True
        remove_dead(self.folder)

    def read(
        self,
        path: str,
        max_seconds: float | None = None,
        seed: int = 0,
        segment: tuple[int, int | None] = (0, None),
    ) -> Tensor:
        """As `read_audio` at the cache's rate, and raises what that does.

        The crop is taken from the whole utterance at the cache's rate: from files at another rate
        it begins within a sample of that of `read_audio`.

        Arguments
        ---------
        path : str
            The audio file.
        max_seconds : float, optional
            A longer utterance gives a crop of this length.
        seed : int
            Of the crop's place.
        segment : (int, int or None)
            Part of the file that is the utterance, in samples at the file's rate.

        Returns
        -------
        torch.Tensor
            (T,) samples.
        """
        entry = self.folder / self._name(path, segment)
        samples = _load(entry)
        if samples is None:
            samples = _compact(read_audio(path, self.sample_rate, None, 0, segment).numpy())
            self._store(entry, samples)
        count = len(samples) if max_seconds is None else int(max_seconds * self.sample_rate)
        if len(samples) > count:
            start = crop_start(len(samples), count, seed)
            samples = samples[start : start + count]
        audio = torch.from_numpy(samples.astype(np.float32))
        return audio / SCALE if samples.dtype.str.encode() == ROUNDED else audio

    def check_room(self, rows: Iterable[Mapping], max_gigabytes: float) -> None:
        """Makes sure that all these utterances will fit.

        Arguments
        ---------
        rows : iterable of mapping
            Of load_csv.
        max_gigabytes : float
            What the folder may hold at most, other entries included.

        Raises
        ------
        ValueError
            If they would take more than that, or than the disk has.
        """
        there = {path.name: file_state(str(path))[0] for path in self.folder.glob("*.pcm")}
        lacking = sum(
            HEAD.size + 2 * self.sample_rate * row["duration"]
            for row in rows
            if self._name(row["wav"], read_segment(row)) not in there
        )
        used, free = sum(there.values()), shutil.disk_usage(self.folder).free
        room = min(max_gigabytes * GIGABYTE - used, free)
        if lacking > max(0, room):
            raise ValueError(
                f"audio_cache: {lacking / GIGABYTE:.2f} GB of decoded audio would come to the "
                f"{used / GIGABYTE:.2f} GB in {self.folder}; max_audio_cache_gb is "
                f"{max_gigabytes}, and {free / GIGABYTE:.2f} GB are free: raise it, remove the "
                "folder if its entries are old, or give `audio_cache: null`"
            )

    def _name(self, path: str, segment: tuple[int, int | None]) -> str:
        depends_on = (VERSION, os.path.abspath(path), file_state(path), segment, self.sample_rate)
        # repr, for a path that is no UTF-8 cannot be encoded.
        return hashlib.sha256(repr(depends_on).encode()).hexdigest()[:32] + ".pcm"

    def _store(self, entry: Path, samples: np.ndarray) -> None:
        if not self.writes:
            return
        content = samples.tobytes()
        try:
            with atomic_file(entry) as temporary, open(temporary, "wb") as file:
                file.write(HEAD.pack(samples.dtype.str.encode(), zlib.crc32(content)) + content)
        except OSError as error:
            self.writes = False
            logger.warning(f"{self.folder}: {error}; going on without caching more audio")


def _compact(audio: np.ndarray) -> np.ndarray:
    """Rounded to 16 bits where that cuts nothing off."""
    rounded = np.round(audio * SCALE)
    if rounded.min() >= -SCALE and rounded.max() < SCALE:
        return rounded.astype(ROUNDED.decode())
    return audio.astype(EXACT.decode())


def _load(entry: Path) -> np.ndarray | None:
    """The samples of an entry; None where it is missing or damaged."""
    try:
        content = entry.read_bytes()
    except OSError:
        return None
    if len(content) <= HEAD.size:
        return None
    kind, checksum = HEAD.unpack_from(content)
    if kind not in (ROUNDED, EXACT) or zlib.crc32(memoryview(content)[HEAD.size :]) != checksum:
        return None
    return np.frombuffer(content, kind.decode(), offset=HEAD.size)
