"""Your own corpus: a folder of audio with a table, or a Hugging Face dataset on disk.

The table is a CSV (comma, quotes enclose cells) or a TSV (tab, quotes are text) in UTF-8 with
a header and one row per utterance. Columns that have the schema's names are taken as they are;
`columns` maps others, and adds columns of your own, which a knowledge source can then read:

``python -m data_prep.custom_prepare --data_folder /corpora/mine --save_folder csv/mine``
``--table metadata.tsv --columns wav=path speaker=client_id dialect=dialect``
``--constants language=fr``

Without a table the folder is one that `datasets` wrote with `save_to_disk` (needs pyarrow).
Audio inside it is written to WAV files under `save_folder/wav`, to which the CSVs refer by
absolute paths.

`language` takes any code (`fr`, `fra`, `pt-BR`), from which family and region follow. A gender,
number or language that is not understood is noted and left empty. So are words for "not known",
such as `nan`, `N/A`, `unknown`, `-` and `?`. A word that is also a code of a language or region
(`nan`, Min Nan; `NA`, Namibia), or stands in a text, is left empty only where another column of
the table has the same word. `missing` replaces these words with the table's own, for all columns.

Splits: a column `split` (or the dataset's own splits) decides. Without it, a draw by seed divides
the speakers, so that none is in two splits; it divides sources where no speaker is known, and
utterances where no source is known either. With `split_within` they are divided within each value
of a column, such as each language, so that every language is in every split; a value with fewer
than six of them is in train alone.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping

from data_prep.common.audio import add_durations
from data_prep.common.command_line import run
from data_prep.common.skips import SkipRegister
from data_prep.common.splits import note_absent, split_groups, split_groups_within, split_of
from data_prep.common.tables import known, read_table
from data_prep.common.writing import is_prepared, write_corpus
from data_prep.custom.columns import ROLES, make_row, map_columns, path_id, wav_cell
from data_prep.custom.hugging_face import is_saved_dataset, open_splits
from masr_modules.data.labels import NOT_KNOWN, clean_label, words_for_unknown
from masr_modules.data.schema import METADATA_COLUMNS

Rows = Iterator[tuple[str, dict[str, str]]]

#: Columns whose cells are not labels, and are kept as they are.
AS_THEY_ARE = (*ROLES, "text")

#: Version of the output; raised when the same table gives other CSVs.
VERSION = 3


def open_table(path: str, skips: SkipRegister) -> Rows:
    """Reads a CSV or TSV.

    Arguments
    ---------
    path : str
        The table; a name that ends in .tsv or .txt means tabs.
    skips : SkipRegister
        Counts malformed lines.

    Yields
    ------
    (str, dict of str to str)
        Place of the row, and column -> cell.
    """
    tabs = path.endswith((".tsv", ".txt"))
    return read_table(path, skips, "\t" if tabs else ",", quoted=not tabs)


def open_dataset(folder: str, wav_folder: str | None, skips: SkipRegister) -> Rows:
    """Reads a saved dataset; its splits become the column `split`.

    Arguments
    ---------
    folder : str
        The folder that was given to `save_to_disk`.
    wav_folder : str, optional
        Folder for its audio files; without it no audio is read.
    skips : SkipRegister
        Counts broken audio.

    Yields
    ------
    (str, dict of str to str)
        Place of the row, and column -> cell, with the audio's path in `wav`.
    """
    for name, split in open_splits(folder).items():
        place = wav_folder and os.path.join(wav_folder, f"{name or 'all'}-{split.fingerprint}")
        for where, cells in split.rows(place, skips):
            cells["wav"] = cells.pop(split.audio[0], "")
            yield where, cells | ({"split": name} if name else {})


class _Corpus:
    """The user's rows, in the schema's columns, which can be read several times."""

    def __init__(
        self,
        open_rows: Callable[[bool, SkipRegister], Rows],
        columns: Mapping[str, str] | None,
        constants: Mapping[str, str],
        missing: Collection[str] | None,
        where: str,
    ):
        self.open_rows, self.constants, self.where = open_rows, constants, where
        skips = SkipRegister()
        first = next(iter(open_rows(False, skips)), None)
        if first is None:
            raise ValueError(f"{where}: no rows\n{skips.report()}".rstrip())
        self.mapped = map_columns(list(first[1]), columns, where)
        schema = {*ROLES, *METADATA_COLUMNS}
        self.extra_columns = [n for n in (*self.mapped, *constants) if n not in schema]
        self.words = NOT_KNOWN if missing is None else frozenset(missing)
        counts = self._count_words()
        self.unknown = words_for_unknown(counts) if missing is None else counts

    def _cells(self, audio: bool, skips: SkipRegister) -> Rows:
        """Yields a row's place and its cells under the schema's names, with labels normalised."""
        for where, cells in self.open_rows(audio, skips):
            yield (
                where,
                {
                    name: cells[theirs] if name in AS_THEY_ARE else clean_label(cells[theirs])
                    for name, theirs in self.mapped.items()
                },
            )

    def _count_words(self) -> dict[str, Counter[str]]:
        """Counts each column's words for "not known"."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in self.mapped}
        for _, cells in self._cells(False, SkipRegister()):
            if not self.words.isdisjoint(cells.values()):
                for name, cell in cells.items():
                    if cell in self.words:
                        counts[name][cell] += 1
        return counts

    def rows(self, audio: bool, skips: SkipRegister) -> Rows:
        """Yields a row's place and its cells, empty where they hold a word for "not known"."""
        for where, cells in self._cells(audio, skips):
            for name in cells if not self.words.isdisjoint(cells.values()) else ():
                words = self.unknown.get(name, {})
                cells[name] = known(name, cells[name], where, skips, words)
                if cells[name] in self.words and name != "text":
                    skips.note(f"{name} {cells[name]!r} is read as a code (see missing)", where)
            yield where, cells

    def group(self, cells: Mapping[str, str], where: str) -> str:
        """Returns a row's group, which may not be in two splits: speaker, source or the row."""
        for column in ("speaker", "source"):
            if value := cells.get(column) or self.constants.get(column):
                return f"{column} {value}"
        return where

    def splits(
        self,
        valid_share: float,
        test_share: float,
        seed: int,
        within: str | None,
        skips: SkipRegister,
    ) -> dict[str, str] | None:
        """Assigns groups to splits; None where the rows name their split."""
        columns = {*self.mapped, *self.constants}.difference(ROLES)
        if within is not None and within not in columns:
            there = ", ".join(sorted(columns)) or "none"
            raise ValueError(f"{self.where}: no column {within} for split_within (found: {there})")
        counts, total, given = defaultdict(Counter), 0, 0
        for where, cells in self.rows(False, SkipRegister()):
            value = (cells.get(within) or self.constants.get(within, "")) if within else ""
            counts[value][self.group(cells, where)] += 1
            total += 1
            given += bool(cells.get("split"))
        if given and within:
            raise ValueError(f"{self.where}: a column names the split: leave out split_within")
        if given == total:
            return None
        if given:
            raise ValueError(
                f"{self.where}: {total - given} of {total} rows have no value in the column split; "
                "fill them, or remove the column"
            )
        if within is None:
            return split_groups(counts[""], valid_share, test_share, seed)
        splits = split_groups_within(counts, valid_share, test_share, seed)
        note_absent(counts, splits, f"values of {within}", skips)
        return splits


