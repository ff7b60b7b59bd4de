"""The tables of a Kaldi data directory: a key, a blank, and what belongs to it."""

import os
from dataclasses import dataclass

from masr_modules.data.csv_text import text_lines
from masr_modules.data.labels import trim_cell

#: Tables by utterance and by speaker -> column that they fill.
UTTERANCE_TABLES = {"text": "text", "utt2lang": "language"}
SPEAKER_TABLES = {"spk2gender": "gender", "spk2age": "age", "spk2lang": "language"}

#: All that is read of a directory; the rest follows from these.
TABLES = ("wav.scp", "segments", "utt2spk", *UTTERANCE_TABLES, *SPEAKER_TABLES)


@dataclass(frozen=True)
class Entry:
    """A line of a table: what stands after the key, and where."""

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
        If a key comes twice, or the table is not UTF-8 or no regular file: names file and line.

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
    """The audio file that an entry of `wav.scp` names.

    Arguments
    ---------
    entry : Entry
        Path of a file.

    Returns
    -------
    str
        The path.

    Raises
    ------
    ValueError
        If a command, standard input or an archive stands there.

    Example
    -------
    >>> audio_file(Entry("wav/a.flac", "wav.scp, line 1"))
    'wav/a.flac'
    """
    name = entry.value
    if name.endswith("|") or name.startswith("|"):
        raise ValueError(
            f"{entry.where}: {name!r} is a command, and commands out of a corpus's files are never "
            "run here: write what it prints into a file yourself, and that file's path there"
        )
    place = name.rpartition(":")[2]
    if name in ("", "-") or (place != name and place.strip("[]0123456789:,") == ""):
        raise ValueError(
            f"{entry.where}: {name!r} is no audio file but a place in a Kaldi archive, standard "
            "input or nothing: extract the audio (wav-copy), and write the file's path there"
        )
    return name
