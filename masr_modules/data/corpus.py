"""Reading of corpora's CSVs into columns."""

import csv
import itertools
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from masr_modules.data.csv_text import read_columns
from masr_modules.data.id_index import IdIndex
from masr_modules.data.labels import (
    clean_labels,
    clean_texts,
    count_words,
    trim,
    words_for_unknown,
)
from masr_modules.data.schema import AUDIO_COLUMNS

logger = logging.getLogger(__name__)


def load_csv(path: str | Path, data_root: str | Path) -> "Rows":
    """Reads a corpus's CSV, and replaces `$data_root` at the beginning of `wav`.

    SpeechBrain's loader replaces `$name` in every column, so that a "$100" in a
    transcript raises KeyError there. Labels lose the blanks around them and get Unicode's form
    NFC. Words for "not known", such as "unknown", are read as labels, and a warning counts them.

    Arguments
    ---------
    path : str or Path
        The CSV, UTF-8, with at least the columns ID, duration and wav.
    data_root : str or Path
        The folder that `$data_root` stands for; a relative `wav` starts there too.

    Returns
    -------
    Rows
        ID -> row, in the file's order; `duration` is a float in seconds.

    Raises
    ------
    FileNotFoundError
        If there is no such CSV.
    ValueError
        If the CSV is not UTF-8, has no rows, lacks a column, has one twice, leaves a quotation
        mark open, repeats an ID or holds a duration that is not a positive number. The message
        names the file and the place.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.csv"
    >>> _ = path.write_text("ID,duration,wav,text\\na,1.5,$data_root/a.wav,costs $100\\n")
    >>> load_csv(path, "/corpus")["a"]["wav"], load_csv(path, "/corpus")["a"]["text"]
    ('/corpus/a.wav', 'costs $100')
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such CSV; run the corpus's prepare script first")
    table = read_columns(path)
    missing = [c for c in AUDIO_COLUMNS if c not in table.column_names]
    if missing:
        raise ValueError(
            f"{path}: no column {', '.join(missing)} (found: {table.column_names}); a CSV needs "
            f"{', '.join(AUDIO_COLUMNS)}"
        )
    if not len(table):
        raise ValueError(f"{path}: has a header but no rows; run the prepare script again")
    table = _with_durations(_clean(table, path), path)
    wav = _audio_paths(table["wav"], os.path.expanduser(data_root))
    rows = Rows(table.set_column(table.column_names.index("wav"), "wav", wav), str(path))
    del table, wav
    pa.default_memory_pool().release_unused()  # the reader's memory, as much as that of the rows
    return rows


def _clean(table: pa.Table, path: Path) -> pa.Table:
    """Normalises all cells, and warns of words that may mean "not known"."""
    counts: dict[str, Mapping[str, int]] = {}
    for place, name in enumerate(table.column_names):
        cells = table[name]
        if name in AUDIO_COLUMNS:
            cells = trim(cells)
            if pc.any(broken := pc.match_substring(cells, "\n")).as_py():
                row = pc.index(broken, True).as_py()
                raise ValueError(
                    f"{path}, line {_line_of(path, row)}: {name} holds a line break; close the "
                    "quotation mark, or remove the line break"
                )
        elif name == "text":
            cells = clean_texts(cells)
        else:
            cells, counts[name] = clean_labels(cells)
        table = table.set_column(place, name, cells)
    if "text" in table.column_names and any(counts.values()):
        counts["text"] = count_words(table["text"].dictionary_encode().combine_chunks())
    for name, found in words_for_unknown(counts).items():
        for word, count in found.items():
            logger.warning(
                "%s: column %s holds %r %d times, which is read as a label; if it means that "
                "nothing is known, leave the cells empty",
                *(path, name, word, count),
            )
    return table


def _line_of(path: Path, row: int) -> int:
    """Returns the number of the line on which a row ends; a cell may span lines."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        full = (cells for cells in reader if cells)
        next(itertools.islice(full, row + 1, None))
        return reader.line_num


def _with_durations(table: pa.Table, path: Path) -> pa.Table:
    ids = table["ID"]
    if pc.count_distinct(ids).as_py() < len(ids) or pc.any(pc.equal(ids, "")).as_py():
        seen: set[str] = set()
        for row, name in enumerate(ids.to_pylist()):
            if not name or name in seen:
                raise ValueError(
                    f"{path}, line {_line_of(path, row)}: ID {name!r} is empty or repeated; IDs "
                    "must be unique"
                )
            seen.add(name)
    try:
        durations = pc.cast(table["duration"], pa.float64()).to_numpy()
    except pa.ArrowInvalid:  # the slow way, to find the cell
        durations = np.array([_seconds(cell) for cell in table["duration"].to_pylist()])
    bad = ~((durations > 0) & (durations < np.inf))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"{path}, line {_line_of(path, row)}: duration of {ids[row]} is "
            f"{table['duration'][row].as_py()!r}, not a positive number of seconds, which has a "
            "decimal point"
        )
    return table.set_column(
        table.column_names.index("duration"), "duration", pa.chunked_array([durations])
    )


