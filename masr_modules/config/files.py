"""Files that are written whole or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def errors_name(path: str | Path) -> Iterator[None]:
    """Context in which an error of the system names the file, and a full disk what to do.

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
    if error.filename is None:  # of a write, the system tells none
        error.filename = os.fspath(path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.strerror = f"{error.strerror}; make room and run the same command again"


class atomic_file:
    """Context that gives a temporary name and renames it to `path` on success.

    Arguments
    ---------
    path : str or Path
        The final path; its folder is made where it is missing.

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
        return self.temporary

    def __exit__(self, error_type, error, traceback) -> None:
        if error_type is None:
            os.replace(self.temporary, self.path)
            return
        if os.path.exists(self.temporary):
            os.remove(self.temporary)
        if isinstance(error, OSError):
            _name(error, self.path)


def write_atomic(path: str | Path, text: str) -> None:
    """Writes a text file whole or not at all.

    Example
    -------
    >>> path = getfixture("tmp_path") / "table.md"
    >>> write_atomic(path, "| a |")
    >>> path.read_text()
    '| a |'
    """
    with atomic_file(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