def assign_rows(
    corpus: _Corpus,
    splits: dict[str, str] | None,
    name: str,
    folders: tuple[str, str],
    skips: SkipRegister,
) -> Iterator[tuple[str, dict]]:
    """Yields the split and the row of each utterance.

    Arguments
    ---------
    corpus : _Corpus
        The user's rows.
    splits : dict of str to str, optional
        Group -> split; None where the rows name their split.
    name : str
        Prefix of IDs and speakers.
    folders : (str, str)
        Data folder and save folder.
    skips : SkipRegister
        Counts rows that are left out, notes cells that are left empty.

    Yields
    ------
    (str, dict)
        Split and row, without duration.
    """
    first_split: dict[str, str] = {}
    for where, cells in corpus.rows(True, skips):
        roles = {role: cells.pop(role, "") for role in ROLES}
        if not roles["wav"]:
            skips.skip("no audio named", where)
            continue
        wav = wav_cell(roles["wav"], *folders, where)
        group = corpus.group(cells, where)
        split = split_of(roles["split"], where) if splits is None else splits[group]
        if splits is None and first_split.setdefault(group, split) != split:
            skips.note("speaker or source in two of the given splits", f"{where}: {group}")
        row = make_row(cells, corpus.constants, where, skips)
        if row.get("speaker"):
            row["speaker"] = f"{name}_{row['speaker']}"
        identity = f"{name}_{roles['ID'] or path_id(wav, folders[1])}"
        yield split, {"ID": identity, "wav": wav, **row}


