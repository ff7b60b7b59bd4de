"""What the preparation scripts of all corpora share: CSVs and their summary."""

import csv
import os
from collections.abc import Iterable, Mapping

from masr_modules.metadata import AUDIO_COLUMNS, METADATA_COLUMNS

#: The sides of a split, each with its CSV.
SPLITS = ("train", "valid", "test")


def write_csv(path: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Write utterances as a CSV with all columns of the schema.

    The file appears under its name when it is complete.

    Arguments
    ---------
    path : str
        Path of the CSV; its folder is made where it is missing.
    rows : iterable of mapping
        One mapping of column to value an utterance. What is missing or None
        becomes an empty cell; columns beyond the schema are appended.

    Raises
    ------
    ValueError
        If a row lacks one of ID, duration and wav, or an ID comes twice.

    Example
    -------
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "train.csv")
    >>> write_csv(path, [{"ID": "a", "duration": 1.5, "wav": "$data_root/a.wav"}])
    >>> open(path, encoding="utf-8").readline()[:24]
    'ID,duration,wav,language'
    """
    rows, seen = list(rows), set()
    for number, row in enumerate(rows, start=2):
        for column in AUDIO_COLUMNS:
            if row.get(column) in (None, ""):
                raise ValueError(f"{path}, row {number}: no value in column {column!r}")
        if row["ID"] in seen:
            raise ValueError(f"{path}, row {number}: ID {row['ID']!r} comes twice")
        seen.add(row["ID"])
    schema = [*AUDIO_COLUMNS, *METADATA_COLUMNS]
    extra = dict.fromkeys(column for row in rows for column in row if column not in schema)
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*schema, *extra], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


class atomic_file:
    """Context that gives a temporary name and renames it to `path` on success.

    Arguments
    ---------
    path : str
        The final path; its folder is made where it is missing.

    Example
    -------
    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "note.txt")
    >>> with atomic_file(path) as temporary, open(temporary, "w") as file:
    ...     _ = file.write("done")
    >>> open(path).read()
    'done'
    """

    def __init__(self, path: str):
        self.path = path
        self.temporary = f"{path}.{os.getpid()}.tmp"

    def __enter__(self) -> str:
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        return self.temporary

    def __exit__(self, error_type, error, traceback) -> None:
        if error_type is None:
            os.replace(self.temporary, self.path)
        elif os.path.exists(self.temporary):
            os.remove(self.temporary)


def summarise(splits: Mapping[str, Iterable[Mapping[str, object]]]) -> str:
    """Describe a corpus: hours, utterances, speakers, languages and coverage.

    Arguments
    ---------
    splits : mapping of str to iterable of mapping
        Name of each side -> its rows, as given to `write_csv`.

    Returns
    -------
    str
        A table with one line a side, and the share of utterances whose value is
        known for each metadata column that is not empty throughout.

    Example
    -------
    >>> row = {"ID": "a", "duration": 3600, "language": "fra", "speaker": "s1"}
    >>> print(summarise({"train": [row]}))
    split      hours  utterances  speakers  languages
    train      1.000           1         1          1
    known in train: language 100 %, speaker 100 %
    """
    lines = [f"{'split':<8}{'hours':>8}{'utterances':>12}{'speakers':>10}{'languages':>11}"]
    coverage = []
    for name, rows in splits.items():
        rows = list(rows)
        hours = sum(float(row["duration"]) for row in rows) / 3600
        known = {
            column: [row[column] for row in rows if row.get(column) not in (None, "")]
            for column in METADATA_COLUMNS
        }
        counts = f"{len(rows):>12}{len(set(known['speaker'])):>10}{len(set(known['language'])):>11}"
        lines.append(f"{name:<8}{hours:>8.3f}{counts}")
        shares = [
            f"{column} {100 * len(values) / len(rows):.0f} %"
            for column, values in known.items()
            if values
        ]
        coverage.append(f"known in {name}: {', '.join(shares)}")
    return "\n".join(lines + coverage)


def check_disjoint(
    splits: Mapping[str, Iterable[Mapping[str, object]]], columns: tuple[str, ...]
) -> None:
    """Check that no value of some columns is on two sides of the split.

    Arguments
    ---------
    splits : mapping of str to iterable of mapping
        Name of each side -> its rows.
    columns : tuple of str
        Columns that are taken together, such as ``("language", "text")``.

    Raises
    ------
    AssertionError
        If a value is on two sides; the message names both and the value.

    Example
    -------
    >>> check_disjoint({"train": [{"speaker": "a"}], "test": [{"speaker": "b"}]}, ("speaker",))
    """
    side_of = {}
    for side, rows in splits.items():
        for row in rows:
            value = tuple(row.get(column) for column in columns)
            first = side_of.setdefault(value, side)
            if first != side:
                what = ", ".join(f"{c} {v!r}" for c, v in zip(columns, value, strict=True))
                raise AssertionError(f"{what} is in both {first} and {side}")
