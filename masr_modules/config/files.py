"""Writing of files whole or not at all."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def errors_name(path: str | Path) -> Iterator[None]:
    """Context in which an OSError names the file and, if the disk is full, the remedy.

    Example
    -------
    >>> with errors_name("a.wav"):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    ...
    OSError: [Errno 28] No space left on device; make room and run the same command again: 'a.wav'
    """
    try:
        yield
    except OSError as error:
        _name(error, path)
        raise


def _name(error: OSError, path: str | Path) -> None:
    if error.filename is None:  # the system names no file when a write fails
        error.filename = os.fspath(path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.strerror = f"{error.strerror}; make room and run the same command again"


class atomic_file:
    """Context that yields a temporary file's name and renames that file to `path` on success.

    The temporary file is locked until the context or its process ends. `remove_dead` removes
    temporary files that are not locked: those of processes that were killed.

    Arguments
    ---------
    path : str or Path
        The final path; its folder is made if it is missing.

    Example
    -------
    >>> path = str(getfixture("tmp_path") / "folder/note.txt")
    >>> with atomic_file(path) as temporary, open(temporary, "w") as file:
    ...     _ = file.write("done")
    >>> open(path).read()
    'done'
    """

    def __init__(self, path: str | Path):
        self.path = os.fspath(path)
        self.temporary = f"{self.path}.{os.getpid()}.tmp"

    def __enter__(self) -> str:
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        self.lock = open(self.temporary, "wb")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        return self.temporary

    def __exit__(self, error_type, error, traceback) -> None:
        with self.lock:
            if error_type is None:
                os.replace(self.temporary, self.path)
            else:
                with suppress(FileNotFoundError):
                    os.remove(self.temporary)
        if isinstance(error, OSError):
            _name(error, self.path)


def remove_dead(folder: str | Path) -> None:
    """Removes the temporary files that killed processes left.

    Arguments
    ---------
    folder : str or Path
        Folder in which they wrote with `atomic_file`; its subfolders are not searched.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "runs.csv.4711.tmp").write_text("half a r")
    >>> with atomic_file(folder / "live.csv"):
    ...     remove_dead(folder)
    >>> [path.name for path in folder.iterdir()]
    ['live.csv']
    """
    for path in Path(folder).glob("*.*.tmp"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def write_atomic(path: str | Path, text: str) -> None:
    """Writes a text file whole or not at all.

    Example
    -------
    >>> path = getfixture("tmp_path") / "table.md"
    >>> write_atomic(path, "| a |")
    >>> path.read_text()
    '| a |'
    """
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # some file systems report a full disk only here
