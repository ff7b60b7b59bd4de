"""From rows to the CSVs of a corpus, with checks and a summary."""

import csv
import hashlib
import json
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice

from data_prep.common.checks import EMPTY, Disjoint, UniqueIDs
from data_prep.common.corpus import SPLITS
from data_prep.common.skips import SkipRegister
from masr_modules.config.files import atomic_file
from masr_modules.data.csv_text import open_regular
from masr_modules.data.schema import AUDIO_COLUMNS, METADATA_COLUMNS

logger = logging.getLogger(__name__)

#: Name of the file, written last, that records the settings with which the CSVs were made.
SETTINGS_FILE = "prepare_settings.json"

#: Number of rows that are checked, counted and written at once.
CHUNK = 512


class _SplitWriter:
    """A writer of one split's CSV, under a temporary name, that counts what it writes."""

    def __init__(self, path: str, columns: Sequence[str]):
        self.path, self.count, self.seconds = path, 0, 0.0
        self.empty: Counter[str] = Counter()  # column -> its empty cells
        self.speakers: set[str] = set()
        self.languages: set[str] = set()
        self.columns = columns
        self.destination = atomic_file(path)

    def __enter__(self) -> "_SplitWriter":
        temporary = self.destination.__enter__()
        self.file = open(temporary, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self.writer = csv.writer(self.file, lineterminator="\n")
        self.writer.writerow(self.columns)
        return self

    def __exit__(self, *error) -> None:
        self.file.close()
        self.destination.__exit__(*error)

    def write(self, rows: Sequence[Mapping[str, object]]) -> None:
        unknown = set().union(*rows).difference(self.columns)
        if unknown:
            raise ValueError(f"{self.path}: columns {sorted(unknown)} are not in extra_columns")
        table = [list(map(row.get, self.columns)) for row in rows]
        cells = dict(zip(self.columns, zip(*table, strict=True), strict=True))
        empty = {column: there.count(None) + there.count("") for column, there in cells.items()}
        if any(map(empty.get, AUDIO_COLUMNS)):
            audio = zip(*map(cells.get, AUDIO_COLUMNS), strict=True)
            number = next(n for n, row in enumerate(audio, 2) if not EMPTY.isdisjoint(row))
            raise ValueError(
                f"{self.path}, row {self.count + number}: no value in one of "
                f"{', '.join(AUDIO_COLUMNS)}"
            )
        self.writer.writerows(table)
        self.count += len(table)
        self.seconds += sum(map(float, cells["duration"]))
        self.empty.update(empty)
        self.speakers.update(cells["speaker"])
        self.languages.update(cells["language"])

    def rows(self) -> Iterator[dict[str, str]]:
        """Reads the rows that were written so far."""
        self.file.flush()
        with open(self.file.name, encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)

    def line(self, name: str) -> str:
        """Returns the split's line in the summary."""
        speakers = len(self.speakers - {None, ""})
        languages = len(self.languages - {None, ""})
        hours = self.seconds / 3600
        return f"{name:<8}{hours:>8.3f}{self.count:>12}{speakers:>10}{languages:>11}"

    def coverage(self, name: str) -> str:
        """Returns, for each column that has values, the percentage of utterances with one."""
        known = {column: self.count - self.empty[column] for column in self.columns}
        shares = [
            f"{column} {100 * count / self.count:.0f} %"
            for column, count in known.items()
            if count and column not in AUDIO_COLUMNS
        ]
        return f"known in {name}: {', '.join(shares) or 'nothing'}"


def _by_split(rows: Iterable[tuple[str, Mapping]]) -> dict[str, list[Mapping]]:
    """Groups rows by split, in the rows' order."""
    splits: dict[str, list[Mapping]] = {}
    for split, row in rows:
        splits.setdefault(split, []).append(row)
    return splits


def fingerprint_inputs(folder: str, paths: Iterable[str]) -> str:
    """Returns a digest of what a preparation reads, which changes when the input does.

    It covers the size and modification time of each file, and the modification time of each
    folder, which changes when an entry is added or removed.

    Arguments
    ---------
    folder : str
        Folder of the corpus.
    paths : iterable of str
        Tables, archives and folders in it; missing ones are ignored.

    Returns
    -------
    str
        Twelve hexadecimal digits.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> before = fingerprint_inputs(str(folder), ["dev", "train.tsv"])
    >>> (folder / "dev").mkdir()
    >>> before == fingerprint_inputs(str(folder), ["dev", "train.tsv"])
    False
    """
    digest = hashlib.sha256()
    for path in sorted(set(paths)):
        try:
            there = os.stat(os.path.join(folder, path))
        except OSError:
            continue
        size = None if stat.S_ISDIR(there.st_mode) else there.st_size
        digest.update(repr((path, size, there.st_mtime_ns)).encode(errors="surrogateescape"))
    return digest.hexdigest()[:12]


def is_prepared(save_folder: str, settings: Mapping, splits: Sequence[str] = SPLITS) -> bool:
    """Tells whether the CSVs are there and were made with these settings; logs what differs.

    Arguments
    ---------
    save_folder : str
        Folder of the CSVs.
    settings : mapping
        Everything that the result depends on, as `write_corpus` gets it: the options, `version`
        of the preparation, and `inputs` from `fingerprint_inputs`.
    splits : sequence of str
        Names of the CSVs.

    Returns
    -------
    bool
        True if there is nothing to do.
    """
    path = os.path.join(save_folder, SETTINGS_FILE)
    try:
        with open_regular(path) as file:
            saved = json.load(file)
    except (OSError, ValueError):
        return False
    settings = json.loads(json.dumps(settings))
    changed = sorted(k for k in {*saved, *settings} if saved.get(k) != settings.get(k))
    if changed:
        logger.info(
            "%s: prepared again, because these settings changed: %s",
            save_folder,
            ", ".join(changed),
        )
        return False
    if not all(os.path.exists(os.path.join(save_folder, f"{split}.csv")) for split in splits):
        return False
    logger.info("prepared already: %s (delete %s to prepare it again)", save_folder, path)
    return True


def write_corpus(
    save_folder: str,
    rows: Iterable[tuple[str, Mapping[str, object]]],
    settings: Mapping,
    skips: SkipRegister | None = None,
    extra_columns: Sequence[str] = (),
    disjoint: Sequence[tuple[str, ...]] = (),
    splits: Sequence[str] = SPLITS,
) -> str:
    """Writes the CSVs of a corpus, all or none, and logs their summary.

    Rows are written as they come, some at a time; the files take their names when all are
    complete and every check has passed. The settings are written last, so that an
    interrupted run is not taken for a complete one.

    Arguments
    ---------
    save_folder : str
        Folder of the CSVs.
    rows : iterable of (str, mapping)
        Split and row: column -> value. A value that is missing or None becomes an empty cell.
    settings : mapping
        Everything that the result depends on (JSON); see `is_prepared`.
    skips : SkipRegister, optional
        The register of what was left out, which is checked against its limit and logged.
    extra_columns : sequence of str
        Columns beyond the schema.
    disjoint : sequence of tuple of str
        Columns whose values may not be in two splits; see `check_disjoint`.
    splits : sequence of str
        Names of the CSVs.

    Returns
    -------
    str
        The summary: hours, utterances, speakers, languages, and the fraction of
        utterances for which each metadata column is known.

    Raises
    ------
    ValueError
        If a row lacks one of ID, duration and wav or has an unknown column, an ID comes twice, or
        too much is left out.
    AssertionError
        If the splits are not disjoint.

    Example
    -------
    >>> folder = str(getfixture("tmp_path"))
    >>> row = {"ID": "a", "wav": "$data_root/a.wav", "duration": 3600, "speaker": "s1"}
    >>> print(write_corpus(folder, [("train", row)], {"seed": 1}))
    split      hours  utterances  speakers  languages
    train      1.000           1         1          0
    valid      0.000           0         0          0
    test       0.000           0         0          0
    known in train: speaker 100 %
    >>> is_prepared(folder, {"seed": 1}), is_prepared(folder, {"seed": 2})
    (True, False)
    """
    columns = list(dict.fromkeys([*AUDIO_COLUMNS, *METADATA_COLUMNS, *extra_columns]))
    checks = [Disjoint(names) for names in disjoint]
    identities = UniqueIDs()
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(
                _SplitWriter(os.path.join(save_folder, f"{split}.csv"), columns)
            )
            for split in splits
        }
        rows = iter(rows)
        while chunk := list(islice(rows, CHUNK)):
            for split, members in _by_split(chunk).items():
                for check in checks:
                    check.see(split, members)
                writers[split].write(members)
                identities.see(members)
        identities.check({writer.path: writer.rows for writer in writers.values()})
        for check in checks:
            check.check(lambda split: writers[split].rows())
        if skips is not None:
            skips.check()
        settings_path = os.path.join(save_folder, SETTINGS_FILE)
        if os.path.exists(settings_path):
            os.remove(settings_path)  # from here on the old CSVs are replaced
    with atomic_file(settings_path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(settings, file, indent=1)
    header = f"{'split':<8}{'hours':>8}{'utterances':>12}{'speakers':>10}{'languages':>11}"
    lines = [header, *(writer.line(split) for split, writer in writers.items())]
    lines += [writer.coverage(split) for split, writer in writers.items() if writer.count]
    if skips is not None and skips.report():
        lines.append(skips.report())
    summary = "\n".join(lines)
    logger.info("%s\n%s", save_folder, summary)
    return summary
