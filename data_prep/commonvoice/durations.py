"""Durations of clips from the table that newer releases have."""

import os

from data_prep.common.skips import SkipRegister
from data_prep.common.tables import read_table
from masr_modules.data.headers import AudioInfo, BrokenAudio, read_header

#: Name of the table, in a locale's folder.
DURATIONS = "clip_durations.tsv"


def read_durations(path: str, clips: str, skips: SkipRegister) -> dict[int, int]:
    """Reads a release's table of durations.

    Arguments
    ---------
    path : str
        The table; older releases have none.
    clips : str
        Folder of the clips; a clip that is not there is left out.
    skips : SkipRegister
        Notes cells that are not durations.

    Returns
    -------
    dict of int to int
        Hash of a clip's name -> milliseconds; a hash takes less memory than the name. Empty where
        there is no table.

    Raises
    ------
    ValueError
        If a column is missing.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> table = "clip\\tduration[ms]\\na.mp3\\t4608\\nb.mp3\\t1000\\n"
    >>> _ = (folder / "t.tsv").write_text(table)
    >>> (folder / "a.mp3").touch()
    >>> list(read_durations(str(folder / "t.tsv"), str(folder), SkipRegister()).values())
    [4608]
    """
    if not os.path.isfile(path):
        return {}
    there, durations = set(os.listdir(clips)), {}
    for where, cells in read_table(path, skips, required=("clip", "duration[ms]")):
        if not cells["duration[ms]"].isdecimal() or int(cells["duration[ms]"]) == 0:
            skips.note("no duration, read from the clip", f"{where}: {cells['duration[ms]']!r}")
        elif cells["clip"] in there:
            durations[hash(cells["clip"])] = int(cells["duration[ms]"])
    return durations


def known_header(durations: dict[int, int], clip: str, clips: str) -> dict[str, AudioInfo | str]:
    """Returns a clip's header for `add_durations`, from the table, or read from the clip.

    Arguments
    ---------
    durations : dict of int to int
        Durations from `read_durations`.
    clip : str
        Name of the clip.
    clips : str
        Folder of the clips.

    Returns
    -------
    dict of str to AudioInfo or str
        `header` -> the header, or what is wrong with the clip. Empty where there is no table: then
        `add_durations` reads the headers in parallel.
    """
    if not durations:
        return {}
    milliseconds = durations.get(hash(clip))
    if milliseconds is not None:
        return {"header": AudioInfo(milliseconds / 1000, 16000, 1)}
    try:
        return {"header": read_header(os.path.join(clips, clip))}
    except BrokenAudio as broken:
        return {"header": str(broken)}
