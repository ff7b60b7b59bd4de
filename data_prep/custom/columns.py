"""Translation of a user's columns and words to those of the schema."""

import os
from collections.abc import Mapping

from data_prep.common.archives import inner_path
from data_prep.common.audio import DATA_ROOT
from data_prep.common.corpus import language_cells
from data_prep.common.skips import SkipRegister
from masr_modules.data.schema import METADATA_COLUMNS, NUMERIC_COLUMNS

#: What a column of the table may hold, besides metadata.
ROLES = ("ID", "wav", "split")

GENDERS = {
    **dict.fromkeys(("f", "female", "woman", "w"), "female"),
    **dict.fromkeys(("m", "male", "man"), "male"),
    **dict.fromkeys(("other", "o", "nonbinary", "non-binary"), "other"),
}


def map_columns(header: list[str], columns: Mapping[str, str] | None, where: str) -> dict[str, str]:
    """Chooses the column of the table that fills each column of the CSVs.

    Arguments
    ---------
    header : list of str
        Columns of the table.
    columns : mapping of str to str, optional
        Column of the CSVs -> column of the table, where the names differ.
    where : str
        Path of the table, for the error.

    Returns
    -------
    dict of str to str
        Column of the CSVs, `ID`, `wav` or `split` -> column of the table.

    Raises
    ------
    ValueError
        If the table lacks a mapped column, or no column is `wav`.

    Example
    -------
    >>> map_columns(["path", "age", "x"], {"wav": "path"}, "t.csv")
    {'age': 'age', 'wav': 'path'}
    """
    names = (*ROLES, *METADATA_COLUMNS)
    mapped = {name: name for name in names if name in header} | dict(columns or {})
    missing = sorted(set(mapped.values()) - set(header))
    if missing or "wav" not in mapped:
        problem = f"no column {', '.join(missing)}" if missing else "no column wav; map it (wav=…)"
        raise ValueError(f"{where}: {problem} (found: {', '.join(header)})")
    return mapped


def make_row(
    cells: Mapping[str, str], constants: Mapping[str, str], where: str, skips: SkipRegister
) -> dict:
    """Translates the metadata of an utterance to the schema's words.

    Arguments
    ---------
    cells : mapping of str to str
        Column of the CSVs -> the user's value.
    constants : mapping of str to str
        Values for rows that have none of their own.
    where : str
        Place of the row, for notes.
    skips : SkipRegister
        Notes values that are not understood and left empty.

    Returns
    -------
    dict
        Column -> value.
    """
    row = dict(constants) | {name: cell for name, cell in cells.items() if cell}
    code = row.pop("language", "")
    try:
        row = language_cells(code) | row
    except ValueError:
        skips.note("unknown language, left empty", f"{where}: {code!r}")
        row["language_label"] = code
    for name in row.keys() & {"gender", *NUMERIC_COLUMNS}:
        understood = GENDERS.get(row[name].lower()) if name == "gender" else _number(row[name])
        if understood is None:
            skips.note(f"{name} not understood, left empty", f"{where}: {row[name]!r}")
        row[name] = understood
    return row


def _number(cell: str) -> str | None:
    try:
        return cell if abs(float(cell)) < float("inf") else None
    except ValueError:
        return None


def wav_cell(path: str, data_folder: str, save_folder: str, where: str) -> str:
    """Returns the cell of the column `wav` for an audio file.

    Arguments
    ---------
    path : str
        Path relative to the data folder, with or without a leading `$data_root/`, or absolute
        inside the data folder or the save folder's `wav`.
    data_folder : str
        Folder of the corpus.
    save_folder : str
        Folder of the CSVs.
    where : str
        Place of the path, for the error.

    Returns
    -------
    str
        `$data_root/…`; an absolute path for audio that was written under the save folder.

    Raises
    ------
    ValueError
        If the path leaves both folders.

    Example
    -------
    >>> wav_cell("clips/a.wav", "/corpus", "/csv", "t.csv, line 2")
    '$data_root/clips/a.wav'
    >>> wav_cell("$data_root/clips/a.wav", "/corpus", "/csv", "t.csv, line 2")
    '$data_root/clips/a.wav'
    """
    path = path.removeprefix(DATA_ROOT)
    written = os.path.join(os.path.abspath(save_folder), "wav", "")
    if path.startswith(written):
        return written + inner_path(path.removeprefix(written), where)
    inside = path.removeprefix(os.path.join(os.path.abspath(data_folder), ""))
    return DATA_ROOT + inner_path(inside, where)


def path_id(wav: str, save_folder: str) -> str:
    """Makes an ID of the path, with its folders, because file names may repeat among folders.

    Arguments
    ---------
    wav : str
        Cell of the column `wav`.
    save_folder : str
        Folder of the CSVs.

    Returns
    -------
    str
        The path without its root and extension, with `--` between its parts.

    Example
    -------
    >>> path_id("$data_root/clips/s1/a.wav", "/csv")
    'clips--s1--a'
    """
    written = os.path.join(os.path.abspath(save_folder), "wav", "")
    path = wav.removeprefix(DATA_ROOT).removeprefix(written)
    return os.path.splitext(path)[0].replace("/", "--")
