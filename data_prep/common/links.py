"""Links among a corpus's files, which may lead to files that are no part of it."""

import os


def leads_outside(path: str, folder: str) -> bool:
    """Tells whether a path leads out of a folder, by a link in any part of it.

    Arguments
    ---------
    path : str
        The path, relative to the folder, or absolute.
    folder : str
        The folder, which may be a link itself.

    Returns
    -------
    bool
        Whether the path leads out; False also where no such file exists in the folder.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "a.wav").symlink_to("/etc/hostname")
    >>> leads_outside("a.wav", str(folder)), leads_outside("b.wav", str(folder))
    (True, False)
    """
    root = os.path.realpath(folder)
    return os.path.commonpath([root, os.path.realpath(os.path.join(root, path))]) != root
