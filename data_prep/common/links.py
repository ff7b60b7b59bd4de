"""Links among a corpus's files: what they lead to may be anybody's."""

import os


def leads_outside(path: str, folder: str) -> bool:
    """Whether a path leads out of a folder, by a link anywhere in it.

    Arguments
    ---------
    path : str
        Relative to the folder, or absolute.
    folder : str
        The folder, which may be a link itself.

    Returns
    -------
    bool
        False too where there is no such file.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "a.wav").symlink_to("/etc/hostname")
    >>> leads_outside("a.wav", str(folder)), leads_outside("b.wav", str(folder))
    (True, False)
    """
    root = os.path.realpath(folder)
    return os.path.commonpath([root, os.path.realpath(os.path.join(root, path))]) != root
