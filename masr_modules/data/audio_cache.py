"""A cache of decoded audio on disk, so that each utterance is decoded once."""

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
#: The 16-bit value of a sample of 1.
SCALE = 32768
#: Header of an entry: the type of its samples, and a checksum of their bytes.
HEAD = struct.Struct("<3sxI")
#: Types of samples: rounded to 16 bits, or exact if some lie outside [-1, 1).
ROUNDED, EXACT = b"<i2", b"<f4"
#: Version of the entries; it has to be raised when audio is decoded or stored differently.
VERSION = 1


class AudioCache:
    """A folder of decoded utterances, mono at one sample rate, each in a file of its own.

    Samples are rounded to 16 bits: an hour takes 115 MB at 16 kHz. Rounding does not change 16-bit
    files of one channel at this rate; it changes other samples by at most half a step, 1.5e-5.
    Utterances with samples outside [-1, 1) are kept as 32-bit floats. `read` returns the same
    samples whether or not the entry existed before.

    The name of an entry is a hash of all that its samples depend on: path, size and modification
    time of the audio file, segment and sample rate. A truncated or damaged entry is made again.
    Workers, ranks and runs can share a folder: an entry gets its name when it is complete.

    Arguments
    ---------
    folder : str or Path
        Folder of the entries; made if it is missing.
    sample_rate : int
        Sample rate of the entries, in Hz.

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
        """Reads an utterance, or a crop of it, as `read_audio` does.

        The crop is cut from the whole utterance at the cache's rate. If the file has another rate,
        it starts within a sample of where `read_audio` starts it.

        Arguments
        ---------
        path : str
            The audio file.
        max_seconds : float, optional
            Length in seconds; a crop of this length is returned if the utterance is longer.
        seed : int
            Seed from which the start of the crop is drawn.
        segment : (int, int or None)
            Part of the file that is the utterance, in samples at the file's rate.

        Returns
        -------
        torch.Tensor
            (T,) samples.

        Raises
        ------
        ValueError
            As `read_audio` does.
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
        """Checks that the folder has room for all these utterances.

        Arguments
        ---------
        rows : iterable of mapping
            Rows from load_csv.
        max_gigabytes : float
            Limit of the folder's size, with the entries that it holds already.

        Raises
        ------
        ValueError
            If the utterances would exceed this limit or the free space of the disk.
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
                f"audio_cache: {lacking / GIGABYTE:.2f} GB of decoded audio would be added to the "
                f"{used / GIGABYTE:.2f} GB in {self.folder}; max_audio_cache_gb is "
                f"{max_gigabytes}, and {free / GIGABYTE:.2f} GB are free: raise it, remove the "
                "folder if its entries are old, or give `audio_cache: null`"
            )

    def _name(self, path: str, segment: tuple[int, int | None]) -> str:
        depends_on = (VERSION, os.path.abspath(path), file_state(path), segment, self.sample_rate)
        # repr, because a path that is not UTF-8 cannot be encoded.
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
    """Rounds samples to 16 bits, unless some lie outside their range."""
    rounded = np.round(audio * SCALE)
    if rounded.min() >= -SCALE and rounded.max() < SCALE:
        return rounded.astype(ROUNDED.decode())
    return audio.astype(EXACT.decode())


def _load(entry: Path) -> np.ndarray | None:
    """Returns the samples of an entry; None if it is missing or damaged."""
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
