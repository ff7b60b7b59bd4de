"""Reads audio headers in a process of its own: the standard library, for WAV.

Reading a header is a few short calls to the system. Threads of one process hinder each other
there, for each call hands over the interpreter's lock. ``headers.py`` therefore starts this
script several times. It gets the import path and then lists of files on stdin, and writes a
list of answers for each to stdout. It imports next to nothing and starts in some hundredths of
a second; soundfile is imported at the first file that is no plain WAV. Processes of
concurrent.futures import all that the main script does: 20 000 headers took 17 s and more with
eight of them, and 1 s with these.

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

#: WAV codings whose duration follows from the sizes: PCM, float, A-law, mu-law, extensible.
_PLAIN_CODINGS = {1, 3, 6, 7, 0xFFFE}

_CHUNK = struct.Struct("<4sI")  # name and length of a part of a WAV file
_FORM = struct.Struct("<HHIIHH")  # coding, channels, rate, bytes/s, bytes/frame, bits


def header_or_reason(path: str) -> tuple[float, int, int] | str:
    """Reads the header of an audio file, not its samples.

    Arguments
    ---------
    path : str
        WAV, or any other format that soundfile reads.

    Returns
    -------
    (float, int, int) or str
        Duration (seconds), sample rate (Hz) and channels; or why the file cannot be used.
    """
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
        start = os.read(descriptor, 4096)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    finally:
        os.close(descriptor)
    if status.st_size == 0:
        return "empty file"
    return _read_wav_header(start, status.st_size) or _read_other_header(path)


def _read_wav_header(start: bytes, size: int) -> tuple[float, int, int] | str | None:
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
        return "no samples"
    if length > there:
        return "truncated: shorter than its header says"
    return length // frame_bytes / sample_rate, sample_rate, channels


def _read_other_header(path: str) -> tuple[float, int, int] | str:
    import soundfile  # here, for most processes never need it

    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, RuntimeError, UnicodeError):
        return "unreadable: no audio that soundfile knows"
    if info.frames <= 0 or info.samplerate <= 0:
        return "no samples"
    return info.frames / info.samplerate, info.samplerate, info.channels


def serve() -> None:
    """Answers until stdin ends, which it does as well where the other side is killed."""
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
