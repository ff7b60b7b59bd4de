"""Readers of the layouts in which FLEURS is distributed, all of which give the same rows.

- the Hugging Face repository: ``data/CONFIG/SPLIT.tsv``, ``data/CONFIG/audio/SPLIT.tar.gz`` or,
  unpacked, ``SPLIT/*.wav``;
- a language's own tarball, ``CONFIG.tar.gz`` or unpacked: the same without ``data/``;
- lhotse's download: ``metadata/CONFIG/SPLIT.tsv`` and ``CONFIG/SPLIT/*.wav``;
- parquet, as the hub converts it: ``CONFIG/SPLIT/*.parquet`` or ``CONFIG/SPLIT-*.parquet``.
"""

import glob
import os
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow
from pyarrow import parquet

from data_prep.common.archives import inner_path, unpack
from data_prep.common.audio import audio_path, save_audio
from data_prep.common.corpus import expect_layout
from data_prep.common.skips import SkipRegister
from data_prep.common.tables import read_table
from masr_modules.data.csv_text import open_regular

#: Columns of the tables, which have no header.
COLUMNS = ("sentence_id", "file", "raw_text", "text", "characters", "num_samples", "gender")

#: Table -> its audio: a folder, or FOLDER.tar.gz.
PLACES = {
    "data/{config}/{split}.tsv": "data/{config}/audio/{split}",
    "{config}/{split}.tsv": "{config}/audio/{split}",
    "metadata/{config}/{split}.tsv": "{config}/{split}",
}

#: Parquet tables, which hold their audio.
PARQUET = tuple(
    f"{folder}{{config}}/{files}"
    for folder in ("", "data/", "parquet-data/")
    for files in ("{split}/*.parquet", "{split}-*.parquet")
)

#: FLEURS's name of a split -> its name in parquet.
PARQUET_SPLITS = {"dev": "validation"}

#: Column of the tables -> column of parquet, and the genders that parquet has as numbers.
PARQUET_COLUMNS = {"sentence_id": "id", "raw_text": "raw_transcription", "text": "transcription"}
PARQUET_GENDERS = ("male", "female", "other")

#: Folders, relative to the data folder, in which configurations may lie.
ABOVE = ("", "data", "metadata", "parquet-data")


class Split(NamedTuple):
    """One split of one configuration, as it was found: its tables and its audio.

    Arguments
    ---------
    tables : tuple of str
        Paths of one TSV, or of the parquet files.
    audio : str
        Folder of the audio, in the form with which a cell of the column `wav` begins; empty for
        parquet.
    """

    tables: tuple[str, ...]
    audio: str


def find_names(data_folder: str) -> set[str]:
    """Lists the names of everything that may be a configuration, in any layout."""
    names = set()
    for folder in ABOVE:
        path = os.path.join(data_folder, folder)
        names |= set(os.listdir(path)) if os.path.isdir(path) else set()
    return {name.removesuffix(".tar.gz") for name in names}


def find_split(data_folder: str, save_folder: str, config: str, split: str) -> Split:
    """Finds a split in any of the layouts, and unpacks its archives.

    Arguments
    ---------
    data_folder : str
        Folder of the corpus.
    save_folder : str
        Folder of the CSVs, which takes unpacked audio where the data folder is read-only.
    config : str
        Name of a configuration, such as ``fr_fr``.
    split : str
        ``train``, ``dev`` or ``test``.

    Returns
    -------
    Split
        Its tables and audio.

    Raises
    ------
    FileNotFoundError
        If the table or the audio is not found; the message lists the places searched.
    ValueError
        If an archive is broken or unsafe.
    """
    roots = [data_folder, os.path.join(os.path.abspath(save_folder), "unpacked")]
    if os.path.isfile(os.path.join(data_folder, f"{config}.tar.gz")):
        unpack(f"{config}.tar.gz", config, data_folder, save_folder)
    for root in roots:
        for table, audio in PLACES.items():
            path = os.path.join(root, table.format(config=config, split=split))
            if os.path.isfile(path):
                audio = _audio(root, save_folder, audio.format(config=config, split=split))
                return Split((path,), audio if root == data_folder else audio_path(audio, root))
        found = _find_parquet(root, config, split)
        if found:
            return Split(found, "")
    patterns = {**dict.fromkeys(PLACES, "table of a split"), **dict.fromkeys(PARQUET, "or parquet")}
    name = PARQUET_SPLITS.get(split, split)
    expected = {
        pattern.format(config=config, split=name if what == "or parquet" else split): what
        for pattern, what in patterns.items()
    }
    expect_layout(data_folder, "FLEURS", expected, any_of=True)
    raise AssertionError("what is expected was found, and not above")