def prepare_custom(
    data_folder: str,
    save_folder: str,
    table: str | None = None,
    columns: dict[str, str] | None = None,
    constants: dict[str, str] | None = None,
    missing: list[str] | None = None,
    name: str = "custom",
    valid_share: float = 0.1,
    test_share: float = 0.1,
    split_within: str | None = None,
    seed: int = 1234,
    sample_rate: int = 16000,
    num_workers: int = 8,
    skip_limit: float = 0.01,
    skip_prep: bool = False,
) -> None:
    """Prepares your own corpus.

    Arguments
    ---------
    data_folder : str
        Folder of the audio, or a dataset that `save_to_disk` wrote.
    save_folder : str
        Folder of `train.csv`, `valid.csv` and `test.csv`.
    table : str, optional
        The CSV or TSV, relative to the data folder (default: the folder is a dataset).
    columns : dict of str to str, optional
        Column of the CSVs, or `ID`, `wav`, `split` -> column of the table, where their names
        differ.
    constants : dict of str to str, optional
        Values that hold for all utterances, such as language=fr.
    missing : list of str, optional
        Words of the table for "not known", in any column (default: NOT_KNOWN of
        masr_modules/data/labels.py, such as n/a and unknown).
    name : str
        Prefix of IDs and speakers; corpora that train together need different ones.
    valid_share : float
        Approximate fraction of the utterances for validation, where no column names the split.
    test_share : float
        Approximate fraction of the utterances for the test, where no column names the split.
    split_within : str, optional
        Column, such as language, within each of whose values (as the table has them) speakers
        are divided; the fractions are then of each value's speakers.
    seed : int
        Seed of the draw of speakers.
    sample_rate : int
        Expected sample rate (Hz); audio of another is noted, and resampled when it is read.
    num_workers : int
        Processes that read audio headers.
    skip_limit : float
        Largest fraction of utterances that may be left out as broken.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    FileNotFoundError
        If the table is missing, or no table is given and the folder is not a dataset.
    ValueError
        If a column is missing, a column names the split although split_within is given, a path
        leaves the folder, the speakers cannot be divided or too many utterances are left out.

    Example
    -------
    >>> prepare_custom("/corpora/mine", "csv/mine", "meta.csv", {"wav": "path"}, skip_prep=True)
    """
    if skip_prep:
        return
    constants = constants or {}
    settings = {
        "corpus": "custom",
        "version": VERSION,
        "data_folder": os.path.abspath(data_folder),
        "table": [table, columns, constants, missing, _last_change(data_folder, table)],
        "name": name,
        "split": [valid_share, test_share, split_within, seed],
    }
    if is_prepared(save_folder, settings):
        return
    open_rows = _choose_reader(data_folder, save_folder, table)
    corpus = _Corpus(open_rows, columns, constants, missing, table or data_folder)
    skips = SkipRegister(skip_limit)
    splits = corpus.splits(valid_share, test_share, seed, split_within, skips)
    rows = assign_rows(corpus, splits, name, (data_folder, save_folder), skips)
    write_corpus(
        save_folder,
        add_durations(rows, data_folder, skips, sample_rate, num_workers),
        settings,
        skips,
        extra_columns=corpus.extra_columns,
        disjoint=[] if splits is None else [("speaker",)],
    )


def _last_change(data_folder: str, table: str | None) -> int | None:
    """Returns the modification time (ns) of the table or dataset, as such corpora grow."""
    for name in [table] if table else ["state.json", "dataset_dict.json"]:
        if os.path.isfile(path := os.path.join(data_folder, name)):
            return os.stat(path).st_mtime_ns
    return None


def _choose_reader(
    data_folder: str, save_folder: str, table: str | None
) -> Callable[[bool, SkipRegister], Rows]:
    """Returns a function that opens the rows, given whether to read audio, and a register."""
    if table is not None:
        path = os.path.join(data_folder, table)
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{path}: no such table; give its path relative to the data folder"
            )
        return lambda audio, skips: open_table(path, skips)
    if not is_saved_dataset(data_folder):
        raise FileNotFoundError(
            f"{data_folder}: has neither dataset_dict.json nor state.json, which save_to_disk of "
            "Hugging Face's datasets writes; for a folder of audio give your table (table=…)"
        )
    wav_folder = os.path.join(os.path.abspath(save_folder), "wav")
    return lambda audio, skips: open_dataset(data_folder, wav_folder if audio else None, skips)


if __name__ == "__main__":
    run(prepare_custom)
