"""A script that reads audio headers in a process of its own; it reads WAV without any library.

Reading a header takes a few short system calls. Threads of one process hinder each other in them,
for each call hands over the interpreter's lock. ``headers.py`` therefore starts this script in
several processes. It gets the import path and then lists of files on stdin, and writes a list of
answers for each to stdout. It imports next to nothing and starts in some hundredths of a second;
soundfile is imported at the first file that is no plain WAV. Processes of concurrent.futures
import all that the main script does: eight of them took at least 17 s for 20 000 headers, and
eight processes of this script took 1 s.

Example
-------
>>> header_or_reason("/nowhere/a.wav")
'no such file'
"""

import os
import pickle
import stat
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

#: WAV codings whose duration follows from their sizes: PCM, float, A-law, mu-law, extensible.
_PLAIN_CODINGS = {1, 3, 6, 7, 0xFFFE}

#: The reason for a file that has lost its end.
TRUNCATED = "truncated: shorter than its header says, or without an end"

#: Largest size of an Ogg page, in bytes.
_LONGEST_PAGE = 27 + 255 + 255 * 255

_CHUNK = struct.Struct("<4sI")  # name and length of a part of a WAV file
_FORM = struct.Struct("<HHIIHH")  # coding, channels, rate, bytes/s, bytes/frame, bits


def header_or_reason(path: str | BinaryIO) -> tuple[float, int, int] | str:
    """Reads the header of an audio file, and the last page of an Ogg file, without its samples.

    Arguments
    ---------
    path : str or binary file
        WAV, or any other format that soundfile reads.

    Returns
    -------
    (float, int, int) or str
        Duration (seconds), sample rate (Hz) and channels; or the reason why the file cannot be
        used.
    """
    if not isinstance(path, str):
        content = path

        def read(count: int, place: int) -> bytes:
            content.seek(place)
            return content.read(count)

        return _header(path, path.seek(0, os.SEEK_END), read)
    try:
        status = os.stat(path)  # first: a pipe waits to be opened, a device may act on it
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return "no such file"
    except ValueError:
        return "no file can have this name"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    try:
        return _header(path, status.st_size, partial(os.pread, descriptor))
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    finally:
        os.close(descriptor)


def _header(
    path: str | BinaryIO, size: int, read: Callable[[int, int], bytes]
) -> tuple[float, int, int] | str:
    """Reads a header, see `header_or_reason`; `read` takes a number of bytes and their place."""
    start = read(4096, 0)
    if size == 0:
        return "empty file"
    if start[:4] in (b"RIFF", b"RIFX") and start[8:12] == b"WAVE":
        return _read_wav_header(start, size) or _read_other_header(path)
    if start[:4] == b"OggS":
        place = max(0, size - _LONGEST_PAGE)
        problem = _ogg_problem(read(size - place, place))
    else:
        if start[:3] == b"ID3":  # an MP3 may have tags, even pictures, before its audio
            place = 10 + sum(byte << 21 - 7 * i for i, byte in enumerate(start[6:10]))
            size, start = size - place, read(4096, place)
        declared = _declared_size(start)
        problem = TRUNCATED if declared > size else ""
    return problem or _read_other_header(path)


def _declared_size(start: bytes) -> int:
    """Returns the bytes that a file should have by its beginning; 0 if that does not say."""
    if start[:4] == b"FORM":  # AIFF
        size = 8 + int.from_bytes(start[4:8], "big")
        return 0 if size >= 0xFFFFFFFF else size
    if start[:4] == b".snd":
        length = int.from_bytes(start[8:12], "big")
        return 0 if length == 0xFFFFFFFF else int.from_bytes(start[4:8], "big") + length
    if start[:4] in (b"RF64", b"riff"):  # riff is Sony's Wave64
        place, more = (20, 8) if start[:4] == b"RF64" else (16, 0)
        size = int.from_bytes(start[place : place + 8], "little") + more
        return 0 if size >= 1 << 63 else size
    for tag in (b"Xing", b"Info"):  # an MP3's: flags, number of frames, number of bytes
        place = start.find(tag, 4, 64) if start[:1] == b"\xff" else -1
        if place > 0 and start[place + 7] & 3 == 3:
            size = int.from_bytes(start[place + 12 : place + 16], "big")
            return size - size // 50  # encoders may or may not count tags at the end
    return 0


def _ogg_problem(end: bytes) -> str:
    """Returns TRUNCATED unless the last page of an Ogg file is whole and marked as the last."""
    place = end.rfind(b"OggS\0")
    parts = end[place + 26] if 0 <= place < len(end) - 26 else 0
    sizes = end[place + 27 : place + 27 + parts]
    whole = place >= 0 and len(sizes) == parts and place + 27 + parts + sum(sizes) <= len(end)
    return "" if whole and len(end) > place + 26 and end[place + 5] & 4 else TRUNCATED


def _read_wav_header(start: bytes, size: int) -> tuple[float, int, int] | str | None:
    """Returns the header of a plain WAV or the reason against it; None if the WAV is not plain."""
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
    there = size - place
    if there < length < 0xFFFFFFFF and start[:4] == b"RIFF":
        return TRUNCATED
    if (
        start[:4] != b"RIFF"
        or form is None
        or form[0] not in _PLAIN_CODINGS
        or not (form[1] and form[2] and form[4])
    ):
        return None
    _, channels, sample_rate, _, frame_bytes, _ = form
    if length in (0, 0xFFFFFFFF):  # a WAV that was written to a pipe, of unknown length
        length = there
    if length < frame_bytes:
        return "no samples"
    return length // frame_bytes / sample_rate, sample_rate, channels


def _read_other_header(path: str | BinaryIO) -> tuple[float, int, int] | str:
    import soundfile  # here, because most processes never need it

    if not isinstance(path, str):
        path.seek(0)
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, RuntimeError, UnicodeError, TypeError):  # TypeError: .raw
        return "unreadable: no audio that soundfile knows"
    if info.frames <= 0 or info.samplerate <= 0:
        return "no samples"
    return info.frames / info.samplerate, info.samplerate, info.channels


def serve() -> None:
    """Answers requests until stdin ends; stdin also ends if the process that asks is killed."""
    sys.path[:] = pickle.load(sys.stdin.buffer)
    while True:
        try:
            paths = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(list(map(header_or_reason, paths)), sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
