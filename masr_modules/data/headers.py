"""Reading of audio headers: duration, sample rate and channels, without the samples."""

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from typing import BinaryIO, NamedTuple, TypeVar

from masr_modules.data import header_worker

#: Seconds by which decoded audio may be shorter than its header says: headers of compressed audio
#: may count the codec's padding.
PADDING = 0.1

#: Number of files in a request to a process. The answers to two requests fit into a pipe.
CHUNK = 64

Item = TypeVar("Item")


class AudioInfo(NamedTuple):
    """An audio file's duration in seconds, sample rate in Hz, and number of channels."""

    duration: float
    sample_rate: int
    channels: int


def file_state(path: str) -> tuple[int, int]:
    """Returns a file's size and modification time, which show whether it changed; takes 2 µs.

    Returns
    -------
    (int, int)
        Bytes and nanoseconds; (-1, -1) if there is no such file.

    Example
    -------
    >>> file_state("/nowhere/a.wav")
    (-1, -1)
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns


class BrokenAudio(ValueError):
    """A file without usable audio; the message is the reason, without the path."""


def read_header(path: str | BinaryIO) -> AudioInfo:
    """Reads the header of an audio file without its samples.

    Arguments
    ---------
    path : str or binary file
        WAV, or any other format that soundfile reads.

    Returns
    -------
    AudioInfo
        Duration (seconds), sample rate (Hz) and channels.

    Raises
    ------
    BrokenAudio
        If the file is missing, no regular file, empty, without samples, truncated or unreadable.
        The message is the reason, without the path.

    Example
    -------
    >>> import soundfile
    >>> path = str(getfixture("tmp_path") / "a.wav")
    >>> soundfile.write(path, [0.0] * 8000, 16000)
    >>> read_header(path)
    AudioInfo(duration=0.5, sample_rate=16000, channels=1)
    """
    found = header_worker.header_or_reason(path)
    if isinstance(found, str):
        raise BrokenAudio(found)
    return AudioInfo(*found)


def read_headers(
    items: Iterable[Item], path_of: Callable[[Item], str], num_workers: int
) -> Iterator[tuple[Item, AudioInfo | str]]:
    """Reads headers in several processes, in order, holding few items at a time.

    Arguments
    ---------
    items : iterable
        Items, which are read as results are taken, so that memory does not grow with their number.
    path_of : callable
        Item -> path of its file.
    num_workers : int
        Largest number of processes, which wait for the disk in parallel.

    Yields
    ------
    (item, AudioInfo or str)
        Each item with its header, or the reason why the file cannot be used.

    Raises
    ------
    RuntimeError
        If a process ends before its answer.

    Example
    -------
    >>> list(read_headers(["/nowhere/b.wav"], str, num_workers=2))
    [('/nowhere/b.wav', 'no such file')]
    """
    items = iter(items)
    workers: deque[_Worker] = deque()
    pending: deque[tuple[_Worker, list[Item]]] = deque()
    with ExitStack() as stack:
        while True:
            while len(pending) < 2 * num_workers and (chunk := list(islice(items, CHUNK))):
                if len(workers) < num_workers:
                    workers.append(stack.enter_context(_Worker()))
                else:
                    workers.rotate(-1)
                workers[-1].ask([path_of(item) for item in chunk])
                pending.append((workers[-1], chunk))
            if not pending:
                return
            worker, chunk = pending.popleft()
            for item, found in zip(chunk, worker.answer(), strict=True):
                yield item, found if isinstance(found, str) else AudioInfo(*found)


class _Worker:
    """A process that runs `header_worker`; a Ctrl-C in the terminal does not reach it."""

    def __enter__(self) -> "_Worker":
        pipe = subprocess.PIPE
        command = (sys.executable, "-S", "-P", header_worker.__file__)
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, process_group=0)
        assert self.process.stdin and self.process.stdout  # both are pipes
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.asked: deque[list[str]] = deque()
        self._send(list(map(str, sys.path)))
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        with suppress(BrokenPipeError):
            self.stdin.close()
        self.stdout.close()
        self.process.wait()

    def ask(self, paths: list[str]) -> None:
        self._send(paths)
        self.asked.append(paths)

    def answer(self) -> list[tuple[float, int, int] | str]:
        """Returns the answer to the first request that has none yet."""
        paths = self.asked.popleft()
        try:
            return pickle.load(self.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise RuntimeError(
                f"a process that reads audio headers ended (exit status {self.process.wait()}) at "
                f"{paths[0]} or one of the {len(paths) - 1} files after it; run the command again, "
                "with fewer processes if memory was short"
            ) from error

    def _send(self, message: list[str]) -> None:
        with suppress(BrokenPipeError):  # it has ended, and `answer` will raise
            pickle.dump(message, self.stdin)
            self.stdin.flush()
