"""Files that are written whole or not at all."""

import os
from pathlib import Path


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
        elif os.path.exists(self.temporary):
            os.remove(self.temporary)


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
