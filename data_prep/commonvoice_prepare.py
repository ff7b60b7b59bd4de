"""Common Voice: sentences read by volunteers, many locales at once.

The folder is an unpacked release, `cv-corpus-…/LOCALE/{validated,train,dev,test}.tsv`
and `LOCALE/clips/*.mp3`, with one folder per locale. Quotes in the tables are text. Where a
release has `clip_durations.tsv`, the training set's durations come from it, because reading the
headers of a million MP3 files takes ten minutes. A delta release has no test set of its own and is
refused.

Test and validation sets are the official ones. The training set is by default everything that was
validated, less the speakers and sentences of the other two: many times the official training set,
which has each sentence once. A speaker may read in several languages, and is in one split over all
of them.

A release whose locales have `validated.tsv` alone, such as a sample, is split here: the speakers of
each locale are drawn by a seed, so that every language is in train, valid and test. A locale of
fewer than six speakers is in train alone, and is noted.

Ardila et al., "Common Voice: a massively-multilingual speech corpus", LREC 2020,
arXiv 1912.06670.

Example
-------
``python -m data_prep.commonvoice_prepare --data_folder cv-corpus --save_folder cv-csv``
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from data_prep.common.archives import inner_path
from data_prep.common.audio import add_durations
from data_prep.common.command_line import run
from data_prep.common.corpus import expect_layout, language_cells
from data_prep.common.skips import SkipRegister
from data_prep.common.splits import note_absent, split_groups_within
from data_prep.common.tables import known, read_table
from data_prep.common.writing import fingerprint_inputs, is_prepared, write_corpus
from data_prep.commonvoice.cells import AGES, GENDERS, as_set, sentence_key
from data_prep.commonvoice.durations import DURATIONS, known_header, read_durations

#: Held-out split -> its table. The training set is read last and leaves out what these hold.
TABLES = {"test": "test.tsv", "valid": "dev.tsv"}
EXTRA_COLUMNS = ("variant", "sentence_domain", "sentence_id", "age_group")

#: Version of the output; raised when the same folder gives other CSVs.
VERSION = 3


def prepare_commonvoice(
    data_folder: str,
    save_folder: str,
    languages: list[str] | None = None,
    train_from: Literal["validated", "train"] = "validated",
    valid_share: float = 0.15,
    test_share: float = 0.35,
    split_seed: int = 1234,
    skip_limit: float = 0.01,
    num_workers: int = 8,
    skip_prep: bool = False,
) -> None:
    """Writes the CSVs of Common Voice, of one locale or many.

    Arguments
    ---------
    data_folder : str
        Folder of a release, which holds a folder per locale.
    save_folder : str
        Folder of `train.csv`, `valid.csv` and `test.csv`.
    languages : list of str, optional
        Locales such as pt or zh-TW (default: all that are there).
    train_from : str
        The table of the training set: validated, or the official train. Speakers and
        sentences of dev and test are left out of either.
    valid_share : float
        Approximate fraction of each locale's speakers for validation, in a release without
        dev.tsv and test.tsv.
    test_share : float
        Approximate fraction of each locale's speakers for the test, in such a release.
    split_seed : int
        Seed of the draw of speakers in such a release.
    skip_limit : float
        Largest fraction of utterances that may be broken.
    num_workers : int
        Processes that read audio headers.
    skip_prep : bool
        If True, nothing is done.

    Raises
    ------
    FileNotFoundError
        If the folder is not laid out like Common Voice, or a locale is missing.
    ValueError
        If the folder is a delta release, the locales lack dev.tsv or test.tsv where the release
        has them, or have too few speakers to be split, a table lacks a column or names a path
        outside the folder, or too many utterances are broken.

    Example
    -------
    >>> prepare_commonvoice("cv-corpus", "cv-csv", skip_prep=True)
    """
    if skip_prep:
        return
    locales = find_locales(data_folder, languages, f"{train_from}.tsv")
    shares = None if is_split(data_folder, locales) else (valid_share, test_share, split_seed)
    tables = [*TABLES.values(), f"{train_from}.tsv", DURATIONS, "clips"]
    settings = {
        "corpus": "commonvoice",
        "version": VERSION,
        "inputs": fingerprint_inputs(
            data_folder, [f"{locale}/{name}" for locale in locales for name in tables]
        ),
        "data_folder": os.path.abspath(data_folder),
        "locales": locales,
        "train_from": train_from,
        "skip_limit": skip_limit,
    }
    if shares is not None:
        settings["split"] = shares
    if is_prepared(save_folder, settings):
        return
    skips = SkipRegister(skip_limit)
    table = f"{train_from}.tsv"
    splits = shares and divide_speakers(data_folder, locales, table, *shares, skips)
    rows = read_release(data_folder, locales, table, skips, splits)
    rows = add_durations(rows, data_folder, skips, num_workers=num_workers)
    disjoint = [("speaker",), ("language", "text")]
    write_corpus(save_folder, rows, settings, skips, EXTRA_COLUMNS, disjoint)


def find_locales(data_folder: str, languages: list[str] | None, train_table: str) -> list[str]:
    """Finds the locales to read, in alphabetical order.

    Arguments
    ---------
    data_folder : str
        Folder of the release.
    languages : list of str, optional
        Locales asked for; by default, all that are there.
    train_table : str
        Name of the table of the training set.

    Raises
    ------
    FileNotFoundError
        If there is none, or the training table or clips of one are missing.
    """
    what = "table of the training set"
    if train_table == "validated.tsv":
        what += " (--train_from train takes the official train.tsv instead)"
    layout = {f"{{}}/{train_table}": what, "{}/clips": "audio"}
    if languages is None:
        expect_layout(
            data_folder, "Common Voice", {k.format("*"): what for k, what in layout.items()}
        )
        languages = [
            entry
            for entry in os.listdir(data_folder)
            if os.path.exists(os.path.join(data_folder, entry, train_table))
        ]
    for locale in languages:
        expect_layout(
            data_folder, "Common Voice", {k.format(locale): what for k, what in layout.items()}
        )
    return sorted(set(languages))


def is_split(data_folder: str, locales: list[str]) -> bool:
    """Tells whether the release has validation and test sets of its own.

    Arguments
    ---------
    data_folder : str
        Folder of the release.
    locales : list of str
        Locales to read.

    Returns
    -------
    bool
        False where no locale of the release, read or not, has dev.tsv or test.tsv.

    Raises
    ------
    ValueError
        If the release has neither because it is a delta release, or dev.tsv or test.tsv is in none
        of the locales to read though the release has one of them.
    """

    def has(codes: list[str], table: str) -> bool:
        return any(os.path.isfile(os.path.join(data_folder, code, table)) for code in codes)

    if not any(has(os.listdir(data_folder), table) for table in TABLES.values()):
        if "delta" in os.path.basename(os.path.realpath(data_folder)).lower():
            raise ValueError(
                f"{data_folder}: no locale has test.tsv. A delta release (cv-corpus-N-delta-DATE) "
                "holds new clips alone: unpack the full release, and name its folder"
            )
        return False
    for table in TABLES.values():
        if not has(locales, table):
            raise ValueError(
                f"{data_folder}: {table} is in none of the locales {', '.join(locales)}: unpack "
                "all of the release, or name other languages besides them"
            )
    return True


def divide_speakers(
    data_folder: str,
    locales: list[str],
    table: str,
    valid_share: float,
    test_share: float,
    seed: int,
    skips: SkipRegister,
) -> dict[str, str]:
    """Divides the speakers of a release that is not split, within each locale.

    Arguments
    ---------
    data_folder : str
        Folder of the release.
    locales : list of str
        Locales to read.
    table : str
        Name of the table of their clips.
    valid_share, test_share : float
        Approximate fractions of each locale's speakers.
    seed : int
        Seed of the draw.
    skips : SkipRegister
        Notes the locales that have too few speakers.

    Returns
    -------
    dict of str to str
        Speaker -> split.

    Raises
    ------
    ValueError
        If no locale has enough speakers, a fraction is not above 0, or their sum is not below 1.
    """
    counts = {}
    for locale in locales:
        rows = _read_locale(data_folder, locale, table, SkipRegister(), evaluated=True)
        counts[locale] = Counter(row["speaker"] for _, row in rows)
    try:
        splits = split_groups_within(counts, valid_share, test_share, seed)
    except ValueError as error:
        raise ValueError(f"{data_folder}, {', '.join(locales)}: {error}") from None
    skips.note("no locale has dev.tsv or test.tsv, speakers are divided by the seed", data_folder)
    note_absent(counts, splits, "locales", skips)
    return splits


class HeldOut(NamedTuple):
    """Clips, speakers and sentences of the held-out splits that were read so far."""

    clips: set[int]
    speakers: set[str]
    sentences: set[tuple[str, str]]


def read_release(
    data_folder: str,
    locales: list[str],
    train_table: str,
    skips: SkipRegister,
    splits: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, dict[str, object]]]:
    """Reads the tables of all locales, without durations: test, then dev, then training.

    Each split leaves out the speakers and sentences of those before it.

    Arguments
    ---------
    data_folder : str
        Folder of the release.
    locales : list of str
        Locales to read.
    train_table : str
        Name of the table of the training set.
    skips : SkipRegister
        Counts rows that are left out.
    splits : mapping of str to str, optional
        Speaker -> split, if all splits are read from the training table; by default each split
        has a table of its own.

    Yields
    ------
    (str, dict)
        Split and row.
    """
    seen = HeldOut(set(), set(), set())
    for split, table in {**TABLES, "train": train_table}.items():
        evaluated, register = split != "train", skips
        if splits is not None:  # the table is read three times, but what is odd counts once
            table, register = train_table, SkipRegister() if evaluated else skips
        earlier = HeldOut(*(frozenset(values) for values in seen))
        clips: set[int] = set()
        for locale in locales:
            for where, row in _read_locale(data_folder, locale, table, register, evaluated):
                if splits is not None and splits[row["speaker"]] != split:
                    continue
                clip = hash(row["ID"])  # takes less memory than the ID, and there are millions
                sentence = (row.get("language", locale), sentence_key(row["text"]))
                if splits is None and clip in earlier.clips:
                    continue  # validated.tsv lists the clips of dev and test too
                if clip in clips or clip in earlier.clips:
                    skips.skip("clip comes twice in the table", where)
                elif row["speaker"] in earlier.speakers:
                    skips.exclude("speaker is also in dev or test", where)
                elif row["text"] and sentence in earlier.sentences:
                    skips.exclude("sentence is also in dev or test", where)
                else:
                    clips.add(clip)
                    if evaluated:
                        seen.clips.add(clip)
                        seen.speakers.add(row["speaker"])
                        seen.sentences.add(sentence)
                    yield split, row


def _read_locale(
    data_folder: str, locale: str, table: str, skips: SkipRegister, evaluated: bool
) -> Iterator[tuple[str, dict[str, object]]]:
    path = os.path.join(data_folder, locale, table)
    if not os.path.isfile(path):  # a locale with few speakers has no validation or test set
        skips.note("no such table", path)
        return
    language = _language(locale, path, skips)
    clips = os.path.join(data_folder, locale, "clips")
    durations = {}
    if not evaluated:  # evaluation sets are small, so the headers of their audio are read
        durations = read_durations(os.path.join(data_folder, locale, DURATIONS), clips, skips)
    for where, cells in read_table(path, skips, required=("client_id", "path", "sentence")):
        clip = inner_path(cells["path"], where)
        if not known("client_id", cells["client_id"], where, skips):
            skips.skip("client_id is empty", where)
            continue
        if "." not in os.path.basename(clip):
            clip += ".mp3"  # the first releases name the clip without its ending
        yield (
            where,
            {
                "ID": f"commonvoice_{locale}_{os.path.splitext(clip)[0]}",
                "wav": f"$data_root/{locale}/clips/{clip}",
                **known_header(durations, clip, clips),
                **language,
                "speaker": f"commonvoice_{cells['client_id']}",
                "gender": _known("gender", GENDERS, cells.get("gender", ""), where, skips),
                "age": _known("age", AGES, cells.get("age", ""), where, skips),
                "age_group": known("age_group", cells.get("age", ""), where, skips),
                "accent": as_set(
                    known("accent", cells.get("accents") or cells.get("accent", ""), where, skips)
                ),
                **{
                    name: as_set(known(name, cells.get(name, ""), where, skips))
                    for name in ("variant", "sentence_domain")
                },
                "sentence_id": cells.get("sentence_id", ""),
                "text": cells["sentence"],
            },
        )


def _language(locale: str, path: str, skips: SkipRegister) -> dict[str, str | None]:
    try:
        return language_cells(locale)
    except ValueError:  # a release may be newer than the registry of languages
        skips.note("locale names no known language, language left empty", path)
        return {"language_label": locale}


def _known(column: str, words: dict, cell: str, where: str, skips: SkipRegister) -> object:
    if cell and cell.lower() not in words:
        skips.note(f"{column} is not known", f"{where}: {cell!r}")
    return words.get(cell.lower(), "")


if __name__ == "__main__":
    run(prepare_commonvoice)
