"""The tables of a Kaldi data directory, whose lines are a key, a blank and a value."""

import os
from dataclasses import dataclass

from masr_modules.data.csv_text import text_lines
from masr_modules.data.labels import trim_cell

#: Table by utterance, or by speaker -> column that it fills.
UTTERANCE_TABLES = {"text": "text", "utt2lang": "language"}
SPEAKER_TABLES = {"spk2gender": "gender", "spk2age": "age", "spk2lang": "language"}

#: All tables that are read of a directory.
TABLES = ("wav.scp", "segments", "utt2spk", *UTTERANCE_TABLES, *SPEAKER_TABLES)


@dataclass(frozen=True)
class Entry:
    """A line of a table: the value after the key, and the line's place (`path, line N`)."""

    value: str
    where: str


def read_entries(path: str) -> dict[str, Entry]:
    """Reads a table.

    Arguments
    ---------
    path : str
        The table, in UTF-8. A BOM, CRLF, tabs and empty lines do no harm.

    Returns
    -------
    dict of str to Entry
        Key -> its entry, in the table's order.

    Raises
    ------
    ValueError
        If a key comes twice, or the table is not UTF-8 or not a regular file; the message names
        file and line.

    Example
    -------
    >>> path = getfixture("tmp_path") / "text"
    >>> _ = path.write_text("u1  A  B\\nu2\\n")
    >>> [(key, entry.value) for key, entry in read_entries(str(path)).items()]
    [('u1', 'A  B'), ('u2', '')]
    """
    entries: dict[str, Entry] = {}
    for number, line in text_lines(path):
        key, *rest = trim_cell(line).split(maxsplit=1) or [""]
        where = f"{path}, line {number}"
        if key in entries:
            raise ValueError(
                f"{where}: {key!r} comes twice (first: {entries[key].where}); keep one of them"
            )
        if key:
            entries[key] = Entry(rest[0] if rest else "", where)
    return entries


def read_optional(folder: str, name: str) -> dict[str, Entry]:
    """Reads a table that a directory may lack; see `read_entries`."""
    path = os.path.join(folder, name)
    return read_entries(path) if os.path.lexists(path) else {}


def audio_file(entry: Entry) -> str:
    """Returns the path of the audio file that an entry of `wav.scp` names.

    Arguments
    ---------
    entry : Entry
        The entry.

    Returns
    -------
    str
        The path.

    Raises
    ------
    ValueError
        If the entry is empty, or names a command, standard input or a place in an archive.

    Example
    -------
    >>> audio_file(Entry("wav/a.flac", "wav.scp, line 1"))
    'wav/a.flac'
    """
    name = entry.value
    if name.endswith("|") or name.startswith("|"):
        raise ValueError(
            f"{entry.where}: {name!r} is a command, and commands in a corpus's files are never "
            "run here: write its output to an audio file yourself, and put that file's path there"
        )
    place = name.rpartition(":")[2]
    if name in ("", "-") or (place != name and place.strip("[]0123456789:,") == ""):
        raise ValueError(
            f"{entry.where}: {name!r} is no audio file but a place in a Kaldi archive, standard "
            "input or nothing: extract the audio (wav-copy), and put the file's path there"
        )
    return name