def _seconds(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _audio_paths(wav: pa.ChunkedArray, root: str) -> pa.ChunkedArray:
    """Replaces `$data_root` at the beginning of paths, and takes relative ones from there."""
    inside = pc.replace_substring_regex(wav, r"^(\$data_root|\$\{data_root\})(/+|$)", "")
    if not root:
        return inside
    fixed = pc.and_(pc.equal(wav, inside), pc.starts_with(wav, "/"))
    return pc.if_else(fixed, wav, pc.binary_join_element_wise(root.rstrip("/"), inside, "/"))


class Rows(Mapping):
    """ID -> row of a corpus, held in columns, since dicts of a million rows would not fit.

    It behaves as a dict of dicts; each row becomes a dict when it is read.

    Arguments
    ---------
    table : pyarrow.Table
        The rows, with a column ID.
    name : str
        File that they come from, for errors.

    Example
    -------
    >>> rows = Rows(pa.table({"ID": ["a", "b"], "language": ["fra", ""]}))
    >>> rows["b"], list(rows), rows.column("language")
    ({'language': ''}, ['a', 'b'], ['fra', ''])
    """

    def __init__(self, table: pa.Table, name: str = ""):
        self.table = table.combine_chunks()
        self.name = name
        self.names = [column for column in table.column_names if column != "ID"]
        self.places = IdIndex(self.table["ID"])

    def __getitem__(self, utterance: str) -> dict:
        i = int(self.places.find([utterance])[0])
        return {name: self.table[name][i].as_py() for name in self.names}

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, utterance: object) -> bool:
        return utterance in self.places

    def column(self, name: str) -> list:
        """Returns a column's cells in the order of the rows; all "" if there is no such column."""
        if name not in self.table.column_names:
            return [""] * len(self)
        return self.table[name].to_pylist()

    def without(self, utterances: Collection[str]) -> "Rows":
        """Returns the rows of all other utterances."""
        gone = pa.array(list(utterances), pa.string())
        keep = pc.invert(pc.is_in(self.table["ID"], gone))
        return Rows(self.table.filter(keep), self.name)


def _of_corpus(rows: Rows, corpus: Mapping) -> Rows:
    """Adds a corpus's name as a column, and drops the columns that its entry leaves out."""
    table, without = rows.table, list(corpus.get("without", []))
    if bad := [c for c in without if c in ("ID", *AUDIO_COLUMNS) or c not in table.column_names]:
        raise ValueError(
            f"{rows.name}: `without` names {', '.join(bad)}, which is no label column of this CSV"
        )
    table = table.drop_columns(without)
    if "corpus" in corpus:
        if "corpus" in table.column_names:
            raise ValueError(
                f"{rows.name}: has a column corpus already; take `corpus` out of its entry"
            )
        table = table.append_column("corpus", pa.array([str(corpus["corpus"])] * len(table)))
    return Rows(table, rows.name)


def load_corpora(source: str | Path | Sequence[Mapping[str, str]], data_root: str | Path) -> Rows:
    """Reads one CSV, or those of several corpora that train together.

    Arguments
    ---------
    source : str, Path or sequence of mapping
        A CSV, or an entry for each corpus with its `csv` and its `data_root`. An entry may also
        give its name, `corpus`, which becomes a column, and `without`: columns that are not read,
        such as the language if the recording channel reveals it.
    data_root : str or Path
        The folder that `$data_root` stands for in a single CSV.

    Returns
    -------
    Rows
        ID -> row. A column that a corpus lacks is empty in its rows.

    Raises
    ------
    FileNotFoundError
        If a CSV does not exist.
    ValueError
        If `load_csv` raises one, there is no entry, one has other keys, a CSV lacks a column of
        `without`, or an ID is in two of the CSVs. The message names the ID and both CSVs.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.csv").write_text("ID,duration,wav\\na_1,1.5,$data_root/1.wav\\n")
    >>> _ = (folder / "b.csv").write_text("ID,duration,wav\\nb_1,1.5,$data_root/1.wav\\n")
    >>> corpora = [
    ...     {"csv": folder / "a.csv", "data_root": "/a"},
    ...     {"csv": folder / "b.csv", "data_root": "/b"},
    ... ]
    >>> [row["wav"] for row in load_corpora(corpora, "").values()]
    ['/a/1.wav', '/b/1.wav']
    """
    if isinstance(source, str | Path):
        return load_csv(source, data_root)
    parts: list[Rows] = []
    for corpus in source:
        needed, allowed = {"csv", "data_root"}, {"csv", "data_root", "corpus", "without"}
        if not isinstance(corpus, Mapping) or not needed <= set(corpus) <= allowed:
            raise ValueError(
                "a corpus is {csv: ..., data_root: ...}, and may have a name (corpus) and columns "
                f"to leave out (without); got {corpus!r}"
            )
        more = _of_corpus(load_csv(corpus["csv"], corpus["data_root"]), corpus)
        for before in parts:
            for utterance in more.keys() & before.keys():
                raise ValueError(
                    f"ID {utterance!r} is in both {before.name} and {more.name}; leave it out of "
                    "one of them, or rename it"
                )
        parts.append(more)
    if not parts:
        raise ValueError("the list of corpora is empty; give at least one")
    joined = pa.concat_tables([part.table for part in parts], promote_options="default")
    for place, name in enumerate(joined.column_names):
        if joined[name].null_count:
            joined = joined.set_column(place, name, pc.fill_null(joined[name], ""))
    return Rows(joined, ", ".join(part.name for part in parts))