def _find_parquet(root: str, config: str, split: str) -> tuple[str, ...]:
    for pattern in PARQUET:
        inner = pattern.format(config=config, split=PARQUET_SPLITS.get(split, split))
        if found := sorted(glob.glob(os.path.join(glob.escape(root), inner))):
            return tuple(found)
    return ()


def _audio(data_folder: str, save_folder: str, inner: str) -> str:
    """Returns the folder of a split's audio, unpacked where it is packed."""
    audio = {f"{inner}.tar.gz": "audio of a split", inner: "or the same, unpacked"}
    expect_layout(data_folder, "FLEURS", audio, any_of=True)
    return unpack(f"{inner}.tar.gz", inner, data_folder, save_folder)


def read_split(
    found: Split, save_folder: str, config: str, split: str, skips: SkipRegister
) -> Iterator[tuple[str, dict[str, str]]]:
    """Reads the tables of a split.

    Arguments
    ---------
    found : Split
        The split, from `find_split`.
    save_folder : str
        Folder of the CSVs; audio that lies in parquet is written to `audio/CONFIG/SPLIT` in it.
    config, split : str
        Names of the configuration and the split.
    skips : SkipRegister
        Counts rows that are left out.

    Yields
    ------
    (str, dict of str to str)
        Place of the row, and column -> cell: those of `COLUMNS`, and `wav`.

    Raises
    ------
    ValueError
        If a table is broken or names a path outside the folder.
    """
    if found.audio:
        for where, cells in read_table(found.tables[0], skips, columns=COLUMNS):
            file = inner_path(cells["file"], where)
            yield where, cells | {"file": file, "wav": f"{found.audio}/{file}"}
        return
    folder = os.path.join(os.path.abspath(save_folder), "audio", config, split)
    for path in found.tables:
        for number, row in enumerate(_read_parquet(path)):
            where = f"{path}, row {number}"
            audio = row["audio"] or {}
            name = os.path.basename(audio.get("path") or row.get("path") or "")
            file = inner_path(name, where)
            try:
                wav = save_audio(audio, os.path.join(folder, file))
            except ValueError as error:
                skips.skip(f"audio: {error}", where)
                continue
            cells = {column: str(row[name] or "") for column, name in PARQUET_COLUMNS.items()}
            cells["sentence_id"] = str(row["id"])
            yield where, cells | {"file": file, "wav": wav, "gender": _gender(row["gender"])}


def _read_parquet(path: str) -> Iterator[dict]:
    needed = [*PARQUET_COLUMNS.values(), "audio", "gender"]
    try:
        open_regular(path).close()
        with parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if missing := [name for name in needed if name not in columns]:
                raise ValueError(
                    f"{path}: no column {', '.join(missing)} (found: {', '.join(columns)})"
                )
            columns = [*needed, *({"path"} & set(columns))]
            for batch in file.iter_batches(batch_size=64, columns=columns):
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(f"{path}: truncated or broken ({error}); fetch it again") from error


def _gender(value: int | str | None) -> str:
    if isinstance(value, int):
        return PARQUET_GENDERS[value] if 0 <= value < len(PARQUET_GENDERS) else ""
    return value or ""


def inputs_of(found: Split, data_folder: str) -> list[str]:
    """Returns the paths from which a split is read, for `fingerprint_inputs`."""
    return [*found.tables, *([audio_path(found.audio, data_folder)] if found.audio else [])]
